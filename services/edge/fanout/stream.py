"""One stream of an edge, with its tasks and its subscription to the bus (shell)."""

from __future__ import annotations

from asyncio import Task
from dataclasses import dataclass, field
from typing import Protocol

from services.contract.spec import StreamSpec
from services.edge.codecs.opus_timeline import OpusTimeline
from services.edge.listener.payloads import Format
from services.edge.stream.demand import StreamDemand
from services.edge.stream.ring import Ring
from services.runtime.bus import Subscription


class Subscriber(Protocol):
    """A listener, as its stream sees it."""

    @property
    def format(self) -> Format:
        """The encoding of its chunks."""
        ...

    @property
    def audience(self) -> int:
        """The number of people that it stands for."""
        ...

    def ahead(self, now_s: float) -> int:
        """Chunks from the live tick on, the live one included, that should be there for it."""
        ...


@dataclass(slots=True, eq=False)
class Stream[S: Subscriber]:
    """One stream on this edge.

    Attributes:
        spec: what it is.
        ring: its chunks.
        demand: the blocks that it needs.
        subscribers: the listeners that hear it or wait for it.
        opened_s: when it was opened (unix seconds).
        left_s: since when it has no subscriber; None while it has one.
        asking: its history has been looked at, so missing blocks may be asked for.
        closed: it has been forgotten.
        ahead: chunks from the live tick on, the live one included, that the deepest subscriber wants.
        starved: a subscriber waits for the next block.
        opus: the timeline for subscribers that listen in Opus; None: there are none.
        opus_subscribers: how many there are.
        subscription: to its blocks; None: not yet, or not any more.
        opening, lookup: the tasks that open it and look up whether it can be rendered.
    """

    spec: StreamSpec
    ring: Ring
    demand: StreamDemand
    opened_s: float
    subscribers: set[S] = field(default_factory=set)
    left_s: float | None = None
    asking: bool = False
    closed: bool = False
    ahead: int = 1
    starved: bool = False
    opus: OpusTimeline | None = None
    opus_subscribers: int = 0
    subscription: Subscription | None = None
    opening: Task[None] | None = None
    lookup: Task[None] | None = None
    _ahead_next: int = 1

    @property
    def id(self) -> str:
        """Its stream id."""
        return self.spec.stream_id

    @property
    def audience(self) -> int:
        """The number of people that hear it."""
        return sum(subscriber.audience for subscriber in self.subscribers)

    def want(self, ahead: int, *, starved: bool) -> None:
        """A subscriber says what it needs.

        Args:
            ahead: chunks from the live tick on, the live one included, that should be there for it.
            starved: it waits for chunks that are not there yet.
        """
        self._ahead_next = max(self._ahead_next, ahead)
        self.starved = self.starved or starved
        if starved and self.opus is not None:
            # The chunk may be rendered and not encoded.
            self.opus.work()

    def begin_tick(self) -> None:
        """Use the wishes that subscribers stated in the last tick, and let them state new ones."""
        self.ahead, self._ahead_next = self._ahead_next, 1
