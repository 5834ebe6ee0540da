"""Peers of Auralis' renderer at the same work: plain numpy, a batch of torch voices, Csound."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from services.contract.spec import StreamSpec
from services.contract.timebase import BLOCK_FRAMES, BLOCKS_PER_SECTION, SAMPLE_RATE_HZ
from services.synthesis.dsp.control import PATH_POINTS, TURN, Column, Word
from services.synthesis.dsp.grid import INTERVAL_FRAMES, INTERVALS, QUARTER, QUARTER_BLOCK
from services.synthesis.dsp.reverb import PARTS
from services.synthesis.instruments.bank import Bank
from services.synthesis.instruments.files import load_bank
from services.synthesis.packing.pack import pack_partials, pack_texture
from services.synthesis.packing.placement import BANDS, Placement
from services.synthesis.packing.section_store import SectionStore
from services.synthesis.score.compose import compose_section
from services.synthesis.sound.patches import SOUNDS
from services.synthesis.sound.room import impulse_response

_SECONDS = 4.0
"""Length of a torchsynth voice."""


@dataclass(frozen=True)
class Peer:
    """What a peer renders on this machine.

    Attributes:
        name: what it is.
        streams_in_real_time: seconds of music per second of one core; None if it does not render our music.
        voice_samples_per_s: samples of single sine partials per second of one core.
        remark: what was run, or why it could not be.
    """

    name: str
    streams_in_real_time: float | None
    voice_samples_per_s: float | None
    remark: str


def numpy_render(specs: list[StreamSpec], start: int, blocks: int) -> Peer:
    """The same score with the same envelopes, partials, room, texture and dither, as one would write it in numpy."""
    bank = load_bank()
    store = SectionStore(compose_section, bank, max_sections=4 * len(specs))
    rooms = {spec.preset: _room(spec.preset) for spec in specs}
    partials = 0
    for spec in specs:
        store.place(spec, start)
    began = time.process_time()
    for spec in specs:
        kept = np.zeros((PARTS * QUARTER_BLOCK,))
        random = np.random.default_rng(spec.seed)
        for block in range(start, start + blocks):
            placed = store.place(spec, block)
            partials += placed.low_count + placed.high_count
            kept = _numpy_block(bank, placed, rooms[spec.preset], kept, random)
    spent = time.process_time() - began
    seconds = len(specs) * blocks
    return Peer(
        "numpy, same score",
        seconds / spent,
        partials * BLOCK_FRAMES / spent,
        f"{len(specs)} streams, {blocks} s each, float64",
    )


def _room(preset: str) -> NDArray[np.complex128]:
    return np.fft.rfft(impulse_response(SOUNDS[preset].room), n=2 * PARTS * QUARTER_BLOCK)


def _measured(bank: Bank, words: NDArray[np.int32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Amplitudes and phases of a partial that its table has at the control points of a block."""
    age = np.clip(np.arange(INTERVALS + 1) + words[Word.AGE], 0, PATH_POINTS - 1)
    number = bank.measured[words[Word.ENTRY] + bank.paths[words[Word.PATH] + age] * words[Word.STRIDE]]
    amplitude = np.ascontiguousarray(number & -65_536).view(np.float32)
    return amplitude.astype(np.float64), ((number << 16) >> 16) * TURN


