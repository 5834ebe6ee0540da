"""Pure: the state of a listener that waits for the first chunk of its stream."""

from __future__ import annotations

from typing import Final

from services.contract import websocket
from services.contract.spec import StreamSpec
from services.edge.listener.actions import Action
from services.edge.listener.hearing import Hearing
from services.edge.listener.resume import ResumePoint
from services.edge.listener.session import Session
from services.edge.listener.settings import MAX_LAG_CHUNKS
from services.edge.stream.chunk import Timeline
from services.edge.stream.ring import EARLY_TICKS

WARMING_AFTER_S: Final = 0.25
"""How long a listener waits before it is told "warming". A ready renderer is faster, so most listeners are not told."""

FIRST_CHUNKS: Final = 2
"""A listener begins when it can be sent this many. The rest of a new Opus stream is being encoded; on a busy machine
that takes longer than one chunk lasts, and the second one would be late."""


class Waiting:
    """A listener's wait for the first chunk of its stream.

    Args:
        session: what the listener keeps over its states.
        spec: the stream.
        since_s: when the stream was asked for (unix seconds).
        point: where the listener was before it lost its connection; None: it is new, or its token is not valid.
        resuming: whether it has shown a token, valid or not.

    Attributes:
        spec, stream_id: the stream.
    """

    __slots__ = ("_point", "_resuming", "_session", "_since_s", "_told", "spec", "stream_id")

    def __init__(
        self, session: Session, spec: StreamSpec, since_s: float, point: ResumePoint | None, *, resuming: bool
    ) -> None:
        self.spec = spec
        self.stream_id = spec.stream_id
        self._session = session
        self._since_s = since_s
        self._point = point
        self._resuming = resuming
        self._told = False

    def choose(self, spec: StreamSpec) -> None:
        """Wait for another stream: nothing has been heard yet, so nothing needs to be joined."""
        self.spec = spec
        self.stream_id = spec.stream_id
        self._point = None

    def forget_place(self) -> None:
        """Begin at the live tick, because the place that it was to resume at belongs to another time."""
        self._point = None

    def first_tick(self, timeline: Timeline, live: int) -> int | None:
        """The tick to join the timeline at: the live one or slightly ahead; None: not yet."""
        if timeline.origin is None:
            return None
        tick = max(live, timeline.origin)
        ready = all(timeline.chunk(tick + place) is not None for place in range(FIRST_CHUNKS))
        return tick if tick <= live + EARLY_TICKS and ready else None

    def wait(self, now_s: float, live: int, actions: list[Action]) -> None:
        """Nothing can be heard yet: say so once, if it takes long."""
        if not self._told and now_s - self._since_s >= WARMING_AFTER_S:
            self._told = True
            self._session.hello(self.spec, live, now_s, actions)
            self._session.tell(websocket.status("warming"), actions)

    def begin(self, timeline: Timeline, tick: int, now_s: float, live: int, actions: list[Action]) -> Hearing:
        """Start to hear the stream at `tick`, or at the place where the connection was lost."""
        session = self._session
        session.pace.begin_filling(now_s)
        recovered: bool | None = False if self._resuming else None
        lag = live - tick
        if self._point is not None and self._can_resume(self._point, timeline, live):
            tick = self._point.chunk_id
            lag = max(0, live - tick)
            recovered = True
        session.hello(self.spec, tick, now_s, actions, recovered=recovered)
        if self._told:
            session.tell(websocket.status("playing", chunk_id=tick), actions)
        return Hearing(session, self.spec, tick, lag)

    def _can_resume(self, point: ResumePoint, timeline: Timeline, live: int) -> bool:
        # A token that more was sent after is only a lower bound: too little to go back behind the live tick.
        earliest = live - MAX_LAG_CHUNKS if point.final else live
        if not earliest <= point.chunk_id <= live + self._session.settings.tiers.deepest:
            return False
        return point.chunk_id >= live or timeline.chunk(point.chunk_id) is not None
