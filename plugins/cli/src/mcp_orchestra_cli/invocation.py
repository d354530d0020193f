"""One run of a command: its settings, its screen, and what becomes of its errors."""

import os
import sys
import traceback
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import typer
from mcp_orchestra.errors import ConfigurationError, MCPOrchestratorException

from mcp_orchestra_cli.exits import ExitCode, exit_code_of
from mcp_orchestra_cli.failures import CommandError
from mcp_orchestra_cli.logs import shown_logs
from mcp_orchestra_cli.running import SignalledError, run
from mcp_orchestra_cli.screen import Screen
from mcp_orchestra_cli.settings import Settings

__all__ = ["Invocation", "invocation", "show_error"]

ResultT = TypeVar("ResultT")


@dataclass(frozen=True, kw_only=True)
class Invocation:
    """What a command works with."""

    settings: Settings
    screen: Screen
    raise_log_level: Callable[[], None]
    """To be called after a configuration was loaded."""

    def run(self, main: Coroutine[Any, Any, ResultT]) -> ResultT:
        """Run the asynchronous part of the command."""
        return run(main)


@contextmanager
def invocation(context: typer.Context, config: Path | None, as_json: bool, debug: bool) -> Generator[Invocation]:
    """Provide a command's body with what it needs, and turn whatever it raises into a message and an exit code.

    Args:
        context: Typer's, with the options given before the command's name.
        config: The option of the same name; likewise the others.
        as_json: Likewise.
        debug: Likewise.
    """
    settings = Settings(config=config, as_json=as_json, debug=debug).over(context.obj)
    screen = Screen(as_json=settings.as_json)
    with shown_logs(screen.note, debug=settings.debug) as raise_log_level:
        try:
            try:
                yield Invocation(settings=settings, screen=screen, raise_log_level=raise_log_level)
            except (typer.Exit, BrokenPipeError):
                raise
            except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the last one who could say what happened
                if settings.debug:
                    screen.note(_traceback(error, settings))
                raise typer.Exit(show_error(error, screen)) from None
            finally:
                screen.flush()
        except BrokenPipeError:
            _discard_output()
            raise typer.Exit(ExitCode.BROKEN_PIPE) from None


def show_error(error: BaseException, screen: Screen) -> int:
    """Say what is wrong, and return the exit code."""
    match error:
        case CommandError():
            kind, message, facts, code = error.kind, error.message, error.context, int(error.code)
        case MCPOrchestratorException():
            kind, message, facts, code = type(error).__name__, error.message, error.context, int(exit_code_of(error))
        case SignalledError():
            kind, message, facts, code = "Terminated", str(error), {}, 128 + error.number
        case KeyboardInterrupt():
            kind, message, facts, code = "Interrupted", "interrupted", {}, int(ExitCode.INTERRUPTED)
        case _:
            # Not its text: it is another library's, and may hold a secret.
            message = f"unexpected {type(error).__name__}; --debug shows where it comes from"
            kind, facts, code = type(error).__name__, {}, int(ExitCode.UNEXPECTED)
    if screen.as_json:
        screen.document({"error": {"type": kind, "message": message, "context": facts}})
    else:
        screen.note("\n".join(_problems(error)) or f"error: {message}")
        if known := facts.get("known_domains"):
            screen.note(f"  -> known domains: {', '.join(known)}")
    return code


def _problems(error: BaseException) -> Iterator[str]:
    """Yield what is wrong with a configuration file the way compilers do: editors jump to such lines."""
    if not isinstance(error, ConfigurationError):
        return
    file, found = error.context.get("path"), error.context.get("errors")
    if not file or not found:
        if "tried" in error.context:
            yield f"error: {error.message}"
            yield "  -> mcp-orchestra init writes one; --config names another"
        return
    yield f"error: {file} is not a valid configuration"
    for problem in found:
        place = [str(part) for part in (file, problem["line"], problem["column"]) if part is not None]
        path = f"{problem['path']}: " if problem["path"] else ""
        yield f"{':'.join(place)}: {path}{problem['message']}"


def _traceback(error: BaseException, settings: Settings) -> str:
    """Return the traceback without the secrets of the configuration in use."""
    text = "".join(traceback.format_exception(error)).rstrip()
    try:
        from mcp_orchestra.config.loader import load_config
        from mcp_orchestra.redaction import Redactor

        return Redactor(load_config(settings.config).secrets)(text)
    except MCPOrchestratorException:  # without a valid configuration no secret was ever used
        return text


def _discard_output() -> None:
    """Let the interpreter's last flush go nowhere: nobody reads standard output any more."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, sys.stdout.fileno())
    os.close(devnull)
