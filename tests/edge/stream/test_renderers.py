from __future__ import annotations

from services.contract.presence import GONE_AFTER_S
from services.edge.stream.renderers import LoadGauge, Presences, choose_revision
from tests.edge.support import presence


def test_a_renderer_is_gone_five_seconds_after_its_last_presence() -> None:
    presences = Presences()
    presences.heard(presence(), 100)
    assert len(presences.ready(100 + GONE_AFTER_S)) == 1
    assert presences.ready(100 + GONE_AFTER_S + 0.1) == []


def test_only_ready_renderers_are_asked() -> None:
    presences = Presences()
    presences.heard(presence(state="warming"), 100)
    assert presences.ready(100) == []
    assert presences.warming(100)
    presences.heard(presence(state="draining"), 101)
    assert presences.capacity(101) == {}
    presences.heard(presence(state="ready"), 102)
    assert presences.capacity(102) == {(1, "r1"): 100}


def test_presences_of_renderers_that_are_gone_are_forgotten() -> None:
    presences = Presences()
    for number in range(1000):
        presences.heard(presence(instance=f"w{number}"), 100 + number)
    assert len(presences) <= GONE_AFTER_S + 1


def test_without_renderers_there_is_no_revision() -> None:
    assert choose_revision({}, "x") is None


def test_a_single_revision_renders_all_streams() -> None:
    assert choose_revision({(1, "r1"): 5}, "anything") == "r1"


def test_the_newer_sound_version_wins_over_any_name() -> None:
    assert {choose_revision({(2, "a"): 100, (1, "z"): 0.0001}, f"s{n}") for n in range(50)} == {"a"}


def test_streams_move_to_a_new_revision_as_its_share_of_capacity_grows() -> None:
    streams = [f"stream-{number}" for number in range(1000)]
    moved = []
    for new in (0, 10, 50, 90, 100):
        capacity = {(1, "old"): 100 - new, (2, "new"): new}
        capacity = {key: value for key, value in capacity.items() if value}
        moved.append({stream for stream in streams if choose_revision(capacity, stream) == "new"})
    assert [round(len(group) / 1000, 1) for group in moved] == [0, 0.1, 0.5, 0.9, 1]
    # Those that moved first stay: no stream goes back while the upgrade goes on.
    assert moved[0] <= moved[1] <= moved[2] <= moved[3] <= moved[4]


def test_a_stream_that_has_moved_stays_although_the_share_shrinks() -> None:
    moved = [s for s in (f"s{n}" for n in range(100)) if choose_revision({(1, "a"): 5, (2, "b"): 5}, s) == "b"]
    assert moved
    assert {choose_revision({(1, "a"): 99, (2, "b"): 1}, s, "b") for s in moved} == {"b"}


def test_when_the_newest_is_gone_streams_fall_back() -> None:
    assert choose_revision({(1, "a"): 5}, "x", "b") == "a"


# --- overload --------------------------------------------------------------------------------------------------------


def test_late_blocks_are_an_overload_until_blocks_are_in_time_again() -> None:
    gauge = LoadGauge()
    for number in range(20):
        gauge.answered(0.1, 100 + number / 10)
    assert not gauge.overloaded(102)
    for number in range(10):
        gauge.answered(3.0, 102 + number / 10)
    assert gauge.overloaded(103)
    for number in range(30):
        gauge.answered(0.1, 104 + number / 10)
    # A quarter is still late: once entered, it is not left before it is calm.
    assert gauge.overloaded(107)
    assert not gauge.overloaded(113)


def test_a_few_late_blocks_are_no_overload() -> None:
    gauge = LoadGauge()
    for _ in range(9):
        gauge.missed(100)
    assert not gauge.overloaded(100)
    gauge.missed(100)
    assert gauge.overloaded(100)


def test_the_gauge_is_bounded() -> None:
    gauge = LoadGauge()
    for _ in range(10_000):
        gauge.answered(0.1, 100)
    assert len(gauge) == LoadGauge.MAX_BLOCKS


def test_one_late_block_in_twenty_is_no_overload() -> None:
    gauge = LoadGauge()
    for number in range(20):
        gauge.answered(3.0 if number == 7 else 0.1, 100)
    assert gauge.late_share(100) == 0.05
    assert not gauge.overloaded(100)
