from __future__ import annotations

import itertools
import math
import random
import re
from dataclasses import FrozenInstanceError
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.contract.errors import FieldError
from services.contract.spec import (
    INTENSITY_STEPS,
    KEYS,
    LAYERS,
    LEVEL_NAMES,
    MAX_BPM,
    MAX_ID_CHARS,
    MAX_SEED,
    MIN_BPM,
    MODES,
    PRESETS,
    SENTENCES,
    SPEC_FIELDS,
    TEXTURES,
    StreamSpec,
)
from tests.contract.strategies import specs, values


def test_a_client_that_names_nothing_gets_the_shared_default() -> None:
    assert StreamSpec.from_params({}) == StreamSpec()
    assert StreamSpec().stream_id == "c-dorian-70-50-drift-0"


@pytest.mark.parametrize(
    ("spec", "stream_id"),
    [
        (StreamSpec("C#", "ionian", 40, 0, "aurora", 1), "cs-ionian-40-0-aurora-1"),
        (StreamSpec("A#", "locrian", 180, 20, "tundra", MAX_SEED), "as-locrian-180-100-tundra-4294967295"),
        (StreamSpec("B", "aeolian", 99, 1, "rainfall", 7), "b-aeolian-99-5-rainfall-7"),
        (StreamSpec("F#", "mixolydian", 120, 19, "cathedral", 0), "fs-mixolydian-120-95-cathedral-0"),
        (StreamSpec(brightness_steps=14), "c-dorian-70-50-drift-0-b70"),
        (StreamSpec(density_steps=0), "c-dorian-70-50-drift-0-d0"),
        (StreamSpec(level_steps=(10, 10, 10, 10, 10, 10, 0)), "c-dorian-70-50-drift-0-air0"),
        (StreamSpec.from_params({"levels": {"pad": 0, "drone": 1.5}}), "c-dorian-70-50-drift-0-drone150-pad0"),
        (StreamSpec(texture="rain"), "c-dorian-70-50-drift-0-train"),
        (StreamSpec(density_steps=6, texture="none"), "c-dorian-70-50-drift-0-d30-tnone"),
        (StreamSpec.from_params({"texture": "sea", "levels": {"pad": 0}}), "c-dorian-70-50-drift-0-tsea-pad0"),
        (
            StreamSpec(brightness_steps=20, density_steps=6, level_steps=(0, 1, 2, 3, 4, 5, 15)),
            "c-dorian-70-50-drift-0-b100-d30-drone0-bass10-pad20-melody30-shimmer40-pulse50-air150",
        ),
    ],
)
def test_a_spec_has_one_literal_address(spec: StreamSpec, stream_id: str) -> None:
    assert spec.stream_id == stream_id
    assert StreamSpec.from_id(stream_id) == spec


@given(specs)
def test_every_address_reads_back_as_its_spec_and_is_safe_in_a_subject(spec: StreamSpec) -> None:
    assert re.fullmatch(r"[a-z0-9-]+", spec.stream_id)
    assert len(spec.stream_id) <= MAX_ID_CHARS
    assert StreamSpec.from_id(spec.stream_id) == spec


def test_every_combination_of_key_mode_preset_bpm_and_intensity_reads_back() -> None:
    # Seeds are beyond counting; one is drawn for each.
    chance = random.Random(0)
    seen: set[str] = set()
    for key, mode, preset in itertools.product(KEYS, MODES, PRESETS):
        for _ in range(4):
            bpm, steps = chance.randint(MIN_BPM, MAX_BPM), chance.randint(0, INTENSITY_STEPS)
            spec = StreamSpec(key, mode, bpm, steps, preset, chance.randint(0, MAX_SEED))
            assert StreamSpec.from_id(spec.stream_id) == spec
            seen.add(spec.stream_id)
    for bpm, steps in itertools.product(range(MIN_BPM, MAX_BPM + 1), range(INTENSITY_STEPS + 1)):
        spec = StreamSpec(bpm=bpm, intensity_steps=steps)
        assert StreamSpec.from_id(spec.stream_id) == spec
        seen.add(spec.stream_id)
    assert len(seen) == len(KEYS) * len(MODES) * len(PRESETS) * 4 + (MAX_BPM - MIN_BPM + 1) * (INTENSITY_STEPS + 1)


