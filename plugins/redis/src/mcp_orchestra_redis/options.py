"""The options of the Redis backend."""

import re
from collections.abc import Iterable
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from mcp_orchestra_redis.address import Address

__all__ = ["RedisOptions"]

_Seconds = Annotated[float, Field(gt=0, le=60, allow_inf_nan=False)]
_Path = Annotated[str, Field(min_length=1)]


def _checked_url(url: str) -> str:
    Address.parse(url)
    return url


def _checked_namespace(namespace: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.-]+(:[A-Za-z0-9_.-]+)*", namespace):
        raise ValueError("must be made of letters, digits and _ . - with single colons between")
    if {"entry", "lease"} & set(namespace.split(":")):
        # Else "a" would find the keys of "a:entry" among its own.
        raise ValueError("must not have a part called entry or lease")
    return namespace


class RedisOptions(BaseModel):
    """``orchestration.cache.options`` for ``backend: redis``."""

    model_config = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True)

    url: Annotated[str, AfterValidator(_checked_url)] = "redis://localhost:6379"
    """``redis://``, ``rediss://`` or ``unix://``; ``redis+sentinel://host,host/service`` or ``redis+cluster://host,host``."""
    username: str | None = Field(default=None, min_length=1, repr=False)
    """Of an ACL user, if the address does not say it."""
    password: SecretStr | None = None
    """If the address does not say it."""
    sentinel_username: str | None = Field(default=None, min_length=1, repr=False)
    """For the sentinels themselves."""
    sentinel_password: SecretStr | None = None
    """For the sentinels themselves."""
    ca_certs: _Path | None = None
    """A PEM file of certificate authorities to trust beside those of the system."""
    certfile: _Path | None = None
    """A PEM file with the client's certificate."""
    keyfile: _Path | None = None
    """A PEM file with its key, if that is not in ``certfile``."""
    check_hostname: bool = True
    """Whether a certificate has to be for the host it comes from."""
    namespace: Annotated[str, Field(max_length=100), AfterValidator(_checked_namespace)] = "mcp-orchestra"
    """What every key begins with. Those who share it share the cache."""
    connect_timeout: _Seconds = 0.04
    """Seconds to wait for a connection."""
    socket_timeout: _Seconds = 0.04
    """Seconds for which a server may send nothing while an answer is awaited, and to wait for a free connection."""
    max_connections: int = Field(default=10, ge=1, le=1000)
    """Connections to keep to each server, at most."""
    push: bool = True
    """Whether to listen to what others change, so that decoded entries can be kept in memory."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        address = self.address
        if (address.username and self.username) or (address.password and self.password):
            raise ValueError("username and password must stand in url or beside it, not in both")
        if self.username and not (self.password or address.password):
            raise ValueError("username needs a password")
        given = [name for name in ("ca_certs", "certfile", "keyfile") if getattr(self, name)]
        if not self.check_hostname:
            given.append("check_hostname")
        if given and not address.tls:
            raise ValueError(f"{given[0]} is for TLS: begin url with rediss")
        if self.keyfile and not self.certfile:
            raise ValueError("keyfile needs certfile")
        if (self.sentinel_username or self.sentinel_password) and address.kind != "sentinel":
            raise ValueError("sentinel_username and sentinel_password are for a url that begins with redis+sentinel")
        if self.sentinel_username and not self.sentinel_password:
            raise ValueError("sentinel_username needs sentinel_password")
        return self

    @property
    def address(self) -> Address:
        """What ``url`` says."""
        return Address.parse(self.url)

    @property
    def login(self) -> tuple[str | None, str | None]:
        """User name and password, wherever they were given."""
        address = self.address
        password = self.password.get_secret_value() if self.password else address.password
        return self.username or address.username, password

    @property
    def sentinel_login(self) -> tuple[str | None, str | None]:
        """User name and password for the sentinels."""
        return self.sentinel_username, self.sentinel_password.get_secret_value() if self.sentinel_password else None

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        """Show the address without user name and password."""
        for name, value in super().__repr_args__():
            yield name, str(self.address) if name == "url" else value
