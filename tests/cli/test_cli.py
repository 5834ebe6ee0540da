import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from services import cli
from services.cli_options import read_spec
from services.contract.spec import SENTENCES, SPEC_FIELDS, TEXTURES, StreamSpec
from services.local.doctor import findings
from services.local.doctor.findings import Finding

REPO = Path(__file__).parents[2]


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli.main, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def test_help_names_every_command() -> None:
    status, text = run("--help")
    assert status == 0
    for name in ("up", "synthesis", "edge", "telemetry", "render", "listen", "doctor"):
        assert f"\n  {name} " in text


def test_help_imports_nothing_heavy() -> None:
    source = (
        "import sys; from services.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'litestar', 'nats', 'rich', 'websockets', 'asyncio', 'psutil'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    began_s = time.monotonic()
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - began_s < 5.0


def test_up_imports_no_torch() -> None:
    # The parent of the services must start quickly and stay small.
    source = "import sys; import services.local.up.run; sys.exit('torch' in sys.modules or 'litestar' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, timeout=60, check=False)
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("listen", "ws://x/ws", "--bpm", "999"), "--bpm: got 999, expected a whole number from 40 to 180"),
        (("listen", "ws://x/ws", "--key", "H"), "--key: got 'H'"),
        (("render", "out.wav", "--mode", "cheerful"), "--mode: got 'cheerful'"),
        (("render", "out.wav", "--intensity", "2"), "--intensity: got 2.0"),
        (("render", "out.wav", "--texture", "snow"), "--texture: got 'snow', expected one of preset, rain, sea, wind"),
        (("render", "out.wav", "--density", "-1"), "--density: got -1.0, expected a number from 0 to 1"),
        (("render", "out.wav", "--level", "pad=2"), "--level pad: got 2.0, expected a number from 0 to 1.5"),
        (("render", "out.wav", "--level", "pad"), "--level pad: got '', expected a number from 0 to 1.5"),
        (("render", "out.wav", "--level", "piano=1"), "--level: got 'piano', expected only drone, bass, pad"),
        (("render", "out.wav", "--level", "pad=0", "--level", "pad=1"), "--level: got pad twice"),
        (("render", "out.wav", "--seconds", "0"), "--seconds"),
        (("render", "out.mp3"), "out.mp3: got a name that ends in .mp3, expected one that ends in .wav"),
        (("listen", "ws://x/ws", "-o", "out.Opus"), "expected one that ends in .wav"),
        (("soak", "--hours", "1", "--minutes", "5"), "--hours: got 1 and --minutes 5, expected one of the two"),
    ],
)
def test_an_unusable_value_is_named_with_the_values_that_are_usable(arguments: tuple[str, ...], said: str) -> None:
    status, text = run(*arguments)
    assert status == 2
    assert said in text


@pytest.mark.parametrize("command", ["render", "listen"])
def test_help_says_what_every_preset_is_and_names_every_texture(command: str) -> None:
    _, text = run(command, "--help")
    words = " ".join(text.split())
    assert all(f"{name}: {sentence}" in words for name, sentence in SENTENCES.items())
    assert all(kind in text for kind in TEXTURES)


def test_the_spec_is_read_from_the_options() -> None:
    values: dict[str, object] = dict.fromkeys(SPEC_FIELDS)
    values |= {"key": "Eb", "mode": "minor", "bpm": 60, "intensity": 0.41}
    assert read_spec(values) == StreamSpec("D#", "aeolian", 60, 8, "drift", 0)
    steered = {"density": 0.2, "texture": "sea", "levels": {"pad": 0.5}}
    assert read_spec({**dict.fromkeys(SPEC_FIELDS), **steered}) == StreamSpec.from_params(steered)


def test_a_level_is_given_once_for_each_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    rendered: list[StreamSpec] = []
    monkeypatch.setattr("services.local.render.run.run_render", lambda spec, *_, **__: rendered.append(spec) or 0)
    arguments = ["render", "out.wav", "--level", "pad=0.5", "--level", "air=0", "--brightness", "0.7"]
    CliRunner().invoke(cli.main, arguments, catch_exceptions=False)
    assert rendered == [StreamSpec.from_params({"brightness": 0.7, "levels": {"pad": 0.5, "air": 0}})]