@given(specs)
def test_a_spec_reads_back_from_its_own_params(spec: StreamSpec) -> None:
    params = spec.to_params()
    assert tuple(params) == SPEC_FIELDS
    assert StreamSpec.from_params(params) == spec
    assert spec.updated(params) is not None
    assert StreamSpec().updated(params) == spec


def test_the_fields_of_a_spec_have_these_names() -> None:
    assert SPEC_FIELDS == (
        "key", "mode", "bpm", "intensity", "preset", "seed", "brightness", "density", "texture", "levels",
    )  # fmt: skip


@given(specs)
def test_a_spec_reads_back_from_what_asks_for_it(spec: StreamSpec) -> None:
    assert StreamSpec.from_params(spec.to_request()) == spec


def test_what_asks_for_a_stream_leaves_optional_fields_out_at_their_defaults() -> None:
    old = {"key": "C", "mode": "dorian", "bpm": 70, "intensity": 0.5, "preset": "drift", "seed": 0}
    assert StreamSpec().to_request() == old
    steered = StreamSpec.from_params({"density": 0.3, "texture": "sea", "levels": {"air": 0}})
    assert steered.to_request() == {**old, "density": 0.3, "texture": "sea", "levels": {"air": 0.0}}


def test_what_is_not_at_its_default_is_put_into_words() -> None:
    assert StreamSpec(intensity_steps=3).options_in_words() == []
    steered = StreamSpec.from_params(
        {"brightness": 0.7, "density": 0, "texture": "rain", "levels": {"pad": 0, "air": 1.5}}
    )
    assert steered.options_in_words() == ["brightness 0.7", "density 0", "rain", "no pad", "air 1.5"]
    assert StreamSpec(texture="none").options_in_words() == ["no texture"]


def test_what_shows_a_stream_has_every_field() -> None:
    shown = StreamSpec.from_params({"levels": {"air": 0}}).to_params()
    assert (shown["brightness"], shown["density"], shown["texture"]) == (0.5, 0.5, "preset")
    assert shown["levels"] == {**dict.fromkeys(LAYERS, 1.0), "air": 0.0}


def test_the_longest_address_is_within_the_bound() -> None:
    longest = StreamSpec(
        "C#",
        max(MODES, key=len),
        MAX_BPM,
        INTENSITY_STEPS,
        max(PRESETS, key=len),
        MAX_SEED,
        20,
        20,
        max(TEXTURES, key=len),
        (15,) * len(LAYERS),
    )
    assert 100 < len(longest.stream_id) <= MAX_ID_CHARS - 20
    assert StreamSpec.from_id(longest.stream_id) == longest


@pytest.mark.parametrize(
    "address",
    [
        "",
        "c",
        "c-dorian-70-50-drift",
        "c-dorian-70-50-drift-0-1",
        "C-dorian-70-50-drift-0",
        "c-Dorian-70-50-drift-0",
        "db-dorian-70-50-drift-0",
        "c#-dorian-70-50-drift-0",
        "s-dorian-70-50-drift-0",
        "h-dorian-70-50-drift-0",
        "c-minor-70-50-drift-0",
        "c-dorian-070-50-drift-0",
        "c-dorian-39-50-drift-0",
        "c-dorian-181-50-drift-0",
        "c-dorian-70.0-50-drift-0",
        "c-dorian--70-50-drift-0",
        "c-dorian-70-52-drift-0",
        "c-dorian-70-105-drift-0",
        "c-dorian-70-05-drift-0",
        "c-dorian-70-50-Drift-0",
        "c-dorian-70-50-none-0",
        "c-dorian-70-50-drift-00",
        "c-dorian-70-50-drift-4294967296",
        "c-dorian-70-50-drift-+1",
        "c-dorian-70-50-drift-0-b50",
        "c-dorian-70-50-drift-0-b070",
        "c-dorian-70-50-drift-0-b72",
        "c-dorian-70-50-drift-0-b105",
        "c-dorian-70-50-drift-0-b",
        "c-dorian-70-50-drift-0-b-1",
        "c-dorian-70-50-drift-0-B70",
        "c-dorian-70-50-drift-0-d30-b70",
        "c-dorian-70-50-drift-0-b70-b70",
        "c-dorian-70-50-drift-0-b70-b60",
        "c-dorian-70-50-drift-0-pad100",
        "c-dorian-70-50-drift-0-pad55",
        "c-dorian-70-50-drift-0-pad160",
        "c-dorian-70-50-drift-0-pad0-drone0",
        "c-dorian-70-50-drift-0-piano50",
        "c-dorian-70-50-drift-0-b70-",
        "c-dorian-70-50-drift-b70",
        "c-dorian-70-50-drift-1 ",
        "c-dorian-70-50-drift-1\n",
        "c-dorian-\u0667\u0660-50-drift-0",
        "c-dorian-70-50-drift-" + "9" * 5000,
        "-----",
        "*",
        ">",
    ],
)
def test_any_other_spelling_of_an_address_is_refused(address: str) -> None:
    with pytest.raises(FieldError):
        StreamSpec.from_id(address)


