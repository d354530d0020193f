"""Where the servers are, as an address in one line says it."""

import re
from dataclasses import dataclass, field
from typing import Literal, NamedTuple
from urllib.parse import unquote, urlsplit

__all__ = ["Address", "Kind", "Place"]

Kind = Literal["single", "sentinel", "cluster"]

_KINDS: dict[str, Kind] = {"redis": "single", "redis+sentinel": "sentinel", "redis+cluster": "cluster"}
_PORT, _SENTINEL_PORT = 6379, 26379
_ENCODE = "write characters such as / ? # @ in a user name or password as %2F %3F %23 %40"


class Place(NamedTuple):
    """Where one server listens."""

    host: str
    """The path of the socket if ``port`` is 0."""
    port: int

    def __str__(self) -> str:
        if not self.port:
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, kw_only=True)
class Address:
    """What an address says. Its text is the address without user name and password."""

    kind: Kind
    places: tuple[Place, ...]
    """The server; the sentinels; or some servers of the cluster, which know the others."""
    tls: bool = False
    database: int = 0
    service: str = ""
    """What the sentinels call the server."""
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, url: str) -> "Address":
        """Take an address apart.

        Raises:
            ValueError: It is not one. The message quotes nothing of it, for it may hold a secret.
        """
        if re.search(r"[\x00-\x20\x7f]", url):
            raise ValueError("must not contain spaces or control characters")
        try:
            parts = urlsplit(url)
        except ValueError:
            raise ValueError(f"is not a valid address; {_ENCODE}") from None
        if parts.query or parts.fragment:
            raise ValueError(f"must not have a part after ? or #: options stand beside it; {_ENCODE}")
        if "@" in parts.path:
            raise ValueError(f"must not contain @ after the hosts; {_ENCODE}")
        login, _, hosts = parts.netloc.rpartition("@")
        username, _, password = (unquote(part) or None for part in login.partition(":"))
        if parts.scheme == "unix":
            if hosts or not parts.path.strip("/"):
                raise ValueError("must name a socket, as in unix:///run/redis.sock")
            place = Place(unquote(parts.path), 0)
            return cls(kind="single", places=(place,), username=username, password=password)
        tls = parts.scheme.startswith("rediss")
        kind = _KINDS.get(parts.scheme.replace("rediss", "redis", 1))
        if kind is None:
            raise ValueError(
                "must start with redis://, redis+sentinel:// or redis+cluster:// (rediss… for TLS), or unix://"
            )
        places = tuple(_place(host, _SENTINEL_PORT if kind == "sentinel" else _PORT) for host in hosts.split(","))
        if kind == "single" and len(places) > 1:
            raise ValueError("must name one host; several are for redis+sentinel:// and redis+cluster://")
        service, database = _path(kind, parts.path)
        return cls(
            kind=kind,
            places=places,
            tls=tls,
            database=database,
            service=service,
            username=username,
            password=password,
        )

    @classmethod
    def split(cls, url: str) -> tuple[str, str | None, str | None]:
        """Return an address without user name and password, and these.

        Raises:
            ValueError: It is not one, as in `parse`.
        """
        address = cls.parse(url)
        scheme, separator, rest = url.partition("://")
        hosts, slash, path = rest.partition("/")
        return f"{scheme}{separator}{hosts.rpartition('@')[2]}{slash}{path}", address.username, address.password

    def __str__(self) -> str:
        if not self.places[0].port:
            return f"unix://{self.places[0]}"
        scheme = next(scheme for scheme, kind in _KINDS.items() if kind == self.kind)
        if self.tls:
            scheme = scheme.replace("redis", "rediss")
        path = "".join(f"/{part}" for part in (self.service, self.database or "") if part)
        return f"{scheme}://{','.join(map(str, self.places))}{path}"


def _place(host_and_port: str, default_port: int) -> Place:
    try:
        parts = urlsplit(f"//{host_and_port}")
        host, port = parts.hostname, default_port if parts.port is None else parts.port
    except ValueError:
        raise ValueError(f"must have hosts such as name, name:6379 or [::1]:6379; {_ENCODE}") from None
    if not host or not port:
        raise ValueError("must name a host and a port other than 0, as in redis://localhost:6379")
    return Place(host, port)


def _path(kind: Kind, path: str) -> tuple[str, int]:
    steps = [unquote(step) for step in path.strip("/").split("/") if step]
    service = ""
    if kind == "sentinel":
        if not steps:
            raise ValueError("must name the service, as in redis+sentinel://host:26379/mymaster")
        service = steps.pop(0)
    if kind == "cluster" and steps:
        raise ValueError("must end after the hosts: a cluster has no numbered databases")
    if len(steps) > 1 or not all(re.fullmatch("[0-9]{1,9}", step) for step in steps):
        raise ValueError("must end with the number of a database, such as /0, or without")
    return service, int(steps[0]) if steps else 0
