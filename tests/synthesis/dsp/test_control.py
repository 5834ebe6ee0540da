from __future__ import annotations

import numpy as np
import torch

from services.contract.timebase import BLOCK_FRAMES
from services.synthesis.dsp.control import COLUMNS, WORDS, Column, State, expand
from services.synthesis.dsp.grid import GUARD_INTERVALS, INTERVALS, POINTS
from tests.synthesis.listening import closed_form_tables, expanded, some_partials


def _expand(parameters: np.ndarray, phases: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Phases in cycles [partials, points], and states: what a control point says, then partials, then points."""
    turns, states, _ = expand(*expanded(parameters, phases))
    return turns[0, ..., 0].T.numpy(), states[0].permute(1, 2, 0).numpy()


def test_padding_is_silent() -> None:
    turns, states, cosines = expand(
        torch.zeros(1, COLUMNS, 3), torch.zeros(1, WORDS, 3, dtype=torch.int32), *closed_form_tables()
    )
    assert turns.shape == (1, POINTS, 3, 2)
    assert states.shape == (1, POINTS + 1, len(State), 3)
    assert cosines.shape == (1, POINTS, 3)
    assert torch.count_nonzero(states[:, :, [State.LEFT, State.RIGHT, State.SEND]]) == 0


def test_gains_of_a_control_point_have_the_same_bits_in_both_blocks_that_share_it() -> None:
    parameters, phases = some_partials(40, low_hz=60, high_hz=4_000)
    later = parameters.copy()
    later[:, Column.ONSET] -= BLOCK_FRAMES
    (_, here), (_, there) = _expand(parameters, phases), _expand(later, phases)
    # The next block begins INTERVALS points later; its guard is this one's last interval.
    shared = POINTS + 1 - INTERVALS
    for column in (State.LEFT, State.RIGHT, State.SEND):
        assert np.array_equal(here[column][:, INTERVALS:], there[column][:, :shared])


def test_phases_go_on_into_the_next_block() -> None:
    parameters, phases = some_partials(40, low_hz=60, high_hz=15_000)
    later, later_phases = parameters.copy(), phases.copy()
    later[:, Column.ONSET] -= BLOCK_FRAMES
    start = phases[:, 0].view(np.uint32) + phases[:, 1].view(np.uint32) * np.uint32(BLOCK_FRAMES)
    later_phases[:, 0] = start.view(np.int32)
    (here, _), (there, _) = _expand(parameters, phases), _expand(later, later_phases)
    turn = here[:, INTERVALS:].astype(np.float64) - there[:, : POINTS - INTERVALS]
    assert np.abs(turn - np.round(turn)).max() < 1e-6


def test_a_note_is_silent_before_its_onset_and_after_its_release() -> None:
    parameters = np.zeros((1, COLUMNS), dtype=np.float32)
    parameters[0, [Column.ONSET, Column.ATTACK_RATE, Column.HOLD, Column.RELEASE_RATE]] = (
        2_520,
        1 / 500,
        5_040,
        1 / 2_520,
    )
    parameters[0, [Column.SUSTAIN, Column.GAIN_LEFT]] = 1.0, 1.0
    gain = _expand(parameters, np.array([[0, 1_000_000]], dtype=np.int32))[1][State.LEFT][0]
    point = np.arange(POINTS + 1) - GUARD_INTERVALS
    assert np.count_nonzero(gain[point <= 10]) == 0
    assert (gain[(point > 10) & (point < 40)] > 0).all()
    assert gain[point == 20] == 1.0
    assert np.count_nonzero(gain[point >= 40]) == 0
