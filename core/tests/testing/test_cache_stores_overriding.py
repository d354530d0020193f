"""Nobody drops a test of the conformance class unnoticed."""

from functools import partial

import pytest
from mcp_orchestra.stores import CacheStore, GrantsLeases, KeepsObjects, TellsOfChanges
from mcp_orchestra.testing.cache_stores import CacheStoreTests

pytest_plugins = ["pytester"]

TEST = "test_a_new_store_is_empty"
LEASE_TEST = "test_only_the_holder_renews_a_lease"
OBJECT_TEST = "test_the_very_object_comes_back"

declare = partial(type, "Declared", (CacheStoreTests,))


@pytest.mark.parametrize("value", [None, lambda self: None, "x"], ids=["none", "a_function", "something"])
def test_a_test_that_is_replaced_is_refused(value) -> None:
    with pytest.raises(TypeError, match=rf"Declared\.{TEST} replaces a part of CacheStoreTests.*not_applicable"):
        declare({TEST: value})


def test_a_test_that_is_marked_to_be_skipped_is_refused() -> None:
    with pytest.raises(TypeError, match=TEST):
        declare({TEST: pytest.mark.usefixtures("x")(lambda self: None)})


def test_a_test_that_a_mixin_replaces_is_refused_and_the_mixin_named() -> None:
    class Mixin:
        test_a_new_store_is_empty = None

    with pytest.raises(TypeError, match=rf"Mixin\.{TEST} replaces"):
        type("Declared", (Mixin, CacheStoreTests), {})


@pytest.mark.parametrize("name", ["place", "store", "_as_declared", "steps_to_take"])
def test_what_the_tests_use_is_not_replaced_either(name: str) -> None:
    with pytest.raises(TypeError, match=f"{name} replaces a part of CacheStoreTests: give it another name"):
        declare({name: None})


@pytest.mark.parametrize("name", ["place", "store", "factory", "interrupt", "listener", "_as_declared"])
def test_a_fixture_of_another_attribute_does_not_take_the_place_of_what_the_tests_use(name: str) -> None:
    with pytest.raises(TypeError, match=f"Declared.zz is a fixture named '{name}' and replaces the one of CacheStore"):
        declare({"zz": pytest.fixture(name=name)(lambda self: None)})


def test_fixtures_of_its_own_are_an_authors_business() -> None:
    declare({"zz": pytest.fixture(name="server")(lambda self: None), "factory": pytest.fixture(lambda self: None)})


@pytest.mark.parametrize(
    "marks",
    [
        pytest.mark.xfail,
        pytest.mark.skip(reason="slow"),
        [pytest.mark.usefixtures("tmp_path"), pytest.mark.skipif(True, reason="not here")],
    ],
    ids=["xfail", "skip", "several"],
)
def test_a_class_that_is_marked_to_hide_failures_is_refused(marks) -> None:
    with pytest.raises(TypeError, match=r"Declared is marked as (xfail|skip|skipif), which hides failures"):
        declare({"pytestmark": marks})


def test_a_base_that_is_marked_to_hide_failures_is_refused_and_named() -> None:
    class Slow:
        pytestmark = pytest.mark.skip

    with pytest.raises(TypeError, match="Slow is marked as skip"):
        type("Declared", (Slow, CacheStoreTests), {})


def test_a_class_that_is_parametrized_with_a_fixture_of_the_tests_is_refused() -> None:
    with pytest.raises(TypeError, match="Declared is parametrized with a fixture of CacheStoreTests"):
        declare({"pytestmark": pytest.mark.parametrize(("n", "store"), [(1, None)])})


def test_marks_that_hide_nothing_are_an_authors_business() -> None:
    marks = [pytest.mark.usefixtures("tmp_path"), pytest.mark.parametrize("protocol", [2, 3])]
    assert declare({"pytestmark": marks}).pytestmark == marks


def test_a_test_that_is_replaced_two_classes_down_is_refused() -> None:
    class Base(declare({})):
        pass

    with pytest.raises(TypeError, match=TEST):
        type("Further", (Base,), {TEST: None})


def test_tests_of_its_own_are_an_authors_business() -> None:
    declared = declare({"test_something_of_ones_own": lambda self: None})
    assert declared.test_something_of_ones_own(None) is None