@given(st.text(max_size=100) | st.from_regex(r"[a-z]{1,2}-[a-z]+-[0-9]+-[0-9]+-[a-z]+-[0-9]+(-[a-z]+[0-9]+)*"))
@example("c-dorian-70-50-drift-0-b70-pad0")
def test_whatever_text_arrives_is_a_canonical_address_or_a_field_error(text: str) -> None:
    try:
        spec = StreamSpec.from_id(text)
    except FieldError:
        return
    assert spec.stream_id == text


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("C", "C"), ("c", "C"), ("c#", "C#"), ("C♯", "C#"),
        ("Db", "C#"), ("db", "C#"), ("DB", "C#"), ("D♭", "C#"),
        ("Eb", "D#"), ("Gb", "F#"), ("Ab", "G#"), ("Bb", "A#"), ("bb", "A#"), ("B♭", "A#"),
        ("Cb", "B"), ("Fb", "E"), ("B#", "C"), ("E#", "F"), ("b", "B"),
    ],
)  # fmt: skip
def test_flats_and_other_spellings_of_a_key_are_one_key(written: str, key: str) -> None:
    assert StreamSpec.from_params({"key": written}).key == key


def test_every_key_has_its_pitch() -> None:
    assert [StreamSpec(key=key).pitch_class for key in KEYS] == list(range(12))


@pytest.mark.parametrize("written", ["", "H", "C##", "Cbb", "c minor", "♭", "#", "b#b", "ß", 1, None, ["C"], True])
def test_a_key_that_does_not_exist_is_named(written: object) -> None:
    with pytest.raises(FieldError, match=r"^key: got .*, expected one of C, C#") as caught:
        StreamSpec.from_params({"key": written})
    assert caught.value.field == "key"


@pytest.mark.parametrize(
    ("written", "mode"),
    [("major", "ionian"), ("minor", "aeolian"), ("Minor", "aeolian"), ("DORIAN", "dorian"), ("lydian", "lydian")],
)
def test_major_and_minor_are_modes_too(written: str, mode: str) -> None:
    assert StreamSpec.from_params({"mode": written}).mode == mode


@pytest.mark.parametrize("written", [70, 70.0])
def test_a_whole_number_may_be_written_as_a_float(written: float) -> None:
    spec = StreamSpec.from_params({"bpm": written})
    assert spec.bpm == 70
    assert type(spec.bpm) is int


@pytest.mark.parametrize("field", ["bpm", "seed"])
@pytest.mark.parametrize(
    "written",
    [70.5, "70", None, True, [70], math.nan, math.inf, -math.inf, -1, 10**400, -(10**400), 1e308, 2**32],
)
def test_a_number_that_is_not_whole_or_out_of_range_is_named(field: str, written: object) -> None:
    with pytest.raises(FieldError, match=f"^{field}: got .*, expected a whole number from"):
        StreamSpec.from_params({field: written})


@pytest.mark.parametrize(("low", "high"), [(MIN_BPM, MAX_BPM)])
def test_the_range_of_bpm_includes_its_ends_and_nothing_beyond(low: int, high: int) -> None:
    assert (low, high) == (40, 180)
    assert StreamSpec.from_params({"bpm": low}).bpm == low
    assert StreamSpec.from_params({"bpm": high}).bpm == high
    for bpm in (low - 1, high + 1, low - 0.001, high + 0.001):
        with pytest.raises(FieldError):
            StreamSpec.from_params({"bpm": bpm})


