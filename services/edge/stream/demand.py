"""Pure: the blocks of a stream that must be asked for now, computed from the clock.

All edges compute the same asks for the same moment, so JetStream keeps one of them. An edge that counted its own
attempts would send message ids that another edge has used for an earlier attempt.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from services.contract import subjects
from services.contract.job import RenderJob
from services.contract.spec import StreamSpec
from services.contract.subjects import Lane

LEAD_S: Final = 5.0
"""How long before a block is due it is first asked for: 2.5 s for the deepest tier, 1.0 s for a redelivery, 0.5 s for
rendering, and 1.0 s for the longest delay before an edge asks."""
REASK_S: Final = 1.0
"""Time between two asks of one block: four attempts before the deepest tier and its reserve are used up. A block that
is queued or being rendered cannot be asked for again, so a repeated ask costs one message and no rendering."""
URGENT_REASK_S: Final = 0.25
"""The same for a new listener's first blocks: it has no buffer, so a lost block is a gap a moment later."""
FALLBACK_S: Final = 3.5
"""While a stream moves to another revision: how long before a block is due the present revision is asked too, if the
new one has sent nothing. This is early enough for the deepest tier, and is not reached while the new renderers work."""
MAX_DELAY_S: Final = 1.0
"""The longest time that an edge waits for other edges of the same stream before it asks."""
SPREAD_EDGES: Final = 1_000
"""Edges of one stream for which the delays are spread: of this many, one asks without delay. A larger value is better
for more edges, and worse where an answer takes long."""
URGENT_BLOCKS: Final = 2
"""Blocks that a new listener needs first: the live one and the next."""
USEFUL_S: Final = 0.2
"""A block with less than this left of its second is not asked for: it would arrive too late."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One job to publish.

    Attributes:
        revision: the renderers to ask.
        lane, job: the job.
        wait_s: how long the edge can wait for the block from the moment of the ask on: until its second is over.
    """

    revision: str
    lane: Lane
    job: RenderJob
    wait_s: float

    @property
    def subject(self) -> str:
        """The bus subject to publish it on."""
        return subjects.render(self.revision, self.lane, self.job.spec.stream_id, self.job.block)

    @property
    def message_id(self) -> str:
        """The id by which JetStream drops repetitions; it differs by revision."""
        asked = subjects.ask_id(self.lane, self.job.spec.stream_id, self.job.block, self.job.attempt)
        return f"{self.revision}.{asked}"


def ask_delay_s(edge: str, stream_id: str) -> float:
    """The delay of an edge's asks for a stream: 0 to `MAX_DELAY_S`, the same for every block.

    A few edges ask first, and the others see the block that these edges get. The delays are spread exponentially, as
    feedback to multicast is: in each 0.1 s twice as many edges would ask as in the 0.1 s before. So about as many ask
    before the first answer where a thousand edges want a stream as where fifty do.
    """
    digest = hashlib.sha256(f"{edge}\0{stream_id}".encode()).digest()
    uniform = (int.from_bytes(digest[:4]) + 1) / 2**32
    return MAX_DELAY_S * max(0.0, 1.0 + math.log(uniform) / math.log(SPREAD_EDGES))


class StreamDemand:
    """The blocks that one stream with listeners needs.

    Args:
        spec: the stream.
        edge: this edge's name.
    """

    def __init__(self, spec: StreamSpec, edge: str) -> None:
        self.spec = spec
        self.delay_s = ask_delay_s(edge, spec.stream_id)
        self._urgent: set[int] = set()
        # Whether a block has arrived since the demand began.
        self._begun = False
        # (block, revision) -> (last attempt, time of the first ask)
        self._asked: dict[tuple[int, str], tuple[int, float]] = {}

    def hurry(self, block: int) -> None:
        """Ask for `block` and the next one without delay in lane `now`: a listener waits for them."""
        self._urgent.update(range(block, block + URGENT_BLOCKS))

    def jump(self) -> None:
        """Time has jumped: what was asked for belongs to another time."""
        self._asked.clear()
        self._urgent.clear()

    def due(
        self, now_s: float, revision: str, has_block: Callable[[int], bool], *, lead_s: float | None = None
    ) -> Iterator[Ask]:
        """The asks that are due and were not returned before.

        Args:
            now_s: unix seconds.
            revision: the renderers to ask.
            has_block: whether a block needs no ask.
            lead_s: how long before a block is due it is first asked for; None: `LEAD_S`.
        """
        lead_s = LEAD_S if lead_s is None else lead_s
        live = math.floor(now_s)
        self._forget(live)
        blocks = range(live, live + math.ceil(lead_s) + 1)
        self._begun = self._begun or any(map(has_block, blocks))
        for block in blocks:
            if now_s > block + 1 - USEFUL_S or has_block(block):
                continue
            urgent = block in self._urgent
            if self._urgent and not self._begun and block > max(self._urgent) + 1:
                # A stream without a sound so far gets only its first blocks: its listener may steer on to another one.
                break
            # Time since this edge may ask for the block; all edges repeat their asks at the same intervals.
            waited_s = now_s - (block - lead_s) - (0.0 if urgent else self.delay_s)
            if waited_s < 0:
                break
            attempt = math.floor(waited_s / (URGENT_REASK_S if urgent else REASK_S))
            key = (block, revision)
            before = self._asked.get(key)
            if before is not None and before[0] >= attempt:
                continue
            self._asked[key] = (attempt, before[1] if before is not None else now_s)
            yield Ask(revision, "now" if urgent else "ahead", RenderJob(self.spec, block, attempt), block + 1 - now_s)

    def asked_at(self, block: int, revision: str) -> float | None:
        """The time of this edge's first ask for `block` (unix seconds); None: there was none."""
        asked = self._asked.get((block, revision))
        return None if asked is None else asked[1]

    def _forget(self, live: int) -> None:
        if self._asked and min(self._asked)[0] < live:
            self._asked = {key: value for key, value in self._asked.items() if key[0] >= live}
        if self._urgent and min(self._urgent) < live:
            self._urgent = {block for block in self._urgent if block >= live}
