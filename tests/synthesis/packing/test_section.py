"""What a section becomes for a stream: which partials, for how long, in which band."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from services.contract.spec import PRESETS, StreamSpec
from services.contract.timebase import BLOCK_FRAMES
from services.synthesis.dsp.control import COLUMNS, Column
from services.synthesis.dsp.grid import INTERVAL_FRAMES, SPLIT_HZ
from services.synthesis.instruments.files import load_bank
from services.synthesis.packing.partials import QUIET
from services.synthesis.packing.section import prepare_section
from services.synthesis.packing.section_store import SectionStore
from services.synthesis.packing.table import ENTRY, ONSET, PATH, STRIDE, Table
from services.synthesis.score.compose import compose_section
from services.synthesis.score.events import Layer
from services.synthesis.sound.patches import SOUNDS
from tests.synthesis.fakes import Row
from tests.synthesis.packing.support import SECTION, SPEC, block_at, store_of


def test_a_note_that_is_struck_ends_with_its_decay_and_not_with_its_key() -> None:
    store = store_of([(1.0, 60.0, 72.0, 0.0, Layer.SHIMMER)])
    counts = [store.place(SPEC, block_at(second)).low_count for second in range(1, 20)]
    assert counts[0] > 2
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] == 0


def test_a_note_is_packed_from_its_onset_until_its_tail_has_ended() -> None:
    store = store_of([(10.5, 2.0, 57.0, 0.0, Layer.PAD)])
    release_s = max(part.release_s for part in SOUNDS["drift"].layers[Layer.PAD])
    sounding = [second for second in range(40) if store.place(SPEC, block_at(second)).low_count]
    assert sounding == list(range(10, sounding[-1] + 1))
    # The very end of a tail is lost in the last bit.
    assert int(12.5 + 0.6 * release_s) <= sounding[-1] <= int(12.5 + release_s)


def test_intensity_selects_notes_by_their_threshold() -> None:
    rows: list[Row] = [(1.0, 5.0, 57.0, 0.3, Layer.PAD), (1.0, 5.0, 60.0, 0.8, Layer.PAD)]
    counts = [store_of(rows).place(StreamSpec(intensity_steps=steps), block_at(2)).low_count for steps in (5, 10, 20)]
    assert counts[0] == 0
    assert 0 < counts[1] < counts[2]


def _levels(table: Table, frame: int) -> NDArray[np.float64]:
    """How loud each partial of a table is `frame` frames after the section's start, by what the kernels read."""
    bank, words = load_bank(), table.words.astype(np.int64)
    floats = np.ascontiguousarray(table.words[:, :COLUMNS]).view(np.float32).astype(np.float64)
    age = frame - words[:, ONSET]
    # A note that is over may point past the last path.
    points = bank.paths[np.minimum(words[:, PATH] + np.maximum(age, 0) // INTERVAL_FRAMES, len(bank.paths) - 1)]
    entry = np.minimum(words[:, ENTRY] + points * words[:, STRIDE], len(bank.measured) - 1)
    amplitude = (bank.measured[entry] & -65_536).view(np.float32)
    fade = (1.0 - np.clip(age * floats[:, Column.FADE_RATE], 0.0, 1.0)) ** 64
    decay = (1.0 - np.clip(age * floats[:, Column.DECAY_RATE], 0.0, 1.0)) ** 4
    decay = floats[:, Column.SUSTAIN] + (1.0 - floats[:, Column.SUSTAIN]) * decay
    fall = (1.0 - np.clip((age - floats[:, Column.HOLD]) * floats[:, Column.RELEASE_RATE], 0.0, 1.0)) ** 3
    gain = np.maximum(np.hypot(floats[:, Column.GAIN_LEFT], floats[:, Column.GAIN_RIGHT]), floats[:, Column.GAIN_SEND])
    return np.where(age >= 0, gain * amplitude * fade * decay * fall, 0.0)


@pytest.mark.parametrize("preset", PRESETS)
def test_partials_are_left_out_when_they_are_too_quiet_to_be_heard_and_not_before(preset: str) -> None:
    spec = StreamSpec(preset=preset, intensity_steps=18)
    prepared = prepare_section(compose_section(spec, SECTION), spec, load_bank())
    dropped = 0
    for table in (prepared.low, prepared.high):
        for second in range(1, 240, 3):
            left_out = np.setdiff1d(table.sounding(second - 1), table.sounding(second))
            dropped += len(left_out)
            for after_s in (0.0, 0.3, 1.1, 2.7):
                level = _levels(table, round((second + after_s) * BLOCK_FRAMES))
                # Two control points are joined by a line.
                assert (level[left_out] <= 1.5 * QUIET).all()
    assert dropped > 100


def test_bands_split_by_frequency_and_only_low_partials_go_to_the_reverb() -> None:
    section = compose_section(StreamSpec(preset="aurora", intensity_steps=20), SECTION)
    prepared = prepare_section(section, StreamSpec(preset="aurora", intensity_steps=20), load_bank())
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
    table = prepare_section(section, SPEC, load_bank()).low
    floats = np.ascontiguousarray(table.words[:, : len(Column)]).view(np.float32).astype(np.float64)
    onset = table.words[:, len(Column) + 2].astype(np.float64)
    ends = onset + floats[:, Column.HOLD] + 1.0 / floats[:, Column.RELEASE_RATE]
    found = 0
    for second in (0, 1, 17, 100, 239, 241):
        begin, end = second * BLOCK_FRAMES, (second + 1) * BLOCK_FRAMES
        needed = set(np.flatnonzero((onset < end + INTERVAL_FRAMES) & (ends > begin - INTERVAL_FRAMES)))
        chosen = set(table.sounding(second).tolist())
        # A frame of rounding at either end at most.
        assert all(abs(ends[row] - begin + INTERVAL_FRAMES) < 2 for row in chosen - needed)
        # What is left out is too quiet from here on, or had decayed.
        assert len(needed - chosen) <= len(needed) / 2
        found += len(needed)
    # A section may begin in the middle of a passage, with nothing new in its first second.
    assert found > 100


@pytest.mark.parametrize("preset", PRESETS)
def test_partials_stay_few_enough_for_seven_hundred_streams(preset: str) -> None:
    store = SectionStore(compose_section, load_bank(), max_sections=8)
    spec = StreamSpec(preset=preset)
    counts = [store.place(spec, block_at(second)).low_count for second in range(0, 240, 3)]
    assert 100 < np.mean(counts) < 480
    high = [store.place(spec, block_at(second)).high_count for second in range(0, 240, 3)]
    # Half of them are tails. One costs 1.5 times as much as a low one.
    assert np.mean(high) < 110
