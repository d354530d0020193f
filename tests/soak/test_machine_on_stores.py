"""ResourceCache does over each real store what its model does: S30, S31, S33, S34, S35 and S36."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from cache_machine import CacheMachine, run_machine
from mcp_orchestra.testing.valkey import ValkeyServer
from mcp_orchestra_disk import DiskStore
from mcp_orchestra_redis import RedisOptions, RedisStore
from switchable import Switchable

STEPS = 1_000


class SwitchableDisk(Switchable, DiskStore):
    """A store in a directory."""


class SwitchableRedis(Switchable, RedisStore):
    """A store in Redis."""


@pytest.fixture(scope="module")
def valkey() -> Iterator[ValkeyServer]:
    with ValkeyServer() as server:
        yield server


@pytest.mark.parametrize("near", [0, 3], ids=["without a near cache", "with a near cache"])
def test_s30_the_cache_behaves_like_its_model_on_disk(tmp_path: Path, near: int) -> None:
    class OnDisk(CacheMachine):
        blocking = persistent = True
        near_entries = near

        def open_store(self, room: int) -> SwitchableDisk:
            return SwitchableDisk(tmp_path / "cache", timeout=30.0)

    run_machine(OnDisk, STEPS)


@pytest.mark.parametrize("near", [0, 3], ids=["without a near cache", "with a near cache"])
def test_s30_the_cache_behaves_like_its_model_in_redis(valkey: ValkeyServer, near: int) -> None:
    class InRedis(CacheMachine):
        blocking = persistent = True
        near_entries = near

        def open_store(self, room: int) -> SwitchableRedis:
            options = RedisOptions(url=valkey.url, connect_timeout=30.0, socket_timeout=30.0)
            return SwitchableRedis(options, clock=lambda: self.now)

    run_machine(InRedis, STEPS)