def _numpy_block(
    bank: Bank,
    placed: Placement,
    room: NDArray[np.complex128],
    kept: NDArray[np.float64],
    random: np.random.Generator,
) -> NDArray[np.float64]:
    """Render one second (and drop it); returns the last seconds of send."""
    frames = np.arange(BLOCK_FRAMES)
    points = np.arange(INTERVALS + 1) * INTERVAL_FRAMES
    sound = np.zeros((2, BLOCK_FRAMES))
    send = np.zeros(BLOCK_FRAMES)
    for band in BANDS:
        packed = pack_partials([placed.band(band)], [placed.block])
        for row, words in zip(packed.parameters[0].T.astype(np.float64), packed.words[0].T, strict=True):
            amplitude, turn = _measured(bank, words)
            age = points - row[Column.ONSET]
            rise = np.clip(age * row[Column.ATTACK_RATE], 0.0, 1.0)
            decay = (1.0 - np.clip(age * row[Column.DECAY_RATE], 0.0, 1.0)) ** 4
            fall = (1.0 - np.clip((age - row[Column.HOLD]) * row[Column.RELEASE_RATE], 0.0, 1.0)) ** 3
            envelope = rise**2 * (3.0 - 2.0 * rise) * (row[Column.SUSTAIN] + (1.0 - row[Column.SUSTAIN]) * decay) * fall
            envelope *= amplitude * np.clip(1.0 - age * row[Column.FADE_RATE], 0.0, 1.0) ** 64
            swell = 2.0 * np.pi * age * row[Column.SWELL_RATE]
            vibrato = np.cos(2.0 * np.pi * age * row[Column.VIBRATO_RATE])
            moving = np.interp(frames, points, row[Column.VIBRATO_DEPTH] * vibrato + turn)
            start, step = words[Word.PHASE] * 2.0**-32, words[Word.INCREMENT] * 2.0**-32 % 1.0
            turns = start + step * frames + moving
            wave = np.cos(2.0 * np.pi * turns)
            for channel, gain in enumerate((Column.GAIN_LEFT, Column.GAIN_RIGHT)):
                moving = envelope * (1.0 + row[Column.SWELL_DEPTH] * np.cos(swell + channel)) * row[gain]
                sound[channel] += wave * np.interp(frames, points, moving)
            send += wave * np.interp(frames, points, envelope * row[Column.GAIN_SEND])
    kept = np.concatenate((kept[QUARTER_BLOCK:], send[::QUARTER]))
    wet = np.fft.irfft(np.fft.rfft(kept, n=2 * len(kept)) * room)[:, len(kept) - QUARTER_BLOCK : len(kept)]
    texture = [np.convolve(random.uniform(-1.0, 1.0, QUARTER_BLOCK), np.hanning(32), "same") for _ in range(2)]
    level = pack_texture([placed]).levels[0].mean()
    slow = np.arange(QUARTER_BLOCK) * QUARTER
    for channel in range(2):
        sound[channel] += np.interp(frames, slow, wet[channel] + texture[channel] * level)
    limited = np.tanh(sound) + random.uniform(-1.0, 1.0, sound.shape) / 32_768.0
    np.rint(limited * 32_767.0).astype(np.int16)
    return kept


def torch_voices(voices: int = 64) -> Peer:
    """A batch of voices as torchsynth makes them: whole signals of 4 s, a tensor operation at a time, one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        frames = int(_SECONDS * SAMPLE_RATE_HZ)
        time_s = torch.arange(frames) / SAMPLE_RATE_HZ
        hz = torch.rand(voices, 1) * 1_000.0 + 50.0

        def render() -> torch.Tensor:
            control = torch.arange(0, frames, INTERVAL_FRAMES) / SAMPLE_RATE_HZ
            envelope = (control / 0.3).clamp(0.0, 1.0) * torch.exp(-control / 2.0)
            lfo = torch.sin(2.0 * torch.pi * 4.0 * control)
            bend = torch.nn.functional.interpolate(lfo[None, None], size=frames, mode="linear")[0]
            gain = torch.nn.functional.interpolate(envelope[None, None], size=frames, mode="linear")[0]
            phase = torch.cumsum(2.0 * torch.pi * hz * (1.0 + 0.002 * bend) / SAMPLE_RATE_HZ, dim=1)
            return torch.sin(phase) * gain

        render()
        began, rounds = time.process_time(), 3
        for _ in range(rounds):
            render()
        spent = time.process_time() - began
        return Peer(
            "torch, torchsynth's way",
            None,
            rounds * voices * len(time_s) / spent,
            f"{voices} voices of {_SECONDS:g} s: control signals, cumulative phase, sine, envelope",
        )
    finally:
        torch.set_num_threads(threads)


_ORCHESTRA = """
sr = 44100
ksmps = 252
nchnls = 2
0dbfs = 1
gasend init 0
instr 1
  kenv linseg 0, p7, 1, p3 - p7 - p8, 1, p8, 0
  kvib oscil p4 * 0.001, 4
  asig poscil kenv, p4 + kvib
  outs asig * p5, asig * p6
  gasend = gasend + asig * p9
