"""From the score to packed parameters: which partials sound in a second, and everything the kernels must know of them.

A section is worked out once per stream into a table of partials and, for each second, the list of those that sound.
Packing a batch is then a few gathers and a handful of operations over the whole batch.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.contract.spec import StreamSpec
from services.contract.timebase import BLOCK_FRAMES, BLOCKS_PER_SECTION, SAMPLE_RATE_HZ
from services.synthesis.dsp.control import COLUMNS, Col
from services.synthesis.dsp.grid import (
    INTERVAL_FRAMES,
    QUARTER_BLOCK,
    SPLIT_HZ,
    TOP_HZ,
)
from services.synthesis.score.events import Layer, Notes, Section, SectionChord
from services.synthesis.sound.loudness import gain as calibrated_gain
from services.synthesis.sound.patches import PRESET_NAMES, SOUNDS, AirPatch, Patch

_PHASE: Final = COLUMNS
_INCREMENT: Final = COLUMNS + 1
_ONSET: Final = COLUMNS + 2
WIDTH: Final = COLUMNS + 4
"""32-bit words of a partial in a table: the float32 columns, phase, increment, onset, one to spare."""

_LAST_FRAME: Final = 2 * BLOCKS_PER_SECTION * BLOCK_FRAMES - INTERVAL_FRAMES
"""No note sounds past the end of the section after its own."""

QUIET: Final = 2.0**-15
"""One step of 16 bits: a tone of this amplitude is lost in the dither, and 70 dB below the music."""

_ENDS_S: Final = np.array([[0.0, 1.0]])
_GUST_RATIO: Final = 2.618
"""Of a gust's two movements: never in step."""
_HISS_PEAK: Final = 32_767.0 * 6.0**0.5
"""Peak of triangular noise, in 16-bit steps, for an RMS of 1."""

FORGET_S: Final = 30
"""A stream whose last block lies this far behind the newest has no listener any more."""

Compose = Callable[[StreamSpec, int], Section]


@dataclass(frozen=True, slots=True)
class Table:
    """Partials of a section in one frequency band.

    Attributes:
        words: int32 [partials, WIDTH]; the first COLUMNS are float32 by their bits.
        first: int64 [seconds + 1]: where the list of a second begins in `active`.
        active: int32: rows of `words` that sound in second 0, then in second 1 and so on, the next section's
            240 seconds included.
    """

    words: NDArray[np.int32]
    first: NDArray[np.int64]
    active: NDArray[np.int32]

    def sounding(self, second: int) -> NDArray[np.int32]:
        """Rows that sound in `second` (0 to 479), in the order of their onsets."""
        return self.active[self.first[second] : self.first[second + 1]]


@dataclass(frozen=True, slots=True)
class PreparedSection:
    """A section of one stream at its intensity, ready to be packed.

    Attributes:
        low, high: partials below and above the split.
        air: float64 [241]: level of the air at each second, the section's end included.
        seeds: uint32 [3]: of the stream's air and dither.
        chords: as in Section.
        notes_sounding: float: mean number of notes that sound at a time, tails included.
    """

    low: Table
    high: Table
    air: NDArray[np.float64]
    seeds: NDArray[np.uint32]
    chords: tuple[SectionChord, ...]
    notes_sounding: float


Sounding = tuple[Table, NDArray[np.int32], int]
"""A table, its rows that sound in a block, and the block's first frame from the start of the table's section."""


@dataclass(frozen=True, slots=True)
class Placement:
    """What sounds in one block of one stream.

    Attributes:
        stream: id of `spec`, which takes longer to write than to look up.
        section: that the block lies in.
        low, high: partials of either band.
        low_count, high_count: how many they are.
    """

    spec: StreamSpec
    stream: str
    block: int
    section: PreparedSection
    low: tuple[Sounding, ...]
    high: tuple[Sounding, ...]
    low_count: int
    high_count: int


