"""Run MCP servers as child processes and talk to them over stdin and stdout."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

from mcp_orchestra.hookspecs import hookimpl
from mcp_orchestra.redaction import MASK
from mcp_orchestra.types import Endpoint, TransportSpec
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from mcp.client import Transport

__all__ = ["StdioOptions", "mcp_orchestra_transports"]


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not contain a NUL character")
    return text


def _variable_names(env: dict[str, str]) -> dict[str, str]:
    for name in env:
        if not name or "=" in name:
            raise ValueError(f"{name!r} is not a valid name for an environment variable")
    return env


_Text = Annotated[str, AfterValidator(_without_nul)]


class StdioOptions(BaseModel):
    """The options of a server with ``transport: stdio``."""

    # Strict: `yes` is not a text. Inputs stay out of messages: they may be secrets.
    model_config = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True)

    command: Annotated[_Text, Field(min_length=1)]
    """The program to run: a path, or a name to look up in ``PATH``. No shell is involved."""
    args: list[_Text] = Field(default_factory=list)
    """Its arguments."""
    env: Annotated[dict[_Text, _Text], AfterValidator(_variable_names)] = Field(default_factory=dict)
    """Environment variables beside ``HOME``, ``LOGNAME``, ``PATH``, ``SHELL``, ``TERM`` and ``USER``, which are the
    only ones that it inherits."""
    cwd: Annotated[_Text, Field(min_length=1)] | None = None
    """The directory to run it in; by default that of this process."""

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        """Hide arguments and the values of variables, which may be secrets."""
        for name, value in super().__repr_args__():
            if name == "args":
                value = [MASK] * len(value)
            elif name == "env":
                value = dict.fromkeys(value, MASK)
            yield name, value


def _open(endpoint: Endpoint[StdioOptions]) -> "Transport":
    # Imported here: the SDK takes about a second to import.
    from mcp_orchestra_stdio.transport import stdio

    return stdio(endpoint)


@hookimpl
def mcp_orchestra_transports() -> Iterator[TransportSpec]:
    """Offer the transport ``stdio``."""
    yield TransportSpec(name="stdio", open=_open, options=StdioOptions, spawns_process=True)
