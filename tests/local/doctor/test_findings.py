import pytest

from services.local.doctor import findings
from services.local.doctor.findings import GIB, MIB, Finding


def test_an_old_python_is_a_failure_that_says_how_to_get_a_newer_one() -> None:
    finding = findings.judge_python((3, 11, 9))
    assert finding.level == "fail"
    assert "3.11.9" in finding.observed
    assert "3.12" in finding.remedy
    assert findings.judge_python((3, 12, 0)).level == "ok"


def test_windows_is_a_failure_that_points_to_wsl() -> None:
    assert findings.judge_system("Windows").level == "fail"
    assert "WSL" in findings.judge_system("Windows").remedy
    assert findings.judge_system("Darwin").level == findings.judge_system("Linux").level == "ok"


def test_unusable_settings_fail_and_misspelt_ones_warn() -> None:
    assert findings.judge_settings(["AURALIS_PORT: got 'x'"], ()).level == "fail"
    assert findings.judge_settings((), ["AURALIS_PROT is ignored"]).level == "warn"
    assert findings.judge_settings((), ()).level == "ok"


def test_no_compiler_costs_speed_but_not_music() -> None:
    finding = findings.judge_compiler(None, enabled=True)
    assert finding.level == "warn"
    assert "tenth" in finding.cost
    assert "g++" in finding.remedy
    assert findings.judge_compiler("/usr/bin/g++", enabled=True).level == "ok"
    assert findings.judge_compiler(None, enabled=True, packaged=True).level == "ok"
    assert "GPU_ENABLE_COMPILE" in findings.judge_compiler("/usr/bin/g++", enabled=False).sentence


def test_a_device_that_is_set_and_missing_is_a_failure() -> None:
    assert findings.judge_device("cuda", "cpu", nvidia_gpu=None, torch_has_cuda=False).level == "fail"
    assert findings.judge_device("auto", "cpu", nvidia_gpu=None, torch_has_cuda=False).level == "ok"
    assert findings.judge_device("cpu", "cpu", nvidia_gpu="H100", torch_has_cuda=True).level == "ok"


def test_an_unused_gpu_is_a_warning() -> None:
    finding = findings.judge_device("auto", "cpu", nvidia_gpu="NVIDIA H100", torch_has_cuda=False)
    assert finding.level == "warn"
    assert "without CUDA" in finding.observed


@pytest.mark.parametrize(("free", "level"), [(2 * GIB, "ok"), (500 * MIB, "warn"), (50 * MIB, "fail")])
def test_disk_space_is_judged_by_the_needs_of_compiling(free: int, level: str) -> None:
    assert findings.judge_disk("/tmp", free).level == level  # noqa: S108 - a name, not opened


@pytest.mark.parametrize(("free", "level"), [(8 * GIB, "ok"), (GIB, "warn"), (512 * MIB, "fail")])
def test_memory_is_judged_by_its_free_part(free: int, level: str) -> None:
    assert findings.judge_memory(16 * GIB, free).level == level


def test_a_low_limit_of_open_files_says_how_many_listeners_fit() -> None:
    finding = findings.judge_open_files(256, 5000)
    assert finding.level == "warn"
    assert "156 listeners" in finding.cost
    assert "ulimit -n 5100" in finding.remedy
    assert findings.judge_open_files(1024, 50).level == "ok"


def test_a_port_in_use_names_the_variable_to_set() -> None:
    finding = findings.judge_port("METRICS_PORT", "metrics", 9090, "port 9090 is in use by prometheus (pid 7)")
    assert finding.level == "warn"
    assert "prometheus (pid 7)" in finding.sentence
    assert "set METRICS_PORT" in finding.sentence
    assert findings.judge_port("AURALIS_PORT", "player", 8000, "in use", if_taken="fail").level == "fail"
    assert findings.judge_port("AURALIS_PORT", "player", 0, None).level == "ok"


def test_the_kernel_cache_is_judged_by_whether_kernels_can_be_kept_and_loaded() -> None:
    assert findings.judge_kernel_cache("/c", 0, writable=False, executable=True).level == "warn"
    assert "noexec" in findings.judge_kernel_cache("/c", 0, writable=True, executable=False).observed
    assert "first start" in findings.judge_kernel_cache("/c", 0, writable=True, executable=True).observed
    assert "3 MiB" in findings.judge_kernel_cache("/c", 3 * MIB, writable=True, executable=True).observed


def test_checks_of_tools_drivers_and_cores_name_what_is_missing() -> None:
    assert "no ffplay." in findings.judge_tools(None, "/usr/bin/ffmpeg").sentence
    assert findings.judge_tools("/a", "/b").level == "ok"
    assert findings.judge_driver(None, "nvidia-smi ended with 9").level == "warn"
    assert findings.judge_driver(None, None).level == "ok"
    assert findings.judge_processor(0.5).level == "warn"
    assert findings.judge_processor(2).level == "ok"
    assert findings.judge_torch(None).level == "fail"
    assert findings.judge_nats(None, "", "There is no server.").level == "fail"
    assert findings.judge_nats("2.15.0", "nats://x", None).level == "ok"


def test_the_worst_level_wins() -> None:
    ok, warn, fail = (Finding("x", level, "") for level in ("ok", "warn", "fail"))
    assert findings.worst([ok]) == "ok"
    assert findings.worst([ok, warn]) == "warn"
    assert findings.worst([fail, ok, warn]) == "fail"
    assert findings.worst([]) == "ok"
