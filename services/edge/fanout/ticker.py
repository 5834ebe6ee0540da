"""The edge's time (shell): one wake for each slot of a tick that has listeners."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from services.contract.timebase import TICK_S, TICKS_PER_S, block_of, due_s, tick_at
from services.edge.fanout.connection import Connection
from services.edge.fanout.crowd import SLOTS, Crowd
from services.edge.fanout.rounds import ROUND_TICKS, Rounds
from services.edge.fanout.streams import Streams
from services.edge.metrics import EdgeMetrics
from services.runtime.clock import Clock, unix_s
from services.runtime.observability.logging import get_logger
from services.runtime.observability.rate_limited_log import RateLimitedLog

_log = get_logger(__name__)
_rare_log = RateLimitedLog(_log)


class Ticker:
    """Gives time to streams, the crowd and the rounds.

    A tick begins with the work that is common to all listeners: timelines are extended. Its first slot follows
    immediately. Then missing blocks are asked for, and the other slots follow, each at its own time.

    Args:
        clock: the service's clock.
        streams, crowd, rounds: get the time.
        metrics: get the lateness of ticks.
    """

    def __init__(
        self, *, clock: Clock, streams: Streams[Connection], crowd: Crowd, rounds: Rounds, metrics: EdgeMetrics
    ) -> None:
        self._clock = clock
        self._streams = streams
        self._crowd = crowd
        self._rounds = rounds
        self._metrics = metrics
        # The numbers of the last second and the last round that have begun.
        self._second = -1
        self._round = -1

    async def run(self) -> None:
        """Tick until cancelled."""
        tick = tick_at(unix_s(self._clock))
        while True:
            tick += 1
            await self._sleep_until(self._due_s(tick))
            jumped = round(self._clock.jump() * TICKS_PER_S)
            if jumped:
                tick += jumped
                self._guarded(self.jump, jumped, tick)
            # After a long stall the ticks in between are left out; listeners catch up from where they are. The maximum,
            # because multiplying back can round below the tick that was just waited for.
            tick = max(tick, tick_at(unix_s(self._clock)))
            self._guarded(self.begin, tick)
            for slot in range(SLOTS):
                if self._crowd.is_occupied(slot):
                    await self._sleep_until(self._slot_due_s(tick, slot))
                    self._guarded(self._send_slot, tick, slot)
                if slot == 0:
                    self._guarded(self._end)

    def tick(self, live: int) -> None:
        """Do a whole tick, all its slots together; for callers that move time themselves."""
        self.begin(live)
        for slot in range(SLOTS):
            self._crowd.send_slot(slot, live, self._slot_due_s(live, slot), math.inf)
        self._end()

    def jump(self, ticks: int, live: int) -> None:
        """Time has jumped, because the machine's clock was set or the machine has slept.

        Args:
            ticks: by which it has jumped; negative: back.
            live: the live tick after the jump.
        """
        self._metrics.clock_jumps.labels(direction="forward" if ticks > 0 else "back").inc()
        _log.warning("clock jumped", seconds=ticks / TICKS_PER_S)
        self._streams.jump(ticks, live)
        self._crowd.jump(ticks)

    def begin(self, live: int) -> None:
        """Do the work that comes before the slots of a tick."""
        now_s = self._clock.now()
        self._metrics.tick_lateness.observe(max(0.0, now_s - self._due_s(live)))
        if block_of(live) != self._second:
            self._second = block_of(live)
            self._rounds.each_second(now_s, live)
        if live // ROUND_TICKS != self._round:
            self._round = live // ROUND_TICKS
            self._rounds.begin_round()
        self._rounds.look_at_part(now_s, live)
        self._streams.begin_tick(live)

    def _send_slot(self, live: int, slot: int) -> None:
        following = next((one for one in range(slot + 1, SLOTS) if self._crowd.is_occupied(one)), SLOTS)
        self._crowd.send_slot(slot, live, self._slot_due_s(live, slot), self._slot_due_s(live, following))

    def _end(self) -> None:
        self._streams.end_tick(self._clock.now())

    def _due_s(self, tick: int) -> float:
        """When `tick` is due, by the clock that does not jump."""
        return due_s(tick) - self._clock.shift_s

    def _slot_due_s(self, live: int, slot: int) -> float:
        """When a slot of a tick begins, by the clock that does not jump."""
        return slot_due_s(live, slot) - self._clock.shift_s

    async def _sleep_until(self, at_s: float) -> None:
        # At least one turn even when it is late: an edge that cannot keep up must still read, notice the end of
        # connections, and stop.
        await asyncio.sleep(0)
        while (wait_s := at_s - self._clock.now()) > 0:  # noqa: ASYNC110 - time is what is waited for
            await asyncio.sleep(wait_s)

    def _guarded(self, step: Callable[..., None], *args: int) -> None:
        try:
            step(*args)
        except Exception:  # noqa: BLE001 - the music must not end because one pass failed
            _rare_log.exception("tick failed")


def slot_due_s(live: int, slot: int) -> float:
    """The time at which a slot of a tick begins (unix seconds)."""
    return due_s(live) + slot * TICK_S / SLOTS
