"""Phrases on demand (shell: opens kernels): chords and a melody in, stereo sound out, by the streams' kernels.

A stream's block is one row of a kernel call. Here a row is a voice (a few partials of one second), so that a phrase of
many notes fills the rows of a batch: a batch of eight makes an eighth of the calls that a batch of one makes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from services.contract.spec import StreamSpec
from services.contract.timebase import BLOCK_FRAMES, BLOCKS_PER_SECTION, CHANNELS, SAMPLE_RATE_HZ
from services.synthesis.device_selector import AutoDeviceSelector
from services.synthesis.dsp.grid import LOW_INTERVALS, PADDED_INTERVAL, QUARTER, TEXTURE_FRAMES
from services.synthesis.dsp.noise import SPREAD
from services.synthesis.dsp.reverb import PARTS, inverse, response_spectra
from services.synthesis.dsp.voices import HIGH_SUMS, LOW_SUMS, send_part
from services.synthesis.instruments.files import load_bank
from services.synthesis.kernels.kernel import Kernel
from services.synthesis.kernels.load import load_kernels
from services.synthesis.packing.pack import pack_partials
from services.synthesis.packing.placement import Sounding
from services.synthesis.packing.section import prepare_section
from services.synthesis.packing.table import Table
from services.synthesis.render.device_limits import use_one_core
from services.synthesis.render.renderer import measured_tables
from services.synthesis.render.reverb_sends import SendStore
from services.synthesis.render.upload import upload, upload_index
from services.synthesis.score.events import Layer, Notes, Section
from services.synthesis.sound.patches import SOUNDS
from services.synthesis.sound.room import impulse_response

QUALITIES: Final = {
    "major": (0, 4, 7),
    "minor": (0, 3, 7),
    "diminished": (0, 3, 6),
    "augmented": (0, 4, 8),
    "sus2": (0, 2, 7),
    "sus4": (0, 5, 7),
    "major7": (0, 4, 7, 11),
    "minor7": (0, 3, 7, 10),
    "dominant7": (0, 4, 7, 10),
}
"""Chord qualities: semitones above the root."""

VOICE_PARTIALS: Final = 4
"""Partials of a voice row: a simple tone, or a part of a rich one."""

_STREAM: Final = "phrase"

_VoiceRow = tuple[int, NDArray[np.int32]]
"""A block, and partials that sound in it."""

Chord = tuple[int, int, str]
"""First frame, root as a MIDI number, quality."""
MelodyNote = tuple[int, int, float, float]
"""First frame, MIDI number, velocity 0 to 1, seconds."""


class OptimizedSynthesisEngine:
    """Renders phrases. Its constructor compiles (or opens) the kernels and warms them up.

    Args:
        device: where to render; None is the best of this machine.
        batch_size: voice rows of a kernel call.
        enable_compile: False runs eagerly.
        preset: whose tones and room it uses.
        kernel_cache: folder of compiled kernels; None is the user's.
    """

    def __init__(
        self,
        device: torch.device | str | None = None,
        batch_size: int = 8,
        enable_compile: bool = True,  # noqa: FBT001, FBT002 - the published signature
        *,
        preset: str = "drift",
        kernel_cache: Path | None = None,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size: got {batch_size}, expected 1 or more")
        if preset not in SOUNDS:
            raise ValueError(f"preset: got {preset!r}, expected one of {', '.join(SOUNDS)}")
        torch.set_flush_denormal(True)
        self.device = AutoDeviceSelector().select_device() if device is None else torch.device(device)
        self.batch_size = batch_size
        self._spec = StreamSpec(preset=preset)
        # A thread of its own, in which kernels take one core: threads of one kernel wait for each other, many times as
        # long as soon as other programs run. More threads gain nothing: a phrase's calls are too small.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="phrase", initializer=use_one_core)
        self._kernels = load_kernels(self.device, enable_compile=enable_compile, cache=kernel_cache)
        response = response_spectra(impulse_response(SOUNDS[preset].room))
        # Two rooms, because a compiler would make a special case of one.
        with torch.inference_mode():
            self._responses = torch.from_numpy(np.stack((response, response))).to(self.device)
            self._tables = measured_tables(self.device)
            # A phrase has no texture.
            self._silence = torch.zeros(2 * QUARTER * TEXTURE_FRAMES, dtype=torch.int32, device=self.device)
        self.render_phrase([(0, 60, "major")], [(0, 96, 0.5, 0.5)], 1.0)

    @property
    def mode(self) -> str:
        """How it runs: "compiled" or "eager"."""
        return self._kernels.mode

    def render_phrase(
        self, chords: Sequence[Chord], melody: Sequence[MelodyNote], duration_sec: float
    ) -> NDArray[np.float32]:
        """Render a phrase; a chord lasts until the next one.

        Args:
            chords: (first frame at 44.1 kHz, root as a MIDI number, a name of `QUALITIES`).
            melody: (first frame, MIDI number, velocity 0 to 1, seconds).
            duration_sec: length of the result; tails are cut there.

        Returns:
            float32 [frames, 2], within -1 and 1.

        Raises:
            ValueError: an argument is out of range; the message names it.
        """
        if not 0.0 < duration_sec <= BLOCKS_PER_SECTION:
            raise ValueError(f"duration_sec: got {duration_sec}, expected more than 0 and at most {BLOCKS_PER_SECTION}")
        section = _section(chords, melody, duration_sec)
        return self._thread.submit(self._render, section, duration_sec).result()

    def _render(self, section: Section, duration_s: float) -> NDArray[np.float32]:
        blocks = math.ceil(duration_s)
        prepared = prepare_section(section, self._spec, load_bank())
        with torch.inference_mode():
            voices = self._sum(prepared.low, blocks, self._kernels.low, LOW_SUMS)
            bright = self._sum(prepared.high, blocks, self._kernels.high, HIGH_SUMS)
            samples = self._finish(voices, bright)
        frames = round(duration_s * SAMPLE_RATE_HZ)
        return (samples[:frames].astype(np.float32)) * np.float32(2.0**-15)

    def _sum(self, table: Table, blocks: int, kernel: Kernel, sums: int) -> Tensor:
        """The voice rows of `table`, rendered by `kernel` and added up in their blocks.

        Returns:
            [blocks, LOW_INTERVALS, sums, PADDED_INTERVAL].
        """
        total = torch.zeros((blocks, LOW_INTERVALS, sums, PADDED_INTERVAL), device=self.device)
        rows: list[_VoiceRow] = []
        for block in range(blocks):
            active = table.sounding(block)
            rows += [(block, active[i : i + VOICE_PARTIALS]) for i in range(0, len(active), VOICE_PARTIALS)]
        for i in range(0, len(rows), self.batch_size):
            batch = rows[i : i + self.batch_size]
            index = upload_index([block for block, _ in batch], self.device)
            total.index_add_(0, index, self._voices(table, batch, kernel))
        return total

    def _voices(self, table: Table, rows: list[_VoiceRow], kernel: Kernel) -> Tensor:
        """Each of `rows`, rendered by `kernel`."""
        least = self._kernels.least
        padded = rows if len(rows) >= least else rows * least
        packed = pack_partials(
            [[Sounding(table, active, block * BLOCK_FRAMES)] for block, active in padded],
            [block for block, _ in padded],
            least=VOICE_PARTIALS,
        )
        points = self._kernels.expand(
            upload(packed.parameters, self.device), upload(packed.words, self.device), *self._tables
        )
        return kernel(*points)[0][: len(rows)]

    def _finish(self, voices: Tensor, bright: Tensor) -> NDArray[np.int16]:
        blocks = voices.shape[0]
        store = SendStore(max(blocks + 1, 2 * (PARTS + 2)), self.device)
        keys = [(_STREAM, block) for block in range(blocks)]
        slots = store.claim(keys)
        store.sends[upload_index(slots, self.device)] = send_part(voices).flatten(1)
        store.store_spectra(keys)
        rows = max(blocks, self._kernels.least)
        wanted = [[store.slot((_STREAM, min(row, blocks - 1) - part)) for part in range(PARTS)] for row in range(rows)]

        def zeros(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.zeros((rows, *shape), dtype=dtype, device=self.device)

        def padded(tensor: Tensor) -> Tensor:
            return tensor if blocks == rows else tensor.expand(rows, *tensor.shape[1:]).contiguous()

        spectra = self._kernels.wet(
            store.spectra.view(torch.int64),
            upload_index(wanted, self.device),
            self._responses,
            zeros(dtype=torch.int64),
        )[0]
        dither = torch.arange(rows, dtype=torch.int32, device=self.device) * BLOCK_FRAMES
        samples = self._kernels.finish_bright(
            padded(voices),
            inverse(spectra),
            self._silence,
            zeros(2, dtype=torch.int32),
            zeros(2, CHANNELS, 2),
            torch.stack((dither, dither), dim=1).contiguous(),
            padded(bright),
        )[0]
        # Two frames are one word of 64 bits; every second pair is in a row of its own.
        played = np.ascontiguousarray(samples[:blocks].cpu().numpy().transpose(0, 2, 1))
        return played.reshape(-1).view(np.int16).reshape(-1, CHANNELS)


def _section(chords: Sequence[Chord], melody: Sequence[MelodyNote], duration_sec: float) -> Section:
    """The phrase as a section of the score: chords on the pad with a bass, the melody on its own layer."""
    rows: list[tuple[float, float, float, float, float, Layer]] = []
    starts = sorted(start for start, _, _ in chords)
    for start, root, quality in chords:
        if quality not in QUALITIES:
            raise ValueError(f"chord quality: got {quality!r}, expected one of {', '.join(QUALITIES)}")
        onset_s = _onset_s(start, root)
        later = [other for other in starts if other > start]
        end_s = later[0] / SAMPLE_RATE_HZ if later else duration_sec
        held_s = max(0.1, end_s - onset_s)
        tones = QUALITIES[quality]
        for place, interval in enumerate(tones):
            pan = 0.5 * (2.0 * place / (len(tones) - 1) - 1.0)
            rows.append((onset_s, held_s, root + interval, 0.3, pan, Layer.PAD))
        rows.append((onset_s, held_s, root - 12, 0.4, 0.0, Layer.BASS))
    for start, pitch, velocity, seconds in melody:
        if not (0.0 <= velocity <= 1.0 and 0.0 < seconds <= BLOCKS_PER_SECTION):
            raise ValueError(f"melody: got velocity {velocity} for {seconds} s, expected 0 to 1 for more than 0 s")
        rows.append((_onset_s(start, pitch), seconds, pitch, 0.6 * velocity, 0.1, Layer.MELODY))
    count = len(rows)
    onset, held, pitch_midi, gain, pan_column, layer = (
        np.array([row[i] for row in rows], dtype=np.float64) for i in range(6)
    )
    order = np.argsort(onset, kind="stable")
    notes = Notes(
        onset_s=onset[order],
        duration_s=held[order],
        pitch_midi=pitch_midi[order],
        gain=gain[order].astype(np.float32),
        pan=pan_column[order].astype(np.float32),
        brightness=np.full(count, 0.5, dtype=np.float32),
        threshold=np.zeros(count, dtype=np.float32),
        layer=layer[order].astype(np.uint8),
        seed=np.arange(count, dtype=np.uint32) * np.uint32(SPREAD % 2**32),
    )
    return Section(0, notes, (), np.array([0.0, 240.0]), np.zeros(2, dtype=np.float32))


def _onset_s(frame: int, pitch: int) -> float:
    if not 0 <= frame < BLOCKS_PER_SECTION * BLOCK_FRAMES:
        raise ValueError(f"first frame: got {frame}, expected 0 to {BLOCKS_PER_SECTION * BLOCK_FRAMES - 1}")
    if not 12 <= pitch <= 120:
        raise ValueError(f"pitch: got {pitch}, expected a MIDI number from 12 to 120")
    return frame / SAMPLE_RATE_HZ
