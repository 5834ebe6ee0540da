"""Pure: the depth of a listener's buffer, decided from evidence and never from time alone.

Evidence are the reports of the player, changes of the ping's round trip, and chunks that wait to leave the edge.
A listener rises to a deeper tier at 5 % underruns, or when the recommended buffer outgrows its tier. It falls to a
shallower tier when the evidence has been good for a long time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from services.contract.timebase import CHUNK_MS
from services.contract.websocket import TIER_CHUNKS, TIERS
from services.edge.jitter_tracker import JitterTracker

PROMOTE_UNDERRUN_RATE: Final = 0.05
"""Share of underruns (0 to 1) from which on the tier rises."""
QUIET_UNDERRUN_RATE: Final = 0.01
"""Share of underruns (0 to 1) below which the connection is quiet."""
CONFIDENCE: Final = 0.99
"""Share of chunks that the recommended buffer must cover."""

WINDOW_CHUNKS: Final = 50
"""Chunks that evidence is kept of."""
MIN_CHUNKS: Final = 20
"""With fewer chunks than this, an underrun is an accident and not a rate."""

QUIET_S: Final = 120.0
"""How long a connection must have been quiet before its tier falls for the first time."""
MAX_QUIET_S: Final = 1200.0
"""Each rise doubles the quiet time that the next fall needs, up to this: the tier of a bad connection does not flap."""
MIN_QUIET_SAMPLES: Final = 3
"""Pieces of evidence without which quiet time proves nothing."""
DEMOTE_HEADROOM: Final = 0.6
"""The tier falls only if the recommended buffer fills no more than this share (0 to 1) of the shallower tier."""
SHRINK_CHUNKS_PER_S: Final = 2.0
"""How fast the buffer of a listener in a shallower tier runs down: it never waits longer than 200 ms for a chunk."""


@dataclass(frozen=True, slots=True)
class TierLimits:
    """Depth of each tier.

    Attributes:
        initial: the tier that a listener begins with.
        chunks: tier -> chunks that a listener in this tier holds.
    """

    initial: str
    chunks: Mapping[str, int]

    @classmethod
    def clamped(cls, initial: str, *, min_capacity_ms: int, max_capacity_ms: int) -> TierLimits:
        """The contract's tiers within the operator's bounds.

        Args:
            initial: the tier that a listener begins with.
            min_capacity_ms, max_capacity_ms: the shallowest and the deepest buffer, in milliseconds.
        """
        low = max(1, math.ceil(min_capacity_ms / CHUNK_MS))
        high = max(low, max_capacity_ms // CHUNK_MS)
        return cls(initial, {tier: min(max(TIER_CHUNKS[tier], low), high) for tier in TIERS})

    @property
    def deepest(self) -> int:
        """Chunks of the deepest tier."""
        return max(self.chunks.values())


class TierController:
    """One listener's tier.

    Args:
        limits: the tiers.

    Attributes:
        tier: the name of the present tier.
        tracker: the evidence.
        promotions: how often the tier has risen.
    """

    __slots__ = (
        "_delivered", "_depth", "_last_underruns", "_limits", "_quiet_needed_s", "_quiet_samples", "_quiet_since_s",
        "_reported_chunk", "_shrunk_s", "promotions", "tier", "tracker",
    )  # fmt: skip

    def __init__(self, limits: TierLimits) -> None:
        self._limits = limits
        self.tier = limits.initial
        self.tracker = JitterTracker(window_size=WINDOW_CHUNKS)
        self.promotions = 0
        # Chunks delivered on time since the last evidence; the tracker gets them with the next evidence.
        self._delivered = 0
        self._depth = float(limits.chunks[self.tier])
        self._shrunk_s = 0.0
        self._quiet_since_s: float | None = None
        self._quiet_samples = 0
        self._quiet_needed_s = QUIET_S
        self._last_underruns = 0
        self._reported_chunk: int | None = None

    @property
    def settled(self) -> int | None:
        """Chunks of the present tier; None while the listener's buffer still runs down to them."""
        full = self._limits.chunks[self.tier]
        return full if self._depth <= full else None

    def target(self, now_s: float) -> int:
        """Chunks that the listener should hold at `now_s`, the one being played included."""
        full = self._limits.chunks[self.tier]
        if self._depth > full:
            self._depth = max(float(full), self._depth - (now_s - self._shrunk_s) * SHRINK_CHUNKS_PER_S)
            self._shrunk_s = now_s
            return math.ceil(self._depth)
        return full

    def on_delay(self, deviation_ms: float, now_s: float) -> None:
        """A chunk or a ping took `deviation_ms` longer than it should."""
        self._record_delivered()
        self.tracker.record_deviation(deviation_ms)
        self._judge(now_s)

    def on_underrun(self, now_s: float) -> None:
        """The edge could not send a chunk before it was needed."""
        self._record_delivered()
        self.tracker.record_deviation(self.tracker.get_mean_jitter_ms(), underrun=True)
        self._judge(now_s)

    def on_delivered(self, chunks: int) -> None:
        """Count `chunks` that left on time, which the rate of underruns is a share of.

        If the player reports, its own count is used.
        """
        self._delivered += chunks

    def _record_delivered(self) -> None:
        delivered, self._delivered = min(self._delivered, WINDOW_CHUNKS), 0
        if self._reported_chunk is None:
            self.tracker.record_steady(delivered)

    def on_report(self, chunk_id: int, underruns: int, jitter_ms: float, now_s: float) -> int:
        """The player has reported.

        Args:
            chunk_id: the chunk being played.
            underruns: how often its buffer has run empty since it connected.
            jitter_ms: deviation of arrivals as the player measures it.
            now_s: unix seconds.

        Returns:
            Underruns since the report before.
        """
        # A player that was restarted counts from zero again.
        fresh = max(0, underruns - self._last_underruns)
        self._last_underruns = underruns
        before, self._reported_chunk = self._reported_chunk, chunk_id
        played = 1 if before is None else min(max(chunk_id - before, 1), WINDOW_CHUNKS)
        for index in range(max(played, min(fresh, WINDOW_CHUNKS))):
            self.tracker.record_deviation(jitter_ms, underrun=index < fresh)
        self._judge(now_s)
        return fresh

    def _judge(self, now_s: float) -> None:
        """Change the tier if the evidence asks for it; called with each piece of evidence only."""
        rate = self.tracker.get_underrun_rate()
        recommended_ms = self.tracker.get_recommended_buffer_ms(CONFIDENCE)
        enough = len(self.tracker) >= MIN_CHUNKS
        if enough and (rate >= PROMOTE_UNDERRUN_RATE or recommended_ms > self._capacity_ms(self.tier)):
            self._promote(now_s, recommended_ms)
        elif rate >= QUIET_UNDERRUN_RATE:
            self._quiet_since_s = None
        else:
            self._stay_quiet(now_s, recommended_ms)

    def _promote(self, now_s: float, recommended_ms: float) -> None:
        self._quiet_since_s = None
        index = TIERS.index(self.tier)
        if index == len(TIERS) - 1:
            return
        index += 1
        while index < len(TIERS) - 1 and recommended_ms > self._capacity_ms(TIERS[index]):
            index += 1
        self._enter(TIERS[index], now_s)
        self.promotions += 1
        self._quiet_needed_s = min(QUIET_S * 2**self.promotions, MAX_QUIET_S)
        # The rate belongs to the old tier; the new one is judged by what happens in it.
        self.tracker.forget()

    def _stay_quiet(self, now_s: float, recommended_ms: float) -> None:
        """The evidence is good: let the tier fall if it has been good for long enough."""
        if self._quiet_since_s is None:
            self._quiet_since_s = now_s
            self._quiet_samples = 0
        self._quiet_samples += 1
        index = TIERS.index(self.tier)
        if (
            index > 0
            and now_s - self._quiet_since_s >= self._quiet_needed_s
            and self._quiet_samples >= MIN_QUIET_SAMPLES
            and len(self.tracker) >= MIN_CHUNKS
            and recommended_ms <= DEMOTE_HEADROOM * self._capacity_ms(TIERS[index - 1])
        ):
            self._enter(TIERS[index - 1], now_s)
            self._quiet_since_s = now_s
            self._quiet_samples = 0

    def _enter(self, tier: str, now_s: float) -> None:
        self._depth = float(max(self.target(now_s), self._limits.chunks[tier]))
        self._shrunk_s = now_s
        self.tier = tier

    def _capacity_ms(self, tier: str) -> float:
        return float(self._limits.chunks[tier] * CHUNK_MS)
