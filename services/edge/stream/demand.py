"""Which blocks of which streams to ask for now, and whom. Pure: everything is computed from the clock.

All edges compute the same asks for the same moment, so that JetStream keeps one of them: an edge that counted its own
attempts would be taken for a repetition of another's.
"""

from __future__ import annotations

import hashlib
import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from services.contract import subjects
from services.contract.job import RenderJob
from services.contract.presence import GONE_AFTER_S, Presence
from services.contract.spec import StreamSpec
from services.contract.subjects import Lane

LEAD_S: Final = 5.0
"""Deepest tier 2.5, redelivery 1.0, rendering 0.5, and the longest delay before an edge asks 1.0."""
REASK_S: Final = 1.0
"""Four chances before a listener of the deepest tier, with his reserve, has nothing left. What waits in the queue or is
being rendered cannot be asked for again, so a repeated ask costs a message and nothing else."""
URGENT_REASK_S: Final = 0.25
"""Who has just come has no lead: a block that is lost is a gap a moment later."""
FALLBACK_S: Final = 3.5
"""A stream that is to move is asked for of the revision that it is on from here on, if the new one has sent nothing:
time enough for the deepest tier, and never reached where new renderers do what they have announced."""
MAX_DELAY_S: Final = 1.0
CROWD: Final = 1_000
"""With so many edges for one stream one of them asks at once. Larger is better for larger crowds, and worse where an
answer takes long."""
URGENT_BLOCKS: Final = 2
"""A new listener's block, and the one after it."""
USEFUL_S: Final = 0.2
"""With less of a block's second left it could not be heard any more."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One job to publish."""

    revision: str
    lane: Lane
    job: RenderJob

    @property
    def subject(self) -> str:
        """Where it goes."""
        return subjects.render(self.revision, self.lane, self.job.spec.stream_id, self.job.block)

    @property
    def message_id(self) -> str:
        """What JetStream tells repetitions by; two revisions' asks of a block are none."""
        asked = subjects.ask_id(self.lane, self.job.spec.stream_id, self.job.block, self.job.attempt)
        return f"{self.revision}.{asked}"


def ask_delay_s(edge: str, stream_id: str) -> float:
    """0 to 1 s: of many edges with the same stream a few ask first, and the others see the block that they are sent.

    Spread exponentially, as feedback to multicast is: in each 0.1 s twice as many would ask as in the 0.1 s before. So
    about as many ask before the first is answered where a thousand edges want a stream as where fifty do. Spread evenly
    it would be a share of them all.
    """
    digest = hashlib.sha256(f"{edge}\0{stream_id}".encode()).digest()
    place = (int.from_bytes(digest[:4]) + 1) / 2**32
    return MAX_DELAY_S * max(0.0, 1.0 + math.log(place) / math.log(CROWD))


