"""Rows of a kernel call: partials, phases and the texture."""

from __future__ import annotations

import numpy as np
import pytest

from services.contract.spec import PRESETS, StreamSpec
from services.contract.timebase import BLOCK_FRAMES
from services.synthesis.dsp.control import Column, Word
from services.synthesis.dsp.grid import QUARTER_BLOCK, TEXTURE_FRAMES
from services.synthesis.instruments.files import load_bank
from services.synthesis.packing.pack import pack_texture
from services.synthesis.packing.section_store import SectionStore
from services.synthesis.score.compose import compose_section
from services.synthesis.score.events import Layer
from services.synthesis.sound.patches import SOUNDS
from services.synthesis.sound.textures import LOOP_NUMBERS
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

    parts = SOUNDS["drift"].layers
    expected = parts[Layer.PULSE][0].rise_db - parts[Layer.DRONE][0].rise_db
    assert balance(20) - balance(0) == pytest.approx(expected, abs=3.0)  # brightness has a say too


def test_onsets_are_exact_frames_from_the_blocks_start_even_for_the_oldest_note() -> None:
    store = store_of([(3.2, 230.0, 45.0, 0.0, Layer.DRONE)])
    packed = low(store.place(SPEC, block_at(236)), store.place(SPEC, block_at(3)))
    for row, second in enumerate((236, 3)):
        sounding = packed.parameters[row, Column.GAIN_LEFT] > 0
        # On a control point, so that its age is a whole number of points.
        assert set(packed.parameters[row, Column.ONSET][sounding]) == {3.2 * 44_100 - second * 44_100}
        assert set(packed.words[row, Word.AGE][sounding]) == {175 * second - 560}


def test_phases_are_the_absolute_frame_times_the_increment() -> None:
    store = store_of([(0.0, 200.0, 69.0, 0.0, Layer.PAD)])
    packed = low(store.place(SPEC, block_at(5)), store.place(SPEC, block_at(9)))
    first, later = packed.words[0, :2].astype(np.int64), packed.words[1, :2].astype(np.int64)
    assert np.array_equal((later[0] - first[0] - 4 * BLOCK_FRAMES * first[1]) % 2**32, np.zeros_like(first[0]))


def test_a_row_is_packed_the_same_alone_and_among_others() -> None:
    store = SectionStore(compose_section, load_bank(), max_sections=8)
    loud = StreamSpec(intensity_steps=20, preset="cathedral")
    alone = low(store.place(SPEC, block_at(50)))
    among = low(store.place(loud, block_at(51)), store.place(SPEC, block_at(50)))
    count = alone.parameters.shape[2]
    assert among.parameters.shape[2] > count
    assert np.array_equal(among.parameters[1, :, :count], alone.parameters[0])
    assert np.count_nonzero(among.parameters[1, Column.GAIN_LEFT, count:]) == 0
    texture, alone_texture = (
        pack_texture([store.place(loud, block_at(51)), store.place(SPEC, block_at(50))]),
        pack_texture([store.place(SPEC, block_at(50))]),
    )
    assert np.array_equal(texture.levels[1], alone_texture.levels[0])
    assert np.array_equal(texture.places[1], alone_texture.places[0])


def test_a_texture_goes_on_from_block_to_block_and_over_a_sections_end() -> None:
    store = SectionStore(compose_section, load_bank(), max_sections=8)
    for second in (100, 101, 102, 239):
        here, there = (pack_texture([store.place(SPEC, block_at(second + i))]) for i in (0, 1))
        power = [(packed.levels[0, :, :, end] ** 2).sum(axis=0) for packed, end in ((here, 1), (there, 0))]
        assert np.allclose(power[0], power[1], rtol=4e-3)
        assert (power[0] > 0.0).all()
        # Each grain goes on where it was, or ends in silence while another one begins.
        for grain in range(2):
            goes_on = there.places[0] == here.places[0, grain] + QUARTER_BLOCK
            assert goes_on.any() or np.abs(here.levels[0, grain, :, 1]).max() < 1e-6


def test_the_place_of_every_grain_lies_inside_its_loop() -> None:
    store = SectionStore(compose_section, load_bank(), max_sections=32)
    for preset in PRESETS:
        spec = StreamSpec(preset=preset)
        places = pack_texture([store.place(spec, block_at(second)) for second in range(120)]).places
        inside = places % LOOP_NUMBERS
        assert (inside >= 0).all()
        assert (inside + QUARTER_BLOCK <= TEXTURE_FRAMES).all()
