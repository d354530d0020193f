"""What may stand in a row of the database: bytes, and nothing that would have to be unpickled or looked up in a file.

``diskcache`` unpickles what a row says is a pickle (CVE-2025-69872), as key and as value, ``JSONDisk`` or not, and
reads and removes whatever file a row names. Whoever can write to the database could thus run code in every process that
reads it.
"""

from typing import NoReturn

from diskcache import Disk  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs]

__all__ = ["RawDisk", "RefusedRowError"]

_RAW = 1  # diskcache's modes: 2 and 3 are files, 4 is a pickle


class RefusedRowError(OSError):
    """A row is not one of ours. ``diskcache`` takes an `OSError` for a missing file, which is a miss."""


class RawDisk(Disk):  # type: ignore[misc]  # diskcache has no types
    """Lets bytes through, in and out, and refuses everything else; it never opens, creates or removes a file.

    Safe to open any cache with, such as to look at one of ours: ``diskcache.Cache(directory, disk=RawDisk)``.
    """

    def put(  # pyright: ignore[reportIncompatibleMethodOverride]  # it may return bytes as they are
        self, key: object
    ) -> tuple[bytes, bool]:
        """Return what stands for a key in the columns ``key`` and ``raw``.

        Raises:
            TypeError: It is not bytes.
        """
        if type(key) is not bytes:
            raise TypeError("keys are bytes")
        return key, True

    def get(self, key: object, raw: object) -> bytes:
        """Return the key that stands in these columns.

        Raises:
            RefusedRowError: It is not raw bytes.
        """
        if type(key) is not bytes or raw != 1:
            raise RefusedRowError("the key is not raw bytes")
        return key

    def store(  # pyright: ignore[reportIncompatibleMethodOverride]  # it has no types to be compatible with
        self, value: object, read: bool, key: object = None
    ) -> tuple[int, int, None, bytes]:
        """Return what stands for a value in the columns ``size``, ``mode``, ``filename`` and ``value``.

        Raises:
            TypeError: It is not bytes.
        """
        if type(value) is not bytes or read:
            raise TypeError("values are bytes")
        return 0, _RAW, None, value

    def fetch(self, mode: object, filename: object, value: object, read: bool) -> bytes:
        """Return the value that stands in these columns.

        Raises:
            RefusedRowError: It is not raw bytes.
        """
        if type(value) is not bytes or mode != _RAW or filename is not None or read:
            raise RefusedRowError("the value is not raw bytes")
        return value

    def filename(self, key: object = None, value: object = None) -> NoReturn:
        """Refuse to name a file: there are none.

        Raises:
            TypeError: Always.
        """
        raise TypeError("no value is kept in a file of its own")

    def remove(self, file_path: object) -> None:
        """Leave the file alone that a planted row names: it is none of ours."""
