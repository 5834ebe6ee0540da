from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from services.contract.spec import PRESETS, StreamSpec
from services.contract.timebase import BLOCK_FRAMES, BLOCKS_PER_SECTION
from services.synthesis.dsp.control import Column
from services.synthesis.dsp.grid import INTERVAL_FRAMES, SPLIT_HZ
from services.synthesis.idle_streams import IDLE_S
from services.synthesis.packing.pack import PackedPartials, pack_air, pack_partials
from services.synthesis.packing.partials import QUIET
from services.synthesis.packing.placement import Placement
from services.synthesis.packing.section import prepare_section
from services.synthesis.packing.section_store import SectionStore
from services.synthesis.score.compose import compose_section
from services.synthesis.score.events import Layer, Section
from services.synthesis.sound.patches import SOUNDS
from tests.synthesis.fakes import Row, score

SPEC = StreamSpec()
SECTION = 7_000_000


def _store(rows: Sequence[Row]) -> SectionStore:
    return SectionStore(score(rows), max_sections=8)


def _low(*rows: Placement) -> PackedPartials:
    return pack_partials([row.low for row in rows], [row.block for row in rows])


def _block(second: int) -> int:
    return SECTION * BLOCKS_PER_SECTION + second


def test_a_note_is_packed_from_its_onset_until_its_tail_has_ended() -> None:
    store = _store([(10.5, 2.0, 57.0, 0.0, Layer.PAD)])
    release_s = SOUNDS["drift"].layers[Layer.PAD].release_s
    sounding = [second for second in range(40) if store.place(SPEC, _block(second)).low_count]
    assert sounding == list(range(10, sounding[-1] + 1))
    # The very end of a tail is lost in the last bit.
    assert int(12.5 + 0.7 * release_s) <= sounding[-1] <= int(12.5 + release_s)


def test_the_tail_of_a_section_is_heard_in_the_next() -> None:
    store = _store([(238.0, 1.5, 57.0, 0.0, Layer.PAD)])
    assert store.place(SPEC, _block(BLOCKS_PER_SECTION)).low_count > 0
    assert store.place(SPEC, _block(BLOCKS_PER_SECTION + 30)).low_count == 0


def test_a_decaying_note_ends_with_its_decay_and_not_with_its_key() -> None:
    store = _store([(1.0, 60.0, 72.0, 0.0, Layer.MELODY)])
    decay_s = SOUNDS["drift"].layers[Layer.MELODY].decay_s
    assert store.place(SPEC, _block(int(1.0 + 0.7 * decay_s))).low_count > 0
    assert store.place(SPEC, _block(int(1.0 + decay_s) + 1)).low_count == 0


def test_intensity_selects_notes_by_their_threshold() -> None:
    rows: list[Row] = [(1.0, 5.0, 57.0, 0.3, Layer.PAD), (1.0, 5.0, 60.0, 0.8, Layer.PAD)]
    counts = [_store(rows).place(StreamSpec(intensity_steps=steps), _block(2)).low_count for steps in (5, 10, 20)]
    assert counts[0] == 0
    assert 0 < counts[1] < counts[2]


def test_a_layer_that_rises_is_louder_against_one_that_falls_as_intensity_grows() -> None:
    rows: list[Row] = [(1.0, 5.0, 57.0, 0.0, Layer.PULSE), (1.0, 5.0, 57.0, 0.0, Layer.DRONE)]

    def balance(steps: int) -> float:
        spec = StreamSpec(intensity_steps=steps)
        gains = []
        for row in rows:
            store = _store([row])
            packed = _low(store.place(spec, _block(2)))
            gains.append(float(np.abs(packed.parameters[0, Column.GAIN_LEFT]).max()))
        return float(20 * np.log10(gains[0] / gains[1]))

    patches = SOUNDS["drift"].layers
    expected = patches[Layer.PULSE].rise_db - patches[Layer.DRONE].rise_db
    assert balance(20) - balance(0) == pytest.approx(expected, abs=3.0)  # brightness has a say too


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


def test_onsets_are_exact_frames_from_the_blocks_start_even_for_the_oldest_note() -> None:
    store = _store([(3.25, 230.0, 45.0, 0.0, Layer.DRONE)])
    packed = _low(store.place(SPEC, _block(236)), store.place(SPEC, _block(3)))
    assert set(packed.parameters[0, Column.ONSET]) == {(3.25 - 236) * 44_100}
    assert set(packed.parameters[1, Column.ONSET]) == {0.25 * 44_100}


def test_phases_are_the_absolute_frame_times_the_increment() -> None:
    store = _store([(0.0, 200.0, 69.0, 0.0, Layer.PAD)])
    packed = _low(store.place(SPEC, _block(5)), store.place(SPEC, _block(9)))
    first, later = packed.phases[0].astype(np.int64), packed.phases[1].astype(np.int64)
    assert np.array_equal((later[0] - first[0] - 4 * BLOCK_FRAMES * first[1]) % 2**32, np.zeros_like(first[0]))