@pytest.mark.parametrize(
    ("written", "steps"),
    [
        (0, 0), (1, 20), (0.0, 0), (1.0, 20), (0.5, 10), (0.02, 0), (0.024999, 0), (0.025, 1), (0.03, 1),
        (0.12, 2), (0.125, 3), (0.175, 4), (0.475, 10), (0.575, 12), (0.974, 19), (0.975, 20), (0.999, 20), (-0.0, 0),
    ],
)  # fmt: skip
def test_intensity_is_rounded_to_the_nearest_twentieth_and_halves_go_up(written: float, steps: int) -> None:
    assert StreamSpec.from_params({"intensity": written}).intensity_steps == steps


def test_every_intensity_of_three_digits_is_rounded_as_on_paper() -> None:
    for thousandths in range(1001):
        on_paper = (Decimal(thousandths) / 50).quantize(Decimal(1), ROUND_HALF_UP)
        spec = StreamSpec.from_params({"intensity": thousandths / 1000})
        assert spec.intensity_steps == int(on_paper), thousandths


@given(st.floats(0, 1))
def test_the_heard_intensity_is_within_half_a_step_and_is_a_fixed_point(written: float) -> None:
    spec = StreamSpec.from_params({"intensity": written})
    assert abs(spec.intensity - written) <= 0.025 + 1e-12
    assert StreamSpec.from_params({"intensity": spec.intensity}) == spec


@pytest.mark.parametrize("written", [-0.001, 1.001, 2, math.nan, math.inf, "0.5", None, True, [], 10**400])
def test_an_intensity_outside_0_to_1_is_named(written: object) -> None:
    with pytest.raises(FieldError, match=r"^intensity: got .*, expected a number from 0 to 1"):
        StreamSpec.from_params({"intensity": written})


@pytest.mark.parametrize("field", ["brightness", "density"])
@pytest.mark.parametrize("written", [-0.001, 1.001, math.nan, math.inf, "0.5", None, True, [], {}, 10**400])
def test_a_brightness_or_density_outside_0_to_1_is_named(field: str, written: object) -> None:
    with pytest.raises(FieldError, match=f"^{field}: got .*, expected a number from 0 to 1"):
        StreamSpec.from_params({field: written})


@given(st.floats(0, 1), st.floats(0, 1))
def test_brightness_and_density_are_heard_within_half_a_step(brightness: float, density: float) -> None:
    spec = StreamSpec.from_params({"brightness": brightness, "density": density})
    assert abs(spec.brightness - brightness) <= 0.025 + 1e-12
    assert abs(spec.density - density) <= 0.025 + 1e-12


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("written", [-0.001, 1.501, math.nan, math.inf, "0.5", None, True, [], 10**400])
def test_a_level_outside_its_range_is_named(layer: str, written: object) -> None:
    with pytest.raises(FieldError, match=rf"^level\.{layer}: got .*, expected a number from 0 to 1.5"):
        StreamSpec.from_params({"levels": {layer: written}})


@pytest.mark.parametrize("written", [None, 1, "pad", ["pad"], True, {"piano": 1}, {"": 1}, {"PAD": 1}])
def test_levels_of_other_layers_or_of_none_are_refused(written: object) -> None:
    with pytest.raises(FieldError, match=r"^levels: got .*, expected"):
        StreamSpec.from_params({"levels": written})


@given(st.sampled_from(LAYERS), st.floats(0, 1.5))
def test_a_level_is_heard_within_half_a_step(layer: str, written: float) -> None:
    levels = StreamSpec.from_params({"levels": {layer: written}}).levels
    assert abs(levels.pop(layer) - written) <= 0.05 + 1e-12
    assert set(levels.values()) == {1.0}


def test_an_update_of_levels_changes_only_the_layers_that_it_names() -> None:
    spec = StreamSpec.from_params({"levels": {"pad": 0, "air": 1.5}})
    assert spec.updated({"levels": {"air": 0.2}}) == StreamSpec.from_params({"levels": {"pad": 0, "air": 0.2}})
    assert spec.updated({"levels": {"pad": 1, "air": 1}}) == StreamSpec()
    assert spec.updated({"levels": {}}) == spec


@given(st.floats(0, 1.5))
def test_the_level_of_the_texture_is_that_of_the_air_by_another_name(level: float) -> None:
    assert StreamSpec.from_params({"levels": {"texture": level}}) == StreamSpec.from_params({"levels": {"air": level}})