@pytest.mark.parametrize("seed", ["1", "scented-rookery", "Scented Rookery"])
def test_a_seed_is_a_number_or_a_title(seed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rendered: list[StreamSpec] = []
    monkeypatch.setattr("services.local.render.run.run_render", lambda spec, *_, **__: rendered.append(spec) or 0)
    CliRunner().invoke(cli.main, ["render", "out.wav", "--seed", seed], catch_exceptions=False)
    assert rendered == [StreamSpec(seed=1)]


@pytest.mark.parametrize("seed", ["1.5", "-1", "4294967296", "scented nothing"])
def test_a_seed_that_does_not_exist_is_refused(seed: str) -> None:
    status, text = run("render", "out.wav", "--seed", seed)
    assert status == 2
    assert "--seed: got" in text
    assert "a whole number from 0 to 4294967295 or a title such as 'Tranquil Pond'" in text


def test_listening_without_an_edge_fails_with_one_sentence() -> None:
    status, text = run("listen", "ws://127.0.0.1:9/ws", "--seconds", "1")
    assert status == 1
    assert text.count("\n") == 1
    assert "auralis up" in text


def test_rendering_into_a_missing_folder_fails_with_one_sentence(tmp_path: Path) -> None:
    status, text = run("render", str(tmp_path / "no" / "out.wav"))
    assert status == 1
    assert "does not exist" in text
    assert text.count("\n") == 1


FINDINGS = {
    "ok": [Finding("Disk", "ok", "plenty")],
    "warn": [Finding("Disk", "ok", "plenty"), Finding("Compiler", "warn", "none", "It is slow.", "Install one.")],
    "fail": [Finding("Python", "fail", "3.8", "Nothing starts.", "Install another."), Finding("Disk", "warn", "full")],
}


@pytest.mark.parametrize(("level", "status"), [("ok", 0), ("warn", 0), ("fail", 1)])
def test_the_doctor_fails_only_if_auralis_would_not_run(
    level: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.local.doctor.run.examine", lambda: iter(FINDINGS[level]))
    assert run("doctor")[0] == status
    code, text = run("doctor", "--json")
    body = json.loads(text)
    assert (code, body["level"]) == (status, level)
    assert body["findings"][0]["name"] == FINDINGS[level][0].name


def test_the_doctor_shows_cost_and_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.local.doctor.run.examine", lambda: iter(FINDINGS["warn"]))
    _, text = run("doctor")
    assert "✓ Disk" in text
    assert "! Compiler" in text
    assert "It is slow." in text
    assert "Install one." in text


def test_every_check_of_the_doctor_runs_on_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AURALIS_KERNEL_CACHE", str(tmp_path / "kernels"))
    # Importing torch is tested where it is used; here it would only take time.
    monkeypatch.setattr("services.local.doctor.machine.torch_device", lambda *_: Finding("Device", "ok", "cpu"))
    code, text = run("doctor", "--json")
    body = json.loads(text)
    names = [finding["name"] for finding in body["findings"]]
    for name in ("Python", "System", "Settings", "Memory", "torch", "GPU driver", "Compiler", "Kernel cache", "Disk",
                 "NATS", "Open files", "ffmpeg"):  # fmt: skip
        assert name in names
    assert not any("cannot be examined" in finding["observed"] for finding in body["findings"])
    assert code == (1 if findings.worst([Finding("", each["level"], "") for each in body["findings"]]) == "fail" else 0)


def test_the_doctor_continues_after_unusable_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AURALIS_PORT", "eighty")
    code, text = run("doctor", "--json")
    assert code == 1
    observed = {finding["name"]: finding for finding in json.loads(text)["findings"]}
    assert "AURALIS_PORT: got 'eighty'" in observed["Settings"]["observed"]
    assert "GPU driver" in observed


def test_a_missing_package_fails_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr("services.local.doctor.run.examine", missing)
    status, text = run("doctor")
    assert status == 1
    assert "uv pip install -e '.[synthesis]'" in text


@pytest.mark.parametrize("service", ["edge", "synthesis", "telemetry"])
def test_a_service_with_unusable_settings_names_all_of_them_and_nothing_else(service: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "services.cli", service],
        env={**os.environ, "PYTHONPATH": str(REPO), "AURALIS_PORT": "abc", "WS_MAX_CONNECTIONS": "-1"},
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    first, *problems = done.stderr.splitlines()
    assert first == "Auralis cannot start: 2 settings cannot be used."
    assert [problem.split(":")[0].strip() for problem in problems] == ["AURALIS_PORT", "WS_MAX_CONNECTIONS"]


def test_the_version_is_the_packages() -> None:
    status, text = run("--version")
    assert status == 0
    assert text.startswith("auralis, version ")
