"""Which network addresses a server can make us connect to: public ones, its own, and those that are allowed."""

import socket
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

__all__ = ["AddressRules", "Network", "literal_address"]

Network = IPv4Network | IPv6Network
_Address = IPv4Address | IPv6Address

_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052
_PORTS = {"http": 80, "https": 443}


class AddressRules:
    """Decides for one server where connections on its behalf may go.

    What the configuration itself names is meant: a configured host that is at a private address when it is first
    looked up may be at any. One that was public then must stay so, or whoever controls its name could point us at the
    inside of a network (DNS rebinding). Whatever else a server names must be public.

    Args:
        allowed: Networks that are allowed all the same.
    """

    def __init__(self, allowed: Iterable[Network] = ()) -> None:
        self._allowed = tuple(allowed)
        self._configured: set[tuple[str, int]] = set()
        self._inside: dict[str, bool] = {}  # whether a configured host was, when it was first looked up

    def configured(self, url: str) -> None:
        """Take note of an address that the configuration names."""
        parts = urlsplit(url)
        host, scheme = _plain(parts.hostname or ""), parts.scheme.lower()
        port = parts.port or _PORTS.get(scheme, 0)
        self._configured.add((host, port))
        if (scheme, port) == ("http", 80):  # it may redirect to its own https
            self._configured.add((host, 443))

    def problem(self, host: str, port: int, addresses: Sequence[str]) -> str | None:
        """Return why not to connect to a host that was found at these addresses, or None if there is no reason."""
        inside = [address for address in map(ip_address, addresses) if self._is_refused(address)]
        name = _plain(host)
        if (name, port) in self._configured and self._inside.setdefault(name, bool(inside)):
            return None
        if not inside:
            return None
        return (
            f"blocked address: {host} is at {inside[0]}, which is not a public address; if that is meant, "
            "add its network to orchestration.security.allowed_networks"
        )

    def _is_refused(self, address: _Address) -> bool:
        return not any(each in network for each in (address, *_embedded(address)) for network in self._allowed) and (
            _is_inside(address)
        )


def literal_address(host: str) -> str | None:
    """Return the address that a host is without being looked up, or None if it is a name.

    ``2130706433``, ``0x7f.1`` and ``0177.0.0.1`` are addresses to resolvers; ``localhost`` is one by RFC 6761.
    """
    plain = _plain(host)
    if plain == "localhost" or plain.endswith(".localhost"):
        return "127.0.0.1"
    try:
        return str(ip_address(plain))
    except ValueError:
        pass
    try:
        return socket.inet_ntoa(socket.inet_aton(plain))
    except (OSError, UnicodeError):
        return None


def _plain(host: str) -> str:
    return host.lower().strip("[]").removesuffix(".")


def _embedded(address: _Address) -> list[IPv4Address]:
    """Return the IPv4 addresses to which packets for an IPv6 address may be led."""
    if isinstance(address, IPv4Address):
        return []
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    if address.sixtofour is not None:
        return [address.sixtofour]
    if address.teredo is not None:
        return list(address.teredo)
    return [IPv4Address(int(address) & 0xFFFFFFFF)] if address in _NAT64 else []


def _is_inside(address: _Address) -> bool:
    if embedded := _embedded(address):
        return any(map(_is_inside, embedded))
    if isinstance(address, IPv6Address) and address.is_site_local:
        return True
    return not address.is_global or address.is_multicast or address.is_reserved
