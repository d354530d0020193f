"""A token of our own: fetched once for all who wait for it, renewed before its end, replaced when it is refused."""

from collections.abc import Callable
from typing import Final

import anyio
import httpx2
from mcp.shared.auth import OAuthToken

from mcp_orchestra.http.auth.fetching import TokenFetcher
from mcp_orchestra.http.auth.options import ClientCredentialsAuth
from mcp_orchestra.http.failures import NotSentError

__all__ = ["ClientCredentials"]

_AHEAD: Final = 60.0  # seconds before its end that a token is renewed, or a tenth of its life if that is shorter
_PAUSE: Final = 5.0  # seconds between attempts to renew a token that still holds, or to fetch one that cannot be had
_SHORTEST: Final = 5  # seconds for which a token is tried, whatever is said of its life: else each request fetches one
_LONGEST: Final = 10**9  # seconds; as good as for ever, and no float is too small for it
_PATIENCE: Final = 60.0  # seconds in which a new token that was never accepted is not replaced by another


class ClientCredentials:
    """Presents a token from an authorization server.

    Nothing is hammered: there is one fetch at a time, whose failure is the answer for all who come within the next
    seconds; and a server that refuses even a new token is not offered another within a minute.

    Args:
        options: Who we are, and to whom.
        server_url: The MCP server, without user info and query.
        carry: Returns what carries out requests for the origin of a URL.
        hide: Told each secret and token, so that they are not shown.
        timeout: Seconds for a fetch, discovery included.
    """

    def __init__(
        self,
        options: ClientCredentialsAuth,
        server_url: str,
        carry: Callable[[str], httpx2.AsyncBaseTransport],
        *,
        hide: Callable[[str], None],
        timeout: float,
    ) -> None:
        self._fetcher = TokenFetcher(options, server_url, carry, hide)
        self._asked_for = options.token_url is not None  # else the server has to say first where tokens come from
        self._timeout = timeout
        self._lock = anyio.Lock()
        self._header: str | None = None
        self._accepted = False
        self._fetched = self._due = self._expires = 0.0
        self._failure: NotSentError | None = None
        self._failed = 0.0

    async def authorization(self) -> str | None:
        """Return the header with a token that is not about to expire; None before the server has asked for one.

        Raises:
            NotSentError: There is no token to be had.
        """
        if self._holds(self._due) or (self._header is None and not self._asked_for):
            return self._header
        if self._holds(self._expires) and (self._lock.statistics().locked or self._has_just_failed()):
            return self._header  # somebody else renews it, or nobody can
        async with self._lock:
            if not self._holds(self._due):
                try:
                    await self._fetch()
                except NotSentError:
                    if not self._holds(self._expires):
                        raise
            return self._header

    async def renewed(self, refused: str | None, challenge: str | None) -> str | None:
        """Return a header with another token than the refused one, or None if that would be refused as well.

        Raises:
            NotSentError: There is no token to be had.
        """
        async with self._lock:
            if self._header is not None and self._header != refused:
                return self._header
            new = self._header is not None and anyio.current_time() < self._fetched + _PATIENCE
            if new and not self._accepted:
                return None
            self._asked_for = True
            self._fetcher.challenge = challenge or self._fetcher.challenge
            await self._fetch()
            return self._header

    def accepted(self, authorization: str | None) -> None:
        """Take note that the server has accepted a header."""
        if authorization is not None and authorization == self._header:
            self._accepted = True

    def _holds(self, until: float) -> bool:
        return self._header is not None and anyio.current_time() < until

    def _has_just_failed(self) -> bool:
        return self._failure is not None and anyio.current_time() < self._failed + _PAUSE

    async def _fetch(self) -> None:
        if self._failure is not None and self._has_just_failed():
            raise NotSentError(self._failure.cause, self._failure.words, retryable=self._failure.retryable)
        try:
            token = await self._fetched_in_time()
        except NotSentError as failure:
            self._failure, self._failed = failure, anyio.current_time()
            raise
        now = anyio.current_time()
        life = float("inf") if token.expires_in is None else float(min(max(token.expires_in, _SHORTEST), _LONGEST))
        self._header = f"Bearer {token.access_token}"
        self._accepted = False
        self._failure = None
        self._fetched = now
        self._expires = now + life
        self._due = self._expires - (min(_AHEAD, life / 10) if token.expires_in is not None else 0.0)

    async def _fetched_in_time(self) -> OAuthToken:
        try:
            with anyio.fail_after(self._timeout):
                return await self._fetcher.fetch()
        except TimeoutError:
            raise NotSentError("timeout", "the authorization server did not answer in time", retryable=True) from None
