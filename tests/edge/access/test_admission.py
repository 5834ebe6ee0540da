from __future__ import annotations

from services.edge.access.admission import Admission
from services.edge.metrics import EdgeMetrics
from services.runtime.metrics import PrometheusMetrics
from services.runtime.settings import EdgeSettings


def admission(**limits: int) -> tuple[Admission, PrometheusMetrics]:
    metrics = PrometheusMetrics()
    return Admission(EdgeSettings(**limits), EdgeMetrics(metrics)), metrics  # type: ignore[arg-type]


def test_a_place_is_free_again_after_its_listener_has_left() -> None:
    door, metrics = admission(max_connections=1, max_per_ip=0)
    assert door.enter("a", draining=False) is None
    refusal = door.enter("b", draining=False)
    assert refusal is not None
    assert (refusal.status, refusal.reason, refusal.retry_after_s) == (503, "connections", 5)
    door.leave("a")
    assert door.enter("b", draining=False) is None
    assert metrics.registry.get_sample_value("auralis_listeners") == 1


def test_an_address_may_connect_again_after_it_has_disconnected() -> None:
    door, metrics = admission(max_connections=10, max_per_ip=1)
    for _ in range(3):
        assert door.enter("a", draining=False) is None
        refusal = door.enter("a", draining=False)
        assert refusal is not None
        assert (refusal.status, refusal.reason) == (429, "address")
        door.leave("a")
    assert door.listeners == 0
    assert metrics.registry.get_sample_value("auralis_refusals_total", {"reason": "address"}) == 3


def test_a_draining_edge_accepts_no_listener() -> None:
    door, _ = admission()
    refusal = door.enter("a", draining=True)
    assert refusal is not None
    assert (refusal.status, refusal.reason) == (503, "draining")
    assert door.listeners == 0
