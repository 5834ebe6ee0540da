from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.contract.spec import StreamSpec
from services.contract.timebase import CHUNK_BYTES
from services.contract.websocket import CloseCode
from services.edge.listener.actions import Action, Close, Join, Leave, SendChunk, SendEvent
from services.edge.listener.hearing import Hearing, Place
from services.edge.listener.listener import Listener
from services.edge.listener.payloads import Format
from services.edge.listener.resume import ResumePoint, issue, read
from services.edge.listener.settings import (
    FILL_CHUNKS,
    FILL_CHUNKS_PER_S,
    MAX_LAG_CHUNKS,
    STALLED_S,
    START_WITHIN_S,
    TOKEN_EVERY_S,
    ListenerSettings,
)
from services.edge.listener.tiers import TierLimits
from services.edge.stream.chunk import Chunk, Source
from services.edge.stream.ring import HISTORY_CHUNKS
from tests.edge.support import LIVE, NOW_S, SPEC

SECRET = b"secret"
OTHER = StreamSpec(key="F#")
SETTINGS = ListenerSettings(
    tiers=TierLimits.clamped("normal", min_capacity_ms=200, max_capacity_ms=3000),
    chunks_per_s=50,
    secret=SECRET,
    # A buffer is filled immediately, so that no test waits for it; one test looks at the filling itself.
    fill_chunks=25,
    fill_chunks_per_s=1000,
)