@dataclass(frozen=True, slots=True)
class PackedPartials:
    """Partials of several rows, padded with silence.

    Attributes:
        parameters: float32 [rows, COLUMNS, partials].
        phases: int32 [rows, 2, partials].
    """

    parameters: NDArray[np.float32]
    phases: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class PackedAir:
    """What the air and the dither of several rows need.

    Attributes:
        first_frame: int32 [rows, 1], quarter-rate frame of the block's start, wrapping.
        seeds: int32 [rows, 2].
        level: float32 [rows, 2 channels, 2 ends]: gain at the block's start and end.
        hiss: float32 [rows, 1]: peak of the white noise in 16-bit steps, dither included.
        preset: int64 [rows].
        dither: int32 [rows, 2]: first frame, wrapping, and a seed.
    """

    first_frame: NDArray[np.int32]
    seeds: NDArray[np.int32]
    level: NDArray[np.float32]
    hiss: NDArray[np.float32]
    preset: NDArray[np.int64]
    dither: NDArray[np.int32]


class Packer:
    """Prepared sections of the streams in use, and packing from them. Threads may share it.

    Args:
        compose: the section of a spec by its number.
        max_sections: how many prepared sections are kept at most (130 KB each); the least recently used goes first.
    """

    def __init__(self, compose: Compose, *, max_sections: int = 1024) -> None:
        self._compose = compose
        self._max_sections = max_sections
        self._prepared: OrderedDict[tuple[str, int], PreparedSection] = OrderedDict()
        self._latest: dict[str, int] = {}
        self._forgot_at: int | None = None
        self._lock = Lock()

    def __len__(self) -> int:
        """How many prepared sections are kept."""
        return len(self._prepared)

    def section(self, spec: StreamSpec, number: int) -> PreparedSection:
        """The prepared section `number` of `spec`."""
        return self._section(spec, spec.stream_id, number)

    def _section(self, spec: StreamSpec, stream: str, number: int) -> PreparedSection:
        key = (stream, number)
        with self._lock:
            prepared = self._prepared.get(key)
            if prepared is not None:
                self._prepared.move_to_end(key)
                return prepared
        prepared = prepare_section(self._compose(spec, number), spec)
        with self._lock:
            self._prepared[key] = prepared
            while len(self._prepared) > self._max_sections:
                self._prepared.popitem(last=False)
        return prepared

    def look_ahead(self, spec: StreamSpec, block: int) -> None:
        """Prepare the next section when the stream's own moment for it has come.

        All streams change section in the same second: each prepares at another moment of the section before, so that
        the change costs nothing.
        """
        number, second = divmod(block, BLOCKS_PER_SECTION)
        stream = spec.stream_id
        moment = 20 + _stream_number(stream) % 200
        if second >= moment and (stream, number + 1) not in self._prepared:
            self._section(spec, stream, number + 1)

    def forget(self, rendered: Mapping[str, int]) -> None:
        """Drop what no block to come will need, so that memory follows the streams in use and not those that were.

        Each steered intensity is a stream of its own: without this a day of steering would fill the whole bound.

        Args:
            rendered: the latest block of each stream that has just been rendered.
        """
        if not rendered:
            return
        newest = max(rendered.values())
        with self._lock:
            self._latest.update(rendered)
            # Looking at all streams once a second is enough; batches overlap by a second or a few.
            if self._forgot_at is not None and self._forgot_at - FORGET_S < newest <= self._forgot_at:
                return
            self._forgot_at = newest
            horizon = newest - FORGET_S
            self._latest = {stream: block for stream, block in self._latest.items() if block >= horizon}
            for stream, number in list(self._prepared):
                latest = self._latest.get(stream)
                # The section before still rings in this one.
                if latest is None or number < latest // BLOCKS_PER_SECTION - 1:
                    del self._prepared[stream, number]

    def place(self, spec: StreamSpec, block: int) -> Placement:
        """Find what sounds in `block`: notes of its own section, and what still rings of the section before."""
        number, second = divmod(block, BLOCKS_PER_SECTION)
        stream = spec.stream_id
        section = self._section(spec, stream, number)
        parts = [(section, second)]
        if number:
            parts.insert(0, (self._section(spec, stream, number - 1), second + BLOCKS_PER_SECTION))
        low, high = (_sounding(parts, band) for band in ("low", "high"))
        return Placement(spec, stream, block, section, low, high, _count(low), _count(high))

    def partials(self, rows: Sequence[Placement], band: str, *, least: int = 1) -> PackedPartials:
        """Pack the partials of `rows`; at least `least` wide."""
        return pack_partials([getattr(row, band) for row in rows], [row.block for row in rows], least=least)

    def air(self, rows: Sequence[Placement]) -> PackedAir:
        """Pack the air and dither of `rows`."""
        patches: list[AirPatch] = [SOUNDS[row.spec.preset].air for row in rows]
        seconds = [row.block % BLOCKS_PER_SECTION for row in rows]
        air = np.array([row.section.air[second : second + 2] for row, second in zip(rows, seconds, strict=True)])
        seeds = np.array([row.section.seeds for row in rows])
        words = np.array([(patch.gain, patch.hiss_gain, patch.gust_hz, patch.gust_depth) for patch in patches])
        gain, hiss, rate_hz, depth = words.T[:, :, None]
        hiss = hiss * _HISS_PEAK
        start_s = np.array([[float(row.block)] for row in rows])
        slow = _turn(start_s, rate_hz, seeds[:, 1:2])
        quick = _turn(start_s, _GUST_RATIO * rate_hz, seeds[:, 2:3])
        gust_left = 1.0 + depth * (0.6 * np.sin(slow) + 0.4 * np.sin(quick))
        gust_right = 1.0 + depth * (0.6 * np.cos(slow) + 0.4 * np.sin(quick + 2.0))
        level = np.stack((air * gain * gust_left, air * gain * gust_right), axis=1)
        first = np.array([[row.block * QUARTER_BLOCK % 2**32] for row in rows], dtype=np.uint32)
        dither = np.array([row.block * BLOCK_FRAMES % 2**32 for row in rows], dtype=np.uint32)
        return PackedAir(
            first_frame=first.view(np.int32),
            seeds=seeds[:, :2].copy().view(np.int32),
            level=level.astype(np.float32),
            hiss=(1.0 + air.mean(axis=1, keepdims=True) * hiss).astype(np.float32),
            preset=np.array([PRESET_NAMES.index(row.spec.preset) for row in rows], dtype=np.int64),
            dither=np.stack((dither, seeds[:, 2]), axis=1).view(np.int32),
        )


