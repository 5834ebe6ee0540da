from __future__ import annotations

import multiprocessing
import os
import re
import socket

import pytest

from services.runtime.process.instance import instance_name
from services.runtime.settings import Settings


def test_a_name_that_is_set_is_the_name() -> None:
    assert instance_name(Settings(instance="edge-7"), "edge", {}) == "edge-7"


def test_in_a_pod_the_pods_name_is_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "auralis-edge-5d8f-x2x9p")
    name = instance_name(Settings(), "edge", {"KUBERNETES_SERVICE_HOST": "10.0.0.1"})
    assert name == "auralis-edge-5d8f-x2x9p"


def test_elsewhere_it_is_service_host_and_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "Anna's laptop")
    assert instance_name(Settings(), "edge", {}) == f"edge-Anna-s-laptop-{os.getpid()}"


@pytest.mark.parametrize("environ", [{}, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}])
def test_workers_of_one_server_have_names_of_their_own(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str]
) -> None:
    monkeypatch.setattr(multiprocessing, "parent_process", object)
    for settings in (Settings(), Settings(instance="edge-7")):
        assert instance_name(settings, "edge", environ).endswith(f"-{os.getpid()}")


def test_a_long_name_is_cut_and_keeps_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "h" * 200)
    name = instance_name(Settings(), "edge", {})
    assert len(name) == 63
    assert name.endswith(f"-{os.getpid()}")
    assert re.fullmatch(r"[A-Za-z0-9._-]+", name)
