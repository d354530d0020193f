"""Connects to checked addresses only: what was looked up and found harmless is what is connected to.

A name is looked up once for each connection, so it cannot mean something else when the connection is made. Nothing else
changes: TLS and the ``Host`` header still know the host by its name.
"""

import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from ipaddress import ip_address
from itertools import zip_longest
from typing import Final, TypeVar, cast

import anyio
import httpcore2
import httpx2
from anyio.abc import AsyncResource, SocketStream

from mcp_orchestra.addresses import AddressRules, literal_address
from mcp_orchestra.http.failures import NotSentError

__all__ = ["GuardedBackend", "GuardedProxy", "connect"]

_STAGGER: Final = 0.25  # seconds before the next address is tried beside the one before (RFC 8305, section 5)

_SocketOption = tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]
StreamT = TypeVar("StreamT", bound=AsyncResource | httpcore2.AsyncNetworkStream)


async def connect(rules: AddressRules, host: str, port: int) -> SocketStream:
    """Connect to a host by TCP.

    Raises:
        OSError: It cannot be resolved, reached, or must not be.
    """
    return await _first(await _looked_up(rules, host, port), lambda address: anyio.connect_tcp(address, port))


class GuardedBackend(httpcore2.AsyncNetworkBackend):
    """Makes the connections of an HTTP client.

    Args:
        rules: Where they may go.
    """

    def __init__(self, rules: AddressRules) -> None:
        self._rules = rules
        self._plain = cast("httpcore2.AsyncNetworkBackend", httpcore2.AnyIOBackend())

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[_SocketOption] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to a host.

        Raises:
            NotSentError: It is where no connection may go.
            httpcore2.ConnectError: It cannot be resolved or reached.
            httpcore2.ConnectTimeout: It could not within ``timeout`` seconds.
        """

        async def attempt(address: str) -> httpcore2.AsyncNetworkStream:
            return await self._plain.connect_tcp(address, port, None, local_address, socket_options)

        try:
            with anyio.fail_after(timeout):
                return await _first(await _looked_up(self._rules, host, port), attempt)
        except NotSentError:
            raise
        except TimeoutError as error:
            raise httpcore2.ConnectTimeout(str(error)) from error
        except OSError as error:
            raise httpcore2.ConnectError(str(error)) from error


class GuardedProxy(httpx2.AsyncBaseTransport):
    """Refuses addresses that need no looking up; the proxy looks up all others, and decides about them.

    Args:
        inner: Sends requests through the proxy.
        rules: Where they may go.
    """

    def __init__(self, inner: httpx2.AsyncBaseTransport, rules: AddressRules) -> None:
        self._inner = inner
        self._rules = rules

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Carry out a request.

        Raises:
            NotSentError: It is for where no connection may go.
        """
        host = request.url.raw_host.decode("ascii")
        if (address := literal_address(host)) is not None:
            port = request.url.port or (443 if request.url.scheme == "https" else 80)
            _check(self._rules, host, port, [address])
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        """Close the inner transport."""
        await self._inner.aclose()


async def _looked_up(rules: AddressRules, host: str, port: int) -> list[str]:
    """Return the addresses to try, in their order; the loop goes on while the system looks the name up."""
    try:
        found = [str(ip_address(host))]
    except ValueError:
        try:
            infos = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except UnicodeError as error:  # a character that no name may have
            raise OSError("not a host name") from error
        found = [str(where[0]) for *_, where in infos]
    _check(rules, host, port, found)
    same = [address for address in found if (":" in address) == (":" in found[0])]
    other = [address for address in found if address not in same]
    taken = [address for pair in zip_longest(same, other) for address in pair if address is not None]
    return list(dict.fromkeys(taken))


def _check(rules: AddressRules, host: str, port: int, addresses: Sequence[str]) -> None:
    if (problem := rules.problem(host, port, addresses)) is not None:
        raise NotSentError("blocked", problem, retryable=False)


async def _first(addresses: Sequence[str], attempt: Callable[[str], Awaitable[StreamT]]) -> StreamT:
    """Return the first connection that any of the addresses gives, trying the next when one fails or takes long."""
    if len(addresses) == 1:
        return await attempt(addresses[0])
    connected: list[StreamT] = []
    errors: list[Exception] = []

    async def run(address: str, ended: anyio.Event) -> None:
        try:
            stream = await attempt(address)
        except (OSError, httpcore2.ConnectError) as error:
            errors.append(error)
        else:
            connected.append(stream)
            tasks.cancel_scope.cancel()
        finally:
            ended.set()

    try:
        async with anyio.create_task_group() as tasks:
            for address in addresses:
                ended = anyio.Event()
                tasks.start_soon(run, address, ended)
                with anyio.move_on_after(_STAGGER):
                    await ended.wait()
        if not connected:
            cause = errors[0] if len(errors) == 1 else ExceptionGroup("each address failed", errors)
            raise OSError("no address can be connected to") from cause
        return connected.pop(0)
    finally:
        with anyio.CancelScope(shield=True):
            for late in connected:
                await late.aclose()
