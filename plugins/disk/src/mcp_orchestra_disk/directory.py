"""The directory of a cache: whose it is, who may look into it, and who is changing it."""

import os
import stat
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from mcp_orchestra_disk.names import DATABASE, LOCK, clear_foreign, name

__all__ = ["UnsafeDirectoryError", "absolute", "default_directory", "prepare_directory", "sole_access"]

_POLL_SECONDS = 0.005


class UnsafeDirectoryError(PermissionError):
    """A directory cannot be used for what others must neither read nor plant; the message says what to do."""


def default_directory() -> Path:
    """Return where the cache is if nobody says otherwise.

    Raises:
        FileNotFoundError: The user has no home directory.
    """
    # A relative XDG_CACHE_HOME is to be ignored: https://specifications.freedesktop.org/basedir-spec/latest/
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if Path(base).is_absolute() else absolute("~/.cache")) / "mcp-orchestra"


def absolute(directory: str | os.PathLike[str]) -> Path:
    """Return a directory's absolute path, with ``~`` filled in and symbolic links left as they are.

    Raises:
        FileNotFoundError: There is no such home directory.
    """
    try:
        return Path(os.path.abspath(Path(directory).expanduser()))  # noqa: PTH100  # resolve() would follow links
    except RuntimeError:
        raise FileNotFoundError(f"no home directory is known that ~ could stand for in {str(directory)!r}") from None


def prepare_directory(directory: Path) -> None:
    """Make sure that the directory is there, is ours, and nobody else can look into it.

    One that is open to others is closed to them if it is empty or holds a cache of ours and nothing else. Any other may
    have its reasons to be open and is not touched.

    Raises:
        UnsafeDirectoryError: It is a symbolic link, somebody else's, or open to others.
        OSError: It cannot be created.
    """
    try:
        directory.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        pass
    else:
        directory.chmod(0o700)  # whatever the umask made of it
    found = directory.lstat()
    advice = "name a directory that does not exist yet, and it will be created"
    if stat.S_ISLNK(found.st_mode):
        raise UnsafeDirectoryError(f"{directory} is a symbolic link; name the directory itself")
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(f"{directory} is not a directory; {advice}")
    if found.st_uid != os.geteuid():
        raise UnsafeDirectoryError(f"{directory} belongs to another user; {advice}")
    if found.st_mode & 0o077:
        if found.st_mode & stat.S_ISVTX or not _holds_nothing_else(directory):
            raise UnsafeDirectoryError(f"{directory} is open to other users; {advice}, or close it with chmod 700")
        directory.chmod(0o700)


@contextmanager
def sole_access(directory: Path, timeout: float) -> Generator[None]:
    """Keep other processes, and other threads, from creating or replacing the database meanwhile.

    Args:
        directory: It exists.
        timeout: Seconds to wait for the others.

    Raises:
        TimeoutError: Somebody else had it all the time.
    """
    import fcntl  # not everywhere, but this module is imported everywhere

    deadline = time.monotonic() + timeout
    while (file := _locked(directory / LOCK)) is None:
        if time.monotonic() >= deadline:
            raise TimeoutError(f"another process is creating or replacing {directory / DATABASE} and does not finish")
        time.sleep(_POLL_SECONDS)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)  # also for a child that was forked meanwhile and has the file open too
        os.close(file)


def _holds_nothing_else(directory: Path) -> bool:
    files = [file.name for file in directory.iterdir()]
    # All of our names begin like this, and the lock is always among them: else it is the cache of another program.
    return not files or (all(file.startswith(name(1)) for file in files) and any(f.endswith(".lock") for f in files))


def _locked(path: Path) -> int | None:
    import fcntl

    clear_foreign(path)
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(file, 0o600)
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(file), path.lstat()):  # else the directory was deleted in between
            return file
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        os.close(file)
        raise
    os.close(file)
    return None
