from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.contract.errors import FieldError
from services.contract.spec import KEYS, MODES, PRESETS, StreamSpec
from services.edge.endpoints.query import query_from_spec, spec_from_query

SPECS = st.builds(
    StreamSpec,
    key=st.sampled_from(list(KEYS)),
    mode=st.sampled_from(MODES),
    bpm=st.integers(40, 180),
    intensity_steps=st.integers(0, 20),
    preset=st.sampled_from(PRESETS),
    seed=st.integers(0, 2**32 - 1),
)


def test_a_query_names_a_stream() -> None:
    spec = spec_from_query("key=D&mode=dorian&bpm=60&intensity=0.4")
    assert spec == StreamSpec(key="D", mode="dorian", bpm=60, intensity_steps=8)


def test_no_query_is_the_shared_default() -> None:
    assert spec_from_query("") == StreamSpec()


@given(spec=SPECS)
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
        ("tempo=60", "tempo"),
    ],
)
def test_a_bad_value_is_refused_by_name(query: str, named: str) -> None:
    with pytest.raises(FieldError, match=named):
        spec_from_query(query)


def test_a_value_given_twice_is_refused() -> None:
    with pytest.raises(FieldError, match="expected one value"):
        spec_from_query("bpm=60&bpm=70")


def test_a_listening_token_is_not_a_field_of_the_stream() -> None:
    assert spec_from_query("token=abc") == StreamSpec()
