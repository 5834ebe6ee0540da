"""Where compiled kernels are kept (shell: looks into folders).

A folder is named by everything that its packages depend on (torch, instruction set, source): a stale or foreign
package is never opened.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
from functools import cache
from pathlib import Path
from typing import Final

import torch

from services.synthesis.kernels.instruction_set import LESSER, instruction_set
from services.synthesis.kernels.kernel import KERNEL_NAMES
from services.synthesis.kernels.source_tree import hash_reached

COMPILED_FROM: Final = "services.synthesis.kernels.compile"
"""The module that makes a package. What it reaches (the graphs, `dsp`, itself) decides a kernel's bits."""


def default_cache() -> Path:
    """The user's cache folder for kernels, by the platform's custom."""
    if sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "auralis" / "kernels"


def choose_folder(cache: Path, *, can_build: bool) -> Path:
    """The folder to open kernels from: the one for this processor, or for a lesser one if nothing better can be built.

    Args:
        cache: folder of such folders.
        can_build: whether there is a compiler.
    """
    own = cache / kernel_key()
    if is_whole(own) or can_build:
        return own
    lesser = (cache / kernel_key(isa) for isa in LESSER.get(instruction_set(), ()))
    return next((folder for folder in lesser if is_whole(folder)), own)


def package_path(folder: Path, kernel: str) -> Path:
    """Where the package of `kernel` lies in `folder`."""
    return folder / f"{kernel}.pt2"


def missing(folder: Path) -> list[str]:
    """Names of the kernels that `folder` lacks."""
    return [name for name in KERNEL_NAMES if not package_path(folder, name).is_file()]


def is_whole(folder: Path) -> bool:
    """Whether `folder` has all kernels."""
    return not missing(folder)


def kernel_key(isa: str | None = None) -> str:
    """Name of the folder for this torch, an instruction set and this source: any difference is another name.

    Args:
        isa: see `instruction_set`; None: this processor's.
    """
    parts = {
        "torch": torch.__version__,
        "system": f"{sys.platform}-{platform.machine()}",
        "isa": isa or instruction_set(),
        "source": source_hash(),
    }
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
    return f"{parts['isa']}-{digest}"


@cache
def source_hash() -> str:
    """Hash of the program text that kernels are compiled from; comments and docstrings do not count."""
    return hash_reached([COMPILED_FROM])
