// Node's `ws`: a plain loop of send().
const { WebSocketServer } = require("ws");

const options = { host: "127.0.0.1", port: 0, backlog: 2048, perMessageDeflate: false };
const server = new WebSocketServer(options, () => {
  console.log(`http://127.0.0.1:${server.address().port}`);
});
server.on("connection", (socket) => {
  socket.on("error", () => socket.terminate());
  socket.on("message", (data) => {
    const text = data.toString();
    for (const client of server.clients) client.send(text);
  });
});
