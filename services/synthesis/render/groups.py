"""Pure. Which rows of a batch are rendered together: a group is the work of one thread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from services.synthesis.packing.placement import Placement

_ROW_COST: Final = 200
"""Cost of a row besides its partials. The unit is a partial below the split."""
_HIGH_COST: Final = 6
"""Cost of a partial above the split."""
_BRIGHT_LIMITS: Final = (0, 6, 20)
"""Bright partials of the rows in each bucket at most; more are in the last one."""


def group_rows(rows: Sequence[Placement], *, most: int, threads: int) -> list[list[int]]:
    """Groups of about equal cost, as places in `rows`.

    Args:
        rows: the batch.
        most: rows of a group at most.
        threads: how many threads work at groups.
    """
    if len({row.stream for row in rows}) > len(rows) // 2:
        # Rows of about equal length share a call, so that little is padded; those with bright partials are apart.
        order = sorted(range(len(rows)), key=lambda index: (rows[index].high_count == 0, -rows[index].low_count))
    else:
        # Blocks of one stream share their history.
        order = sorted(range(len(rows)), key=lambda index: (rows[index].stream, rows[index].block))
    return equal_shares(order, [_cost(rows[index]) for index in order], most=most, threads=threads)


def bright_buckets(high_counts: Sequence[int]) -> list[list[int]]:
    """Places of rows that share a call of the kernel for bright partials, so that little is padded.

    Args:
        high_counts: bright partials of each row. Rows without any are apart: they need another kernel.
    """
    buckets: list[list[int]] = [[] for _ in range(len(_BRIGHT_LIMITS) + 1)]
    for place, count in enumerate(high_counts):
        buckets[sum(count > limit for limit in _BRIGHT_LIMITS)].append(place)
    return [bucket for bucket in buckets if bucket]


def equal_shares(order: Sequence[int], costs: Sequence[float], *, most: int, threads: int) -> list[list[int]]:
    """Cut `order` into groups of about equal cost, the same number for each thread, so that all threads end together.

    Args:
        order: what is cut; groups keep its order.
        costs: of each item of `order`.
        most: items of a group at most.
        threads: how many threads work at groups.
    """
    groups_left = min(len(order), threads * -(-len(order) // (threads * most)))
    cost_left = sum(costs)
    groups: list[list[int]] = []
    group: list[int] = []
    spent = 0.0
    for place, (item, cost) in enumerate(zip(order, costs, strict=True)):
        # An item that lies across a cut goes to the side that has more of it.
        full = groups_left > 1 and spent + cost / 2 > cost_left / groups_left
        if group and (len(group) == most or full or len(order) - place < groups_left):
            groups.append(group)
            group, cost_left, spent, groups_left = [], cost_left - spent, 0.0, max(1, groups_left - 1)
        group.append(item)
        spent += cost
    return [*groups, group] if group else groups


def _cost(row: Placement) -> int:
    return _ROW_COST + row.low_count + _HIGH_COST * row.high_count
