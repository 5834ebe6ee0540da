from itertools import pairwise

from services.telemetry.fleet.fleet_history import KEPT_S, MAX_INSTANCES, FleetHistory
from tests.telemetry.rows import edge, fleet, renderer


def test_half_an_hour_of_points_is_kept_five_seconds_apart() -> None:
    history = FleetHistory()
    for tick in range(4000):
        history.add(fleet(edge(listeners=tick), renderer(), at=1000.0 + tick))
    points = history.report().points
    assert len(points) == KEPT_S / 5 + 1
    assert points[-1].listeners > points[0].listeners
    spacings = {round(later.time - earlier.time) for earlier, later in pairwise(points)}
    assert spacings <= {4, 5}


def test_headroom_is_the_free_share_of_the_renderers_capacity() -> None:
    history = FleetHistory()
    history.add(fleet(edge(demanded_streams=10), renderer(capacity_streams=40.0), at=0.0))
    history.add(fleet(edge(demanded_streams=90), renderer(capacity_streams=40.0), at=5.0))
    history.add(fleet(edge(), at=10.0))
    assert [each.headroom for each in history.report().points] == [0.75, 0.0, None]


def test_each_instances_memory_has_a_curve_until_it_is_gone() -> None:
    history = FleetHistory()
    for second in range(0, 600, 5):
        rows = [renderer(memory_mb=900.0 + second)] if second < 300 else []
        history.add(fleet(edge(), *rows, at=float(second)))
    curves = history.report().memory
    assert set(curves) == {"e1", "s1"}
    assert curves["s1"].rss_mb[0] < curves["s1"].rss_mb[-1] < 1200
    assert len(curves["e1"].times) == 20
    for second in range(600, 2500, 5):
        history.add(fleet(edge(), at=float(second)))
    assert set(history.report().memory) == {"e1"}


def test_curves_of_a_large_fleet_are_bounded() -> None:
    history = FleetHistory()
    history.add(fleet(*(edge(f"e{number}") for number in range(MAX_INSTANCES + 50))))
    assert len(history.report().memory) == MAX_INSTANCES
