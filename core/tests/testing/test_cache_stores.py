"""The conformance class passes stores that keep the contract and fails those that break a rule, each by name."""

from pathlib import Path

import pytest
from hypothesis import Phase, settings
from mcp_orchestra.testing.cache_stores import place

pytest_plugins = ["pytester"]

STORES = Path(__file__).with_name("stores.py").read_text(encoding="utf-8")

IN_MEMORY = "abilities = (KeepsObjects,)"
ON_DISK = """abilities = (GivesNotice, GrantsLeases, TellsOfChanges)
    persistent = shared = True

    @pytest.fixture
    def interrupt(self, tmp_path):
        return partial(stores.cut_off, tmp_path / "store")
"""
IN_A_FILE = "persistent = True"

BROKEN = {
    "ReturnsBytearrays": "test_a_value_comes_back_byte_for_byte",
    "StripsValues": "test_a_value_comes_back_byte_for_byte",
    "CutsLongValues": "test_a_value_comes_back_byte_for_byte",
    "CutsValuesOfNearly2MiB": "test_a_value_comes_back_byte_for_byte",
    "CutsValuesOf8MiB": "test_a_large_value_comes_back_whole_or_not_at_all",
    "KeepsWhatALargeValueReplaces": "test_a_large_value_comes_back_whole_or_not_at_all",
    "AnswersForFewKeys": "test_a_call_may_have_many_keys",
    "DeletesFewKeys": "test_a_call_may_have_many_keys",
    "DropsEmptyValues": "test_a_value_comes_back_byte_for_byte",
    "ReturnsTuples": "test_an_entry_comes_back_as_a_stored_entry",
    "RoundsExpiry": "test_an_expiry_comes_back_exactly_as_it_was_given",
    "IgnoresWhatHasExpired": "test_an_entry_that_was_replaced_by_an_expired_one_does_not_come_back",
    "PurgesTooLate": "test_purging_drops_what_expires_at_a_time_or_before_it",
    "PurgesAndSaysNothing": "test_what_was_dropped_does_not_count_as_expired",
    "CountsWhatExpiresNow": "test_it_counts_what_expires_after_a_time_and_not_at_it",
    "CountsEverything": "test_an_expired_entry_is_returned_as_it_is_or_absent",
    "PurgesToCount": "test_counting_drops_nothing",
    "IgnoresCase": "test_keys_that_look_alike_are_different_keys",
    "NormalizesKeys": "test_keys_that_look_alike_are_different_keys",
    "StripsKeys": "test_keys_that_look_alike_are_different_keys",
    "CutsKeysAtNul": "test_keys_that_look_alike_are_different_keys",
    "CutsKeysAt10000": "test_keys_that_look_alike_are_different_keys",
    "CutsKeysAt65536": "test_keys_that_look_alike_are_different_keys",
    "KeepsChecksumsOfKeys": "test_keys_that_look_alike_are_different_keys",
    "KeepsMd5OfKeys": "test_keys_that_look_alike_are_different_keys",
    "Keeps32BitsOfKeys": "test_of_very_many_keys_none_is_taken_for_another",
    "CutsLongKeys": "test_keys_that_look_alike_are_different_keys",
    "TakesNoSurrogates": "test_any_text_is_a_key",
    "ReplacesSurrogates": "test_keys_that_look_alike_are_different_keys",
    "EmptyKeyMeansAll": "test_any_text_is_a_key",
    "RefusesNoKeys": "test_asking_for_nothing_returns_nothing",
    "ClosesGaps": "test_keys_without_an_entry_are_absent",
    "ReturnsNoneForAbsentKeys": "test_keys_without_an_entry_are_absent",
    "ReturnsItsOwnDict": "test_what_is_changed_after_it_was_stored_or_returned_changes_nothing",
    "KeepsTheCallersDict": "test_what_is_changed_after_it_was_stored_or_returned_changes_nothing",
    "KeepsTheOldExpiry": "test_a_new_entry_replaces_the_old_one_whole",
    "SaysNothingOfEvictions": "test_storing_counts_evictions_and_not_what_was_replaced",
    "CountsReplacedAsEvicted": "test_storing_counts_evictions_and_not_what_was_replaced",
    "CountsKeysAsDeleted": "test_deleting_counts_entries_and_not_keys",
    "DeletesTwice": "test_any_iterable_of_keys_can_be_deleted",
    "DeletesByPattern": "test_keys_that_look_alike_are_different_keys",
    "ClearsSomeKeys": "test_clearing_drops_everything_and_the_store_goes_on",
    "ComesBackAfterClear": "test_clearing_drops_everything_and_the_store_goes_on",
    "ForgetsSomeDeletions": "test_any_calls_in_any_order_never_return_what_is_not_there",
    "MixesUpThreads": "test_threads_get_what_was_stored_under_the_keys_they_ask_for",
    "CountsADeletionTwice": "test_of_threads_that_delete_the_same_entries_each_entry_is_counted_once",
    "ReplacesInTwoSteps": "test_an_entry_is_replaced_in_one_step",
    "CopiesObjects": "test_the_very_object_comes_back",
    "ComparesObjects": "test_the_very_object_comes_back",
    "ReturnsObjectsAsBytes": "test_an_object_is_never_returned_in_place_of_bytes_nor_the_other_way_round",
    "KeepsBytesBesideObjects": "test_an_object_and_bytes_replace_each_other",
}

