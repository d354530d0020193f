"""Which addresses belong to the server that was configured: only those get its credentials."""

import httpx2

__all__ = ["followed", "origin", "redirect_target", "same_server"]


def origin(url: httpx2.URL) -> str:
    """Return scheme, host and, unless it is the default, port, for people to read."""
    host = f"[{url.host}]" if ":" in url.host else url.host
    return f"{url.scheme}://{host}" + (f":{url.port}" if url.port is not None else "")


def redirect_target(response: httpx2.Response, url: httpx2.URL) -> httpx2.URL | None:
    """Return where a response to a request for ``url`` redirects to; None if it does not, or to no valid address."""
    location = response.headers.get("location")
    if response.status_code not in (301, 302, 303, 307, 308) or location is None:
        return None
    try:
        return url.join(location)
    except httpx2.InvalidURL:
        return None


def followed(method: str, status: int, url: httpx2.URL, target: httpx2.URL) -> bool:
    """Tell whether a redirect is followed: the rule of the SDK's transports, which keeps credentials at home.

    The target must be on the same origin (or its https upgrade on the default ports) and bring no user info of its
    own, and the method must stay: a POST is followed for 307 and 308 only.
    """
    keeps_method = method == "GET" or status in (307, 308)
    return same_server(url, target) and keeps_method and target.userinfo in (b"", url.userinfo)


def same_server(url: httpx2.URL, target: httpx2.URL) -> bool:
    """Tell whether the target is on the same origin as a URL, or on its https upgrade on the default ports."""
    upgrade = (
        url.host == target.host
        and (url.scheme, url.port) == ("http", None)
        and (target.scheme, target.port) == ("https", None)
    )
    return upgrade or (url.scheme, url.host, url.port) == (target.scheme, target.host, target.port)
