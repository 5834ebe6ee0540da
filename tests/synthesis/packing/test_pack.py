"""Rows of a kernel call: partials, phases and the air."""

from __future__ import annotations

import numpy as np
import pytest

from services.contract.spec import StreamSpec
from services.contract.timebase import BLOCK_FRAMES
from services.synthesis.dsp.control import Column
from services.synthesis.packing.pack import pack_air
from services.synthesis.packing.section_store import SectionStore
from services.synthesis.score.compose import compose_section
from services.synthesis.score.events import Layer
from services.synthesis.sound.patches import SOUNDS
from tests.synthesis.fakes import Row
from tests.synthesis.packing.support import SPEC, block_at, low, store_of


def test_a_layer_that_rises_is_louder_against_one_that_falls_as_intensity_grows() -> None:
    rows: list[Row] = [(1.0, 5.0, 57.0, 0.0, Layer.PULSE), (1.0, 5.0, 57.0, 0.0, Layer.DRONE)]

    def balance(steps: int) -> float:
        spec = StreamSpec(intensity_steps=steps)
        gains = []
        for row in rows:
            store = store_of([row])
            packed = low(store.place(spec, block_at(2)))
            gains.append(float(np.abs(packed.parameters[0, Column.GAIN_LEFT]).max()))
        return float(20 * np.log10(gains[0] / gains[1]))

    patches = SOUNDS["drift"].layers
    expected = patches[Layer.PULSE].rise_db - patches[Layer.DRONE].rise_db
    assert balance(20) - balance(0) == pytest.approx(expected, abs=3.0)  # brightness has a say too


def test_onsets_are_exact_frames_from_the_blocks_start_even_for_the_oldest_note() -> None:
    store = store_of([(3.25, 230.0, 45.0, 0.0, Layer.DRONE)])
    packed = low(store.place(SPEC, block_at(236)), store.place(SPEC, block_at(3)))
    assert set(packed.parameters[0, Column.ONSET]) == {(3.25 - 236) * 44_100}
    assert set(packed.parameters[1, Column.ONSET]) == {0.25 * 44_100}


def test_phases_are_the_absolute_frame_times_the_increment() -> None:
    store = store_of([(0.0, 200.0, 69.0, 0.0, Layer.PAD)])
    packed = low(store.place(SPEC, block_at(5)), store.place(SPEC, block_at(9)))
    first, later = packed.phases[0].astype(np.int64), packed.phases[1].astype(np.int64)
    assert np.array_equal((later[0] - first[0] - 4 * BLOCK_FRAMES * first[1]) % 2**32, np.zeros_like(first[0]))


def test_a_row_is_packed_the_same_alone_and_among_others() -> None:
    store = SectionStore(compose_section, max_sections=8)
    loud = StreamSpec(intensity_steps=20, preset="cathedral")
    alone = low(store.place(SPEC, block_at(50)))
    among = low(store.place(loud, block_at(51)), store.place(SPEC, block_at(50)))
    count = alone.parameters.shape[2]
    assert among.parameters.shape[2] > count
    assert np.array_equal(among.parameters[1, :, :count], alone.parameters[0])
    assert np.count_nonzero(among.parameters[1, Column.GAIN_LEFT, count:]) == 0
    air, alone_air = (
        pack_air([store.place(loud, block_at(51)), store.place(SPEC, block_at(50))]),
        pack_air([store.place(SPEC, block_at(50))]),
    )
    assert np.array_equal(air.level[1], alone_air.level[0])


def test_the_air_goes_on_from_block_to_block_and_over_a_sections_end() -> None:
    store = SectionStore(compose_section, max_sections=8)
    for second in (100, 239):
        here, there = (pack_air([store.place(SPEC, block_at(second + i))]) for i in (0, 1))
        assert np.allclose(here.level[0, :, 1], there.level[0, :, 0], rtol=2e-3, atol=1e-7)
        assert (here.level > 0.0).all()
        # A step of a fraction of a decibel in a noise that is hardly heard.
        assert here.hiss[0, 0] == pytest.approx(there.hiss[0, 0], rel=0.05)
