"""Finds the secrets that stand in a configuration as they are: in headers, environment variables and addresses."""

import os
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import cast
from urllib.parse import unquote, unquote_plus, urlsplit

from mcp_orchestra.config.models import MCPConfig
from mcp_orchestra.config.tree import Path

__all__ = ["literal_secrets", "may_be_secret", "proxy_secrets", "worth_hiding"]

_ALL_SECRET = {"headers", "env"}
_SECRET_NAME = re.compile(
    r"password|passwd|passphrase|secret|token|(api|private|access)[_-]?key|credential|authorization|cookie",
    re.IGNORECASE,
)
_ORDINARY = {"true", "false", "yes", "no", "on", "off", "null", "none"}


def literal_secrets(config: MCPConfig) -> frozenset[str]:
    """Return what must not be shown of a configuration.

    That is every text under ``headers`` and ``env``, what fields called like ``token`` or ``password`` hold, and the
    user info and query values of addresses, and arguments such as what follows ``--token``.
    """
    found: set[str] = set()
    for server in config.mcp_servers.values():
        found.update(_url_secrets(server.url))
        found.update(_in(server.model_extra or {}))
    orchestration = config.orchestration
    found.update(_in(orchestration.cache.options))
    for rule in (orchestration.routing, *orchestration.routing.domains.values()):
        found.update(_in(rule.options))
    return worth_hiding(found)


def proxy_secrets() -> frozenset[str]:
    """Return the passwords of the proxies that the environment names, also as a proxy is told them.

    Not the users' names: one like "user" would be hidden wherever the word stands.
    """
    found: set[str] = set()
    for name, value in os.environ.items():
        userinfo = re.sub(r"^\w+://", "", value.rpartition("@")[0])
        if userinfo and name.lower().endswith("_proxy"):
            password = userinfo.partition(":")[2] or userinfo
            basic = b64encode(unquote(userinfo).encode(errors="surrogateescape")).decode()
            found |= {password, unquote(password), basic}
    return worth_hiding(found)


def may_be_secret(path: Path, value: object) -> bool:
    """Say whether a field of a plug-in may hold a secret, by its name and by what there is in its value."""
    return any(_is_secret(str(step)) for step in path) or next(_in(value), None) is not None


def worth_hiding(texts: Iterable[str]) -> frozenset[str]:
    """Return the texts without those that are no secret whoever set them, such as ``true``."""
    return frozenset(text for text in texts if text and text.casefold() not in _ORDINARY)


def _url_secrets(url: str) -> Iterator[str]:
    """Yield the parts of an address that may be secret, both as written and decoded; nothing for other texts."""
    if "://" not in url:
        return
    try:
        parts = urlsplit(url)
    except ValueError:  # an unbalanced bracket, say
        return
    userinfo = parts.netloc.rpartition("@")[0]
    written = [userinfo, *userinfo.split(":", 1), *(pair.partition("=")[2] for pair in parts.query.split("&"))]
    for part in filter(None, [*written, parts.fragment]):
        yield part
        yield unquote_plus(part)


def _is_secret(name: str) -> bool:
    return name in _ALL_SECRET or _SECRET_NAME.search(name) is not None


def _says_where(name: str) -> bool:
    """Tell a field that does not hold a secret but says where it is; to hide "TOKEN" everywhere would help nobody."""
    return name.endswith(("_file", "_env", "_url", "_method"))


def _arguments(arguments: object) -> Iterator[str]:
    """Yield what is given for options called like ``--token``, as the next argument or after an equals sign."""
    awaited = False
    for argument in cast("Sequence[object]", arguments) if isinstance(arguments, list | tuple) else ():
        if not isinstance(argument, str):
            continue
        name, equals, value = argument.partition("=")
        option = argument.startswith("-")
        if option and equals and _is_secret(name):
            yield value
        elif awaited and not option:
            yield argument
        awaited = option and not equals and _is_secret(name) and not _says_where(name.replace("-", "_"))


def _in(value: object, secret: bool = False) -> Iterator[str]:
    if isinstance(value, str):
        if secret:
            yield value
            yield value.partition(" ")[2]  # what follows "Bearer"
        yield from _url_secrets(value)
    elif isinstance(value, Mapping):
        for key, member in cast("Mapping[object, object]", value).items():
            if key == "args":
                yield from _arguments(member)
            yield from _in(member, secret or (_is_secret(str(key)) and not _says_where(str(key))))
    elif isinstance(value, list | tuple):
        for item in cast("Sequence[object]", value):
            yield from _in(item, secret)
