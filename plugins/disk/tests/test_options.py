from contextlib import closing
from importlib.metadata import entry_points
from inspect import signature
from pathlib import Path

import diskcache
import pytest
from mcp_orchestra import CacheStore, ConfigurationError, GivesNotice, GrantsLeases, StoredEntry, TellsOfChanges
from mcp_orchestra.plugins import PluginManager
from mcp_orchestra_disk import DiskOptions, DiskStore
from pydantic import ValidationError


def backend():
    plugins = PluginManager()
    plugins.discover()
    return plugins.cache_backend("disk")


def test_the_backend_is_found_by_its_name_and_opens_with_its_options(tmp_path):
    found = backend()
    store = found.open(found.options.model_validate({"directory": str(tmp_path / "cache"), "max_bytes": 2**20}))
    store.set_many({"a": StoredEntry(b"x" * 2**20, 5e9), "b": StoredEntry(b"b", 5e9)})

    assert (found.blocking, found.persistent) == (True, True)
    assert set(store.get_many(["a", "b"])) == {"b"}
    assert (tmp_path / "cache" / "cache.db").is_file()
    store.close()


def test_it_is_registered_like_any_other_plug_in():
    (found,) = entry_points(group="mcp_orchestra", name="disk")

    assert found.value == "mcp_orchestra_disk"


def test_programs_that_do_not_use_it_do_not_load_what_it_needs(run_elsewhere):
    loaded = run_elsewhere(
        "import sys, mcp_orchestra_disk; print('diskcache' in sys.modules, 'sqlite3' in sys.modules)"
    )

    assert loaded == "False False\n"


def test_it_is_what_the_cache_expects_of_a_store(open_store):
    store = open_store()

    assert isinstance(store, CacheStore)
    assert isinstance(store, GrantsLeases)
    assert isinstance(store, GivesNotice)
    assert not isinstance(store, TellsOfChanges)


@pytest.mark.parametrize(
    "options",
    [
        {"directory": 5},
        {"directory": ""},
        {"directory": "a\0b"},
        {"max_bytes": "5"},
        {"max_bytes": 2**20 - 1},
        {"max_bytes": 2e20},
        {"timeout": 0},
        {"timeout": float("inf")},
        {"timeout": True},
        {"max_byts": 2**20},
    ],
)
def test_options_of_a_wrong_type_range_or_name_are_refused(options):
    with pytest.raises(ValidationError):
        DiskOptions.model_validate(options)


@pytest.mark.parametrize("options", [{"max_bytes": 2**20 - 1}, {"timeout": 0.0}, {"timeout": 61.0}])
def test_a_store_without_room_or_patience_is_refused(directory, options):
    with pytest.raises(ValueError, match="must be"):
        DiskStore(directory, **options)


def test_by_default_it_is_where_the_user_keeps_caches(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    backend().open(None).close()

    assert (tmp_path / "xdg" / "mcp-orchestra" / "cache.db").is_file()


@pytest.mark.parametrize("setting", ["", "not/absolute"])
def test_without_a_place_for_caches_it_is_in_the_home_directory(tmp_path, monkeypatch, setting):
    monkeypatch.setenv("XDG_CACHE_HOME", setting)
    monkeypatch.setenv("HOME", str(tmp_path))
    backend().open(DiskOptions()).close()

    assert (tmp_path / ".cache" / "mcp-orchestra" / "cache.db").is_file()


def test_a_tilde_stands_for_the_home_directory_and_a_dollar_for_itself(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    backend().open(DiskOptions(directory="~/a $HOME")).close()

    assert (tmp_path / "a $HOME" / "cache.db").is_file()


def test_who_has_no_home_is_told_to_name_a_directory():
    with pytest.raises(ConfigurationError, match=r"^orchestration\.cache\.options\.directory: no home directory"):
        backend().open(DiskOptions(directory="~nobody-of-that-name/cache"))


@pytest.mark.parametrize("below", ["x" * 300, "file/cache", "file"])
def test_a_directory_that_cannot_be_created_is_an_error_that_names_the_option(tmp_path, below):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"^orchestration\.cache\.options\.directory: .*; name a directory"):
        backend().open(DiskOptions(directory=str(tmp_path / below)))


def test_a_directory_with_the_cache_of_another_program_is_an_error_that_names_the_option(tmp_path):
    tmp_path.chmod(0o700)
    with closing(diskcache.Cache(str(tmp_path))) as cache:
        cache["precious"] = 1
    with pytest.raises(ConfigurationError, match=r"^orchestration\.cache\.options\.directory: .* another program, or"):
        backend().open(DiskOptions(directory=str(tmp_path)))


def test_a_store_without_a_configuration_has_the_same_defaults():
    defaults = {name: parameter.default for name, parameter in signature(DiskStore).parameters.items()}
    options = DiskOptions().model_dump()

    assert {name: defaults[name] for name in options} == options


def test_an_unsafe_directory_is_an_error_that_says_what_to_do(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(ConfigurationError, match="is a symbolic link; name the directory itself"):
        backend().open(DiskOptions(directory=str(tmp_path / "link")))
    assert list(Path(tmp_path).iterdir()) == [tmp_path / "link"]
