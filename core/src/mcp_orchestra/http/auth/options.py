"""What may stand under ``auth`` of a server over HTTP."""

import re
from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from mcp_orchestra.redaction import MASK

__all__ = ["Auth", "BearerAuth", "ClientCredentialsAuth", "in_ascii"]

_SHOWN = frozenset({"type", "client_id", "scopes", "token_endpoint_auth_method"})


def in_ascii(url: str) -> str:
    """Return a URL as it will be asked for, so that its host has one name only, whoever takes it apart.

    Raises:
        ValueError: Its host cannot be a name.
    """
    if url.isascii():
        return url
    import httpx2  # takes a while, and is needed for few

    try:
        return str(httpx2.URL(url))
    except httpx2.InvalidURL:
        raise ValueError("must name a host that exists in the domain name system; check its characters") from None


def _checked_token(token: str) -> str:
    if not re.fullmatch(r"[\x21-\x7e]+", token):
        raise ValueError("must be printable ASCII without spaces, and not empty")
    return token


def _checked_variable(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise ValueError("must be the name of an environment variable")
    return name


def _checked_endpoint(url: str) -> str:
    try:
        parts = urlsplit(url)
        complete = parts.scheme.lower() in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        complete = False
    if not complete or re.search(r"[\x00-\x20\x7f]", url) or "@" in url or "#" in url:
        raise ValueError("must be an http:// or https:// URL without user info and fragment")
    return in_ascii(url)


_Text = Annotated[str, Field(min_length=1)]
_Variable = Annotated[str, AfterValidator(_checked_variable)]
_Endpoint = Annotated[str, AfterValidator(_checked_endpoint)]


class _Auth(BaseModel):
    # Strict: a number is not a text. Inputs stay out of messages: they may be secrets.
    model_config: ClassVar[ConfigDict] = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True)

    def _one_of(self, *names: str) -> None:
        if sum(getattr(self, name) is not None for name in names) != 1:
            raise ValueError(f"give exactly one of {', '.join(names)}")

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        """Show what is no secret, and could not be one in the wrong place."""
        for name, value in super().__repr_args__():
            yield name, value if name in _SHOWN or value is None else MASK


class BearerAuth(_Auth):
    """A token that every request to the server carries. One of ``token``, ``token_file`` and ``token_env`` is given."""

    type: Literal["bearer"]
    """``bearer``."""
    token: Annotated[str, AfterValidator(_checked_token)] | None = None
    """The token itself, as a rule from ``${VARIABLE}``."""
    token_file: _Text | None = None
    """A file that holds the token; read again when it changes."""
    token_env: _Variable | None = None
    """An environment variable that holds the token; looked at for each request."""

    @model_validator(mode="after")
    def _checked(self) -> "BearerAuth":
        self._one_of("token", "token_file", "token_env")
        return self


class ClientCredentialsAuth(_Auth):
    """A token that is fetched from an authorization server as this program itself (OAuth 2.1 client credentials)."""

    type: Literal["oauth-client-credentials"]
    """``oauth-client-credentials``."""
    client_id: _Text
    """Who this program is to the authorization server."""
    client_secret: _Text | None = None
    """The secret that proves it. One of this and the next two is given."""
    client_secret_file: _Text | None = None
    """A file that holds the secret; read again when it changes."""
    client_secret_env: _Variable | None = None
    """An environment variable that holds the secret."""
    issuer: _Endpoint | None = None
    """The authorization server, as it calls itself. Its token endpoint is discovered, starting at the MCP server; the
    secret goes nowhere else. Either this or ``token_url`` is given."""
    token_url: _Endpoint | None = None
    """The token endpoint itself; nothing is discovered."""
    scopes: list[Annotated[str, Field(pattern=r"^[\x21\x23-\x5b\x5d-\x7e]+$")]] = Field(default_factory=list)
    """What to ask for; without any, what the server says that it needs."""
    token_endpoint_auth_method: Literal["client_secret_basic", "client_secret_post"] = "client_secret_basic"  # noqa: S105 - a method
    """How the secret is sent: in a header, or in the body for servers that want it there."""

    @model_validator(mode="after")
    def _checked(self) -> "ClientCredentialsAuth":
        self._one_of("client_secret", "client_secret_file", "client_secret_env")
        self._one_of("issuer", "token_url")
        return self


Auth = Annotated[BearerAuth | ClientCredentialsAuth, Field(discriminator="type")]
