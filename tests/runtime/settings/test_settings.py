from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from services.runtime.settings import (
    Settings,
    SettingsError,
    load_settings,
    load_settings_or_exit,
    settings_markdown,
    settings_table,
)

GUIDE_DOTENV = """\
# Performance Configuration
AURALIS_ENV=testing
AURALIS_HOST=0.0.0.0
AURALIS_PORT=8000
AURALIS_DEVICE=auto          # auto | mps | cuda | cpu
AURALIS_LOG_LEVEL=DEBUG

# Buffer Configuration
BUFFER_INITIAL_TIER=normal   # minimal | normal | stable | defensive
BUFFER_MAX_CAPACITY_MS=3000
BUFFER_MIN_CAPACITY_MS=200

# WebSocket Configuration
WS_MAX_CONNECTIONS=50
WS_RATE_LIMIT_CHUNKS_PER_SEC=50

# GPU Configuration
GPU_BATCH_SIZE=8
GPU_ENABLE_COMPILE=true

# Monitoring Configuration
METRICS_ENABLED=true
METRICS_PORT=9090
"""


def problems(**environ: str) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        load_settings(environ, None)
    return caught.value.problems


def test_nothing_set_gives_the_defaults() -> None:
    assert load_settings({}, None) == Settings()


def test_the_guides_dotenv_loads_with_its_inline_comments(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(GUIDE_DOTENV)
    settings = load_settings({}, tmp_path / ".env")
    assert settings.env == "testing"
    assert settings.host == "0.0.0.0"  # noqa: S104 - as the guide has it
    assert settings.log_level == "DEBUG"
    assert settings.synthesis.device == "auto"
    assert settings.synthesis.batch_size == 8
    assert settings.buffer.initial_tier == "normal"
    assert settings.warnings == ()


def test_the_environment_wins_over_the_dotenv_and_neither_is_changed(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("AURALIS_PORT=8001\nWS_MAX_CONNECTIONS=7\n")
    environ = {"AURALIS_PORT": "8002"}
    settings = load_settings(environ, tmp_path / ".env")
    assert (settings.port, settings.edge.max_connections) == (8002, 7)
    assert environ == {"AURALIS_PORT": "8002"}
    assert "WS_MAX_CONNECTIONS" not in os.environ


def test_a_missing_dotenv_is_no_error(tmp_path: Path) -> None:
    assert load_settings({}, tmp_path / "none.env") == Settings()


def test_a_dotenv_that_is_not_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_bytes(b"AURALIS_PORT=\xff\xfe\n")
    with pytest.raises(SettingsError, match="UTF-8 file of NAME=value lines"):
        load_settings({}, path)


def test_a_dotenv_line_without_a_value_is_named(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("AURALIS_PORT\nSOMETHING_ELSE\n")
    with pytest.raises(SettingsError) as caught:
        load_settings({}, tmp_path / ".env")
    assert len(caught.value.problems) == 1
    assert "expected AURALIS_PORT=value" in caught.value.problems[0]


@pytest.mark.parametrize(
    "line",
    ['NATS_TOKEN="hunter2', "NATS_TOKEN='hunter2", 'export NATS_TOKEN="hunter2" "more"', "NATS_TOKEN: hunter2"],
)
def test_a_dotenv_line_that_cannot_be_read_is_named_and_not_shown(tmp_path: Path, line: str) -> None:
    (tmp_path / ".env").write_text(f"# Ours.\n{line}\nAURALIS_PORT=x\nSOMETHING ELSE\n")
    with pytest.raises(SettingsError) as caught:
        load_settings({}, tmp_path / ".env")
    assert len(caught.value.problems) == 2
    assert "NATS_TOKEN: got a line that cannot be read (line 2 of" in caught.value.problems[0]
    assert "hunter2" not in str(caught.value)


def test_a_dotenv_value_is_taken_as_written_and_not_expanded(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("NATS_USER=u\nNATS_PASSWORD='pa$HOME${HOME}word'\n")
    assert load_settings({"HOME": "/home/user"}, tmp_path / ".env").nats.password == "pa$HOME${HOME}word"  # noqa: S105 - a test's own


def test_every_variable_reaches_its_field(tmp_path: Path) -> None:
    file = tmp_path / "some.file"
    file.write_text("x")
    environ = {
        "AURALIS_ENV": "production",
        "AURALIS_HOST": "::1",
        "AURALIS_INTERNAL_HOST": "10.0.0.9",
        "AURALIS_PORT": "1234",
        "AURALIS_DEVICE": "CUDA",
        "AURALIS_LOG_LEVEL": "warning",
        "AURALIS_LOG_FORMAT": "json",
        "AURALIS_INSTANCE": "edge-7",
        "BUFFER_INITIAL_TIER": "Stable",
        "BUFFER_MAX_CAPACITY_MS": "2500",
        "BUFFER_MIN_CAPACITY_MS": "500",
        "WS_MAX_CONNECTIONS": "5000",
        "WS_RATE_LIMIT_CHUNKS_PER_SEC": "30",
        "GPU_BATCH_SIZE": "auto",
        "GPU_ENABLE_COMPILE": "off",
        "METRICS_ENABLED": "0",
        "METRICS_PORT": "4321",
        "NATS_URL": "nats://a:4222, tls://b",
        "NATS_USER": "u",
        "NATS_PASSWORD": "p",
        "NATS_TLS_CA_FILE": str(file),
        "AURALIS_MAX_STREAMS": "64",
        "AURALIS_TRUSTED_PROXIES": "10.0.0.0/8, 127.0.0.1",
        "AURALIS_ALLOWED_ORIGINS": "https://Radio.example, http://localhost:3000",
        "AURALIS_MAX_PER_IP": "9",
        "AURALIS_MAX_PENDING": "100",
        "AURALIS_MAX_PENDING_PER_IP": "10",
        "AURALIS_INTERNAL_HOSTS": "telemetry, Auralis-Telemetry.music.svc",
        "AURALIS_JWT_KEY": "k" * 16,
        "AURALIS_JWT_AUDIENCE": "radio",
        "AURALIS_SECRET": "s" * 16,
        "AURALIS_DRAIN_SECONDS": "2.5",
        "AURALIS_WAIT_FOR_RENDERERS_SECONDS": "45",
        "AURALIS_PROMETHEUS_URL": "http://127.0.0.1:9190/",
        "AURALIS_TRACES": "otlp",
        "AURALIS_TRACES_SHARE": "0.5",
        "AURALIS_KERNEL_CACHE": str(tmp_path / "kernels"),
    }
    settings = load_settings(environ, None)
    flat = {
        "AURALIS_ENV": settings.env,
        "AURALIS_HOST": settings.host,
        "AURALIS_INTERNAL_HOST": settings.internal_host,
        "AURALIS_PORT": settings.port,
        "AURALIS_DEVICE": settings.synthesis.device,
        "AURALIS_LOG_LEVEL": settings.log_level,
        "AURALIS_LOG_FORMAT": settings.log_format,
        "AURALIS_INSTANCE": settings.instance,
        "BUFFER_INITIAL_TIER": settings.buffer.initial_tier,
        "BUFFER_MAX_CAPACITY_MS": settings.buffer.max_capacity_ms,
        "BUFFER_MIN_CAPACITY_MS": settings.buffer.min_capacity_ms,
        "WS_MAX_CONNECTIONS": settings.edge.max_connections,
        "WS_RATE_LIMIT_CHUNKS_PER_SEC": settings.edge.rate_limit_chunks_per_s,
        "GPU_BATCH_SIZE": settings.synthesis.batch_size,
        "GPU_ENABLE_COMPILE": settings.synthesis.enable_compile,
        "METRICS_ENABLED": settings.metrics_enabled,
        "METRICS_PORT": settings.metrics_port,
        "NATS_URL": settings.nats.url,
        "NATS_USER": settings.nats.user,
        "NATS_PASSWORD": settings.nats.password,
        "NATS_TLS_CA_FILE": settings.nats.tls_ca_file,
        "AURALIS_MAX_STREAMS": settings.edge.max_streams,
        "AURALIS_TRUSTED_PROXIES": settings.edge.trusted_proxies,
        "AURALIS_ALLOWED_ORIGINS": settings.edge.allowed_origins,
        "AURALIS_MAX_PER_IP": settings.edge.max_per_ip,
        "AURALIS_MAX_PENDING": settings.max_pending,
        "AURALIS_MAX_PENDING_PER_IP": settings.max_pending_per_ip,
        "AURALIS_INTERNAL_HOSTS": settings.internal_hosts,
        "AURALIS_JWT_KEY": settings.edge.jwt_key,
        "AURALIS_JWT_AUDIENCE": settings.edge.jwt_audience,
        "AURALIS_SECRET": settings.edge.secret,
        "AURALIS_DRAIN_SECONDS": settings.edge.drain_s,
        "AURALIS_WAIT_FOR_RENDERERS_SECONDS": settings.edge.wait_for_renderers_s,
        "AURALIS_KERNEL_CACHE": settings.synthesis.kernel_cache,
        "AURALIS_PROMETHEUS_URL": settings.prometheus_url,
        "AURALIS_TRACES": settings.traces,
        "AURALIS_TRACES_SHARE": settings.traces_share,
    }
    assert flat == {
        **environ,
        "AURALIS_PORT": 1234,
        "AURALIS_DEVICE": "cuda",
        "AURALIS_LOG_LEVEL": "WARNING",
        "BUFFER_INITIAL_TIER": "stable",
        "BUFFER_MAX_CAPACITY_MS": 2500,
        "BUFFER_MIN_CAPACITY_MS": 500,
        "WS_MAX_CONNECTIONS": 5000,
        "WS_RATE_LIMIT_CHUNKS_PER_SEC": 30,
        "GPU_BATCH_SIZE": None,
        "GPU_ENABLE_COMPILE": False,
        "METRICS_ENABLED": False,
        "METRICS_PORT": 4321,
        "NATS_URL": "nats://a:4222,tls://b",
        "AURALIS_MAX_STREAMS": 64,
        "AURALIS_TRUSTED_PROXIES": ("10.0.0.0/8", "127.0.0.1/32"),
        "AURALIS_ALLOWED_ORIGINS": ("https://radio.example", "http://localhost:3000"),
        "AURALIS_MAX_PER_IP": 9,
        "AURALIS_MAX_PENDING": 100,
        "AURALIS_MAX_PENDING_PER_IP": 10,
        "AURALIS_INTERNAL_HOSTS": ("telemetry", "auralis-telemetry.music.svc"),
        "AURALIS_DRAIN_SECONDS": 2.5,
        "AURALIS_WAIT_FOR_RENDERERS_SECONDS": 45.0,
        "AURALIS_PROMETHEUS_URL": "http://127.0.0.1:9190",
        "AURALIS_TRACES_SHARE": 0.5,
    }
    assert load_settings({"NATS_TOKEN": "t"}, None).nats.token == "t"  # noqa: S105 - a test's own
    assert load_settings({"NATS_CREDENTIALS_FILE": str(file)}, None).nats.credentials_file == str(file)
    assert {*environ, "NATS_TOKEN", "NATS_CREDENTIALS_FILE"} == {row.name for row in settings_table()}


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("AURALIS_ENV", "two words"),
        ("AURALIS_HOST", "host:8000"),
        ("AURALIS_HOST", "under score"),
        ("AURALIS_PROMETHEUS_URL", "127.0.0.1:9190"),
        ("AURALIS_TRACES", "jaeger"),
        ("AURALIS_TRACES_SHARE", "0"),
        ("AURALIS_PORT", "eighty"),
        ("AURALIS_PORT", "65536"),
        ("AURALIS_PORT", "-1"),
        ("AURALIS_PORT", "8_000"),
        ("AURALIS_PORT", "٨٠٠٠"),
        ("AURALIS_DEVICE", "tpu"),
        ("AURALIS_LOG_LEVEL", "LOUD"),
        ("AURALIS_LOG_FORMAT", "xml"),
        ("AURALIS_INSTANCE", "a b"),
        ("AURALIS_INSTANCE", "x" * 64),
        ("BUFFER_INITIAL_TIER", "huge"),
        ("BUFFER_MAX_CAPACITY_MS", "3001"),
        ("BUFFER_MIN_CAPACITY_MS", "0"),
        ("WS_MAX_CONNECTIONS", "0"),
        ("WS_RATE_LIMIT_CHUNKS_PER_SEC", "10"),
        ("GPU_BATCH_SIZE", "0"),
        ("GPU_BATCH_SIZE", "many"),
        ("GPU_ENABLE_COMPILE", "maybe"),
        ("METRICS_ENABLED", "2"),
        ("METRICS_PORT", "99999"),
        ("NATS_URL", "http://bus"),
        ("NATS_URL", "ws://bus"),
        ("NATS_URL", "bus:4222"),
        ("NATS_URL", "nats://bus:port"),
        ("NATS_URL", ","),
        ("NATS_CREDENTIALS_FILE", "/no/such/file"),
        ("NATS_TLS_CA_FILE", "/no/such/file"),
        ("AURALIS_MAX_STREAMS", "0"),
        ("AURALIS_TRUSTED_PROXIES", "proxy.example"),
        ("AURALIS_TRUSTED_PROXIES", "10.0.0.0/33"),
        ("AURALIS_ALLOWED_ORIGINS", "radio.example"),
        ("AURALIS_ALLOWED_ORIGINS", "https://radio.example/path"),
        ("AURALIS_MAX_PER_IP", "-1"),
        ("AURALIS_MAX_PENDING", "0"),
        ("AURALIS_MAX_PENDING_PER_IP", "0"),
        ("AURALIS_INTERNAL_HOSTS", "telemetry:9090"),
        ("AURALIS_JWT_KEY", "short"),
        ("AURALIS_SECRET", "short"),
        ("AURALIS_DRAIN_SECONDS", "nan"),
        ("AURALIS_DRAIN_SECONDS", "-1"),
        ("AURALIS_DRAIN_SECONDS", "inf"),
        ("AURALIS_KERNEL_CACHE", "/dev/null"),
    ],
)
def test_a_bad_value_is_named_with_what_was_seen_and_what_is_expected(name: str, bad: str) -> None:
    (problem,) = problems(**{name: bad})
    assert problem.startswith(f"{name}: got ")
    assert ", expected " in problem


def test_every_bad_variable_is_reported_at_once() -> None:
    found = problems(AURALIS_PORT="x", WS_MAX_CONNECTIONS="y", AURALIS_DEVICE="z", BUFFER_INITIAL_TIER="w")
    assert sorted(problem.split(":")[0] for problem in found) == [
        "AURALIS_DEVICE",
        "AURALIS_PORT",
        "BUFFER_INITIAL_TIER",
        "WS_MAX_CONNECTIONS",
    ]


def test_a_bad_secret_is_not_shown() -> None:
    for name in ("AURALIS_SECRET", "AURALIS_JWT_KEY"):
        (problem,) = problems(**{name: "hush"})
        assert "hush" not in problem
        assert "4 characters (not shown)" in problem


def test_credentials_in_a_bad_address_are_not_shown() -> None:
    (problem,) = problems(NATS_URL="http://user:hush@bus")
    assert "hush" not in problem


def test_secrets_are_not_in_the_settings_repr() -> None:
    settings = load_settings(
        {
            "AURALIS_SECRET": "hush" * 4,
            "AURALIS_JWT_KEY": "hush" * 4,
            "NATS_URL": "nats://u:hush@bus",
            "NATS_TOKEN": "hush",
        },
        None,
    )
    assert "hush" not in repr(settings)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        (
            {"BUFFER_MIN_CAPACITY_MS": "2000", "BUFFER_MAX_CAPACITY_MS": "1000"},
            "BUFFER_MIN_CAPACITY_MS: got 2000, expected at most BUFFER_MAX_CAPACITY_MS, which is 1000",
        ),
        ({"AURALIS_PORT": "9090"}, "METRICS_PORT: got 9090, which is AURALIS_PORT too"),
        ({"NATS_PASSWORD": "p"}, "NATS_PASSWORD: got a password without NATS_USER"),
        ({"NATS_USER": "p"}, "NATS_USER: got a user without NATS_PASSWORD"),
        ({"NATS_USER": "u", "NATS_PASSWORD": "p", "NATS_TOKEN": "t"}, "NATS_USER and NATS_TOKEN together"),
        ({"AURALIS_JWT_AUDIENCE": "a"}, "AURALIS_JWT_AUDIENCE: got an audience without AURALIS_JWT_KEY"),
    ],
)
def test_a_contradiction_names_both_sides(environ: dict[str, str], expected: str) -> None:
    (problem,) = problems(**environ)
    assert expected in problem


def test_equal_ports_are_fine_where_both_are_chosen_by_the_system_or_metrics_are_off() -> None:
    assert load_settings({"AURALIS_PORT": "0", "METRICS_PORT": "0"}, None).port == 0
    assert load_settings({"AURALIS_PORT": "9090", "METRICS_ENABLED": "false"}, None).port == 9090


def test_a_variable_set_to_nothing_counts_as_not_set() -> None:
    assert load_settings({"AURALIS_PORT": "", "AURALIS_SECRET": "  ", "GPU_BATCH_SIZE": ""}, None) == Settings()


def test_a_misspelt_name_is_warned_of_with_the_nearest_right_one() -> None:
    warnings = load_settings({"AURALIS_DRIAN_SECONDS": "3", "BUFFER_INITAL_TIER": "normal"}, None).warnings
    assert warnings == (
        "AURALIS_DRIAN_SECONDS is not a setting of Auralis and is ignored; did you mean AURALIS_DRAIN_SECONDS?",
        "BUFFER_INITAL_TIER is not a setting of Auralis and is ignored; did you mean BUFFER_INITIAL_TIER?",
    )


def test_names_of_other_programs_and_of_kubernetes_are_left_in_peace() -> None:
    environ = {
        "NATS_HOME": "/x",
        "GPU_COUNT": "2",
        "AURALIS_TOOLS": "/opt/tools",
        "AURALIS_EDGE_SERVICE_HOST": "10.0.0.1",
        "AURALIS_EDGE_SERVICE_PORT_HTTP": "80",
        "AURALIS_EDGE_PORT": "tcp://10.0.0.1:80",
        "AURALIS_EDGE_PORT_80_TCP_ADDR": "10.0.0.1",
    }
    assert load_settings(environ, None).warnings == ()