def test_what_is_not_claimed_is_left_out_and_what_is_claimed_further_down_is_not() -> None:
    base = declare({"abilities": (KeepsObjects,)})
    further = type("Further", (base,), {"abilities": (GrantsLeases,)})
    assert [callable(getattr(base, name)) for name in (TEST, LEASE_TEST, OBJECT_TEST)] == [True, False, True]
    assert [callable(getattr(further, name)) for name in (TEST, LEASE_TEST, OBJECT_TEST)] == [True, True, False]


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"not_applicable": {"test_x": "a reason"}}, "names 'test_x', which is no test of CacheStoreTests"),
        ({"not_applicable": {"store": "a reason"}}, "names 'store', which is no test of CacheStoreTests"),
        ({"not_applicable": {TEST: " "}}, "must say why"),
        ({"not_applicable": {TEST: None}}, "must say why"),
        ({"abilities": (CacheStore,)}, "it may have GivesNotice, GrantsLeases, KeepsObjects, TellsOfChanges"),
        ({"abilities": (TellsOfChanges,)}, "without shared = True"),
        ({"__test__": False, "factory": pytest.fixture(lambda self: None)}, "drops every test"),
    ],
)
def test_a_declaration_that_makes_no_sense_is_refused(declared: dict[str, object], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        declare(declared)


FILE = """
import pytest
from mcp_orchestra.testing.cache_stores import CacheStoreTests
from mcp_orchestra_memory import MemoryStore
from mcp_orchestra import KeepsObjects

class Hidden:
    __test__ = False

{before}
class NotNamedLikeATest(Hidden, CacheStoreTests):
    abilities = (KeepsObjects,)
    {declared}

    @pytest.fixture
    def factory(self):
        return MemoryStore

{after}
"""


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch):
    """Runs a file with a class in it that declares this, and two of its tests."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def run(declared: str = "", before: str = "", after: str = "") -> pytest.RunResult:
        pytester.makepyfile(FILE.format(declared=declared, before=before, after=after))
        return pytester.runpytest_inprocess("-rs", "-p", "no:cacheprovider", "-k", f"{TEST} or {OBJECT_TEST}")

    return run


def test_a_class_with_a_factory_is_collected_whatever_its_name_and_the_base_is_not(run) -> None:
    assert run().parseoutcomes()["passed"] == 2


def test_a_test_that_cannot_apply_is_skipped_and_the_reason_shown(run) -> None:
    result = run(f'not_applicable = {{"{TEST}": "it is never empty"}}')
    result.assert_outcomes(passed=1, skipped=1, deselected=None)
    result.stdout.fnmatch_lines(["*not applicable: it is never empty"])


def test_a_test_that_is_taken_away_later_fails_the_others(run) -> None:
    result = run(after=f"NotNamedLikeATest.{TEST} = None")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"*TypeError: NotNamedLikeATest.{TEST} replaces*"])


@pytest.mark.parametrize(
    "where",
    [
        {"before": "@pytest.mark.xfail"},
        {"before": "pytestmark = pytest.mark.skip(reason='slow')"},
        {"after": f"pytest.mark.skipif(True, reason='not here')(NotNamedLikeATest.{TEST})"},
        {"after": "NotNamedLikeATest.pytestmark = [pytest.mark.xfail]"},
    ],
    ids=["on_the_class", "in_the_module", "on_a_test", "later"],
)
def test_a_mark_that_hides_failures_is_an_error_wherever_it_comes_from(
    run, monkeypatch: pytest.MonkeyPatch, where: dict[str, str]
) -> None:
    monkeypatch.setattr(getattr(CacheStoreTests, TEST), "pytestmark", [], raising=False)  # every class has this one
    result = run(**where)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*is marked as *, which hides failures of CacheStoreTests*"])


def test_an_authors_own_test_may_be_marked(run) -> None:
    own = f"@pytest.mark.xfail\n    def test_own_{TEST}(self): raise AssertionError"
    run(own).assert_outcomes(passed=2, xfailed=1, deselected=None)


def test_a_class_without_a_factory_says_what_it_lacks(pytester: pytest.Pytester, run) -> None:
    result = run(after="del NotNamedLikeATest.factory")
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(["*NotNamedLikeATest needs a fixture named factory that returns what opens a store"])
