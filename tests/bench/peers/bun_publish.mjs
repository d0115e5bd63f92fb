// Bun's server, whose clients subscribe to one topic.
const server = Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  fetch(request, server) {
    return server.upgrade(request) ? undefined : new Response("", { status: 426 });
  },
  websocket: {
    perMessageDeflate: false,
    sendPings: false,
    open(socket) {
      socket.subscribe("all");
    },
    message(socket, text) {
      server.publish("all", text);
    },
  },
});
console.log(`http://127.0.0.1:${server.port}`);
