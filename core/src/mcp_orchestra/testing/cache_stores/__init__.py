"""Does a cache store keep its contract? Subclass `CacheStoreTests`, give it one fixture, and run pytest.

Example::

    from functools import partial

    import pytest
    from mcp_orchestra import GrantsLeases
    from mcp_orchestra.testing.cache_stores import CacheStoreTests, StoreFactory

    from mcp_orchestra_sqlite import SqliteStore


    class TestSqliteStore(CacheStoreTests):
        persistent = True             # closed and opened again, it has its entries still
        shared = True                 # several may be open on one place, in this process and in others
        abilities = (GrantsLeases,)   # of those in mcp_orchestra.stores

        @pytest.fixture
        def factory(self, tmp_path) -> StoreFactory:
            return partial(SqliteStore, tmp_path / "cache.db")

The factory is called whenever a test opens a store, and opens the same place every time in one test: a place that is
empty at the start of each test and that nobody else uses. For a store that is persistent or shared it is sent to other
processes too, so it can be pickled: a class that can be imported, or ``functools.partial`` of one with its arguments.

What a store does not claim to be is not tested, but that it says the truth about itself is. A store may drop entries
whenever it likes; not, for these tests, the last 25 that were stored, as long as all of them and their keys are
together smaller than 2 MiB and none is expired.

For a store that tells of changes there may be one more fixture, ``interrupt``, which returns what cuts it off::

        @pytest.fixture
        def interrupt(self, server) -> Interruption:
            return server.paused   # a context manager: stores that are open hear nothing while its block lasts

A test that cannot apply to a store is named, with the reason, in ``not_applicable``, and is reported as skipped for
that reason. To replace or to hide one is a ``TypeError``, and so is a mark that does (``skip``, ``skipif``, ``xfail``):
where there is no store to test, such as without its server, ``factory`` may call ``pytest.skip``.

The state machine takes ``steps`` steps, or as many as the environment variable ``MCP_ORCHESTRA_TEST_STEPS`` says.
"""
# ruff: noqa: E402 - pytest has to know which modules have assertions before they are imported

from typing import TYPE_CHECKING, cast

import pytest
from pytest import fail, skip  # noqa: PT013  # with an author's reason, which is shown, and with ours

_MODULES = [
    "changes",
    "entries",
    "expiry",
    "keys",
    "leases",
    "machine",
    "objects",
    "races",
    "sharing",
    "threads",
    "truth",
]
pytest.register_assert_rewrite(*(f"{__name__}.{module}" for module in _MODULES))  # before they are imported

from mcp_orchestra.testing.cache_stores.changes import ChangeTests
from mcp_orchestra.testing.cache_stores.contract import check, check_marks, settle
from mcp_orchestra.testing.cache_stores.entries import EntryTests
from mcp_orchestra.testing.cache_stores.expiry import ExpiryTests
from mcp_orchestra.testing.cache_stores.keys import KeyTests
from mcp_orchestra.testing.cache_stores.leases import LeaseTests
from mcp_orchestra.testing.cache_stores.machine import MachineTests
from mcp_orchestra.testing.cache_stores.objects import ObjectTests
from mcp_orchestra.testing.cache_stores.place import StoreFactory
from mcp_orchestra.testing.cache_stores.races import RaceTests
from mcp_orchestra.testing.cache_stores.rules import Interruption
from mcp_orchestra.testing.cache_stores.sharing import SharingTests
from mcp_orchestra.testing.cache_stores.threads import ThreadTests
from mcp_orchestra.testing.cache_stores.truth import TruthTests

if TYPE_CHECKING:
    from types import FunctionType

__all__ = ["CacheStoreTests", "Interruption", "StoreFactory"]


class CacheStoreTests(
    TruthTests,
    EntryTests,
    KeyTests,
    ExpiryTests,
    ThreadTests,
    SharingTests,
    LeaseTests,
    RaceTests,
    ChangeTests,
    ObjectTests,
    MachineTests,
):
    """Every rule of the contract in `mcp_orchestra.stores`, as tests for the store that a subclass opens."""

    def __init_subclass__(cls, **options: object) -> None:
        super().__init_subclass__(**options)
        settle(cls, CacheStoreTests)

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Refuse marks that were put on a test, or on its class or module, after the class was made."""
        try:
            check_marks(metafunc.definition, CacheStoreTests)
        except TypeError as error:
            fail(str(error), pytrace=False)  # what pytest is doing at the time is nothing to show

    @pytest.fixture(autouse=True)
    def _as_declared(self, request: pytest.FixtureRequest) -> None:
        """Skip what the author says cannot apply, and nothing else."""
        check(type(self), CacheStoreTests)  # a test may have been replaced after the class was made
        name = cast("FunctionType", request.function).__name__
        if name in self.not_applicable:
            skip(f"not applicable: {self.not_applicable[name]}")
