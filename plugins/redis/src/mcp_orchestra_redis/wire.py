"""One round trip: commands to one server, and its answers back, over a connection that is never left half read."""

from collections.abc import Sequence
from typing import Protocol, TypeAlias

from redis.exceptions import AuthenticationError, InvalidResponse, ResponseError

__all__ = ["Connection", "Exchange", "Pool", "Reply", "Words", "answer", "packed"]

Words: TypeAlias = tuple[bytes | str | int, ...]
"""A command and its arguments."""

Reply: TypeAlias = "bytes | int | list[Reply] | ResponseError | None"
"""What a server answers to one command; an error is an answer, too."""


class Connection(Protocol):
    """What is used of a connection of the client library."""

    def connect(self) -> None:
        """Connect, unless it is connected."""

    def on_connect(self) -> None:
        """Get ready to read from a new connection."""

    def disconnect(self) -> None:
        """Close it; in the child of a fork, what the parent opened stays open to the parent."""

    def interrupt(self) -> None:
        """End it, whatever another thread is doing with it."""

    def fileno(self) -> int:
        """Return the descriptor of its socket."""
        ...

    def can_read(self, timeout: float = 0) -> bool:
        """Return whether something has arrived."""
        ...

    def send_packed_command(self, command: Sequence[bytes], check_health: bool = True) -> None:
        """Send bytes as they are."""

    def read_response(self) -> Reply:
        """Wait for the next answer; raises it if it is an error."""
        ...


class Pool(Protocol):
    """What is used of a pool of connections."""

    def get_connection(self) -> Connection:
        """Lend a connection, with nothing to be read on it."""
        ...

    def release(self, connection: Connection) -> None:
        """Take a connection back."""

    def refused(self) -> None:
        """Take note that the server does not accept the user."""


def packed(commands: Sequence[Words]) -> bytes:
    """Write commands as the protocol has them; the client library's own way takes several times as long."""
    parts: list[bytes] = []
    for words in commands:
        parts.append(b"*%d\r\n" % len(words))
        for word in words:
            written = word if isinstance(word, bytes) else str(word).encode()
            parts += (b"$%d\r\n" % len(written), written, b"\r\n")
    return b"".join(parts)


def answer(connection: Connection) -> Reply:
    """Wait for the next answer and return it.

    Raises:
        ResponseError: It is an error.
        InvalidResponse: It makes no sense.
    """
    try:
        return connection.read_response()
    except (ValueError, IndexError, RecursionError):  # where there should be a number, or an address
        raise InvalidResponse from None


class Exchange:
    """Sends commands to a server at once; leaving the block gives the connection back.

    A connection on which an answer is still to come, because of a timeout or a cancellation, is dropped: the next who
    uses it would be given somebody else's answer (CVE-2023-28858).

    Args:
        pool: Of connections to the server.
        commands: At least one.
    """

    def __init__(self, pool: Pool, commands: Sequence[Words]) -> None:
        self._pool = pool
        self._awaited = len(commands)
        self._connection = pool.get_connection()
        try:
            self._connection.send_packed_command([packed(commands)], check_health=False)
        except BaseException:
            self.close()
            raise

    def answers(self) -> list[Reply]:
        """Wait for all answers and return them in order."""
        replies: list[Reply] = []
        while self._awaited:
            try:
                replies.append(answer(self._connection))
            except ResponseError as error:
                replies.append(error)
            except AuthenticationError:
                self._pool.refused()
                raise
            self._awaited -= 1
        return replies

    def close(self) -> None:
        """Give the connection back."""
        if self._awaited:
            self._connection.disconnect()
        self._pool.release(self._connection)
