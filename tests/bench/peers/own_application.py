"""An application as a team has one, for `tests.bench.application`; run as a program it is under uvicorn."""

import sys

import uvicorn
from fastapi import FastAPI, WebSocket
from starlette.websockets import WebSocketDisconnect

app = FastAPI()


@app.get("/json")
async def answer() -> dict[str, str]:
    return {"hello": "world"}


@app.websocket("/echo")
async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    try:
        while True:
            await websocket.send_text(await websocket.receive_text())
    except WebSocketDisconnect:
        return


class _Server(uvicorn.Server):
    async def startup(self, sockets: object = None) -> None:
        await super().startup()
        print(f"http://127.0.0.1:{self.servers[0].sockets[0].getsockname()[1]}", flush=True)


def main(parser: str) -> None:
    config = uvicorn.Config(
        app, port=0, http=parser, ws="websockets-sansio", log_level="warning", access_log=False
    )
    _Server(config).run()


if __name__ == "__main__":
    main(sys.argv[1])