def pack_partials(rows: Sequence[Sequence[Sounding]], blocks: Sequence[int], *, least: int = 1) -> PackedPartials:
    """Pack rows of partials, padded to the longest row.

    Args:
        rows: for each row what sounds in it.
        blocks: the block of each row.
        least: partials of a row at least.
    """
    width = max(least, max((sum(len(part[1]) for part in parts) for parts in rows), default=0))
    words = np.zeros((len(rows), width, WIDTH), dtype=np.int32)
    starts = np.zeros((len(rows), width), dtype=np.int32)
    for row, parts in enumerate(rows):
        end = 0
        for table, active, start_frame in parts:
            begin, end = end, end + len(active)
            table.words.take(active, axis=0, out=words[row, begin:end], mode="clip")
            starts[row, begin:end] = start_frame
    frames = np.array([block * BLOCK_FRAMES % 2**32 for block in blocks], dtype=np.uint32)[:, None]
    parameters = np.empty((len(rows), COLUMNS, width), dtype=np.float32)
    parameters[...] = words[:, :, :COLUMNS].view(np.float32).transpose(0, 2, 1)
    # Whole frames up to 2**24 are exact in float32.
    parameters[:, Col.ONSET] = words[:, :, _ONSET] - starts
    increments = words[:, :, _INCREMENT]
    phases = np.empty((len(rows), 2, width), dtype=np.int32)
    phases[:, 0] = (words[:, :, _PHASE].view(np.uint32) + increments.view(np.uint32) * frames).view(np.int32)
    phases[:, 1] = increments
    return PackedPartials(parameters, phases)


