"""What a folder of kernels is named by."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from services.synthesis.kernels.cache import COMPILED_FROM
from services.synthesis.kernels.source_tree import SERVICES, hash_reached, reach

REACHED = tuple(reach([COMPILED_FROM]))


def test_kernels_are_compiled_from_their_graphs_and_the_dsp_alone() -> None:
    packages = {
        "services",
        "services.contract",
        "services.synthesis",
        "services.synthesis.dsp",
        "services.synthesis.kernels",
    }
    dsp = {f"services.synthesis.dsp.{path.stem}" for path in (SERVICES / "synthesis" / "dsp").glob("[!_]*.py")}
    kernels = {f"services.synthesis.kernels.{name}" for name in ("compile", "graphs", "instruction_set")}
    assert set(REACHED) == packages | dsp | kernels | {"services.contract.timebase"}


@pytest.mark.parametrize("module", ["dsp/voices.py", "kernels/graphs.py", "kernels/compile.py"])
def test_source_counts_and_comments_and_docstrings_do_not(tmp_path: Path, module: str) -> None:
    root = tmp_path / "services"
    shutil.copytree(SERVICES, root, ignore=shutil.ignore_patterns("__pycache__"))
    source = root / "synthesis" / module
    text = source.read_text()
    hashes = []
    for changed in (text, text.replace('"""', '"""Other words: ', 1) + "\n# a remark\n", text + "\n_ADDED = 1\n"):
        source.write_text(changed)
        hashes.append(hash_reached([COMPILED_FROM], root))
    assert hashes[0] == hashes[1] != hashes[2]


def test_the_image_compiles_from_all_that_building_imports() -> None:
    """The Dockerfile copies single files, so that a change anywhere else compiles nothing anew."""
    dockerfile = (SERVICES.parent / "Dockerfile").read_text()
    stage = dockerfile.split("AS kernels\n")[1].split("\nFROM ")[0]
    copied: set[Path] = set()
    for line in stage.splitlines():
        if line.startswith("COPY services"):
            for name in line.split()[1:-1]:
                path = SERVICES.parent / name
                copied |= set(path.rglob("*.py")) if path.is_dir() else {path}
    assert set(reach(["services.synthesis.kernels.build"]).values()) <= copied