@dataclass
class FakeTimeline:
    """A stream that has everything from `origin` to `front`, where `sources` may say what it is made of."""

    origin: int | None = LIVE - 100
    front: int = LIVE + 1_000_000
    sources: dict[int, Source] = field(default_factory=dict)
    level: int = 0

    def chunk(self, tick: int) -> Chunk | None:
        if self.origin is None or not self.origin <= tick <= self.front:
            return None
        pcm = self.level.to_bytes(2, "little") * (CHUNK_BYTES // 2)
        return Chunk(tick, pcm, self.sources.get(tick, Source.LIVE))


class Desk:
    """A listener, its clock, and what it was sent."""

    def __init__(self, *, events: bool = False, format_: Format = Format.JSON, **changes: Any) -> None:
        settings = ListenerSettings(**{**{name: getattr(SETTINGS, name) for name in SETTINGS.__slots__}, **changes})
        self.now_s = NOW_S
        self.listener = Listener(settings, format_=format_, events=events, now_s=NOW_S)
        self.timelines: dict[str, FakeTimeline] = {
            SPEC.stream_id: FakeTimeline(),
            OTHER.stream_id: FakeTimeline(level=1000),
        }
        self.actions: list[Action] = []

    @property
    def live(self) -> int:
        return int(self.now_s * 10)

    def say(self, message: object) -> list[Action]:
        data = message if isinstance(message, str | bytes) else json.dumps(message)
        actions = self.listener.receive(data, self.now_s, self.live)
        self.actions += actions
        return actions

    def start(self, **params: object) -> list[Action]:
        return self.say({"type": "control", "action": "start", "params": params})

    def update(self, **params: object) -> list[Action]:
        return self.say({"type": "control", "action": "update", "params": params})

    def pump(self, capacity: int = 64) -> Sequence[Action]:
        actions = self.listener.pump(self.now_s, self.live, self.timelines, capacity)
        self.actions += actions
        return actions

    def tick(self, capacity: int = 64) -> Sequence[Action]:
        self.now_s = (self.live + 1) / 10 + 0.0001
        return self.pump(capacity)

    def begun(self, **params: object) -> Desk:
        self.start(**params)
        assert self.listener.spec is not None
        self.timelines.setdefault(self.listener.spec.stream_id, FakeTimeline())
        self.pump()
        self.actions.clear()
        return self


def sent(actions: Sequence[Action]) -> list[tuple[int, int]]:
    """(chunk_id, depth) of what was sent."""
    return [(action.chunk.tick, action.depth) for action in actions if isinstance(action, SendChunk)]


def events(actions: Sequence[Action], kind: str = "") -> list[dict[str, Any]]:
    bodies = [dict(action.body) for action in actions if isinstance(action, SendEvent)]
    return [body for body in bodies if not kind or body["type"] == kind]


def closes(actions: Sequence[Action]) -> list[tuple[int, str]]:
    return [(int(action.code), action.reason) for action in actions if isinstance(action, Close)]


# --- beginning -------------------------------------------------------------------------------------------------------


def test_start_joins_the_stream_of_its_spec() -> None:
    assert Desk().start(key="Gb", bpm=70, intensity=0.5) == [Join(OTHER, LIVE)]


def test_a_new_listener_gets_a_burst_up_to_its_tier_from_the_live_tick_on() -> None:
    desk = Desk()
    desk.start()
    actions = desk.pump()
    assert sent(actions) == [(LIVE + index, index + 1) for index in range(10)]
    assert all(isinstance(action, SendChunk) and action.tier == "normal" for action in actions)


def test_a_buffer_is_filled_three_times_as_fast_as_it_is_played() -> None:
    desk = Desk(fill_chunks=FILL_CHUNKS, fill_chunks_per_s=FILL_CHUNKS_PER_S)
    desk.now_s = LIVE / 10 + 0.0001
    desk.start()
    depths = [[depth for _, depth in sent(desk.pump())]]
    depths += [[depth for _, depth in sent(desk.tick())] for _ in range(6)]
    assert depths == [[1, 2, 3], [3, 4, 5], [5, 6, 7], [7, 8, 9], [9, 10], [10], [10]]


def test_afterwards_each_tick_brings_one_chunk_at_the_tiers_depth() -> None:
    desk = Desk().begun()
    for index in range(50):
        assert sent(desk.tick()) == [(LIVE + 10 + index, 10)]


def test_between_two_ticks_nothing_is_sent_twice() -> None:
    desk = Desk().begun()
    assert desk.pump() == []


def test_a_plain_client_gets_nothing_but_audio() -> None:
    desk = Desk()
    desk.start()
    for _ in range(300):
        desk.tick()
    assert events(desk.actions) == []


def test_a_client_of_events_is_greeted_first() -> None:
    desk = Desk(events=True)
    desk.start()
    actions = desk.pump()
    greeting = events(actions)[0]
    assert isinstance(actions[0], SendEvent)
    assert greeting["type"] == "hello"
    assert greeting["chunk_id"] == LIVE
    assert greeting["stream_id"] == SPEC.stream_id
    assert greeting["recovered"] is None
    assert greeting["server_time"] == NOW_S
    assert greeting["limits"]["max_inbound_bytes"] == 4096
    assert read(SECRET, greeting["resume"], NOW_S) == ResumePoint(SPEC.stream_id, LIVE)


def test_events_may_be_asked_for_in_start() -> None:
    desk = Desk()
    desk.start(events=True)
    assert events(desk.pump())[0]["type"] == "hello"


def test_the_token_is_renewed_while_it_is_still_good() -> None:
    desk = Desk(events=True).begun()
    for _ in range(round(TOKEN_EVERY_S * 10) + 2):
        desk.tick()
    (greeting,) = events(desk.actions, "hello")
    assert read(SECRET, greeting["resume"], desk.now_s) == ResumePoint(SPEC.stream_id, greeting["chunk_id"])


def test_a_listener_waits_for_the_first_chunk_and_is_told_so_once() -> None:
    desk = Desk(events=True)
    desk.timelines[SPEC.stream_id].origin = None
    desk.start()
    assert desk.pump() == []
    assert desk.listener.starved
    for _ in range(20):
        desk.tick()
    assert [body["type"] for body in events(desk.actions)] == ["hello", "status"]
    assert events(desk.actions, "status") == [{"type": "status", "state": "warming"}]
    desk.timelines[SPEC.stream_id].origin = desk.live
    actions = desk.tick()
    assert events(actions, "hello")[0]["chunk_id"] == desk.live
    assert events(actions, "status") == [{"type": "status", "state": "playing", "chunk_id": desk.live}]
    assert sent(actions)[0] == (desk.live, 1)


def test_a_plain_client_that_waits_is_told_nothing() -> None:
    desk = Desk()
    desk.timelines[SPEC.stream_id].origin = None
    desk.start()
    for _ in range(20):
        desk.tick()
    assert events(desk.actions) == []


def test_a_connection_that_never_starts_is_closed() -> None:
    desk = Desk()
    desk.now_s += START_WITHIN_S - 0.1
    assert desk.pump() == ()
    desk.now_s += 0.2
    assert closes(desk.pump()) == [(1008, "no start within 10 s of connecting")]


def test_a_listener_does_not_begin_with_a_chunk_that_nothing_follows() -> None:
    desk = Desk()
    desk.start()
    desk.timelines[SPEC.stream_id].front = LIVE
    assert sent(desk.pump()) == []
    desk.timelines[SPEC.stream_id].front = LIVE + 1
    assert [tick for tick, _ in sent(desk.pump())] == [LIVE, LIVE + 1]


def test_a_timeline_that_begins_slightly_ahead_of_the_live_tick_is_joined_there() -> None:
    desk = Desk()
    timeline = desk.timelines[SPEC.stream_id]
    desk.start()
    timeline.origin = LIVE + 3
    assert desk.pump() == []
    timeline.origin = LIVE + 2
    assert sent(desk.pump()) == [(LIVE + 2 + index, 1 + index) for index in range(10)]
    assert sent(desk.tick()) == [(LIVE + 12, 10)]
    assert desk.listener.ahead(desk.now_s) == 12


# --- what it says ----------------------------------------------------------------------------------------------------


def test_stop_closes_with_1000() -> None:
    desk = Desk().begun()
    assert desk.say({"type": "control", "action": "stop"}) == [Close(CloseCode.STOPPED, "stopped")]
    assert desk.listener.closed
    assert desk.tick() == ()
    assert desk.say({"type": "control", "action": "stop"}) == []


@pytest.mark.parametrize("text", ["", "nonsense", "[]", "{}", '{"type":"dance"}', b"\xff\xfe", '{"type":"control"'])
def test_an_invalid_message_is_answered_and_closed_with_4400(text: str | bytes) -> None:
    actions = Desk().begun().say(text)
    assert events(actions, "error")[0]["code"] == 4400
    assert closes(actions)[0][0] == 4400


def test_a_bad_value_is_named_and_the_music_goes_on() -> None:
    desk = Desk().begun()
    actions = desk.update(bpm=500)
    (error,) = events(actions, "error")
    assert error["field"] == "bpm"
    assert "40 to 180" in error["message"]
    assert closes(actions) == []
    assert sent(desk.tick()) == [(LIVE + 10, 10)]


def test_a_start_with_a_bad_value_may_be_repeated() -> None:
    desk = Desk()
    assert events(desk.start(key="H"), "error")[0]["field"] == "key"
    assert desk.start(key="B") == [Join(StreamSpec(key="B"), LIVE)]


@pytest.mark.parametrize("message", ["x" * 4097, "ü" * 2100, b"x" * 5000])
def test_a_message_that_is_too_big_is_closed_with_1009(message: str | bytes) -> None:
    assert closes(Desk().begun().say(message))[0][0] == 1009


def test_too_many_messages_are_closed_with_4429() -> None:
    desk = Desk().begun()
    report = {"type": "report", "chunk_id": LIVE, "buffer_ms": 900, "underruns": 0, "jitter_ms": 1}
    answers = [desk.say(report) for _ in range(200)]
    # With `start` a hundred pass in one burst.
    assert answers[98] == []
    assert closes(answers[99])[0][0] == 4429
    assert answers[100] == []


def test_twenty_updates_a_second_with_reports_are_not_too_many() -> None:
    desk = Desk().begun()
    for step in range(600):
        desk.now_s += 0.05
        desk.update(intensity=(step % 21) / 20)
        desk.pump()
    assert not desk.listener.closed


def test_an_update_before_start_is_an_error_and_nothing_more() -> None:
    actions = Desk().update(bpm=80)
    assert events(actions, "error")[0]["code"] == 4400
    assert closes(actions) == []


def test_reported_underruns_raise_the_tier_and_the_buffer() -> None:
    desk = Desk().begun()
    for step in range(50):
        desk.tick()
        report = {"type": "report", "chunk_id": desk.live, "buffer_ms": 900, "underruns": step // 5, "jitter_ms": 100}
        desk.say(report)
    actions = desk.tick()
    assert desk.listener.tiers.tier != "normal"
    assert desk.listener.counts.underruns == 9
    last = [action for action in desk.actions if isinstance(action, SendChunk)][-1]
    assert last.tier == desk.listener.tiers.tier
    assert last.depth >= 15
    assert events(actions) == []


# --- slow and fast ---------------------------------------------------------------------------------------------------


def test_a_stalled_listener_keeps_its_place_while_its_buffer_lasts() -> None:
    desk = Desk(events=True).begun()
    for _ in range(9):
        assert desk.tick(capacity=0) == []
    assert sent(desk.tick()) == [(LIVE + 10 + index, index + 1) for index in range(10)]
    assert desk.listener.counts.underruns == 0


def test_a_buffer_is_refilled_in_one_go_after_a_delay_of_the_edge_and_slowly_after_one_of_the_listener() -> None:
    desk = Desk(events=True, fill_chunks=FILL_CHUNKS, fill_chunks_per_s=FILL_CHUNKS_PER_S).begun()
    for _ in range(20):
        desk.tick()
    desk.now_s += 2.5
    assert [depth for _, depth in sent(desk.pump())] == [0, *range(2, 11)]
    assert desk.listener.steady_place(desk.live) is not None
    for _ in range(25):
        desk.tick(capacity=0)
    assert [depth for _, depth in sent(desk.tick())] == [0, 2, 3]
    assert desk.listener.counts.skips == 2


def test_a_listener_that_is_too_slow_goes_on_at_the_live_tick_and_is_told() -> None:
    desk = Desk(events=True).begun()
    for _ in range(30):
        desk.tick(capacity=0)
    actions = desk.tick()
    assert desk.live == LIVE + 31
    assert events(actions, "status") == [
        {"type": "status", "state": "skipped", "from_chunk_id": LIVE + 10, "to_chunk_id": LIVE + 31}
    ]
    assert sent(actions) == [(LIVE + 31, 0)] + [(LIVE + 31 + index, index + 1) for index in range(1, 10)]
    counts = desk.listener.counts
    assert (counts.underruns, counts.skips, counts.skipped_chunks) == (1, 1, 21)


def test_an_underrun_is_counted_once() -> None:
    desk = Desk().begun()
    for _ in range(15):
        desk.tick(capacity=0)
    first = desk.tick()
    assert sent(first)[0][1] == 0
    for _ in range(20):
        assert sent(desk.tick())[0][1] == 10
    assert desk.listener.counts.underruns == 1


def test_a_listener_that_takes_nothing_for_half_a_minute_is_closed() -> None:
    desk = Desk().begun()
    for _ in range(round(STALLED_S * 10) + 5):
        desk.tick(capacity=0)
    assert closes(desk.actions) == [(1008, "took nothing for 30 s")]


def test_a_listener_gets_no_more_chunks_than_its_connection_takes() -> None:
    desk = Desk()
    desk.start()
    assert len(sent(desk.pump(capacity=3))) == 3
    assert sent(desk.pump(capacity=64))[0] == (LIVE + 3, 4)


def test_no_more_than_fifty_chunks_a_second_after_a_burst_of_twenty_five() -> None:
    desk = Desk(tiers=TierLimits("defensive", {"minimal": 5, "normal": 10, "stable": 15, "defensive": 25}))
    desk.start()
    assert len(sent(desk.pump())) == 25
    # The cursor is eleven chunks behind, and the bucket has one token for each 20 ms.
    desk.now_s += 1.1
    assert len(sent(desk.pump())) == 11
    for _ in range(30):
        desk.tick(capacity=0)
    desk.now_s += 0.05
    burst = len(sent(desk.pump()))
    assert burst == 25
    desk.now_s += 0.05
    assert len(sent(desk.pump())) <= 3


def test_a_rate_below_real_time_is_kept_although_the_listener_starves() -> None:
    desk = Desk(chunks_per_s=5)
    desk.start()
    for _ in range(600):
        desk.tick()
    assert len(sent(desk.actions)) <= 25 + 5 * 60


# --- loops -----------------------------------------------------------------------------------------------------------


def test_a_listener_is_told_when_a_loop_begins_and_when_it_ends() -> None:
    desk = Desk(events=True).begun()
    timeline = desk.timelines[SPEC.stream_id]
    timeline.sources = {LIVE + 20 + index: Source.LOOP for index in range(10)} | {LIVE + 30: Source.FADE}
    for _ in range(30):
        desk.tick()
    states = [(body["state"]) for body in events(desk.actions, "status")]
    assert states == ["degraded", "playing"]
    assert [tick for tick, _ in sent(desk.actions)] == list(range(LIVE + 10, LIVE + 40))


# --- steering --------------------------------------------------------------------------------------------------------


def test_a_client_with_splice_hears_a_change_with_the_next_chunk_that_it_plays() -> None:
    desk = Desk(events=True).begun()
    assert desk.update(key="F#") == [Join(OTHER, LIVE + 1)]
    actions = desk.pump()
    assert events(actions, "splice") == [
        {
            "type": "splice",
            "chunk_id": LIVE + 1,
            "stream": OTHER.to_params(),
            "stream_id": OTHER.stream_id,
            "title": OTHER.title,
        }
    ]
    assert Leave(SPEC.stream_id) in actions
    assert sent(actions) == [(LIVE + 1 + index, index + 2) for index in range(9)]
    greeting = events(actions, "hello")[0]
    assert read(SECRET, greeting["resume"], NOW_S) == ResumePoint(OTHER.stream_id, LIVE + 1)
    assert desk.listener.stream_ids == (OTHER.stream_id,)


def test_the_splice_waits_for_the_new_stream_and_the_old_one_plays_on() -> None:
    desk = Desk(events=True).begun()
    desk.timelines[OTHER.stream_id].origin = None
    desk.update(key="F#")
    assert desk.listener.stream_ids == (SPEC.stream_id, OTHER.stream_id)
    assert sent(desk.tick()) == [(LIVE + 10, 10)]
    desk.timelines[OTHER.stream_id].origin = LIVE
    actions = desk.tick()
    assert events(actions, "splice")[0]["chunk_id"] == desk.live + 1
    assert sent(actions)[0] == (desk.live + 1, 2)


def test_a_splice_into_a_stream_that_begins_a_little_later_begins_there() -> None:
    desk = Desk(events=True).begun()
    desk.timelines[OTHER.stream_id].origin = LIVE + 3
    desk.update(key="F#")
    assert events(desk.pump(), "splice")[0]["chunk_id"] == LIVE + 3


def test_a_plain_client_gets_the_change_with_its_next_chunk_and_that_chunk_crossfades() -> None:
    desk = Desk().begun()
    assert desk.update(key="F#") == [Join(OTHER, LIVE + 10)]
    actions = desk.tick()
    assert sent(actions) == [(LIVE + 10, 10)]
    assert events(actions) == []
    (chunk,) = [action.chunk for action in actions if isinstance(action, SendChunk)]
    assert chunk.source is Source.FADE
    first, last = (int.from_bytes(bytes(chunk.pcm[at : at + 2]), "little") for at in (0, CHUNK_BYTES - 4))
    assert (first, last) == (0, 1000)
    (after,) = [action.chunk for action in desk.tick() if isinstance(action, SendChunk)]
    assert bytes(after.pcm[:2]) == (1000).to_bytes(2, "little")


def test_a_second_start_is_a_change_of_everything() -> None:
    desk = Desk().begun(bpm=100)
    assert desk.start() == [Join(SPEC, LIVE + 10)]


def test_an_update_changes_only_what_it_names() -> None:
    desk = Desk().begun(key="D", mode="lydian", bpm=90)
    assert desk.update(intensity=0.9) == [Join(StreamSpec("D", "lydian", 90, 18), LIVE + 10)]


def test_an_update_that_changes_nothing_does_nothing() -> None:
    assert Desk(events=True).begun().update(key="C") == []


def test_before_the_first_chunk_a_change_replaces_the_stream() -> None:
    desk = Desk()
    desk.start()
    assert desk.update(key="F#") == [Leave(SPEC.stream_id), Join(OTHER, LIVE)]
    desk.pump()
    assert desk.listener.stream_ids == (OTHER.stream_id,)


def test_dragging_renders_at_most_two_streams_and_ends_with_the_last_value() -> None:
    desk = Desk(events=True).begun()
    rendered_after = 0.12
    joined: dict[str, float] = {}
    for step in range(60):
        desk.now_s += 0.05
        intensity = min(step, 20) / 20
        for action in desk.update(intensity=intensity) if step <= 20 else []:
            if isinstance(action, Join):
                joined[action.spec.stream_id] = desk.now_s
        for stream_id, at_s in joined.items():
            if desk.now_s - at_s >= rendered_after:
                desk.timelines.setdefault(stream_id, FakeTimeline())
        for action in desk.pump():
            if isinstance(action, Join):
                joined[action.spec.stream_id] = desk.now_s
        assert len(desk.listener.stream_ids) <= 2
    assert desk.listener.spec is not None
    assert desk.listener.spec.intensity == 1.0
    # Twenty changes in a second became a handful of streams.
    assert len(joined) <= 8
    assert len(events(desk.actions, "splice")) == len(joined)


def test_a_change_that_is_not_rendered_gives_way_to_a_newer_one() -> None:
    desk = Desk(events=True).begun()
    desk.update(bpm=100)
    desk.now_s += 0.01
    assert desk.update(bpm=110) == []
    wake_s = desk.listener.wake_s
    assert wake_s == pytest.approx(NOW_S + 0.25)
    desk.now_s = wake_s + 0.001
    actions = desk.pump()
    assert Leave(StreamSpec(bpm=100).stream_id) in actions
    assert [action.spec.bpm for action in actions if isinstance(action, Join)] == [110]


def test_going_back_to_the_playing_stream_drops_the_change() -> None:
    desk = Desk(events=True).begun()
    desk.update(bpm=100)
    assert desk.update(bpm=70) == [Leave(StreamSpec(bpm=100).stream_id)]
    assert desk.listener.stream_ids == (SPEC.stream_id,)


def test_a_change_that_is_refused_is_an_error_and_the_music_goes_on() -> None:
    desk = Desk(events=True).begun()
    desk.update(bpm=100)
    actions = desk.listener.refused(StreamSpec(bpm=100).stream_id, "busy")
    assert [body["message"] for body in events(actions, "error")] == ["busy"]
    assert closes(actions) == []
    assert desk.listener.stream_ids == (SPEC.stream_id,)


def test_a_first_stream_that_is_refused_ends_the_connection() -> None:
    desk = Desk()
    desk.start()
    actions = desk.listener.refused(SPEC.stream_id, "busy")
    assert closes(actions) == [(1013, "busy")]
    assert events(actions, "error")[0]["code"] == 1013


def test_a_refusal_that_comes_too_late_is_ignored() -> None:
    desk = Desk().begun()
    assert desk.listener.refused(SPEC.stream_id, "busy") == []
    assert desk.listener.refused("other", "busy") == []


# --- coming back -----------------------------------------------------------------------------------------------------


def token(chunk_id: int, *, final: bool = False, stream_id: str = SPEC.stream_id, now_s: float = NOW_S) -> str:
    return issue(SECRET, ResumePoint(stream_id, chunk_id, final), now_s)


def resumed(**params: object) -> tuple[Desk, Sequence[Action]]:
    desk = Desk(events=True)
    desk.timelines[SPEC.stream_id].origin = LIVE - HISTORY_CHUNKS
    desk.start(**params)
    return desk, desk.pump()


def test_a_listener_that_was_sent_away_goes_on_with_its_next_chunk() -> None:
    _, actions = resumed(resume=token(LIVE + 4, final=True))
    assert events(actions, "hello")[0]["recovered"] is True
    assert sent(actions) == [(LIVE + 4 + index, 5 + index) for index in range(6)]


def test_a_listener_that_was_away_longer_than_its_buffer_goes_on_where_it_was_and_stays_behind() -> None:
    desk, actions = resumed(resume=token(LIVE - 30, final=True))
    assert events(actions, "hello")[0]["recovered"] is True
    assert sent(actions) == [(LIVE - 30 + index, 1 + index) for index in range(10)]
    assert sent(desk.tick()) == [(LIVE - 20, 10)]


def test_the_client_knows_best_which_chunk_it_lacks() -> None:
    _, actions = resumed(resume=token(LIVE - 100), chunk_id=LIVE - 3)
    assert events(actions, "hello")[0]["recovered"] is True
    assert sent(actions)[0] == (LIVE - 3, 1)


def test_chunks_that_were_sent_before_the_last_token_and_never_arrived_are_sent_again() -> None:
    # A process that ends takes with it what the kernel had not sent.
    _, actions = resumed(resume=token(LIVE + 10, final=True), chunk_id=LIVE)
    assert events(actions, "hello")[0]["recovered"] is True
    assert sent(actions)[0] == (LIVE, 1)


def test_an_old_token_without_a_chunk_goes_on_at_the_live_tick() -> None:
    _, actions = resumed(resume=token(LIVE - 100))
    assert events(actions, "hello")[0]["recovered"] is False
    assert sent(actions)[0] == (LIVE, 1)


@pytest.mark.parametrize(
    "bad",
    [
        token(LIVE - MAX_LAG_CHUNKS - 1, final=True),
        token(LIVE + 26, final=True),
        token(LIVE + 1, final=True, stream_id=OTHER.stream_id),
        token(LIVE + 1, final=True, now_s=NOW_S - 100),
        "nonsense",
    ],
)
def test_a_token_that_cannot_be_used_means_a_new_beginning_and_the_client_is_told(bad: str) -> None:
    _, actions = resumed(resume=bad)
    assert events(actions, "hello")[0]["recovered"] is False
    assert sent(actions)[0] == (LIVE, 1)


def test_a_listener_cannot_resume_in_history_that_is_not_there() -> None:
    desk = Desk(events=True)
    desk.timelines[SPEC.stream_id].origin = LIVE - 5
    desk.start(resume=token(LIVE - 6, final=True))
    assert events(desk.pump(), "hello")[0]["recovered"] is False


def test_a_drain_gives_a_token_for_the_next_chunk() -> None:
    desk = Desk(events=True).begun()
    actions = desk.listener.drain(desk.now_s)
    (status,) = events(actions, "status")
    assert status["state"] == "draining"
    assert read(SECRET, status["resume"], NOW_S) == ResumePoint(SPEC.stream_id, LIVE + 10, final=True)
    assert closes(actions) == [(1012, status["resume"])]
    assert desk.listener.drain(desk.now_s) == []


def test_a_drain_tells_a_plain_client_in_the_close_reason_only() -> None:
    desk = Desk().begun()
    actions = desk.listener.drain(desk.now_s)
    assert events(actions) == []
    assert read(SECRET, closes(actions)[0][1], NOW_S) is not None


# --- whatever happens ------------------------------------------------------------------------------------------------


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0, 0, 1, 3, 64]), st.floats(0.01, 0.5)), max_size=150))
def test_chunks_are_sent_once_and_in_order_except_for_skips_that_the_client_is_told_of(
    steps: list[tuple[int, float]],
) -> None:
    desk = Desk(events=True)
    desk.start()
    for capacity, wait_s in steps:
        desk.now_s += wait_s
        desk.pump(capacity)
    expected: int | None = None
    for action in desk.actions:
        match action:
            case SendEvent(body={"type": "status", "state": "skipped", **details}):
                assert details["from_chunk_id"] == expected
                expected = details["to_chunk_id"]
            case SendChunk(chunk=chunk, depth=depth, tier=tier):
                assert expected is None or chunk.tick == expected
                expected = chunk.tick + 1
                assert 0 <= depth <= SETTINGS.tiers.chunks[tier]
    depths = [depth for _, depth in sent(desk.actions)]
    state = desk.listener._state
    dry = isinstance(state, Hearing) and state.ran_dry
    assert depths.count(0) == desk.listener.counts.underruns - dry


