"""A server's process from its start until nothing of it is left."""

import errno
import os
import shutil
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
import anyio.lowlevel
from anyio.abc import ByteReceiveStream, Process
from mcp.client.stdio import get_default_environment
from mcp_orchestra.errors import MCPConnectionError

from mcp_orchestra_stdio import StdioOptions
from mcp_orchestra_stdio.cancellation import uninterrupted

__all__ = ["ServerProcess", "running"]

# The protocol's order of shutdown: end of input, SIGTERM, SIGKILL. The sum stays below what core gives a close.
_EXIT_SECONDS = 2.0
_TERM_SECONDS = 2.0
_KILL_SECONDS = 0.3


class ServerProcess:
    """A running server: the leader of a process group of its own, where the system has such a thing."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._swept = False
        if process.stdin is None or process.stdout is None or process.stderr is None:
            raise RuntimeError("a server is started with three pipes")
        self.stdin = process.stdin
        self.stdout = process.stdout
        self.stderr = process.stderr
        self.pid = process.pid

    async def exited(self) -> int:
        """Wait for the process itself to end, end what it leaves behind, and return its exit status.

        A child that outlives the server can do nothing but hold its pipes open.
        """
        code = await self._process.wait()
        self._sweep()
        return code

    async def stop(self) -> None:
        """End the process and its group, and release its pipes; takes at most 4.3 seconds."""
        async with anyio.create_task_group() as tasks:
            # A server that writes while it shuts down must not block on a full pipe.
            tasks.start_soon(_drain, self.stdout)
            tasks.start_soon(_drain, self.stderr)
            with suppress(OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
                await self.stdin.aclose()
            if not await self._exits_within(_EXIT_SECONDS):
                self._signal(signal.SIGTERM)
                if not await self._exits_within(_TERM_SECONDS):
                    self._kill()
                    await self._exits_within(_KILL_SECONDS)
            tasks.cancel_scope.cancel()
        if self._process.returncode is not None:
            await self._process.aclose()
            for _ in range(3):  # asyncio closes the descriptors in callbacks
                await anyio.lowlevel.checkpoint()

    async def _exits_within(self, seconds: float) -> bool:
        with anyio.move_on_after(seconds):
            await self.exited()
            return True
        return False

    def _sweep(self) -> None:
        # At once and once only: the group's number is reserved only for as long as it has members.
        if not self._swept:
            self._swept = True
            self._kill()

    def _kill(self) -> None:
        if os.name == "posix":
            self._signal(signal.SIGKILL)
        else:
            self._signal(signal.SIGTERM)  # which ends a process for good where there is nothing else

    def _signal(self, number: signal.Signals) -> None:
        # EPERM: a member runs as somebody else now; it is out of our reach.
        with suppress(ProcessLookupError, PermissionError):
            if os.name == "posix":
                os.killpg(self.pid, number)
            elif self._process.returncode is None:
                self._process.terminate()


@asynccontextmanager
async def running(options: StdioOptions) -> AsyncGenerator[ServerProcess]:
    """Run a server for the length of the block; on no way out is anything of it left.

    Raises:
        MCPConnectionError: It cannot be started.
    """
    started: list[ServerProcess] = []

    async def start() -> None:
        process = await anyio.open_process(
            [options.command, *options.args],
            env={**get_default_environment(), **options.env},
            cwd=options.cwd,
            start_new_session=os.name == "posix",
        )
        started.append(ServerProcess(process))

    try:
        if options.cwd is not None and not Path(options.cwd).is_dir():  # noqa: ASYNC240 - one stat
            raise _failure(f"the directory cwd={options.cwd!r} does not exist", "cwd")
        try:
            await uninterrupted(start)
        except OSError as error:
            raise _explained(error, options) from error
        yield started[0]
    finally:
        for process in started:
            await uninterrupted(process.stop)


async def _drain(stream: ByteReceiveStream) -> None:
    with suppress(OSError, anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
        while True:
            await stream.receive()


def _explained(error: OSError, options: StdioOptions) -> MCPConnectionError:
    command = options.command
    path = shutil.which(command, path=options.env.get("PATH"))
    match error:
        case OSError() if options.cwd is not None and error.filename == options.cwd:
            return _failure(f"the directory cwd={options.cwd!r} cannot be entered", "cwd")
        case FileNotFoundError() if path is not None and options.cwd is None:
            return _failure(f"{path!r} names an interpreter in its first line that does not exist", "not_found")
        case FileNotFoundError() | NotADirectoryError() if " " in command:
            return _failure(f"the command {command!r} was not found; put its arguments into args", "not_found")
        case FileNotFoundError() | NotADirectoryError():
            return _failure(f"the command {command!r} was not found; is it installed and in PATH?", "not_found")
        case PermissionError():
            return _failure(f"the command {command!r} must not be executed; is it an executable file?", "permission")
        case OSError(errno=errno.ENOEXEC):
            return _failure(f"the command {command!r} is not a program that this system can run", "permission")
        case OSError(errno=errno.E2BIG):
            return _failure(f"the arguments and variables of the command {command!r} are too long", "options")
        case _:
            message = f"the command {command!r} could not be started: the system is short of processes or descriptors"
            return MCPConnectionError(message, {"cause": "resources", "retryable": True})


def _failure(message: str, cause: str) -> MCPConnectionError:
    return MCPConnectionError(message, {"cause": cause, "retryable": False})
