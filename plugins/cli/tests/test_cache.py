"""`cache`: what is in the configured backend, and dropping it, while no server is started."""

import asyncio
import re
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from mcp_orchestra.caching import open_cache
from mcp_orchestra.config.loader import load_config
from mcp_orchestra.testing.valkey import ValkeyServer, free_port

PASSWORD = "s3cret-passw0rd"
QUESTIONS = [
    ["keys"],
    ["get", "resources:alpha"],
    ["invalidate", "resources:alpha"],
    ["invalidate", "--all"],
    ["purge"],
]


@pytest.fixture(scope="module")
def valkey() -> Iterator[ValkeyServer]:
    with ValkeyServer() as server:
        yield server


@pytest.fixture(params=["disk", "redis"])
def backend(request: pytest.FixtureRequest, tmp_path: Path, valkey: ValkeyServer) -> dict[str, Any]:
    """A backend that outlives the application, of each kind."""
    if request.param == "disk":
        return on_disk(tmp_path)
    valkey.ask("FLUSHALL")
    # Patient: a busy machine is no fault of the store's.
    return {"backend": "redis", "options": {"url": valkey.url, "socket_timeout": 5.0, "connect_timeout": 5.0}}


def on_disk(folder: Path) -> dict[str, Any]:
    return {"backend": "disk", "options": {"directory": str(folder / "cached"), "timeout": 5.0}}


@pytest.fixture
def caching(configured: Callable[..., Path]) -> Callable[..., Path]:
    """Write a configuration with the servers alpha and beta; ``headers`` are what alpha is sent."""

    def write(cache: dict[str, Any], *, ttl: int = 300, headers: dict[str, str] | None = None) -> Path:
        file = configured(alpha={"headers": headers or {}}, beta={})
        config = yaml.safe_load(file.read_text())
        config["orchestration"] |= {"cache": cache, "resource_cache_ttl": ttl}
        file.write_text(yaml.safe_dump(config, sort_keys=False))
        return file

    return write


def fill(file: Path, *keys: str, data: str = "Grüße") -> None:
    """Store something under keys, as an application with this configuration does."""
    cache = open_cache(load_config(file))
    for key in keys or ("resources:alpha", "resources:beta"):
        cache.set(key, {"0": {"uri": f"res://{key}", "data": data}})
    asyncio.run(cache.aclose())


def test_the_entries_of_each_server_are_counted(cli, caching, backend):
    file = caching(backend)
    assert cli("cache", "stats", "--json").document["servers"]["alpha"] == {"fresh": 0, "stale": 0, "bytes": 0}
    fill(file)
    shown = cli("cache", "stats", "--json")
    assert (shown.code, shown.err) == (0, "")
    assert shown.document["servers"]["alpha"]["bytes"] > 0
    assert [(one["fresh"], one["stale"]) for one in shown.document["servers"].values()] == [(1, 0), (1, 0)]
    assert {key: shown.document[key] for key in ("backend", "persistent", "available", "errors", "cached_items")} == {
        "backend": backend["backend"],
        "persistent": True,
        "available": True,
        "errors": 0,
        "cached_items": 2,
    }


def test_a_person_is_told_where_hits_and_misses_are_counted(cli, caching, tmp_path):
    caching(on_disk(tmp_path))
    shown = cli("cache", "stats")
    assert shown.code == 0
    assert re.search(r"^disk +yes +0$", shown.out, re.MULTILINE)
    assert re.search(r"^alpha +0 +0 +0$", shown.out, re.MULTILINE)
    assert "Hits and misses are counted by each process on its own: see cache_stats" in shown.out