def prepare_section(section: Section, spec: StreamSpec) -> PreparedSection:
    """Work a section out for `spec`'s intensity: every note becomes partials with all their parameters."""
    notes = section.notes
    sound = SOUNDS[spec.preset]
    master = calibrated_gain(spec.preset, spec.intensity)
    words: list[NDArray[np.int32]] = []
    ends: list[NDArray[np.int64]] = []
    hz: list[NDArray[np.float64]] = []
    notes_s = 0.0
    for layer in Layer:
        chosen = np.flatnonzero((notes.layer == layer) & (notes.threshold <= spec.intensity))
        if not len(chosen):
            continue
        layer_words, layer_ends, layer_hz, layer_notes_s = _partials(
            notes, chosen, sound.layers[layer], spec.intensity, master * 10.0 ** (sound.mix_db[layer] / 20.0)
        )
        words.append(layer_words)
        ends.append(layer_ends)
        hz.append(layer_hz)
        notes_s += layer_notes_s
    if words:
        all_words, all_ends, all_hz = np.concatenate(words), np.concatenate(ends), np.concatenate(hz)
    else:
        all_words, all_ends, all_hz = np.zeros((0, WIDTH), np.int32), np.zeros(0, np.int64), np.zeros(0)
    order = np.argsort(all_words[:, _ONSET], kind="stable")
    all_words, all_ends, all_hz = all_words[order], all_ends[order], all_hz[order]
    below = all_hz < SPLIT_HZ
    above = (all_hz >= SPLIT_HZ) & (all_hz < TOP_HZ)
    return PreparedSection(
        low=_table(all_words[below], all_ends[below]),
        high=_table(all_words[above], all_ends[above]),
        air=np.interp(np.arange(BLOCKS_PER_SECTION + 1), section.air_s, section.air_level),
        seeds=np.array(_stream_seeds(spec), dtype=np.uint32),
        chords=section.chords,
        notes_sounding=notes_s / BLOCKS_PER_SECTION,
    )


