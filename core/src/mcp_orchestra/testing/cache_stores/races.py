"""What was invalidated while somebody fetched it is not stored after that, however close the two come."""
# ruff: noqa: D102, S101 - tests assert, and their names say what they are about

from functools import partial
from typing import cast

from mcp_orchestra.stores import CacheStore, GrantsLeases
from mcp_orchestra.testing.cache_stores.place import Place
from mcp_orchestra.testing.cache_stores.rules import StoreTests, needs
from mcp_orchestra.testing.cache_stores.threads import in_threads
from mcp_orchestra.testing.racing import Account, fetch_on, invalidate_on, late_results, switching_often

__all__ = ["RaceTests"]

_SECONDS = 1.0
_KEY = "a"


class RaceTests(StoreTests):
    """One fetches and stores with a lease, another one drops, replaces or clears; every attempt has its own value."""

    @needs(GrantsLeases)
    def test_what_a_thread_invalidated_while_it_was_fetched_is_not_there_after_that(self, store: CacheStore) -> None:
        accounts: list[Account] = []
        work = [fetch_on, invalidate_on]
        with switching_often():
            in_threads(lambda number: accounts.append(work[number](store, _KEY, seconds=_SECONDS)), len(work))
        assert late_results(accounts) == []

    @needs(GrantsLeases, "shared")
    def test_what_a_process_invalidated_while_it_was_fetched_is_not_there_after_that(self, place: Place) -> None:
        store = place.open()
        with place.process() as process:
            process.call(partial(fetch_on, key=_KEY, seconds=0.0))  # it is open and knows what to do when both begin
            process.begin(partial(fetch_on, key=_KEY, seconds=_SECONDS))
            accounts = [invalidate_on(store, _KEY, seconds=_SECONDS)]
            accounts.append(cast("Account", process.result()))
        assert late_results(accounts) == []
