"""The scripts and manifests in loadtests/, without running a load."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.loadtest.listeners import read_options
from tests.charts.support import KUBE_VERSIONS, ROOT, problems

FOLDER = ROOT / "loadtests"
SCRIPTS = sorted(path for path in (FOLDER / "k6").glob("*.js") if path.name != "auralis.js")
JOBS = sorted((FOLDER / "jobs").glob("*.yaml"))
README = (FOLDER / "README.md").read_text()


def k6() -> str:
    extra = os.environ.get("AURALIS_TOOLS", "")
    found = shutil.which("k6") or (shutil.which("k6", path=extra) if extra else None)
    if found is None:
        pytest.skip("k6 is neither on PATH nor in the folder that AURALIS_TOOLS names")
    return found


def inspect(script: Path) -> dict[str, Any]:
    """A script's options, as k6 reads them."""
    done = subprocess.run(
        [k6(), "inspect", "--execution-requirements", "-e", "DURATION=2m", str(script)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    options: dict[str, Any] = json.loads(done.stdout)
    return options


def load(path: Path) -> dict[str, Any]:
    value: dict[str, Any] = yaml.safe_load(path.read_text())
    return value


def test_there_are_scripts_and_manifests() -> None:
    assert {path.stem for path in SCRIPTS} == {"listen", "churn", "steer", "slow"}
    assert {path.stem for path in JOBS} == {"listeners", "k6", "testrun"}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_k6_accepts_the_script_and_the_readme_explains_each_threshold(script: Path) -> None:
    thresholds = {name for name, rules in inspect(script)["thresholds"].items() if rules}
    assert {"auralis_first_audio", "auralis_gap_rate", "auralis_refused_rate", "auralis_chunks"} <= thresholds
    explained = set(re.findall(r"^\| `(\w+)`", README, re.MULTILINE))
    assert thresholds <= explained, "README.md does not say what it means"


def test_the_readme_explains_no_threshold_that_does_not_exist() -> None:
    used = set().union(*(inspect(script)["thresholds"] for script in SCRIPTS))
    assert set(re.findall(r"^\| `(\w+)`", README, re.MULTILINE)) == used


@pytest.mark.parametrize("path", [*SCRIPTS, *JOBS], ids=lambda path: path.name)
def test_each_file_says_how_to_run_it(path: Path) -> None:
    mark = "//" if path.suffix == ".js" else "#"
    head = [line for line in path.read_text().splitlines() if line.startswith(mark)]
    shown = " ".join(head)
    assert f"loadtests/{path.parent.name}/{path.name}" in shown
    for mentioned in re.findall(r"loadtests/[\w/.-]+\w", shown):
        assert (ROOT / mentioned).exists(), mentioned


@pytest.mark.parametrize("kube", KUBE_VERSIONS)
@pytest.mark.parametrize("name", ["listeners", "k6"])
def test_jobs_match_kubernetes_schema(kube: str, name: str) -> None:
    assert problems(load(FOLDER / "jobs" / f"{name}.yaml"), kube) == []


@pytest.mark.parametrize("name", ["listeners", "k6", "testrun"])
def test_pods_are_restricted(name: str) -> None:
    spec = load(FOLDER / "jobs" / f"{name}.yaml")["spec"]
    if name == "testrun":
        pods = [
            (spec[part]["securityContext"], spec[part]["containerSecurityContext"]) for part in ("runner", "starter")
        ]
        assert spec["initializer"] == spec["runner"]
    else:
        pod = spec["template"]["spec"]
        pods = [(pod["securityContext"], container["securityContext"]) for container in pod["containers"]]
    for pod, container in pods:
        assert pod["runAsNonRoot"] is True
        assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["allowPrivilegeEscalation"] is False
        assert container["capabilities"] == {"drop": ["ALL"]}


def test_the_arguments_of_the_listeners_manifest_are_valid() -> None:
    spec = load(FOLDER / "jobs" / "listeners.yaml")["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    assert container["command"][:3] == ["python", "-m", "services.loadtest.listeners"]
    options, _ = read_options(container["command"][3:])
    assert options.listeners * spec["completions"] == 1000


def test_scripts_that_the_manifests_name_exist() -> None:
    (container,) = load(FOLDER / "jobs" / "k6.yaml")["spec"]["template"]["spec"]["containers"]
    assert (FOLDER / "k6" / Path(container["args"][-1]).name).exists()
    script = load(FOLDER / "jobs" / "testrun.yaml")["spec"]["script"]["configMap"]["file"]
    assert (FOLDER / "k6" / script).exists()
