"""Reloads the configuration when its file has changed, or when the process is told to by SIGHUP."""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager, nullcontext, suppress
from pathlib import Path

from mcp_orchestra.config.difference import ReloadResult
from mcp_orchestra.errors import MCPOrchestratorException
from mcp_orchestra.orchestrator import MCPOrchestrator

__all__ = ["auto_reload"]

logger: logging.Logger = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0
"""How often the file is looked at. It is loaded when it has changed and then looked the same twice: it may be being
written."""

_Stamp = tuple[int, int, int] | None


@asynccontextmanager
async def auto_reload(
    orchestrator: MCPOrchestrator, *, on_change: bool = True, on_sighup: bool = True
) -> AsyncGenerator[None]:
    """Call ``orchestrator.reload()`` when the configuration has changed, until the end of the block.

    A reload that fails is logged as one ERROR that says why, on the logger ``mcp_orchestra.watching``; everything goes
    on as before, and the next change is tried again.

    Args:
        orchestrator: Whose configuration it is. It may be initialised before, within, or not at all.
        on_change: Reload one to two seconds after the configuration file was changed or replaced. Files that it takes
            secrets from are not watched; send SIGHUP after changing them.
        on_sighup: Reload on SIGHUP. Only the main thread of a POSIX process can; and a handler that the application
            has installed stays in place. In both cases one line of the log says that SIGHUP does not reload.
    """
    told = asyncio.Event()
    seen = orchestrator.config_path, await _stamp(orchestrator.config_path)
    with _sighup(told) if on_sighup else nullcontext():
        watching = asyncio.create_task(
            _watch(orchestrator, told, *seen, on_change=on_change), name="mcp-orchestra-watch"
        )
        try:
            yield
        finally:
            watching.cancel()
            await asyncio.wait({watching})


async def _watch(
    orchestrator: MCPOrchestrator, told: asyncio.Event, path: Path | None, loaded: _Stamp, *, on_change: bool
) -> None:
    before = loaded
    while True:
        with suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_SECONDS):
                await told.wait()
        now = await _stamp(orchestrator.config_path)
        if orchestrator.config_path != path:
            path, loaded = orchestrator.config_path, now  # somebody else has just loaded it
        elif told.is_set() or (on_change and now != loaded and now == before):
            told.clear()
            loaded = now
            await _reload(orchestrator)
        before = now


async def _reload(orchestrator: MCPOrchestrator) -> None:
    try:
        result = await orchestrator.reload()
    except MCPOrchestratorException as error:
        logger.error("the configuration before stays in force: %s", error.message)
        return
    logger.info("the configuration was reloaded: %s", _summary(result))
    for server_id, reason in result.failed.items():
        logger.warning("server %s is not connected: %s", server_id, reason)


def _summary(result: ReloadResult) -> str:
    kinds = ("added", "removed", "changed", "updated")
    said = [f"{kind} {', '.join(ids)}" for kind in kinds if (ids := getattr(result, kind))]
    return "; ".join([*said, f"{len(result.unchanged)} unchanged"])


async def _stamp(path: Path | None) -> _Stamp:
    """Return what changes when the file is changed or replaced; None if it is not there."""
    if path is None:
        return None
    try:
        found = await asyncio.to_thread(os.stat, path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


@contextmanager
def _sighup(told: asyncio.Event) -> Generator[None]:
    """Set an event on each SIGHUP, if that can be had."""
    loop = asyncio.get_running_loop()
    number = getattr(signal, "SIGHUP", None)
    previous = signal.getsignal(number) if number is not None else None
    if number is None or previous not in (signal.SIG_DFL, signal.SIG_IGN):
        reason = "there is none on this system" if number is None else "the application handles it"
        logger.info("SIGHUP does not reload the configuration: %s", reason)
        yield
        return
    try:
        loop.add_signal_handler(number, told.set)
    except (NotImplementedError, RuntimeError, ValueError):
        logger.info("SIGHUP does not reload the configuration: only the main thread can be told")
        yield
        return
    try:
        yield
    finally:
        loop.remove_signal_handler(number)
        signal.signal(number, previous)
