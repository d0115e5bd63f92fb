"""picows' core API on uvloop: a plain loop of send()."""

import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_create_server

from tests.bench.peers.listening import listener

connections: set[WSTransport] = set()


class Connection(WSListener):
    def on_ws_connected(self, transport: WSTransport) -> None:
        connections.add(transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.TEXT:
            message = frame.get_payload_as_bytes()
            for connection in connections:
                connection.send(WSMsgType.TEXT, message)
        elif frame.msg_type == WSMsgType.CLOSE:
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        connections.discard(transport)


async def main() -> None:
    server = await ws_create_server(lambda request: Connection(), sock=listener())
    await server.serve_forever()


uvloop.run(main())
