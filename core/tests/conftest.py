"""What all tests of core share."""

import pytest


@pytest.fixture
def anyio_backend() -> str:
    """Run asynchronous tests on asyncio alone: the SDK's HTTP client and our tasks are asyncio's."""
    return "asyncio"
