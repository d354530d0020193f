"""What went wrong, in words of our own: those of the client library may hold an address, a key or a value."""

import ssl
from collections.abc import Generator
from contextlib import contextmanager

from redis import exceptions as theirs

from mcp_orchestra_redis.deadline import TooLargeError

__all__ = [
    "RedisAccessError",
    "RedisBusyError",
    "RedisFullError",
    "RedisReadOnlyError",
    "RedisStoreError",
    "RedisTooLargeError",
    "own_words",
]


class RedisStoreError(RuntimeError):
    """The server answered, but not with what was asked for."""


class RedisFullError(RedisStoreError):
    """The server has no memory left for an entry."""


class RedisAccessError(RedisStoreError):
    """The server does not accept the user, or not what the user does."""


class RedisReadOnlyError(RedisStoreError):
    """The server takes no writes at present, and no deletions either: what is there stays there."""


class RedisBusyError(RedisStoreError):
    """This process uses all the connections that it may have."""


class RedisTooLargeError(RedisStoreError):
    """The server is there, but what was to be sent or received was too much for the time."""


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
        case TooLargeError():
            return RedisTooLargeError(
                f"{address} was asked for too much, or given too much, for the time there is; allow more (timeout)"
            )
        case theirs.TimeoutError() | TimeoutError():
            return TimeoutError(
                f"{address} did not answer in time; a slow network needs a longer socket_timeout and timeout"
            )
        case theirs.MaxConnectionsError():
            return RedisBusyError(f"all connections to {address} are in use; allow more (max_connections)")
        case theirs.ResponseError():
            return _of_answer(error, address)
        case theirs.AuthenticationError() | theirs.AuthorizationError():
            return RedisAccessError(f"{address} refused the user; check username and password")
        case theirs.BusyLoadingError():
            return ConnectionError(f"{address} is still loading its data")
        case theirs.RedisError() if not isinstance(error, theirs.ConnectionError):
            return RedisStoreError(f"{address} answered something that is not Redis")
        case _:
            return ConnectionError(f"{address} cannot be reached: {_reason(error)}")


def _of_answer(error: theirs.ResponseError, address: str) -> Exception:
    said = str(error)
    if isinstance(error, theirs.NoPermissionError) or "ACL failure" in said:
        return RedisAccessError(
            f"{address} does not let the user do that; see the README for the rights that are needed"
        )
    if isinstance(error, theirs.OutOfMemoryError):
        return RedisFullError(f"{address} has no memory left; give it more, or let it evict (maxmemory-policy)")
    if isinstance(error, theirs.ReadOnlyError):
        return ConnectionError(
            f"{address} is a replica, which takes no writes; there was a failover, or url names the wrong server"
        )
    if isinstance(error, theirs.TryAgainError):
        return RedisStoreError(f"{address} is moving just these data; it will be possible again when it is done")
    if isinstance(error, (theirs.ClusterError, theirs.AskError)):
        return ConnectionError(f"{address} is failing over or moving data")
    if said.startswith("MISCONF"):
        return RedisReadOnlyError(
            f"{address} takes no writes because it cannot save its data; its log says why (stop-writes-on-bgsave-error)"
        )
    if said.startswith("NOREPLICAS"):
        return RedisReadOnlyError(f"{address} takes no writes because it has too few replicas (min-replicas-to-write)")
    return RedisStoreError(f"{address} refused a command; check that url is of the right kind, and its database")


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
            case _:
                found = found.__cause__ or found.__context__
    return "the connection was refused or lost"
