"""S13: how long to wait before the next attempt."""

from hypothesis import given, settings
from hypothesis import strategies as st
from mcp_orchestra.connection.backoff import Backoff

JITTER = st.floats(0, 1, exclude_max=True)
SECONDS = st.floats(0.001, 1000)


@settings(deadline=None)  # a busy machine is no fault
@given(SECONDS, SECONDS, st.lists(JITTER, min_size=1, max_size=80))
def test_every_wait_is_a_part_of_a_bound_that_doubles_up_to_a_cap(base, cap, jitter):
    numbers = iter(jitter)
    backoff = Backoff(base, cap, rng=lambda: next(numbers))
    bound = min(base, cap)
    for part in jitter:
        wait = backoff.next()
        assert wait == part * bound
        assert 0 <= wait < cap
        bound = min(cap, bound * 2)


@settings(deadline=None)  # a busy machine is no fault
@given(st.integers(0, 5000), st.integers(1, 20))
def test_a_connection_that_lasted_starts_over(failures, more):
    worn, fresh = (Backoff(0.2, 30, rng=lambda: 0.5) for _ in range(2))
    for _ in range(failures):
        worn.next()
    worn.lasted(30)
    assert [worn.next() for _ in range(more)] == [fresh.next() for _ in range(more)]


def test_a_connection_that_died_soon_is_one_more_failure():
    backoff = Backoff(0.2, 30, rng=lambda: 1.0)
    delays = [backoff.next()]
    for _ in range(5):
        backoff.lasted(29.9)
        delays.append(backoff.next())
    assert delays == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4]


def test_two_of_them_do_not_go_in_step():
    one, other = Backoff(), Backoff()
    assert [one.next() for _ in range(10)] != [other.next() for _ in range(10)]
