"""What a section becomes for a stream: which partials, for how long, in which band."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from services.contract.spec import PRESETS, StreamSpec
from services.contract.timebase import BLOCK_FRAMES
from services.synthesis.dsp.control import Column
from services.synthesis.dsp.grid import INTERVAL_FRAMES, SPLIT_HZ
from services.synthesis.packing.partials import QUIET
from services.synthesis.packing.section import prepare_section
from services.synthesis.packing.section_store import SectionStore
from services.synthesis.score.compose import compose_section
from services.synthesis.score.events import Layer
from services.synthesis.sound.patches import SOUNDS
from tests.synthesis.fakes import Row, score
from tests.synthesis.packing.support import SECTION, SPEC, block_at, store_of


def test_a_decaying_note_ends_with_its_decay_and_not_with_its_key() -> None:
    store = store_of([(1.0, 60.0, 72.0, 0.0, Layer.MELODY)])
    decay_s = SOUNDS["drift"].layers[Layer.MELODY].decay_s
    assert store.place(SPEC, block_at(int(1.0 + 0.7 * decay_s))).low_count > 0
    assert store.place(SPEC, block_at(int(1.0 + decay_s) + 1)).low_count == 0


def test_a_note_is_packed_from_its_onset_until_its_tail_has_ended() -> None:
    store = store_of([(10.5, 2.0, 57.0, 0.0, Layer.PAD)])
    release_s = SOUNDS["drift"].layers[Layer.PAD].release_s
    sounding = [second for second in range(40) if store.place(SPEC, block_at(second)).low_count]
    assert sounding == list(range(10, sounding[-1] + 1))
    # The very end of a tail is lost in the last bit.
    assert int(12.5 + 0.7 * release_s) <= sounding[-1] <= int(12.5 + release_s)


def test_intensity_selects_notes_by_their_threshold() -> None:
    rows: list[Row] = [(1.0, 5.0, 57.0, 0.3, Layer.PAD), (1.0, 5.0, 60.0, 0.8, Layer.PAD)]
    counts = [store_of(rows).place(StreamSpec(intensity_steps=steps), block_at(2)).low_count for steps in (5, 10, 20)]
    assert counts[0] == 0
    assert 0 < counts[1] < counts[2]


def test_what_is_lost_in_the_last_bit_is_not_rendered() -> None:
    rows: list[Row] = [(1.0, 60.0, 72.0, 0.0, Layer.MELODY), (1.0, 20.0, 60.0, 0.0, Layer.PAD)]
    prepared = prepare_section(score(rows)(SPEC, SECTION), SPEC)
    table = prepared.low
    floats = np.ascontiguousarray(table.words[:, : len(Column)]).view(np.float32).astype(np.float64)
    onset = table.words[:, len(Column) + 2].astype(np.float64)
    dropped = 0
    for second in range(1, 40):
        frames = second * BLOCK_FRAMES + np.arange(0, BLOCK_FRAMES, 441)
        age = frames[:, None] - onset
        decay = (1.0 - np.clip(age * floats[:, Column.DECAY_RATE], 0, 1)) ** 4
        decay = floats[:, Column.SUSTAIN] + (1.0 - floats[:, Column.SUSTAIN]) * decay
        fall = (1.0 - np.clip((age - floats[:, Column.HOLD]) * floats[:, Column.RELEASE_RATE], 0, 1)) ** 3
        loudest = np.maximum(floats[:, Column.GAIN_LEFT], floats[:, Column.GAIN_RIGHT]) * (
            1 + floats[:, Column.SWELL_DEPTH]
        )
        level = (np.where(age >= 0, decay * fall, 0.0) * loudest).max(axis=0)
        silent = np.setdiff1d(np.arange(len(onset)), table.sounding(second))
        assert (level[silent] <= QUIET).all()
        dropped += int((level[silent] > 0).sum())
    assert dropped > 0


def test_bands_split_by_frequency_and_only_low_partials_go_to_the_reverb() -> None:
    section = compose_section(StreamSpec(preset="aurora", intensity_steps=20), SECTION)
    prepared = prepare_section(section, StreamSpec(preset="aurora", intensity_steps=20))
    hz = [
        np.ascontiguousarray(table.words[:, len(Column) + 1]).view(np.uint32) / 2.0**32 * 44_100.0
        for table in (prepared.low, prepared.high)
    ]
    assert len(hz[1]) > 0
    assert hz[0].max() < SPLIT_HZ <= hz[1].min()
    send = [
        np.ascontiguousarray(table.words[:, Column.GAIN_SEND]).view(np.float32)
        for table in (prepared.low, prepared.high)
    ]
    assert (send[0] > 0).all()
    assert (send[1] == 0).all()


def test_selection_agrees_with_a_plain_search_over_all_partials() -> None:
    section = compose_section(SPEC, SECTION)
    table = prepare_section(section, SPEC).low
    floats = np.ascontiguousarray(table.words[:, : len(Column)]).view(np.float32).astype(np.float64)
    onset = table.words[:, len(Column) + 2].astype(np.float64)
    ends = onset + floats[:, Column.HOLD] + 1.0 / floats[:, Column.RELEASE_RATE]
    decays = (floats[:, Column.DECAY_RATE] > 0) & (floats[:, Column.SUSTAIN] == 0)
    ends[decays] = np.minimum(ends[decays], onset[decays] + 1.0 / floats[decays, Column.DECAY_RATE])
    for second in (0, 1, 17, 100, 239, 241):
        begin, end = second * BLOCK_FRAMES, (second + 1) * BLOCK_FRAMES
        needed = set(np.flatnonzero((onset < end + INTERVAL_FRAMES) & (ends > begin - INTERVAL_FRAMES)))
        chosen = set(table.sounding(second).tolist())
        # What is left out of them is lost in the last bit from here on.
        for row in needed - chosen:
            assert _level(floats[row], begin - INTERVAL_FRAMES - onset[row]) < 1.01 * QUIET
        # A frame of rounding at either end at most.
        assert all(abs(ends[row] - begin + INTERVAL_FRAMES) < 2 for row in chosen - needed)


def _level(partial: NDArray[np.float64], age: float) -> float:
    """How loud a partial is at most, `age` frames after its onset."""
    gain = max(np.hypot(partial[Column.GAIN_LEFT], partial[Column.GAIN_RIGHT]), partial[Column.GAIN_SEND])
    fall = 1.0 - np.clip((age - partial[Column.HOLD]) * partial[Column.RELEASE_RATE], 0.0, 1.0)
    decay = (1.0 - np.clip(age * partial[Column.DECAY_RATE], 0.0, 1.0)) ** 4
    decay = partial[Column.SUSTAIN] + (1.0 - partial[Column.SUSTAIN]) * decay
    return float(gain * (1.0 + partial[Column.SWELL_DEPTH]) * fall**3 * decay)


@pytest.mark.parametrize("preset", PRESETS)
def test_partials_stay_few_enough_for_a_thousand_streams(preset: str) -> None:
    store = SectionStore(compose_section, max_sections=8)
    spec = StreamSpec(preset=preset)
    counts = [store.place(spec, block_at(second)).low_count for second in range(0, 240, 3)]
    assert 10 < np.mean(counts) < 90
    high = [store.place(spec, block_at(second)).high_count for second in range(0, 240, 3)]
    assert np.mean(high) < 12