def test_a_level_by_both_of_its_names_is_refused() -> None:
    with pytest.raises(FieldError, match=r"^levels: got 'texture', expected air once"):
        StreamSpec.from_params({"levels": {"air": 1, "texture": 0}})
    with pytest.raises(FieldError, match=r"^level\.texture: got 2, expected a number from 0 to 1\.5"):
        StreamSpec.from_params({"levels": {"texture": 2}})


def test_a_texture_is_read_in_any_case_and_named_in_small_letters() -> None:
    assert [StreamSpec.from_params({"texture": kind.upper()}).texture for kind in TEXTURES] == list(TEXTURES)


@pytest.mark.parametrize("written", ["", "snow", "train", 1, None, ["rain"], {}, True, "rain\n"])
def test_a_texture_that_does_not_exist_is_refused_with_the_list(written: object) -> None:
    with pytest.raises(FieldError, match=r"^texture: got .*, expected one of preset, rain, sea, .*, none$"):
        StreamSpec.from_params({"texture": written})


@pytest.mark.parametrize("end", ["t", "rain", "tpreset", "tsnow", "train-tsea", "train-train", "train5", "pad0-train"])
def test_an_address_names_a_texture_once_and_in_its_place(end: str) -> None:
    with pytest.raises(FieldError, match=r"^stream: got .*, expected (no '|its canonical form)"):
        StreamSpec.from_id(f"c-dorian-70-50-drift-0-{end}")


@pytest.mark.parametrize("field", ["mode", "preset"])
@pytest.mark.parametrize("written", ["", "none", 1, None, ["drift"], {}, True, "drift\n"])
def test_a_mode_or_preset_that_does_not_exist_is_named(field: str, written: object) -> None:
    with pytest.raises(FieldError, match=f"^{field}: got .*, expected one of"):
        StreamSpec.from_params({field: written})


def test_an_update_changes_only_what_it_names() -> None:
    spec = StreamSpec("A", "lydian", 90, 4, "harbor", 9)
    assert spec.updated({}) is spec
    assert spec.updated({"bpm": 91}) == StreamSpec("A", "lydian", 91, 4, "harbor", 9)
    assert spec.updated({"intensity": 1, "key": "Bb"}) == StreamSpec("A#", "lydian", 90, 20, "harbor", 9)
    assert spec.updated({"unrelated": "value"}) is spec


@given(st.dictionaries(st.sampled_from([*SPEC_FIELDS, "other"]), values, max_size=9))
@example({"key": "F#", "bpm": 71, "levels": {"pad": 0.5}, "other": None})
def test_whatever_params_arrive_they_are_a_spec_or_a_field_error(params: dict[str, Any]) -> None:
    try:
        spec = StreamSpec.from_params(params)
    except FieldError as caught:
        error = caught
    else:
        assert StreamSpec.from_id(spec.stream_id) == spec
        return
    assert error.field in SPEC_FIELDS or error.field.removeprefix("level.") in LEVEL_NAMES
    assert len(str(error)) < 500


@pytest.mark.parametrize(
    "fields",
    [
        {"key": "Db"}, {"key": "c"}, {"mode": "minor"}, {"bpm": 70.0}, {"bpm": True}, {"bpm": 39},
        {"intensity_steps": 21}, {"intensity_steps": 0.5}, {"preset": "x"}, {"seed": -1}, {"seed": 2**32},
        {"brightness_steps": 21}, {"brightness_steps": 0.5}, {"density_steps": -1}, {"density_steps": True},
        {"texture": "snow"}, {"texture": "RAIN"}, {"texture": None},
        {"level_steps": ()}, {"level_steps": (10,) * 6}, {"level_steps": (10,) * 6 + (16,)},
        {"level_steps": (10,) * 6 + (-1,)}, {"level_steps": [10] * 7},
    ],
)  # fmt: skip
def test_a_spec_that_is_built_by_hand_is_checked_too(fields: dict[str, Any]) -> None:
    with pytest.raises(FieldError):
        StreamSpec(**fields)


def test_a_spec_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        StreamSpec().bpm = 80  # type: ignore[misc]


def test_every_preset_has_a_sentence_that_fits_a_line() -> None:
    assert tuple(SENTENCES) == PRESETS
    for sentence in SENTENCES.values():
        assert sentence[0].isupper()
        assert sentence.endswith(".")
        assert sentence.count(".") == 1
        assert len(sentence) <= 100
