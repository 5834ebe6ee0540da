from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.contract.spec import LAYERS, MODES, PRESETS, StreamSpec
from services.contract.timebase import MAX_TICK
from services.edge.listener.resume import VALID_S, ResumePoint, issue, read
from tests.contract.strategies import specs
from tests.edge.support import SPEC

SECRET = b"a secret"
POINT = ResumePoint(SPEC.stream_id, 17_639_000_123)


def test_a_token_looks_like_this() -> None:
    assert issue(SECRET, POINT, 1_763_900_000.9) == (
        "c-dorian-70-50-drift-0.17639000123.1763900060.s.qp-IK4gBJL7T9rnQOuw8NQ"
    )


@given(st.integers(0, MAX_TICK), st.booleans(), specs)
def test_an_issued_token_is_read(chunk_id: int, final: bool, spec: StreamSpec) -> None:  # noqa: FBT001 - drawn
    found = read(SECRET, issue(SECRET, ResumePoint(spec.stream_id, chunk_id, final), 1000), 1000)
    assert found is not None
    assert (found.chunk_id, found.final) == (chunk_id, final)
    assert found.is_in(spec.stream_id)
    assert not found.is_in(replace(spec, seed=(spec.seed + 1) % 2**32).stream_id)


def test_a_token_is_valid_for_a_minute() -> None:
    token = issue(SECRET, POINT, 1000.0)
    assert read(SECRET, token, 1000.0 + VALID_S) == POINT
    assert read(SECRET, token, 1001.1 + VALID_S) is None


def test_another_secret_makes_another_token() -> None:
    assert read(b"another", issue(SECRET, POINT, 1000), 1000) is None


@pytest.mark.parametrize("part", range(5))
def test_a_changed_token_is_not_accepted(part: int) -> None:
    parts = issue(SECRET, POINT, 1000).split(".")
    parts[part] = {0: "c-dorian-70-55-drift-0", 1: "1", 2: "9999999999", 3: "f", 4: parts[4][::-1]}[part]
    assert read(SECRET, ".".join(parts), 1000) is None


@given(st.text(max_size=200))
def test_text_that_is_no_token_is_not_accepted(token: str) -> None:
    assert read(SECRET, token, 1000) is None


def test_the_longest_token_fits_into_a_close_reason() -> None:
    plain = StreamSpec("C#", max(MODES, key=len), 180, 20, max(PRESETS, key=len), 2**32 - 1)
    bright = replace(plain, brightness_steps=20, density_steps=20, texture="insects")
    for spec in (plain, bright, replace(bright, level_steps=(15,) * len(LAYERS))):
        token = issue(SECRET, ResumePoint(spec.stream_id, MAX_TICK, final=True), 99_999_999_999)
        assert len(token) <= 120
