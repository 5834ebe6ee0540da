"""Pure: the renderers as an edge knows them: presence, capacity, and whether they keep up."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Mapping
from typing import Final

from services.contract.presence import GONE_AFTER_S, Presence
from services.runtime.expiring_dict import ExpiringDict

Capacity = Mapping[tuple[int, str], float]
"""(sound version, revision) -> streams in real time; the greatest key is the newest revision."""


class Presences:
    """The renderers that exist, from the presence that each announces once a second."""

    def __init__(self) -> None:
        self._by_instance: ExpiringDict[str, Presence] = ExpiringDict(GONE_AFTER_S)

    def __len__(self) -> int:
        """Renderers that are remembered."""
        return len(self._by_instance)

    def heard(self, presence: Presence, now_s: float) -> None:
        """A renderer has announced itself at `now_s` (unix seconds)."""
        self._by_instance.set(presence.instance, presence, now_s)
        self._by_instance.expire(now_s)

    def ready(self, now_s: float) -> list[Presence]:
        """The renderers that take jobs."""
        return [presence for presence in self._by_instance.values(now_s) if presence.state == "ready"]

    def capacity(self, now_s: float) -> Capacity:
        """Streams in real time that the ready renderers of each revision can render together."""
        capacity: dict[tuple[int, str], float] = {}
        for presence in self.ready(now_s):
            version = (presence.sound_version, presence.revision)
            # A renderer that has not measured itself yet counts as one stream.
            capacity[version] = capacity.get(version, 0.0) + max(presence.capacity_streams, 1.0)
        return capacity

    def warming(self, now_s: float) -> bool:
        """Whether a renderer is starting."""
        return any(presence.state == "warming" for presence in self._by_instance.values(now_s))


def choose_revision(capacity: Capacity, stream_id: str, current: str | None = None) -> str | None:
    """The revision whose renderers are asked for a stream's blocks.

    The newest revision takes over stream by stream as its share of the whole capacity grows, so that the first upgraded
    renderer of many is not asked for all streams. A stream that has moved does not move back while the newest revision
    has renderers.

    Args:
        capacity: from `Presences.capacity`.
        stream_id: the stream; its hash decides how early it moves.
        current: the revision that the stream is on.

    Returns:
        A revision; None if there is no renderer.
    """
    if not capacity:
        return None
    newest_first = sorted(capacity, reverse=True)
    rank = int.from_bytes(hashlib.sha256(stream_id.encode()).digest()[:4]) / 2**32 * sum(capacity.values())
    covered = 0.0
    for version in newest_first:
        covered += capacity[version]
        if rank < covered or version[1] == current:
            return version[1]
    return newest_first[-1][1]


class LoadGauge:
    """Judges whether the renderers keep up, by the time from a block's first ask to its arrival.

    New streams are refused while too many of the last blocks were late or missing.
    """

    LATE_S: Final = 2.5
    """A block that takes longer than this is late: half of the lead with which blocks are asked for."""
    WINDOW_S: Final = 5.0
    """Only blocks of this time are counted."""
    MIN_BLOCKS: Final = 10
    """Fewer blocks than this are no overload."""
    ENTER: Final = 0.2
    """Share of late blocks (0 to 1) at which an overload begins."""
    LEAVE: Final = 0.05
    """Share of late blocks at which it ends."""
    MAX_BLOCKS: Final = 2000
    """Blocks that are remembered; of more, the oldest is forgotten."""

    def __init__(self) -> None:
        self._blocks: deque[tuple[float, bool]] = deque(maxlen=self.MAX_BLOCKS)
        self._overloaded = False

    def __len__(self) -> int:
        """Blocks that are remembered."""
        return len(self._blocks)

    def answered(self, took_s: float, now_s: float) -> None:
        """A block has arrived, `took_s` seconds after it was first asked for."""
        self._blocks.append((now_s, took_s > self.LATE_S))

    def missed(self, now_s: float) -> None:
        """A block has not arrived in time to be heard."""
        self._blocks.append((now_s, True))

    def forget(self) -> None:
        """Begin anew, because time has jumped: blocks of another time say nothing."""
        self._blocks.clear()

    def late_share(self, now_s: float) -> float:
        """Share of late and missing blocks within the window, 0 to 1."""
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
