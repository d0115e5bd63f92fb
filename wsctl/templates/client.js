// Shows what a wsctl server sends, through its restarts and upgrades.
//
//     node client.js [ID [TEXT]]      TEXT is sent once it is connected
//
// Node 22 and newer have all it needs; before that: npm install ws
// Where the server wants a token from clients, WSCTL_CLIENT_TOKEN has it.

// Where clients reach the server; another address, if they come through a proxy.
const SERVER = "@{url}";

@{follow}

const note = (text) => console.error("*", text);

// Others wrote it: no control character of theirs reaches the terminal.
const shown = (data) => (/^\P{C}*$/u.test(data) && typeof data === "string" ? data : JSON.stringify(data));

async function main(id = "node-example", text = "") {
  globalThis.WebSocket ??= (await import("ws")).WebSocket;

  const link = follow(`${SERVER}/ws/${encodeURIComponent(id)}`, {
    token: () => process.env.WSCTL_CLIENT_TOKEN,

    onStatus(status, why) {
      if (status === "closed") process.exitCode = 1;
      if (status !== "open") note(why ? `${status}: ${why}` : status);
    },

    onFrame(frame) {
      if (frame.type === "message") console.log(`${frame.from}: ${shown(frame.data)}`);
      else if (frame.type === "welcome") {
        note(frame.recovered ? "connected again, nothing was missed"
          : "connected: load anew here what messages keep current");
        if (text && link.send(text)) text = "";
      }
      // shutdown; error, for instance rate_limited
      else if (frame.type !== "heartbeat") note(JSON.stringify(frame));
    },
  });
  process.once("SIGINT", () => link.close());
}

main(...process.argv.slice(2)).catch((error) => {
  note(error.code === "ERR_MODULE_NOT_FOUND" ? "before Node 22: npm install ws" : error);
  process.exitCode = 1;
});
