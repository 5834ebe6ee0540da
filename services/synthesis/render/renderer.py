"""Rendering: jobs (stream, block) in, one second of 16-bit stereo each out. Pure but for what it keeps to save work."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from services.contract.block import MAX_CHORDS, Chord
from services.contract.spec import StreamSpec
from services.contract.timebase import (
    BLOCKS_PER_SECTION,
    CHANNELS,
    CHUNK_FRAMES,
    CHUNKS_PER_BLOCK,
    TICKS_PER_S,
)
from services.synthesis.dsp.grid import QUARTER, QUARTER_BLOCK
from services.synthesis.dsp.noise import colour_taps
from services.synthesis.dsp.reverb import PARTS, SECONDS_NEEDED, impulse_response, inverse, response_spectra
from services.synthesis.dsp.voices import sent
from services.synthesis.kernels.load import Kernels, load_kernels
from services.synthesis.render.allocator import keep_freed_memory
from services.synthesis.render.pack import Compose, Packer, Placement
from services.synthesis.render.readback import Readback
from services.synthesis.render.reverb_sends import SLOT_BYTES, Key, SendStore
from services.synthesis.render.upload import upload, upload_index
from services.synthesis.score.compose import SectionCache
from services.synthesis.sound.patches import SOUNDS

SOUND_VERSION: Final = 2
"""Raise it when the music changes: edges move to the highest (SOUND_VERSION, render_revision)."""

_CPU_ROWS: Final = 24
"""Rows of a kernel call on a CPU: what they write between two kernels stays in a cache of a few MB."""
_GPU_ROWS: Final = (16, 256)
"""Rows of a kernel call on a GPU, at least and at most: as many as fit."""
_CPU_STREAMS: Final = 2_048
_GPU_STREAMS: Final = (1_024, 16_384)
SENDS_PER_STREAM: Final = 4
"""Seconds of send that are kept of a stream while its next one is rendered."""
_ROW_COST: Final = 200
"""What a row costs besides its partials, in partials below the split."""
_HIGH_COST: Final = 3
"""What a partial above the split costs, in such below it."""
_ROW_BYTES: Final = 8 * 2**20
"""What the kernels need for a row of two hundred partials, at most."""

Job = tuple[StreamSpec, int]
"""A stream and the block (second since the epoch) of it."""

_SOUND_SOURCES: Final = (
    "dsp",
    "score",
    "sound",
    "kernels/graphs.py",
    "render/pack.py",
    "render/reverb_sends.py",
    "render/renderer.py",
)


@dataclass(frozen=True, slots=True)
class RenderedBatch:
    """What came of a batch of jobs, in their order.

    Attributes:
        pcm: int16 [batch, 10, 4410, 2].
        peak, rms: float32 [batch], of full scale.
        chords: what sounds in each block.
        silenced: jobs whose sound was not a number; their pcm is silence.
        render_s: wall time of the batch.
        partials, history: partials summed for the blocks themselves, and seconds of send that had to be made besides.
    """

    pcm: NDArray[np.int16]
    peak: NDArray[np.float32]
    rms: NDArray[np.float32]
    chords: tuple[tuple[Chord, ...], ...]
    silenced: tuple[int, ...]
    render_s: float
    partials: int
    history: int


@dataclass(frozen=True, slots=True)
class _Result:
    """Where the threads put what they have rendered: int16 [batch, 10, 4410, 2] and float32 [batch]."""

    pcm: NDArray[np.int16]
    peak: NDArray[np.float32]
    mean_square: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Group:
    """What came of a group: how many seconds of send had to be made besides, and what is still to be collected."""

    history: int
    open: list[Callable[[], None]]


class Renderer:
    """Renders blocks on one device.

    Used from one thread at a time; on a CPU it has threads of its own. Each of them renders other rows, with kernels
    that run in one thread: no kernel ever waits for a core that somebody else is using.

    Args:
        device: where the kernels run.
        batch_size: rows of a kernel call; None is chosen by device.
        enable_compile: False runs eagerly.
        kernel_cache: folder of compiled kernels; None is the user's.
        compose: the score; for tests.
        max_streams: for how many streams sends and sections are kept; None is chosen by device. More are rendered too,
            but each of their blocks makes the sends of the seconds before it again.
        threads: on a CPU; None is one for each core that this process may use.
    """

    def __init__(
        self,
        device: torch.device,
        *,
        batch_size: int | None = None,
        enable_compile: bool = True,
        kernel_cache: Path | None = None,
        compose: Compose | None = None,
        max_streams: int | None = None,
        threads: int | None = None,
    ) -> None:
        # Decaying tails reach numbers so small that a CPU needs a hundred times as long for them.
        torch.set_flush_denormal(True)
        if device.type == "cpu":
            keep_freed_memory()
        self.device = device
        self.batch_size = batch_size or default_batch_size(device)
        self._readback = Readback(device)
        max_streams = max_streams or default_max_streams(device)
        self._enable_compile = enable_compile
        self._kernel_cache = kernel_cache
        self.packer = Packer(compose or SectionCache(2 * max_streams).get, max_sections=3 * max_streams)
        self._kernels: Kernels | None = None
        self._stop = threading.Event()
        self.threads = (threads or usable_cores()) if device.type == "cpu" else 1
        self._pool = ThreadPoolExecutor(self.threads, thread_name_prefix="voices", initializer=use_one_core)
        responses = [response_spectra(impulse_response(sound.room)) for sound in SOUNDS.values()]
        taps = [colour_taps(*np.array(sound.air.points, dtype=np.float64).T) for sound in SOUNDS.values()]
        # As whatever else the kernels get: `torch.compile` makes a difference, and would compile again.
        with torch.inference_mode():
            self._sends = SendStore(SENDS_PER_STREAM * max_streams + 64, device)
            self._responses = torch.from_numpy(np.stack(responses)).to(device)
            self._air_taps = torch.from_numpy(np.stack(taps)).to(device)

    @property
    def mode(self) -> str:
        """One of "compiled" and "eager"; "cold" before `warm_up`."""
        return self._kernels.mode if self._kernels else "cold"

    @property
    def eager_reason(self) -> str:
        """Why it runs eagerly; empty when it does not."""
        return self._kernels.reason if self._kernels else ""

    def warm_up(self, progress: Callable[[str, float], None] | None = None) -> None:
        """Open or build the kernels and run each of them once; idempotent.

        Args:
            progress: told the stage and how much of it is done (0 to 1).
        """
        if self._kernels is None:
            self._kernels = load_kernels(
                self.device,
                enable_compile=self._enable_compile,
                cache=self._kernel_cache,
                progress=progress,
                stop=self._stop,
                threads=self.threads,
            )
        # A loud stream, so that the kernel for bright partials runs too.
        self.render([(StreamSpec(intensity_steps=20), 60), (StreamSpec(intensity_steps=20, preset="lantern"), 60)])
        self._sends.forget({"": 2**40})

    def close(self) -> None:
        """Let the threads go, and give up a warm-up that is under way in another thread."""
        self._stop.set()
        self._pool.shutdown(wait=False)

    def render(self, jobs: Sequence[Job], out: NDArray[np.int16] | None = None) -> RenderedBatch:
        """Render `jobs`. Each one's samples are the same whatever else is in the batch.

        Args:
            jobs: what to render.
            out: int16 [at least batch, 10, 4410, 2] to render into; None makes a new array.

        Raises:
            Whatever the score raises for a job: see `Packer.section`.
        """
        if self._kernels is None:
            self.warm_up()
        started = time.perf_counter()
        rows = [self.packer.place(spec, block) for spec, block in jobs]
        result = self._render(rows, started, out)
        latest = _latest(rows)
        self._sends.forget(latest)
        self.packer.forget(latest)
        for spec, block in jobs:
            self.packer.look_ahead(spec, block)
        return result

    def _render(self, rows: list[Placement], started: float, out: NDArray[np.int16] | None) -> RenderedBatch:
        shape = (len(rows), CHUNKS_PER_BLOCK, CHUNK_FRAMES, CHANNELS)
        pcm = np.empty(shape, dtype=np.int16) if out is None else out[: len(rows)]
        result = _Result(pcm, np.empty(len(rows), dtype=np.float32), np.empty(len(rows), dtype=np.float32))
        self._sends.touch([(row.stream, row.block - back) for row in rows for back in range(SECONDS_NEEDED)])
        working = [self._pool.submit(self._render_group, rows, group, result) for group in self._groups(rows)]
        # All of them, also where one fails: what still renders writes into a buffer that the caller will use again.
        wait(working)
        groups = [future.result() for future in working]
        for group in groups:
            for collect in group.open:
                collect()
        bad = np.flatnonzero(~np.isfinite(result.mean_square))
        pcm[bad], result.peak[bad], result.mean_square[bad] = 0, 0.0, 0.0
        return RenderedBatch(
            pcm=pcm,
            peak=result.peak,
            rms=np.sqrt(result.mean_square),
            chords=tuple(_chords(row) for row in rows),
            silenced=tuple(int(index) for index in bad),
            render_s=time.perf_counter() - started,
            partials=sum(row.low_count + row.high_count for row in rows),
            history=sum(group.history for group in groups),
        )

    def _groups(self, rows: list[Placement]) -> list[list[int]]:
        """Places of rows that are rendered together: one group is the work of one thread."""
        if len({row.stream for row in rows}) > len(rows) // 2:
            # Rows of about equal length share a call, so that little is padded; those with bright partials are apart.
            order = sorted(range(len(rows)), key=lambda index: (rows[index].high_count == 0, -rows[index].low_count))
        else:
            # Blocks of one stream share their history.
            order = sorted(range(len(rows)), key=lambda index: (rows[index].stream, rows[index].block))
        return equal_shares(order, [_cost(rows[index]) for index in order], most=self.batch_size, threads=self.threads)

    def _render_group(self, all_rows: list[Placement], group: list[int], result: _Result) -> _Group:
        """Render some of `all_rows` into their places of `result`."""
        rows = [all_rows[index] for index in group]
        collects: list[Callable[[], None]] = []
        with torch.inference_mode():
            history, spectra = self._missing(rows)
            for i in range(0, len(history), self.batch_size):
                self._voices([self.packer.place(*job) for job in history[i : i + self.batch_size]])
            voices = self._voices(rows)
            for i in range(0, len(spectra), self.batch_size):
                self._sends.store_spectra(spectra[i : i + self.batch_size])
            for bright in (False, True):
                chosen = [place for place, row in enumerate(rows) if bool(row.high_count) == bright]
                if not chosen:
                    continue
                part = voices[: len(rows)]
                if len(chosen) < len(rows):
                    part = part.index_select(0, upload_index(chosen, self.device))
                places = [group[place] for place in chosen]
                collects.append(self._finish([rows[place] for place in chosen], part, places, result))
        if not self._readback.waits:
            for collect in collects:
                collect()
            collects = []
        return _Group(len(history), collects)

    def _missing(self, rows: list[Placement]) -> tuple[list[Job], list[Key]]:
        """Seconds of send that are neither kept nor made with the rows, and spectra that are not kept."""
        own = {(row.stream, row.block) for row in rows}
        history: dict[Key, Job] = {}
        spectra: dict[Key, None] = {}
        for row in rows:
            stream, block = row.stream, row.block
            for second in range(max(block - PARTS + 1, 0), block + 1):
                if self._sends.has_spectrum((stream, second)):
                    continue
                spectra[stream, second] = None
                for earlier in range(max(second - 2, 0), second + 1):
                    key = (stream, earlier)
                    if key not in own and key not in self._sends:
                        history[key] = (row.spec, earlier)
        return list(history.values()), list(spectra)

    def _voices(self, rows: list[Placement]) -> Tensor:
        """The low partials of `rows`; what goes to the reverb is kept."""
        voices = self._kernel("low")(*self._points(rows, "low"))[0]
        self._sends.store([(row.stream, row.block) for row in rows], sent(voices[: len(rows)]))
        return voices

    def _finish(self, rows: list[Placement], voices: Tensor, places: list[int], result: _Result) -> Callable[[], None]:
        """Everything after the low partials; all `rows` have bright partials or none has.

        Returns:
            What puts the samples into `places` of `result` once they are on the host.
        """
        padded = self._padded(rows)
        if len(padded) > len(voices):
            voices = voices.repeat(len(padded) // len(voices), 1, 1, 1)
        air = self.packer.air(padded)
        slots = [self._sends.slots([(row.stream, row.block - part) for part in range(PARTS)]) for row in padded]
        preset = self._to_device(air.preset)
        real, imaginary, white = self._kernel("wet")(
            self._sends.spectra,
            upload_index(slots, self.device),
            self._responses,
            preset,
            self._to_device(air.first_frame),
            self._to_device(air.seeds),
        )
        parts = (
            voices,
            inverse(real, imaginary),
            white,
            self._air_taps.index_select(0, preset),
            self._to_device(air.level),
            self._to_device(air.dither),
            self._to_device(air.hiss),
        )
        if rows[0].high_count:
            bright = self._kernel("high")(*self._points(rows, "high"))[0]
            samples, peak, mean_square, _ = self._kernel("finish_bright")(*parts, bright)
        else:
            samples, peak, mean_square, _ = self._kernel("finish")(*parts)
        count = len(rows)
        arrive = self._readback.start([samples[:count], peak[:count], mean_square[:count]])

        def collect() -> None:
            words, result.peak[places], result.mean_square[places] = arrive()
            for row, index in enumerate(places):
                interleave(words[row], result.pcm[index].reshape(-1).view(np.int32))

        return collect

    def _points(self, rows: list[Placement], band: str) -> Sequence[Tensor]:
        packed = self.packer.partials(self._padded(rows), band, least=self._least)
        return self._kernel("expand")(self._to_device(packed.parameters), self._to_device(packed.phases))

    @property
    def _least(self) -> int:
        """See `Kernels.least`."""
        return self._kernels.least if self._kernels else 1

    def _padded(self, rows: list[Placement]) -> list[Placement]:
        return rows if len(rows) >= self._least else rows * self._least

    def _kernel(self, name: str) -> Callable[..., Sequence[Tensor]]:
        kernel: Callable[..., Sequence[Tensor]] = getattr(self._kernels, name)
        return kernel

    def _to_device(self, array: NDArray[np.generic]) -> Tensor:
        return upload(array, self.device)


def _chords(row: Placement) -> tuple[Chord, ...]:
    """What sounds in the block: the chord that it begins with, and those that begin in it."""
    second = row.block % BLOCKS_PER_SECTION
    found: dict[int, str] = {}
    for chord in row.section.chords:
        if chord.onset_s < second + 1:
            found[max(0, int((chord.onset_s - second) * TICKS_PER_S))] = chord.name
    return tuple(Chord(chunk, name) for chunk, name in sorted(found.items())[:MAX_CHORDS])


def default_batch_size(device: torch.device) -> int:
    """Rows of a kernel call that suit `device`: on CUDA a quarter of the memory that is free now."""
    if device.type == "cpu":
        return _CPU_ROWS
    least, most = _GPU_ROWS
    if device.type != "cuda":
        return least
    free, _ = torch.cuda.mem_get_info(device)
    return max(least, min(most, free // 4 // _ROW_BYTES))


def default_max_streams(device: torch.device) -> int:
    """How many streams `device` may well render in real time; on CUDA a quarter of the memory that is free now."""
    if device.type != "cuda":
        return _CPU_STREAMS
    least, most = _GPU_STREAMS
    free, _ = torch.cuda.mem_get_info(device)
    return max(least, min(most, free // 4 // (SENDS_PER_STREAM * SLOT_BYTES)))


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def use_one_core() -> None:
    """Prepare a thread that renders: torch runs in it alone, and denormals are zero."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)


