"""What is tried: a library's application, its client, and how that client sees the end."""

from dataclasses import dataclass

from tests.apps.clients import (
    Client,
    EventClient,
    GraphQLClient,
    LineClient,
    MCPClient,
    NiceGUIClient,
    SocketIOClient,
    WebSocketClient,
)

RESTART = "closed with 1012"
STREAM = "the stream ended"
SOCKET = "disconnected: transport error"


@dataclass(frozen=True)
class Case:
    """One application with its client.

    Attributes:
        end: what the client says of a connection that was ended by force.
        library: the distribution whose application it is.
        extra: whether it needs the packages of the extra `apps`.
        lifespan: whether the library has a lifespan.
    """

    name: str
    library: str
    app: str
    client: type[Client]
    end: str
    extra: bool = True
    lifespan: bool = True


CASES = (
    Case("Starlette WebSocket", "starlette", "starlette_app", WebSocketClient, RESTART, extra=False),
    Case("Starlette stream", "starlette", "starlette_app", LineClient, STREAM, extra=False),
    Case("FastAPI WebSocket", "fastapi", "fastapi_app", WebSocketClient, RESTART, extra=False),
    Case("FastAPI event stream", "fastapi", "fastapi_app", EventClient, STREAM, extra=False),
    Case("sse-starlette", "sse-starlette", "sse_starlette_app", EventClient, STREAM, extra=False),
    Case("Socket.IO", "python-socketio", "socketio_app", SocketIOClient, SOCKET),
    Case("Django Channels", "channels", "channels_app", WebSocketClient, RESTART, lifespan=False),
    Case("GraphQL subscription", "strawberry-graphql", "strawberry_app", GraphQLClient, RESTART),
    Case("MCP tool call", "mcp", "mcp_app", MCPClient, "MCPError: SSE stream ended without a response"),
    Case("NiceGUI page", "nicegui", "nicegui_app", NiceGUIClient, SOCKET),
)