class StreamDemand:
    """What one stream with listeners needs.

    Args:
        spec: the stream.
        edge: this edge's name.
    """

    def __init__(self, spec: StreamSpec, edge: str) -> None:
        self.spec = spec
        self.delay_s = ask_delay_s(edge, spec.stream_id)
        self._urgent: set[int] = set()
        self._begun = False
        # (block, revision) -> (attempt asked, when first asked)
        self._asked: dict[tuple[int, str], tuple[int, float]] = {}

    def hurry(self, block: int) -> None:
        """A listener waits for `block` and the one after it: ask for them at once and in the quick lane."""
        self._urgent.update(range(block, block + URGENT_BLOCKS))

    def due(
        self, now_s: float, revision: str, has_block: Callable[[int], bool], *, lead_s: float | None = None
    ) -> Iterator[Ask]:
        """The asks that this moment brings; calling again brings no repetition.

        Args:
            now_s: unix seconds.
            revision: whose renderers to ask.
            has_block: whether a block needs no asking for.
            lead_s: how long before a block is due it is first asked for; None: LEAD_S.
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
                # Of a stream that nobody hears yet, no more than it begins with: who steers on leaves no work behind.
                break
            # Since when this edge may ask; re-asks follow at the same distance for all.
            waited_s = now_s - (block - lead_s) - (0.0 if urgent else self.delay_s)
            if waited_s < 0:
                break
            attempt = math.floor(waited_s / (URGENT_REASK_S if urgent else REASK_S))
            key = (block, revision)
            before = self._asked.get(key)
            if before is not None and before[0] >= attempt:
                continue
            self._asked[key] = (attempt, before[1] if before is not None else now_s)
            yield Ask(revision, "now" if urgent else "ahead", RenderJob(self.spec, block, attempt))

    def asked_at(self, block: int, revision: str) -> float | None:
        """When this edge first asked for `block`; None if it has not."""
        asked = self._asked.get((block, revision))
        return None if asked is None else asked[1]

    def unanswered(self, now_s: float, has_block: Callable[[int], bool]) -> float:
        """Seconds since the first ask of the block that has been waited for longest; 0 if none is waited for."""
        waits = [now_s - first for (block, _), (_, first) in self._asked.items() if not has_block(block)]
        return max(waits, default=0.0)

    def _forget(self, live: int) -> None:
        if self._asked and min(self._asked)[0] < live:
            self._asked = {key: value for key, value in self._asked.items() if key[0] >= live}
        if self._urgent and min(self._urgent) < live:
            self._urgent = {block for block in self._urgent if block >= live}


Capacity = Mapping[tuple[int, str], float]
"""(sound version, revision) -> streams in real time; the greatest key is the newest revision."""


class Presences:
    """Which renderers there are, from what they say of themselves once a second."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[Presence, float]] = {}

    def heard(self, presence: Presence, now_s: float) -> None:
        """A renderer has said something."""
        self._seen[presence.instance] = (presence, now_s)
        for instance in [name for name, (_, at_s) in self._seen.items() if now_s - at_s > GONE_AFTER_S]:
            del self._seen[instance]

    def ready(self, now_s: float) -> list[Presence]:
        """Those that take jobs."""
        return [
            presence
            for presence, at_s in self._seen.values()
            if presence.state == "ready" and now_s - at_s <= GONE_AFTER_S
        ]

    def capacity(self, now_s: float) -> Capacity:
        """Streams in real time that each revision's ready renderers can do together."""
        capacity: dict[tuple[int, str], float] = {}
        for presence in self.ready(now_s):
            order = (presence.sound_version, presence.revision)
            # A renderer that has measured nothing yet still counts for something.
            capacity[order] = capacity.get(order, 0.0) + max(presence.capacity_streams, 1.0)
        return capacity

    def warming(self, now_s: float) -> bool:
        """Whether one is on its way."""
        return any(p.state == "warming" and now_s - at_s <= GONE_AFTER_S for p, at_s in self._seen.values())


def choose_revision(capacity: Capacity, stream_id: str, current: str | None = None) -> str | None:
    """Whose renderers a stream should be asked of.

    The newest revision takes over stream by stream as its share of the whole capacity grows, so that the first upgraded
    renderer of many is not asked for everything at once. A stream that has moved does not move back while the newest
    is there.

    Args:
        capacity: from `Presences.capacity`.
        stream_id: the stream; its hash is its place in the queue for moving.
        current: the revision that the stream is on.

    Returns:
        A revision; None if there is no renderer.
    """
    if not capacity:
        return None
    newest_first = sorted(capacity, reverse=True)
    place = int.from_bytes(hashlib.sha256(stream_id.encode()).digest()[:4]) / 2**32 * sum(capacity.values())
    covered = 0.0
    for order in newest_first:
        covered += capacity[order]
        if place < covered or order[1] == current:
            return order[1]
    return newest_first[-1][1]


class LoadGauge:
    """Whether renderers keep up: from the time between a block's first ask and its arrival.

    New streams are refused from `ENTER` late blocks of the last few seconds on, and taken again below `LEAVE`.
    """

    LATE_S: Final = 2.5
    """Half of the lead."""
    WINDOW_S: Final = 5.0
    MIN_BLOCKS: Final = 10
    ENTER: Final = 0.2
    LEAVE: Final = 0.05
    MAX_BLOCKS: Final = 2000

    def __init__(self) -> None:
        self._blocks: deque[tuple[float, bool]] = deque(maxlen=self.MAX_BLOCKS)
        self._overloaded = False

    def answered(self, took_s: float, now_s: float) -> None:
        """A block has come, `took_s` after it was first asked for."""
        self._blocks.append((now_s, took_s > self.LATE_S))

    def missed(self, now_s: float) -> None:
        """A block has not come in time to be heard."""
        self._blocks.append((now_s, True))

    def late_share(self, now_s: float) -> float:
        """Share of late and missing blocks in the last seconds, 0 to 1."""
        while self._blocks and now_s - self._blocks[0][0] > self.WINDOW_S:
            self._blocks.popleft()
        if not self._blocks:
            return 0.0
        return sum(late for _, late in self._blocks) / len(self._blocks)

    def overloaded(self, now_s: float) -> bool:
        """Whether a new stream would be one too many."""
        share = self.late_share(now_s)
        if self._overloaded:
            self._overloaded = share > self.LEAVE
        else:
            self._overloaded = share >= self.ENTER and len(self._blocks) >= self.MIN_BLOCKS
        return self._overloaded
