"""A socket that waits neither longer for the next bytes, nor for all of them, than it should."""

import socket
import struct

from mcp_orchestra_redis.deadline import left_for_a_step, moved, overdue

__all__ = ["ImpatientSocket"]

_SLICE_BYTES = 65_536
_BUFFER_BYTES = 131_072  # or what is in it takes longer to be sent than one waits for an answer
_FORGET_WHAT_WAITS = struct.pack("ii", 1, 0)


class ImpatientSocket:
    """What the client library uses of a socket, with a limit for each step and the deadline of the call for all.

    Args:
        connected: The socket itself.
        patience: Seconds for which nothing may happen.
    """

    def __init__(self, connected: socket.socket, patience: float) -> None:
        self._socket = connected
        self._patience = patience
        self._waits = True
        self._forgotten = False
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)

    def settimeout(self, seconds: float | None) -> None:
        """Wait, or return at once; for how long is known."""
        self._waits = seconds != 0

    def recv(self, count: int) -> bytes:
        """Receive bytes."""
        if not self._waits:
            self._socket.settimeout(0)
            return self._socket.recv(count)
        self._socket.settimeout(left_for_a_step(self._patience))
        try:
            data = self._socket.recv(count)
        except TimeoutError as error:
            self._forget()
            raise (overdue() or error) from None
        if data:
            moved(len(data))
        return data

    def sendall(self, data: bytes) -> None:
        """Send all, however long it takes, as long as it gets on and within the deadline."""
        rest = memoryview(data)
        while rest:
            self._socket.settimeout(left_for_a_step(self._patience))
            try:
                sent = self._socket.send(rest[:_SLICE_BYTES])
            except TimeoutError as error:
                self._forget()
                raise (overdue() or error) from None
            rest = rest[sent:]
            try:
                moved(sent)
            except BaseException:
                self._forget()
                raise

    def shutdown(self, how: int) -> None:
        """End the connection."""
        if not self._forgotten:
            self._socket.shutdown(how)

    def interrupt(self) -> None:
        """End the connection, which whoever waits on it in another thread finds out."""
        socket.socket.shutdown(self._socket, socket.SHUT_RDWR)  # that of TLS takes things away from under the other

    def close(self) -> None:
        """Close it."""
        self._socket.close()

    def fileno(self) -> int:
        """Return its descriptor."""
        return self._socket.fileno()

    def _forget(self) -> None:
        # What was given up must not arrive later, behind something that was sent by another way.
        self._forgotten = True
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _FORGET_WHAT_WAITS)
