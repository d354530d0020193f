"""Carries HTTP requests out: directly to checked addresses, or through the proxy that the environment names."""

import functools
import ipaddress
import ssl
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpcore2
import httpx2

from mcp_orchestra.addresses import AddressRules
from mcp_orchestra.errors import MCPConnectionError
from mcp_orchestra.http.guard import GuardedBackend, GuardedProxy

__all__ = ["carrier", "environment_proxy"]

_KEEP_ALIVE: Final = 4.0
"""Seconds for which an idle connection is used again. uvicorn and Node close theirs after 5: a tool call that crosses
that on its way would be lost, and nobody could say whether the tool has run."""


def carrier(url: str, rules: AddressRules, ca_file: str | None) -> httpx2.AsyncBaseTransport:
    """Return what carries out requests for the origin of a URL.

    Args:
        url: Decides about the proxy.
        rules: Where connections may go. A proxy looks names up itself: there, only literal addresses are checked.
        ca_file: A PEM file of authorities to trust beside the system's.

    Raises:
        MCPConnectionError: ``ca_file`` or the proxy cannot be used.
    """
    tls = _tls_context(ca_file)
    if (proxy := environment_proxy(url)) is None:
        return _Direct(tls, rules)
    try:
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=_KEEP_ALIVE)
        return GuardedProxy(httpx2.AsyncHTTPTransport(verify=tls, limits=limits, proxy=proxy), rules)
    except (ImportError, ValueError, httpx2.InvalidURL):
        raise MCPConnectionError(
            "the proxy that the environment names cannot be used; "
            "check HTTP_PROXY, HTTPS_PROXY and ALL_PROXY, or exempt the server in NO_PROXY",
            {"cause": "proxy", "retryable": False},
        ) from None


class _Direct(httpx2.AsyncHTTPTransport):
    """httpx2's own transport over connections that we make, for which it has no argument."""

    def __init__(self, tls: ssl.SSLContext, rules: AddressRules) -> None:
        super().__init__(verify=tls)
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=tls,
            max_connections=None,
            max_keepalive_connections=None,
            keepalive_expiry=_KEEP_ALIVE,
            network_backend=GuardedBackend(rules),
        )


def environment_proxy(url: str) -> str | None:
    """Return the proxy that ``HTTP_PROXY``, ``HTTPS_PROXY``, ``ALL_PROXY`` and ``NO_PROXY`` name for the URL."""
    parts = urlsplit(url)
    proxies = getproxies()
    proxy = proxies.get(parts.scheme.lower()) or proxies.get("all")
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme.lower() == "https" else 80)
    if not proxy or proxy_bypass(f"{host}:{port}") or _in_exempt_network(host, proxies.get("no", "")):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _in_exempt_network(host: str, exempt: str) -> bool:
    """Tell whether the host is an address in one of the networks (``10.0.0.0/8``), which the standard library skips."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    for entry in exempt.split(","):
        try:
            if "/" in entry and address in ipaddress.ip_network(entry.strip(), strict=False):
                return True
        except ValueError:
            continue
    return False


def _tls_context(ca_file: str | None) -> ssl.SSLContext:
    if ca_file is None:
        return _shared_context(None, 0)
    try:
        return _shared_context(ca_file, Path(ca_file).stat().st_mtime_ns)
    except (OSError, ssl.SSLError):
        raise MCPConnectionError(
            f"ca_file {ca_file!r} cannot be read as PEM certificates", {"cause": "tls", "retryable": False}
        ) from None


@functools.lru_cache(maxsize=32)
def _shared_context(ca_file: str | None, _changed: int) -> ssl.SSLContext:
    """Return the TLS context of this process; reading the system's authorities takes tens of milliseconds."""
    context = httpx2.create_ssl_context()
    if ca_file is not None:
        context.load_verify_locations(cafile=ca_file)
    return context
