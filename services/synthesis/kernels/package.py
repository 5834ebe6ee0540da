"""A compiled kernel (shell: opens a file), called without the interpreter's lock.

Torch's own loader holds the interpreter's lock while a kernel runs, so that two threads render no faster than one (534
streams in real time instead of about 950, on two cores). This module calls a package's C interface, which torch
declares stable (`torch/csrc/inductor/aoti_runtime/interface.h`), through ctypes, which releases the lock.
"""

from __future__ import annotations

import ctypes
import tempfile
import zipfile
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

_HANDLES: Final = torch._C._aoti  # noqa: SLF001 - the only way from tensors to the handles of the C interface
_POINTER_OF: Final = ctypes.pythonapi.PyCapsule_GetPointer
_POINTER_OF.restype, _POINTER_OF.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
_CAPSULE_OF: Final = ctypes.pythonapi.PyCapsule_New
_CAPSULE_OF.restype, _CAPSULE_OF.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]


class KernelRunError(RuntimeError):
    """A kernel refused its arguments; torch has written the reason to standard error."""


class Package:
    """A kernel for tensors on the CPU.

    Args:
        path: the package.
        threads: how many threads may call it at the same time; another one waits.

    Raises:
        OSError: it cannot be read, or the folder for temporary files does not allow execution.
        KernelRunError: it is not a kernel of this torch.
        zipfile.BadZipFile: it is incomplete.
    """

    def __init__(self, path: Path, threads: int) -> None:
        with tempfile.TemporaryDirectory(prefix="auralis-kernel-") as folder:
            with zipfile.ZipFile(path) as archive:
                names = [name for name in archive.namelist() if name.endswith(".so")]
                if len(names) != 1:
                    raise KernelRunError(f"{path}: got {len(names)} libraries, expected 1")
                library = Path(folder) / "kernel.so"
                library.write_bytes(archive.read(names[0]))
            # The mapping outlives the file.
            self._library = ctypes.CDLL(str(library))
        self._container = ctypes.c_void_p()
        self._check(
            self._library.AOTInductorModelContainerCreateWithDevice(
                ctypes.byref(self._container), ctypes.c_size_t(threads), b"cpu", None
            )
        )
        outputs = ctypes.c_size_t()
        self._check(self._library.AOTInductorModelContainerGetNumOutputs(self._container, ctypes.byref(outputs)))
        self._outputs = outputs.value

    def __call__(self, *tensors: Tensor) -> list[Tensor]:
        """Run the kernel; any number of threads may call it."""
        # Each handle owns a reference: the kernel takes over the inputs', this method the results'.
        capsules = _HANDLES.unsafe_alloc_void_ptrs_from_tensors(list(tensors))
        inputs = (ctypes.c_void_p * len(capsules))(*(_POINTER_OF(capsule, None) for capsule in capsules))
        outputs = (ctypes.c_void_p * self._outputs)()
        self._check(
            self._library.AOTInductorModelContainerRun(
                self._container,
                inputs,
                ctypes.c_size_t(len(capsules)),
                outputs,
                ctypes.c_size_t(self._outputs),
                None,
                None,
            )
        )
        results: list[Tensor] = _HANDLES.alloc_tensors_by_stealing_from_void_ptrs(
            [_CAPSULE_OF(pointer, None, None) for pointer in outputs]
        )
        return results

    def _check(self, status: Any) -> None:
        if status != 0:
            raise KernelRunError(f"the kernel ended with status {status}; see the line that torch wrote about it")
