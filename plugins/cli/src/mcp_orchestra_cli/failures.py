"""What the command itself finds wrong, beside what the library raises."""

from collections.abc import Mapping
from typing import Any

from mcp_orchestra_cli.exits import ExitCode

__all__ = ["CommandError", "UsageError"]


class CommandError(Exception):
    """A command cannot do what it was asked.

    Args:
        message: What happened and what to do about it, free of secrets.
        code: The exit code.
        kind: Its name under ``--json``.
        context: Facts for programs.
    """

    def __init__(
        self,
        message: str,
        *,
        code: ExitCode = ExitCode.UNEXPECTED,
        kind: str | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.kind = kind or type(self).__name__
        self.context: dict[str, Any] = dict(context or {})


class UsageError(CommandError):
    """The command line does not fit what there is.

    Args:
        message: What was expected.
        context: Facts for programs.
    """

    def __init__(self, message: str, context: Mapping[str, Any] | None = None) -> None:
        super().__init__(message, code=ExitCode.USAGE, context=context)