def test_keys_are_listed_with_how_they_stand(cli, caching, backend):
    fill(caching(backend))
    alpha, beta = cli("cache", "keys", "--json").document["keys"]
    assert (alpha["key"], alpha["server"], alpha["stale"], alpha["outdated"]) == (
        "resources:alpha",
        "alpha",
        False,
        False,
    )
    assert alpha["scope"] in {"public", "private"}
    assert alpha["bytes"] > 0
    assert 0 <= alpha["age"] < 300
    assert alpha["age"] + alpha["expires_in"] == pytest.approx(300)
    assert beta["key"] == "resources:beta"
    listed = cli("cache", "keys", "--server", "Beta")
    assert re.search(r"^resources:beta +fresh +\d+\.\d s +\d+\.\d s +\w+ +\S+ +\d+$", listed.out, re.MULTILINE)
    assert "alpha" not in listed.out


def test_an_entry_whose_time_is_over_is_shown_as_stale_with_a_negative_time(cli, caching, backend):
    fill(caching(backend | {"max_stale": 3600}))
    caching(backend | {"max_stale": 3600}, ttl=1)
    while not (alpha := cli("cache", "keys", "--json").document["keys"][0])["stale"]:
        assert alpha["age"] < 1
    assert alpha["expires_in"] <= 0
    assert re.search(r"^resources:alpha +stale +\S+ s +-\d", cli("cache", "keys").out, re.MULTILINE)
    got = cli("cache", "get", "resources:alpha")
    assert (got.code, got.err) == (0, "note: the entry under 'resources:alpha' is stale\n")
    assert cli("cache", "get", "resources:alpha", "--json").document["stale"] is True
    assert cli("cache", "stats", "--json").document["servers"]["alpha"]["stale"] == 1


def test_an_entry_is_printed_as_json(cli, caching, backend):
    caching(backend)
    gathered = cli("resources", "--json").document["Alpha"]["resources"]  # which leaves it in the cache
    shown = cli("cache", "get", "resources:alpha")
    assert (shown.code, shown.err) == (0, "")
    assert shown.document == gathered
    assert cli("cache", "get", "resources:alpha", "--json").document == {
        "key": "resources:alpha",
        "stale": False,
        "data": gathered,
    }


def test_what_a_server_said_cannot_steer_the_terminal(cli, terminal, configured, tmp_path):
    file = configured(nasty={})
    file.write_text(file.read_text() + f"  cache: {yaml.safe_dump(on_disk(tmp_path), default_flow_style=True)}")
    fill(file, "resources:nasty", data="\x9b31m\x1b]0;title\x07b")
    shown = terminal("cache", "get", "resources:nasty")
    assert shown.code == 0
    assert "title" in shown.out
    assert "\x1b]0" not in shown.out
    assert "\x9b" not in shown.out


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("resources:alhpa", "; did you mean 'resources:alpha'?"),
        ("resource:alpha", "; did you mean 'resources:alpha'?"),
        ("tool:beta", "; did you mean 'tools:beta'?"),
        ("Alpha", "; did you mean 'resources:alpha'?"),
        ("resources:alpha", ""),
        ("theirs", ""),
    ],
)
def test_a_key_without_an_entry_ends_with_4_and_names_a_near_one(cli, caching, tmp_path, key, hint):
    caching(on_disk(tmp_path))
    ended = cli("cache", "get", key)
    assert (ended.code, ended.out, ended.err) == (4, "", f"error: nothing is cached under {key!r}{hint}\n")
    error = cli("cache", "get", key, "--json").document["error"]
    assert (error["type"], error["context"]) == ("CacheEntryNotFoundError", {"key": key})


def test_keys_are_dropped_and_what_was_not_there_is_said(cli, caching, backend):
    fill(caching(backend))
    done = cli("cache", "invalidate", "resources:alpha", "resources:bta")
    assert (done.code, done.out) == (0, "dropped resources:alpha\n")
    assert done.err == "note: nothing was cached under 'resources:bta'; did you mean 'resources:beta'?\n"
    assert [entry["key"] for entry in cli("cache", "keys", "--json").document["keys"]] == ["resources:beta"]
    again = cli("cache", "invalidate", "resources:alpha", "--json").document
    assert (again["dropped"], again["absent"], again["all"]) == ([], ["resources:alpha"], False)


