"""`auralis doctor`: everything that can be told about this machine before a service starts."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from services.local.doctor import machine
from services.local.doctor.findings import Finding, judge_driver


def examine() -> Iterator[Finding]:
    """Look at one thing after the other; each finding is given as soon as it is known."""
    yield machine.python()
    yield machine.system()
    settings, finding = machine.read_settings()
    yield finding
    yield from _survive("Processor", machine.processor)
    yield from _survive("Memory", machine.memory)
    torch_finding = machine.torch()
    yield torch_finding
    gpu, problem = machine.nvidia_gpu()
    if settings is None:
        # The rest depends on settings that cannot be read.
        yield judge_driver(gpu, problem)
        yield machine.tools()
        return
    if torch_finding.level == "ok":
        yield from _survive("Device", lambda: machine.torch_device(settings, gpu))
    yield judge_driver(gpu, problem)
    yield from _survive("Compiler", lambda: machine.compiler(settings))
    yield from _survive("Kernel cache", lambda: machine.cache(settings))
    yield from _survive("Disk", lambda: machine.disk(settings))
    yield from _survive("NATS", lambda: machine.nats(settings))
    yield from machine.public_ports(settings)
    yield from _survive("Open files", lambda: machine.open_files(settings))
    yield machine.tools()


def _survive(name: str, look: Callable[[], Finding]) -> Iterator[Finding]:
    try:
        yield look()
    except Exception as error:  # noqa: BLE001 - what cannot be looked at must not hide the rest
        yield Finding(name, "warn", f"cannot be examined ({type(error).__name__}: {error})")