BROKEN_ON_DISK = {
    "DoesNotPersist": "test_what_was_stored_is_there_after_a_reopening",
    "ForgetsAndPersists": "test_what_was_dropped_stays_away_after_a_reopening",
    "RemembersWhatItRead": "test_each_of_two_stores_sees_at_once_what_the_other_changed",
    "WritesInTwoSteps": "test_a_process_that_is_killed_while_it_writes_leaves_whole_entries",
    "GrantsToEverybody": "test_a_lease_is_one_holders_alone",
    "GrantsOnce": "test_a_lease_is_one_holders_alone",
    "LooksBeforeItGrants": "test_of_threads_that_want_a_lease_one_gets_it",
    "OneLeaseForAll": "test_each_key_has_a_lease_of_its_own",
    "RenewsWhatNobodyHolds": "test_only_the_holder_renews_a_lease",
    "RenewsInWordOnly": "test_a_lease_that_was_renewed_lasts_longer",
    "LetsAnybodyRelease": "test_only_the_holder_releases_a_lease",
    "GrantsForEver": "test_a_lease_ends_by_itself_and_not_before_its_time",
    "EndsLeasesEarly": "test_a_lease_ends_by_itself_and_not_before_its_time",
    "StoresForAnybody": "test_nobody_but_the_holder_stores",
    "KeepsTheLeaseAfterStoring": "test_the_holder_stores_once_and_has_no_lease_then",
    "DoesNotRevokeWhenStoring": "test_a_change_revokes_the_lease",
    "RevokesOnlyWhereSomethingWas": "test_a_change_revokes_the_lease",
    "DoesNotRevokeWhenCleared": "test_a_change_by_another_store_revokes_the_lease",
    "RevokesWhenPurging": "test_a_change_of_other_keys_revokes_nothing",
    "CountsLeases": "test_a_lease_is_no_entry",
    "TellsItsOwnChanges": "test_it_does_not_tell_what_it_changed_itself",
    "TellsNothing": "test_it_tells_what_another_process_changed",
    "DoesNotTellOfClear": "test_it_tells_that_another_store_was_cleared",
    "DoesNotTellWhatHoldersStore": "test_it_tells_what_the_holder_of_a_lease_stored",
    "TellsOnlyOfWhatWasThere": "test_it_tells_of_a_deletion_even_if_the_entry_is_gone_already",
    "TellsTooEarly": "test_who_is_told_of_a_change_reads_what_was_changed",
    "IsAlwaysInStep": "test_what_is_in_step_has_told_every_change_that_is_older_than_its_delay",
    "IsInStepWhenCutOff": "test_what_is_cut_off_is_not_in_step_before_it_has_told_what_it_missed",
    "ForgetsWhatItMissed": "test_what_is_cut_off_is_not_in_step_before_it_has_told_what_it_missed",
    "GivesNoticeInOneText": "test_its_notices_are_texts",
}

RACING = [
    (store, f"test_what_a_{who}_invalidated_while_it_was_fetched_is_not_there_after_that")
    for store in ("LooksBeforeItStores", "LooksLongBeforeItStores", "RevokesAfterDeleting", "RevokesLongAfterDeleting")
    for who in ("thread", "process")
]

