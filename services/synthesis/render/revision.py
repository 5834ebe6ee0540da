"""The name of this build's music (shell: reads source files)."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

from services.synthesis.kernels.cache import COMPILED_FROM
from services.synthesis.kernels.source_tree import SERVICES, hash_reached

SOUND_VERSION: Final = 3
"""Raise it when the music changes: edges move to the highest (SOUND_VERSION, render_revision)."""

SOUND_ROOTS: Final = ("services.synthesis.render.renderer", COMPILED_FROM)
"""What these modules reach decides every sample. The second one runs in the processes that build kernels."""


@cache
def render_revision(root: Path = SERVICES) -> str:
    """For example "s2-0123456789": two builds with equal names render equal blocks (to the last bits of a sample).

    Args:
        root: folder of the package `services`; another one for tests.
    """
    return f"s{SOUND_VERSION}-{hash_reached(SOUND_ROOTS, root)[:10]}"
