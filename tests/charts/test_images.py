"""Dockerfile, compose.yaml and k8s/, checked without building or applying them."""

from __future__ import annotations

import ast
import platform
import re
import runpy
import shlex
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.utils import canonicalize_name

from services.runtime.settings import load_settings, settings_table
from tests.charts.support import KUBE_VERSIONS, ROOT, main_container, problems, render

TARGETS = ("synthesis", "edge", "telemetry")
K8S = sorted((ROOT / "k8s").glob("*.yaml"))
OURS = [ROOT / "Dockerfile", ROOT / "compose.yaml", ROOT / "compose.gpu.yaml", *K8S]


def stages() -> dict[str, list[str]]:
    """Instructions of each stage of the Dockerfile, continued lines joined."""
    text = re.sub(r"(?m)^\s*#.*\n", "", (ROOT / "Dockerfile").read_text()).replace("\\\n", " ")
    found: dict[str, list[str]] = {}
    name = ""
    for line in filter(None, map(str.strip, text.splitlines())):
        match = re.fullmatch(r"FROM (\S+) AS (\S+)", line)
        if match:
            name = match[2]
            found[name] = []
        found.setdefault(name, []).append(line)
    return found


def lineage(target: str) -> list[str]:
    """Instructions of an image, beginning with those of the stages that it is built on."""
    instructions = stages()[target]
    base = instructions[0].split()[1]
    return (lineage(base) if base in stages() else []) + instructions


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_runs_its_service_as_a_user_with_a_number(target: str) -> None:
    instructions = lineage(target)
    entry = [line for line in instructions if line.startswith("ENTRYPOINT")]
    assert entry == [f'ENTRYPOINT ["python", "-m", "services.{target}"]'], "without a shell, so that signals arrive"
    users = [line.split()[1] for line in instructions if line.startswith("USER")]
    assert users[-1] == "10001:10001"
    security = render().pod(target)[1]["securityContext"]
    assert users[-1] == f"{security['runAsUser']}:{security['runAsGroup']}"


@pytest.mark.parametrize("target", TARGETS)
def test_dependencies_come_before_code_so_that_their_layers_stay(target: str) -> None:
    dependencies = f"{target}-dependencies"
    own = stages()[target]
    arrive = [f"FROM {dependencies} AS {target}", f"COPY --from={dependencies} /opt/auralis /opt/auralis"]
    first = next(number for number, line in enumerate(own) if line in arrive)
    code = own.index("COPY --from=code /opt/auralis /opt/auralis")
    assert first < code
    assert [line for line in own[code + 1 :] if line.startswith(("COPY", "ADD", "RUN"))] == [], (
        "code changes most often"
    )
    before = [line for line in lineage(dependencies) if line.startswith(("COPY", "ADD"))]
    expected = f"COPY --from=requirements /build/{target}.pins /build/{target}.txt ./"
    assert before == [expected], "code, or another line of pyproject.toml, would install them anew"


def test_gigabytes_are_not_copied_from_stage_to_stage() -> None:
    assert stages()["synthesis"][0] == "FROM synthesis-dependencies AS synthesis"


@pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"), reason="constraints.txt is of Linux on x86-64"
)
def test_constraints_say_which_image_has_a_package() -> None:
    """An unmarked package would be installed in any version; a wrong mark would invalidate the layers."""
    marked = runpy.run_path(str(ROOT / "scripts" / "pin_images.py"))["images"]()
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line]
    found = {line.partition("==")[0]: set(line.partition("#")[2].split()) for line in lines}
    wrong = {name: marks for name, marks in found.items() if marks != marked.get(canonicalize_name(name), set())}
    assert wrong == {}, "run scripts/pin --mark > constraints.new && mv constraints.new constraints.txt"
    # Packages for other systems are not pinned.
    assert {"numpy", "torch", "litestar", "kubernetes", "nats-py"} <= {name for name, marks in found.items() if marks}