class InCohort:
    """Drives a listener as the crowd does: in a cohort while it is steady, otherwise as a single listener."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.place: Place | None = None
        self.next = 0

    def leave(self) -> None:
        if self.place is not None:
            self.desk.listener.advance_to(self.next)
            self.place = None

    def drive(self, capacity: int) -> None:
        desk = self.desk
        if self.place is not None:
            here = desk.live - self.place.lag
            if not capacity or self.next < here:
                self.leave()
            while self.place is not None and self.next < here + self.place.target:
                chunk = desk.timelines[desk.listener.stream_ids[0]].chunk(self.next)
                assert chunk is not None
                if chunk.source is not Source.LIVE:
                    self.leave()
                    break
                desk.actions.append(SendChunk(chunk, self.place.tier, self.next - here + 1))
                self.next += 1
            if self.place is not None:
                return
        desk.pump(capacity)
        self.place = desk.listener.steady_place(desk.live) if capacity else None
        if self.place is not None:
            self.next = desk.live - self.place.lag + self.place.target


class Single:
    """Drives a listener as a single one at every tick."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    def leave(self) -> None:
        """It never joined."""

    def drive(self, capacity: int) -> None:
        self.desk.pump(capacity)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([0, 64, 64, 64, 64]),
            st.sampled_from(["", "", "", "", "report", "bad report", "steer"]),
            st.floats(0.01, 0.15),
        ),
        max_size=120,
    ),
    st.sets(st.integers(0, 150), max_size=20),
    st.booleans(),
)
def test_a_listener_in_a_cohort_is_sent_the_same_as_a_single_listener(
    steps: list[tuple[int, str, float]],
    loops: set[int],
    events: bool,  # noqa: FBT001 - drawn
) -> None:
    sent_each_way = []
    for way in (InCohort, Single):
        desk = Desk(events=events)
        driver = way(desk)
        desk.timelines[SPEC.stream_id].sources = {LIVE + offset: Source.LOOP for offset in loops}
        desk.start()
        desk.pump()
        underruns = 0
        for capacity, word, wait_s in steps:
            desk.now_s += wait_s
            if word:
                driver.leave()
            if word == "steer":
                desk.update(key="F#")
            elif word:
                underruns += 4 * (word == "bad report")
                report = {"chunk_id": desk.live, "buffer_ms": 900, "underruns": underruns, "jitter_ms": 20}
                desk.say({"type": "report", **report})
            driver.drive(capacity)
        sent_each_way.append(
            [
                (action.chunk.tick, bytes(action.chunk.pcm[-4:]), action.tier, action.depth)
                if isinstance(action, SendChunk)
                else (type(action), action.body.get("state") if isinstance(action, SendEvent) else "")
                for action in desk.actions
            ]
        )
    assert sent_each_way[0] == sent_each_way[1]


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300) | st.text(max_size=300))
def test_no_message_breaks_a_listener(data: bytes | str) -> None:
    desk = Desk().begun()
    actions = desk.say(data)
    assert all(isinstance(action, SendEvent | Close | Join | Leave) for action in actions)
    desk.tick()


