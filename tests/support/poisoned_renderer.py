"""Runs a worker whose renderer has a bug: it fails at one seed, and at no other."""

from __future__ import annotations

import runpy
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from services.contract.spec import StreamSpec
from services.synthesis.render import renderer as render

POISON = 666_666


class PoisonedRenderer(render.Renderer):
    """The renderer, but for one seed, which it cannot render."""

    def render(
        self, jobs: Sequence[tuple[StreamSpec, int]], out: NDArray[np.int16] | None = None
    ) -> render.RenderedBatch:
        if any(spec.seed == POISON for spec, _ in jobs):
            raise ValueError(f"a bug that seed {POISON} triggers")
        return super().render(jobs, out)


def main() -> None:
    # Before the worker is imported, so that it imports this one.
    render.Renderer = PoisonedRenderer  # type: ignore[misc]
    runpy.run_module("services.synthesis", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
