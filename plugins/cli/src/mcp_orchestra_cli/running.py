"""Runs a command's asynchronous part so that every way out, signals included, closes what was opened."""

import asyncio
import contextlib
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["SignalledError", "run"]

ResultT = TypeVar("ResultT")

# Ctrl-C is the runner's own: it cancels, and a second one interrupts.
_ENDING = [number for name in ("SIGTERM", "SIGHUP") if (number := getattr(signal, name, None)) is not None]


class SignalledError(Exception):
    """The process was told to end.

    Args:
        number: The signal's number.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"ended by {signal.Signals(number).name}")
        self.number = number


def run(main: Coroutine[Any, Any, ResultT]) -> ResultT:
    """Run a coroutine in an event loop of its own.

    Raises:
        SignalledError: A signal asked for the end; what the coroutine had opened is closed.
        KeyboardInterrupt: Likewise for Ctrl-C.
    """
    received: list[int] = []

    async def supervised() -> ResultT:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()

        def end(number: int) -> None:
            received.append(number)
            if task is not None:
                task.cancel()

        for number in _ENDING:
            if signal.getsignal(number) is signal.SIG_DFL:  # nohup has its reasons
                with contextlib.suppress(NotImplementedError):  # Windows
                    loop.add_signal_handler(number, end, number)
        return await main

    try:
        with asyncio.Runner() as runner:
            return runner.run(supervised())
    except asyncio.CancelledError:
        if received:
            raise SignalledError(received[0]) from None
        raise
