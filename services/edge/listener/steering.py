"""Pure: changes of stream while listening: the one being rendered, and the one after it.

At most one change is rendered at a time. A newer wish waits until the change before it has had its chance, so a client
that drags a slider costs a handful of streams and ends with the last value.
"""

from __future__ import annotations

from typing import Final

from services.contract.spec import StreamSpec
from services.edge.listener.actions import Action, Join, Leave
from services.edge.listener.settings import MAX_UPDATES_PER_S

PATIENCE_S: Final = 0.25
"""A change that has not been rendered within this time gives way to a newer one."""


class Steering:
    """The changes that one listener has asked for and does not hear yet.

    Attributes:
        pending: the stream that is being rendered for it; None: no change is under way.
    """

    __slots__ = ("_asked_s", "_wanted", "pending")

    def __init__(self) -> None:
        self.pending: StreamSpec | None = None
        self._wanted: StreamSpec | None = None
        self._asked_s = float("-inf")

    def __bool__(self) -> bool:
        """Whether a change is under way or waits."""
        return self.pending is not None or self._wanted is not None

    @property
    def newest(self) -> StreamSpec | None:
        """The change that was asked for last; None: there is none."""
        return self._wanted or self.pending

    @property
    def wake_s(self) -> float | None:
        """The time at which a waiting change may go ahead (unix seconds); None: none waits."""
        return None if self._wanted is None else self._next_ask_s()

    def change_to(self, spec: StreamSpec, playing: StreamSpec) -> list[Action]:
        """The listener wants `spec` while it hears `playing`; call `ask` next."""
        if spec == playing:
            self._wanted = None
            return self._drop_pending()
        self._wanted = None if spec == self.pending else spec
        return []

    def ask(self, now_s: float, tick: int) -> list[Action]:
        """Have the newest wish rendered from `tick` on, if the change before it has had its chance."""
        if self._wanted is None or now_s < self._next_ask_s():
            return []
        actions = self._drop_pending()
        self.pending, self._wanted = self._wanted, None
        self._asked_s = now_s
        return [*actions, Join(self.pending, tick)]

    def finish(self) -> None:
        """The pending change has been made, or cannot be made."""
        self.pending = None

    def _next_ask_s(self) -> float:
        return self._asked_s + (PATIENCE_S if self.pending is not None else 1 / MAX_UPDATES_PER_S)

    def _drop_pending(self) -> list[Action]:
        dropped, self.pending = self.pending, None
        return [] if dropped is None else [Leave(dropped.stream_id)]
