"""What the plug-in offers, and what it costs to ask."""

import subprocess
import sys

import pytest
from mcp_orchestra.types import TransportSpec
from mcp_orchestra_streamable_http import StreamableHttpOptions
from pydantic import ValidationError


def test_s5_the_plugin_describes_itself_with_every_spelling_in_use(spec: TransportSpec):
    assert (spec.name, spec.options) == ("streamable-http", StreamableHttpOptions)
    assert set(spec.aliases) == {"http", "streamable_http", "streamableHttp"}
    assert (spec.legacy_only, spec.deprecated, spec.spawns_process) == (False, None, False)


def test_the_watch_is_on_unless_switched_off():
    assert StreamableHttpOptions(url="http://h/").watch is True
    assert StreamableHttpOptions.model_validate({"url": "http://h/", "watch": False}).watch is False
    with pytest.raises(ValidationError, match="watch"):
        StreamableHttpOptions.model_validate({"url": "http://h/", "watch": "no"})


def test_importing_the_plugin_imports_neither_the_sdk_nor_httpx2():
    modules = "{'mcp', 'mcp_types', 'anyio', 'httpx2'}"
    program = f"import mcp_orchestra_streamable_http, sys; print(*{modules} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == []
