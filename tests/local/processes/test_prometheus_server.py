import json
from pathlib import Path

import pytest
import yaml

from services.local.monitoring import provision
from services.local.ports import free_ports
from services.local.processes import prometheus_server
from services.local.processes.prometheus_server import MonitoringError, configuration, find_prometheus


def test_prometheus_scrapes_the_fleet_through_telemetry_and_evaluates_the_charts_rules() -> None:
    config = configuration("http://127.0.0.1:9090")
    (job,) = config["scrape_configs"]
    assert job["static_configs"] == [{"targets": ["127.0.0.1:9090"]}]
    # Otherwise every sample's instance would be telemetry.
    assert job["honor_labels"] is True
    (rules,) = config["rule_files"]
    assert "SynthesisLatencyHigh" in Path(rules).read_text()


def test_a_missing_prometheus_is_an_error_that_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("AURALIS_TOOLS", raising=False)
    with pytest.raises(MonitoringError, match="apt install prometheus"):
        find_prometheus()


def test_grafana_gets_the_data_source_and_the_charts_dashboards(tmp_path: Path) -> None:
    folder = provision(tmp_path, "http://127.0.0.1:9190")
    source = yaml.safe_load((folder / "datasources" / "prometheus.yaml").read_text())["datasources"][0]
    assert source["url"] == "http://127.0.0.1:9190"
    provider = yaml.safe_load((folder / "dashboards" / "auralis.yaml").read_text())["providers"][0]
    found = [json.loads(path.read_text()) for path in Path(provider["options"]["path"]).glob("*.json")]
    assert [each["uid"] for each in found] == ["auralis-fleet"]
    ids = [panel["id"] for panel in found[0]["panels"]]
    assert len(ids) == len(set(ids)) > 15


@pytest.mark.skipif(prometheus_server.find_program("prometheus") is None, reason="prometheus is not installed")
def test_a_real_prometheus_accepts_the_configuration_and_loads_every_rule(tmp_path: Path) -> None:
    (port, unused) = free_ports(2)
    with prometheus_server.running(tmp_path, f"http://127.0.0.1:{unused}", port=port, every_s=1) as server:
        names = {rule["name"] for group in server.get("rules")["groups"] for rule in group["rules"]}
        assert {"SynthesisLatencyHigh", "auralis:chunks_late:ratio_rate5m"} <= names


@pytest.mark.skipif(prometheus_server.find_program("prometheus") is None, reason="prometheus is not installed")
def test_a_prometheus_that_runs_already_is_not_mistaken_for_the_new_one(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with (
        prometheus_server.running(tmp_path / "first", "http://127.0.0.1:1", port=port),
        pytest.raises(MonitoringError, match=f"port {port} is in use.*stop that first"),
        prometheus_server.running(tmp_path / "second", "http://127.0.0.1:1", port=port),
    ):
        pass


@pytest.mark.skipif(prometheus_server.find_program("prometheus") is None, reason="prometheus is not installed")
def test_a_prometheus_that_has_ended_is_an_error(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with prometheus_server.running(tmp_path, "http://127.0.0.1:1", port=port) as server:
        server.check()
        server.process.kill()
        server.process.wait(10)
        with pytest.raises(MonitoringError, match="has ended"):
            server.check()
