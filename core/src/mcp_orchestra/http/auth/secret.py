"""A secret that stands in the configuration, in a file or in the environment, as it is at the moment."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from stat import S_ISREG
from typing import Final

from mcp_orchestra.http.failures import NotSentError

__all__ = ["Secret"]

_LONGEST: Final = 64 * 1024  # bytes of a file that may be a secret


class Secret:
    """Reads one secret, from wherever it is.

    Messages name the field and not what it holds: that may be the secret itself, in the wrong place.

    Args:
        field: What the field for the value is called; those for a file and a variable have ``_file`` and ``_env``.
        value: The value itself, or None.
        file: The file that holds it, or None.
        variable: The environment variable that holds it, or None.
        hide: Told each value, so that it is not shown.
    """

    def __init__(
        self, field: str, value: str | None, file: str | None, variable: str | None, hide: Callable[[str], None]
    ) -> None:
        self._field = field
        self._value = value
        self._file = Path(file) if file is not None else None
        self._variable = variable
        self._hide = hide
        self._stamp: tuple[int, int, int] | None = None

    def read(self) -> str:
        """Return the value as it is now.

        Raises:
            NotSentError: It is not there, or cannot be a secret of one line.
        """
        if self._variable is not None:
            return self._checked(os.environ.get(self._variable, ""), f"the variable that auth.{self._field}_env names")
        if self._file is not None:
            return self._from_file(self._file)
        return self._value or ""

    def _from_file(self, path: Path) -> str:
        where = f"the file that auth.{self._field}_file names"
        try:
            status = path.stat()
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
            if self._value is None or stamp != self._stamp:
                if not S_ISREG(status.st_mode):  # a pipe would hold everything up until somebody writes to it
                    raise _unusable(f"{where} is not a regular file")
                with path.open("rb") as file:
                    read = file.read(_LONGEST + 1)
                if len(read) > _LONGEST:
                    raise _unusable(f"{where} has more than {_LONGEST} bytes")
                text = read.decode().strip()
                self._value = self._checked(text, where)
                self._stamp = stamp
        except (OSError, ValueError) as error:
            if isinstance(error, NotSentError):
                raise
            missing = isinstance(error, FileNotFoundError)
            raise _unusable(f"{where} {'does not exist' if missing else 'cannot be read as text'}") from None
        self._hide(self._value)  # again, or what is learned after it would have it forgotten
        return self._value

    def _checked(self, text: str, where: str) -> str:
        if not text:
            raise _unusable(f"{where} is {'not set' if self._variable is not None else 'empty'}")
        self._hide(text)
        if not re.fullmatch(r"[\x21-\x7e]+", text):
            raise _unusable(f"{where} must hold printable ASCII without spaces")
        return text


def _unusable(words: str) -> NotSentError:
    return NotSentError("auth", words, retryable=False)
