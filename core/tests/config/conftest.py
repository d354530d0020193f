"""Plug-ins of every kind, and a way to load a text as if it were a file."""

import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from mcp_orchestra.config.loader import LoadedConfig, load_config
from mcp_orchestra.errors import ConfigurationError
from mcp_orchestra.hookspecs import hookimpl
from mcp_orchestra.http.options import HttpOptions as CheckedOptions
from mcp_orchestra.plugins import PluginManager
from mcp_orchestra.types import CacheBackendSpec, RoutingPolicySpec, TransportSpec
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator


def _never(_options: Any) -> Any:
    raise AssertionError("loading a configuration opens nothing")


class HttpOptions(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    url: str
    headers: dict[str, str] = {}
    verify: bool = True

    @field_validator("url")
    @classmethod
    def _is_http(cls, url: str) -> str:
        if not url.startswith(("http://", "https://")):
            raise ValueError("expected a URL that starts with http:// or https://")
        return url


class StdioOptions(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    command: Annotated[str, Field(min_length=1)]
    args: list[str] = []
    env: dict[str, str] = {}
    cwd: str | None = None
    umask: int = 0
    nice: int | float = 0
    encoding: Literal["utf-8", "latin-1"] = "utf-8"


class CarelessOptions(BaseModel):
    """As a stranger may write it: not strict, tells the values, and fails in its own ways."""

    token: str = ""
    size: Annotated[int, Field(multiple_of=8)] = 8
    pin: Annotated[SecretStr, Field(min_length=4)] = SecretStr("1234")
    when: Annotated[str, Field(pattern="^[a-z]+$")] = "now"

    @field_validator("token")
    @classmethod
    def _tell(cls, token: str) -> str:
        if token.startswith("bad"):
            raise ValueError(f"I do not like the token {token}")
        if token == "crash":
            raise KeyError(token)
        return token


class TellingOptions(BaseModel):
    """As a stranger may write it: tells values, also in disguise, and exits."""

    url: str = ""
    headers: dict[str, str] = {}
    password: str = ""
    pin: int = 0
    label: str = ""
    exits: bool = False

    @field_validator("password", "label")
    @classmethod
    def _tell(cls, text: str) -> str:
        raise ValueError(f"I do not like {text[::-1]}")

    @field_validator("pin")
    @classmethod
    def _tell_the_number(cls, pin: int) -> int:
        raise ValueError(f"{pin} is not in the list")

    @field_validator("headers", "url")
    @classmethod
    def _tell_all(cls, value: Any) -> Any:
        raise ValueError(f"never {str(value).upper()}")

    @field_validator("exits")
    @classmethod
    def _exit(cls, exits: bool) -> bool:
        raise SystemExit(exits)


class OpenOptions(BaseModel):
    model_config = ConfigDict(extra="allow")


class MemoryOptions(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    max_entries: Annotated[int, Field(ge=1)] = 1000


class RedisOptions(BaseModel):
    url: str
    prefix: str = ""


class WeightedOptions(BaseModel):
    weights: dict[str, float]


class EveryKind:
    @hookimpl
    def mcp_orchestra_transports(self) -> Iterator[TransportSpec]:
        yield TransportSpec(name="sse", open=_never, options=HttpOptions, deprecated="use streamable-http")
        yield TransportSpec(
            name="streamable-http",
            open=_never,
            options=HttpOptions,
            aliases=("http", "streamable_http", "streamableHttp"),
        )
        yield TransportSpec(name="stdio", open=_never, options=StdioOptions)
        yield TransportSpec(name="tcp", open=_never)
        yield TransportSpec(name="careless", open=_never, options=CarelessOptions)
        yield TransportSpec(name="telling", open=_never, options=TellingOptions)
        yield TransportSpec(name="checked", open=_never, options=CheckedOptions)
        yield TransportSpec(name="anything", open=_never, options=OpenOptions)

    @hookimpl
    def mcp_orchestra_cache_backends(self) -> Iterator[CacheBackendSpec]:
        yield CacheBackendSpec(name="memory", open=_never, options=MemoryOptions)
        yield CacheBackendSpec(name="redis", open=_never, options=RedisOptions)
        yield CacheBackendSpec(name="null", open=_never)

    @hookimpl
    def mcp_orchestra_routing_policies(self) -> Iterator[RoutingPolicySpec]:
        yield RoutingPolicySpec(name="priority", create=_never)
        yield RoutingPolicySpec(name="weighted", create=_never, options=WeightedOptions)


Load = Callable[..., LoadedConfig]


@pytest.fixture(scope="session")
def plugins() -> PluginManager:
    """A manager with plug-ins of every kind, none of which can be opened."""
    manager = PluginManager()
    manager.register(EveryKind(), "every-kind")
    return manager


@pytest.fixture(scope="session")
def load(plugins: PluginManager, tmp_path_factory: pytest.TempPathFactory) -> Load:
    """Write a text or bytes to a file and load it: ``load(text, name="mcp_config.yaml", environ={})``."""
    folder = tmp_path_factory.mktemp("configurations")

    def load_text(
        text: str | bytes, name: str = "mcp_config.yaml", environ: dict[str, str] | None = None
    ) -> LoadedConfig:
        file = folder / name
        file.write_bytes(text.encode() if isinstance(text, str) else text)
        return load_config(file, plugins=plugins, environ=environ or {})

    return load_text


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


Check = Callable[..., None]


@pytest.fixture(scope="session")
def check() -> Check:
    """Check what an error says: ``check(error, "line:column path", *parts_of_the_message)``."""

    def check_error(error: ConfigurationError, place: str, *words: str) -> None:
        (problem,) = error.context["errors"]
        mark = f"{problem['line']}:{problem['column']}" if problem["line"] else ""
        assert f"{mark} {problem['path']}".strip() == place
        assert set(problem) == {"path", "line", "column", "message"}
        assert [word for word in words if word not in problem["message"]] == []
        assert f"Configuration file {error.context['path']}" in error.message
        assert error.message.endswith(problem["message"])
        assert problem["path"] in error.message
        assert not mark or "line {}, column {}".format(*mark.split(":")) in error.message
        assert "\n" not in error.message
        told = f"{error.message}{error.context}{''.join(traceback.format_exception(error))}"
        assert "canary" not in told
        assert error.__cause__ is None
        assert error.__context__ is None

    return check_error


@pytest.fixture(scope="session")
def refused(load: Load, check: Check) -> Callable[..., ConfigurationError]:
    """Load what must be refused: ``refused(text, "line:column path", *parts_of_the_message, name=…, environ=…)``."""

    def load_and_check(
        text: str | bytes, place: str, *words: str, name: str = "mcp_config.yaml", environ: dict[str, str] | None = None
    ) -> ConfigurationError:
        with pytest.raises(ConfigurationError) as caught:
            load(text, name, environ)
        assert str(caught.value.context["path"]).endswith(name)
        check(caught.value, place, *words)
        return caught.value

    return load_and_check
