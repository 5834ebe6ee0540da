from __future__ import annotations

from typing import Any

import pytest

from services.loadtest.listeners import read_options
from services.loadtest.plan import LoadPlan, job, share
from tests.charts.support import KUBE_VERSIONS, problems


def plan(**changes: Any) -> LoadPlan:
    values: dict[str, Any] = {
        "name": "auralis-loadtest-1", "listeners": 5000, "pods": 4, "seconds": 60.0, "ramp_s": 20.0, "streams": 16,
        "url": "ws://auralis-edge.music.svc:80/ws", "image": "auralis-edge:0.1.0",
    }  # fmt: skip
    return LoadPlan(**(values | changes))


@pytest.mark.parametrize(("total", "of"), [(1, 1), (7, 3), (5000, 4), (10, 10), (11, 10)])
def test_shares_are_even_and_leave_no_listener_out(total: int, of: int) -> None:
    shares = [share(total, of, index) for index in range(of)]
    assert [number for first, count in shares for number in range(first, first + count)] == list(range(total))
    assert max(count for _, count in shares) - min(count for _, count in shares) <= 1


@pytest.mark.parametrize("kube", KUBE_VERSIONS)
def test_the_job_matches_kubernetes_schema(kube: str) -> None:
    made = job(plan(token_secret="listener", pull_secrets=("registry",), node_selector=(("pool", "load"),)))
    assert problems(made, kube) == []


def test_the_command_of_the_job_is_valid_for_the_listeners(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = job(plan(wire="opus", seed=40))["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    assert container["command"][:3] == ["python", "-m", "services.loadtest.listeners"]
    seen = []
    for index in range(spec["completions"]):
        monkeypatch.setenv("JOB_COMPLETION_INDEX", str(index))
        options, number = read_options(container["command"][3:])
        assert number == index
        seen.append((options.first, options.listeners))
    assert seen == [(0, 1250), (1250, 1250), (2500, 1250), (3750, 1250)]
    assert (options.url, options.seconds, options.ramp_s) == ("ws://auralis-edge.music.svc:80/ws", 60.0, 20.0)
    assert (options.streams, options.seed, options.wire) == (16, 40, "opus")


def test_the_job_ends_by_itself_and_is_not_repeated() -> None:
    spec = job(plan())["spec"]
    assert spec["backoffLimit"] == 0
    assert spec["activeDeadlineSeconds"] > plan().total_s
    assert spec["ttlSecondsAfterFinished"] > 0


def test_pods_are_restricted() -> None:
    pod = job(plan())["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip
    assert pod["automountServiceAccountToken"] is False


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"pods": 0}, "pods: got 0"), ({"listeners": 2}, "expected 1 to 2"), ({"seconds": 0.0}, "seconds")],
)
def test_numbers_out_of_range_are_errors(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        plan(**changes)
