"""A store that is opened in a process of its own, told what to do from here: for what happens between processes.

Not by way of ``multiprocessing``: it would run the test runner's main module again in every process and leave a process
behind that outlives the test.
"""

import os
import pickle
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from threading import Timer
from types import TracebackType
from typing import Self, TypeVar, cast

from mcp_orchestra.stores import CacheStore

__all__ = ["StoreProcess", "serve_store"]

_ResultT = TypeVar("_ResultT")

_PROGRAM = "from mcp_orchestra.testing.store_process import serve_store; serve_store()"


class StoreProcess:
    """Runs a new interpreter that opens a store; leaving the block closes the store and ends the process.

    Args:
        factory: Opens the store. It is pickled, so it is made of importable things: a class, or ``functools.partial``
            of one and its arguments.
        deadline: Seconds that one call may take, the opening of the store included.
    """

    def __init__(self, factory: Callable[[], CacheStore], *, deadline: float = 60.0) -> None:
        path = os.pathsep.join(str(Path(folder).absolute()) for folder in sys.path)
        self._deadline = deadline
        self._killed = False
        self._process = subprocess.Popen(  # noqa: S603  # our own program, on this interpreter
            [sys.executable, "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
        )
        try:
            self._send(factory)
        except BaseException:  # such as a factory that cannot be pickled
            self.kill()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._killed:
            try:
                self._process.communicate(timeout=self._deadline)  # the end of its input is what ends it
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError("the process did not end after its store was closed") from None

    def call(self, action: Callable[[CacheStore], _ResultT]) -> _ResultT:
        """Do something with the store over there, such as ``methodcaller("get_many", ["a"])``, and return its result.

        Raises:
            AssertionError: The action raised, or the process ended or did not answer in time.
        """
        self.begin(action)
        return cast("_ResultT", self.result())

    def begin(self, action: Callable[[CacheStore], object]) -> None:
        """Send an action and do not wait: two processes that were both told to begin are at it at the same time."""
        self._send(action)

    def result(self) -> object:
        """Wait for the action that was begun.

        Raises:
            AssertionError: As `call` does.
        """
        assert self._process.stdout is not None  # noqa: S101  # it was asked for
        alarm = Timer(self._deadline, self._process.kill)
        alarm.start()
        try:
            succeeded, result = pickle.load(self._process.stdout)  # noqa: S301  # written by our own process
        except (EOFError, ValueError, pickle.UnpicklingError):  # of which the second is for a closed pipe
            raise AssertionError("the process with the store ended or did not answer in time") from None
        finally:
            alarm.cancel()
            alarm.join()
        if not succeeded:
            raise AssertionError(f"in another process:\n{result}")
        return result

    def kill(self) -> None:
        """End the process as a crash would: nothing is closed, released or written."""
        self._killed = True
        self._process.kill()
        self._process.communicate()

    def _send(self, thing: object) -> None:
        assert self._process.stdin is not None  # noqa: S101  # it was asked for
        try:
            self._process.stdin.write(pickle.dumps(thing))
            self._process.stdin.flush()
        except (BrokenPipeError, ValueError):  # ValueError: the pipe was closed
            raise AssertionError("the process with the store has ended") from None


def serve_store() -> None:
    """Open the store that standard input names, do what it says, and close the store at its end."""
    requests = sys.stdin.buffer
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a store prints is no answer
    store: CacheStore | None = None
    with answers:
        while True:
            try:
                request = pickle.load(requests)  # noqa: S301  # written by the process that started this one
            except EOFError:
                break
            try:
                if store is None:
                    store = cast("CacheStore", request())
                    continue
                answer = (True, request(store))
            except Exception:  # noqa: BLE001  # whatever it is, the other side shows it
                answer = (False, traceback.format_exc())
            answers.write(pickle.dumps(answer))
            answers.flush()
    if store is not None:
        store.close()
