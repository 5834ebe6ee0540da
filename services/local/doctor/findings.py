"""What a machine has and what a lack of it costs, in sentences. Pure: observations go in, findings come out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

Level = Literal["ok", "warn", "fail"]

GIB: Final = 2**30
MIB: Final = 2**20
PYTHON_NEEDED: Final = (3, 12)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: what.
        level: "ok"; "warn": Auralis runs, with the cost named; "fail": it does not run.
        observed: what is there.
        cost: what the lack costs; empty when ok.
        remedy: what to do; empty when ok.
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
    """The environment and `.env` together."""
    if problems:
        return Finding("Settings", "fail", "; ".join(problems), "Nothing starts.", "Change them or remove them.")
    if warnings:
        return Finding("Settings", "warn", "; ".join(warnings), "What was meant by them does not happen.")
    return Finding("Settings", "ok", "environment and .env can be used")


def judge_torch(version: str | None) -> Finding:
    """Whether torch is there."""
    if version is not None:
        return Finding("torch", "ok", version)
    return Finding(
        "torch",
        "fail",
        "not installed",
        "There is nothing to render music with.",
        "`uv pip install -e '.[synthesis]'`.",
    )


def judge_device(wanted: str, used: str, *, nvidia_gpu: str | None, torch_has_cuda: bool) -> Finding:
    """Where music is rendered.

    Args:
        wanted: AURALIS_DEVICE.
        used: the device that was selected.
        nvidia_gpu: the name of an NVIDIA GPU that the driver sees, if any.
        torch_has_cuda: whether this torch was built for CUDA.
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
        found: path of the C++ compiler, if any.
        enabled: GPU_ENABLE_COMPILE.
        packaged: whether compiled kernels for this machine are at hand already.
    """
    if not enabled:
        return Finding(
            "Compiler", "warn", "switched off by GPU_ENABLE_COMPILE=false",
            "Music is rendered eagerly: about a tenth of the streams for the same processor.",
            "Set GPU_ENABLE_COMPILE=true.",
        )  # fmt: skip
    if found or packaged:
        return Finding("Compiler", "ok", found or "none, and none is needed: kernels are packaged")
    return Finding(
        "Compiler", "warn", "no C++ compiler",
        "Music is rendered eagerly: about a tenth of the streams for the same processor; a few streams work well.",
        "Install one: `apt install g++`, `dnf install gcc-c++` or `xcode-select --install`.",
    )  # fmt: skip


def judge_kernel_cache(folder: str, bytes_used: int, *, writable: bool, executable: bool) -> Finding:
    """The folder of compiled kernels."""
    if not writable:
        return Finding(
            "Kernel cache", "warn", f"{folder} cannot be written to",
            "Every start compiles anew, which takes about a minute.",
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
    """Whether a port of ours can be listened on.

    Args:
        why_not: half a sentence from `ports.why_not_free`, or None.
        if_taken: how grave that is: for `auralis up` it is the end, the doctor may be asked while Auralis runs.
    """
    name = f"Port {port}" if port else f"{variable}=0"
    if why_not is None:
        return Finding(name, "ok", f"free for the {meaning}" if port else f"a free port is chosen for the {meaning}")
    return Finding(
        name, if_taken, why_not, f"`auralis up` cannot open the {meaning} there.",
        f"Stop what holds it, or set {variable} to another port.",
    )  # fmt: skip


def judge_tools(ffplay: str | None, ffmpeg: str | None) -> Finding:
    """Programs of ffmpeg, for hearing music in a terminal."""
    if ffplay and ffmpeg:
        return Finding("ffmpeg", "ok", f"{ffplay}, {ffmpeg}")
    missing = " and ".join(name for name, path in (("ffplay", ffplay), ("ffmpeg", ffmpeg)) if not path)
    return Finding(
        "ffmpeg", "warn", f"no {missing}", "Music can be heard in the browser and recorded, not piped to a player.",
        "`apt install ffmpeg` or `brew install ffmpeg`.",
    )  # fmt: skip


def judge_driver(gpu: str | None, problem: str | None) -> Finding:
    """The NVIDIA driver, where there is one."""
    if problem:
        return Finding(
            "GPU driver", "warn", problem, "An NVIDIA GPU in this machine is not used.", "Install NVIDIA's driver anew."
        )
    return Finding("GPU driver", "ok", gpu or "no NVIDIA GPU; none is needed")


def judge_memory(total_bytes: int, available_bytes: int) -> Finding:
    """Memory of the machine or of the container's limit."""
    observed = f"{available_bytes / GIB:.1f} of {total_bytes / GIB:.1f} GiB free"
    if available_bytes < 0.75 * GIB:
        return Finding(
            "Memory",
            "fail",
            observed,
            "The system would kill a service when it fills.",
            "Free 2 GiB, or stop what uses it.",
        )
    if available_bytes < 2 * GIB:
        return Finding(
            "Memory", "warn", observed, "Enough for a few streams; many streams or compiling may not fit.",
            "Free 2 GiB for comfort.",
        )  # fmt: skip
    return Finding("Memory", "ok", observed)


def judge_disk(folder: str, free_bytes: int) -> Finding:
    """Free space where compiled kernels and temporary files go."""
    observed = f"{free_bytes / GIB:.1f} GiB free at {folder}"
    if free_bytes < 100 * MIB:
        return Finding(
            "Disk", "fail", observed, "Kernels cannot be compiled and logs cannot be written.", "Free 1 GiB there."
        )
    if free_bytes < GIB:
        return Finding("Disk", "warn", observed, "Compiling kernels may fill it.", "Free 1 GiB there.")
    return Finding("Disk", "ok", observed)


def judge_open_files(soft_limit: int, max_connections: int) -> Finding:
    """The limit of open files: each listener takes one."""
    # A hundred for the bus, libraries and logs.
    needed = max_connections + 100
    if soft_limit >= needed:
        return Finding("Open files", "ok", f"{soft_limit} allowed")
    return Finding(
        "Open files", "warn", f"{soft_limit} allowed, expected {needed} for WS_MAX_CONNECTIONS={max_connections}",
        f"Only about {max(0, soft_limit - 100)} listeners can connect.",
        f"`ulimit -n {max(needed, 4096)}` before the start.",
    )  # fmt: skip


def judge_processor(cores: float) -> Finding:
    """Processor cores that this process may use."""
    if cores >= 2:
        return Finding("Processor", "ok", f"{cores:g} cores")
    return Finding(
        "Processor", "warn", f"{cores:g} core", "Rendering and delivery share it: expect late chunks under load.",
        "Give it two cores.",
    )  # fmt: skip


def judge_nats(version: str | None, where: str, problem: str | None) -> Finding:
    """The bus.

    Args:
        version: of the server that will be used.
        where: an address, or the program that will be started.
        problem: a whole message that says what to do, or None.
    """
    if problem is None:
        return Finding("NATS", "ok", f"{version or 'version not told'} at {where}")
    return Finding("NATS", "fail", problem.rstrip("."), "The services cannot reach each other.")


def worst(findings: Sequence[Finding]) -> Level:
    """The gravest level among `findings`."""
    levels = {finding.level for finding in findings}
    return "fail" if "fail" in levels else "warn" if "warn" in levels else "ok"
