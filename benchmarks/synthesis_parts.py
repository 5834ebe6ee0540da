"""Where the time of a stream goes: processor time of each part of the renderer, and what its building blocks cost."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any
from unittest import mock

from services.contract.spec import StreamSpec
from services.synthesis.kernels.kernel import KERNEL_NAMES
from services.synthesis.render import renderer as render_module
from services.synthesis.render.renderer import Renderer

Row = dict[str, Any]

_FUNCTIONS = {
    "pack_partials": "packing",
    "pack_texture": "packing",
    "inverse": "reverb: transforms",
    "interleave": "samples in order",
}
_KERNELS = {
    "expand": "control points",
    "low": "partials below 4.1 kHz",
    "high": "bright partials",
    "wet": "reverb: product",
    "finish": "filters, texture, limiter, dither",
    "finish_bright": "filters, texture, limiter, dither",
}


class Clock:
    """Processor time by part, summed over threads; a part within another one is not counted twice."""

    def __init__(self) -> None:
        self.spent_s: dict[str, float] = defaultdict(float)
        self._thread = threading.local()
        self._lock = threading.Lock()

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, whose time counts for `part`."""

        def call(*arguments: Any, **named: Any) -> Any:
            outer: float = getattr(self._thread, "inner_s", 0.0)
            self._thread.inner_s = 0.0
            began = time.thread_time()
            try:
                return function(*arguments, **named)
            finally:
                took = time.thread_time() - began
                with self._lock:
                    self.spent_s[part] += took - self._thread.inner_s
                self._thread.inner_s = outer + took

        return call


def parts(renderer: Renderer, specs: Sequence[StreamSpec], start: int, blocks: int) -> tuple[list[Row], list[Row]]:
    """Render `blocks` seconds of `specs` with a clock around each part.

    Returns:
        Rows of parts, most first, and rows of building blocks; microseconds for each stream and second of music.
    """
    clock, kernels = Clock(), renderer._kernels  # noqa: SLF001 - each kernel gets a clock
    assert kernels is not None  # noqa: S101 - the renderer is warm
    low = high = 0
    with ExitStack() as stack:
        timed: dict[str, Any] = {name: clock.timed(_KERNELS[name], getattr(kernels, name)) for name in KERNEL_NAMES}
        stack.enter_context(mock.patch.object(renderer, "_kernels", dataclasses.replace(kernels, **timed)))
        for name, part in _FUNCTIONS.items():
            stack.enter_context(mock.patch.object(render_module, name, clock.timed(part, getattr(render_module, name))))
        for owner, name, part in (
            (renderer._sends, "store_spectra", "reverb: transforms"),  # noqa: SLF001 - as above
            (renderer.sections, "look_ahead", "score"),
            (renderer, "_render_group", "between the parts"),
        ):
            stack.enter_context(mock.patch.object(owner, name, clock.timed(part, getattr(owner, name))))
        for warm in range(2):
            renderer.render([(spec, start + warm) for spec in specs])
        clock.spent_s.clear()
        began = time.process_time()
        for block in range(start + 2, start + 2 + blocks):
            renderer.render([(spec, block) for spec in specs])
        total = time.process_time() - began
    for block in range(start + 2, start + 2 + blocks):
        placed = [renderer.sections.place(spec, block) for spec in specs]
        low += sum(row.low_count for row in placed)
        high += sum(row.high_count for row in placed)
    scale = 1e6 / (blocks * len(specs))
    spent = dict(clock.spent_s) | {"batch": total - sum(clock.spent_s.values())}
    rows = [
        {"where": part, "us_per_stream_s": round(scale * took), "share": round(took / total, 3)}
        for part, took in sorted(spent.items(), key=lambda item: -item[1])
    ]
    point = spent[_KERNELS["expand"]] / max(low + high, 1)
    blocks_of = {
        "a partial below 4.1 kHz": point + spent[_KERNELS["low"]] / max(low, 1),
        "a bright partial, or a tail": point + spent.get(_KERNELS["high"], 0.0) / max(high, 1),
        "a room": (spent[_KERNELS["wet"]] + spent["reverb: transforms"]) / (blocks * len(specs)),
        "filters, texture, limiter and dither": spent[_KERNELS["finish"]] / (blocks * len(specs)),
    }
    return rows, [{"block": name, "us_per_stream_s": round(1e6 * took, 2)} for name, took in blocks_of.items()]
