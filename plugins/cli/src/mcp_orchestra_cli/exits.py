"""The command's exit codes: what a script may rely on."""

from enum import IntEnum

from mcp_orchestra.errors import (
    ConfigurationError,
    MCPConnectionError,
    NoMCPAvailableError,
    ResourceFetchError,
    ToolCallError,
    UnknownServerError,
)

__all__ = ["EXIT_CODES_HELP", "ExitCode", "exit_code_of"]


class ExitCode(IntEnum):
    """How a command ended."""

    OK = 0
    """The question was answered."""
    UNEXPECTED = 1
    """Something that nobody foresaw; ``--debug`` shows where."""
    USAGE = 2
    """The command line or the configuration is wrong; nothing was done."""
    UNAVAILABLE = 3
    """No server is there that could answer, one that should be there is not (``check --connect``), or the cache's
    backend cannot be reached."""
    NOT_FOUND = 4
    """There is no such resource, tool or cache entry, or it could not be had."""
    TOOL_ERROR = 5
    """The tool ran and reported an error."""
    NOT_AS_PINNED = 6
    """Tools are not as they were approved (``pins``)."""
    INTERRUPTED = 130
    """Ctrl-C; other signals end with 128 + their number."""
    BROKEN_PIPE = 141
    """Whoever read the output left, as in ``mcp-orchestra tools | head -1``."""


EXIT_CODES_HELP = """\b
Exit codes:
  0  the question was answered
  1  an unexpected error (--debug shows where)
  2  wrong usage, or an invalid configuration
  3  no server available, a connection failed, or the cache cannot be reached
  4  resource, tool or cache entry not found, or not to be had
  5  the tool reported an error
  6  tools are not as they were approved
  130 interrupted, 141 the reader of the output left, 143 terminated"""

_BY_ERROR: tuple[tuple[type[Exception], ExitCode], ...] = (
    (ConfigurationError, ExitCode.USAGE),
    (UnknownServerError, ExitCode.USAGE),
    (NoMCPAvailableError, ExitCode.UNAVAILABLE),
    (MCPConnectionError, ExitCode.UNAVAILABLE),
    (ResourceFetchError, ExitCode.NOT_FOUND),
    (ToolCallError, ExitCode.NOT_FOUND),
)


def exit_code_of(error: Exception) -> ExitCode:
    """Return the exit code for an error of the library; ``UNEXPECTED`` for any other."""
    return next((code for kind, code in _BY_ERROR if isinstance(error, kind)), ExitCode.UNEXPECTED)
