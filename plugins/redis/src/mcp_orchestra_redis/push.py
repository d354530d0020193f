"""Listens to what others change, in a thread of its own, and knows at any time whether it has missed something."""

import logging
import random
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, suppress
from selectors import EVENT_READ, DefaultSelector
from threading import Thread, current_thread

from redis.exceptions import RedisError

from mcp_orchestra_redis.deadline import within
from mcp_orchestra_redis.forking import leave_to_parent
from mcp_orchestra_redis.markers import Markers
from mcp_orchestra_redis.messages import ANY_KEY, Sender
from mcp_orchestra_redis.servers import Servers
from mcp_orchestra_redis.subscription import Subscription
from mcp_orchestra_redis.topology import Layout

__all__ = ["PUSH_DELAY", "Listener"]

PUSH_DELAY = 2.0
"""Seconds after which a listener that has missed something does not count as in step any more."""

_PING_SECONDS, _LOOK_AGAIN_SECONDS = 1.0, 0.2
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
_NEVER = float("-inf")
_LAST_WORDS = 2.0  # seconds to wait for the thread to end; what it waits for itself takes less

_logger = logging.getLogger(__name__)


class Listener:
    """Listens to every server on which something may change, over connections of its own, until it is stopped.

    In a cluster that is every primary: a change is published where it is made, and its way from node to node is not
    reliable. Whether these are still the servers, and their data still the same, is asked with every ping.

    Args:
        servers: Where changes are made.
        markers: Tell that data were dropped without a word.
        channel: Where changes are published.
        sender: Tells our own changes from those of others.
        changed: Called with keys, or None for any key.
        timeout: Seconds for an answer in total.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        servers: Servers,
        markers: Markers,
        channel: str,
        sender: Sender,
        changed: Callable[[Sequence[str] | None], None],
        *,
        timeout: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._servers = servers
        self._markers = markers
        self._channel = channel
        self._sender = sender
        self._changed = changed
        self._timeout = timeout
        self._clock = clock
        self._in_step_at = _NEVER
        self._checked_at = _NEVER
        self._stopping = False
        self._subscriptions: list[Subscription] = []
        self._waker, self._woken = socket.socketpair()
        self._thread = Thread(target=self._run, name="mcp-orchestra-redis-push", daemon=True)
        leave_to_parent(self)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def in_step(self) -> bool:
        """Return whether every change has been told that was made more than `PUSH_DELAY` ago."""
        return self._clock() - self._in_step_at <= PUSH_DELAY

    def halt(self) -> None:
        """Have the thread end; it may still wait for an answer of the servers."""
        self._stopping = True
        with suppress(OSError):  # it has ended
            self._waker.send(b"!")
        for subscription in self._subscriptions[:]:
            subscription.interrupt()

    def stop(self) -> None:
        """End the thread and close its connections."""
        self.halt()
        if self._thread is not current_thread():
            self._thread.join(_LAST_WORDS)
        self._waker.close()

    def abandon(self) -> None:
        """Close what a fork has copied; the thread stayed with the parent."""
        self._stopping = True
        self._in_step_at = _NEVER
        self._waker.close()
        self._woken.close()

    def _run(self) -> None:
        pause = _FIRST_PAUSE
        with closing(self._woken):
            while not self._stopping:
                try:
                    with ExitStack() as stack:
                        layout = self._subscribe(stack)
                        began = self._clock()
                        self._markers.changed(layout)
                        self._changed(None)  # whatever happened while nobody listened
                        self._in_step_at = self._checked_at = began
                        pause = _FIRST_PAUSE
                        self._listen(layout)
                except Exception as error:  # noqa: BLE001  # whatever it is, listening begins again
                    _logger.debug("not listening to changes any more: %s", type(error).__name__)
                self._in_step_at = _NEVER
                self._wait(pause * random.uniform(0.5, 1))  # noqa: S311  # so that not all come back at once
                pause = min(pause * 2, _LONGEST_PAUSE)

    def _subscribe(self, stack: ExitStack) -> Layout:
        """Listen to all servers from now on, until the stack is closed."""
        layout = self._servers.survey()
        stack.callback(self._subscriptions.clear)
        for place in layout.places:
            with within(self._timeout):
                subscription = Subscription(self._servers.dial(place), self._channel, self._timeout)
            self._subscriptions.append(stack.enter_context(closing(subscription)))
        return layout

    def _listen(self, layout: Layout) -> None:
        """Tell changes until we are stopped, or the servers are others than before."""
        next_ping = self._clock()
        with DefaultSelector() as selector:
            selector.register(self._woken, EVENT_READ)
            for subscription in self._subscriptions:
                selector.register(subscription, EVENT_READ)
            while not self._stopping:
                if self._clock() >= next_ping:
                    if not self._still(layout):
                        return
                    checked = self._checked_at >= next_ping
                    next_ping = self._clock() + (_PING_SECONDS if checked else _LOOK_AGAIN_SECONDS)
                    for subscription in self._subscriptions:
                        subscription.ping(self._clock(), PUSH_DELAY)
                selector.select(max(0.0, next_ping - self._clock()))
                confirmed = [subscription.receive() for subscription in self._subscriptions]
                self._tell([message for messages, _ in confirmed for message in messages])
                since = min(self._checked_at, *(since for _, since in confirmed))
                self._in_step_at = max(self._in_step_at, since)

    def _still(self, layout: Layout) -> bool:
        """Return whether the servers are the same, and tell if their data are not.

        That an answer is late now and then does no harm: nothing counts as in step for longer because of it.
        """
        now = self._clock()
        try:
            if self._servers.survey().places != layout.places:
                return False
            if self._markers.changed(layout):
                self._changed(None)
            self._checked_at = now
        except (RedisError, OSError):
            return now - self._checked_at <= PUSH_DELAY
        return True

    def _tell(self, messages: Sequence[bytes]) -> None:
        changes = [change for message in messages for change in self._sender.read(message)]
        if ANY_KEY in changes:
            self._changed(None)
        elif changes:
            self._changed([change for change in changes if change is not None])

    def _wait(self, seconds: float) -> None:
        with DefaultSelector() as selector:
            selector.register(self._woken, EVENT_READ)
            selector.select(seconds)
