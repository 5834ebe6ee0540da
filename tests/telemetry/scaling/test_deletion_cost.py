from itertools import pairwise

import pytest

from services.telemetry.scaling.deletion_cost import DeletionCosts, cost


@pytest.mark.parametrize(
    ("listeners", "expected"),
    [(0, 0), (1, 1), (9, 9), (10, 10), (19, 10), (20, 20), (99, 90), (250, 200), (4321, 4000), (-1, 0)],
)
def test_costs_have_coarse_steps(listeners: int, expected: int) -> None:
    assert cost(listeners) == expected


def test_more_listeners_never_cost_less() -> None:
    costs = [cost(number) for number in range(20_000)]
    assert costs == sorted(costs)
    assert len(set(costs)) < 50


def test_a_pod_is_patched_when_its_step_changes_and_once_a_minute_at_most() -> None:
    costs = DeletionCosts()
    patched = []
    # One more listener each second.
    for second in range(600):
        for pod, value in costs.due({"edge-a": second, "edge-b": 300}, float(second)).items():
            costs.tried(pod, value, float(second), done=True)
            patched.append((pod, second, value))
    assert [each for each in patched if each[0] == "edge-b"] == [("edge-b", 0, 300)]
    times = [second for pod, second, _ in patched if pod == "edge-a"]
    assert all(later - earlier >= 60 for earlier, later in pairwise(times))
    assert patched[-1] == ("edge-a", 500, 500)


def test_a_failed_patch_is_due_again_after_a_minute() -> None:
    costs = DeletionCosts()
    costs.tried("edge-a", 10, 0.0, done=False)
    assert costs.due({"edge-a": 10}, 59.0) == {}
    assert costs.due({"edge-a": 10}, 60.0) == {"edge-a": 10}


def test_pods_that_have_gone_are_forgotten() -> None:
    costs = DeletionCosts()
    for number in range(1000):
        for pod, value in costs.due({f"edge-{number}": 1}, float(number)).items():
            costs.tried(pod, value, float(number), done=True)
    assert len(costs._written) <= 2