def _partials(
    notes: Notes, chosen: NDArray[np.intp], patch: Patch, intensity: float, master: float
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.float64], float]:
    """Words [partials, WIDTH], last frames and frequencies of the partials of one layer; note-seconds besides."""
    ratio, level, cents, pan_offset = _tone(patch)
    count, width = len(chosen), len(ratio)
    octaves = np.log2(np.maximum(ratio, 1.0))
    above_first = np.maximum(ratio, 1.0) - 1.0
    seed = notes.seed[chosen][:, None]
    chance = [_chance(seed, np.arange(width, dtype=np.uint32)[None, :] + np.uint32(64 * i)) for i in range(6)]
    note_chance = _chance(seed, np.uint32(999))

    jitter = patch.jitter_cents * (2.0 * note_chance - 1.0)
    note_hz = 440.0 * 2.0 ** ((notes.pitch_midi[chosen][:, None] - 69.0) / 12.0)
    hz = note_hz * ratio * 2.0 ** ((cents + jitter) / 1200.0)

    bright = np.clip(0.6 * notes.brightness[chosen].astype(np.float64) + 0.7 * intensity, 0.0, 1.0)[:, None]
    rise = 10.0 ** (patch.rise_db * (intensity - 0.5) / 20.0)
    loud = notes.gain[chosen].astype(np.float64)[:, None] * level * master * rise
    loud = loud * 10.0 ** (-patch.dull_db * octaves * (1.0 - bright) / 20.0)

    side = np.where(np.arange(width) % 2 == 0, 1.0, -1.0) * (2.0 * chance[0] - 0.5)
    pan = notes.pan[chosen].astype(np.float64)[:, None] + pan_offset + patch.width * side * np.minimum(above_first, 1.0)
    # Low tones stay in the middle, where every loudspeaker can carry them.
    pan = np.clip(pan, -1.0, 1.0) * np.clip((hz - 70.0) / 180.0, 0.1, 1.0)
    angle = (pan + 1.0) * (np.pi / 4.0)

    onset = np.maximum(np.rint(notes.onset_s[chosen] * SAMPLE_RATE_HZ), INTERVAL_FRAMES).astype(np.int64)
    hold = np.rint(notes.duration_s[chosen] * SAMPLE_RATE_HZ).astype(np.int64)
    release = round(patch.release_s * SAMPLE_RATE_HZ)
    attack_s = patch.attack_s * (1.0 + patch.attack_bloom * above_first) * (1.25 - 0.5 * intensity)
    # A note shorter than its attack would never be heard: it takes half its length at most.
    attack_s = np.minimum(attack_s, np.maximum(0.5 * notes.duration_s[chosen][:, None], 0.006))
    last = np.broadcast_to((onset + hold + release)[:, None], (count, width))
    decay_rate = np.zeros(width)
    if patch.decay_s > 0.0:
        decay_rate = (1.0 + patch.damping * above_first) / (patch.decay_s * SAMPLE_RATE_HZ)
        if patch.sustain == 0.0:
            last = np.minimum(last, onset[:, None] + np.ceil(1.0 / decay_rate).astype(np.int64))
    # What is left of a tone in the noise of the last bit is not worth its sines: that is about one partial in thirty.
    peak = loud * (1.0 + patch.swell_depth) * max(1.0, 10.0 ** (patch.send_db / 20.0))
    left = np.minimum(QUIET / np.maximum(peak, QUIET), 1.0)
    last = np.minimum(last, (onset + hold)[:, None] + np.ceil(release * (1.0 - left ** (1.0 / 3.0))).astype(np.int64))
    if patch.decay_s > 0.0 and patch.sustain == 0.0:
        last = np.minimum(last, onset[:, None] + np.ceil((1.0 - left**0.25) / decay_rate).astype(np.int64))
    last = np.minimum(last, _LAST_FRAME)

    vibrato_hz = patch.vibrato_hz * (0.85 + 0.3 * note_chance)
    vibrato = hz * (2.0 ** (patch.vibrato_cents / 1200.0) - 1.0) / (2.0 * np.pi * vibrato_hz)
    swell_phase = chance[2]
    values: dict[Col, NDArray[np.float64] | float] = {
        Col.ATTACK_RATE: 1.0 / (attack_s * SAMPLE_RATE_HZ),
        Col.DECAY_RATE: decay_rate,
        Col.SUSTAIN: patch.sustain,
        Col.HOLD: hold[:, None].astype(np.float64),
        Col.RELEASE_RATE: 1.0 / release,
        Col.GAIN_LEFT: loud * np.cos(angle),
        Col.GAIN_RIGHT: loud * np.sin(angle),
        Col.GAIN_SEND: np.where(hz < SPLIT_HZ, loud * 10.0 ** (patch.send_db / 20.0), 0.0),
        Col.SWELL_DEPTH: patch.swell_depth * np.minimum(0.5 + 0.35 * above_first, 1.0),
        Col.SWELL_RATE: patch.swell_hz * (0.75 + 0.5 * chance[1]) / SAMPLE_RATE_HZ,
        Col.SWELL_PHASE_LEFT: swell_phase,
        Col.SWELL_PHASE_RIGHT: swell_phase + 0.15 + 0.2 * chance[3],
        Col.VIBRATO_DEPTH: vibrato,
        Col.VIBRATO_RATE: vibrato_hz / SAMPLE_RATE_HZ,
        Col.VIBRATO_PHASE: note_chance,
    }
    words = np.zeros((count, width, WIDTH), dtype=np.int32)
    floats = words[:, :, :COLUMNS].view(np.float32)
    for column, value in values.items():
        floats[:, :, column] = value
    words[:, :, _PHASE] = _bits(chance[4] * 2.0**32)
    words[:, :, _INCREMENT] = _bits(np.rint(hz * (2.0**32 / SAMPLE_RATE_HZ)))
    words[:, :, _ONSET] = onset[:, None]
    audible = (peak > QUIET).reshape(-1)
    notes_s = float(np.sum(np.max(last, axis=1) - onset)) / SAMPLE_RATE_HZ
    return (
        words.reshape(-1, WIDTH)[audible],
        last.reshape(-1)[audible],
        np.broadcast_to(hz, (count, width)).reshape(-1)[audible],
        notes_s,
    )


