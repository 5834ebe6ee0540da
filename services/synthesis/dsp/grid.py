"""The grid that every part of the sound stands on: frames, control intervals, quarter rate.

A second is 175 control intervals of 252 frames. Envelopes, pans and phases are exact at control points and linear
in between. Everything below `SPLIT_HZ` is summed at a quarter of the sample rate, where an interval is 63 frames,
and is brought to the full rate together with the reverb by one polyphase filter. That filter looks past both ends of
a block, so a block's quarter-rate signal has one guard interval at each end.
"""

from __future__ import annotations

from typing import Final

from services.contract.timebase import BLOCK_FRAMES, SAMPLE_RATE_HZ

INTERVAL_FRAMES: Final = 252
INTERVALS: Final = BLOCK_FRAMES // INTERVAL_FRAMES
INTERVAL_S: Final = INTERVAL_FRAMES / SAMPLE_RATE_HZ

QUARTER: Final = 4
QUARTER_HZ: Final = SAMPLE_RATE_HZ // QUARTER
QUARTER_INTERVAL: Final = INTERVAL_FRAMES // QUARTER
QUARTER_BLOCK: Final = BLOCK_FRAMES // QUARTER

GUARD_INTERVALS: Final = 1
LOW_INTERVALS: Final = INTERVALS + 2 * GUARD_INTERVALS
LOW_FRAMES: Final = LOW_INTERVALS * QUARTER_INTERVAL
"""Quarter-rate frames of a block with its guards: 11,151."""
GUARD_FRAMES: Final = GUARD_INTERVALS * QUARTER_INTERVAL

LANES: Final = 16
"""Frames that are computed side by side: a vector of a large processor, two of a smaller one."""
PADDED_INTERVAL: Final = 4 * LANES
"""Quarter-rate frames of an interval, and one more that nobody hears."""

POINTS: Final = LOW_INTERVALS
"""Control points computed for a block: the beginning of each interval, the guards' included; each has its slopes."""

SPLIT_HZ: Final = 4_100.0
"""Partials below it are summed at a quarter rate: the filter's pass band ends at 4.2 kHz."""
TOP_HZ: Final = 15_000.0
"""Partials above it are left out: few hear them, and vibrato must not carry one past the Nyquist frequency."""
