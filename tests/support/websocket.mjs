// A WebSocket for Node that has none: enough of the browsers' for short text frames on a loopback.

import { randomBytes } from "node:crypto";
import { request } from "node:http";

const TEXT = 1;
const CLOSE = 8;
const PING = 9;
const PONG = 10;

export class WebSocket {
  readyState = 0;
  protocol = "";
  #socket;
  #received = Buffer.alloc(0);
  #ended = { code: 1006, reason: "" };

  constructor(url, protocols = []) {
    const offered = protocols.length ? { "sec-websocket-protocol": protocols.join(", ") } : {};
    const headers = {
      ...offered,
      connection: "Upgrade",
      upgrade: "websocket",
      "sec-websocket-key": randomBytes(16).toString("base64"),
      "sec-websocket-version": "13",
    };
    this.request = request(String(url).replace("ws:", "http:"), { headers });
    this.request.on("upgrade", ({ headers: { "sec-websocket-protocol": chosen } }, socket, head) => {
      this.protocol = chosen ?? "";
      this.#opened(socket, head);
    });
    this.request.on("response", () => this.request.destroy());
    this.request.on("error", () => {});
    this.request.on("close", () => { if (!this.#socket) this.#closed(); });
    this.request.end();
  }

  send(text) {
    this.#write(TEXT, Buffer.from(text));
  }

  close(code = 1000) {
    if (this.readyState > 1) return;
    this.readyState = 2;
    if (!this.#socket) this.request.destroy();
    else this.#write(CLOSE, Buffer.from([code >> 8, code & 255]));
  }

  #opened(socket, head) {
    this.#socket = socket;
    if (this.readyState === 2) return socket.destroy();
    this.readyState = 1;
    this.onopen?.({});
    socket.on("data", (bytes) => this.#read(bytes));
    socket.on("error", () => {});
    socket.on("close", () => this.#closed());
    this.#read(head);
  }

  #closed() {
    if (this.readyState === 3) return;
    this.readyState = 3;
    this.onclose?.(this.#ended);
  }

  /** RFC 6455, section 5.2; a server does not mask. */
  #read(bytes) {
    this.#received = Buffer.concat([this.#received, bytes]);
    while (this.#received.length >= 2) {
      const short = this.#received[1];
      const start = short === 126 ? 4 : 2;
      if (this.#received.length < start) return;
      const end = start + (short === 126 ? this.#received.readUInt16BE(2) : short);
      if (this.#received.length < end) return;
      const payload = this.#received.subarray(start, end);
      const opcode = this.#received[0] & 15;
      this.#received = this.#received.subarray(end);
      this.#take(opcode, payload);
    }
  }

  #take(opcode, payload) {
    if (opcode === TEXT) this.onmessage?.({ data: payload.toString() });
    if (opcode === PING) this.#write(PONG, payload);
    if (opcode === CLOSE) {
      this.#ended = { code: payload.length ? payload.readUInt16BE(0) : 1005, reason: payload.subarray(2).toString() };
      if (this.readyState === 1) this.#write(CLOSE, payload);
      this.#socket.end();
    }
  }

  #write(opcode, payload) {
    const mask = randomBytes(4);
    const length = payload.length < 126 ? [payload.length] : [126, payload.length >> 8, payload.length & 255];
    const head = Buffer.from([128 | opcode, 128 | length[0], ...length.slice(1)]);
    this.#socket.write(Buffer.concat([head, mask, payload.map((byte, n) => byte ^ mask[n % 4])]));
  }
}
