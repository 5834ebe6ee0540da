"""Pure. Which of a section's notes a stream plays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from services.contract.spec import CONTROL_STEPS, INTENSITY_STEPS, StreamSpec
from services.synthesis.score.events import Layer, Notes


def reach(spec: StreamSpec) -> float:
    """The highest threshold of a note that `spec` plays, 0 to 1.

    At density 0.5 it is the intensity. It falls to 0 at density 0, where only notes that always sound are left, and
    rises to 1 at density 1, where every note sounds; evenly on both sides, so that each step of density is heard at
    each intensity between 0 and 1.
    """
    intensity, density = spec.intensity_steps, spec.density_steps
    middle = CONTROL_STEPS // 2
    # One division of whole numbers: rounding never decides whether a note sounds.
    if density <= middle:
        return intensity * density / (middle * INTENSITY_STEPS)
    return (intensity * middle + (INTENSITY_STEPS - intensity) * (density - middle)) / (middle * INTENSITY_STEPS)


def played(notes: Notes, spec: StreamSpec) -> NDArray[np.bool_]:
    """Whether each note sounds: it is within reach, and its layer is not silent."""
    levels = spec.levels
    audible = np.array([levels[layer.name.lower()] > 0.0 for layer in Layer])
    return np.asarray((notes.threshold <= reach(spec)) & audible[notes.layer])
