"""A file system of a few megabytes that a test can fill, where mounting is permitted."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

DISK_MB = 4


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path | None]:
    """A disk of `DISK_MB` mounted at `folder`; None if mounting is not permitted."""
    program = shutil.which("mount")
    made = program is not None and (
        subprocess.run(
            [program, "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", folder], capture_output=True, check=False
        ).returncode
        == 0
    )
    try:
        yield folder if made else None
    finally:
        if made:
            subprocess.run([shutil.which("umount") or "umount", "-l", folder], check=True)


@contextlib.contextmanager
def filled(disk: Path) -> Iterator[None]:
    """Keep the disk full to its last byte during a `with` block."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    try:
        yield
    finally:
        ballast.unlink()
