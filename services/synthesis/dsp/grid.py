"""Pure. The grid of the sound: frames, control intervals, quarter rate.

A second is 175 control intervals of 252 frames. Envelopes, pans and phases are exact at control points and linear
in between. Everything is summed at a quarter of the sample rate, where an interval is 63 frames: partials below
`SPLIT_HZ` as real numbers, those above it as complex ones, so that they keep apart what lies on both sides of 5.5 kHz.
Two polyphase filters bring both bands, and the reverb with the lower one, to the full rate. They read past both ends of
a block, so a block's quarter-rate signal has a guard interval at each end.
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
"""Frames computed side by side: one vector of AVX-512, two of AVX2."""
PADDED_INTERVAL: Final = 4 * LANES
"""Quarter-rate frames computed for an interval: its 63, and one that is thrown away."""

POINTS: Final = LOW_INTERVALS
"""Control points of a block: the beginning of each interval, the guards' included."""

SPLIT_HZ: Final = 4_100.0
"""Partials below it are summed at the quarter rate: the filter's pass band ends at 4.2 kHz."""
HIGH_CENTRE_HZ: Final = 8_000.0
"""Middle of the band of bright partials, which are summed at the quarter rate too, as complex numbers."""
TOP_HZ: Final = 11_900.0
"""Partials above it are left out: the pass band of the bright partials' filter ends here."""

TEXTURE_S: Final = 12
TEXTURE_FRAMES: Final = TEXTURE_S * QUARTER_HZ
"""Frames of a loop of texture in each of its QUARTER phases."""
TEXTURE_STEP: Final = 2.0**-11
"""A step of a texture's 16-bit samples: their RMS is 1, and none reaches 16."""
RESPONSE_S: Final = 6
"""Length of a room's response."""
