"""What the tests of the SSE transport share."""

from collections.abc import Callable
from typing import Any

import mcp_orchestra_sse
import pytest
from mcp_orchestra.types import Endpoint, TransportSpec


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def spec() -> TransportSpec:
    (spec,) = mcp_orchestra_sse.mcp_orchestra_transports()
    return spec


@pytest.fixture
def endpoint() -> Callable[..., Endpoint[Any]]:
    def make(url: str, *, limit: int = 10 * 1024 * 1024, **options: Any) -> Endpoint[Any]:
        validated = mcp_orchestra_sse.SseOptions.model_validate({"url": url, **options})
        return Endpoint(server_id="x", url=url, options=validated, max_message_bytes=limit)

    return make
