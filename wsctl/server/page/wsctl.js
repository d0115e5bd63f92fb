/**
 * A client of a wsctl server, for browsers and Node: it comes back by itself and resumes where it was. Where no
 * WebSocket can be had it reads an event stream, and tries a WebSocket again later.
 *
 *     const client = new Client("ws/alice");
 *     client.addEventListener("message", ({ data, frame }) => show(frame.from, data));
 *
 * With topics it speaks the commands of `wsctl.2`:
 *
 *     const client = new Client("ws/alice", { topics: ["quotes.>"] });
 *     await client.publish({ price: 3 }, { topic: "quotes.eu" });
 */

/** What a client can be doing. Each change is an event of that name. */
export const STATES = ["connecting", "open", "waiting", "closed"];

// Pauses are drawn between 0 and a ceiling that doubles from BASE_MS to CAP_MS: it spreads a crowd.
const BASE_MS = 500;
const CAP_MS = 30_000;

// Life after which pauses start over: who is sent away at once does not hammer.
const STEADY_MS = 5_000;

// The subprotocol in which each text is a command, and is answered.
const COMMANDS = "wsctl.2";
const NO_TOPICS = "the server knows no topics: it is of a release before them";

// Beyond the keepalive: the server looks once a second, and a network takes its time.
const SLACK_S = 2.5;

const WEBSOCKET = "websocket";
const STREAM = "event-stream";

// The pause on a stream before a WebSocket is tried again: it doubles up to a limit.
const AGAIN_MS = 30_000;
const AGAIN_CAP_MS = 600_000;

// What a lost WebSocket has done may still be on its way.
const DOUBT_MS = 5_000;

// After a message that was over the rate all the same: other connections of the id share it.
const OVER_RATE_S = 1;

// After that a message counts as taken: an application may swallow it.
const UNCONFIRMED_MS = 2_000;

/** What became of a command: the server's `code`, or not_connected, no_websocket; unconfirmed: nobody knows. */
export class CommandError extends Error {
  constructor(code, message) {
    super(message);
    this.name = "CommandError";
    this.code = code;
  }
}

/**
 * One client id on one server: connects when made, and again until `close()` or a close code of 4500 to 4999,
 * which means stay away (4501: replaced).
 *
 * Its own events:
 *   connecting  `planned`: the server asked it to leave and come back. `transport`, `reason`: as below.
 *   open        `recovered`: nothing was missed since the last message; if false, load anew what messages
 *               keep current. `lost`: the topics that this is about, if the server names them; what is kept of
 *               others follows. `reconnected`: it was open before. `frame`: the welcome. `transport`: by what
 *               it is connected, "websocket" or "event-stream"; `reason`: why no WebSocket could be had. While
 *               it is open: the transport has changed, or the server was degraded (an `error` of that `code`)
 *               and is whole again.
 *   waiting     a connection or an attempt ended with `code` and `reason`; the next is in `wait` ms.
 *   closed      for good, with `code` (1000: by `close()`) and `reason`.
 * Each other frame of the server is an event of its type (message, heartbeat, keepalive, shutdown, error, joined,
 * left), with `frame` and its `data`. Messages come in order, none twice.
 */
export class Client extends EventTarget {
  #url;
  #use;
  #state;
  #cursor;
  #socket;
  #timer; // of the attempt or the pause; while open, of the moment to leave
  #watch; // looks whether anything came since it last looked
  #heard;
  #openedAt;
  #ceiling = BASE_MS;
  #moved;
  #attempt; // null when it is over
  #topics; // undefined: no commands, each text is a message to everybody
  #watched = new Set(); // the topics of which it is told who comes and goes
  #commands = new Map(); // by ref, those without an answer
  #ref = 0;
  #waiting = []; // for the next time that it is open
  #transport;
  #token; // of this connection
  #refused = 0; // attempts in a row for a WebSocket that got no welcome
  #silent = false; // the last of them got no answer
  #why; // no WebSocket could be had
  #proven = false; // it has had one
  #probe; // a WebSocket that is tried while a stream is open
  #probeTimer;
  #again = AGAIN_MS;
  #seen = new Set(); // ids of messages that came meanwhile
  #replaced; // the reason with which the stream was closed meanwhile
  #doubt = 0; // until then it may have been replaced by its own WebSocket, that was lost
  #widening; // the topics for which a stream is made anew
  #queue = []; // commands and texts that wait for their turn
  #turn;
  #posting = false;
  #rate; // { per_second, burst, left }: what the server takes
  #tokens = 0; // what it has left for this client id, as of #filled, without what is on its way
  #filled = 0;
  #pending = []; // when each of that was sent
  #id; // its own, as the server writes it

