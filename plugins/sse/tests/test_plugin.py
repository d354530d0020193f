"""What the plug-in offers, and what it costs to ask."""

import subprocess
import sys

from mcp_orchestra.types import TransportSpec
from mcp_orchestra_sse import SseOptions


def test_s5_the_plugin_describes_itself_as_deprecated_with_what_to_use_instead(spec: TransportSpec):
    assert (spec.name, spec.options, spec.aliases) == ("sse", SseOptions, ())
    assert (spec.legacy_only, spec.spawns_process) == (False, False)
    assert "streamable-http" in (spec.deprecated or "")


def test_importing_the_plugin_imports_neither_the_sdk_nor_httpx2():
    program = "import mcp_orchestra_sse, sys; print(*{'mcp', 'mcp_types', 'anyio', 'httpx2'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == []
