from __future__ import annotations

import numpy as np
import pytest
import torch

from services.synthesis.dsp.control import Points, expand
from services.synthesis.dsp.grid import LOW_INTERVALS, QUARTER_INTERVAL
from services.synthesis.dsp.voices import HIGH_SUMS, accumulated, high, low, send_part, whole
from services.synthesis.kernels.kernel import Kernels
from tests.synthesis.conftest import BUILD_TIMEOUT_S
from tests.synthesis.listening import (
    FIRST_LOW_INTERVAL,
    LOW_STEP,
    difference_db,
    expanded,
    reference_voices,
    some_partials,
)


def _control(low_hz: float, high_hz: float) -> tuple[Points, tuple[np.ndarray, np.ndarray]]:
    partials = some_partials(24, low_hz=low_hz, high_hz=high_hz)
    return expand(*expanded(*partials)), partials


def _check_low(voices: torch.Tensor, partials: tuple[np.ndarray, np.ndarray]) -> None:
    left, right, send = reference_voices(
        *partials, first=FIRST_LOW_INTERVAL, intervals=LOW_INTERVALS, step_frames=LOW_STEP
    )
    assert np.abs(left).max() > 0.05
    assert difference_db(whole(voices)[0].reshape(2, -1).numpy(), np.stack((left, right))) < -90.0
    assert difference_db(send_part(voices)[0].flatten().numpy(), send[QUARTER_INTERVAL:-QUARTER_INTERVAL]) < -90.0


def _check_high(bright: torch.Tensor, partials: tuple[np.ndarray, np.ndarray]) -> None:
    grid = {"first": FIRST_LOW_INTERVAL, "intervals": LOW_INTERVALS, "step_frames": LOW_STEP}
    cosines = reference_voices(*partials, **grid)[:2]
    # A quarter of a turn earlier: a cosine becomes a sine.
    parameters, phases = partials[0], partials[1] - np.array([[2**30, 0]], dtype=np.int32)
    sines = reference_voices(parameters, phases, **grid)[:2]
    assert np.abs(sines).max() > 0.05
    found = whole(bright, 0, HIGH_SUMS)[0].reshape(HIGH_SUMS, -1).numpy()
    assert difference_db(found, np.stack((*cosines, *sines))) < -90.0


def test_low_partials_agree_with_a_float64_reference_to_90_db() -> None:
    control, partials = _control(50.0, 4_000.0)
    _check_low(low(*control), partials)


def test_high_partials_agree_with_a_float64_reference_to_90_db() -> None:
    control, partials = _control(4_100.0, 14_000.0)
    _check_high(high(*control), partials)


def test_partial_by_partial_is_the_same_sum() -> None:
    control, _ = _control(50.0, 4_000.0)
    assert difference_db(low(*control).numpy(), accumulated(low, *control).numpy()) < -110.0
    assert difference_db(high(*control).numpy(), accumulated(high, *control).numpy()) < -110.0


@pytest.mark.timeout(BUILD_TIMEOUT_S)
def test_compiled_voices_agree_with_the_reference_too(compiled_kernels: Kernels) -> None:
    for low_hz, high_hz in ((50.0, 4_000.0), (4_100.0, 14_000.0)):
        partials = some_partials(24, low_hz=low_hz, high_hz=high_hz)
        points = compiled_kernels.expand(*expanded(*partials))
        if high_hz < 4_100.0:
            _check_low(compiled_kernels.low(*points)[0], partials)
        else:
            _check_high(compiled_kernels.high(*points)[0], partials)


def test_the_left_end_of_a_guard_is_the_right_end_of_the_block_before() -> None:
    parameters, phases = some_partials(24, low_hz=50.0, high_hz=4_000.0)
    later, later_phases = parameters.copy(), phases.copy()
    later[:, 0] -= 44_100
    later_phases[:, 0] = (phases[:, 0].view(np.uint32) + phases[:, 1].view(np.uint32) * np.uint32(44_100)).view(
        np.int32
    )
    here, there = low(*expand(*expanded(parameters, phases))), low(*expand(*expanded(later, later_phases)))
    # The last two intervals of one block (its last and its guard) are the first two of the next.
    assert difference_db(here[:, -2:].numpy(), there[:, :2].numpy()) < -100.0
