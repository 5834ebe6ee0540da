from __future__ import annotations

import random

import pytest

from services.contract.spec import KEYS, MODES, PRESETS, StreamSpec

FIRST_SECTION = 7_437_500  # a section of July 2026; nothing depends on which


def _sampled_specs(count: int) -> list[StreamSpec]:
    """The same combinations in every run: every preset and mode, all keys, slow and fast."""
    chance = random.Random(20260704)
    keys = list(KEYS) * 2
    chance.shuffle(keys)
    return [
        StreamSpec(
            key=keys[i],
            mode=MODES[i % len(MODES)],
            bpm=chance.randint(40, 180),
            preset=PRESETS[i % len(PRESETS)],
            seed=chance.choice((0, i, 2**32 - 1)),
        )
        for i in range(count)
    ]


SAMPLE = _sampled_specs(16)
EVERY_SPEC = [
    StreamSpec(key, mode, 40 + (7 * i + 11 * j + 29 * k) % 141, 10, preset, i + j)
    for i, key in enumerate(KEYS)
    for j, mode in enumerate(MODES)
    for k, preset in enumerate(PRESETS)
]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes `spec` runs over the sample, one that takes `every_spec` over all 672 combinations."""
    if "spec" in metafunc.fixturenames:
        metafunc.parametrize("spec", SAMPLE, ids=lambda spec: spec.stream_id)
    if "preset" in metafunc.fixturenames:
        metafunc.parametrize("preset", PRESETS)


@pytest.fixture
def first_section() -> int:
    return FIRST_SECTION


@pytest.fixture(scope="session")
def every_spec() -> list[StreamSpec]:
    return EVERY_SPEC
