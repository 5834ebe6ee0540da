"""Runs a worker of a later build: the next sound version, and music that differs from this build's.

For a seed it renders what this build renders for the seed TRANSPOSED higher.
"""

from __future__ import annotations

import runpy
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from services.contract.spec import StreamSpec
from services.synthesis.render import renderer as render
from services.synthesis.render import revision

TRANSPOSED = 50_000


def transposed(spec: StreamSpec) -> StreamSpec:
    return replace(spec, seed=spec.seed + TRANSPOSED)


class NextRenderer(render.Renderer):
    """This build's renderer, with the next build's music."""

    def render(
        self, jobs: Sequence[tuple[StreamSpec, int]], out: NDArray[np.int16] | None = None
    ) -> render.RenderedBatch:
        return super().render([(transposed(spec), block) for spec, block in jobs], out)


def main() -> None:
    # Before the worker is imported, so that it imports these.
    revision.SOUND_VERSION += 1  # type: ignore[misc]
    render.Renderer = NextRenderer  # type: ignore[misc]
    runpy.run_module("services.synthesis", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
