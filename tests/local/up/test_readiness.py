import json

from services.local.up.readiness import Readiness, Wait, why_not_ready


def test_the_start_is_complete_when_every_service_has_answered_ready_once() -> None:
    readiness = Readiness(("edge", "synthesis"), now_s=0.0)
    readiness.started("edge", 1.0)
    readiness.started("synthesis", 1.5)
    readiness.started("nats", 1.6)
    assert readiness.waiting == ("edge", "synthesis")
    assert readiness.answered("edge", "starting", 2.0) is None
    assert readiness.answered("synthesis", None, 3.0) == 1.5
    assert not readiness.all_ready
    assert readiness.answered("edge", None, 4.0) == 3.0
    assert readiness.all_ready


def test_a_restarted_service_is_waited_for_again() -> None:
    readiness = Readiness(("edge",), now_s=0.0)
    readiness.started("edge", 0.0)
    assert readiness.answered("edge", None, 1.0) == 1.0
    readiness.ended("edge")
    readiness.started("edge", 5.0)
    assert not readiness.all_ready
    assert readiness.answered("edge", None, 7.0) == 2.0
    assert readiness.all_ready


def test_an_answer_of_a_service_that_has_ended_meanwhile_counts_for_nothing() -> None:
    readiness = Readiness(("edge",), now_s=0.0)
    readiness.started("edge", 0.0)
    readiness.ended("edge")
    assert readiness.answered("edge", None, 1.0) is None
    assert not readiness.all_ready


def test_a_wait_is_reported_with_its_reason_every_fifteen_seconds() -> None:
    readiness = Readiness(("edge", "synthesis"), now_s=0.0)
    readiness.started("edge", 0.0)
    readiness.answered("edge", "bus (connecting)", 1.0)
    assert list(readiness.overdue(14.9)) == []
    readiness.started("synthesis", 10.0)
    # Synthesis has been starting for five seconds only.
    assert readiness.overdue(15.0) == [Wait("edge", 15.0, "bus (connecting)")]
    assert list(readiness.overdue(29.9)) == []
    assert readiness.overdue(30.0) == [Wait("edge", 30.0, "bus (connecting)"), Wait("synthesis", 20.0, "starting")]
    readiness.answered("edge", None, 31.0)
    readiness.ended("synthesis")
    assert list(readiness.overdue(60.0)) == []


def test_the_failing_conditions_of_readyz_are_put_into_words() -> None:
    conditions = {"bus": {"ok": False, "detail": "connecting"}, "port": {"ok": True, "detail": ""}, "a": {"ok": False}}
    assert why_not_ready(json.dumps({"conditions": conditions}).encode()) == "bus (connecting), a"
    for body in (b"", b"[]", b'{"conditions": 3}', b'{"conditions": {}}'):
        assert why_not_ready(body) == "not ready"
