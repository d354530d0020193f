"""Copies of outcomes, for several tasks."""

import json
import traceback
from typing import Self

import mcp_orchestra.errors as errors_module
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp_orchestra import MCPOrchestratorException, UnknownServerError
from mcp_orchestra.copies import Original, copy_data, copy_error

OURS = [getattr(errors_module, name) for name in errors_module.__all__]


def raised(error: BaseException) -> BaseException:
    try:
        try:
            raise LookupError("the cause")
        except LookupError as cause:
            raise error from cause
    except BaseException as caught:
        return caught


class Peculiar(MCPOrchestratorException):
    def __init__(self, server: str, *, port: int) -> None:
        super().__init__(f"{server} does not listen on {port}", {"server": server})
        self.port = port


class DemandingError(Exception):
    def __init__(self, *, request: str) -> None:
        super().__init__(f"{request} failed")
        self.request = request


@pytest.mark.parametrize("kind", OURS)
def test_a_copy_of_our_errors_equals_the_original_and_shares_nothing_that_changes(kind):
    original = raised(kind("it is broken", {"server": "Products", "attempts": [{"reason": "slow"}]}))
    original.add_note("a note")

    twin = copy_error(original)
    twin.context["attempts"][0]["reason"] = "changed"
    twin.add_note("another")

    assert twin is not original
    assert type(twin) is kind
    assert (str(twin), twin.args, twin.message) == (str(original), original.args, original.message)
    assert original.context == {"server": "Products", "attempts": [{"reason": "slow"}]}
    assert original.__notes__ == ["a note"]
    assert twin.__cause__ is original.__cause__


@pytest.mark.parametrize(
    "original",
    [
        Peculiar("Products", port=80),
        DemandingError(request="list"),
        OSError(2, "No such file", "x.txt"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
        json.JSONDecodeError("Expecting value", "x", 0),
        UnknownServerError("no server"),
        KeyError("a"),
        ExceptionGroup("several", [ValueError("x")]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_copy_of_any_error_reads_like_the_original(original):
    twin = copy_error(raised(original))

    assert twin is not original
    assert type(twin) is type(original)
    assert (str(twin), twin.args) == (str(original), original.args)
    assert twin.__dict__ == original.__dict__
    assert traceback.format_exception(twin) == traceback.format_exception(original)


def test_a_copy_shows_what_was_being_handled_when_the_original_was_raised():
    try:
        try:
            raise LookupError("the context")
        except LookupError:
            raise ValueError("x")  # noqa: B904
    except ValueError as caught:
        original = caught

    assert "During handling" in "".join(traceback.format_exception(original))
    assert traceback.format_exception(copy_error(original)) == traceback.format_exception(original)


def test_raising_a_copy_leaves_the_original_as_it_was():
    original = raised(ValueError("x"))
    before = traceback.format_exception(original)
    try:
        raise TypeError("in the middle of something else")
    except TypeError:
        raised(copy_error(original))

    assert traceback.format_exception(original) == before


def test_a_context_that_cannot_be_copied_deeply_is_copied_at_the_top():
    original = MCPOrchestratorException("x", {"generator": (n for n in range(3)), "server": "Products"})

    twin = copy_error(original)
    twin.context["server"] = "changed"

    assert original.context["server"] == "Products"


def test_an_error_that_becomes_another_when_copied_is_handed_out_itself():
    class ChangingError(Exception):
        def __reduce__(self):
            return (ValueError, ("something else",))

    original = ChangingError("x")

    assert copy_error(original) is original


class Unbuildable(MCPOrchestratorException):
    def __new__(cls, message: str, *, port: int) -> Self:
        return super().__new__(cls, message)

    def __init__(self, message: str, *, port: int) -> None:
        super().__init__(message)


class UnbuildableStrangerError(Exception):
    def __new__(cls, message: str, *, port: int) -> Self:
        return super().__new__(cls, message)

    def __init__(self, message: str, *, port: int) -> None:
        super().__init__(message)


class WithoutContext(MCPOrchestratorException):
    def __init__(self) -> None:
        """Forget the base class."""


class UnreadableError(Exception):
    @property
    def __notes__(self) -> list[str]:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    "original",
    [Unbuildable("x", port=1), UnbuildableStrangerError("x", port=1), WithoutContext(), UnreadableError("x")],
    ids=lambda error: type(error).__name__,
)
def test_an_error_that_cannot_be_copied_is_handed_out_itself_and_not_replaced_by_another(original):
    assert copy_error(original) is original


def containers(value: object) -> list[int]:
    if isinstance(value, dict):
        return [id(value), *(one for item in value.values() for one in containers(item))]
    return [id(value), *(one for item in value for one in containers(item))] if isinstance(value, list) else []


@given(
    st.dictionaries(
        st.text(max_size=3),
        st.recursive(
            st.none() | st.integers() | st.text(max_size=3),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        ),
        max_size=4,
    )
)
def test_a_copy_of_data_is_equal_and_shares_no_container(data):
    original = Original(data)
    for twin in (original.data, original.copy(), original.copy(), copy_data(data)):
        assert twin == data
        assert not set(containers(twin)) & set(containers(data))
    assert not set(containers(original.copy())) & set(containers(original.data))
