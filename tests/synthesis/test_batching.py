from __future__ import annotations

import pytest

from services.synthesis.batching import (
    FIRST_BATCH,
    MAX_BATCH,
    MAX_DELIVERIES,
    MEASURE_BLOCKS,
    MEMORY_RETRY_S,
    BatchSize,
    Verdict,
    batch_limit,
    follow_speed,
    judge,
)


@pytest.mark.parametrize(
    ("capacity", "fixed", "memory", "expected"),
    [
        (0.0, None, MAX_BATCH, FIRST_BATCH),
        (80.0, None, MAX_BATCH, 10),
        (3.0, None, MAX_BATCH, 1),
        (1e6, None, MAX_BATCH, MAX_BATCH),
        (80.0, None, 4, 4),
        (80.0, 16, MAX_BATCH, 16),
        (80.0, 16, 2, 2),
    ],
)
def test_a_batch_is_what_renders_in_an_eighth_of_a_second_and_fits(
    capacity: float, fixed: int | None, memory: int, expected: int
) -> None:
    assert batch_limit(capacity, fixed=fixed, memory_limit=memory) == expected


def test_a_block_is_rendered_while_its_edge_waits_for_it() -> None:
    assert judge(1, 0.01) is Verdict.RENDER
    assert judge(1, 0.0) is Verdict.LATE
    assert judge(1, None) is Verdict.RENDER
    assert judge(MAX_DELIVERIES, 2.0) is Verdict.RENDER
    assert judge(MAX_DELIVERIES + 1, 2.0) is Verdict.EXHAUSTED
    assert judge(MAX_DELIVERIES + 1, None) is Verdict.EXHAUSTED
    # A late job does not count against its stream.
    assert judge(MAX_DELIVERIES + 1, -0.5) is Verdict.LATE


def test_one_stall_hardly_changes_the_measured_speed() -> None:
    assert follow_speed(0.0, 10, 0.1) == pytest.approx(100.0)
    assert 75.0 < follow_speed(100.0, 10, 1.0) < 100.0
    speed = 100.0
    for _ in range(60):
        speed = follow_speed(speed, 10, 1.0)
    assert speed == pytest.approx(10.0, rel=0.01)


def test_a_batch_that_does_not_fit_is_halved_and_grows_again_after_a_while() -> None:
    size = BatchSize()
    size.capacity_streams = 8.0 * 64
    assert size.limit == 64
    assert size.out_of_memory(64, now_s=100.0) == size.limit == 32
    size.retry_memory(100.0 + MEMORY_RETRY_S - 0.01)
    assert size.limit == 32
    size.retry_memory(100.0 + MEMORY_RETRY_S)
    assert size.limit == 64
    assert size.out_of_memory(1, now_s=200.0) == size.limit == 1


def test_only_large_batches_measure_the_speed() -> None:
    size = BatchSize()
    assert not size.rendered(MEASURE_BLOCKS - 1, 1.0)
    assert size.capacity_streams == 0.0
    assert size.rendered(MEASURE_BLOCKS, 0.1)
    assert size.capacity_streams == pytest.approx(10.0 * MEASURE_BLOCKS)
    # Where the operator allows no larger ones, these have to do.
    assert BatchSize(fixed=1).rendered(1, 0.1)


def test_a_fixed_size_is_kept_within_its_range() -> None:
    assert [BatchSize(fixed).limit for fixed in (0, 1, MAX_BATCH + 1)] == [1, 1, MAX_BATCH]
