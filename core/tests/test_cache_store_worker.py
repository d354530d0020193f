"""The thread in which a blocking store is called."""

import threading

import pytest
from mcp_orchestra.store_worker import StoreWorker


@pytest.fixture
def gate():
    gate = threading.Event()
    yield gate
    gate.set()


def test_calls_are_made_in_the_order_in_which_they_came():
    worker = StoreWorker(10)
    made: list[int] = []
    futures = [worker.submit(lambda n=n: made.append(n)) for n in range(100)]
    futures[-1].result(10)

    assert made == list(range(100))


def test_a_result_and_an_error_come_back():
    worker = StoreWorker(10)

    assert worker.submit(lambda: 5).result(10) == 5
    with pytest.raises(ZeroDivisionError):
        worker.submit(lambda: 1 // 0).result(10)
    assert worker.submit(lambda: 6).result(10) == 6


def test_a_call_that_was_given_up_before_its_turn_is_not_made(gate):
    worker = StoreWorker(10)
    made: list[str] = []
    worker.submit(lambda: gate.wait(10))
    given_up = worker.submit(lambda: made.append("given up"))
    last = worker.submit(lambda: made.append("last"))

    assert given_up.cancel()
    gate.set()
    last.result(10)
    assert made == ["last"]


def test_a_stuck_worker_refuses_calls_until_it_is_free_again(gate):
    worker = StoreWorker(0.0)
    entered = threading.Event()

    def hang() -> None:
        entered.set()
        gate.wait(10)

    hanging = worker.submit(hang)
    assert entered.wait(10)
    with pytest.raises(TimeoutError):
        worker.submit(lambda: None)

    gate.set()
    hanging.result(10)
    assert worker.submit(lambda: "free").result(10) == "free"


def test_the_last_call_is_taken_even_while_the_worker_is_stuck(gate):
    worker = StoreWorker(0.0)
    entered = threading.Event()

    def hang() -> None:
        entered.set()
        gate.wait(10)

    worker.submit(hang)
    assert entered.wait(10)
    last = worker.finish(lambda: "closed")
    gate.set()

    assert last.result(10) == "closed"


def test_a_call_that_exits_the_interpreter_fails_alone():
    worker = StoreWorker(10)

    def leave() -> None:
        raise SystemExit(3)

    with pytest.raises(RuntimeError, match="SystemExit"):
        worker.submit(leave).result(10)
    assert worker.submit(lambda: 1).result(10) == 1
