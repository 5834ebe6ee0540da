"""What a machine has, and what a lack costs, in sentences. Pure: observations go in, findings come out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

Level = Literal["ok", "warn", "fail"]

GIB: Final = 2**30
MIB: Final = 2**20
PYTHON_NEEDED: Final = (3, 12)
LEAST_MEMORY_BYTES: Final = 768 * MIB
"""Free memory without which services do not run."""
GOOD_MEMORY_BYTES: Final = 2 * GIB
"""Free memory for many streams and for compiling kernels."""
LEAST_DISK_BYTES: Final = 100 * MIB
"""Free disk space without which services do not run."""
GOOD_DISK_BYTES: Final = GIB
"""Free disk space for compiling kernels."""
OWN_FILES: Final = 100
"""Open files of an edge without listeners: bus, libraries, logs."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check.

    Attributes:
        name: of the check.
        level: "ok"; "warn": Auralis runs, at the cost named; "fail": it does not run.
        observed: what was found.
        cost: what the lack costs; empty if ok.
        remedy: what to do; empty if ok.
    """

    name: str
    level: Level
    observed: str
    cost: str = ""
    remedy: str = ""

    @property
    def sentence(self) -> str:
        """The finding in one line."""
        return " ".join(part for part in (f"{self.name}: {self.observed}.", self.cost, self.remedy) if part)


def judge_python(version: tuple[int, ...]) -> Finding:
    """Whether this Python runs Auralis."""
    observed = ".".join(map(str, version))
    if version >= PYTHON_NEEDED:
        return Finding("Python", "ok", observed)
    needed = ".".join(map(str, PYTHON_NEEDED))
    return Finding(
        "Python",
        "fail",
        f"{observed}, expected {needed} or later",
        "Nothing starts.",
        f"Install Python {needed}; `uv python install {needed}` does.",
    )


def judge_system(name: str) -> Finding:
    """Whether this operating system is one that Auralis runs on."""
    if name in ("Linux", "Darwin"):
        return Finding("System", "ok", name)
    return Finding("System", "fail", name, "`auralis up` needs process groups.", "On Windows, use WSL.")


def judge_settings(problems: Sequence[str], warnings: Sequence[str]) -> Finding:
    """The settings of the environment and `.env` together.

    Args:
        problems: sentences about values that cannot be used.
        warnings: sentences about settings without effect.
    """
    if problems:
        return Finding("Settings", "fail", "; ".join(problems), "Nothing starts.", "Change them or remove them.")
    if warnings:
        return Finding("Settings", "warn", "; ".join(warnings), "These settings have no effect.")
    return Finding("Settings", "ok", "environment and .env are valid")


def judge_torch(version: str | None) -> Finding:
    """Whether torch is installed; `version` is None if it is not."""
    if version is not None:
        return Finding("torch", "ok", version)
    return Finding(
        "torch",
        "fail",
        "not installed",
        "Music cannot be rendered.",
        "`uv pip install -e '.[synthesis]'`.",
    )


def judge_device(wanted: str, used: str, *, nvidia_gpu: str | None, torch_has_cuda: bool) -> Finding:
    """Where music is rendered.

    Args:
        wanted: AURALIS_DEVICE.
        used: the device that synthesis would select.
        nvidia_gpu: name of an NVIDIA GPU that the driver sees; None without one.
        torch_has_cuda: this torch was built for CUDA.
    """
    if wanted not in ("auto", used):
        return Finding(
            "Device", "fail", f"AURALIS_DEVICE={wanted}, but torch can use only {used} here",
            "Synthesis does not start.",
            "Set AURALIS_DEVICE=auto, or install the driver and a torch that was built for it.",
        )  # fmt: skip
    if used == "cpu" and wanted == "auto" and nvidia_gpu:
        reason = "torch cannot reach it" if torch_has_cuda else "this torch was built without CUDA"
        return Finding(
            "Device", "warn", f"cpu, although there is a {nvidia_gpu}: {reason}",
            "The GPU is idle; the processor renders hundreds of streams, the GPU would render thousands.",
            "Install torch for CUDA (`uv pip install torch`), and check the driver with `nvidia-smi`.",
        )  # fmt: skip
    return Finding("Device", "ok", used)


def judge_compiler(found: str | None, *, enabled: bool, packaged: bool = False) -> Finding:
    """Whether kernels can be compiled.

    Args:
        found: path of the C++ compiler; None without one.
        enabled: GPU_ENABLE_COMPILE.
        packaged: kernels for this machine come compiled with the installation.
    """
    if not enabled:
        return Finding(
            "Compiler", "warn", "switched off by GPU_ENABLE_COMPILE=false",
            "Music is rendered eagerly: about a tenth of the streams for the same processor.",
            "Set GPU_ENABLE_COMPILE=true.",
        )  # fmt: skip
    if found or packaged:
        return Finding("Compiler", "ok", found or "none; none is needed, because the kernels are packaged")
    return Finding(
        "Compiler", "warn", "no C++ compiler",
        "Music is rendered eagerly: about a tenth of the streams for the same processor; a few streams work well.",
        "Install one: `apt install g++`, `dnf install gcc-c++` or `xcode-select --install`.",
    )  # fmt: skip


def judge_kernel_cache(folder: str, bytes_used: int, *, writable: bool, executable: bool) -> Finding:
    """Whether compiled kernels can be kept in a folder and loaded from it."""
    if not writable:
        return Finding(
            "Kernel cache", "warn", f"{folder} cannot be written to",
            "Every start compiles the kernels again, which takes about a minute.",
            "Make it writable, or set AURALIS_KERNEL_CACHE to a folder that is.",
        )  # fmt: skip
    if not executable:
        return Finding(
            "Kernel cache", "warn", f"{folder} is on a file system that is mounted noexec",
            "Compiled kernels cannot be loaded from it.",
            "Set AURALIS_KERNEL_CACHE (and TMPDIR) to a folder that allows execution.",
        )  # fmt: skip
    if bytes_used == 0:
        return Finding("Kernel cache", "ok", f"{folder} is empty: the first start compiles, which takes about a minute")
    return Finding("Kernel cache", "ok", f"{folder} ({bytes_used / MIB:.0f} MiB)")


def judge_port(variable: str, meaning: str, port: int, why_not: str | None, *, if_taken: Level = "warn") -> Finding:
    """Whether a service can listen on a port.

    Args:
        variable: the setting of the port.
        meaning: what the port is for, in words.
        port: 0: a free port is chosen.
        why_not: half a sentence from `ports.why_not_free`; None if the port is free.
        if_taken: level of a port that is not free: "fail" for `auralis up`; "warn" for the doctor, because Auralis
            itself may be running.
    """
    name = f"Port {port}" if port else f"{variable}=0"
    if why_not is None:
        return Finding(name, "ok", f"free for the {meaning}" if port else f"a free port is chosen for the {meaning}")
    return Finding(
        name, if_taken, why_not, f"`auralis up` cannot open the {meaning} there.",
        f"Stop the program that uses it, or set {variable} to another port.",
    )  # fmt: skip


def judge_tools(ffplay: str | None, ffmpeg: str | None) -> Finding:
    """The programs of ffmpeg, which play music in a terminal; None for each that is not installed."""
    if ffplay and ffmpeg:
        return Finding("ffmpeg", "ok", f"{ffplay}, {ffmpeg}")
    missing = " and ".join(name for name, path in (("ffplay", ffplay), ("ffmpeg", ffmpeg)) if not path)
    return Finding(
        "ffmpeg", "warn", f"no {missing}", "Music plays in the browser and can be recorded, but not piped to a player.",
        "`apt install ffmpeg` or `brew install ffmpeg`.",
    )  # fmt: skip


def judge_driver(gpu: str | None, problem: str | None) -> Finding:
    """The NVIDIA driver.

    Args:
        gpu: names of its GPUs; None without one.
        problem: why the driver does not answer; None if it does, or is not installed.
    """
    if problem:
        return Finding(
            "GPU driver", "warn", problem, "An NVIDIA GPU in this machine is not used.", "Reinstall NVIDIA's driver."
        )
    return Finding("GPU driver", "ok", gpu or "no NVIDIA GPU; none is needed")


def judge_memory(total_bytes: int, available_bytes: int) -> Finding:
    """Memory of the machine, or of the container."""
    observed = f"{available_bytes / GIB:.1f} of {total_bytes / GIB:.1f} GiB free"
    if available_bytes < LEAST_MEMORY_BYTES:
        return Finding(
            "Memory",
            "fail",
            observed,
            "When memory runs out, the system kills a service.",
            "Free 2 GiB: stop programs that use much.",
        )
    if available_bytes < GOOD_MEMORY_BYTES:
        return Finding(
            "Memory", "warn", observed, "It is enough for a few streams; many streams or compiling may not fit.",
            "Free 2 GiB.",
        )  # fmt: skip
    return Finding("Memory", "ok", observed)


def judge_disk(folder: str, free_bytes: int) -> Finding:
    """Free disk space for compiled kernels and temporary files."""
    observed = f"{free_bytes / GIB:.1f} GiB free at {folder}"
    if free_bytes < LEAST_DISK_BYTES:
        return Finding(
            "Disk", "fail", observed, "Kernels cannot be compiled and logs cannot be written.", "Free 1 GiB there."
        )
    if free_bytes < GOOD_DISK_BYTES:
        return Finding("Disk", "warn", observed, "Compiling kernels may fill the disk.", "Free 1 GiB there.")
    return Finding("Disk", "ok", observed)


def judge_open_files(soft_limit: int, max_connections: int) -> Finding:
    """Limit of open files of a process, against WS_MAX_CONNECTIONS: each listener takes one."""
    needed = max_connections + OWN_FILES
    if soft_limit >= needed:
        return Finding("Open files", "ok", f"{soft_limit} allowed")
    return Finding(
        "Open files", "warn", f"{soft_limit} allowed, expected {needed} for WS_MAX_CONNECTIONS={max_connections}",
        f"Only about {max(0, soft_limit - OWN_FILES)} listeners can connect.",
        f"`ulimit -n {max(needed, 4096)}` before the start.",
    )  # fmt: skip


def judge_processor(cores: float) -> Finding:
    """Processor cores that this process may use."""
    if cores >= 2:
        return Finding("Processor", "ok", f"{cores:g} cores")
    return Finding(
        "Processor", "warn", f"{cores:g} core", "Rendering and delivery share it; chunks are late under load.",
        "Provide two cores.",
    )  # fmt: skip


def judge_nats(version: str | None, where: str, problem: str | None) -> Finding:
    """The bus.

    Args:
        version: of the server; None if it is not known.
        where: the server's address, or the program that `auralis up` starts.
        problem: the message of a `NatsServerError`; None if a server can be used.
    """
    if problem is None:
        return Finding("NATS", "ok", f"{version or 'unknown version'} at {where}")
    return Finding("NATS", "fail", problem.rstrip("."), "The services cannot reach each other.")


def worst(findings: Sequence[Finding]) -> Level:
    """The gravest level among `findings`."""
    levels = {finding.level for finding in findings}
    return "fail" if "fail" in levels else "warn" if "warn" in levels else "ok"