def test_a_port_that_kubernetes_overwrote_is_explained() -> None:
    (problem,) = problems(AURALIS_PORT="tcp://10.0.0.1:8000")
    assert "enableServiceLinks: false" in problem


def test_bad_settings_end_the_process_with_code_2_and_every_sentence_on_stderr(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from services.runtime.settings import load_settings_or_exit as f; f()"],
        env={**os.environ, "AURALIS_PORT": "x", "GPU_BATCH_SIZE": "y", "PYTHONPATH": str(Path(__file__).parents[3])},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert lines[0] == "Auralis cannot start: 2 settings cannot be used."
    assert lines[1].startswith("  AURALIS_PORT: got 'x'")
    assert lines[2].startswith("  GPU_BATCH_SIZE: got 'y'")
    assert len(lines) == 3


def test_good_settings_do_not_exit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AURALIS_PORT", "4567")
    assert load_settings_or_exit().port == 4567


def test_defaults_are_written_as_a_person_would_write_them() -> None:
    defaults = {row.name: row.default for row in settings_table()}
    assert defaults["AURALIS_PORT"] == "8000"
    assert defaults["GPU_BATCH_SIZE"] == "auto"
    assert defaults["GPU_ENABLE_COMPILE"] == "true"
    assert defaults["AURALIS_DRAIN_SECONDS"] == "30"
    assert defaults["AURALIS_TRACES_SHARE"] == "0.01"
    assert defaults["AURALIS_ALLOWED_ORIGINS"] == "*"
    assert defaults["AURALIS_TRUSTED_PROXIES"] == ""


def test_every_default_as_written_reads_back_as_the_default() -> None:
    from_table = {row.name: row.default for row in settings_table() if row.default}
    assert load_settings(from_table, None) == Settings()


def test_the_markdown_table_has_a_line_for_every_setting() -> None:
    lines = settings_markdown().splitlines()
    assert lines[:2] == ["| variable | default | meaning |", "|---|---|---|"]
    assert len(lines) == 2 + len(settings_table())
    assert all(line.count("|") - line.count("\\|") == 4 for line in lines)
    assert "| `AURALIS_PORT` | `8000` |" in settings_markdown()
