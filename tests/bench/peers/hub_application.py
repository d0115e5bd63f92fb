"""An application with a hub, for `tests.bench.application`: served by `wsctl serve --factory`."""

from fastapi import FastAPI

from wsctl import Client, Hub, Incoming


def plain() -> FastAPI:
    return _application(Hub())


def with_hook() -> FastAPI:
    hub = Hub()

    @hub.on_message
    def said(client: Client, message: Incoming) -> object:
        return message.data

    return _application(hub)


def with_async_hook() -> FastAPI:
    hub = Hub()

    @hub.on_message
    async def said(client: Client, message: Incoming) -> object:
        return message.data

    return _application(hub)


def _application(hub: Hub) -> FastAPI:
    app = FastAPI(lifespan=hub.lifespan)
    app.include_router(hub.router)
    return app
