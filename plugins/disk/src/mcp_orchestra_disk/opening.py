"""From the options to a store, or to an error that says which option to change."""

import errno
import os

from mcp_orchestra import ConfigurationError

from mcp_orchestra_disk.options import DiskOptions
from mcp_orchestra_disk.store import DiskStore

__all__ = ["open_store"]

_NOT_BY_ITSELF = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOTDIR)


def open_store(options: DiskOptions) -> DiskStore:
    """Open the store that the options describe.

    Raises:
        ConfigurationError: Its directory cannot be used, and waiting would not help.
        OSError: The directory cannot be created just now.
    """
    where = "orchestration.cache.options.directory"
    if os.name != "posix":
        raise ConfigurationError("orchestration.cache.backend: disk needs a POSIX system; take memory or redis")
    try:
        return DiskStore(options.directory, max_bytes=options.max_bytes, timeout=options.timeout)
    except OSError as error:
        if error.errno is None:
            raise ConfigurationError(f"{where}: {error}") from error  # it says what is wrong in our own words
        if error.errno not in _NOT_BY_ITSELF:
            raise
        reason = f"{error.filename} cannot be created ({os.strerror(error.errno)})"
        raise ConfigurationError(f"{where}: {reason}; name a directory that this user can create") from error
