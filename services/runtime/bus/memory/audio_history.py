"""Pure: the stream AUDIO, the newest blocks of every subject."""

from __future__ import annotations

import itertools
from collections import OrderedDict, deque

from services.runtime.bus.limits import BusLimits
from services.runtime.bus.port import Message


class AudioHistory:
    """Messages by subject, bounded for each subject, in all, and by age; overflow drops the oldest.

    Args:
        limits: the bounds.
    """

    def __init__(self, limits: BusLimits) -> None:
        self._limits = limits
        self._sequence = itertools.count(1)
        # Sequence number -> (message, when it was kept). All subjects share it, so that the oldest of all is known.
        self._kept: OrderedDict[int, tuple[Message, float]] = OrderedDict()
        self._by_subject: dict[str, deque[int]] = {}
        self._bytes = 0

    def keep(self, message: Message, now_s: float) -> None:
        """Keep a message, and drop what is then too much."""
        self._expire(now_s)
        sequence = next(self._sequence)
        of_subject = self._by_subject.setdefault(message.subject, deque())
        of_subject.append(sequence)
        self._kept[sequence] = (message, now_s)
        self._bytes += len(message.data)
        while len(of_subject) > self._limits.audio_messages_per_subject:
            self._drop(of_subject[0])
        while self._bytes > self._limits.audio_max_bytes:
            self._drop(next(iter(self._kept)))

    def newest(self, subject: str, max_messages: int, now_s: float) -> list[Message]:
        """The newest messages of `subject`, oldest first."""
        self._expire(now_s)
        kept = [self._kept[sequence][0] for sequence in self._by_subject.get(subject, ())]
        return kept[-max_messages:] if max_messages > 0 else []

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()
        self._by_subject.clear()
        self._bytes = 0

    def _drop(self, sequence: int) -> None:
        message, _ = self._kept.pop(sequence)
        self._bytes -= len(message.data)
        of_subject = self._by_subject[message.subject]
        of_subject.remove(sequence)
        if not of_subject:
            del self._by_subject[message.subject]

    def _expire(self, now_s: float) -> None:
        horizon_s = now_s - self._limits.audio_max_age_s
        while self._kept and next(iter(self._kept.values()))[1] <= horizon_s:
            self._drop(next(iter(self._kept)))
