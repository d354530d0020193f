"""S36: a store that is taken away while requests are served, and comes back. No request notices."""

import asyncio
import logging
import os
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from mcp_orchestra.testing.servers import ScriptedServer
from mcp_orchestra.testing.valkey import ValkeyServer

pytestmark = pytest.mark.anyio


@pytest.fixture
def redis_server():
    with ValkeyServer() as server:
        yield server


@pytest.fixture
def directory(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "mcp-orchestra"


@pytest.fixture
def cache(outage, redis_server):
    if outage.backend == "redis":
        return {"backend": "redis", "options": {"url": redis_server.url}}
    return {"backend": outage.backend}


@contextmanager
def killed(server, directory):
    server.kill()
    yield
    server.start()


@contextmanager
def paused(server, directory):
    with server.paused():
        yield


@contextmanager
def deleted(server, directory):
    shutil.rmtree(directory)
    yield


@contextmanager
def unusable(server, directory):
    shutil.rmtree(directory)
    directory.write_text("a file where there was a directory")
    yield
    directory.unlink()


@contextmanager
def overwritten(server, directory):
    with (directory / "cache.db").open("r+b") as file:
        file.write(os.urandom(100_000))
    yield


@contextmanager
def replaced(server, directory):
    for path in directory.glob("cache.db*"):
        path.unlink()
    (directory / "cache.db").write_bytes(b"not a database at all " * 1000)
    yield


class Outage(NamedTuple):
    backend: str
    happens: Callable[[ValkeyServer, Path], AbstractContextManager[None]]
    shows: set[str]
    """What the statistics show of it. A directory that is gone is made anew, and SQLite has good pages in memory."""

    def __str__(self) -> str:
        return f"{self.backend} {self.happens.__name__}"


OUTAGES = [
    Outage("redis", killed, {"errors", "unavailable"}),
    Outage("redis", paused, {"errors", "unavailable"}),
    Outage("disk", deleted, set()),
    Outage("disk", unusable, {"errors"}),
    Outage("disk", overwritten, set()),
    Outage("disk", replaced, {"notices"}),
]


@pytest.fixture(params=OUTAGES, ids=str)
def outage(request):
    return request.param


def stats(orchestrator):
    return orchestrator.get_status()["cache_stats"]


def shown(orchestrator):
    """What the statistics show of an outage."""
    found = stats(orchestrator)
    return {name for name in ("errors", "notices") if found[name]} | (set() if found["available"] else {"unavailable"})


async def test_s36_no_request_fails_while_the_store_is_away_and_it_is_used_again_when_it_is_back(
    deploy, serving, outage, redis_server, directory, until, caplog
):
    caplog.set_level(logging.WARNING)
    servers = [ScriptedServer("a", tools=("echo",)), ScriptedServer("b", tools=("count",))]
    orchestrator = deploy({server.name: {**await serving(server), "domains": ["d"]} for server in servers})
    gathered = await orchestrator.gather_all_resources()
    tools = await orchestrator.list_tools()
    assert stats(orchestrator)["cached_items"] == 4
    assert shown(orchestrator) == set()

    async def ask():
        assert await orchestrator.gather_all_resources() == gathered
        assert await orchestrator.get_resources_for_domain("d") == gathered["A"]["resources"]
        assert await orchestrator.list_tools() == tools
        assert not (await orchestrator.call_tool("echo")).is_error

    async def keep_asking():
        while True:
            await ask()

    asking = asyncio.create_task(keep_asking())
    with outage.happens(redis_server, directory):
        for _ in range(5):
            await ask()
            orchestrator.cache.invalidate("resources:a")
            await asyncio.gather(*(ask() for _ in range(10)))
            orchestrator.cache.invalidate()

        async def noticed():
            await ask()
            orchestrator.cache.invalidate("resources:b")
            return shown(orchestrator) >= outage.shows

        await until(noticed)

    async def used_again():
        await ask()
        before = [server.requests["resources/list"] for server in servers]
        await ask()
        fetched = [server.requests["resources/list"] for server in servers] != before
        return stats(orchestrator)["available"] and stats(orchestrator)["cached_items"] == 4 and not fetched

    await until(used_again, seconds=30)
    assert not asking.done()
    asking.cancel()
    await asyncio.wait({asking})
    warnings = [record for record in caplog.records if record.name.startswith("mcp_orchestra")]
    assert len(warnings) <= 1
    assert all(record.levelno == logging.WARNING for record in warnings)


async def test_s36_what_was_invalidated_while_the_store_was_away_does_not_come_back(
    deploy, serving, outage, redis_server, directory, until
):
    server = ScriptedServer("a", resources={"res://it": "old"})
    orchestrator = deploy({"a": await serving(server)})

    async def text():
        return (await orchestrator.gather_all_resources())["A"]["resources"]["it"]["data"]

    assert await text() == "old"
    with outage.happens(redis_server, directory):
        server.resources["res://it"] = "new"
        orchestrator.cache.invalidate("resources:a")
        for _ in range(10):
            assert await text() == "new"

    async def used_again():
        assert await text() == "new"
        return stats(orchestrator)["cached_items"] == 1

    await until(used_again, seconds=30)
    for _ in range(10):
        assert await text() == "new"


@pytest.mark.parametrize(
    "outage", [outage for outage in OUTAGES if outage.happens is not unusable], ids=str, indirect=True
)
async def test_s36_an_orchestrator_starts_and_answers_while_its_store_is_away(
    deploy, serving, outage, redis_server, directory, until
):
    server = ScriptedServer("a")
    fields = {"a": await serving(server)}
    first = deploy(fields)
    gathered = await first.gather_all_resources()
    await first.close()
    with outage.happens(redis_server, directory):
        second = deploy(fields)
        for _ in range(5):
            assert await second.gather_all_resources() == gathered
        if outage.happens in (overwritten, replaced):
            assert ["moved aside" in notice for notice in stats(second)["notices"]] == [True]

    async def used_again():
        before = server.requests["resources/list"]
        for _ in range(3):
            assert await second.gather_all_resources() == gathered
        return server.requests["resources/list"] == before and stats(second)["cached_items"] == 1

    await until(used_again, seconds=30)


async def test_s14_an_orchestrator_can_be_closed_while_its_store_is_away(
    deploy, serving, outage, redis_server, directory, until, leftovers
):
    fields = {"a": await serving(ScriptedServer("a"))}
    before = leftovers()["tasks"]
    orchestrator = deploy(fields)
    gathered = await orchestrator.gather_all_resources()
    with outage.happens(redis_server, directory):
        orchestrator.cache.invalidate()
        assert await orchestrator.gather_all_resources() == gathered
        async with asyncio.timeout(10):
            await orchestrator.close()
    await until(lambda: len(leftovers()["tasks"]) <= len(before))
