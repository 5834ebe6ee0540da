"""Looks at this machine, for `findings.py` to judge (shell). Only `torch_device` imports torch."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import psutil
from dotenv import dotenv_values

from services.local import ports
from services.local.doctor import findings
from services.local.doctor.findings import Finding, Level
from services.local.processes import nats_server
from services.runtime.settings import Settings, SettingsError, load_settings

DOTENV: Final = Path(".env")


def read_settings() -> tuple[Settings | None, Finding]:
    """The settings, None if they cannot be used, and the finding about them."""
    try:
        settings = load_settings()
    except SettingsError as error:
        return None, findings.judge_settings(error.problems, ())
    return settings, findings.judge_settings((), settings.warnings)


def given(name: str) -> str:
    """The value that the environment or `.env` sets for `name`; empty if neither does, whatever the default is."""
    text = os.environ.get(name, "").strip()
    if not text and name not in os.environ and DOTENV.is_file():
        text = (dotenv_values(DOTENV, interpolate=False, encoding="utf-8-sig").get(name) or "").strip()
    return text


def find_compiler() -> str | None:
    """The C++ compiler that torch would use; None if it is not installed."""
    return shutil.which(os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++"))


def memory_limit_bytes() -> int:
    """Memory of this machine, or of this container if it has less."""
    total = psutil.virtual_memory().total
    limit = _cgroup_number("memory.max")
    return total if limit is None else min(total, limit)


def memory_available_bytes() -> int:
    """Memory that can be used without swapping, within the container's limit."""
    available = psutil.virtual_memory().available
    limit, used = _cgroup_number("memory.max"), _cgroup_number("memory.current")
    if limit is None or used is None:
        return available
    return max(0, min(available, limit - used))


def processor_cores() -> float:
    """Cores that this process may use, by its affinity and the container's quota."""
    cores = (
        float(len(psutil.Process().cpu_affinity()))
        if hasattr(psutil.Process, "cpu_affinity")
        else float(os.cpu_count() or 1)
    )
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return min(cores, int(quota) / int(period))
    except (OSError, ValueError):
        return cores


def _cgroup_number(name: str) -> int | None:
    try:
        return int(Path("/sys/fs/cgroup", name).read_text())
    except (OSError, ValueError):
        # No control groups (macOS), version 1 of them, or "max".
        return None


def kernel_cache(settings: Settings) -> Path:
    """The folder of compiled kernels."""
    if settings.synthesis.kernel_cache:
        return Path(settings.synthesis.kernel_cache).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or ("~/Library/Caches" if sys.platform == "darwin" else "~/.cache")
    return Path(base).expanduser() / "auralis" / "kernels"


def existing_parent(folder: Path) -> Path:
    """`folder`, or the nearest folder above it that exists."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def open_files_limit() -> int:
    """Limit of open files of this process."""
    import resource  # noqa: PLC0415 - Unix only

    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


# --- findings --------------------------------------------------------------------------------------------------------


def python() -> Finding:
    """This Python."""
    return findings.judge_python(sys.version_info[:3])


def system() -> Finding:
    """This operating system."""
    return findings.judge_system(platform.system())


def torch() -> Finding:
    """Whether torch is installed; does not import it."""
    try:
        return findings.judge_torch(importlib.metadata.version("torch"))
    except importlib.metadata.PackageNotFoundError:
        return findings.judge_torch(None)


def compiler(settings: Settings) -> Finding:
    """The C++ compiler."""
    return findings.judge_compiler(find_compiler(), enabled=settings.synthesis.enable_compile)


def memory() -> Finding:
    """Memory."""
    return findings.judge_memory(memory_limit_bytes(), memory_available_bytes())


def disk(settings: Settings) -> Finding:
    """The disk of the temporary folder or of the kernel cache, whichever has less free space."""
    folders = {existing_parent(kernel_cache(settings)), Path(tempfile.gettempdir())}
    free_bytes, folder = min((shutil.disk_usage(folder).free, str(folder)) for folder in folders)
    return findings.judge_disk(folder, free_bytes)


def public_ports(settings: Settings, *, if_taken: Level = "warn") -> list[Finding]:
    """The public ports, of player and metrics."""
    wanted = (
        ("AURALIS_PORT", "player and streams", settings.port),
        ("METRICS_PORT", "metrics", settings.metrics_port),
    )
    return [
        findings.judge_port(
            variable, meaning, port, ports.why_not_free(settings.host, port) if port else None, if_taken=if_taken
        )
        for variable, meaning, port in wanted
    ]


def processor() -> Finding:
    """Processor cores."""
    return findings.judge_processor(processor_cores())


def open_files(settings: Settings) -> Finding:
    """The limit of open files."""
    return findings.judge_open_files(open_files_limit(), settings.edge.max_connections)


def nats(settings: Settings) -> Finding:
    """The server that `auralis up` would use."""
    url = settings.nats.url if given("NATS_URL") else ""
    try:
        if url:
            info = nats_server.check_server(url)
            return findings.judge_nats(info.version if info else None, nats_server.without_credentials(url), None)
        binary = nats_server.find_binary()
        return findings.judge_nats(nats_server.binary_version(binary), str(binary), None)
    except nats_server.NatsServerError as error:
        return findings.judge_nats(None, "", str(error))


def cache(settings: Settings) -> Finding:
    """The kernel cache."""
    folder = kernel_cache(settings)
    base = existing_parent(folder)
    noexec = os.statvfs(base).f_flag & getattr(os, "ST_NOEXEC", 0)
    used = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) if folder.is_dir() else 0
    return findings.judge_kernel_cache(
        str(folder), used, writable=os.access(base, os.W_OK | os.X_OK), executable=not noexec
    )


def tools() -> Finding:
    """The programs of ffmpeg."""
    return findings.judge_tools(shutil.which("ffplay"), shutil.which("ffmpeg"))


def nvidia_gpu() -> tuple[str | None, str | None]:
    """(names of the GPUs that NVIDIA's driver sees, what is wrong with the driver); None, None without a driver."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None, None
    try:
        done = subprocess.run(  # noqa: S603 - the program that PATH names
            [program, "--query-gpu=name,driver_version", "--format=csv,noheader"],
            capture_output=True, text=True, timeout=10, check=False,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        return None, f"nvidia-smi does not run ({error})"
    if done.returncode:
        return None, f"nvidia-smi ended with {done.returncode}: {(done.stdout or done.stderr).strip().splitlines()[:1]}"
    return "; ".join(line.strip() for line in done.stdout.splitlines() if line.strip()) or None, None


def torch_device(settings: Settings, gpu: str | None) -> Finding:
    """The device that synthesis would use; imports torch (seconds)."""
    import torch as torch_module  # noqa: PLC0415 - heavy, and only the doctor asks

    wanted = settings.synthesis.device
    usable = {
        "cuda": torch_module.cuda.is_available(),
        "mps": torch_module.backends.mps.is_available(),
        "cpu": True,
    }
    used = wanted if usable.get(wanted) else next(name for name, there in usable.items() if there)
    return findings.judge_device(wanted, used, nvidia_gpu=gpu, torch_has_cuda=torch_module.version.cuda is not None)
