from __future__ import annotations

import pytest

from services.contract.spec import StreamSpec
from services.edge.listener.actions import Join, Leave
from services.edge.listener.settings import MAX_UPDATES_PER_S
from services.edge.listener.steering import PATIENCE_S, Steering

PLAYING, FIRST, SECOND, THIRD = (StreamSpec(bpm=bpm) for bpm in (70, 80, 90, 100))
NOW_S = 1_763_900_000.0
TICK = 17_639_000_000


def steered(steering: Steering, spec: StreamSpec, now_s: float) -> list[object]:
    return [*steering.change_to(spec, PLAYING), *steering.ask(now_s, TICK)]


def test_a_change_is_rendered_without_delay() -> None:
    steering = Steering()
    assert not steering
    assert steered(steering, FIRST, NOW_S) == [Join(FIRST, TICK)]
    assert steering
    assert (steering.pending, steering.newest, steering.wake_s) == (FIRST, FIRST, None)


def test_a_newer_change_waits_until_the_one_before_has_had_its_chance() -> None:
    steering = Steering()
    steered(steering, FIRST, NOW_S)
    assert steered(steering, SECOND, NOW_S + 0.01) == []
    assert steered(steering, THIRD, NOW_S + 0.02) == []
    assert (steering.pending, steering.newest) == (FIRST, THIRD)
    assert steering.wake_s == pytest.approx(NOW_S + PATIENCE_S)
    assert steering.ask(NOW_S + PATIENCE_S - 0.001, TICK) == []
    assert steering.ask(NOW_S + PATIENCE_S, TICK + 3) == [Leave(FIRST.stream_id), Join(THIRD, TICK + 3)]


def test_after_a_finished_change_the_next_waits_for_the_greatest_rate_only() -> None:
    steering = Steering()
    steered(steering, FIRST, NOW_S)
    steering.finish()
    assert steered(steering, SECOND, NOW_S + 0.5 / MAX_UPDATES_PER_S) == []
    assert steering.wake_s == pytest.approx(NOW_S + 1 / MAX_UPDATES_PER_S)
    assert steering.ask(NOW_S + 1.01 / MAX_UPDATES_PER_S, TICK) == [Join(SECOND, TICK)]


def test_a_return_to_the_playing_stream_drops_all_changes() -> None:
    steering = Steering()
    steered(steering, FIRST, NOW_S)
    steered(steering, SECOND, NOW_S + 0.01)
    assert steered(steering, PLAYING, NOW_S + 0.02) == [Leave(FIRST.stream_id)]
    assert not steering


def test_a_return_to_the_pending_change_keeps_it_and_drops_the_waiting_one() -> None:
    steering = Steering()
    steered(steering, FIRST, NOW_S)
    steered(steering, SECOND, NOW_S + 0.01)
    assert steered(steering, FIRST, NOW_S + 0.02) == []
    assert (steering.pending, steering.wake_s) == (FIRST, None)
