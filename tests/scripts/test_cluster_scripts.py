"""scripts/test-cluster and scripts/ci-cluster, with programs that only write down how they were called."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def script(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/usr/bin/env bash\n{text}\n")
    path.chmod(0o755)


def run(name: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {key: os.environ[key] for key in ("HOME",) if key in os.environ}
    path = environment.pop("PATH", "/usr/bin:/bin")
    return subprocess.run(
        [str(ROOT / "scripts" / name), *arguments],
        env={**inherited, "PATH": path, **environment}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.fixture
def kit(tmp_path: Path) -> Path:
    """A kit whose cluster does not answer, and a buildah that builds nothing."""
    calls = tmp_path / "calls"
    for program in ("start", "stop", "tools", "base-image", "load-image"):
        script(tmp_path / "kit" / program, f'echo {program} "$@" >>{calls}')
    tools = tmp_path / "tools"
    with (tmp_path / "kit" / "tools").open("a") as file:
        file.write(f"echo {tools}\n")
    with (tmp_path / "kit" / "start").open("a") as file:
        file.write("echo it takes a while\necho /state/kc/admin.kubeconfig\n")
    for program in ("kubectl", "helm"):
        # Before those that this machine may have.
        script(tmp_path / "bin" / program, "exit 1")
    push = 'for word; do case $word in docker-archive:*) file=${word#*:}; : >"${file%%:*}" ;; esac; done'
    script(tmp_path / "bin" / "buildah", f'echo buildah "$1" >>{calls}\n{push}')
    return tmp_path


def calls(kit: Path) -> list[str]:
    return (kit / "calls").read_text().splitlines()


def test_without_a_cluster_the_tests_say_how_to_get_one() -> None:
    done = run("test-cluster")
    assert done.returncode == 2
    assert done.stderr.startswith("test-cluster: KUBECONFIG is not set")


def test_a_missing_tool_is_named(tmp_path: Path) -> None:
    for program in ("bash", "dirname", "env"):
        (tmp_path / program).symlink_to(Path("/usr/bin") / program)
    done = run("test-cluster", KUBECONFIG="/nowhere", PATH=str(tmp_path))
    assert done.returncode == 2
    assert "kubectl is neither on PATH nor" in done.stderr


def test_ci_without_a_kit_prints_one_line_and_passes(tmp_path: Path) -> None:
    done = run("ci-cluster", AURALIS_CLUSTER_KIT=str(tmp_path))
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 1
    assert "cluster tests are left out" in done.stdout
    assert (done.stderr, run("ci-cluster", "tools", AURALIS_CLUSTER_KIT=str(tmp_path)).stdout) == ("", "")


def test_the_kits_tools_are_available_without_a_cluster(kit: Path) -> None:
    done = run("ci-cluster", "tools", AURALIS_CLUSTER_KIT=str(kit / "kit"))
    assert done.stdout == f"{kit / 'tools'}\n"
    assert calls(kit) == ["tools"]


@pytest.mark.skipif(os.geteuid() != 0, reason="the kit needs root, and so the script asks for it")
def test_the_cluster_is_stopped_even_if_tests_fail(kit: Path) -> None:
    done = run("ci-cluster", AURALIS_CLUSTER_KIT=str(kit / "kit"), PATH=f"{kit / 'bin'}:/usr/bin:/bin")
    assert done.returncode == 2, done.stdout + done.stderr
    assert "the cluster of /state/kc/admin.kubeconfig does not answer" in done.stderr
    called = calls(kit)
    assert called.count("start") == called.count("stop") == 1
    # Nothing is done to it afterwards but to tidy what building has left.
    assert {line.split()[0] for line in called[called.index("stop") + 1 :]} <= {"buildah"}
    # Images are built before there is a cluster, and loaded into it.
    assert called.index("buildah build") < called.index("start")
    assert [line for line in called if line.startswith("load-image")]


@pytest.mark.skipif(os.geteuid() != 0, reason="the kit needs root, and so the script asks for it")
def test_tests_without_time_are_named(kit: Path) -> None:
    path = f"{kit / 'bin'}:/usr/bin:/bin"
    quick = run("ci-cluster", AURALIS_CLUSTER_KIT=str(kit / "kit"), PATH=path, AURALIS_CI_CLUSTER_SECONDS="600")
    assert "tests of upgrades, kills and scaling are left out" in quick.stdout
    whole = run("ci-cluster", AURALIS_CLUSTER_KIT=str(kit / "kit"), PATH=path)
    assert "left out" not in whole.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="the kit needs root, and so the script asks for it")
def test_images_that_cannot_be_built_start_no_cluster(kit: Path) -> None:
    with (kit / "bin" / "buildah").open("a") as file:
        file.write('\n[ "$1" != build ]\n')
    done = run("ci-cluster", AURALIS_CLUSTER_KIT=str(kit / "kit"), PATH=f"{kit / 'bin'}:/usr/bin:/bin")
    assert done.returncode != 0
    assert "start" not in calls(kit)


@pytest.mark.skipif(os.geteuid() != 0, reason="the kit needs root, and so the script asks for it")
@pytest.mark.parametrize("program", ["base-image", "start"])
def test_a_failure_of_the_kit_is_printed_and_does_not_fail_ci(kit: Path, program: str) -> None:
    script(kit / "kit" / program, f"echo {program} >>{kit / 'calls'}\necho no mirror >&2\nexit 1")
    done = run("ci-cluster", AURALIS_CLUSTER_KIT=str(kit / "kit"), PATH=f"{kit / 'bin'}:/usr/bin:/bin")
    assert done.returncode == 0
    assert "no mirror" in done.stderr
    assert f"cluster tests are left out: {kit / 'kit' / program} failed" in done.stdout
    assert not [line for line in calls(kit) if line.startswith("load-image")]


@pytest.mark.skipif(os.geteuid() != 0, reason="the kit needs root, and so the script asks for it")
def test_images_that_take_all_the_time_start_no_cluster_and_one_line_says_so(kit: Path) -> None:
    with (kit / "bin" / "buildah").open("a") as file:
        file.write('\n[ "$1" != build ] || sleep 30\n')
    path = f"{kit / 'bin'}:/usr/bin:/bin"
    done = run("ci-cluster", AURALIS_CLUSTER_KIT=str(kit / "kit"), PATH=path, AURALIS_CI_CLUSTER_SECONDS="3")
    assert done.returncode == 0
    assert "cluster tests are left out: the images were not built in 1 s" in done.stdout
    assert "start" not in calls(kit)
