"""Asks an authorization server for a token: the SDK says what to ask whom, every answer is bounded and checked here.

The SDK's provider is made to stand above an HTTP client, where it would hold one lock for as long as any request waits
for its answer, fetch nothing before a token has expired, and write what an authorization server says into its log. So
only its flow is used, to find out where the token endpoint is and what belongs into the request for it.
"""

import re
from collections.abc import Callable
from contextlib import aclosing
from typing import Final

import httpx2
from mcp.client.auth import OAuthFlowError
from mcp.client.auth.extensions.client_credentials import ClientCredentialsOAuthProvider
from mcp.shared.auth import OAuthClientInformationFull, OAuthMetadata, OAuthToken
from mcp_types import LATEST_PROTOCOL_VERSION
from pydantic import AnyHttpUrl, ValidationError

from mcp_orchestra.errors import MCPConnectionError
from mcp_orchestra.http.auth.options import ClientCredentialsAuth
from mcp_orchestra.http.auth.secret import Secret
from mcp_orchestra.http.bodies import RefusedBody, read_body
from mcp_orchestra.http.failures import FAILURES, NotSentError, reason
from mcp_orchestra.http.origins import origin

__all__ = ["TokenFetcher"]

_TOKEN: Final = re.compile(r"[\x21-\x7e]+")
_LONGEST: Final = 256 * 1024  # bytes of an answer
_MOST: Final = 12  # requests of one discovery
_SAID: Final = frozenset(  # RFC 6749, section 5.2
    {"invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "invalid_scope", "invalid_target"}
)


class TokenFetcher:
    """Fetches tokens for one server.

    Args:
        options: Who we are, and to whom.
        server_url: The MCP server, without user info and query.
        carry: Returns what carries out requests for the origin of a URL.
        hide: Told each secret and token, so that they are not shown.
    """

    def __init__(
        self,
        options: ClientCredentialsAuth,
        server_url: str,
        carry: Callable[[str], httpx2.AsyncBaseTransport],
        hide: Callable[[str], None],
    ) -> None:
        self._options = options
        self._server_url = server_url
        self._carry = carry
        self._hide = hide
        self._secret = Secret(
            "client_secret", options.client_secret, options.client_secret_file, options.client_secret_env, hide
        )
        self.challenge: str | None = None
        """What the server has said last about the tokens that it wants."""

    async def fetch(self) -> OAuthToken:
        """Return a new token.

        Raises:
            NotSentError: There is none to be had.
        """
        provider = _Provider(self._options, self._server_url, self._secret.read())
        if self._options.token_url is not None:
            request = await provider.request_to(self._options.token_url)
        else:
            request = await self._discovered(provider)
        where = f"the authorization server at {origin(request.url)}"
        trusted = self._options.token_url or self._options.issuer or ""
        if request.url.scheme != "https" and not trusted.lower().startswith("http:"):
            raise _refused(f"{where} wants the client's secret over plain http")
        self._hide(request.headers.get("authorization", "").partition(" ")[2])
        response = await self._send(request)
        if response.status_code not in (200, 201):
            raise _not_given(where, response)
        try:
            token = OAuthToken.model_validate_json(response.content)
        except ValidationError:
            token = None
        if token is None or not _TOKEN.fullmatch(token.access_token):
            raise NotSentError("protocol", f"{where} answered with something else than a bearer token", retryable=True)
        self._hide(token.access_token)
        return token

    async def _discovered(self, provider: "_Provider") -> httpx2.Request:
        """Return the request for a token, after finding out where to send it."""
        asked = httpx2.Request("GET", self._server_url)
        failed: Exception | None = None
        outage = False
        async with aclosing(provider.async_auth_flow(asked)) as flow:
            headers = {"www-authenticate": self.challenge} if self.challenge else {}
            response = httpx2.Response(401, headers=headers, request=await anext(flow))
            for _ in range(_MOST):
                try:
                    request = await flow.asend(response)
                except Exception as error:  # noqa: BLE001 - the SDK's, pydantic's, or whatever a server's words led to
                    failed = error
                    break
                if request.method == "POST":
                    return request
                response = await self._send(request)
                outage = outage or response.status_code >= 500 or response.status_code == 429
        words = f"no token endpoint could be found for the configured issuer, starting at {self._server_url}"
        if isinstance(failed, OAuthFlowError) and outage:
            raise NotSentError("http", f"{words}: a server that had to be asked is out of order", retryable=True)
        raise _refused(f"{words}; check auth.issuer, or set auth.token_url")

    async def _send(self, request: httpx2.Request) -> httpx2.Response:
        """Return the response, read to its end. Redirects are not followed."""
        request.headers["accept-encoding"] = "identity"
        try:
            async with self._carry(str(request.url)) as carrier:
                response = await carrier.handle_async_request(request)
                response.request = request
                body = await read_body(response, _LONGEST)
        except MCPConnectionError as error:  # the proxy or ca_file
            raise NotSentError("proxy", error.message, retryable=False) from None
        except RefusedBody:
            words = f"the answer of {origin(request.url)}, which was asked for a token, is too large"
            raise NotSentError("too_large", words, retryable=True) from None
        except NotSentError:
            raise
        except FAILURES as error:
            cause, words = reason(error)
            raise NotSentError(
                cause, f"{origin(request.url)}, which was asked for a token, did not answer: {words}", retryable=True
            ) from error
        return httpx2.Response(response.status_code, headers=response.headers, content=body, request=request)


class _Provider(ClientCredentialsOAuthProvider):
    """The SDK's provider, for one fetch."""

    def __init__(self, options: ClientCredentialsAuth, server_url: str, secret: str) -> None:
        self._scope = " ".join(options.scopes) or None
        super().__init__(
            server_url,
            _NoStorage(),
            options.client_id,
            secret,
            options.token_endpoint_auth_method,
            self._scope,
            options.issuer or options.token_url,
        )

    async def request_to(self, token_url: str) -> httpx2.Request:
        """Return the request for a token to an endpoint that needs no discovery."""
        await self._initialize()
        endpoint = AnyHttpUrl(token_url)
        self._issuer = str(endpoint)
        self.context.protocol_version = LATEST_PROTOCOL_VERSION  # whose tokens are for one resource
        self.context.oauth_metadata = OAuthMetadata(
            issuer=endpoint, authorization_endpoint=endpoint, token_endpoint=endpoint
        )
        return await self._perform_authorization()

    async def _perform_authorization(self) -> httpx2.Request:
        if self._scope is not None:  # what the configuration says, and not what a server asks for
            self.context.client_metadata.scope = self._scope
        return await super()._perform_authorization()


class _NoStorage:
    """Keeps nothing: a token lives as long as its connection."""

    async def get_tokens(self) -> OAuthToken | None:
        return None

    async def set_tokens(self, tokens: OAuthToken) -> None:
        """Forget them."""

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return None

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        """Forget it."""


def _not_given(where: str, response: httpx2.Response) -> NotSentError:
    status = response.status_code
    if status == 429 or status >= 500:
        return NotSentError("http", f"{where} answered HTTP {status}", retryable=True)
    try:
        said = response.json().get("error")
    except (ValueError, AttributeError, RecursionError):
        said = None
    return _refused(f"{where} gave no token: HTTP {status}" + (f", {said}" if said in _SAID else ""))


def _refused(words: str) -> NotSentError:
    return NotSentError("auth", words, retryable=False)
