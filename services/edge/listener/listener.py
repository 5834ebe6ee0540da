"""Pure: one listener as a state machine: messages and time go in, actions come out.

A listener is a cursor on the timeline of a stream. It is sent chunks from the live tick on, up to its tier ahead of it.
While its connection takes nothing the cursor stays. If the cursor has fallen behind the live tick when the connection
takes data again, it moves to the live tick, at the boundary of a chunk, and the listener is told.

Before `start` a listener has no state; then it is `Waiting` for its first chunk, and from then on `Hearing`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from services.contract import websocket
from services.contract.errors import ContractError, FieldError
from services.contract.spec import StreamSpec
from services.contract.websocket import MAX_INBOUND_BYTES, CloseCode, Report, Start, Stop, Update, parse_client_message
from services.edge.listener import resume
from services.edge.listener.actions import Action, Close, Join, Leave, SendEvent
from services.edge.listener.hearing import Hearing, Place
from services.edge.listener.payloads import Format
from services.edge.listener.resume import ResumePoint
from services.edge.listener.session import Counts, Session
from services.edge.listener.settings import (
    MAX_MESSAGES_PER_S,
    MESSAGE_BURST,
    STALLED_S,
    START_WITHIN_S,
    ListenerSettings,
)
from services.edge.listener.tiers import TierController
from services.edge.listener.token_bucket import TokenBucket
from services.edge.listener.waiting import Waiting
from services.edge.stream.chunk import Timeline
from services.edge.stream.ring import EARLY_TICKS


class Listener:
    """The state machine of one listener.

    Args:
        settings: limits and the secret.
        format_: how its chunks are encoded.
        events: whether it gets `hello`, `status` and `splice`.
        now_s: unix seconds.
        shift_s: of the clock, see `Clock`.

    Attributes:
        closed: nothing more will be sent.
    """

    def __init__(
        self, settings: ListenerSettings, *, format_: Format, events: bool, now_s: float, shift_s: float = 0.0
    ) -> None:
        self.closed = False
        self._session = Session(settings, format_=format_, events=events, now_s=now_s, shift_s=shift_s)
        self._state: Waiting | Hearing | None = None
        self._messages = TokenBucket(MAX_MESSAGES_PER_S, MESSAGE_BURST)
        self._connected_s = now_s
        self._stalled_since_s: float | None = None

    # --- what others may know ----------------------------------------------------------------------------------------

    @property
    def format(self) -> Format:
        """The encoding of its chunks."""
        return self._session.format

    @property
    def tiers(self) -> TierController:
        """The depth to which its buffer is filled."""
        return self._session.tiers

    @property
    def counts(self) -> Counts:
        """Rare events, for metrics."""
        return self._session.counts

    @property
    def spec(self) -> StreamSpec | None:
        """The stream that it hears, or will hear first; None before `start`."""
        return None if self._state is None else self._state.spec

    @property
    def stream_ids(self) -> tuple[str, ...]:
        """The streams that are rendered for it: at most two, the one that it hears first."""
        state = self._state
        if state is None:
            return ()
        pending = state.steering.pending if isinstance(state, Hearing) else None
        return (state.stream_id,) if pending is None else (state.stream_id, pending.stream_id)

    @property
    def starved(self) -> bool:
        """Whether it waits for chunks of the stream that it hears or changes to."""
        state = self._state
        if isinstance(state, Hearing):
            return state.starved or state.steering.pending is not None
        return state is not None

    def ahead(self, now_s: float) -> int:
        """Chunks from the live tick on, the live one included, that should be there for it."""
        early = self._state.early if isinstance(self._state, Hearing) else EARLY_TICKS
        return max(1, self.tiers.target(now_s) + early)

    def depth(self, live: int) -> int:
        """Chunks that it holds unplayed, as far as the edge knows."""
        return self._state.depth(live) if isinstance(self._state, Hearing) else 0

    @property
    def wake_s(self) -> float | None:
        """The time of a call of `pump` between two ticks (unix seconds); None: none is needed."""
        return self._state.steering.wake_s if isinstance(self._state, Hearing) else None

    # --- what it says ------------------------------------------------------------------------------------------------

    def receive(self, data: str | bytes, now_s: float, live: int) -> list[Action]:
        """Handle a message from the client.

        Args:
            data: text or binary message.
            now_s: unix seconds.
            live: the live tick.
        """
        if self.closed:
            return []
        if not self._messages.take(now_s):
            return self._fail(CloseCode.RATE, f"more than {MAX_MESSAGES_PER_S} messages a second; send fewer")
        size_bytes = len(data) if isinstance(data, bytes) else len(data.encode(errors="replace"))
        if size_bytes > MAX_INBOUND_BYTES:
            return self._fail(CloseCode.TOO_BIG, f"got {size_bytes} bytes, expected at most {MAX_INBOUND_BYTES}")
        try:
            message = parse_client_message(data)
        except FieldError as error:
            # One value is wrong; the music goes on.
            return [SendEvent(websocket.error(CloseCode.BAD_MESSAGE, str(error), error.field))]
        except ContractError as error:
            return self._fail(CloseCode.BAD_MESSAGE, str(error))
        match message:
            case Start():
                return self._start(message, now_s, live)
            case Update():
                return self._update(message, now_s, live)
            case Report():
                self.counts.underruns += self.tiers.on_report(
                    message.chunk_id, message.underruns, message.jitter_ms, now_s
                )
                return []
            case Stop():
                return self._close(CloseCode.STOPPED, "stopped")

    def _start(self, message: Start, now_s: float, live: int) -> list[Action]:
        self._session.events = self._session.events or message.events
        if self._state is not None:
            return self._steer_to(self._state, message.spec, now_s, live)
        point = self._resume_point(message, now_s)
        self._state = Waiting(self._session, message.spec, now_s, point, resuming=message.resume is not None)
        return [Join(message.spec, live if point is None else point.chunk_id)]

    def _resume_point(self, message: Start, now_s: float) -> ResumePoint | None:
        """The place where the listener lost its connection; None: its token does not say."""
        if message.resume is None:
            return None
        point = resume.read(self._session.settings.secret, message.resume, now_s + self._session.shift_s)
        if point is None or not point.is_in(message.spec.stream_id):
            return None
        if message.chunk_id is None:
            return point
        # The client knows best what it has: more than an old token says, or less than a last one says, if what was sent
        # before that never arrived.
        return ResumePoint(message.spec.stream_id, message.chunk_id, final=True)

    def _update(self, message: Update, now_s: float, live: int) -> list[Action]:
        if message.events is not None and self.format is Format.JSON:
            self._session.events = message.events
        if self._state is None:
            body = websocket.error(CloseCode.BAD_MESSAGE, "update: nothing plays yet; send start first", "action")
            return [SendEvent(body)]
        newest = self._state.steering.newest if isinstance(self._state, Hearing) else None
        spec = (newest or self._state.spec).updated(message.params)
        return self._steer_to(self._state, spec, now_s, live)

    def _steer_to(self, state: Waiting | Hearing, spec: StreamSpec, now_s: float, live: int) -> list[Action]:
        if isinstance(state, Hearing):
            return state.steer_to(spec, now_s, live)
        if spec == state.spec:
            return []
        actions: list[Action] = [Leave(state.stream_id), Join(spec, live)]
        state.choose(spec)
        return actions

    def refused(self, stream_id: str, reason: str, *, code: CloseCode = CloseCode.TRY_LATER) -> list[Action]:
        """A stream that it wanted cannot be rendered for it.

        Args:
            stream_id: the stream.
            reason: for the client.
            code: close code that stands for the reason.

        Returns:
            The end of the connection, or only an error if it hears another stream.
        """
        state = self._state
        if self.closed or state is None:
            return []
        if isinstance(state, Hearing):
            pending = state.steering.pending
            if pending is None or pending.stream_id != stream_id:
                return []
            state.steering.finish()
            return [SendEvent(websocket.error(code, reason, "params"))]
        return self._fail(code, reason) if state.stream_id == stream_id else []

    # --- what it is sent ---------------------------------------------------------------------------------------------

    def pump(self, now_s: float, live: int, timelines: Mapping[str, Timeline], capacity: int) -> Sequence[Action]:
        """Everything that may be sent now.

        Args:
            now_s: unix seconds.
            live: the live tick.
            timelines: stream id -> timeline, of all streams that there are.
            capacity: chunks that the connection takes now; 0 while it is stalled.
        """
        state = self._state
        if self.closed:
            return ()
        if state is None:
            return self._check_started(now_s)
        actions: list[Action] = []
        timeline = timelines.get(state.stream_id)
        if timeline is None:
            return actions
        if isinstance(state, Waiting):
            tick = state.first_tick(timeline, live)
            if tick is None:
                state.wait(now_s, live, actions)
                return actions
            if capacity <= 0:
                # Its place is decided when it can be sent something.
                return self._stall(now_s, actions)
            state = self._state = state.begin(timeline, tick, now_s, live, actions)
        elif state.steering:
            timeline = state.follow_steering(timeline, timelines, now_s, live, actions)
        if capacity <= 0:
            state.steady = False
            return self._stall(now_s, actions)
        if self._stalled_since_s is not None:
            self._stalled_since_s = None
            self._session.pace.begin_filling(now_s)
        state.send(timeline, now_s, live, capacity, actions)
        if self._session.token_is_old(now_s):
            state.say_hello(now_s, actions)
        return actions

    def steady_place(self, live: int) -> Place | None:
        """Its place, if it needs one chunk a tick from here on: the case of most listeners.

        Such a listener may be sent its chunks without a call of `pump`. Call `advance_to` before anything else is
        asked of it.

        Args:
            live: the live tick, whose chunk it has been sent.
        """
        return self._state.place(live) if isinstance(self._state, Hearing) and not self.closed else None

    def advance_to(self, cursor: int) -> None:
        """Move the cursor: every chunk before `cursor` has been sent, one a tick."""
        if isinstance(self._state, Hearing):
            self._state.advance_to(cursor)

    def jump(self, ticks: int, shift_s: float, now_s: float) -> list[Action]:
        """Time has jumped: go on with the chunk after the last one, which has another id now.

        Args:
            ticks: by which time has jumped; negative: back.
            shift_s: of the clock, see `Clock`.
            now_s: unix seconds.
        """
        self._session.shift_s = shift_s
        actions: list[Action] = []
        if isinstance(self._state, Hearing) and not self.closed:
            self._state.jump(ticks, now_s, actions)
        elif isinstance(self._state, Waiting):
            self._state.forget_place()
        return actions

    def renew_token(self, now_s: float) -> list[Action]:
        """A new resume token for the place where it is, if the one that it has is old."""
        actions: list[Action] = []
        if isinstance(self._state, Hearing) and self._session.token_is_old(now_s):
            self._state.say_hello(now_s, actions)
        return actions

    def _check_started(self, now_s: float) -> Sequence[Action]:
        if now_s - self._connected_s < START_WITHIN_S:
            return ()
        return self._fail(CloseCode.POLICY, f"no start within {START_WITHIN_S:g} s of connecting")

    def _stall(self, now_s: float, actions: list[Action]) -> Sequence[Action]:
        if self._stalled_since_s is None:
            self._stalled_since_s = now_s
        elif now_s - self._stalled_since_s >= STALLED_S:
            actions += self._close(CloseCode.POLICY, f"took nothing for {STALLED_S:g} s")
        return actions

    # --- its end -----------------------------------------------------------------------------------------------------

    def drain(self, now_s: float) -> list[Action]:
        """Send the listener to another edge, with a token for its exact place."""
        if self.closed:
            return []
        token = ""
        if isinstance(self._state, Hearing):
            point = ResumePoint(self._state.stream_id, self._state.cursor, final=True)
            token = self._session.token(point, now_s)
        details = {"resume": token} if token else {}
        actions: list[Action] = []
        self._session.tell(websocket.status("draining", **details), actions)
        return actions + self._close(CloseCode.RESTART, token)

    def _fail(self, code: CloseCode, message: str) -> list[Action]:
        return [SendEvent(websocket.error(code, message)), *self._close(code, message)]

    def _close(self, code: CloseCode, reason: str) -> list[Action]:
        self.closed = True
        return [Close(code, reason)]
