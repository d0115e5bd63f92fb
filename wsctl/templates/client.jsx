// A hook for React (18 and newer), and a component that shows how to use it: save it as src/App.jsx.
// A page from another origin than the server's needs: wsctl serve --allow-origin https://app.example.org

import { useCallback, useEffect, useRef, useState } from "react";

// Where clients reach the server; another address, if they come through a proxy.
const SERVER = "@{url}";

// The topics to subscribe to, or patterns of them: ["quotes.eu", "orders.*", "chat.>"]. What is for everybody
// comes without them. With any, `send(text, topic)` can send to one, too.
const TOPICS = [];

const NOTHING = { status: "connecting", why: "", messages: [] };

/**
 * What a client of a wsctl server has seen: { status, why, messages, send }.
 *
 * `status` is "connecting", "open", "degraded" (the server takes no messages for now), "waiting" (to connect
 * again) or "closed" (for good), and `why` says more. `messages` are the last `keep`. `send(text)` is false
 * when there was no connection to take it, and stays the same function; with topics, `send(text, topic)` sends
 * to one. `onFrame(frame)` gets everything else, too: a "welcome" whose `recovered` is not true means that
 * messages may have been missed: load anew what they keep current; its `lost` names the topics that this is
 * about, if it can. `topics` are those to subscribe to: others make another connection. `token` is for servers
 * that want one; a fresh one is used from the next connection on.
 */
export function useWsctl(url, { keep = 500, onFrame, token, topics = TOPICS } = {}) {
  const [seen, setSeen] = useState(NOTHING);
  const link = useRef(null);
  // Options may change with each render; only another url, or other topics, make another connection.
  const wanted = topics.join(" ");
  const options = useRef({});
  useEffect(() => { options.current = { keep, onFrame, token }; });

  useEffect(() => {
    const add = (news) => setSeen((old) => {
      const before = old.url === url ? old : { ...NOTHING, url };
      return { ...before, ...news(before) };
    });
    link.current = follow(url, {
      token: () => options.current.token,
      topics: wanted ? wanted.split(" ") : [],
      onStatus: (status, why) => add(() => ({ status, why })),
      onFrame(frame) {
        if (frame.type === "message") {
          add(({ messages }) => ({ messages: [...messages, frame].slice(-options.current.keep) }));
        }
        options.current.onFrame?.(frame);
      },
    });
    return () => link.current.close();
  }, [url, wanted]);

  const send = useCallback((text, topic) => link.current?.send(text, topic) ?? false, []);
  const { status, why, messages } = seen.url === url ? seen : NOTHING; // nothing of another url is shown
  return { status, why, messages, send };
}

@{follow}

// What others wrote must not turn the writing direction, or be there without being seen.
const HIDDEN = /(?![\n\t\u200c\u200d])[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;
const escaped = (character) => `\\u{${character.codePointAt().toString(16)}}`;
const shown = (data) => (typeof data === "string" ? data : JSON.stringify(data)).replace(HIDDEN, escaped);

export default function App() {
  // An id of this tab's own: a second connection with the same one would replace it (4501).
  const [id] = useState(() => `react-${Math.random().toString(36).slice(2, 8)}`);
  const [text, setText] = useState("");
  const [note, setNote] = useState("");
  const { status, why, messages, send } = useWsctl(`${SERVER}/ws/${id}`, {
    onFrame(frame) {
      if (frame.type === "welcome") setNote(frame.recovered ? "" : "Load anew what messages keep current.");
      if (frame.type === "error") setNote(frame.message);
    },
  });

  function submit(event) {
    event.preventDefault();
    if (send(text)) setText("");
    else setNote("Not sent: there is no connection.");
  }

  return (
    <main>
      <p role="status">{status} {shown(why)} {shown(note)}</p>
      <ul aria-label="Messages">
        {messages.map(({ id, from, topic, data }) => (
          <li key={id}>{shown(from)}{topic && ` on ${shown(topic)}`}: {shown(data)}</li>
        ))}
      </ul>
      <form onSubmit={submit}>
        <label>Your message <input value={text} onChange={(e) => setText(e.target.value)} required /></label>
        <button>Send</button>
      </form>
    </main>
  );
}
