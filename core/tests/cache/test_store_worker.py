"""The thread in which a blocking store is called."""

import asyncio
import threading

import pytest
from mcp_orchestra.cache.worker import StoreMisbehavedError, StoreWorker


class Time:
    """What the worker takes for the module."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Time()
    monkeypatch.setattr("mcp_orchestra.cache.worker.time", clock)
    return clock


class Call:
    """A call that ends when it is told to."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.gate = threading.Event()

    def __call__(self) -> str:
        self.entered.set()
        assert self.gate.wait(10)
        return "done"


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

    with pytest.raises(StoreMisbehavedError, match="SystemExit"):
        worker.submit(leave).result(10)
    assert worker.submit(lambda: 1).result(10) == 1


@pytest.mark.anyio
@pytest.mark.parametrize("on_the_loop", [False, True])
async def test_the_time_of_a_call_counts_from_its_turn(clock, on_the_loop):
    worker = StoreWorker(10)
    first, second = Call(), Call()
    jobs = [worker.submit(first), worker.submit(second)]
    assert first.entered.wait(10)
    clock.now = 9.0
    first.gate.set()
    assert second.entered.wait(10)
    clock.now = 18.0
    threading.Timer(0.05, second.gate.set).start()

    if on_the_loop:
        async with asyncio.timeout(10):
            assert await worker.aresult(jobs[1]) == "done"
    else:
        assert worker.result(jobs[1]) == "done"


@pytest.mark.anyio
@pytest.mark.parametrize("on_the_loop", [False, True])
async def test_a_call_that_takes_longer_is_given_up(clock, on_the_loop):
    worker = StoreWorker(10)
    call = Call()
    job = worker.submit(call)
    assert call.entered.wait(10)
    clock.now = 10.0

    with pytest.raises(TimeoutError):
        await worker.aresult(job) if on_the_loop else worker.result(job)
    call.gate.set()


def test_those_who_wait_behind_a_call_that_hangs_give_up_with_it(clock):
    worker = StoreWorker(10)
    call = Call()
    worker.submit(call)
    assert call.entered.wait(10)
    waiting = worker.submit(Call())
    clock.now = 10.5

    with pytest.raises(TimeoutError):
        worker.result(waiting)
    call.gate.set()


def test_nobody_waits_for_his_turn_longer_than_four_calls_may_take(clock):
    worker = StoreWorker(10)
    calls = [Call() for _ in range(5)]
    jobs = [worker.submit(call) for call in calls]
    late = worker.submit(lambda: "late")
    for call in calls[:4]:
        assert call.entered.wait(10)
        clock.now += 9.9
        call.gate.set()
    assert calls[4].entered.wait(10)
    clock.now += 0.5  # the worker is getting on: none of the calls took too long

    with pytest.raises(TimeoutError):
        worker.result(late)
    calls[4].gate.set()
    assert [job.result(10) for job in jobs] == ["done"] * 5


@pytest.mark.anyio
async def test_a_job_outlives_the_one_who_waited_for_it(gate):
    worker = StoreWorker(10)
    job = worker.submit(lambda: gate.wait(10))
    waiting = asyncio.create_task(worker.aresult(job))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    gate.set()

    assert job.result(10) is True


def test_a_job_may_end_after_the_loop_on_which_it_was_waited_for(gate, caplog):
    worker = StoreWorker(10)
    job = worker.submit(lambda: gate.wait(10))

    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await worker.aresult(job)

    asyncio.run(give_up())
    gate.set()

    assert job.result(10) is True
    worker.submit(lambda: None).result(10)  # the callbacks of the first have been called
    assert caplog.records == []
