"""Reloads the configuration when its file has changed, or when the process is told to by SIGHUP."""

import asyncio
import logging
import signal
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager, nullcontext, suppress
from pathlib import Path

from mcp_orchestra.config.difference import ReloadResult
from mcp_orchestra.config.files import Stamp, stamp_of
from mcp_orchestra.config.loaded import LoadedConfig
from mcp_orchestra.errors import MCPOrchestratorException
from mcp_orchestra.orchestrator import MCPOrchestrator

__all__ = ["auto_reload"]

logger: logging.Logger = logging.getLogger(__name__)

_Stamps = dict[Path, Stamp]
"""What the files that there are look like."""

_LOOK_SECONDS = 1.0
"""How often the file is looked at. It is loaded when it has changed and then looked the same twice: it may be being
written."""


@asynccontextmanager
async def auto_reload(
    orchestrator: MCPOrchestrator, *, on_change: bool = True, on_sighup: bool = True
) -> AsyncGenerator[None]:
    """Call ``orchestrator.reload()`` when the configuration has changed, until the end of the block.

    A reload that fails is logged as one ERROR that says why, on the logger ``mcp_orchestra.watching``; everything goes
    on as before, and the next change is tried again.

    Args:
        orchestrator: Whose configuration it is. It may be initialised before, within, or not at all.
        on_change: Reload one to two seconds after the configuration file, or the pin file that it names, was changed or
            replaced, also if that was before, but after it was loaded. Files that it takes secrets from are not
            watched; send SIGHUP after changing them.
        on_sighup: Reload on SIGHUP. Only the main thread of a POSIX process can; and a handler that the application
            has installed stays in place. In both cases one line of the log says that SIGHUP does not reload.
    """
    told = asyncio.Event()
    with _sighup(told) if on_sighup else nullcontext():
        watching = asyncio.create_task(_watch(orchestrator, told, on_change=on_change), name="mcp-orchestra-watch")
        try:
            yield
        finally:
            watching.cancel()
            await asyncio.wait({watching})


async def _watch(orchestrator: MCPOrchestrator, told: asyncio.Event, *, on_change: bool) -> None:
    in_force: LoadedConfig | None = None
    tried: _Stamps = {}
    before: _Stamps = {}
    pins: Path | None = None
    while True:
        with suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_SECONDS):
                await told.wait()
        loaded = orchestrator._loaded  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        if loaded is not in_force:
            in_force, tried = loaded, {path: stamp for path, stamp in _watched(loaded).items() if stamp is not None}
        paths = {*_watched(loaded), *([pins] if pins is not None else [])}
        looks = {path: await asyncio.to_thread(stamp_of, path) for path in paths}
        now = {path: stamp for path, stamp in looks.items() if stamp is not None}
        if told.is_set() or (on_change and now != tried and now == before):
            told.clear()
            tried = now
            pins = await _reload(orchestrator)
        before = now


def _watched(loaded: LoadedConfig | None) -> dict[Path, Stamp | None]:
    """Return the files of a configuration, as they looked when it was loaded."""
    found: dict[Path, Stamp | None] = {}
    if loaded is not None and loaded.path is not None:
        found[loaded.path] = loaded.stamp
    if loaded is not None and loaded.tool_pins is not None:
        found[loaded.tool_pins.file] = loaded.tool_pins.stamp
    return found


async def _reload(orchestrator: MCPOrchestrator) -> Path | None:
    """Reload, and return the pin file that has to be mended before that can work, if there is one."""
    try:
        result = await orchestrator.reload()
    except MCPOrchestratorException as error:
        logger.error("the configuration before stays in force: %s", error.message)
        file = error.context.get("tool_pins")
        return Path(file) if file is not None else None
    logger.info("the configuration was reloaded: %s", _summary(result))
    for server_id, reason in result.failed.items():
        logger.warning("server %s is not connected: %s", server_id, reason)
    return None


def _summary(result: ReloadResult) -> str:
    kinds = ("added", "removed", "changed", "updated")
    said = [f"{kind} {', '.join(ids)}" for kind in kinds if (ids := getattr(result, kind))]
    return "; ".join([*said, f"{len(result.unchanged)} unchanged"])


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
