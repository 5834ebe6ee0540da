from __future__ import annotations

import numpy as np
import pytest
import torch

from services.synthesis.dsp.control import expand
from services.synthesis.dsp.grid import INTERVALS, LOW_INTERVALS, QUARTER_INTERVAL
from services.synthesis.dsp.voices import accumulate_high, accumulate_low, high, low
from services.synthesis.kernels import Kernels
from tests.synthesis.conftest import BUILD_TIMEOUT_S
from tests.synthesis.listening import FIRST_LOW_INTERVAL, LOW_STEP, difference_db, reference_voices, some_partials


def _control(low_hz: float, high_hz: float) -> tuple[list[torch.Tensor], tuple[np.ndarray, np.ndarray]]:
    parameters, phases = some_partials(24, low_hz=low_hz, high_hz=high_hz)
    return list(expand(torch.from_numpy(parameters)[None], torch.from_numpy(phases)[None])), (parameters, phases)


def _check_low(dry: torch.Tensor, send: torch.Tensor, partials: tuple[np.ndarray, np.ndarray]) -> None:
    left, right, sent = reference_voices(
        *partials, first=FIRST_LOW_INTERVAL, intervals=LOW_INTERVALS, step_frames=LOW_STEP
    )
    sound = dry[0, :, :, :QUARTER_INTERVAL].reshape(2, -1).numpy()
    assert np.abs(left).max() > 0.05
    assert difference_db(sound, np.stack((left, right))) < -90.0
    assert difference_db(send[0].numpy(), sent[QUARTER_INTERVAL:-QUARTER_INTERVAL]) < -90.0


def _check_high(bright: torch.Tensor, partials: tuple[np.ndarray, np.ndarray]) -> None:
    left, right, _ = reference_voices(*partials, first=0, intervals=INTERVALS, step_frames=1.0)
    # [channel, phase, interval, lane] into frames: lane by phase within each interval.
    sound = bright[0, :, :, :, :QUARTER_INTERVAL].permute(0, 2, 3, 1).reshape(2, -1).numpy()
    assert difference_db(sound, np.stack((left, right))) < -90.0


def test_low_partials_agree_with_a_float64_reference_to_90_db() -> None:
    control, partials = _control(50.0, 4_000.0)
    _check_low(*low(control), partials)


def test_high_partials_agree_with_a_float64_reference_to_90_db() -> None:
    control, partials = _control(4_100.0, 14_000.0)
    _check_high(high(control[:6]), partials)


def test_partial_by_partial_is_the_same_sum() -> None:
    control, _ = _control(50.0, 4_000.0)
    dry, send = low(control)
    eager_dry, eager_send = accumulate_low(control)
    assert difference_db(dry.numpy(), eager_dry.numpy()) < -110.0
    assert difference_db(send.numpy(), eager_send.numpy()) < -110.0
    assert difference_db(high(control[:6]).numpy(), accumulate_high(control).numpy()) < -110.0


@pytest.mark.timeout(BUILD_TIMEOUT_S)
def test_compiled_voices_agree_with_the_reference_too(compiled_kernels: Kernels) -> None:
    for low_hz, high_hz in ((50.0, 4_000.0), (4_100.0, 14_000.0)):
        parameters, phases = some_partials(24, low_hz=low_hz, high_hz=high_hz)
        points = compiled_kernels.expand(torch.from_numpy(parameters)[None], torch.from_numpy(phases)[None])
        if high_hz < 4_100.0:
            dry, send = compiled_kernels.low(*points)
            _check_low(dry, send, (parameters, phases))
        else:
            _check_high(compiled_kernels.high(*points[:6])[0], (parameters, phases))


def test_the_left_end_of_a_guard_is_the_right_end_of_the_block_before() -> None:
    parameters, phases = some_partials(24, low_hz=50.0, high_hz=4_000.0)
    later, later_phases = parameters.copy(), phases.copy()
    later[:, 0] -= 44_100
    later_phases[:, 0] = (phases[:, 0].view(np.uint32) + phases[:, 1].view(np.uint32) * np.uint32(44_100)).view(
        np.int32
    )
    here, _ = low(expand(torch.from_numpy(parameters)[None], torch.from_numpy(phases)[None]))
    there, _ = low(expand(torch.from_numpy(later)[None], torch.from_numpy(later_phases)[None]))
    # The last two intervals of one block (its last and its guard) are the first two of the next.
    assert difference_db(here[:, :, -2:].numpy(), there[:, :, :2].numpy()) < -100.0
