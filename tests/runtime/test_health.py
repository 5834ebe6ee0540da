from __future__ import annotations

from services.runtime.health import Condition, Health


def test_a_service_that_has_reported_nothing_is_not_ready() -> None:
    assert not Health().ready


def test_a_service_is_ready_while_every_condition_holds() -> None:
    health = Health()
    health.set("bus", ok=True)
    assert health.ready
    health.set("renderer", ok=False, detail="compiling kernels, 40 %")
    assert not health.ready
    assert health.failing == ("renderer",)
    health.set("renderer", ok=True)
    assert health.ready


def test_a_required_condition_fails_until_it_is_reported() -> None:
    health = Health("bus", "renderer")
    health.set("bus", ok=True)
    assert not health.ready
    assert health.condition("renderer") == Condition(ok=False, detail="not reported yet")
    health.set("renderer", ok=True)
    assert health.ready


def test_a_condition_that_was_never_reported_is_unknown() -> None:
    assert Health().condition("bus") is None


def test_the_report_names_what_fails_and_why() -> None:
    health = Health()
    health.set("bus", ok=False, detail="cannot reach nats://bus:4222")
    health.set("renderer", ok=True)
    assert health.report() == {
        "ready": False,
        "failing": ["bus"],
        "conditions": {
            "bus": {"ok": False, "detail": "cannot reach nats://bus:4222"},
            "renderer": {"ok": True, "detail": ""},
        },
    }
