"""Pure, but for torch's own compilers. Kernels for CUDA and MPS by `torch.compile`."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import torch
from torch import Tensor

from services.synthesis.kernels.graphs import PLANS, KernelPlan
from services.synthesis.kernels.kernel import Kernel, KernelError, Kernels, Progress, first_line

_LEAST: Final = 2
"""`torch.compile` makes a special case of one row or partial: another compilation, with other bits."""


def just_in_time_kernels(device: torch.device, say: Progress, stop: threading.Event | None) -> Kernels:
    """Compile each kernel once, here, for any number of rows and partials.

    Raises:
        KernelError: one cannot be compiled, or `stop` was set.
    """

    def compile_all() -> dict[str, Kernel]:
        # A compiled function is compiled again in a thread whose number of torch threads differs; all that render have
        # one.
        torch.set_num_threads(1)
        loaded: dict[str, Kernel] = {}
        for plan in PLANS:
            if stop is not None and stop.is_set():
                raise KernelError("compiling was stopped")
            say("compiling kernels", len(loaded) / len(PLANS))
            try:
                loaded[plan.name] = _compile(plan, device)
            except Exception as error:
                raise KernelError(
                    f"torch.compile cannot make kernel {plan.name} for {device.type} ({first_line(error)}); for CUDA it"
                    " needs Triton and a C compiler"
                ) from error
        return loaded

    with ThreadPoolExecutor(1, thread_name_prefix="compile") as thread:
        loaded = thread.submit(compile_all).result()
    say("kernels compiled", 1.0)
    return Kernels("compiled", "", _LEAST, **loaded)


def _compile(plan: KernelPlan, device: torch.device) -> Kernel:
    function = torch.compile(plan.module(), fullgraph=True)
    with torch.inference_mode():
        example = [tensor.to(device) for tensor in plan.example()]
        # Each axis is marked. Otherwise torch takes two lengths that are equal the first time for one, and compiles
        # again when they differ: a minute in which no stream is rendered.
        for tensor, axes in zip(example, plan.axes, strict=True):
            for axis in axes:
                torch._dynamo.mark_dynamic(tensor, axis)  # noqa: SLF001 - documented, under this name
        function(*example)

    def call(*tensors: Tensor) -> Sequence[Tensor]:
        result = function(*tensors)
        return result if isinstance(result, tuple | list) else (result,)

    return call
