"""Gives requests their credentials, below everything that could log or keep them."""

from typing import Protocol

import httpx2

from mcp_orchestra.http.origins import same_server

__all__ = ["AuthorizingTransport", "Credentials"]


class Credentials(Protocol):
    """What requests are authorised with."""

    async def authorization(self) -> str | None:
        """Return the ``Authorization`` header to send; None to send none and be told what is wanted."""
        ...

    async def renewed(self, refused: str | None, challenge: str | None) -> str | None:
        """Return a header to try after one was refused with a ``WWW-Authenticate`` header, or None if there is none."""
        ...

    def accepted(self, authorization: str | None) -> None:
        """Take note that the server has accepted a header."""
        ...


class AuthorizingTransport(httpx2.AsyncBaseTransport):
    """An httpx2 transport that authorises requests for one origin, and sends a refused one at most once more.

    A request that was refused with 401 has not been carried out, so it may be sent again, whatever it asks for.

    Args:
        inner: Carries the requests out.
        url: The configured address: requests for any other origin are passed on as they are.
        credentials: What to present.
    """

    def __init__(self, inner: httpx2.AsyncBaseTransport, url: str, credentials: Credentials) -> None:
        self._inner = inner
        self._url = httpx2.URL(url)
        self._credentials = credentials

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Carry out a request.

        Raises:
            NotSentError: There are no credentials for it.
        """
        if not same_server(self._url, request.url):
            return await self._inner.handle_async_request(request)
        presented = await self._credentials.authorization()
        response = await self._send(request, presented)
        if response.status_code == 401:
            try:
                other = await self._credentials.renewed(presented, response.headers.get("www-authenticate"))
            except BaseException:
                await response.aclose()
                raise
            if other is None:
                return response
            await response.aclose()
            presented = other
            response = await self._send(request, presented)
        if response.status_code != 401:
            self._credentials.accepted(presented)
        return response

    async def aclose(self) -> None:
        """Close the inner transport."""
        await self._inner.aclose()

    async def _send(self, request: httpx2.Request, authorization: str | None) -> httpx2.Response:
        if authorization is None:
            return await self._inner.handle_async_request(request)
        return await self._inner.handle_async_request(
            httpx2.Request(
                request.method,
                request.url,
                headers=[*_without_authorization(request), ("authorization", authorization)],
                stream=request.stream,
                extensions=request.extensions,
            )
        )


def _without_authorization(request: httpx2.Request) -> list[tuple[str, str]]:
    return [(name, value) for name, value in request.headers.multi_items() if name.lower() != "authorization"]
