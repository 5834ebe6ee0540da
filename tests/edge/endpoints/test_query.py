from __future__ import annotations

import pytest
from hypothesis import given

from services.contract.errors import FieldError
from services.contract.spec import LAYERS, StreamSpec
from services.edge.endpoints.query import query_from_spec, spec_from_query, title_of
from tests.contract.strategies import specs


def test_a_query_names_a_stream() -> None:
    spec = spec_from_query("key=D&mode=dorian&bpm=60&intensity=0.4")
    assert spec == StreamSpec(key="D", mode="dorian", bpm=60, intensity_steps=8)


def test_a_query_names_brightness_density_texture_and_levels() -> None:
    spec = spec_from_query("brightness=0.7&density=0.3&texture=sea&level.pad=0&level.air=1.5")
    assert spec == StreamSpec.from_params(
        {"brightness": 0.7, "density": 0.3, "texture": "sea", "levels": {"pad": 0, "air": 1.5}}
    )
    assert spec_from_query("level.texture=0.5") == spec_from_query("level.air=0.5")


def test_a_query_has_no_optional_field_at_its_default() -> None:
    assert query_from_spec(StreamSpec()) == "key=C&mode=dorian&bpm=70&intensity=0.5&preset=drift&seed=0"
    steered = StreamSpec.from_params({"density": 0.3, "texture": "sea", "levels": {"pad": 0}})
    assert query_from_spec(steered).endswith("&seed=0&density=0.3&texture=sea&level.pad=0.0")


def test_a_title_names_what_is_not_at_its_default() -> None:
    assert title_of(StreamSpec()) == "Tranquil Pond (C dorian, 70 bpm, intensity 0.5, drift)"
    steered = StreamSpec.from_params({"brightness": 0.7, "levels": {"pad": 0, "air": 1.5}})
    assert (
        title_of(steered) == "Tranquil Pond (C dorian, 70 bpm, intensity 0.5, drift, brightness 0.7, no pad, air 1.5)"
    )


@pytest.mark.parametrize("written", ["scented-rookery", "Scented+Rookery", "Scented%20Rookery", "1"])
def test_a_seed_is_named_by_its_title_or_its_number(written: str) -> None:
    assert spec_from_query(f"key=D&seed={written}") == StreamSpec(key="D", seed=1)


def test_no_query_is_the_shared_default() -> None:
    assert spec_from_query("") == StreamSpec()


@given(specs)
def test_every_spec_comes_back_from_its_query(spec: StreamSpec) -> None:
    assert spec_from_query(query_from_spec(spec)) == spec


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("bpm=999", "bpm"),
        ("bpm=fast", "bpm"),
        ("bpm=7_0", "bpm"),
        ("bpm=%2070", "bpm"),
        ("bpm=%D9%A7%D9%A0", "bpm"),
        ("intensity=nan", "intensity"),
        ("intensity=1e400", "intensity"),
        ("key=H", "key"),
        ("seed=-1", "seed: got -1, expected a whole number from 0 to 4294967295 or a title such as 'Tranquil Pond'"),
        ("seed=scented-rookerie", r"seed: got .* no title ends in 'rookerie' \(perhaps 'rookery'\)"),
        ("brightness=1.1", "brightness: got 1.1, expected a number from 0 to 1"),
        ("density=loud", "density: got 'loud', expected a number from 0 to 1"),
        ("texture=snow", "texture: got 'snow', expected one of preset, rain, sea, wind, fire, vinyl, insects, none"),
        ("level.pad=1.6", r"level\.pad: got 1.6, expected a number from 0 to 1.5"),
        ("level.pad=", r"level\.pad: got '', expected a number from 0 to 1.5"),
        ("level.piano=1", r"level\.piano: got '1', expected only key"),
        ("levels=pad", "levels: got 'pad', expected only key"),
        ("tempo=60", "tempo"),
    ],
)
def test_a_bad_value_is_refused_by_name(query: str, named: str) -> None:
    with pytest.raises(FieldError, match=named):
        spec_from_query(query)


def test_a_value_given_twice_is_refused() -> None:
    with pytest.raises(FieldError, match="expected one value"):
        spec_from_query("bpm=60&bpm=70")
    with pytest.raises(FieldError, match=r"level\.pad: got .*, expected one value"):
        spec_from_query("level.pad=0&level.pad=1")
    with pytest.raises(FieldError, match=r"^levels: got 'texture', expected air once"):
        spec_from_query("level.air=0&level.texture=1")


def test_the_levels_of_all_layers_fit_into_a_query() -> None:
    spec = StreamSpec.from_params({"brightness": 0, "density": 0, "levels": dict.fromkeys(LAYERS, 0)})
    assert spec_from_query(query_from_spec(spec) + "&token=x") == spec


def test_a_listening_token_is_not_a_field_of_the_stream() -> None:
    assert spec_from_query("token=abc") == StreamSpec()
