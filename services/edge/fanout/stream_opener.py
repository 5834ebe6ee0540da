"""Opens and closes streams on the bus (shell): subscription, history, failures."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial
from typing import Final

from services.contract import subjects
from services.edge.fanout.stream import Stream, Subscriber
from services.edge.tasks import Tasks
from services.runtime.bus import Bus, BusError, Message, Subscription
from services.runtime.clock import Clock
from services.runtime.observability.logging import get_logger
from services.runtime.observability.rate_limited_log import RateLimitedLog

HISTORY_FIRST_S: Final = 0.05
"""How long a new stream waits for the blocks that JetStream keeps before it asks for blocks that may be among them."""
HISTORY_WITHIN_S: Final = 2.0
"""How long an edge waits for an answer of JetStream."""
RETRY_S: Final = 0.5
"""Pause before a failed subscription is tried again."""
REFUSE_AFTER_FAILURES: Final = 3
"""A stream that renderers have failed at this often is refused."""
UNRENDERABLE_S: Final = 60.0
"""How long such a stream is refused without another look."""
MAX_UNRENDERABLE: Final = 1000
"""Such streams that are remembered; overflow: the oldest is forgotten and looked up again."""

_log = get_logger(__name__)
_rare_log = RateLimitedLog(_log)


class StreamOpener[S: Subscriber]:
    """Subscribes to streams, reads their history and finds those that renderers fail at.

    Args:
        bus: may still be disconnected.
        clock: the service's clock.
        tasks: runs what takes time.
        on_block: called with each block of a stream.
        on_opened: called when missing blocks of a stream may be asked for.
        on_unrenderable: called when a stream turns out to be one that renderers fail at.
    """

    def __init__(
        self,
        *,
        bus: Bus,
        clock: Clock,
        tasks: Tasks,
        on_block: Callable[[Stream[S], Message], None],
        on_opened: Callable[[Stream[S]], None],
        on_unrenderable: Callable[[Stream[S]], None],
    ) -> None:
        self._bus = bus
        self._clock = clock
        self._tasks = tasks
        self._on_block = on_block
        self._on_opened = on_opened
        self._on_unrenderable = on_unrenderable
        self._bus_up = asyncio.Event()
        # stream id -> until when it is refused; the oldest comes first.
        self._unrenderable: dict[str, float] = {}

    def bus_is_up(self) -> None:
        """The bus is connected: streams that wait for it are opened."""
        self._bus_up.set()

    def open(self, stream: Stream[S]) -> None:
        """Subscribe to the stream and read its history; `on_opened` follows."""
        stream.opening = self._tasks.spawn(self._open(stream), f"open {stream.id}")

    def close(self, stream: Stream[S]) -> None:
        """The stream is forgotten: its subscription ends."""
        stream.closed = True
        for task in (stream.opening, stream.lookup):
            if task is not None:
                task.cancel()
        self._unsubscribe(stream)

    def is_unrenderable(self, stream_id: str, now_s: float) -> bool:
        """Whether renderers are known to fail at the stream."""
        return self._unrenderable.get(stream_id, 0.0) > now_s

    def look_up_failures(self, stream: Stream[S]) -> None:
        """Find out whether renderers fail at the stream; a look-up that is under way is enough."""
        if stream.lookup is None or stream.lookup.done():
            stream.lookup = self._tasks.spawn(self._look_up_failures(stream), f"look up {stream.id}")

    async def _open(self, stream: Stream[S]) -> None:
        await self._bus_up.wait()
        await self._subscribe(stream)
        history = self._tasks.spawn(self._read_history(stream), f"history {stream.id}")
        failures = self._tasks.spawn(self._look_up_failures(stream), f"failures {stream.id}")
        await asyncio.wait({history, failures}, timeout=HISTORY_FIRST_S)
        stream.asking = True
        self._on_opened(stream)

    async def _subscribe(self, stream: Stream[S]) -> None:
        while True:
            try:
                # Shielded: if this task were cancelled meanwhile, nothing would hold the subscription to close it.
                subscribing = asyncio.ensure_future(
                    self._bus.subscribe(subjects.audio(stream.id), partial(self._on_block, stream))
                )
                subscribing.add_done_callback(partial(self._subscribed, stream))
                await asyncio.shield(subscribing)
            except BusError as error:
                _rare_log.warning("cannot subscribe", stream=stream.id, detail=str(error))
                await asyncio.sleep(RETRY_S)
            else:
                return

    def _subscribed(self, stream: Stream[S], subscribing: asyncio.Future[Subscription]) -> None:
        if subscribing.cancelled() or subscribing.exception() is not None:
            return
        stream.subscription = subscribing.result()
        if stream.closed:
            self._unsubscribe(stream)

    def _unsubscribe(self, stream: Stream[S]) -> None:
        subscription, stream.subscription = stream.subscription, None
        if subscription is not None:
            self._tasks.spawn(_close(subscription), f"close {stream.id}")

    async def _read_history(self, stream: Stream[S]) -> None:
        with contextlib.suppress(BusError, TimeoutError):
            async with asyncio.timeout(HISTORY_WITHIN_S):
                for message in await self._bus.history(subjects.audio(stream.id)):
                    self._on_block(stream, message)

    async def _look_up_failures(self, stream: Stream[S]) -> None:
        """Refuse a stream that renderers have failed at again and again."""
        try:
            async with asyncio.timeout(HISTORY_WITHIN_S):
                failures = await self._bus.failures(subjects.POISON_BUCKET, stream.id)
        except (BusError, TimeoutError):
            return
        if failures < REFUSE_AFTER_FAILURES or stream.ring.origin is not None:
            return
        self._remember_unrenderable(stream.id)
        _log.warning("stream refused", stream=stream.id, failures=failures)
        self._on_unrenderable(stream)

    def _remember_unrenderable(self, stream_id: str) -> None:
        self._unrenderable.pop(stream_id, None)
        self._unrenderable[stream_id] = self._clock.now() + UNRENDERABLE_S
        while len(self._unrenderable) > MAX_UNRENDERABLE:
            del self._unrenderable[next(iter(self._unrenderable))]


async def _close(subscription: Subscription) -> None:
    with contextlib.suppress(BusError):
        await subscription.close()
