"""strawberry-graphql: a query, and a subscription that never ends."""

from collections.abc import AsyncIterator

import strawberry
from starlette.applications import Starlette
from starlette.routing import Mount
from strawberry.asgi import GraphQL

from tests.apps.served.stamps import lifespan, stamp, stamps


@strawberry.type
class Query:
    @strawberry.field
    async def said(self) -> str:
        return stamp()


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def saying(self) -> AsyncIterator[str]:
        async for text in stamps():
            yield text


graphql = GraphQL(strawberry.Schema(Query, subscription=Subscription))
app = Starlette(routes=[Mount("/graphql", graphql)], lifespan=lifespan)
