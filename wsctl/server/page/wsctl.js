/**
 * A client of a wsctl server, for browsers and Node: it comes back by itself and resumes where it was.
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

/** What became of a command: the server's `code`, or not_connected; unconfirmed: nobody knows. */
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
 *   connecting  `planned`: the server asked it to leave and come back.
 *   open        `recovered`: nothing was missed since the last message; if false, load anew what messages
 *               keep current. `lost`: the topics that this is about, if the server names them; what is kept of
 *               others follows. `reconnected`: it was open before. `frame`: the welcome. While it is open:
 *               the server was degraded (an `error` of that `code`) and is whole again.
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

  /**
   * @param {string | URL} url  http(s) or ws(s), in a page also relative. Its query is kept; `since` in it,
   *   the `cursor` of an earlier client, is where this one resumes.
   * @param {object} [options]
   * @param {string[]} [options.topics]  topics to subscribe to, at each connection, or patterns of them: `*` is
   *   any segment, `>` at the end any rest. With them, also with [], there are commands
   * @param {Function} [options.WebSocket]  an implementation, where none is global: Node before 22
   * @param {number} [options.openTimeout]  ms that an attempt has until the welcome
   * @param {string | Function} [options.token]  shown to connect; a function gives one, or a promise of it,
   *   before each attempt
   * @param {number} [options.keepalive]  seconds, from 1 to 300, after which the server is to give a sign of
   *   life; when none came for at most twice that and 5 s, the connection is given up. 0: never
   */
  constructor(url, options = {}) {
    const { WebSocket = globalThis.WebSocket, openTimeout = 20_000, token, keepalive = 10, topics } = options;
    super();
    if (!WebSocket) throw new TypeError("no WebSocket here: give one as { WebSocket }");
    this.#use = { WebSocket, openTimeout, token };
    this.#url = new URL(url, globalThis.location?.href);
    this.#url.protocol = this.#url.protocol.replace("http", "ws");
    this.#cursor = this.#url.searchParams.get("since");
    if (topics) this.#topics = new Set([...this.#url.searchParams.getAll("topic"), ...topics]);
    if (keepalive) this.#url.searchParams.set("keepalive", keepalive);
    this.#connect(false);
  }

  /** One of `STATES`. */
  get state() { return this.#state; }

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
   * @returns {Promise<string>}  its id, when the server has it; or a `CommandError`
   */
  async publish(data, { topic, to, key } = {}) {
    return (await this.#ask("publish", { data: data ?? null, topic, to, key })).id;
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
      done = await this.#ask("subscribe", { topics, events }).catch((error) => {
        if (!again.includes(error.code)) throw error;
      });
    }
  }

  /** End subscriptions, as they were made. What is on its way still comes. */
  async unsubscribe(...topics) {
    topics.forEach((topic) => { this.#topics?.delete(topic); this.#watched.delete(topic); });
    if (topics.length && this.#isOpen()) await this.#ask("unsubscribe", { topics });
  }

  /**
   * Hand a message to the connection; its receipt is that it comes back.
   * @param {string} text
   * @returns {boolean}  false while none is open: it is not sent
   */
  send(text) {
    if (typeof text !== "string") throw new TypeError("the server takes text only");
    const open = this.#isOpen();
    if (open) this.#socket.send(this.#speaks() ? JSON.stringify({ type: "publish", data: text }) : text);
    return open;
  }

  /** End a pause, when the network is back. */
  retry() {
    if (this.#state === "waiting") this.#connect(false);
  }

  /** Leave for good. */
  close() {
    if (this.#state !== "closed") this.#end(1000, "closed by this client", true);
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
    if (!this.#speaks()) {
      throw new CommandError("unknown_command", this.#topics ? NO_TOPICS : "give { topics: [] } for commands");
    }
    const ref = (this.#ref += 1);
    const text = JSON.stringify({ type, ref, ...fields });
    return new Promise((done, failed) => {
      this.#commands.set(ref, { type, fields, done, failed });
      this.#socket.send(text);
    });
  }

  #answer(frame) {
    const { type, ref, id, code, message } = frame;
    const command = this.#commands.get(ref);
    this.#commands.delete(ref);
    if (type !== "ok") return command.failed(new CommandError(code, message));
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
  }

  #connect(planned) {
    const { token, openTimeout } = this.#use;
    const attempt = (this.#attempt = {});
    const unlessOver = (act) => (value) => { if (attempt === this.#attempt) act(value); };
    this.#socket = null;
    if (typeof token === "function") {
      new Promise((done) => done(token()))
        .then(unlessOver((given) => this.#open(given)))
        .catch(unlessOver((error) => this.#end(1006, `no token: ${error}`)));
    } else this.#open(token);
    this.#enter("connecting", { planned }, openTimeout, () => this.#end(1006, "no welcome came"));
  }

  #open(token) {
    if (this.#cursor !== null) this.#url.searchParams.set("since", this.#cursor);
    if (this.#topics) this.#url.searchParams.delete("topic");
    this.#topics?.forEach((topic) => this.#url.searchParams.append("topic", topic));
    // One of those offered has to be chosen: a server of a release before commands takes the second.
    const offered = [...(this.#topics ? [COMMANDS] : []), ...(this.#topics || token ? ["wsctl"] : [])];
    if (token) offered.push(subprotocol(token));
    const socket = new this.#use.WebSocket(this.#url.href, offered);
    socket.onmessage = ({ data }) => this.#take(data);
    socket.onclose = ({ code, reason }) => this.#end(code, reason);
    // A close follows, but not in Node before 24.
    socket.onerror = () => setTimeout(() => socket.onclose?.({ code: 1006, reason: "" }));
    this.#socket = socket;
  }

  #take(text) {
    this.#heard = true;
    let frame;
    try { frame = JSON.parse(text); } catch { return; }
    const { type, data } = frame ?? {};
    if (type === "welcome") return this.#welcomed(frame);
    if (this.#state !== "open" || STATES.includes(type)) return;
    if (this.#commands.has(frame?.ref)) return this.#answer(frame);
    // New credentials permit less: what has ended is not asked for again.
    if (frame?.code === "topic_not_allowed") {
      frame.topics?.forEach((topic) => { this.#topics?.delete(topic); this.#watched.delete(topic); });
    }
    if (type === "message") this.#cursor = frame.id;
    if (type === "shutdown") this.#plan(frame);
    this.#dispatch(type, { frame, data });
  }

  #welcomed(frame) {
    if (this.#topics?.size && !this.#speaks()) return this.#end(1006, NO_TOPICS);
    const { recovered: all, lost = [] } = frame;
    const recovered = all === true;
    const facts = { recovered, lost, reconnected: this.#openedAt > 0, frame };
    // What was missed follows, and moves it: cut off amid that, it asks on. Of some topics it does so although
    // others are lost.
    const partly = this.#cursor !== null && this.topics.some((topic) => !lost.includes(topic));
    if (!recovered && !partly) this.#cursor = frame.id;
    if (this.#state === "open") return this.#dispatch("open", facts);
    this.#openedAt = performance.now();
    if (this.#watched.size && this.#speaks()) { // for what no address can ask
      this.#socket.send(JSON.stringify({ type: "subscribe", topics: [...this.#watched], events: true }));
    }
    this.#listen(frame.keepalive_s);
    this.#enter("open", facts);
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

  #end(code, reason, final = code >= 4500 && code <= 4999) {
    this.#drop();
    if (final) return this.#enter("closed", { code, reason });
    const wait = Math.random() * this.#ceiling;
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
    const over = new CommandError("unconfirmed", "the connection ended before the answer");
    this.#commands.forEach(({ failed }) => failed(over));
    this.#commands.clear();
    if (!this.#socket) return;
    this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket.close(1000);
  }

  #after(ms, act) {
    clearTimeout(this.#timer);
    this.#timer = act && setTimeout(act, ms);
  }

  #enter(state, facts, ms, act) {
    this.#state = state;
    this.#after(ms, act);
    if (state === "open" || state === "closed") {
      const closed = new CommandError("not_connected", "it is closed");
      this.#waiting.splice(0).forEach(({ done, failed }) => (state === "open" ? done() : failed(closed)));
    }
    this.#dispatch(state, facts);
  }

  #dispatch(type, facts) {
    this.dispatchEvent(Object.assign(new Event(type), facts));
  }
}

/** A browser sends no header of ours: the token travels as a subprotocol. The server chooses the other one. */
function subprotocol(token) {
  return `bearer.${btoa(token).replace(/=/g, "").replace(/\+/g, "-").replace(/\//g, "_")}`;
}
