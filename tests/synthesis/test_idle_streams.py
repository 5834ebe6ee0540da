"""When idle streams are looked for."""

from __future__ import annotations

from services.synthesis.idle_streams import IDLE_S, IdleSweep


def test_each_second_is_looked_at_once_and_older_batches_are_not() -> None:
    sweep = IdleSweep()
    assert sweep.horizon(100) == 100 - IDLE_S
    assert sweep.horizon(100) is None
    assert sweep.horizon(99) is None
    assert sweep.horizon(101) == 101 - IDLE_S


def test_music_of_another_time_is_looked_at_too() -> None:
    sweep = IdleSweep()
    sweep.horizon(1_000)
    assert sweep.horizon(1_000 - IDLE_S) == 1_000 - 2 * IDLE_S
