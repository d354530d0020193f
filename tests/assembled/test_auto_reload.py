"""Reloading when the configuration file changes and on SIGHUP."""

import asyncio
import logging
import os
import signal
import threading

import pytest
import yaml
from mcp_orchestra import MCPConfig, MCPOrchestrator, auto_reload
from mcp_orchestra.config.tool_pins import write_pin_file
from mcp_orchestra.testing.servers import ScriptedServer

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def often(monkeypatch):
    """Look at the file more often than every second."""
    monkeypatch.setattr("mcp_orchestra.watching._LOOK_SECONDS", 0.02)


@pytest.fixture
async def watched(serving, tmp_path):
    """An orchestrator over one server, and what writes its file with these servers."""
    path = tmp_path / "mcp_config.yaml"
    fields = await serving(ScriptedServer("a"))

    def text(*server_ids):
        servers = {server_id: {"name": server_id.upper(), **fields} for server_id in server_ids}
        return yaml.safe_dump({"mcp_servers": servers})

    path.write_text(text("a"))
    orchestrator = MCPOrchestrator(path)
    async with orchestrator.managed_session():
        yield orchestrator, text


def ids(orchestrator):
    return [info.server_id for info in orchestrator.registry.get_all_servers()]


async def test_a_file_that_is_written_is_reloaded(watched, until, caplog):
    orchestrator, text = watched
    async with asyncio.timeout(20), auto_reload(orchestrator):
        orchestrator.config_path.write_text(text("a", "b"))
        await until(lambda: ids(orchestrator) == ["a", "b"])
        await until(lambda: "the configuration was reloaded: added b; 1 unchanged" in caplog.messages)


async def test_a_pin_file_that_is_written_is_reloaded_although_the_configuration_is_the_same(watched, until, caplog):
    orchestrator, text = watched
    file = orchestrator.config_path.with_name("pins.json")
    write_pin_file(file, {})
    orchestrator.config_path.write_text(f"{text('a')}orchestration: {{security: {{tool_pins: pins.json}}}}\n")
    async with asyncio.timeout(20), auto_reload(orchestrator):
        await until(lambda: "the configuration was reloaded: updated a; 0 unchanged" in caplog.messages)
        write_pin_file(file, {"a": {"echo": f"sha256:{64 * '0'}"}})
        reloaded = "the configuration was reloaded: updated a; 0 unchanged"
        await until(lambda: caplog.messages.count(reloaded) == 2)
        file.unlink()
        await until(lambda: any("pins.json does not exist" in message for message in caplog.messages))
        assert orchestrator._loaded.tool_pins.of("a")


async def test_a_pin_file_that_is_written_after_the_configuration_names_it_is_reloaded(watched, until, caplog):
    orchestrator, text = watched
    file = orchestrator.config_path.with_name("pins.json")
    async with asyncio.timeout(20), auto_reload(orchestrator):
        orchestrator.config_path.write_text(f"{text('a')}orchestration: {{security: {{tool_pins: pins.json}}}}\n")
        await until(lambda: any("pins.json does not exist" in message for message in caplog.messages))
        file.write_text("{")
        await until(lambda: any("Tool pin file" in message for message in caplog.messages))
        write_pin_file(file, {"a": {"echo": f"sha256:{64 * '0'}"}})
        await until(lambda: orchestrator._loaded.tool_pins is not None)
        assert orchestrator._loaded.tool_pins.of("a")


@pytest.mark.parametrize("loaded_by", ["managed_session", "reload"])
async def test_a_file_that_was_written_after_it_was_loaded_is_reloaded(watched, until, loaded_by):
    """Connecting takes its time, and so does a reload: what is written meanwhile must not wait for the next change."""
    orchestrator, text = watched
    if loaded_by == "reload":
        orchestrator.config_path.write_text(text("a", "c"))
        await orchestrator.reload()
    orchestrator.config_path.write_text(text("a", "b"))
    async with asyncio.timeout(20), auto_reload(orchestrator):
        await until(lambda: ids(orchestrator) == ["a", "b"])


async def test_a_file_that_is_written_while_it_is_watched_and_not_yet_loaded_is_reloaded(watched, until):
    orchestrator, text = watched
    later = MCPOrchestrator(orchestrator.config_path)
    async with asyncio.timeout(20), auto_reload(later):
        later.load_configuration()
        later.config_path.write_text(text("b"))
        await until(lambda: ids(later) == ["b"])
    await later.close()