endin
instr 99
  aleft, aright reverbsc gasend, gasend, 0.85, 6000
  anoise rand 0.002
  aair butterbp anoise, 2000, 1500
  outs aleft + aair, aright + aair
  gasend = 0
endin
"""


def csound(spec: StreamSpec, start: int, seconds: int) -> Peer:
    """Csound with an oscillator, envelope and vibrato for each of the same partials, a reverb and filtered noise."""
    name = "Csound, same partials"
    binary = shutil.which("csound")
    if binary is None:
        return Peer(name, None, None, "not here: install it from your distribution (csound)")
    score, samples = _csound_score(spec, start, seconds)
    with tempfile.TemporaryDirectory() as folder:
        orchestra, notes = Path(folder) / "auralis.orc", Path(folder) / "auralis.sco"
        orchestra.write_text(_ORCHESTRA, encoding="ascii")
        notes.write_text(score, encoding="ascii")

        def run(sco: Path) -> float:
            began = _children_s()
            subprocess.run(  # noqa: S603 - the program named above, on files made here
                [binary, "-n", "-d", "-m0", "--logfile=/dev/null", str(orchestra), str(sco)],
                check=True,
                capture_output=True,
                timeout=300,
            )
            return _children_s() - began

        spent = run(notes)
        empty = Path(folder) / "empty.sco"
        empty.write_text("i99 0 0.01\ne\n", encoding="ascii")
        spent -= run(empty)
    return Peer(name, seconds / spent, samples / spent, f"one stream, {seconds} s, one thread, nothing written")


def _csound_score(spec: StreamSpec, start: int, seconds: int) -> tuple[str, float]:
    """Each partial that sounds as a note of its own, and how many samples of partials that makes."""
    store = SectionStore(compose_section, load_bank(), max_sections=4)
    section = store.section(spec, start // BLOCKS_PER_SECTION)
    begin = start % BLOCKS_PER_SECTION
    lines = [f"i99 0 {seconds}"]
    samples = 0.0
    for table in (section.low, section.high):
        chosen = np.unique(np.concatenate([table.sounding(second) for second in range(begin, begin + seconds)]))
        words = np.ascontiguousarray(table.words[chosen])
        values = words[:, : len(Column)].view(np.float32).astype(np.float64)
        hz = words[:, len(Column) + 1].view(np.uint32) * (SAMPLE_RATE_HZ / 2.0**32)
        onset_s = words[:, len(Column) + 2] / SAMPLE_RATE_HZ - begin
        for row, pitch_hz, onset in zip(values, hz, onset_s, strict=True):
            release_s = min(1.0 / (row[Column.RELEASE_RATE] * SAMPLE_RATE_HZ), 3.0)
            end_s = onset + row[Column.HOLD] / SAMPLE_RATE_HZ + release_s
            if row[Column.DECAY_RATE] > 0.0 and row[Column.SUSTAIN] == 0.0:
                end_s = min(end_s, onset + 1.0 / (row[Column.DECAY_RATE] * SAMPLE_RATE_HZ))
            first, last = max(onset, 0.0), min(end_s, float(seconds))
            if last - first < 0.05:
                continue
            attack_s = min(1.0 / (row[Column.ATTACK_RATE] * SAMPLE_RATE_HZ), 0.4 * (last - first))
            fade_s = min(release_s, 0.4 * (last - first))
            samples += (last - first) * SAMPLE_RATE_HZ
            lines.append(
                f"i1 {first:.4f} {last - first:.4f} {pitch_hz:.3f}"
                f" {row[Column.GAIN_LEFT]:.6f} {row[Column.GAIN_RIGHT]:.6f}"
                f" {attack_s:.4f} {fade_s:.4f} {row[Column.GAIN_SEND]:.6f}"
            )
    return "\n".join([*lines, "e", ""]), samples


def _children_s() -> float:
    import resource  # noqa: PLC0415 - not on every system; the other peers need none of it

    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def all_peers(start: int) -> list[Peer]:
    """Every peer on this machine; each costs a few seconds."""
    specs = [StreamSpec(preset=preset, seed=index) for index, preset in enumerate(SOUNDS)]
    runs: tuple[Callable[[], Peer], ...] = (
        lambda: numpy_render(specs, start, 2),
        torch_voices,
        lambda: csound(specs[0], start, 30),
    )
    return [run() for run in runs]
