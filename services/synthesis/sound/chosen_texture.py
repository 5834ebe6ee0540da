"""Pure. The texture that a stream hears: its preset's own, another kind, or none."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Final

from services.contract.spec import NO_TEXTURE, OWN_TEXTURE
from services.synthesis.score.presets import SCORE_PRESETS
from services.synthesis.sound.patches import SOUNDS, Texture

LOUDNESS_DB: Final[Mapping[str, float]] = {
    "rain": 5.9,
    "sea": 4.2,
    "wind": 3.6,
    "fire": 4.8,
    "vinyl": 6.0,
    "insects": 6.3,
}
"""Loudness of each loop in LUFS above its RMS in dBFS: how much louder it is heard than a deep one."""
CHOSEN_LUFS: Final = -36.0
"""Loudness of a chosen kind at least, where the music has about -18: some presets' own is there to be missed only."""


@cache
def chosen_texture(preset: str, texture: str) -> Texture:
    """What a stream of `preset` with this `texture`, a name of `TEXTURES`, has around its music.

    Another kind moves as the preset's own does. It is as loud, and loud enough to be heard.
    """
    own = SOUNDS[preset].texture
    if texture in {OWN_TEXTURE, own.kind}:
        return own
    if texture == NO_TEXTURE:
        return replace(own, level_db=-math.inf)
    score_db = 20.0 * math.log10(SCORE_PRESETS[preset].air.level)
    loudness = max(own.level_db + LOUDNESS_DB[own.kind], CHOSEN_LUFS - score_db)
    return replace(own, kind=texture, level_db=loudness - LOUDNESS_DB[texture])
