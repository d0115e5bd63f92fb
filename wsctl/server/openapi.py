"""The OpenAPI schemas of the answers that routes make by hand."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field

from wsctl.drain.phases import Phase
from wsctl.drain.progress import DrainProgress, HandoverProgress

Answers = dict[int | str, dict[str, Any]]


class Application(FastAPI):
    """The application, whose schema leaves out 422, which FastAPI gives to bad requests: here they get 400,
    like all others."""

    def openapi(self) -> dict[str, Any]:
        described = super().openapi()
        for path in described["paths"].values():
            for operation in path.values():
                operation["responses"].pop("422", None)
        for model in ("HTTPValidationError", "ValidationError"):
            described["components"]["schemas"].pop(model, None)
        return described


class Said(BaseModel):
    model_config = ConfigDict(extra="forbid")

    code: str = Field(description="For programs.")
    message: str = Field(description="For people.")


class Failed(BaseModel):
    """The body of every error answer."""

    model_config = ConfigDict(extra="forbid")

    error: Said


class Alive(BaseModel):
    """The phase of the server."""

    status: Phase


class Health(Alive):
    """The facts that anyone may know."""

    connections: int
    uptime_s: float
    version: str
    degraded: bool = Field(description="Cut off from those that it shares messages with.")


class Counts(BaseModel):
    """Counts of messages, or their rates."""

    published: float
    received: float
    delivered: float


class Client(BaseModel):
    """A client that is connected. Of clients of other servers less is known."""

    client_id: str
    address: str | None
    connected_s: float
    waiting_bytes: int | None


class Status(Alive):
    """The facts that operators may know; rates are per second over the last ten."""

    connections: int
    uptime_s: float
    version: str
    pid: int
    capacity: int | None
    closing: int
    newest_id: str
    messages: Counts
    rates: Counts
    generation: int
    drain: DrainProgress | None
    upgrade: HandoverProgress | None
    degraded: str | None = Field(description="Why it is cut off from those that it shares messages with.")
    clients: list[Client] = Field([], description="Only when asked for.")


class Drained(Alive):
    """A drain as it stands."""

    drain: DrainProgress | None


class Ended(BaseModel):
    """The last figures of a drain, and the exit code of the process."""

    drain: DrainProgress | None = Field(description="Null when it was cancelled.")
    exit_code: int


class Upgraded(BaseModel):
    """A handover as it stands, or the last one."""

    upgrade: HandoverProgress | None


def told(model: type[BaseModel], status: int = HTTPStatus.OK) -> Answers:
    """Describe a good answer of a route that makes it itself."""
    return {int(status): {"model": model}}


def refused(*statuses: int) -> Answers:
    """Describe the error answers with these statuses."""
    return {int(status): {"model": Failed, "description": HTTPStatus(status).phrase} for status in statuses}


CONTROL: Mapping[int | str, dict[str, Any]] = refused(HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
"""The error answers to a caller who is no operator."""
