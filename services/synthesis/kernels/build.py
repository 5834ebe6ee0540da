"""`python -m services.synthesis.kernels.build [FOLDER COMPILER NAME...]` (shell): build kernels.

Without arguments it builds all that the user's cache lacks, and prints its progress. With arguments it is the child
process of `child_builds`, which prints `built NAME` for each kernel, or one line with the reason of its failure.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from services.synthesis.kernels.cache import package_path
from services.synthesis.kernels.compile import compile_kernel
from services.synthesis.kernels.graphs import PLANS
from services.synthesis.kernels.kernel import first_line
from services.synthesis.kernels.load import load_kernels


def main(arguments: Sequence[str]) -> int:
    """Build what `arguments` name; the process's exit code."""
    if not arguments:
        started = time.monotonic()
        kernels = load_kernels(
            torch.device("cpu"),
            enable_compile=True,
            progress=lambda stage, fraction: print(f"{fraction:4.0%}  {stage}", flush=True),  # noqa: T201 - a tool
        )
        print(f"{kernels.mode} in {time.monotonic() - started:.0f} s {kernels.reason}".strip())  # noqa: T201 - as above
        return 0 if kernels.mode == "compiled" else 1
    folder, compiler, *names = arguments
    plans = {plan.name: plan for plan in PLANS}
    for name in names:
        try:
            compile_kernel(plans[name], package_path(Path(folder), name), compiler)
        except Exception as error:  # noqa: BLE001 - after any error the parent runs eagerly and says why
            print(f"kernel {name}: {first_line(error)}", flush=True)  # noqa: T201 - the parent reads it
            return 1
        print(f"built {name}", flush=True)  # noqa: T201 - the parent reads it
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
