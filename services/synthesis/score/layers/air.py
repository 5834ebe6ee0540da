"""Pure. The air: the level of the filtered noise over a section."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.contract.spec import StreamSpec
from services.contract.timebase import SECTION_S
from services.synthesis.score.hashing import Dice, Draw
from services.synthesis.score.presets import Air

_LEAST_AIR: Final = 0.02
"""The air never falls silent."""
_STRAY: Final = 0.3
"""Crests and lulls stray by up to this share of the way between them."""
_OFF_BEAT: Final = 1.0137
"""Stretches the gusts, so that none comes back at the same second of a section."""


def air_curve(air: Air, spec: StreamSpec, section: int) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Times and levels of the air, see `events.Section`: gusts that go on from section to section.

    Args:
        air: of the preset.
        spec: its seed is used.
        section: its number since the epoch.
    """
    dice = Dice(0).at(spec.seed, Draw.AIR)
    step_s = SECTION_S / (2 * air.gusts) * _OFF_BEAT
    begin_s = section * SECTION_S
    first = int(begin_s / step_s) - 2
    number = np.arange(first, first + 2 * air.gusts + 6, dtype=np.int64)
    time_s = (number + _STRAY * (2 * dice.units_at(number) - 1)) * step_s - begin_s
    # Every second point is a crest, those between are lulls.
    crest = np.where(number % 2 == 1, 1.0, -1.0)
    level = air.level + air.depth * 0.5 * crest * (0.3 + 0.7 * dice.at(1).units_at(number))
    inside = (time_s > 1.0) & (time_s < SECTION_S - 1.0)
    times = np.concatenate(([0.0], time_s[inside], [float(SECTION_S)]))
    return times, np.clip(np.interp(times, time_s, level), _LEAST_AIR, 1.0).astype(np.float32)
