"""What a server said outside the protocol: the last lines of its standard error, how it ended, and what was wrong."""

from collections import deque
from threading import Lock

__all__ = ["Diagnostics"]


class Diagnostics:
    """A bounded ring of text lines, written by a transport and shown in the status.

    Args:
        max_chars: Older lines are dropped once the ring holds more characters than this.
    """

    def __init__(self, max_chars: int = 65_536) -> None:
        self._max_chars = max_chars
        self._lines: deque[str] = deque()
        self._chars = 0
        self._lock = Lock()
        self.exit_code: int | None = None
        """How the server's process ended: its exit status, or minus the signal; None while unknown."""
        self.protocol_errors: int = 0
        """How often it said something that the protocol does not allow, over all connections."""
        self.warning: str | None = None
        """The first such thing on the latest connection. It may quote the server: redact it before showing it."""

    @property
    def ending(self) -> str | None:
        """How the server's process ended and what it said last, which may be a secret; None while it has not ended."""
        if self.exit_code is None:
            return None
        last = next((line.strip() for line in reversed(self.tail()) if line.strip()), "")
        return f"the process ended with status {self.exit_code}" + (f": {last[:200]}" if last else "")

    def connecting(self) -> None:
        """Forget how the connection before this one went."""
        self.exit_code = None
        self.warning = None

    def protocol_error(self, what: str, *, times: int = 1) -> bool:
        """Count something that the protocol does not allow.

        Args:
            what: In one line; of what the server said it quotes the beginning at most.
            times: How often it was found.

        Returns:
            Whether it is the first on this connection.
        """
        with self._lock:
            self.protocol_errors += times
            if self.warning is not None:
                return False
            self.warning = what
            return True

    def write(self, line: str) -> None:
        """Add one line, dropping the oldest ones that no longer fit."""
        line = line.rstrip("\r\n")[: self._max_chars]
        with self._lock:
            self._lines.append(line)
            self._chars += len(line) + 1
            while self._chars > self._max_chars and len(self._lines) > 1:
                self._chars -= len(self._lines.popleft()) + 1

    def tail(self, lines: int = 20) -> list[str]:
        """Return the last ``lines`` lines, oldest first."""
        with self._lock:
            return list(self._lines)[-lines:] if lines > 0 else []
