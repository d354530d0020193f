"""What went wrong, in words of our own: those of the client library may hold an address, a key or a value."""

import ssl
from collections.abc import Generator
from contextlib import contextmanager

from redis import exceptions as theirs

__all__ = ["FAILING_OVER", "RedisAccessError", "RedisFullError", "RedisStoreError", "own_words"]


class RedisStoreError(RuntimeError):
    """The server answered, but not with what was asked for."""


class RedisFullError(RedisStoreError):
    """The server has no memory left for an entry."""


class RedisAccessError(RedisStoreError):
    """The server does not accept the user, or not what the user does."""


FAILING_OVER = (theirs.ClusterError, theirs.TryAgainError, theirs.AskError, theirs.ReadOnlyError)
"""What a server answers that is not the right one, or not yet; a ``MovedError`` is an ``AskError``."""


@contextmanager
def own_words(address: str) -> Generator[None]:
    """Turn whatever the client library raises in the block into an error that may be shown.

    Args:
        address: Where the server is, without credentials.

    Raises:
        TimeoutError: It did not answer in time.
        ConnectionError: It cannot be reached, is still loading, is failing over, or all connections are in use.
        RedisStoreError: It refused, or answered something strange.
    """
    try:
        yield
    except (theirs.RedisError, OSError) as error:
        raise _translated(error, address) from None


def _translated(error: Exception, address: str) -> Exception:
    match error:
        case theirs.TimeoutError() | TimeoutError():
            return TimeoutError(f"{address} did not answer in time; a slow network needs a longer socket_timeout")
        case theirs.AuthenticationError() | theirs.AuthorizationError():
            return RedisAccessError(f"{address} refused the user; check username and password")
        case theirs.ResponseError() if isinstance(error, theirs.NoPermissionError) or "ACL failure" in str(error):
            return RedisAccessError(
                f"{address} does not let the user do that; see the README for the rights that are needed"
            )
        case theirs.BusyLoadingError():
            return ConnectionError(f"{address} is still loading its data")
        case theirs.ConnectionError():
            return ConnectionError(f"{address} cannot be reached: {_reason(error)}")
        case _ if isinstance(error, FAILING_OVER):
            return ConnectionError(f"{address} is failing over or moving data")
        case theirs.OutOfMemoryError():
            return RedisFullError(f"{address} has no memory left; give it more, or let it evict (maxmemory-policy)")
        case theirs.ResponseError():
            return RedisStoreError(
                f"{address} refused a command; check that url is of the right kind, and its database"
            )
        case theirs.RedisError():
            return RedisStoreError(f"{address} answered something that is not Redis")
        case _:
            return ConnectionError(f"{address} cannot be reached: {_reason(error)}")


def _reason(error: BaseException) -> str:
    """Return a cause that people can do something about."""
    found: BaseException | None = error
    while found is not None:
        match found:
            case ssl.SSLCertVerificationError():
                return "its certificate is not trusted; see ca_certs and check_hostname"
            case ssl.SSLError():
                return "TLS failed; check that it speaks TLS, and certfile and keyfile"
            case FileNotFoundError() | PermissionError():
                return "ca_certs, certfile, keyfile or the socket does not exist or may not be read"
            case ConnectionRefusedError():
                return "nobody listens there"
            case theirs.MaxConnectionsError():
                return "all connections are in use; see max_connections"
            case _:
                found = found.__cause__ or found.__context__
    return "the connection was refused or lost"