BROKEN_IN_A_FILE = {
    "WritesWhenClosed": "test_what_was_dropped_before_a_process_was_killed_does_not_come_back",
    "WritesInPlace": "test_a_place_where_a_process_was_killed_while_it_wrote_can_be_opened",
}


settings.register_profile("first failure", phases=[Phase.generate], derandomize=True, database=None)


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch):
    """Runs the conformance class, or one of its tests, on one of the stores, and returns how many had which outcome."""

    def run(store: str, declared: str, test: str = "", *, patience: float = place.PATIENCE) -> dict[str, int]:
        monkeypatch.setattr(place, "PATIENCE", patience)
        monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        pytester.makepyfile(
            stores=STORES,
            test_it=f"""
from functools import partial
import pytest
from hypothesis import Phase, settings
from mcp_orchestra.stores import GivesNotice, GrantsLeases, KeepsObjects, TellsOfChanges
from mcp_orchestra.testing.cache_stores import CacheStoreTests
import stores
from stores import {store}

class TestIt(CacheStoreTests):
    {declared}

    @pytest.fixture
    def factory(self, tmp_path):
        return partial({store}, tmp_path / "store")
""",
        )
        pytester.syspathinsert()
        settings.load_profile("first failure")
        which = f"test_it.py::TestIt::{test}" if test else "test_it.py"
        return pytester.runpytest_inprocess(which, "-p", "no:cacheprovider", "-W", "error").parseoutcomes()

    before = settings.get_current_profile_name()
    yield run
    settings.load_profile(before)


def test_a_store_in_memory_that_keeps_the_contract_passes(run) -> None:
    assert set(run("InMemory", IN_MEMORY)) == {"passed"}


def test_a_store_on_disk_that_keeps_the_contract_passes(run) -> None:
    assert set(run("OnDisk", ON_DISK)) == {"passed"}


@pytest.mark.parametrize("store", BROKEN)
def test_a_store_that_breaks_a_rule_fails(run, store: str) -> None:
    outcomes = run(store, IN_MEMORY, BROKEN[store])
    assert outcomes["failed"] > 0
    assert "errors" not in outcomes


@pytest.mark.parametrize("store", BROKEN_ON_DISK)
def test_a_shared_store_that_breaks_a_rule_fails(run, store: str) -> None:
    outcomes = run(store, ON_DISK, BROKEN_ON_DISK[store], patience=1.0)
    assert outcomes["failed"] > 0
    assert "errors" not in outcomes


@pytest.mark.parametrize(("store", "test"), RACING)
def test_a_store_that_lets_an_outdated_result_in_fails(run, store: str, test: str) -> None:
    assert run(store, ON_DISK, test) == {"failed": 1}


@pytest.mark.parametrize("store", BROKEN_IN_A_FILE)
def test_a_persistent_store_that_is_not_when_it_is_killed_fails(run, store: str) -> None:
    assert run(store, IN_A_FILE, BROKEN_IN_A_FILE[store]) == {"failed": 1}


def test_a_store_that_never_gets_in_step_passes_no_test_of_changes(run) -> None:
    assert run("IsNeverInStep", ON_DISK, "test_everybody_who_watches_is_told", patience=0.2) == {"errors": 1}


@pytest.mark.parametrize(
    ("store", "declared", "test"),
    [
        ("InMemory", "", "test_it_has_the_abilities_that_are_declared_and_no_others"),
        (
            "InMemory",
            "abilities = (KeepsObjects, GrantsLeases)",
            "test_it_has_the_abilities_that_are_declared_and_no_others",
        ),
        (
            "InMemory",
            "persistent = True",
            "test_it_has_its_entries_after_a_reopening_if_and_only_if_it_is_declared_persistent",
        ),
        ("InMemory", "shared = True", "test_two_open_stores_have_one_place_if_and_only_if_they_are_declared_shared"),
        (
            "OnDisk",
            "shared = True",
            "test_it_has_its_entries_after_a_reopening_if_and_only_if_it_is_declared_persistent",
        ),
    ],
)
def test_a_store_that_is_not_what_it_is_declared_to_be_fails(run, store: str, declared: str, test: str) -> None:
    assert run(store, declared or "pass", test) == {"failed": 1}
