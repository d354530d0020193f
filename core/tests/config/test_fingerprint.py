"""S33: entries of one principal are never another's, because the key says how its server was asked."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp_orchestra import (
    CacheBackendSpec,
    MCPConfig,
    MCPOrchestrator,
    PluginManager,
    RoutingPolicySpec,
    TransportSpec,
    hookimpl,
)
from mcp_orchestra.cache import Fetched
from mcp_orchestra.config.fingerprint import fingerprint
from mcp_orchestra.config.models import LimitsConfig, MCPServerConfig
from mcp_orchestra.connection.listing import Hints
from mcp_orchestra_memory import MemoryStore
from pydantic import BaseModel, SecretStr

HTTP: dict[str, Any] = {
    "name": "Products",
    "transport": "http",
    "url": "https://host/mcp",
    "headers": {"Authorization": "Bearer one", "X-Tenant": "7"},
}
STDIO: dict[str, Any] = {
    "name": "Files",
    "transport": "stdio",
    "command": "serve",
    "args": ["--root", "/srv"],
    "env": {"TOKEN": "one", "MODE": "all"},
}


def digest(config: dict[str, Any], **limits: Any) -> str:
    return fingerprint(MCPServerConfig(**config), LimitsConfig(**limits))


@pytest.mark.parametrize(
    ("config", "change"),
    [
        (HTTP, {"headers": {"Authorization": "Bearer two", "X-Tenant": "7"}}),
        (HTTP, {"headers": {"Authorization": "Bearer one", "X-Tenant": "8"}}),
        (HTTP, {"headers": {"Authorization": "Bearer one"}}),
        (HTTP, {"headers": {"authorization": "Bearer one", "X-Tenant": "7", "Cookie": "a"}}),
        (HTTP, {"url": "https://host/mcp?token=two"}),
        (HTTP, {"url": "https://user:two@host/mcp"}),
        (HTTP, {"url": "https://other/mcp"}),
        (HTTP, {"transport": "sse"}),
        (HTTP, {"mode": "legacy"}),
        (HTTP, {"auth": {"client_secret": "two"}}),
        (STDIO, {"env": {"TOKEN": "two", "MODE": "all"}}),
        (STDIO, {"env": {"TOKEN": "one"}}),
        (STDIO, {"args": ["--root", "/home"]}),
        (STDIO, {"args": ["/srv", "--root"]}),
        (STDIO, {"args": ["--root /srv"]}),
        (STDIO, {"command": "other"}),
        (STDIO, {"cwd": "/tmp"}),
    ],
)
def test_s33_who_asks_otherwise_is_another_principal(config, change):
    assert digest(config | change) != digest(config)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "Other"},
        {"priority": 1},
        {"timeout": 5},
        {"request_timeout": 5},
        {"domains": ["d"]},
        {"capabilities": ["c"]},
        {"headers": {"X-Tenant": "7", "Authorization": "Bearer one"}},
    ],
)
def test_what_changes_no_answer_changes_no_digest(change):
    assert digest(HTTP | change) == digest(HTTP)


@pytest.mark.parametrize("limits", [{"max_items": 5}, {"max_resources_read": 0}, {"resource_contents": False}])
def test_who_takes_less_of_the_answers_does_not_share_them(limits):
    assert digest(HTTP, **limits) != digest(HTTP)


class Login(BaseModel):
    pin: SecretStr
    tokens: dict[str, SecretStr] = {}


@dataclass
class Account:
    pin: SecretStr


@pytest.mark.parametrize(
    "hidden",
    [
        lambda pin: pin,
        lambda pin: {"pin": pin},
        lambda pin: [pin],
        lambda pin: {pin},
        lambda pin: Login(pin=pin),
        lambda pin: [Login(pin="0", tokens={"a": pin})],
        lambda pin: Account(pin),
    ],
)
def test_s33_a_secret_counts_by_what_it_is_and_not_by_its_mask(hidden):
    def with_secret(secret: str) -> str:
        return digest(HTTP | {"auth": hidden(SecretStr(secret))})

    assert with_secret("one") == with_secret("one")
    assert with_secret("one") != with_secret("two")


@pytest.mark.parametrize("value", [Path("/srv"), b"bytes", 1.5, None, True, float("nan"), {1: "a", "b": 2}, {"x", "y"}])
def test_whatever_stands_in_the_configuration_has_a_digest(value):
    found = digest(HTTP | {"extra": value})

    assert len(found) == 32
    assert found == digest(HTTP | {"extra": value})
    assert found != digest(HTTP | {"extra": "other"})


@given(st.text(min_size=4), st.text(min_size=4))
def test_s6_the_digest_tells_secrets_apart_and_shows_none(one, other):
    config = HTTP | {"headers": {"Authorization": one}}
    found = digest(config)

    assert (found == digest(HTTP | {"headers": {"Authorization": other}})) == (one == other)
    assert set(found) <= set("0123456789abcdef")
    assert len(found) == 32
    if len(one) > 8:
        assert one not in found


class TcpOptions(BaseModel):
    url: str
    token: str


class OneStore:
    """A plug-in whose backend is one store for all orchestrators, as a server or a directory is."""

    def __init__(self) -> None:
        self.store = Unclosed()

    @hookimpl
    def mcp_orchestra_transports(self) -> Iterator[TransportSpec]:
        yield TransportSpec(name="tcp", open=_never, options=TcpOptions)

    @hookimpl
    def mcp_orchestra_routing_policies(self) -> Iterator[RoutingPolicySpec]:
        yield RoutingPolicySpec(name="priority", create=_never)

    @hookimpl
    def mcp_orchestra_cache_backends(self) -> Iterator[CacheBackendSpec]:
        yield CacheBackendSpec(name="one", open=lambda _: self.store, blocking=False, persistent=True)


class Unclosed(MemoryStore):
    get_objects = None
    set_objects = None

    def close(self) -> None:
        pass

    @property
    def everything(self) -> str:
        return repr(self._entries)


class Says:
    def __init__(self, scope: object) -> None:
        self.ttl_ms = 5000
        self.cache_scope = scope


def _never(*_: object) -> Any:
    raise AssertionError("nothing is connected here")


@pytest.fixture
def backend() -> OneStore:
    return OneStore()


@pytest.fixture
def orchestrator(backend):
    def orchestrator(token: str, **other: Any) -> MCPOrchestrator:
        plugins = PluginManager()
        plugins.register(backend, "one-store")
        server = {"name": "Products", "transport": "tcp", "url": "tcp://host", "token": token} | other
        config = {"mcp_servers": {"products": server}, "orchestration": {"cache": {"backend": "one"}}}
        return MCPOrchestrator(config=MCPConfig.model_validate(config), plugins=plugins)

    return orchestrator


@pytest.mark.parametrize("scope", ["private", None, "public", "shared with all", 1])
@pytest.mark.parametrize("key", ["resources:products", "tools:products"])
def test_s33_two_orchestrators_with_other_tokens_never_see_each_others_entries(orchestrator, backend, scope, key):
    hints = Hints()
    hints.add(Says(scope))
    mine, yours, again = orchestrator("s3cret one"), orchestrator("s3cret two"), orchestrator("s3cret one", priority=5)

    async def upstream() -> Fetched:
        return Fetched(data={"of": "mine"}, ttl_ms=hints.ttl_ms, scope=hints.scope)

    async def main() -> None:
        async with asyncio.timeout(10):
            await mine.cache.fetch(key, upstream)
            assert await yours.cache.lookup([key], failing=[key]) == {}
            assert yours.cache.get(key) is None
            yours.cache.set(key, {"of": "yours"})
            yours.cache.outdate(key)
            yours.cache.invalidate(key)
            assert (await again.cache.lookup([key]))[key].copy() == {"of": "mine"}
            assert mine.cache.get(key) == {"of": "mine"}
            for one in (mine, yours, again):
                await one.close()

    asyncio.run(main())
    assert "of" in backend.store.everything
    assert "s3cret" not in backend.store.everything


def test_s33_no_key_of_another_form_leads_to_a_servers_entries(orchestrator):
    mine = orchestrator("one")
    mine.cache.set("resources:products", {"of": "mine"})
    stored = next(iter(mine.cache._shelf._store._entries))
    assert stored.startswith("resources:products@")

    for key in (stored, stored + "@", "resources:products@", "products", "tools:products"):
        assert orchestrator("two").cache.get(key) is None
        assert mine.cache.get(key) is None


def test_a_key_of_ones_own_may_hold_an_at_sign(orchestrator):
    cache = orchestrator("one").cache
    keys = ["@", "a@", "a", "a@b", "a@@", "", "@a", "resources:products@x"]
    for key in keys:
        cache.set(key, {"key": key})

    assert [cache.get(key) for key in keys] == [{"key": key} for key in keys]
    cache.invalidate("a@")
    assert [key for key in keys if cache.get(key) is None] == ["a@"]


def test_the_digest_is_the_same_in_every_process():
    program = (
        "from mcp_orchestra.config.fingerprint import fingerprint\n"
        "from mcp_orchestra.config.models import LimitsConfig, MCPServerConfig\n"
        "config = MCPServerConfig(name='A', url='http://x', headers={'b': '1', 'a': '2'}, of={'x', 'y', 'z'})\n"
        "print(fingerprint(config, LimitsConfig()))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for seed in ("1", "2", "3")
    }

    assert len(found) == 1


def test_s33_a_server_that_runs_elsewhere_is_another_principal_s():
    config, limits = MCPServerConfig(name="A", transport="stdio", command="a"), LimitsConfig()

    digests = {fingerprint(config, limits, place=place) for place in (None, "here 0 /home", "there 0 /home")}
    assert len(digests) == 3