@pytest.mark.parametrize("count", [3_000, pytest.param(100_000, marks=pytest.mark.long)])
def test_hostile_messages_break_nothing(count: int) -> None:
    """Pieces of real messages, cut, doubled and mixed; the listener answers each or closes, and never raises."""
    rng = random.Random(20)
    pieces = [
        '{"type":"control","action":"start","params":{', '"key":"C",', '"bpm":70,', '"intensity":0.5', "}}",
        '{"type":"report",', '"chunk_id":17639000000,"buffer_ms":900,', '"underruns":', "-1", "1e999", "NaN", '"',
        "\\u0000", "[" * 50, "null", "true", '"resume":"', "a.b.c.d.e", '"events":true,', "}", "{", ",", ":", "\ud800",
        "é" * 20,
    ]  # fmt: skip
    closes_seen = set()
    desk = Desk().begun()
    for _ in range(count):
        desk.now_s += 0.05
        text = "".join(rng.choices(pieces, k=rng.randint(1, 8)))
        message = text if rng.random() < 0.8 else text.encode(errors="replace")
        actions = desk.listener.receive(message, desk.now_s, desk.live)
        assert all(isinstance(action, SendEvent | Close | Join | Leave) for action in actions)
        for action in actions:
            if isinstance(action, Close):
                closes_seen.add(int(action.code))
        if desk.listener.closed:
            desk = Desk().begun()
    assert closes_seen == {4400}