def _tone(patch: Patch) -> tuple[NDArray[np.float64], ...]:
    """Ratio, linear level, cents and pan of each partial of a patch, its copies included."""
    rows = []
    for index, (ratio, level_db) in enumerate(patch.harmonics):
        level = 10.0 ** ((level_db + patch.level_db) / 20.0)
        if index < patch.copy_harmonics and len(patch.copies) > 1:
            rows += [(ratio, level * copy.level, copy.cents, copy.pan) for copy in patch.copies]
        else:
            # Partials without copies keep to the copies' mean tuning.
            rows.append((ratio, level, 0.0, 0.0))
    columns = np.array(rows, dtype=np.float64).T
    return tuple(columns)


def _table(words: NDArray[np.int32], ends: NDArray[np.int64]) -> Table:
    """The table of `words`, with the lists of what sounds in each second."""
    seconds = 2 * BLOCKS_PER_SECTION
    onset = words[:, _ONSET].astype(np.int64)
    # A block reads one control interval before and after itself.
    begin = np.maximum((onset - INTERVAL_FRAMES) // BLOCK_FRAMES, 0)
    end = np.minimum(-((-ends - INTERVAL_FRAMES) // BLOCK_FRAMES), seconds)
    lengths = np.maximum(end - begin, 0)
    rows = np.repeat(np.arange(len(words)), lengths)
    offsets = np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    second = np.repeat(begin, lengths) + offsets
    order = np.argsort(second, kind="stable")
    first = np.searchsorted(second[order], np.arange(seconds + 1))
    return Table(np.ascontiguousarray(words), first.astype(np.int64), rows[order].astype(np.int32))


def _sounding(parts: Sequence[tuple[PreparedSection, int]], band: str) -> tuple[Sounding, ...]:
    found: list[Sounding] = []
    for prepared, second in parts:
        table: Table = getattr(prepared, band)
        rows = table.sounding(second)
        if len(rows):
            found.append((table, rows, second * BLOCK_FRAMES))
    return tuple(found)


def _count(sounding: Sequence[Sounding]) -> int:
    return sum(len(rows) for _, rows, _ in sounding)


def _turn(start_s: NDArray[np.float64], rate_hz: NDArray[np.float64], seed: NDArray[np.uint32]) -> NDArray[np.float64]:
    """Phase in radians of a slow movement at both ends of blocks that begin at `start_s` (since the epoch)."""
    return 2.0 * np.pi * ((start_s * rate_hz + seed * 2.0**-32) % 1.0 + _ENDS_S * rate_hz)


def _bits(values: NDArray[np.float64]) -> NDArray[np.int32]:
    return (values.astype(np.uint64) & np.uint64(0xFFFFFFFF)).astype(np.uint32).view(np.int32)


def _chance(seed: NDArray[np.uint32], index: NDArray[np.uint32] | np.uint32) -> NDArray[np.float64]:
    """A number in [0, 1) for each (seed, index)."""
    x = seed ^ (np.asarray(index, dtype=np.uint32) * np.uint32(0x9E3779B1))
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D)
    x = (x ^ (x >> np.uint32(15))) * np.uint32(0x846CA68B)
    return np.asarray((x ^ (x >> np.uint32(16))) * 2.0**-32, dtype=np.float64)


def _stream_seeds(spec: StreamSpec) -> tuple[int, int, int]:
    """Three 32-bit seeds for a stream's air; the intensity is not in them, so that steering it keeps the noise."""
    text = f"{spec.key}-{spec.mode}-{spec.preset}-{spec.seed}"
    digest = hashlib.sha256(text.encode()).digest()
    return tuple(int.from_bytes(digest[i : i + 4], "little") for i in (0, 4, 8))  # type: ignore[return-value]  # three


def _stream_number(stream: str) -> int:
    return int.from_bytes(hashlib.sha256(stream.encode()).digest()[:4], "little")
