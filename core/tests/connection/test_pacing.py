"""S13: when attempts are made: in all, after a Retry-After, and by how many processes a minute."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from math import ceil, exp

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcp_orchestra.connection.budget import ReconnectBudget
from mcp_orchestra.connection.latency import peak_ewma
from mcp_orchestra.connection.retry_after import retry_after_seconds

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)


@settings(deadline=None)  # a busy machine is no fault
@given(st.integers(1, 300), st.lists(st.floats(0, 3), min_size=1, max_size=300))
def test_in_no_second_are_there_more_attempts_than_the_budget_has_twice(servers, gaps):
    """A bucket that is full gives what it holds at once, and what flows in beside it within that second."""
    now = [0.0]
    budget = ReconnectBudget(lambda: servers, lambda: now[0])
    burst = max(3, ceil(servers / 5))
    made = []
    for gap in gaps:
        now[0] += gap
        wait = budget.reserve()
        assert wait >= 0
        made.append(now[0] + wait)
    for start in made:
        assert sum(start <= at < start + 1 - 1e-6 for at in made) <= 2 * burst


def test_one_server_that_fails_as_often_as_questions_hurry_it_never_waits():
    now = [0.0]
    budget = ReconnectBudget(lambda: 1, lambda: now[0])
    for _ in range(100):
        assert budget.reserve() == 0
        now[0] += 0.5


@pytest.mark.parametrize(("servers", "at_once"), [(1, 3), (15, 3), (16, 4), (50, 10)])
def test_three_or_a_fifth_are_tried_at_once_and_as_many_a_second_after_them(servers, at_once):
    budget = ReconnectBudget(lambda: servers, lambda: 0.0)
    waits = [budget.reserve() for _ in range(2 * at_once)]
    assert waits == pytest.approx([0.0] * at_once + [(number + 1) / at_once for number in range(at_once)])


@pytest.mark.parametrize("servers", [50, 1000])
def test_all_servers_together_wait_five_seconds_at_most(servers):
    budget = ReconnectBudget(lambda: servers, lambda: 0.0)
    waits = [budget.reserve() for _ in range(servers)]
    assert waits == sorted(waits)
    assert waits[-1] == pytest.approx(4, abs=0.1)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0),
        ("7", 7),
        (" 120 ", 120),
        ("86400", 600),
        ("9" * 400, 600),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90),
        (format_datetime(NOW + timedelta(days=9), usegmt=True), 600),
        (format_datetime(NOW - timedelta(seconds=90), usegmt=True), 0),
        ("Sunday, 22-Nov-26 12:00:30 GMT", 30),
        ("Sun, 22 Nov 2026 12:00:30 -0000", 30),
        ("-5", 0),
        ("1.5", 0),
        ("²", 0),
        ("soon", 0),
        ("", 0),
        (None, 0),
    ],
)
def test_a_retry_after_is_seconds_or_a_date_and_ten_minutes_at_most(header, seconds):
    assert retry_after_seconds(header, NOW) == seconds


@given(st.text(max_size=40))
def test_no_retry_after_is_an_error(header):
    assert 0 <= retry_after_seconds(header, NOW) <= 600


@settings(deadline=None)
@given(st.none() | st.floats(0, 100), st.floats(0, 1000), st.floats(0, 100))
def test_a_slower_answer_counts_at_once_and_a_faster_one_by_and_by(before, elapsed, seconds):
    after = peak_ewma(before, elapsed, seconds)
    if before is None or seconds >= before:
        assert after == seconds
    else:
        assert seconds <= after <= before
        assert after == pytest.approx(seconds + (before - seconds) * exp(-elapsed / 10))
