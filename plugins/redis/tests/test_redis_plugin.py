"""What the plug-in tells core, and that it costs nothing before it is used."""

import subprocess
import sys

import pytest
from mcp_orchestra.plugins import PluginManager
from mcp_orchestra_redis import RedisOptions, RedisStore, mcp_orchestra_cache_backends


def test_core_finds_the_backend_under_its_name():
    plugins = PluginManager(strict=True)
    plugins.discover()
    spec = plugins.cache_backend("redis")
    assert spec.options is RedisOptions
    assert spec.blocking
    assert spec.persistent


def test_opening_it_connects_to_nothing():
    (spec,) = mcp_orchestra_cache_backends()
    store = spec.open(RedisOptions(url="redis://nowhere.invalid"))
    assert isinstance(store, RedisStore)
    store.close()
    default = spec.open(None)
    assert "redis://localhost:6379" in repr(default)
    default.close()


def test_the_client_library_is_not_imported_before_it_is_needed():
    program = "import sys, mcp_orchestra_redis; assert not {'redis', 'mcp'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0


def test_the_module_has_nothing_that_it_does_not_have():
    import mcp_orchestra_redis

    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = mcp_orchestra_redis.nothing
