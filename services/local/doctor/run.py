"""`auralis doctor` (shell): all checks of this machine, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from services.local.doctor import machine
from services.local.doctor.findings import Finding, judge_driver


def examine() -> Iterator[Finding]:
    """Run all checks; each finding is yielded when it is known."""
    yield machine.python()
    yield machine.system()
    settings, finding = machine.read_settings()
    yield finding
    yield from _guarded("Processor", machine.processor)
    yield from _guarded("Memory", machine.memory)
    torch_finding = machine.torch()
    yield torch_finding
    gpu, problem = machine.nvidia_gpu()
    if settings is None:
        # The other checks need the settings.
        yield judge_driver(gpu, problem)
        yield machine.tools()
        return
    if torch_finding.level == "ok":
        yield from _guarded("Device", lambda: machine.torch_device(settings, gpu))
    yield judge_driver(gpu, problem)
    yield from _guarded("Compiler", lambda: machine.compiler(settings))
    yield from _guarded("Kernel cache", lambda: machine.cache(settings))
    yield from _guarded("Disk", lambda: machine.disk(settings))
    yield from _guarded("NATS", lambda: machine.nats(settings))
    yield from machine.public_ports(settings)
    yield from _guarded("Open files", lambda: machine.open_files(settings))
    yield machine.tools()


def _guarded(name: str, check: Callable[[], Finding]) -> Iterator[Finding]:
    try:
        yield check()
    except Exception as error:  # noqa: BLE001 - one check that fails must not hide the others
        yield Finding(name, "warn", f"cannot be examined ({type(error).__name__}: {error})")
