"""An OAuth authorization server, and the door of an MCP server that lets only accepted tokens through."""

import base64
import secrets
from collections import Counter
from urllib.parse import parse_qs, quote

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["AuthorizationServer", "GuardedApp"]


class AuthorizationServer:
    """Gives bearer tokens to one client; a test may change what it says meanwhile.

    Args:
        client_id: The client.
        client_secret: What proves that it is the client.
    """

    def __init__(self, client_id: str, client_secret: str) -> None:
        self._client = (client_id, client_secret)
        self.issuer: str = ""
        """Its own address, to be set once it is served."""
        self.expires_in: int | None = 3600
        """Seconds that tokens last; None does not say."""
        self.answer: Response | None = None
        """What to answer instead of a token."""
        self.tokens: list[str] = []
        """Those that were given out."""
        self.asked: Counter[str] = Counter()
        """How often ``metadata`` and ``token`` were asked for."""
        self.forms: list[dict[str, str]] = []
        """What the requests for tokens said."""

    def app(self) -> Starlette:
        """Return the application to serve."""
        metadata = Route("/.well-known/oauth-authorization-server", self._metadata)
        return Starlette(routes=[metadata, Route("/token", self._token, methods=["POST"])])

    async def _metadata(self, _request: Request) -> Response:
        self.asked["metadata"] += 1
        endpoints = {"authorization_endpoint": f"{self.issuer}/authorize", "token_endpoint": f"{self.issuer}/token"}
        return JSONResponse({"issuer": self.issuer, "grant_types_supported": ["client_credentials"], **endpoints})

    async def _token(self, request: Request) -> Response:
        self.asked["token"] += 1
        form = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        self.forms.append(form)
        if self.answer is not None:
            return self.answer
        basic = request.headers.get("authorization", "").removeprefix("Basic ")
        expected = ":".join(quote(part, safe="") for part in self._client)
        posted = (form.get("client_id"), form.get("client_secret"))
        if base64.b64decode(basic).decode() != expected and posted != self._client:
            return JSONResponse({"error": "invalid_client", "error_description": f"{basic} {form}"}, 401)
        self.tokens.append(secrets.token_urlsafe(16))
        body: dict[str, object] = {"access_token": self.tokens[-1], "token_type": "bearer"}
        return JSONResponse(body if self.expires_in is None else {**body, "expires_in": self.expires_in})


class GuardedApp:
    """Lets requests with an accepted token through to an application, and quotes the others in its refusal.

    Args:
        app: The application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.accepted: list[str] = []
        """The tokens that it accepts: those of an `AuthorizationServer`, or a test's own."""
        self.authorization_servers: list[str] = []
        """The issuers that it names in its protected resource metadata; without any it has none."""
        self.resource: str = ""
        """Its own address, as the metadata has it."""
        self.metadata_url: str | None = None
        """Where it says that the metadata are; None leaves that to be guessed."""
        self.presented: list[str] = []
        """Every ``Authorization`` header that it has got, in order; ``""`` for none."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["path"].startswith("/.well-known/oauth-protected-resource"):
            servers = self.authorization_servers
            body = {"resource": self.resource, "authorization_servers": servers, "scopes_supported": ["mcp"]}
            await JSONResponse(body, 200 if servers else 404)(scope, receive, send)
            return
        presented = dict(scope["headers"]).get(b"authorization", b"").decode()
        self.presented.append(presented)
        if presented.removeprefix("Bearer ") in self.accepted:
            await self._app(scope, receive, send)
            return
        challenge = "Bearer" + (f' resource_metadata="{self.metadata_url}"' if self.metadata_url else "")
        refusal = {"error": "invalid_token", "error_description": f"{presented} is not welcome"}
        await JSONResponse(refusal, 401, {"www-authenticate": challenge})(scope, receive, send)