  /**
   * @param {string | URL} url  http(s) or ws(s), in a page also relative. Its query is kept; `since` in it,
   *   the `cursor` of an earlier client, is where this one resumes.
   * @param {object} [options]
   * @param {string[]} [options.topics]  topics to subscribe to, at each connection, or patterns of them: `*` is
   *   any segment, `>` at the end any rest. With them, also with [], there are commands
   * @param {string} [options.transport]  "auto": a WebSocket, or an event stream where none can be had;
   *   "websocket" or "event-stream": that alone
   * @param {Function} [options.WebSocket]  an implementation, where none is global: Node before 22
   * @param {Function} [options.fetch]  the same, for event streams: Node before 18
   * @param {number} [options.openTimeout]  ms that an attempt has until the welcome
   * @param {string | Function} [options.token]  shown to connect; a function gives one, or a promise of it,
   *   before each attempt
   * @param {number} [options.keepalive]  seconds, from 1 to 300, after which the server is to give a sign of
   *   life; when none came for at most twice that and 5 s, the connection is given up. 0: never
   */
  constructor(url, options = {}) {
    const { WebSocket = globalThis.WebSocket, fetch = globalThis.fetch?.bind(globalThis) } = options;
    const { transport = "auto", openTimeout = 20_000, token, keepalive = 10, topics } = options;
    super();
    this.#url = new URL(url, globalThis.location?.href);
    this.#url.protocol = this.#url.protocol.replace("http", "ws");
    const streams = fetch && OWN_PATH.test(this.#url.pathname);
    if (!["auto", WEBSOCKET, STREAM].includes(transport)) throw new TypeError(`there is no transport ${transport}`);
    if (transport === STREAM && !streams) throw new TypeError("an event stream needs fetch, and an address .../ws/ID");
    if (transport !== STREAM && !WebSocket && !(transport === "auto" && streams)) {
      throw new TypeError("no WebSocket here: give one as { WebSocket }");
    }
    this.#use = { WebSocket, fetch, transport, streams, openTimeout, token };
    this.#cursor = this.#url.searchParams.get("since");
    if (topics) this.#topics = new Set([...this.#url.searchParams.getAll("topic"), ...topics]);
    if (keepalive) this.#url.searchParams.set("keepalive", keepalive);
    this.#connect(false);
  }

  /** One of `STATES`. */
  get state() { return this.#state; }

  /** By what it is connected or tries to be: "websocket" or "event-stream". */
  get transport() { return this.#transport; }

  /** How many messages and commands wait: no more are sent at a time than the server takes. */
  get queued() { return this.#queue.length; }

  /** The id after which it resumes; null before the first welcome. */
  get cursor() { return this.#cursor; }

  /** The topics and patterns that it subscribes to. */
  get topics() { return [...(this.#topics ?? [])]; }

  /**
   * Publish a message, once at most, to everybody or to the subscribers of a topic.
   * @param {*} data  any JSON value
   * @param {object} [options]
   * @param {string} [options.topic]
   * @param {string[]} [options.to]  the ids that alone get it, where the server permits that
   * @param {string} [options.key]  a name for this message: with it, it can be published again when nobody knows
   *   what became of it; the server publishes it once within 5 minutes
   * @param {string} [options.traceparent]  the trace context (W3C) of the caller, where the server traces
   * @returns {Promise<string>}  its id, when the server has it; or a `CommandError`
   */
  async publish(data, { topic, to, key, traceparent } = {}) {
    return (await this.#ask("publish", { data: data ?? null, topic, to, key, traceparent })).id;
  }

  /**
   * Subscribe to further topics, or patterns of them, from now on and at each connection.
   * @returns {Promise<void>}  it waits until it is open; a `CommandError` when the server refuses
   */
  subscribe(...topics) {
    return this.#subscribe(topics);
  }

  /** Subscribe to topics, without wildcards, and be told by `joined` and `left` who else does and ceases to. */
  watch(...topics) {
    return this.#subscribe(topics, true);
  }

  /**
   * Ask who is subscribed to a topic, by whichever pattern.
   * @returns {Promise<object>}  `count`, and in `clients` up to 1,000 of { client_id, connections }
   */
  async presence(topic) {
    const { count, clients } = await this.#ask("presence", { topic });
    return { count, clients };
  }

  async #subscribe(topics, events) {
    const again = ["not_connected", "unconfirmed"];
    for (let done = !topics.length; !done;) {
      await this.#whenOpen();
      if (!this.#isOpen()) continue;
      if (this.#transport === STREAM && this.#topics && !events) return this.#widen(topics);
      done = await this.#ask("subscribe", { topics, events }).catch((error) => {
        if (!again.includes(error.code)) throw error;
      });
    }
  }

  /** End subscriptions, as they were made. What is on its way still comes. */
  async unsubscribe(...topics) {
    this.#forget(topics);
    if (!topics.length || !this.#isOpen()) return;
    if (this.#transport === STREAM) this.#restart();
    else await this.#ask("unsubscribe", { topics });
  }

  /**
   * Hand a message to the connection, at the rate that the server takes; its receipt is that it comes back. If
   * it is refused, an `error` says so.
   * @param {string} text
   * @returns {boolean}  false while none is open: it is not sent
   */
  send(text) {
    if (typeof text !== "string") throw new TypeError("the server takes text only");
    const open = this.#isOpen();
    const failed = ({ code, message }) => this.#dispatch("error", { frame: { type: "error", code, message } });
    if (open) this.#enqueue({ type: "publish", fields: { data: text }, done() {}, failed, plain: true });
    return open;
  }

  /** End a pause, when the network is back. */
  retry() {
    if (this.#state === "waiting") this.#connect(false);
  }

  /** Leave for good. */
  close() {
    if (this.#state !== "closed") this.#end(1000, "closed by this client", { final: true });
  }

  #isOpen() {
    return this.#state === "open" && this.#socket.readyState === 1;
  }

  #speaks() {
    return this.#socket.protocol === COMMANDS;
  }

  async #whenOpen() {
    if (this.#state === "closed") throw new CommandError("not_connected", "it is closed");
    if (!this.#isOpen()) await new Promise((done, failed) => this.#waiting.push({ done, failed }));
  }

  /** Send a command; its `ok`, or a CommandError. */
  async #ask(type, fields) {
    if (!this.#isOpen()) throw new CommandError("not_connected", "there is no connection");
    if (!this.#topics) throw new CommandError("unknown_command", "give { topics: [] } for commands");
    return new Promise((done, failed) => this.#enqueue({ type, fields, done, failed }));
  }

  #enqueue(job) {
    this.#queue.push(job);
    this.#pump();
  }

  // As many as the server takes. It cannot give back what it has not got yet: a message on its way counts until
  // it is confirmed.
  #pump() {
    clearTimeout(this.#turn);
    while (this.#queue.length && this.#isOpen() && !this.#posting) {
      if (this.#rate) {
        this.#refill();
        if (this.#filled - this.#pending[0] >= UNCONFIRMED_MS) this.#confirm();
        const short = this.#pending.length + 1 - this.#tokens;
        if (short > 0) {
          const until = this.#pending.length ? this.#pending[0] + UNCONFIRMED_MS - this.#filled : Infinity;
          const wait = Math.ceil(Math.min(until, (short / this.#rate.per_second) * 1000));
          this.#turn = setTimeout(() => this.#pump(), wait);
          return;
        }
        this.#pending.push(this.#filled);
      }
      this.#hand(this.#queue.shift());
    }
  }

  #refill() {
    const { per_second, burst } = this.#rate;
    const now = performance.now();
    this.#tokens = Math.min(burst, this.#tokens + ((now - this.#filled) / 1000) * per_second);
    this.#filled = now;
  }

  #confirm() {
    if (!this.#rate || !this.#pending.length) return;
    this.#refill();
    this.#pending.shift();
    this.#tokens -= 1;
  }

  #hand(job) {
    const { type, fields, plain, failed } = job;
    if (this.#transport === STREAM) {
      if (type === "publish") this.#post(job);
      else failed(new CommandError("no_websocket", `${type} needs a WebSocket, and none could be had`));
    } else if (this.#speaks()) {
      const ref = (this.#ref += 1);
      this.#commands.set(ref, job);
      this.#socket.send(JSON.stringify({ type, ref, ...fields }));
    } else if (plain) this.#socket.send(fields.data);
    else failed(new CommandError("unknown_command", NO_TOPICS));
  }

  /** Publish where there is only a stream. One after the other, so that they keep their order. */
  async #post(job) {
    const { fetch, openTimeout } = this.#use;
    const url = this.#streamUrl();
    ["since", "topic", "keepalive"].forEach((name) => url.searchParams.delete(name));
    url.searchParams.set("id", decodeURIComponent(OWN_PATH.exec(this.#url.pathname)[1]));
    url.pathname = url.pathname.replace(/events\/[^/]+$/, "publish");
    const headers = { "content-type": "application/json", ...bearer(this.#token) };
    const [method, body, signal] = ["POST", JSON.stringify(job.fields), AbortSignal.timeout(openTimeout)];
    this.#posting = true;
    try {
      const answer = await fetch(url.href, { method, headers, body, signal });
      const { error, ...receipt } = await answer.json();
      if (answer.ok) job.done(receipt);
      else this.#refuse(job, error.code, error.message);
    } catch {
      job.failed(new CommandError("unconfirmed", "the connection ended before the answer"));
    }
    this.#posting = false;
    this.#confirm();
    this.#pump();
  }

  #refuse(job, code, message) {
    if (code !== "rate_limited" || !this.#rate) return job.failed(new CommandError(code, message));
    this.#rest();
    this.#queue.unshift(job);
    this.#pump();
  }

  #rest() {
    this.#tokens = -OVER_RATE_S * (this.#rate?.per_second ?? 0);
    this.#filled = performance.now();
  }

  #answer(frame) {
    const { type, ref, id, code, message } = frame;
    const command = this.#commands.get(ref);
    this.#commands.delete(ref);
    this.#confirm();
    if (type !== "ok") return this.#refuse(command, code, message);
    if (command.type === "subscribe") {
      const { topics, events } = command.fields;
      topics.forEach((topic) => {
        this.#topics.add(topic);
        if (events) this.#watched.add(topic);
        else this.#watched.delete(topic);
      });
      this.#cursor = id; // all before it has come, and what is new begins behind it
    }
    command.done(frame);
    this.#pump();
  }

  #forget(topics) {
    topics.forEach((topic) => { this.#topics?.delete(topic); this.#watched.delete(topic); });
  }

  /** Subscribe to further topics on a stream: it is made anew, and goes on where it was. */
  #widen(topics) {
    const added = topics.filter((topic) => !this.#topics.has(topic));
    if (!added.length) return undefined;
    added.forEach((topic) => this.#topics.add(topic));
    return new Promise((done, failed) => {
      const waits = { done, failed };
      this.#waiting.push(waits);
      this.#widening = { added, waits };
      this.#restart();
    });
  }

  #restart() {
    this.#drop();
    this.#connect(false, STREAM);
  }

  #connect(planned, transport = this.#first()) {
    const { token } = this.#use;
    const attempt = (this.#attempt = { planned });
    const unlessOver = (act) => (value) => { if (attempt === this.#attempt) act(value); };
    this.#socket = null;
    this.#transport = transport;
    if (typeof token === "function") {
      new Promise((done) => done(token()))
        .then(unlessOver((given) => this.#open(given)))
        .catch(unlessOver((error) => this.#end(1006, `no token: ${error}`)));
    } else this.#open(token);
    this.#begin();
  }

  #begin() {
    const { planned } = this.#attempt;
    const facts = { planned, transport: this.#transport, reason: this.#reason() };
    const giveUp = () => this.#over(1006, "no welcome came", { silent: true });
    this.#enter("connecting", facts, this.#use.openTimeout, giveUp);
  }

  // Who got no answer once would wait as long again: what is open meanwhile tries it in the background.
  #first() {
    const { transport, WebSocket } = this.#use;
    if (transport !== "auto") return transport;
    return !WebSocket || this.#silent ? STREAM : WEBSOCKET;
  }

  #reason() {
    if (this.#transport === STREAM && this.#use.transport === "auto") return this.#why ?? "there is no WebSocket here";
    return undefined;
  }

  #open(token) {
    this.#token = token;
    const socket = this.#transport === STREAM ? this.#newStream(token) : this.#newWebSocket(token);
    this.#attach(socket);
  }

  #attach(socket) {
    socket.onmessage = ({ data }) => this.#take(data);
    socket.onclose = ({ code, reason, ...more }) => this.#over(code, reason, more);
    this.#socket = socket;
  }

  #newWebSocket(token) {
    const { WebSocket } = this.#use;
    // One of those offered has to be chosen: a server of a release before commands takes the second.
    const offered = [...(this.#topics ? [COMMANDS] : []), ...(this.#topics || token ? ["wsctl"] : [])];
    if (token) offered.push(subprotocol(token));
    const socket = new WebSocket(this.#where().href, offered);
    // A close follows, but not in Node before 24.
    socket.onerror = () => setTimeout(() => socket.onclose?.({ code: 1006, reason: "" }));
    return socket;
  }

  #newStream(token) {
    return new Stream(this.#use.fetch, this.#streamUrl().href, bearer(token));
  }

  #where() {
    if (this.#cursor !== null) this.#url.searchParams.set("since", this.#cursor);
    if (this.#topics) this.#url.searchParams.delete("topic");
    this.#topics?.forEach((topic) => this.#url.searchParams.append("topic", topic));
    return this.#url;
  }

  #streamUrl() {
    const url = new URL(this.#where());
    url.protocol = url.protocol.replace("ws", "http");
    url.pathname = url.pathname.replace(OWN_PATH, "events/$1");
    return url;
  }

  /** A connection, or an attempt, has ended by itself. */
  #over(code, reason, { silent = false, refusal, again } = {}) {
    if (this.#transport === STREAM) {
      if (code === 4501 && this.#probe) return void (this.#replaced = reason); // by that one, or by another client
      if (code === 4501 && performance.now() < this.#doubt) return this.#end(1006, reason);
      if (this.#state === "connecting") this.#silent = false; // the next is for a WebSocket again
      if (this.#widening && refusal) return this.#notWidened(new CommandError(refusal, reason));
    } else if (this.#state === "connecting" && isRefused(code)) {
      this.#noWebSocket(code, silent);
      if (this.#use.transport === "auto" && this.#use.streams && this.#refused > (this.#proven ? 1 : 0)) {
        detach(this.#socket);
        this.#transport = STREAM;
        this.#open(this.#token);
        return this.#begin();
      }
    }
    this.#end(code, reason, { again });
  }

  #noWebSocket(code, silent) {
    this.#refused += 1;
    this.#silent = silent;
    const closed = code === 1006 ? "refused" : `closed with ${code}`;
    this.#why = silent ? "the WebSocket got no answer" : `the WebSocket was ${closed}`;
  }

  #notWidened(error) {
    const { added, waits } = this.#widening;
    this.#forget(added);
    this.#waiting.splice(this.#waiting.indexOf(waits), 1);
    waits.failed(error);
    this.#restart();
  }

  #tryAgainLater() {
    const { transport, WebSocket } = this.#use;
    if (this.#state !== "open" || this.#transport !== STREAM || transport !== "auto" || !WebSocket) return;
    const wait = (0.5 + Math.random() / 2) * this.#again;
    this.#again = Math.min(AGAIN_CAP_MS, 2 * this.#again);
    this.#probeTimer = setTimeout(() => this.#tryAgain(), wait);
  }

  /** Try a WebSocket beside the stream, which goes on until that one is welcomed. */
  #tryAgain() {
    const { token } = this.#use;
    const attempt = this.#attempt;
    new Promise((done) => done(typeof token === "function" ? token() : token)).then((given) => {
      if (attempt === this.#attempt) this.#tryWith(given);
    }).catch(() => { if (attempt === this.#attempt) this.#tryAgainLater(); });
  }

  #tryWith(token) {
    const socket = (this.#probe = this.#newWebSocket(token));
    let upgraded = false;
    this.#seen.clear();
    const failed = (code, silent) => {
      clearTimeout(this.#probeTimer);
      detach(socket);
      this.#probe = null;
      this.#noWebSocket(code, silent);
      // What was refused at once has replaced nothing; all else may have come to the server.
      const doubtful = upgraded || silent;
      if (doubtful) this.#doubt = performance.now() + DOUBT_MS;
      if (this.#replaced !== undefined) this.#end(doubtful ? 1006 : 4501, this.#replaced);
      else this.#tryAgainLater();
    };
    this.#probeTimer = setTimeout(() => failed(1006, true), this.#use.openTimeout);
    socket.onopen = () => { upgraded = true; };
    socket.onclose = ({ code }) => failed(code, false);
    socket.onmessage = ({ data }) => {
      if (parsed(data)?.type !== "welcome") return;
      clearTimeout(this.#probeTimer);
      clearInterval(this.#watch);
      detach(this.#socket);
      this.#probe = null;
      this.#transport = WEBSOCKET;
      this.#token = token;
      this.#state = "connecting";
      this.#attach(socket);
      this.#take(data);
    };
  }

  #take(text) {
    this.#heard = true;
    const frame = parsed(text);
    const { type, data } = frame ?? {};
    if (type === "welcome") return this.#welcomed(frame);
    if (this.#state !== "open" || STATES.includes(type)) return;
    if (this.#commands.has(frame?.ref)) return this.#answer(frame);
    // New credentials permit less: what has ended is not asked for again.
    if (frame?.code === "rate_limited") this.#rest();
    if (frame?.code === "topic_not_allowed") this.#forget(frame.topics ?? []);
    if (type === "message") {
      if (this.#probe) this.#seen.add(frame.id);
      else if (this.#seen.has(frame.id)) return; // by the stream, before the transport changed
      else this.#seen.clear();
      this.#cursor = frame.id;
      if (frame.from === this.#id && this.#transport === WEBSOCKET && !this.#speaks()) {
        this.#confirm();
        this.#pump();
      }
    }
    if (type === "shutdown") this.#plan(frame);
    this.#dispatch(type, { frame, data });
  }

  #welcomed(frame) {
    const isStream = this.#transport === STREAM;
    if (this.#topics?.size && !isStream && !this.#speaks()) return this.#end(1006, NO_TOPICS);
    const { recovered: all, lost = [] } = frame;
    const recovered = all === true;
    const [transport, reason, reconnected] = [this.#transport, this.#reason(), this.#openedAt > 0];
    const facts = { recovered, lost, reconnected, frame, transport, reason };
    // What was missed follows, and moves it: cut off amid that, it asks on. Of some topics it does so although
    // others are lost.
    const partly = this.#cursor !== null && this.topics.some((topic) => !lost.includes(topic));
    if (!recovered && !partly) this.#cursor = frame.id;
    if (this.#state === "open") return this.#dispatch("open", facts);
    this.#openedAt = performance.now();
    this.#replaced = this.#widening = undefined;
    if (!isStream) {
      [this.#refused, this.#silent, this.#again, this.#proven] = [0, false, AGAIN_MS, true];
    }
    this.#id = frame.client_id;
    this.#rate = frame.rate;
    this.#tokens = frame.rate?.left ?? 0;
    this.#filled = this.#openedAt;
    this.#pending = [];
    if (this.#watched.size && this.#speaks()) { // for what no address can ask
      this.#socket.send(JSON.stringify({ type: "subscribe", topics: [...this.#watched], events: true }));
    }
    this.#listen(frame.keepalive_s);
    this.#enter("open", facts);
    this.#tryAgainLater();
    this.#pump();
  }

  // A server that promises nothing may be silent. After a sleep the first look is late, and the next one counts.
  #listen(keepalive_s) {
    const period = keepalive_s + SLACK_S;
    if (keepalive_s > 0) this.#watch = setInterval(() => {
      if (!this.#heard) this.#end(1006, `nothing came for ${period} s`);
      this.#heard = false;
    }, period * 1000);
  }

  // A deadline that only moved leaves it as it is.
  #plan({ deadline_s, reconnect_in_s }) {
    if (deadline_s === null) this.#after();
    else if (Number.isFinite(reconnect_in_s)) this.#after(reconnect_in_s * 1000, () => this.#leave());
  }

  #leave() {
    this.#drop();
    if (this.#moved) return this.#end(1000, "sent away again");
    this.#moved = true;
    this.#connect(true);
  }

  #end(code, reason, { final = code >= 4500 && code <= 4999, again = 0 } = {}) {
    this.#drop();
    if (final) return this.#enter("closed", { code, reason });
    const wait = Math.max(again, Math.random() * this.#ceiling);
    this.#ceiling = Math.min(CAP_MS, 2 * this.#ceiling);
    this.#enter("waiting", { wait, code, reason }, wait, () => this.#connect(false));
  }

  #drop() {
    if (this.#state === "open" && performance.now() - this.#openedAt >= STEADY_MS) {
      this.#ceiling = BASE_MS;
      this.#moved = false;
    }
    this.#attempt = null;
    clearInterval(this.#watch);
    clearTimeout(this.#turn);
    clearTimeout(this.#probeTimer);
    detach(this.#probe);
    this.#probe = this.#replaced = undefined;
    this.#seen.clear();
    const over = new CommandError("unconfirmed", "the connection ended before the answer");
    this.#commands.forEach(({ failed, plain }) => { if (!plain) failed(over); });
    this.#commands.clear();
    detach(this.#socket);
  }

  #after(ms, act) {
    clearTimeout(this.#timer);
    this.#timer = act && setTimeout(act, ms);
  }

  #enter(state, facts, ms, act) {
    this.#state = state;
    this.#after(ms, act);
    if (state === "open") this.#waiting.splice(0).forEach(({ done }) => done());
    if (state === "closed") {
      const closed = new CommandError("not_connected", "it is closed");
      [...this.#waiting.splice(0), ...this.#queue.splice(0)].forEach(({ failed }) => failed(closed));
    }
    this.#dispatch(state, facts);
  }

  #dispatch(type, facts) {
    this.dispatchEvent(Object.assign(new Event(type), facts));
  }
}

// The end of the address of a WebSocket; that of the stream has another word there.
const OWN_PATH = /ws\/([^/]+)$/;

/** An event stream with the part of a WebSocket's interface that is needed here. */
class Stream {
  readyState = 0;
  protocol = "";
  #abort = new AbortController();
  #ended = { code: 1006, reason: "" };
  #retry;

  constructor(fetch, url, headers) {
    const all = { accept: "text/event-stream", ...headers };
    this.#read(fetch, url, { headers: all, cache: "no-store", signal: this.#abort.signal })
      .catch(() => {})
      .then(() => { this.readyState = 3; this.onclose?.(this.#ended); });
  }

  close() {
    this.readyState = 3;
    this.#abort.abort();
  }

  async #read(fetch, url, asked) {
    const answer = await fetch(url, asked);
    if (answer.status !== 200 || !answer.headers.get("content-type")?.startsWith("text/event-stream")) {
      const { code, message } = (await answer.json().catch(() => null))?.error ?? {};
      const why = message ? `: ${message} (${code})` : answer.ok ? ": no event stream is there" : "";
      const again = 1000 * (Number(answer.headers.get("retry-after")) || 0);
      this.#ended = { code: 1006, reason: `refused with ${answer.status}${why}`, refusal: code, again };
      return;
    }
    this.readyState = 1;
    const [reader, decoder] = [answer.body.getReader(), new TextDecoder()];
    for (let rest = "", read; !(read = await reader.read()).done;) {
      const lines = (rest + decoder.decode(read.value, { stream: true })).split("\n");
      rest = lines.pop();
      lines.forEach((line) => this.#take(line));
    }
  }

  // Each event has one line of data, and its type is in that, too.
  #take(line) {
    const at = line.indexOf(":");
    const [name, data] = [line.slice(0, at), line.slice(at + 1)];
    if (at === 0) this.onmessage?.({ data: '{"type":"keepalive"}' });
    if (name === "retry") this.#retry = Number(data);
    if (name !== "data") return;
    const { type, code, reason } = parsed(data) ?? {};
    if (type === "close") this.#ended = { code, reason, again: this.#retry };
    else this.onmessage?.({ data });
  }
}

function parsed(text) {
  try { return JSON.parse(text); } catch { return undefined; }
}

/** Leave a connection; nothing that it still says is heard. */
function detach(socket) {
  if (!socket) return;
  socket.onmessage = socket.onclose = null;
  socket.close(1000);
}

/** Whether a WebSocket that ended with a code before its welcome never reached a server: none closes so. */
function isRefused(code) {
  return code < 1007 && code !== 1001 && code !== 1003;
}

function bearer(token) {
  return token ? { authorization: `Bearer ${token}` } : {};
}

/** A browser sends no header of ours: the token travels as a subprotocol. The server chooses the other one. */
function subprotocol(token) {
  return `bearer.${btoa(token).replace(/=/g, "").replace(/\+/g, "-").replace(/\//g, "_")}`;
}