def equal_shares(order: Sequence[int], costs: Sequence[float], *, most: int, threads: int) -> list[list[int]]:
    """Cut `order` into groups of about equal cost, as many for each thread, so that all threads end together.

    Args:
        order: what is to be cut; groups keep it.
        costs: of each one of `order`.
        most: how many a group may have.
        threads: how many work at groups.
    """
    left = min(len(order), threads * -(-len(order) // (threads * most)))
    rest = sum(costs)
    groups: list[list[int]] = []
    group: list[int] = []
    spent = 0.0
    for place, (item, cost) in enumerate(zip(order, costs, strict=True)):
        # One that lies across a cut goes to the side that has more of it.
        full = left > 1 and spent + cost / 2 > rest / left
        if group and (len(group) == most or full or len(order) - place < left):
            groups.append(group)
            group, rest, spent, left = [], rest - spent, 0.0, max(1, left - 1)
        group.append(item)
        spent += cost
    return [*groups, group] if group else groups


def interleave(phases: NDArray[np.int32], frames: NDArray[np.int32]) -> None:
    """Put frame `4 * last + phase` of each of the `phases` [QUARTER, QUARTER_BLOCK] into its place of `frames`."""
    # In pairs, so that memory that is in no cache yet is gone over twice and not four times: three times as quick.
    twice = frames.view(np.int64)
    pair = np.empty(QUARTER_BLOCK, dtype=np.int64)
    for first in range(0, QUARTER, 2):
        pair.view(np.int32)[0::2], pair.view(np.int32)[1::2] = phases[first], phases[first + 1]
        twice[first // 2 :: QUARTER // 2] = pair


def _cost(row: Placement) -> int:
    """How long a row takes, in partials below the split."""
    return _ROW_COST + row.low_count + _HIGH_COST * row.high_count


def _latest(rows: Sequence[Placement]) -> dict[str, int]:
    latest: dict[str, int] = {}
    for row in rows:
        latest[row.stream] = max(row.block, latest.get(row.stream, 0))
    return latest


@cache
def render_revision() -> str:
    """Name of this build's music: two builds with equal names render equal blocks (to the last bits of a sample)."""
    digest = hashlib.sha256()
    here = Path(__file__).parents[1]
    for name in _SOUND_SOURCES:
        path = here / name
        for source in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(source.relative_to(here).as_posix().encode() + b"\0" + source.read_bytes() + b"\0")
    return f"s{SOUND_VERSION}-{digest.hexdigest()[:10]}"
