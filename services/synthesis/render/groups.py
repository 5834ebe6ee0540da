"""Pure. Which rows of a batch are rendered together: a group is the work of one thread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from services.synthesis.packing.placement import Placement

_ROW_COST: Final = 200
"""Cost of a row besides its partials. The unit is a partial below the split."""
_HIGH_COST: Final = 1.5
"""Cost of a partial above the split."""
_PADDING: Final = 60
"""Bright partials that may be added to a call as padding before another call is cheaper."""


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


def bright_slices(high_counts: Sequence[int]) -> list[slice]:
    """Rows that share a call of the kernel for bright partials, so that little is padded.

    Args:
        high_counts: bright partials of each row, most first.
    """
    slices: list[slice] = []
    begin = padding = 0
    for place, count in enumerate(high_counts):
        padding += high_counts[begin] - count
        if padding > _PADDING:
            slices.append(slice(begin, place))
            begin, padding = place, 0
    return [*slices, slice(begin, len(high_counts))] if high_counts else []


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


def _cost(row: Placement) -> float:
    return _ROW_COST + row.low_count + _HIGH_COST * row.high_count
