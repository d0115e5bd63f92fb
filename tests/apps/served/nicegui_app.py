"""NiceGUI: a page whose label changes by itself."""

from fastapi import FastAPI
from nicegui import ui

from tests.apps.served.stamps import INTERVAL, lifespan, stamp

app = FastAPI(lifespan=lifespan)


@ui.page("/")
def index() -> None:
    label = ui.label()
    ui.timer(INTERVAL, lambda: label.set_text(stamp()))


ui.run_with(app, show_welcome_message=False)
