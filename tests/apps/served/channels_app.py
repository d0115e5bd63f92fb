"""Channels on Django: a consumer that answers each text."""

import django
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path

from tests.apps.served.stamps import stamp


def index(_request: HttpRequest) -> HttpResponse:
    return HttpResponse(stamp())


urlpatterns = [path("", index)]

settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="of a test")
django.setup(set_prefix=False)


class Consumer(AsyncWebsocketConsumer):
    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        await self.send(stamp())


app = ProtocolTypeRouter(
    {"http": get_asgi_application(), "websocket": URLRouter([path("ws", Consumer.as_asgi())])}
)
