"""Measuring: partials of sounds that are known, in place of recordings."""

from __future__ import annotations

import numpy as np
import pytest

from scripts.instruments.catalogue import RECIPES, Recipe
from scripts.instruments.heterodyne import EARLY_POINTS, POINT_FRAMES, measure, nominal_hz, partials_hz, resynthesis
from scripts.instruments.recording import HELD_S, LEAD_S, NOTE_S, RATE_HZ, midi_file
from scripts.instruments.writing import table
from services.synthesis.instruments.table import decode

PITCH = 57


def _note(pitch: int = PITCH, level: float = 0.3) -> np.ndarray:
    """Five harmonics, each with a tremolo of its own, held as recordings are."""
    time_s = np.arange(round(NOTE_S * RATE_HZ)) / RATE_HZ - LEAD_S
    envelope = np.clip(time_s / 0.05, 0, 1) * np.clip((LEAD_S + HELD_S - time_s) / 0.5, 0, 1)
    hz = nominal_hz(pitch)
    harmonics = [
        (1 + 0.3 * np.sin(2 * np.pi * (3 + k) * time_s)) * np.cos(2 * np.pi * k * hz * time_s + k) / k
        for k in range(1, 6)
    ]
    return level * envelope * np.sum(harmonics, axis=0)


def test_a_resynthesis_is_the_recording_to_minus_thirty_decibels() -> None:
    sound = _note()
    points = 400
    note = measure(sound, partials_hz(sound, PITCH, sustained=True, rows=5), points, slice(140, points))
    frames = (points - 1) * POINT_FRAMES
    begin = (round(LEAD_S * RATE_HZ / POINT_FRAMES) - EARLY_POINTS) * POINT_FRAMES
    difference = sound[begin : begin + frames] - resynthesis(note, frames)
    assert (difference**2).sum() < 1e-3 * (sound[begin : begin + frames] ** 2).sum()
    assert note.hz / nominal_hz(PITCH) == pytest.approx([1, 2, 3, 4, 5], abs=1e-3)


def test_partials_of_what_is_struck_are_the_peaks_of_its_spectrum() -> None:
    time_s = np.arange(round(NOTE_S * RATE_HZ)) / RATE_HZ - LEAD_S
    hz = nominal_hz(PITCH)
    sound = sum(np.cos(2 * np.pi * ratio * hz * time_s) for ratio in (1.0, 2.76, 5.4)) * (time_s > 0) * np.exp(-time_s)
    found = partials_hz(np.asarray(sound), PITCH, sustained=False, rows=3)
    assert found / hz == pytest.approx([1.0, 2.76, 5.4], rel=2e-3)


def test_a_table_holds_the_level_and_how_a_soft_note_differs() -> None:
    recipe = Recipe("test", (), sustained=True, rows=5)
    tone = decode(table(recipe, {PITCH: _note()}, {PITCH: _note(level=0.1)})).tones[0]
    steady = np.sqrt((tone.amplitude[tone.loop :].astype(np.float64) ** 2).mean(axis=0))
    assert steady / steady[0] == pytest.approx([1, 1 / 2, 1 / 3, 1 / 4, 1 / 5], rel=0.03)
    assert np.abs(tone.soft_db).max() < 0.2
    assert (tone.decay_db_s == 0).all()


def test_a_midi_file_plays_every_pitch_once() -> None:
    source = RECIPES[0].sources[0]
    data = midi_file(source, 96)
    assert data[:4] == b"MThd"
    assert [data.count(bytes((0x90, pitch, 96))) for pitch in source.pitches] == [1] * len(source.pitches)
    assert int.from_bytes(data[18:22], "big") == len(data) - 22
