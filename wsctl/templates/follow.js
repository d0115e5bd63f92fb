/**
 * Keeps one client id connected until `close()`, or until the server wants it no more; each connection
 * resumes after the last. `onFrame(frame)` gets what the server sends, messages in order and none twice;
 * `onStatus(status, why)` is told "connecting", "open", "degraded", "waiting" and "closed".
 * `token()` is asked before each connection, so that it can be a fresh one. `topics` are those to subscribe
 * to, or patterns of them ("orders.*", "chat.>"); with any, messages can be sent to topics, too.
 * It needs a WebSocket. Where a proxy or firewall lets none through, take the server's own client, /wsctl.js:
 * that one goes over to an event stream by itself.
 */
function follow(url, { onFrame, onStatus, token, topics = [] }) {
  // Milliseconds. A pause is drawn between 0 and a ceiling that doubles from BASE to CAP: who lost the server
  // at the same moment does not come back at the same moment. After a life of STEADY pauses start over.
  const [BASE, CAP, STEADY, PATIENCE] = [500, 30_000, 5_000, 20_000];
  const COMMANDS = "wsctl.2"; // the protocol in which each text is a command
  const KEEPALIVE = 10; // seconds after which the server is to send something; some more, and it is gone
  let [ceiling, hurried] = [BASE, false];
  let heard, watch;
  let status, socket, since, openedAt;
  let timer = setTimeout(connect); // not at once: who closes it in the same breath has connected to nothing

  const enter = (next, why = "") => onStatus((status = next), why);

  function after(ms, act) {
    clearTimeout(timer);
    timer = setTimeout(act, ms);
  }

  function connect() {
    const address = new URL(url, globalThis.location?.href);
    address.protocol = address.protocol.replace("http", "ws");
    address.searchParams.set("keepalive", KEEPALIVE);
    if (since) address.searchParams.set("since", since);
    for (const topic of topics) address.searchParams.append("topic", topic);
    // A WebSocket of browsers takes no header: the token is a subprotocol, which base64url makes legal.
    const given = token?.();
    const encoded = given && btoa(given).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
    const offered = topics.length ? [COMMANDS, "wsctl"] : given ? ["wsctl"] : [];
    const opening = new WebSocket(address.href, given ? [...offered, `bearer.${encoded}`] : offered);
    opening.onmessage = ({ data }) => heed(JSON.parse(data));
    opening.onclose = ({ code, reason }) => ended(code, reason);
    // A close follows, but not in Node before 24.
    opening.onerror = () => setTimeout(() => opening.onclose?.({ code: 1006 }));
    [socket, openedAt] = [opening, Infinity];
    after(PATIENCE, () => ended(1006, "no welcome came"));
    enter("connecting");
  }

  function heed(frame) {
    heard = true;
    if (frame.type === "keepalive") return;
    if (frame.type === "message") since = frame.id;
    if (frame.type === "error" && frame.code === "degraded") enter("degraded", frame.message);
    if (frame.type === "welcome") {
      // What is not recovered was missed for good: on from the newest id.
      if (!frame.recovered) since = frame.id;
      // A second one on a connection: the server was degraded, and is whole again.
      if (openedAt === Infinity) {
        clearTimeout(timer);
        listen(frame.keepalive_s);
      }
      openedAt = Math.min(openedAt, performance.now());
      enter(frame.server.degraded ? "degraded" : "open");
    }
    if (frame.type === "shutdown") {
      if (frame.deadline_s === null) clearTimeout(timer); // the drain was cancelled
      else if ("reconnect_in_s" in frame) after(frame.reconnect_in_s * 1000, leave); // a moment of its own
    }
    onFrame(frame);
  }

  // Only a server that promised a sign of life is gone when none comes.
  function listen(keepalive) {
    const look = () => {
      if (!heard) ended(1006, "nothing came any more");
      heard = false;
    };
    if (keepalive) watch = setInterval(look, (keepalive + 2.5) * 1000);
  }

  function leave() {
    drop();
    if (hurried) return wait("sent away again");
    hurried = true;
    connect();
  }

  function ended(code, reason) {
    drop();
    const why = reason || code !== 1006 ? `closed with ${code} ${reason}`.trim() : "connection lost";
    if (code >= 4500 && code <= 4999) enter("closed", why);
    else wait(why);
  }

  function wait(why) {
    after(Math.random() * ceiling, connect);
    ceiling = Math.min(CAP, 2 * ceiling);
    enter("waiting", why);
  }

  function drop() {
    clearTimeout(timer);
    clearInterval(watch);
    if (performance.now() - openedAt >= STEADY) [ceiling, hurried] = [BASE, false];
    if (!socket) return;
    socket.onmessage = socket.onclose = null; // what still arrives is asked for again, with `since`
    socket.close(1000);
  }

  /** Whether a connection took it, for everybody or for a topic; that it was published, its coming back
   *  tells, or a frame `ok`. */
  function send(text, topic) {
    const commands = socket?.protocol === COMMANDS;
    const open = (status === "open" || status === "degraded") && socket.readyState === 1;
    if (!open || (topic && !commands)) return false;
    socket.send(commands ? JSON.stringify({ type: "publish", data: text, topic }) : text);
    return true;
  }

  return { send, close: drop };
}
