"""Pure. The air: the level of the filtered noise over a section."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.contract.timebase import SECTION_S
from services.synthesis.score.form import Draw, join_unit
from services.synthesis.score.plan import Plan

_LEAST_AIR: Final = 0.02
"""The air never falls silent."""


def air_curve(plan: Plan, seed: int, section: int) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Times and levels of the air, see `events.Section`: gusts between the levels that neighbouring sections share."""
    air = plan.preset.air
    dice = plan.form.own.at(Draw.AIR)
    times = np.linspace(0.0, float(SECTION_S), 2 * air.gusts + 1)
    number = np.arange(len(times), dtype=np.int64)
    # Every second point is a crest, those between are lulls.
    crest = np.where(number % 2 == 1, 1.0, -1.0)
    position = times / SECTION_S
    level = air.level + air.depth * 0.5 * crest * (0.3 + 0.7 * dice.units_at(number))
    level += 0.25 * air.depth * np.array([plan.form.arc.level(float(p)) for p in position])
    level[0] = air.level + 0.4 * air.depth * (join_unit(seed, section, Draw.AIR) - 0.5)
    level[-1] = air.level + 0.4 * air.depth * (join_unit(seed, section + 1, Draw.AIR) - 0.5)
    times[1:-1] += (dice.at(1).units_at(number[1:-1]) - 0.5) * 0.6 * (times[1] - times[0])
    return times, np.clip(level, _LEAST_AIR, 1.0).astype(np.float32)