def imported(path: Path, found: set[Path] | None = None) -> set[Path]:
    """A module of services/ and all modules there that it imports, directly or not, with each `__init__`."""
    found = set() if found is None else found
    if path in found:
        return found
    found |= {path, *(ROOT / each / "__init__.py" for each in path.relative_to(ROOT).parents if each.name)}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("services"):
            folder = ROOT.joinpath(*str(node.module).split("."))
            names = [folder / f"{each.name}.py" for each in node.names] if folder.is_dir() else [Path(f"{folder}.py")]
            for each in names:
                if each.exists():
                    imported(each, found)
    return found


def test_the_stage_of_kernels_copies_their_sources_alone() -> None:
    """A superfluous file would compile kernels for minutes when it changes; without a needed one the build fails."""
    copied = {
        path
        for line in stages()["kernels"]
        if line.startswith("COPY")
        for name in line.split()[1:-1]
        for path in ([ROOT / name] if name.endswith(".py") else sorted((ROOT / name).rglob("*.py")))
    }
    needed = imported(ROOT / "services" / "synthesis" / "kernels" / "build.py")
    assert len(needed) > 5
    assert needed <= copied
    # Other modules of a folder that is copied as a whole.
    assert {path.parent.name for path in copied - needed} <= {"dsp"}


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_holds_no_installer(target: str) -> None:
    last = [line for line in lineage(target) if re.match(r"RUN .*\bpip\b", line)][-1]
    # `python3` would be the virtual environment, which never has pip.
    assert re.search(r"(RUN|&&) pip uninstall -q -y\b", last)
    assert last.endswith(" pip && rm -rf /usr/local/lib/python3*/ensurepip")


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_has_the_standard_labels(target: str) -> None:
    labels = dict(
        word.split("=", 1)
        for line in lineage(target)
        if line.startswith("LABEL")
        for word in shlex.split(line.removeprefix("LABEL"))
    )
    names = {f"org.opencontainers.image.{each}" for each in ("title", "description", "version", "revision", "licenses")}
    assert names <= set(labels)
    assert labels["org.opencontainers.image.title"] == f"auralis-{target}"


def test_images_of_edge_and_telemetry_hold_no_torch() -> None:
    for target in ("edge", "telemetry"):
        text = " ".join(lineage(target) + lineage(f"{target}-dependencies"))
        assert "synthesis" not in text


def test_variables_of_an_image_are_known_settings() -> None:
    values: dict[str, str] = {}
    for target in TARGETS:
        for line in lineage(target):
            if line.startswith("ENV"):
                values |= dict(word.split("=", 1) for word in shlex.split(line.removeprefix("ENV")))
    ours = {name: value for name, value in values.items() if name.startswith("AURALIS_")}
    assert ours
    assert load_settings(ours, dotenv=None).warnings == ()


@pytest.mark.parametrize(
    "page", ["charts/auralis/README.md", "charts/auralis/profiles/gpu-production.yaml", "k8s/gpu-operator.yaml"]
)
def test_pages_about_gpus_say_how_to_build_their_image(page: str) -> None:
    """The chart requests GPUs by default, but the default image cannot use them."""
    flavours = set(re.findall(r"\bTORCH=(\w+) scripts/images", (ROOT / page).read_text()))
    assert flavours == {"cu130"}


def test_no_file_names_a_package_index_or_registry() -> None:
    for path in [*OURS, ROOT / ".dockerignore"]:
        found = re.findall(r"https?://[^\s'\"]+", path.read_text())
        inside = re.compile(r"127\.0\.0\.1|\.svc\b|://nats:")
        assert [url for url in found if not inside.search(url)] == [], path.name
    arguments = re.findall(r"(?m)^ARG (\w*INDEX\w*)(.*)$", (ROOT / "Dockerfile").read_text())
    assert arguments == [("TORCH_INDEX", "")], "an address may only come from outside"


def test_the_build_context_holds_little_more_than_what_is_copied() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    kept = {line.removeprefix("!") for line in lines if line.startswith("!")}
    needed = {
        word
        for instructions in stages().values()
        for line in instructions
        if line.startswith("COPY") and "--from" not in line
        for word in line.split()[1:-1]
    }
    assert {name.partition("/")[0] for name in needed} == kept
    assert all((ROOT / name).exists() for name in needed)
    assert not any(fnmatch("tests", pattern) or fnmatch(".venv", pattern) for pattern in kept)