async def test_a_file_that_is_replaced_is_reloaded(watched, until, tmp_path):
    orchestrator, text = watched
    path = orchestrator.config_path
    before = path.stat()
    async with asyncio.timeout(20), auto_reload(orchestrator):
        new = tmp_path / "new.yaml"
        new.write_text(text("b"))
        os.utime(new, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert new.stat().st_size == before.st_size
        new.replace(path)
        await until(lambda: ids(orchestrator) == ["b"])


async def test_a_failed_reload_is_one_error_and_a_mended_file_is_picked_up(watched, until, caplog):
    orchestrator, text = watched

    def errors():
        return [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]

    async with asyncio.timeout(20), auto_reload(orchestrator):
        orchestrator.config_path.write_text("mcp_servers: {a: {nmae: A}}")
        await until(errors)
        await asyncio.sleep(0.2)
        (error,) = errors()
        assert "the configuration before stays in force" in error
        assert "mcp_servers.a" in error
        assert ids(orchestrator) == ["a"]
        orchestrator.config_path.unlink()
        await until(lambda: len(errors()) == 2)
        orchestrator.config_path.write_text(text("a", "c"))
        await until(lambda: ids(orchestrator) == ["a", "c"])
        assert len(errors()) == 2


async def test_a_file_that_is_still_being_written_is_not_loaded(watched, until, caplog):
    orchestrator, text = watched
    whole = text("a", "b")
    async with asyncio.timeout(20), auto_reload(orchestrator):
        with orchestrator.config_path.open("w") as file:
            for character in whole:
                file.write(character)
                file.flush()
                await asyncio.sleep(0.005)
        await until(lambda: ids(orchestrator) == ["a", "b"])
    assert not [record for record in caplog.records if record.levelno == logging.ERROR]


async def test_sighup_reloads_whatever_the_file_looks_like(watched, until, caplog):
    orchestrator, _ = watched
    before = signal.getsignal(signal.SIGHUP)
    async with asyncio.timeout(20):
        async with auto_reload(orchestrator, on_change=False):
            os.kill(os.getpid(), signal.SIGHUP)
            await until(lambda: "the configuration was reloaded: 1 unchanged" in caplog.messages)
            os.kill(os.getpid(), signal.SIGHUP)
            await until(lambda: caplog.messages.count("the configuration was reloaded: 1 unchanged") == 2)
        assert signal.getsignal(signal.SIGHUP) is before


async def test_without_on_change_the_file_is_not_looked_at(watched):
    orchestrator, text = watched
    async with asyncio.timeout(20), auto_reload(orchestrator, on_change=False):
        orchestrator.config_path.write_text(text("b"))
        await asyncio.sleep(0.3)
        assert ids(orchestrator) == ["a"]


async def test_an_application_s_own_handler_of_sighup_stays(watched, caplog, monkeypatch):
    orchestrator, _ = watched
    received = []
    previous = signal.signal(signal.SIGHUP, lambda *_: received.append(True))
    try:
        async with asyncio.timeout(20), auto_reload(orchestrator):
            os.kill(os.getpid(), signal.SIGHUP)
            await asyncio.sleep(0.1)
        assert received
    finally:
        signal.signal(signal.SIGHUP, previous)
    assert "SIGHUP does not reload the configuration: the application handles it" in caplog.messages
    assert not [message for message in caplog.messages if "was reloaded" in message]


def test_in_another_thread_the_file_is_watched_and_sighup_is_not(caplog, tmp_path):
    caplog.set_level(logging.INFO, logger="mcp_orchestra")
    path = tmp_path / "mcp_config.yaml"
    path.write_text("mcp_servers: {}")

    async def main():
        orchestrator = MCPOrchestrator(path)
        orchestrator.load_configuration()
        async with asyncio.timeout(20), auto_reload(orchestrator):
            path.write_text("mcp_servers: {a: {name: A, url: 'http://127.0.0.1:1', transport: http}}")
            while ids(orchestrator) != ["a"]:
                await asyncio.sleep(0.01)
        await orchestrator.close()

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    thread.join(30)
    assert not thread.is_alive()
    assert "SIGHUP does not reload the configuration: only the main thread can be told" in caplog.messages


async def test_a_configuration_made_in_python_is_reloaded_on_sighup(serving, until):
    config = MCPConfig.model_validate({"mcp_servers": {"a": {"name": "A", **await serving(ScriptedServer("a"))}}})
    orchestrator = MCPOrchestrator(config=config)
    async with asyncio.timeout(20), orchestrator.managed_session(), auto_reload(orchestrator):
        config.mcp_servers["a"].priority = 9
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: orchestrator.registry.get_server("a").config.priority == 9)


async def test_nothing_is_left_of_it(watched, leftovers):
    orchestrator, _ = watched
    before = leftovers()["tasks"]
    async with auto_reload(orchestrator):
        await asyncio.sleep(0.1)
    assert leftovers()["tasks"] == before
