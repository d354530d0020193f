"""A route that takes small request bodies only: FastAPI itself reads them whole, whatever their size."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.routing import APIRoute
from starlette.types import Message

__all__ = ["MAX_BODY_BYTES", "SmallBodyRoute"]

MAX_BODY_BYTES = 64 * 1024
"""The largest request body, in bytes."""


class SmallBodyRoute(APIRoute):
    """Answers 413 to a request whose body is larger than ``MAX_BODY_BYTES``, after reading no more than that."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return FastAPI's handler behind the limit."""
        handle = super().get_route_handler()

        async def handle_small(request: Request) -> Response:
            received = 0

            async def receive() -> Message:
                nonlocal received
                message = await request.receive()
                received += len(message.get("body", b""))
                if received > MAX_BODY_BYTES:
                    raise HTTPException(413, f"the body is larger than {MAX_BODY_BYTES} bytes")
                return message

            return await handle(Request(request.scope, receive))

        return handle_small