def compose() -> dict[str, Any]:
    value: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
    return value


def test_compose_starts_the_services_with_settings_that_exist() -> None:
    known = {row.name for row in settings_table()}
    services = compose()["services"]
    assert set(services) == {"nats", *TARGETS}
    for target in TARGETS:
        each = services[target]
        assert each["build"]["target"] == target
        assert each["image"] == main_container(render().pod(target)[1])["image"]
        assert set(each["environment"]) <= known
        # Docker fills in these defaults.
        values = {name: re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value) for name, value in each["environment"].items()}
        assert load_settings(values, dotenv=None).warnings == ()
        assert each["read_only"] is True
        assert each["cap_drop"] == ["ALL"]
        assert all(port.startswith("127.0.0.1:") for port in each.get("ports", [])), "ports are open on loopback alone"


def test_files_of_add_ons_begin_with_the_commands_to_apply_them() -> None:
    assert K8S
    for path in K8S:
        head = "".join(line for line in path.read_text().splitlines(keepends=True) if line.startswith("#"))
        assert path.name in head, f"{path.name} does not say how it is applied"
        assert re.search(r"(?m)^#   (kubectl|helm|kind)\b", head), path.name
        for mentioned in re.findall(r"\bk8s/[\w.-]+\.yaml", path.read_text()):
            assert (ROOT / mentioned).exists(), f"{path.name} speaks of {mentioned}"
        list(yaml.safe_load_all(path.read_text()))


def test_documented_upgrades_keep_set_values_and_take_new_defaults() -> None:
    """`--reuse-values` would hide the defaults of a newer chart from its templates, which fail without them."""
    pages = [*K8S, *(ROOT / "docs").glob("*.md"), ROOT / "charts" / "auralis" / "templates" / "NOTES.txt"]
    flags = {flag for path in pages for flag in re.findall(r"--[\w-]*reuse-values", path.read_text())}
    assert flags == {"--reset-then-reuse-values"}


def test_the_chart_accepts_flags_that_add_ons_and_the_readme_show() -> None:
    texts = [path.read_text() for path in [*K8S, *(ROOT / "charts" / "auralis" / "profiles").glob("*.yaml")]]
    shown = {flag for text in texts for flag in re.findall(r"--set '?([\w.]+)=([\w.{}-]+)", text)}
    assert len(shown) > 10
    for path, value in shown:
        known = yaml.safe_load((ROOT / "charts" / "auralis" / "values.yaml").read_text())
        for name in path.split("."):
            assert name in known, f"--set {path}={value}: there is no such value"
            known = known[name]


@pytest.mark.parametrize("kube", KUBE_VERSIONS)
def test_objects_in_k8s_match_the_schemas(kube: str) -> None:
    # The other files are values of charts, and the configuration of kind.
    documents = [each for path in K8S for each in yaml.safe_load_all(path.read_text())]
    objects = [each for each in documents if "kind" in each and each["kind"] != "Cluster"]
    assert {each["kind"] for each in objects} == {"ConfigMap", "Gateway", "Namespace"}
    assert [problems(each, kube) for each in objects] == [[]] * len(objects)


def test_the_namespace_enforces_the_restricted_standard() -> None:
    namespace = yaml.safe_load((ROOT / "k8s" / "namespace.yaml").read_text())
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


def test_gpu_slices_provide_the_resource_that_the_chart_requests() -> None:
    slices = yaml.safe_load((ROOT / "k8s" / "gpu-slices.yaml").read_text())
    operator = yaml.safe_load((ROOT / "k8s" / "gpu-operator.yaml").read_text())
    assert operator["devicePlugin"]["config"]["name"] == slices["metadata"]["name"]
    assert operator["devicePlugin"]["config"]["default"] in slices["data"]
    shared = yaml.safe_load(slices["data"]["auralis-four"])["sharing"]["timeSlicing"]
    assert shared["renameByDefault"] is True
    (resource,) = shared["resources"]
    limits = main_container(render({"synthesis": {"gpu": {"sharing": "time-slicing"}}}).pod("synthesis")[1])[
        "resources"
    ]
    assert f"{resource['name']}.shared" in limits["limits"]
