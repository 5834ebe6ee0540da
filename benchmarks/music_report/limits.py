"""What must hold: one limit for each row of the report that has one. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

OK: Final = "ok"
SHORT: Final = "short of"
UNKNOWN: Final = ""

EACH, MEDIAN, LIVELIEST = "each", "median", "two liveliest"


@dataclass(frozen=True, slots=True)
class Limit:
    """What a row must keep.

    Attributes:
        low, high: least and greatest value.
        scope: EACH preset, the MEDIAN of the presets, or the second-highest of them (LIVELIEST).
    """

    low: float = -np.inf
    high: float = np.inf
    scope: str = EACH

    @property
    def text(self) -> str:
        """As a reader writes it."""
        if np.isfinite(self.low) and np.isfinite(self.high):
            span = f"{self.low:g} to {self.high:g}"
        else:
            span = f">= {self.low:g}" if np.isfinite(self.low) else f"<= {self.high:g}"
        return span if self.scope == EACH else f"{span} ({self.scope})"

    def holds(self, value: float) -> bool:
        """Whether one value keeps it."""
        return bool(self.low <= value <= self.high)

    def judge(self, values: Sequence[float]) -> str:
        """OK or SHORT for the presets together; UNKNOWN where nothing was measured."""
        known = sorted(value for value in values if not np.isnan(value))
        if not known:
            return UNKNOWN
        if self.scope == MEDIAN:
            known = [float(np.median(known))]
        elif self.scope == LIVELIEST:
            known = known[-2:]
        return OK if all(self.holds(value) for value in known) else SHORT


LIMITS: Final[Mapping[str, Limit]] = {
    "ear.people": Limit(high=400.0),
    "ear.organ_lead": Limit(low=0.0),
    "ear.rms": Limit(low=9.0),
    "ear.step": Limit(low=8.5),
    "ear.together": Limit(high=300.0),
    "ear.apart": Limit(low=18.0),
    "tone.peaks": Limit(low=45.0, scope=LIVELIEST),
    "tone.movement": Limit(low=5.0),
    "tone.slope": Limit(low=-8.0, high=-4.5, scope=MEDIAN),
    "low.beat": Limit(high=6.0),
    "low.correlation": Limit(low=0.9),
    "low.key_step": Limit(high=10.0),
    "air.movement": Limit(low=3.0),
    "dynamics.lufs_0": Limit(low=-22.5, high=-19.5),
    "dynamics.lufs_100": Limit(low=-17.5, high=-14.5),
    "dynamics.least_rise": Limit(low=0.0),
    "dynamics.range": Limit(low=4.0, high=10.0),
    "dynamics.change": Limit(high=4.0),
    "recognition.share": Limit(low=0.95),
    "score.repetition": Limit(high=0.2),
    "score.last_density": Limit(low=0.5),
    "score.seeds": Limit(low=0.6),
    "score.passages": Limit(low=0.5),
    "score.come_back": Limit(low=0.5),
    "score.fall": Limit(high=5.0),
    "score.equal_seconds": Limit(high=0.0),
    "score.tension": Limit(low=0.5),
    "score.low_seconds": Limit(high=60.0),
    "score.without_bass": Limit(high=0.0),
    "score.clash": Limit(high=0.5),
    "score.steps": Limit(low=0.5),
    "score.leaps_filled": Limit(low=0.6),
    "score.answers": Limit(low=0.6),
    "score.phrase_notes": Limit(low=3.0),
    "score.key_step": Limit(high=1.5),
}
"""By row."""

OF_ONE_PRESET: Final[Mapping[tuple[str, str], Limit]] = {
    ("space.t30_500", "cathedral"): Limit(low=5.0),
    ("space.tail", "cathedral"): Limit(low=-30.0),
}
"""By row and preset."""


def limit_of(row: str, name: str) -> Limit | None:
    """What a preset's row must keep; None where nothing is asked of it."""
    return OF_ONE_PRESET.get((row, name)) or LIMITS.get(row)
