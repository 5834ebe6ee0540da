import pytest

from services.telemetry.scaling.autoscale import UnmeasuredError, autoscale_report
from tests.telemetry.rows import edge, fleet, renderer


def test_listeners_of_all_edges_are_summed() -> None:
    report = autoscale_report(fleet(edge("e1", listeners=10), edge("e2", listeners=50), renderer()))
    assert (report.edge.listeners, report.edge.instances, report.edge.listeners_per_edge) == (60, 2, 30)
    assert report.edge.by_instance == {"e1": 10, "e2": 50}
    assert report.edge.websocket_connections == 180


def test_render_load_is_demand_over_the_measured_capacity_of_a_worker() -> None:
    rows = [edge(demanded_streams=30), renderer("s1", capacity_streams=40.0), renderer("s2", capacity_streams=60.0)]
    report = autoscale_report(fleet(*rows)).synthesis
    assert (report.workers, report.measured, report.capacity_streams_per_worker) == (2, True, 50)
    assert report.load_workers == pytest.approx(0.6)


def test_demand_of_edges_with_different_streams_is_what_is_rendered() -> None:
    rows = [edge("e1", demanded_streams=30), edge("e2", demanded_streams=30), renderer(rendered_streams=60.0)]
    assert autoscale_report(fleet(*rows)).synthesis.demanded_streams == 60


def test_without_a_worker_the_capacity_of_one_is_assumed() -> None:
    report = autoscale_report(fleet(edge(demanded_streams=30)), assumed_streams_per_worker=20).synthesis
    assert (report.workers, report.measured, report.load_workers) == (0, False, 1.5)


def test_an_edge_that_is_silent_for_a_moment_still_counts() -> None:
    rows = [edge("e1"), edge("e2", up=False, silent_s=30.0), edge("e3", up=False, silent_s=70.0)]
    assert autoscale_report(fleet(*rows)).edge.listeners == 200


def test_unknown_demand_is_an_error_and_not_zero() -> None:
    with pytest.raises(UnmeasuredError, match="bus"):
        autoscale_report(fleet(edge(), bus=False))
    with pytest.raises(UnmeasuredError, match="no edge"):
        autoscale_report(fleet(edge(up=False, silent_s=30.0), renderer()))
