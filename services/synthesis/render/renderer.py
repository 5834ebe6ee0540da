"""Rendering: jobs (stream, block) in, one second of 16-bit stereo each out (shell: threads, kernels from disk).

The result depends on the jobs alone; what a renderer keeps from batch to batch saves work and changes no sample.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from services.contract.spec import StreamSpec
from services.contract.timebase import (
    BLOCK_FRAMES,
    CHANNELS,
    CHUNK_FRAMES,
    CHUNKS_PER_BLOCK,
)
from services.synthesis.dsp.reverb import PARTS, SECONDS_NEEDED, inverse, response_spectra
from services.synthesis.dsp.voices import send_part
from services.synthesis.instruments.files import load_bank
from services.synthesis.kernels.graphs import Finish
from services.synthesis.kernels.kernel import Kernels
from services.synthesis.kernels.load import load_kernels
from services.synthesis.packing.pack import PackedTexture, pack_partials, pack_texture
from services.synthesis.packing.placement import Band, Placement
from services.synthesis.packing.section_store import Compose, SectionStore
from services.synthesis.render.allocator import keep_freed_memory
from services.synthesis.render.batch import Job, RenderedBatch, chords_of, latest_of
from services.synthesis.render.device_limits import (
    SENDS_PER_STREAM,
    default_batch_size,
    default_max_streams,
    usable_cores,
    use_one_core,
)
from services.synthesis.render.groups import bright_slices, group_rows
from services.synthesis.render.readback import Readback, interleave
from services.synthesis.render.reverb_sends import Key, SendStore
from services.synthesis.render.upload import upload, upload_index
from services.synthesis.score.compose import SectionCache
from services.synthesis.sound.patches import SOUNDS
from services.synthesis.sound.room import impulse_response
from services.synthesis.sound.textures import packed_loops

_FAR_FUTURE: Final = 2**40
"""A second after all music."""


@dataclass(frozen=True, slots=True)
class _Result:
    """Where threads put what they render: int16 [batch, 10, 4410, 2] and float32 [batch]."""

    pcm: NDArray[np.int16]
    peak: NDArray[np.float32]
    mean_square: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _RenderedGroup:
    """A group, rendered.

    Attributes:
        history: see `RenderedBatch`.
        collects: calls that bring samples from the device, still to be made.
    """

    history: int
    collects: list[Callable[[], None]]


_Finish = Callable[[list[Placement], Tensor, PackedTexture, list[int]], Callable[[], None]]
"""From rows of a group, their low partials, textures and places in the batch to a call that brings the samples."""


class Renderer:
    """Renders blocks on one device.

    Call it from one thread at a time. On a CPU it has threads of its own, each with its own rows and kernels that run
    in one thread: no kernel ever waits for a core that another process is using.

    Args:
        device: where the kernels run.
        batch_size: rows of a kernel call; None is chosen by device.
        enable_compile: False runs eagerly.
        kernel_cache: folder of compiled kernels; None is the user's.
        compose: the score; for tests.
        max_streams: number of streams whose sends and sections are kept; None is chosen by device. A renderer takes
            more streams than that, but then each block renders the sends of the seconds before it again.
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
        # Decaying tails reach denormal numbers, for which a CPU needs a hundred times as long.
        torch.set_flush_denormal(True)
        if device.type == "cpu":
            keep_freed_memory()
        self.device = device
        self.batch_size = batch_size or default_batch_size(device)
        self._readback = Readback(device)
        max_streams = max_streams or default_max_streams(device)
        self._enable_compile = enable_compile
        self._kernel_cache = kernel_cache
        self.sections = SectionStore(
            compose or SectionCache(2 * max_streams).get, load_bank(), max_sections=3 * max_streams
        )
        self._kernels: Kernels | None = None
        self._stop = threading.Event()
        self.threads = (threads or usable_cores()) if device.type == "cpu" else 1
        self._pool = ThreadPoolExecutor(self.threads, thread_name_prefix="voices", initializer=use_one_core)
        responses = [response_spectra(impulse_response(sound.room)) for sound in SOUNDS.values()]
        # In inference mode, as all tensors that the kernels read: `torch.compile` would compile again for others.
        with torch.inference_mode():
            self._sends = SendStore(SENDS_PER_STREAM * max_streams + 64, device)
            self._responses = torch.from_numpy(np.stack(responses)).to(device)
            self._textures = torch.from_numpy(packed_loops()).to(device)
            self._tables = measured_tables(device)
        self._whole = Finish()

    @property
    def mode(self) -> str:
        """How it runs: "compiled" or "eager"; "cold" before `warm_up`."""
        return self._kernels.mode if self._kernels else "cold"

    @property
    def eager_reason(self) -> str:
        """Why it runs eagerly; empty if it does not."""
        return self._kernels.reason if self._kernels else ""

    def warm_up(self, progress: Callable[[str, float], None] | None = None) -> None:
        """Open or build the kernels and run each of them once. A second call only runs them.

        Args:
            progress: told the stage and how much of the work is done (0 to 1).
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
        # At full intensity, so that the kernel for bright partials runs too.
        self.render([(StreamSpec(intensity_steps=20), 60), (StreamSpec(intensity_steps=20, preset="lantern"), 60)])
        # As seconds of an idle stream: far behind the newest one.
        self._sends.forget({"": _FAR_FUTURE})

    def close(self) -> None:
        """Stop the threads, and a warm-up that runs in another thread."""
        self._stop.set()
        self._pool.shutdown(wait=False)

    def render(self, jobs: Sequence[Job], out: NDArray[np.int16] | None = None) -> RenderedBatch:
        """Render `jobs`. A job's samples do not depend on the rest of the batch.

        Args:
            jobs: what to render.
            out: int16 [at least batch, 10, 4410, 2] to render into; None makes a new array.

        Raises:
            Whatever the score raises for a job.
        """
        if self._kernels is None:
            self.warm_up()
        started = time.perf_counter()
        rows = [self.sections.place(spec, block) for spec, block in jobs]
        result = self._render(rows, started, out)
        self._forget(rows)
        for spec, block in jobs:
            self.sections.look_ahead(spec, block)
        return result

    def sums(self, jobs: Sequence[Job]) -> NDArray[np.float32]:
        """What `render` makes of `jobs` before it limits and rounds; streams that differ in levels alone add up.

        Returns:
            float32 [batch, BLOCK_FRAMES, 2], full scale is 1; louder than that is possible.

        Raises:
            Whatever the score raises for a job.
        """
        if self._kernels is None:
            self.warm_up()
        rows = [self.sections.place(spec, block) for spec, block in jobs]
        sums = np.empty((len(rows), BLOCK_FRAMES, CHANNELS), dtype=np.float32)
        self._render_all(rows, lambda some, voices, packed, places: self._sum(some, voices, packed, places, sums))
        self._forget(rows)
        return sums

    def _forget(self, rows: Sequence[Placement]) -> None:
        latest = latest_of(rows)
        self._sends.forget(latest)
        self.sections.forget(latest)

    def _render(self, rows: list[Placement], started: float, out: NDArray[np.int16] | None) -> RenderedBatch:
        shape = (len(rows), CHUNKS_PER_BLOCK, CHUNK_FRAMES, CHANNELS)
        pcm = np.empty(shape, dtype=np.int16) if out is None else out[: len(rows)]
        result = _Result(pcm, np.empty(len(rows), dtype=np.float32), np.empty(len(rows), dtype=np.float32))
        history = self._render_all(
            rows, lambda some, voices, packed, places: self._finish(some, voices, packed, places, result)
        )
        bad = np.flatnonzero(~np.isfinite(result.mean_square))
        pcm[bad], result.peak[bad], result.mean_square[bad] = 0, 0.0, 0.0
        return RenderedBatch(
            pcm=pcm,
            peak=result.peak,
            rms=np.sqrt(result.mean_square),
            chords=tuple(chords_of(row) for row in rows),
            silenced=tuple(int(index) for index in bad),
            render_s=time.perf_counter() - started,
            partials=sum(row.low_count + row.high_count for row in rows),
            history=history,
        )

    def _render_all(self, rows: list[Placement], finish: _Finish) -> int:
        """Render `rows` in groups; `finish` brings each group's low partials to an end.

        Returns:
            Seconds of reverb send rendered besides, because they were not kept.
        """
        self._sends.touch([(row.stream, row.block - back) for row in rows for back in range(SECONDS_NEEDED)])
        groups = group_rows(rows, most=self.batch_size, threads=self.threads)
        working = [self._pool.submit(self._render_group, rows, group, finish) for group in groups]
        # Wait for all even if one fails: the others still write into a buffer that the caller will use again.
        wait(working)
        rendered = [future.result() for future in working]
        for group in rendered:
            for collect in group.collects:
                collect()
        return sum(group.history for group in rendered)

    def _render_group(self, all_rows: list[Placement], group: list[int], finish: _Finish) -> _RenderedGroup:
        """Render the rows of `group`."""
        # Rows with about as many bright partials lie side by side, those without any behind them.
        group = sorted(group, key=lambda index: -all_rows[index].high_count)
        rows = [all_rows[index] for index in group]
        bright = sum(row.high_count > 0 for row in rows)
        collects: list[Callable[[], None]] = []
        with torch.inference_mode():
            history, spectra = self._missing(rows)
            for i in range(0, len(history), self.batch_size):
                self._voices([self.sections.place(*job) for job in history[i : i + self.batch_size]])
            voices = self._voices(rows)
            for i in range(0, len(spectra), self.batch_size):
                self._sends.store_spectra(spectra[i : i + self.batch_size])
            packed = pack_texture(rows)
            collects += [
                finish(rows[part], voices[part], packed.part(part), group[part])
                for part in (slice(0, bright), slice(bright, len(rows)))
                if rows[part]
            ]
        if not self._readback.waits:
            for collect in collects:
                collect()
            collects = []
        return _RenderedGroup(len(history), collects)

    def _missing(self, rows: list[Placement]) -> tuple[list[Job], list[Key]]:
        """Seconds of send that are neither kept nor rendered with `rows`, and spectra that are not kept."""
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
        """The low partials of `rows`; their reverb sends are stored."""
        voices = self._kernel("low")(*self._points(rows, "low"))[0][: len(rows)]
        self._sends.store([(row.stream, row.block) for row in rows], send_part(voices))
        return voices

    def _bright(self, rows: list[Placement]) -> Tensor:
        """The bright partials of `rows`, which have some, most of them first."""
        parts = [
            self._kernel("high")(*self._points(rows[part], "high"))[0][: len(rows[part])]
            for part in bright_slices([row.high_count for row in rows])
        ]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _finish(
        self, rows: list[Placement], voices: Tensor, packed: PackedTexture, places: list[int], result: _Result
    ) -> Callable[[], None]:
        """Everything after the low partials.

        Args:
            rows: all have bright partials, or none has.
            voices: their low partials.
            packed: their texture and dither.
            places: of the rows in `result`.
            result: where the samples go.

        Returns:
            A call that waits until the samples are on the host and puts them into `result`.
        """
        parts, bright = self._parts(rows, voices, packed)
        finished = self._kernel("finish")(*parts) if bright is None else self._kernel("finish_bright")(*parts, bright)
        arrive = self._readback.start([tensor[: len(rows)] for tensor in finished[:3]])

        def collect() -> None:
            pairs, result.peak[places], result.mean_square[places] = arrive()
            for row, index in enumerate(places):
                interleave(pairs[row], result.pcm[index].reshape(-1).view(np.int32))

        return collect

    def _sum(
        self,
        rows: list[Placement],
        voices: Tensor,
        packed: PackedTexture,
        places: list[int],
        sums: NDArray[np.float32],
    ) -> Callable[[], None]:
        """As `_finish`, but without limiter and rounding, into float32 `sums` [batch, BLOCK_FRAMES, 2]."""
        parts, bright = self._parts(rows, voices, packed)
        low, window, textures, begins, levels, _ = parts
        sound, _ = self._whole.before_level(low, window, textures, begins, levels, bright)
        arrive = self._readback.start([torch.stack(sound, dim=3)[: len(rows)].transpose(1, 2)])

        def collect() -> None:
            sums[places] = arrive()[0].reshape(len(rows), BLOCK_FRAMES, CHANNELS)

        return collect

    def _parts(
        self, rows: list[Placement], voices: Tensor, packed: PackedTexture
    ) -> tuple[tuple[Tensor, ...], Tensor | None]:
        """What the last kernel sums, and the bright partials if there are any."""
        count = len(rows)
        copies = -(-self._least // count) if count < self._least else 1
        slots = [self._sends.slots([(row.stream, row.block - part) for part in range(PARTS)]) for row in rows]
        spectra = self._kernel("wet")(
            self._sends.spectra.view(torch.int64),
            upload_index(slots * copies, self.device),
            self._responses,
            self._to_device(np.tile(packed.preset, copies)),
        )[0]
        textures = (
            self._to_device(np.tile(array, (copies, *(1,) * (array.ndim - 1))))
            for array in (packed.places, packed.levels, packed.dither)
        )
        bright = self._bright(rows) if rows[0].high_count else None
        if copies > 1:
            voices = voices.repeat(copies, 1, 1, 1)
            bright = None if bright is None else bright.repeat(copies, 1, 1, 1)
        return (voices, inverse(spectra), self._textures, *textures), bright

    def _points(self, rows: list[Placement], band: Band) -> Sequence[Tensor]:
        padded = rows if len(rows) >= self._least else rows * self._least
        packed = pack_partials([row.band(band) for row in padded], [row.block for row in padded], least=self._least)
        return self._kernel("expand")(self._to_device(packed.parameters), self._to_device(packed.words), *self._tables)

    @property
    def _least(self) -> int:
        """See `Kernels.least`."""
        return self._kernels.least if self._kernels else 1

    def _kernel(self, name: str) -> Callable[..., Sequence[Tensor]]:
        kernel: Callable[..., Sequence[Tensor]] = getattr(self._kernels, name)
        return kernel

    def _to_device(self, array: NDArray[np.generic]) -> Tensor:
        return upload(array, self.device)


def measured_tables(device: torch.device) -> tuple[Tensor, Tensor]:
    """What `expand` reads of all instruments, on `device`: paths, and amplitudes with phases."""
    store = load_bank()
    return torch.from_numpy(store.paths).to(device), torch.from_numpy(store.measured).to(device)
