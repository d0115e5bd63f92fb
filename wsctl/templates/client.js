// Shows what a wsctl server sends, through its restarts and upgrades.
//
//     node client.js [ID [TEXT]]      TEXT is sent once it is connected
//
// Node 22 and newer have all it needs; before that: npm install ws
// Where the server wants a token from clients, WSCTL_CLIENT_TOKEN has it.

// Where clients reach the server; another address, if they come through a proxy.
const SERVER = "@{url}";

// The topics to subscribe to, or patterns of them: ["quotes.eu", "orders.*", "chat.>"]. What is for everybody
// comes without them. With any, `send(text, topic)` can send to one, too.
const TOPICS = [];

@{follow}

// One line: what others wrote must not control the terminal or turn the writing direction.
const HIDDEN = /(?![\u200c\u200d])[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;
const escaped = (character) => `\\u{${character.codePointAt().toString(16)}}`;
const plain = (text) => String(text).replace(HIDDEN, escaped);
const shown = (data) => plain(typeof data === "string" ? data : JSON.stringify(data));
const note = (text) => console.error("*", plain(text));

async function main(id = "node-example", text = "") {
  globalThis.WebSocket ??= (await import("ws")).WebSocket;

  const link = follow(`${SERVER}/ws/${encodeURIComponent(id)}`, {
    token: () => process.env.WSCTL_CLIENT_TOKEN,
    topics: TOPICS,

    onStatus(status, why) {
      if (status === "closed") process.exitCode = 1;
      if (status !== "open") note(why ? `${status}: ${why}` : status);
    },

    onFrame(frame) {
      const about = frame.topic ? ` on ${plain(frame.topic)}` : "";
      if (frame.type === "message") console.log(`${plain(frame.from)}${about}: ${shown(frame.data)}`);
      else if (frame.type === "welcome") {
        note(frame.recovered ? "connected again, nothing was missed"
          : "connected: load anew here what messages keep current");
        if (text && link.send(text)) text = "";
      }
      // shutdown; error, for instance rate_limited
      else if (frame.type !== "heartbeat" && frame.type !== "ok") note(JSON.stringify(frame));
    },
  });
  process.once("SIGINT", () => link.close());
}

main(...process.argv.slice(2)).catch((error) => {
  note(error.code === "ERR_MODULE_NOT_FOUND" ? "before Node 22: npm install ws" : error);
  process.exitCode = 1;
});
