from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.contract import subjects
from services.contract.spec import StreamSpec
from services.runtime.bus.limits import subject_matches
from tests.contract.strategies import revisions, specs


def test_every_name_on_the_bus_is_literally_this() -> None:
    assert subjects.render("a1b2-3", "now", "c-dorian-70-50-drift-0", 1_700_000_000) == (
        "auralis.render.a1b2-3.now.c-dorian-70-50-drift-0.1700000000"
    )
    assert subjects.render_filter("a1b2-3", "ahead") == "auralis.render.a1b2-3.ahead.>"
    assert subjects.render_consumer("a1b2-3", "now") == "now-a1b2-3"
    assert subjects.audio("c-dorian-70-50-drift-0") == "auralis.audio.c-dorian-70-50-drift-0"
    assert subjects.ask_id("ahead", "c-dorian-70-50-drift-0", 1_700_000_000, 2) == (
        "ahead.c-dorian-70-50-drift-0.1700000000.2"
    )
    assert (subjects.RENDER_STREAM, subjects.RENDER_SUBJECTS) == ("RENDER", "auralis.render.>")
    assert (subjects.AUDIO_STREAM, subjects.AUDIO_SUBJECTS) == ("AUDIO", "auralis.audio.>")
    assert subjects.PRESENCE == "auralis.presence.synthesis"
    assert subjects.ROLL_CALL == "auralis.roll-call"
    assert subjects.SCRAPE == "auralis.scrape"
    assert subjects.POISON_BUCKET == "auralis-poison"
    assert subjects.LANES == ("now", "ahead")


@given(specs, revisions, st.sampled_from(subjects.LANES))
def test_a_jobs_subject_is_selected_by_its_own_lane_and_revision_only(
    spec: StreamSpec, revision: str, lane: subjects.Lane
) -> None:
    subject = subjects.render(revision, lane, spec.stream_id, 1_700_000_000)
    other: subjects.Lane = "ahead" if lane == "now" else "now"
    assert subject_matches(subjects.RENDER_SUBJECTS, subject)
    assert subject_matches(subjects.render_filter(revision, lane), subject)
    assert not subject_matches(subjects.render_filter(revision, other), subject)
    assert not subject_matches(subjects.render_filter("another" if revision != "another" else "x", lane), subject)
    assert not subject_matches(subjects.AUDIO_SUBJECTS, subject)
    assert subject_matches(subjects.AUDIO_SUBJECTS, subjects.audio(spec.stream_id))


@pytest.mark.parametrize("token", ["", "a.b", "a b", "*", ">", "a>", "UPPER", "a\n", "a\r\nPUB x 0\r\n", "ä", "a_b"])
def test_a_token_that_would_be_somebody_elses_subject_is_refused(token: str) -> None:
    with pytest.raises(ValueError, match="subject token: got"):
        subjects.render(token, "now", "s", 1_700_000_000)
    with pytest.raises(ValueError, match="subject token: got"):
        subjects.render("r", "now", token, 1_700_000_000)
    with pytest.raises(ValueError, match="subject token: got"):
        subjects.render_filter(token, "now")
    with pytest.raises(ValueError, match="subject token: got"):
        subjects.render_consumer(token, "now")
    with pytest.raises(ValueError, match="subject token: got"):
        subjects.audio(token)


@given(specs, st.integers(0, 2**40), st.integers(0, 1000))
def test_asks_of_different_blocks_lanes_or_attempts_have_different_ids(
    spec: StreamSpec, block: int, attempt: int
) -> None:
    ids = {
        subjects.ask_id(lane, spec.stream_id, block + later, attempt + again)
        for lane in subjects.LANES
        for later in (0, 1)
        for again in (0, 1)
    }
    assert len(ids) == 8


@pytest.mark.parametrize(
    ("pattern", "subject", "selected"),
    [
        ("a.b", "a.b", True), ("a.b", "a.c", False), ("a.b", "a", False), ("a", "a.b", False),
        ("a.*", "a.b", True), ("a.*", "a", False), ("a.*", "a.b.c", False), ("*.b", "a.b", True),
        ("a.>", "a.b", True), ("a.>", "a.b.c", True), ("a.>", "a", False), (">", "a", True), ("a.*.c", "a.b.c", True),
        ("a.*.c", "a.b.d", False),
    ],
)  # fmt: skip
def test_filters_select_as_a_nats_server_does(pattern: str, subject: str, selected: bool) -> None:  # noqa: FBT001 - a parameter
    assert subject_matches(pattern, subject) is selected


def test_each_user_is_answered_on_subjects_of_its_own() -> None:
    assert subjects.inboxes("edge") == "_INBOX.edge"
    assert subjects.inboxes("") == "_INBOX"
    # A name of several tokens would be another stream's subject, or none.
    assert [subjects.inboxes(user) for user in ("a.b", "*", ">", "a b")] == ["_INBOX"] * 4
