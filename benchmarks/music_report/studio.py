"""What is measured of Auralis: streams, lone notes and rooms, rendered offline by the project's own renderer (shell).

Whatever here reaches into `services.synthesis` beyond `render_to_wav` and `Renderer.render` does so in this module, in
`lone_note`, `without_room` and `room_response` alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final
from unittest import mock

import numpy as np

from benchmarks.music_report.sound import Sound, from_pcm, read_wav
from services.contract.spec import StreamSpec
from services.contract.timebase import BLOCKS_PER_SECTION, SAMPLE_RATE_HZ, SECTION_S
from services.synthesis.device_selector import AutoDeviceSelector
from services.synthesis.dsp import grid
from services.synthesis.packing import section as section_module
from services.synthesis.packing.partials import join_partials
from services.synthesis.render import renderer as render_module
from services.synthesis.render.offline import render_to_wav
from services.synthesis.render.renderer import Renderer
from services.synthesis.score.compose import compose_section
from services.synthesis.score.events import Layer, Notes, Section, SectionChord
from services.synthesis.score.selection import played
from services.synthesis.sound import room
from services.synthesis.sound.patches import SOUNDS

START: Final = 1_764_000_000
"""Unix time at which everything begins that is rendered: the same music on every day."""
_BATCH: Final = 32
_STREAMS: Final = 64
_NOTE_ONSET_S: Final = 1.0


class NotMeasuredError(Exception):
    """Something cannot be measured here; the text is the reason, as a sentence."""


class Studio:
    """Renders streams with one warmed-up renderer.

    Args:
        eager: without compiled kernels; for tests.
    """

    def __init__(self, *, eager: bool = False) -> None:
        self._eager = eager
        self.device = AutoDeviceSelector().select_device()
        self._renderer = self._make()

    def _make(self, **arguments: Any) -> Renderer:
        renderer = Renderer(self.device, enable_compile=not self._eager, max_streams=_STREAMS, **arguments)
        renderer.warm_up()
        return renderer

    @property
    def mode(self) -> str:
        """How it renders: "compiled" or "eager"."""
        return self._renderer.mode

    def close(self) -> None:
        """Let the renderer's threads go."""
        self._renderer.close()

    def wav(self, spec: StreamSpec, seconds: int, path: Path) -> Sound:
        """`seconds` of a stream from START, as `auralis render` writes them to `path`."""
        render_to_wav(spec, seconds, path, start_block=START, renderer=self._renderer)
        return read_wav(path)

    def windows(self, spec: StreamSpec, starts_s: Sequence[int], seconds: int) -> list[Sound]:
        """Stretches of a stream, `seconds` each, that begin at `starts_s` after START."""
        return self._windows(self._renderer, spec, starts_s, seconds)

    @staticmethod
    def _windows(renderer: Renderer, spec: StreamSpec, starts_s: Sequence[int], seconds: int) -> list[Sound]:
        blocks = [START + start_s + second for start_s in starts_s for second in range(seconds)]
        parts = [
            from_pcm(renderer.render([(spec, block) for block in blocks[first : first + _BATCH]]).pcm)
            for first in range(0, len(blocks), _BATCH)
        ]
        samples = np.concatenate(parts).reshape(len(starts_s), -1, 2)
        return [Sound(window, SAMPLE_RATE_HZ) for window in samples]

    def full_and_dry(self, spec: StreamSpec, starts_s: Sequence[int], seconds: int) -> tuple[Sound, Sound]:
        """Stretches of a stream one after the other, as they are and without their room.

        Raises:
            NotMeasuredError: the renderer makes its rooms in another way than this module knows.
        """
        with without_room():
            dry = self._make()
        try:
            heard = [
                np.concatenate([window.samples for window in self._windows(renderer, spec, starts_s, seconds)])
                for renderer in (self._renderer, dry)
            ]
        finally:
            dry.close()
        full, rest = (Sound(samples, SAMPLE_RATE_HZ) for samples in heard)
        return full, rest

    @contextmanager
    def playing(self, compose: Any) -> Iterator[Callable[[StreamSpec, Sequence[int], int], list[Sound]]]:
        """`windows` of another score.

        Args:
            compose: the score, as `Renderer` takes it.
        """
        renderer = self._make(compose=compose)
        try:
            yield partial(self._windows, renderer)
        finally:
            renderer.close()

    @staticmethod
    def onsets_s(spec: StreamSpec, seconds: int) -> list[float]:
        """When the notes of a stream's score begin that it plays, within `seconds` from START."""
        found: list[float] = []
        for number in range(START // SECTION_S, (START + seconds - 1) // SECTION_S + 1):
            notes = compose_section(spec, number).notes
            found += list(notes.onset_s[played(notes, spec)] + (number * SECTION_S - START))
        return [onset_s for onset_s in found if 0.0 <= onset_s < seconds]

    def note(self, spec: StreamSpec, layer: Layer, *, hold_s: float, seconds: int, pitch_midi: float = 60.0) -> Sound:
        """A lone note of a layer in its room, without air; the key goes down 1 s after the beginning.

        Args:
            spec: its preset and intensity are used.
            layer: whose instrument plays.
            hold_s: until the key is let go.
            seconds: length, at most 200.
            pitch_midi: 60 is middle C.
        """
        begin = START // BLOCKS_PER_SECTION * BLOCKS_PER_SECTION
        renderer = self._make(compose=lone_note(begin // BLOCKS_PER_SECTION, layer, pitch_midi, hold_s))
        try:
            rendered = [renderer.render([(spec, begin + second)]).pcm for second in range(seconds)]
        finally:
            renderer.close()
        return Sound(from_pcm(np.concatenate(rendered)), SAMPLE_RATE_HZ)


def lone_note(number: int, layer: Layer, pitch_midi: float, hold_s: float) -> Any:
    """A score, for `Renderer`, with one note in section `number` and silence around it."""

    def compose(_: StreamSpec, section: int) -> Section:
        count = 1 if section == number else 0

        def whole(value: float, kind: type) -> Any:
            return np.full(count, value, dtype=kind)

        notes = Notes(
            onset_s=whole(_NOTE_ONSET_S, np.float64),
            duration_s=whole(hold_s, np.float64),
            pitch_midi=whole(pitch_midi, np.float64),
            gain=whole(0.7, np.float32),
            pan=whole(0.0, np.float32),
            brightness=whole(0.5, np.float32),
            threshold=whole(0.0, np.float32),
            layer=whole(int(layer), np.uint8),
            seed=whole(1, np.uint32),
        )
        ends = np.array([0.0, float(SECTION_S)])
        return Section(section, notes, (SectionChord(0.0, "C"),), ends, np.zeros(2, np.float32))

    return compose


def without_room() -> Any:
    """Renderers that are made within this context have rooms that answer with silence."""
    known = getattr(render_module, "impulse_response", None)
    if known is None:
        raise NotMeasuredError("the renderer takes its rooms from elsewhere: see `without_room` of the report")
    context = ExitStack()
    context.enter_context(mock.patch.object(render_module, "impulse_response", lambda room: np.zeros_like(known(room))))
    # Bright partials have tails in place of a convolution.
    context.enter_context(mock.patch.object(section_module, "tails", return_value=join_partials([])))
    return context


def room_response(preset: str) -> Sound:
    """The room of a preset: what it answers to an impulse.

    Raises:
        NotMeasuredError: the renderer makes its rooms in another way than this module knows.
    """
    try:
        response, rate_hz = room.impulse_response(SOUNDS[preset].room), grid.QUARTER_HZ
    except AttributeError as error:
        raise NotMeasuredError(
            f"rooms are made in another way than `room_response` of the report knows: {error}"
        ) from None
    return Sound(np.ascontiguousarray(response.T, dtype=np.float32), round(rate_hz))
