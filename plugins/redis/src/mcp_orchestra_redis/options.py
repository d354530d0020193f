"""The options of the Redis backend."""

import re
from collections.abc import Mapping
from typing import Annotated, Self, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_core import InitErrorDetails

from mcp_orchestra_redis.address import Address

__all__ = ["RedisOptions"]

_Seconds = Annotated[float, Field(gt=0, le=60, allow_inf_nan=False)]
_Path = Annotated[str, Field(min_length=1)]
_Name = Annotated[SecretStr, Field(min_length=1)]


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
    """``orchestration.cache.options`` for ``backend: redis``.

    User name and password are taken out of ``url`` and kept as secrets; errors quote nothing of what was given.
    """

    model_config = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True)

    url: Annotated[str, AfterValidator(_checked_url)] = "redis://localhost:6379"
    """``redis://``, ``rediss://`` or ``unix://``; ``redis+sentinel://host,host/service`` or ``redis+cluster://host,host``."""
    username: _Name | None = None
    """Of an ACL user, if the address does not say it."""
    password: SecretStr | None = None
    """If the address does not say it."""
    sentinel_username: _Name | None = None
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
    timeout: _Seconds = 0.2
    """Seconds that a call may take in total; if not given, no less than the two above."""
    max_connections: int = Field(default=10, ge=1, le=1000)
    """Connections to keep to each server, at most."""
    push: bool = True
    """Whether to listen to what others change, so that decoded entries can be kept in memory."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        address = self.address
        if self.username and not self.password:
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

    @model_validator(mode="wrap")  # after the other one, so that it comes round it
    @classmethod
    def _without_secrets(cls, given: object, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(_login_apart(cast("Mapping[str, object]", given)) if isinstance(given, dict) else given)
        except ValidationError as error:
            raise _quoting_nothing(error) from None

    @property
    def address(self) -> Address:
        """What ``url`` says."""
        return Address.parse(self.url)

    @property
    def total(self) -> float:
        """Seconds that a call may take."""
        if "timeout" in self.model_fields_set:
            return self.timeout
        return max(self.timeout, self.connect_timeout, self.socket_timeout)

    @property
    def login(self) -> tuple[str | None, str | None]:
        """User name and password."""
        return _told(self.username), _told(self.password)

    @property
    def sentinel_login(self) -> tuple[str | None, str | None]:
        """User name and password for the sentinels."""
        return _told(self.sentinel_username), _told(self.sentinel_password)


def _told(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret else None


def _login_apart(given: Mapping[str, object]) -> dict[str, object]:
    """Move user name and password from the address to where they are secrets."""
    options = dict(given)
    if isinstance(url := options.get("url"), str):
        try:
            options["url"], username, password = Address.split(url)
        except ValueError:
            return options  # the address is refused for it in a moment
        for name, value in (("username", username), ("password", password)):
            if value is not None:
                if options.get(name) is not None:
                    error = ValueError("username and password must stand in url or beside it, not in both")
                    line = InitErrorDetails(type="value_error", input=None, ctx={"error": error})
                    raise ValidationError.from_exception_data("RedisOptions", [line], hide_input=True)
                options[name] = SecretStr(value)
    return options


def _quoting_nothing(error: ValidationError) -> ValidationError:
    """Return the error without what was given: that may be a secret, or have one in it."""
    lines = [
        InitErrorDetails(type=line["type"], loc=line["loc"], input=None, ctx=line.get("ctx", {}))
        for line in error.errors(include_url=False, include_input=False)
    ]
    return ValidationError.from_exception_data(error.title, lines, hide_input=True)