def test_a_row_is_packed_the_same_alone_and_among_others() -> None:
    store = SectionStore(compose_section, max_sections=8)
    loud = StreamSpec(intensity_steps=20, preset="cathedral")
    alone = _low(store.place(SPEC, _block(50)))
    among = _low(store.place(loud, _block(51)), store.place(SPEC, _block(50)))
    count = alone.parameters.shape[2]
    assert among.parameters.shape[2] > count
    assert np.array_equal(among.parameters[1, :, :count], alone.parameters[0])
    assert np.count_nonzero(among.parameters[1, Column.GAIN_LEFT, count:]) == 0
    air, alone_air = (
        pack_air([store.place(loud, _block(51)), store.place(SPEC, _block(50))]),
        pack_air([store.place(SPEC, _block(50))]),
    )
    assert np.array_equal(air.level[1], alone_air.level[0])


def test_the_air_goes_on_from_block_to_block_and_over_a_sections_end() -> None:
    store = SectionStore(compose_section, max_sections=8)
    for second in (100, 239):
        here, there = (pack_air([store.place(SPEC, _block(second + i))]) for i in (0, 1))
        assert np.allclose(here.level[0, :, 1], there.level[0, :, 0], rtol=2e-3, atol=1e-7)
        assert (here.level > 0.0).all()
        # A step of a fraction of a decibel in a noise that is hardly heard.
        assert here.hiss[0, 0] == pytest.approx(there.hiss[0, 0], rel=0.05)


def test_prepared_sections_are_bounded_and_the_least_recently_used_goes() -> None:
    composed: list[tuple[str, int]] = []
    plain = score([(0.0, 100.0, 60.0, 0.0, Layer.PAD)])

    def compose(spec: StreamSpec, number: int) -> Section:
        composed.append((spec.stream_id, number))
        return plain(spec, number)

    store = SectionStore(compose, max_sections=2)
    a, b, c = (StreamSpec(seed=seed) for seed in range(3))
    for spec in (a, b, a, c, a, b):
        store.section(spec, 1)
    assert [stream for stream, _ in composed] == [s.stream_id for s in (a, b, c, b)]


def test_sections_of_streams_that_nobody_hears_any_more_and_past_ones_are_forgotten() -> None:
    store = SectionStore(score([(0.0, 5.0, 60.0, 0.0, Layer.PAD)]), max_sections=10_000)
    heard = StreamSpec(seed=1)
    most = 0
    for second in range(3 * BLOCKS_PER_SECTION):
        # Steered each second: the stream that it leaves is never asked for again.
        steered = StreamSpec(seed=2 + second)
        for spec in (heard, steered):
            store.place(spec, _block(second))
        store.forget({heard.stream_id: _block(second), steered.stream_id: _block(second)})
        store.look_ahead(heard, _block(second))
        most = max(most, len(store))
    # Of each its own section and the one before; of the stream that goes on one to come besides.
    assert most <= 2 * (IDLE_S + 1) + 3
    assert len(store) > IDLE_S


def test_forgetting_changes_no_sample() -> None:
    store, keeping = _store([(235.0, 9.0, 57.0, 0.0, Layer.PAD)]), _store([(235.0, 9.0, 57.0, 0.0, Layer.PAD)])
    for second in (238, 239, 240, 241, 290, 480, 242):
        here, there = (_low(each.place(SPEC, _block(second))) for each in (store, keeping))
        assert np.array_equal(here.parameters, there.parameters)
        store.forget({SPEC.stream_id: _block(second)})


def test_streams_prepare_their_next_section_at_different_moments_and_before_it_begins() -> None:
    moments = []
    for seed in range(40):
        store = _store([(0.0, 5.0, 60.0, 0.0, Layer.PAD)])
        spec = StreamSpec(seed=seed)
        for second in range(BLOCKS_PER_SECTION):
            store.look_ahead(spec, _block(second))
            if (spec.stream_id, SECTION + 1) in store._prepared:
                moments.append(second)
                break
    assert len(moments) == 40
    assert len(set(moments)) > 25
    assert max(moments) < BLOCKS_PER_SECTION - 10


@pytest.mark.parametrize("preset", PRESETS)
def test_partials_stay_few_enough_for_a_thousand_streams(preset: str) -> None:
    store = SectionStore(compose_section, max_sections=8)
    spec = StreamSpec(preset=preset)
    counts = [store.place(spec, _block(second)).low_count for second in range(0, 240, 3)]
    assert 10 < np.mean(counts) < 90
    high = [store.place(spec, _block(second)).high_count for second in range(0, 240, 3)]
    assert np.mean(high) < 12
