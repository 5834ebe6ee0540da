"""NOTES.txt: commands that can be pasted, about objects that exist."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.charts.support import CHART, EVERYTHING, HPA, KUBE_VERSIONS, OFF, ON, merge, render, tool, tree

WAYS_IN: dict[str, tuple[dict[str, Any], str]] = {
    "port-forward": ({}, "kubectl -n music port-forward service/auralis-edge 8000:80"),
    "load balancer": (tree("edge.service.type", "LoadBalancer"), "kubectl -n music get service auralis-edge --watch"),
    "node port": (tree("edge.service.type", "NodePort"), "get service auralis-edge -o jsonpath="),
    "ingress": (tree("edge.ingress", {**ON, "hosts": ["radio.example"]}), "http://radio.example/"),
    "ingress with TLS": (EVERYTHING, "https://auralis.example/"),
    "gateway": (tree("edge.httpRoute", {**ON, "hostnames": ["radio.example"]}), "http://radio.example/"),
    "hpa": (merge(*HPA), "kubectl get --raw '/apis/custom.metrics.k8s.io/v1beta1/namespaces/music/pods/*/"),
    "another port": (tree("edge.service.port", 8080), "kubectl -n music port-forward service/auralis-edge 8000:8080"),
    "no telemetry": (tree("telemetry", OFF), "helm test auralis -n music --logs"),
    "no edges": (tree("edge", OFF), "rollout status deployment/auralis-synthesis --timeout=10m"),
}


@pytest.fixture(scope="module")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The chart with its notes in an object, because `helm template` prints only objects."""
    folder = tmp_path_factory.mktemp("notes") / "auralis"
    shutil.copytree(CHART, folder)
    (folder / "templates" / "NOTES.txt").rename(folder / "notes")
    template = 'apiVersion: v1\nkind: Notes\ntext: |-\n  {{- tpl (.Files.Get "notes") . | nindent 2 }}\n'
    (folder / "templates" / "notes.yaml").write_text(template)
    return folder


def notes(chart: Path, values: dict[str, Any]) -> str:
    done = subprocess.run(
        [
            tool("helm"), "template", "auralis", str(chart), "-n", "music", "--kube-version", KUBE_VERSIONS[-1],
            "-s", "templates/notes.yaml", "-f", "-",
        ],
        input=json.dumps(values), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (found,) = (each for each in yaml.safe_load_all(done.stdout) if each and each["kind"] == "Notes")
    text: str = found["text"]
    return text


@pytest.mark.parametrize("way", WAYS_IN)
def test_the_notes_say_how_to_listen_and_name_existing_objects(chart: Path, way: str) -> None:
    values, said = WAYS_IN[way]
    text = notes(chart, values)
    assert said in text
    rendered = render(values)
    for kind, name in re.findall(r"\b(deployment|service)/([\w-]+)", text):
        assert rendered.has(kind.capitalize(), name), f"{kind}/{name}"
    for name, port in re.findall(r"port-forward service/([\w-]+) \d+:(\d+)", text):
        assert int(port) in [each["port"] for each in rendered.one("Service", name)["spec"]["ports"]]


@pytest.mark.parametrize("way", WAYS_IN)
def test_a_command_can_be_pasted_into_any_shell(chart: Path, way: str) -> None:
    commands = re.findall(r"(?m)^ +(?:or: +)?((?:kubectl|helm|curl) .*)$", notes(chart, WAYS_IN[way][0]))
    assert commands
    for command in commands:
        bare = re.sub(r"'[^']*'|\s#.*$", "", command)
        # zsh refuses a command with a pattern that matches no file.
        assert not re.search(r"[*?\[\]{}<>]", bare), command
