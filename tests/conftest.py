"""What the tests of the assembled thing share."""

import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from mcp_orchestra.testing.servers import ScriptedServer, serve, server_command

Upstream = Callable[..., AbstractAsyncContextManager[dict[str, Any]]]


@pytest.fixture(params=["sse", "stdio", "streamable-http"])
def transport(request: pytest.FixtureRequest) -> str:
    """Every built-in transport in turn."""
    return str(request.param)


@pytest.fixture
def upstream() -> Upstream:
    """Runs a scripted server for the length of a block and yields what a configuration says to reach it.

    ``upstream("sse", name="products", resources=3)`` takes the transport and the options of the command
    ``python -m mcp_orchestra.testing.servers``.
    """

    @asynccontextmanager
    async def run(transport: str, **options: Any) -> AsyncGenerator[dict[str, Any]]:
        if transport == "stdio":
            command, *args = server_command("stdio", **options)
            yield {"transport": "stdio", "command": command, "args": args}
        else:
            async with serve(ScriptedServer(**options), transport) as url:
                yield {"transport": transport, "url": url}

    return run


@pytest.fixture
def configuration(tmp_path: Path) -> Callable[..., Path]:
    """Writes a configuration file into the temporary folder and returns its path."""

    def write(servers: Mapping[str, Mapping[str, Any]], path: str = "mcp_config.yaml", **orchestration: Any) -> Path:
        file = tmp_path / path
        file.parent.mkdir(exist_ok=True)
        # By way of JSON, because YAML would write what two servers share as an alias.
        tree = json.loads(json.dumps({"mcp_servers": servers, "orchestration": orchestration}))
        file.write_text(yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")
        return file

    return write
