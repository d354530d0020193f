"""What may stand in the options of a server that is run as a child process."""

import subprocess
import sys

import pytest
from mcp_orchestra.types import TransportSpec
from mcp_orchestra_stdio import StdioOptions
from pydantic import ValidationError


def test_a_command_is_all_that_is_required():
    options = StdioOptions(command="server")
    assert (options.args, options.env, options.cwd) == ([], {}, None)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({}, "command"),
        ({"command": ""}, "command"),
        ({"command": 5}, "command"),
        ({"command": "a\0b"}, "command"),
        ({"command": "a", "args": "x"}, "args"),
        ({"command": "a", "args": ["x", 5]}, "args"),
        ({"command": "a", "args": ["x\0"]}, "args"),
        ({"command": "a", "env": {"N": 5}}, "env"),
        ({"command": "a", "env": {"A=B": "x"}}, "env"),
        ({"command": "a", "env": {"": "x"}}, "env"),
        ({"command": "a", "cwd": ""}, "cwd"),
        ({"command": "a", "shell": True}, "shell"),
    ],
)
def test_a_wrong_option_is_refused_by_name(options, field):
    with pytest.raises(ValidationError, match=field):
        StdioOptions.model_validate(options)


def test_s6_neither_an_error_nor_the_representation_holds_a_secret():
    with pytest.raises(ValidationError) as caught:
        StdioOptions.model_validate({"command": "a", "env": {"KEY": "canary\0"}, "args": [["canary"]]})
    assert "canary" not in str(caught.value)
    options = StdioOptions(command="server", args=["--token=canary"], env={"KEY": "canary"})
    assert "canary" not in repr(options)
    assert "KEY" in repr(options)


def test_the_plugin_describes_itself(spec: TransportSpec):
    assert (spec.name, spec.options, spec.spawns_process) == ("stdio", StdioOptions, True)
    assert (spec.aliases, spec.legacy_only, spec.deprecated) == ((), False, None)


def test_importing_the_plugin_imports_neither_the_sdk_nor_anyio():
    program = "import mcp_orchestra_stdio, sys; print(*{'mcp', 'mcp_types', 'anyio', 'httpx2'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == []
