"""The options that every transport over HTTP has, and what may stand in them."""

import re
from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from mcp_orchestra.http.auth.options import Auth, in_ascii
from mcp_orchestra.redaction import MASK

__all__ = ["HttpOptions"]

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110, section 5.6.2
_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?|")
_OURS = frozenset(
    {
        "accept",
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "host",
        "keep-alive",
        "last-event-id",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


def _checked_url(url: str) -> str:
    if re.search(r"[\x00-\x20\x7f]", url):
        raise ValueError("must not contain spaces or control characters")
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError:
        raise ValueError("is not a valid URL; write it as https://host:port/path") from None
    if parts.scheme.lower() not in ("http", "https"):
        raise ValueError("must start with http:// or https://")
    if not host or port == 0:
        raise ValueError("must name a host, as in https://host/path")
    return in_ascii(url)


def _checked_headers(headers: dict[str, str]) -> dict[str, str]:
    seen: set[str] = set()
    for name, value in headers.items():
        lower = name.lower()
        if not _TOKEN.fullmatch(name):
            raise ValueError(f"{name!r} is not a valid header name")
        if lower in _OURS or lower.startswith("mcp-"):
            raise ValueError(f"the header {name!r} is set by the transport and cannot be configured")
        if lower in seen:
            raise ValueError(f"the header {name!r} is given twice; header names do not depend on case")
        if not _VALUE.fullmatch(value):
            raise ValueError(
                f"the value of the header {name!r} must be printable ASCII without a line break "
                "and without spaces at its ends"
            )
        seen.add(lower)
    return headers


class HttpOptions(BaseModel):
    """Where a server is and what every request to it carries. A transport of your own may extend it."""

    # Strict: a number is not a text. Inputs stay out of messages: they may be secrets.
    model_config: ClassVar[ConfigDict] = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True)

    url: Annotated[str, AfterValidator(_checked_url)]
    """The server's address. User and password in it become an ``Authorization`` header."""
    headers: Annotated[dict[str, str], AfterValidator(_checked_headers)] = Field(default_factory=dict)
    """Sent with every request."""
    ca_file: str | None = Field(default=None, min_length=1)
    """A PEM file of certificate authorities to trust beside those of the system."""
    auth: Auth | None = None
    """A bearer token that may change while the program runs, or OAuth client credentials, instead of a header."""

    @model_validator(mode="after")
    def _one_authorization(self) -> Self:
        named = any(name.lower() == "authorization" for name in self.headers)
        if self.auth is not None and (named or "@" in urlsplit(self.url).netloc):
            raise ValueError("give either auth, or a header Authorization or user and password in the url")
        return self

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        """Show the address without its secret parts, and headers by name only."""
        for name, value in super().__repr_args__():
            if name == "url":
                value = MASK
            elif name == "headers":
                value = dict.fromkeys(value, MASK)
            yield name, value
