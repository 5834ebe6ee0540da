"""What the renderer reads of the measured tables: words, paths, and the instruments that musicians name."""

from __future__ import annotations

import numpy as np
import torch

from services.synthesis.dsp.control import PATH_POINTS, amplitude_of, turn_of
from services.synthesis.instruments.bank import (
    LATEST_START,
    PATH_STEPS,
    SHORTEST_LEG,
    VARIANTS,
    fade_rate,
    path_through,
    without_decay,
    words_of,
)
from services.synthesis.instruments.files import FOLDER, load, load_bank, names
from services.synthesis.sound.instruments import INSTRUMENTS
from services.synthesis.sound.parts import Part
from services.synthesis.sound.patches import SOUNDS


def test_every_table_is_an_instrument_with_a_sentence_a_range_and_a_source() -> None:
    assert sorted(INSTRUMENTS) == names()
    notice = (FOLDER / "NOTICE").read_text()
    for name, instrument in INSTRUMENTS.items():
        table = load(name)
        assert table.name == name
        assert (instrument.low_midi, instrument.high_midi) <= (table.tones[0].midi, table.tones[-1].midi), name
        assert instrument.what.endswith(".")
        assert instrument.source.split(" by ")[0] in notice
        assert name in notice


def test_every_part_of_every_preset_plays_an_instrument_that_is_there() -> None:
    for preset, sound in SOUNDS.items():
        for layer, parts in sound.layers.items():
            assert parts, f"{preset}: no part plays {layer.name}"
            for part in parts:
                assert not isinstance(part, Part) or part.instrument in INSTRUMENTS


def test_words_hold_amplitudes_to_a_third_of_a_percent_and_phases_to_a_512th_of_a_turn() -> None:
    random = np.random.default_rng(1)
    amplitude, phase = 10.0 ** random.uniform(-5, 6, 10_000), random.uniform(-100, 100, 10_000)
    words = torch.from_numpy(words_of(amplitude, phase))
    assert np.abs(amplitude_of(words).numpy() / amplitude - 1).max() < 0.004
    assert np.abs(turn_of(words).numpy() - phase).max() <= 1 / 512 + 1e-9


def test_a_path_goes_once_through_the_table_and_then_to_and_fro_without_a_jump() -> None:
    for variant in range(VARIANTS):
        path = path_through(140, 455, variant).astype(np.int64)
        assert len(path) == PATH_STEPS == PATH_POINTS + LATEST_START
        assert np.array_equal(path[:455], np.arange(455))
        assert set(np.abs(np.diff(path))) == {1}
        later = path[455:]
        assert later.min() >= 140
        assert later.max() <= 454
        turns = np.flatnonzero(np.diff(np.sign(np.diff(later))))
        assert np.diff(turns).min() >= SHORTEST_LEG
        # No loop: the lengths of the legs do not come back.
        assert len(set(np.diff(turns).tolist())) > 60
    assert not np.array_equal(path_through(140, 455, 0), path_through(140, 455, 1))


def test_what_the_decay_takes_out_the_kernel_puts_back() -> None:
    tone = load("piano").tones[4]
    fade = fade_rate(tone.decay_db_s)
    decay = np.clip(1.0 - np.arange(tone.points)[:, None] * fade, 0, 1) ** 64
    again = without_decay(tone, fade) * decay
    heard = tone.amplitude > 1e-4
    assert np.allclose(again[heard], tone.amplitude[heard], rtol=1e-3)


def test_every_place_that_a_note_can_read_lies_inside_its_own_tone() -> None:
    bank = load_bank()
    assert bank.measured[0] == words_of(np.ones(1), np.zeros(1))[0]
    ends = np.concatenate([tones.entry + tones.points * tones.stride for tones in bank.instruments.values()])
    assert ends.max() == len(bank.measured)
    for tones in bank.instruments.values():
        for path, points in zip(tones.path, tones.points, strict=True):
            steps = bank.paths[path : path + VARIANTS * PATH_STEPS]
            assert len(steps) == VARIANTS * PATH_STEPS
            assert steps.min() >= 0
            assert steps.max() < points
