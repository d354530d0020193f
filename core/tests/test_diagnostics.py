"""What a server said outside the protocol is kept within bounds."""

from concurrent.futures import ThreadPoolExecutor

from hypothesis import given, settings
from hypothesis import strategies as st
from mcp_orchestra.diagnostics import Diagnostics

LINES = st.lists(st.text(alphabet="ab \r\n", max_size=12), max_size=30)


@settings(deadline=None)  # a busy machine is no fault
@given(st.integers(0, 40), LINES)
def test_the_latest_lines_are_kept_as_far_as_they_fit(room, written):
    diagnostics = Diagnostics(max_chars=room)
    for line in written:
        diagnostics.write(line)
    kept = diagnostics.tail(1000)
    expected = [line.rstrip("\r\n")[:room] for line in written]
    assert kept == expected[len(expected) - len(kept) :]
    assert sum(len(line) for line in kept) <= room
    # The latest line is always there, and no line that would still have fitted was dropped.
    assert bool(kept) == bool(written)
    if len(kept) < len(written):
        assert sum(len(line) + 1 for line in expected[-len(kept) - 1 :]) > room


@settings(deadline=None)  # a busy machine is no fault
@given(LINES, st.integers(0, 40))
def test_a_tail_is_as_long_as_asked_for(written, length):
    diagnostics = Diagnostics()
    for line in written:
        diagnostics.write(line)
    tail = diagnostics.tail(length)
    assert len(tail) == min(length, len(written))
    assert diagnostics.tail(1000)[len(written) - len(tail) :] == tail


def test_a_line_that_is_too_long_is_cut():
    diagnostics = Diagnostics(max_chars=5)
    diagnostics.write("0123456789\n")
    assert diagnostics.tail() == ["01234"]


def test_a_tail_is_the_callers_own():
    diagnostics = Diagnostics()
    diagnostics.write("a")
    diagnostics.tail().append("b")
    assert diagnostics.tail() == ["a"]


def test_lines_may_come_from_several_threads():
    diagnostics = Diagnostics(max_chars=100_000)
    with ThreadPoolExecutor(8) as threads:
        for _ in threads.map(diagnostics.write, map(str, range(5000))):
            assert len(diagnostics.tail()) <= 20
    assert sorted(map(int, diagnostics.tail(10_000))) == list(range(5000))


def test_how_a_process_ended_is_unknown_at_first():
    assert Diagnostics().exit_code is None