def test_all_of_a_server_is_dropped_and_nothing_of_another(cli, caching, backend):
    fill(caching(backend), "resources:alpha", "tools:alpha", "resources:beta", "tools:beta")
    done = cli("cache", "invalidate", "--server", "Alpha", "--json")
    assert done.code == 0
    assert done.document["dropped"] == ["resources:alpha", "tools:alpha"]
    assert [entry["key"] for entry in cli("cache", "keys", "--json").document["keys"]] == [
        "resources:beta",
        "tools:beta",
    ]


def test_everything_is_dropped_also_what_another_configuration_has_there(cli, caching, backend):
    fill(caching(backend))
    other = caching(backend, headers={"Authorization": "Bearer another"})
    assert cli("cache", "keys", "-c", other, "--server", "alpha", "--json").document["keys"] == []
    done = cli("cache", "invalidate", "--all", "-c", other)
    assert done.code == 0
    assert done.out == (
        f"dropped resources:beta\nthe cache backend {backend['backend']} is empty now; it had 2 fresh entries\n"
    )
    caching(backend)
    assert cli("cache", "keys", "--json").document["keys"] == []


@pytest.mark.parametrize("arguments", [[], ["--all", "resources:alpha"], ["--all", "--server", "alpha"]])
def test_without_saying_exactly_what_nothing_is_dropped(cli, caching, tmp_path, arguments):
    fill(caching(on_disk(tmp_path)))
    ended = cli("cache", "invalidate", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert "--all" in ended.err
    assert len(cli("cache", "keys", "--json").document["keys"]) == 2


@pytest.mark.parametrize("command", ["keys", "invalidate"])
def test_an_unknown_server_ends_with_2_and_names_a_near_one(cli, caching, tmp_path, command):
    caching(on_disk(tmp_path))
    ended = cli("cache", command, "--server", "alhpa")
    assert ended.code == 2
    assert "no server is called 'alhpa'; there are: alpha, beta; did you mean 'alpha'?" in ended.err


def test_expired_entries_are_purged_and_counted(cli, caching, tmp_path):
    fill(caching(on_disk(tmp_path)))
    assert cli("cache", "purge").out == "dropped 0 expired entries\n"
    with closing(sqlite3.connect(tmp_path / "cached" / "cache.db")) as database, database:
        database.execute("UPDATE Cache SET expire_time = 1 WHERE rowid = (SELECT min(rowid) FROM Cache)")
    assert cli("cache", "purge", "--json").document == {"backend": "disk", "persistent": True, "purged": 1}
    assert cli("cache", "stats", "--json").document["cached_items"] == 1


def test_a_cache_in_the_application_s_memory_cannot_be_seen_and_that_is_said(cli, caching):
    caching({"backend": "memory"})
    for command, code in zip(QUESTIONS, (0, 4, 0, 0, 0), strict=True):
        ended = cli("cache", *command)
        assert ended.code == code, command
        assert "note: the cache backend memory keeps its entries in the application's own process" in ended.err
        assert "dropped" not in ended.out
    shown = cli("cache", "stats", "--json").document
    assert (shown["persistent"], shown["cached_items"], shown["servers"]) == (False, None, {})
    assert cli("cache", "keys", "--json").document["keys"] == []


@pytest.mark.parametrize("command", QUESTIONS, ids=" ".join)
def test_a_backend_that_cannot_be_reached_is_an_error_and_nothing_is_claimed(cli, caching, command):
    caching({"backend": "redis", "options": {"url": f"redis://user:{PASSWORD}@127.0.0.1:{free_port()}"}})
    ended = cli("cache", *command)
    assert (ended.code, ended.out) == (3, "")
    assert "error: the cache backend redis cannot be reached, or fails: " in ended.err
    as_json = cli("cache", *command, "--json")
    assert as_json.code == 3
    assert as_json.document["error"]["type"] == "CacheUnavailableError"
    assert as_json.document["error"]["context"] == {"backend": "redis"}
    assert PASSWORD not in ended.err + as_json.err + as_json.out


def test_the_statistics_say_that_the_backend_cannot_be_reached(cli, caching):
    caching({"backend": "redis", "options": {"url": f"redis://user:{PASSWORD}@127.0.0.1:{free_port()}"}})
    shown = cli("cache", "stats", "--json")
    assert shown.code == 3
    assert (shown.document["available"], shown.document["cached_items"], shown.document["servers"]) == (False, None, {})
    assert re.search(r"^redis +no +-$", cli("cache", "stats").out, re.MULTILINE)
    assert PASSWORD not in cli("cache", "stats", "--debug").err


def test_refused_credentials_are_no_empty_cache(cli, caching):
    with ValkeyServer(password=PASSWORD) as server:
        caching({"backend": "redis", "options": {"url": server.url, "password": "wrong-passw0rd"}})
        for command in QUESTIONS:
            ended = cli("cache", *command)
            assert (ended.code, ended.out) == (3, ""), command
            assert "wrong-passw0rd" not in ended.err


def test_a_server_that_hangs_is_not_waited_for_and_nothing_is_claimed(cli, caching):
    with ValkeyServer() as server:
        caching({"backend": "redis", "options": {"url": server.url}})
        with server.paused():
            assert cli("cache", "invalidate", "--all").code == 3
            assert cli("cache", "keys").code == 3


def test_a_directory_that_cannot_be_used_ends_with_2_and_names_the_option(cli, caching, tmp_path):
    (tmp_path / "cached").mkdir()
    (tmp_path / "cached").chmod(0o777)
    (tmp_path / "cached" / "somebody's").touch()
    caching(on_disk(tmp_path))
    ended = cli("cache", "stats")
    assert ended.code == 2
    assert "orchestration.cache.options.directory" in ended.err
    assert stat.S_IMODE((tmp_path / "cached").stat().st_mode) == 0o777


def test_what_the_backend_has_to_say_is_shown(cli, caching, tmp_path):
    fill(caching(on_disk(tmp_path)))
    (tmp_path / "cached" / "cache.db").write_bytes(b"not a database" * 1000)
    (notice,) = cli("cache", "stats", "--json").document["notices"]
    assert "moved aside" in notice


def test_no_server_is_started(cli, configured, tmp_path, no_process_left):
    started = tmp_path / "started"
    file = configured(mark={"transport": "stdio", "command": "touch", "args": [str(started)]})
    file.write_text(file.read_text() + f"  cache: {yaml.safe_dump(on_disk(tmp_path), default_flow_style=True)}")
    assert cli("cache", "stats").code == 0
    assert cli("cache", "keys").code == 0
    assert cli("cache", "get", "resources:mark").code == 4
    assert cli("cache", "invalidate", "--server", "mark").code == 0
    assert cli("cache", "purge").code == 0
    assert not started.exists()


@pytest.mark.parametrize("command", ["stats", "keys", "get", "invalidate", "purge"])
def test_every_command_takes_config_json_and_debug_and_explains_itself(cli, command):
    shown = cli("cache", command, "--help")
    assert shown.code == 0
    for option in ("--config", "--json", "--debug"):
        assert option in shown.out


def test_common_options_are_taken_before_the_command_too(cli, caching, tmp_path):
    file = caching(on_disk(tmp_path)).rename(tmp_path / "elsewhere.yaml")
    assert cli("cache", "--config", file, "--json", "keys").document["keys"] == []
    assert cli("--config", file, "--json", "cache", "keys").document["keys"] == []
    assert cli("cache", "keys", "--json").document["error"]["type"] == "ConfigurationError"
