from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from services.contract.spec import StreamSpec
from services.contract.timebase import BLOCKS_PER_SECTION
from services.synthesis.dsp.control import COLUMNS, WORDS
from services.synthesis.dsp.voices import HIGH_SUMS
from services.synthesis.kernels import cache, just_in_time, load
from services.synthesis.kernels.cache import default_cache, kernel_key
from services.synthesis.kernels.child_builds import build_missing
from services.synthesis.kernels.instruction_set import has_march, instruction_set
from services.synthesis.kernels.kernel import KERNEL_NAMES, Kernels
from services.synthesis.kernels.load import eager_kernels, load_kernels
from services.synthesis.render import renderer as render
from services.synthesis.render.renderer import Renderer
from services.synthesis.score.events import Layer
from tests.synthesis.conftest import BUILD_TIMEOUT_S, CPU
from tests.synthesis.fakes import score
from tests.synthesis.listening import closed_form_tables

SECTION_START = 7_083_334 * BLOCKS_PER_SECTION


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "find_compiler", lambda: None)


def test_a_key_follows_torch_the_instruction_set_and_the_source(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {kernel_key()}
    for target, value in (
        ("torch.__version__", "2.99.0"),
        ("services.synthesis.kernels.cache.instruction_set", lambda: "x86-64-v9"),
        ("services.synthesis.kernels.cache.source_hash", lambda: "0" * 64),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(target, value)
            keys.add(kernel_key())
    assert len(keys) == 4
    assert kernel_key() in keys


def test_whether_torch_builds_for_other_processors_is_read_from_its_own_configuration() -> None:
    from torch._inductor import config  # noqa: PLC0415 - takes seconds

    assert has_march() == hasattr(config.cpp, "march")


def test_without_that_kernels_are_for_one_kind_of_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr("services.synthesis.kernels.instruction_set.has_march", lambda: False)
    names = []
    for flags in ({"avx2"}, {"avx2", "fma"}, {"avx2"}):
        monkeypatch.setattr(
            "services.synthesis.kernels.instruction_set._cpu_flags", lambda flags=flags: frozenset(flags)
        )
        names.append(instruction_set())
    assert all(name.startswith("native-") for name in names)
    assert names[0] == names[2] != names[1]


def test_the_instruction_set_follows_the_cpus_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr("services.synthesis.kernels.instruction_set.has_march", lambda: True)
    avx2 = {"avx2", "fma", "bmi2", "f16c"}
    avx512 = {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
    for flags, capability, expected in (
        ({"sse2"}, "DEFAULT", "x86-64"),
        (avx2, "AVX2", "x86-64-v3"),
        (avx2 | avx512, "AVX512", "x86-64-v4"),
        # A machine that says it can and a torch that will not use it.
        (avx2 | avx512, "AVX2", "x86-64-v3"),
    ):
        monkeypatch.setattr(
            "services.synthesis.kernels.instruction_set._cpu_flags", lambda flags=flags: frozenset(flags)
        )
        monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda capability=capability: capability)
        assert instruction_set() == expected


@pytest.mark.usefixtures("no_compiler")
def test_without_a_compiler_it_runs_eagerly_and_says_why(tmp_path: Path) -> None:
    found = load_kernels(CPU, enable_compile=True, cache=tmp_path)
    assert found.mode == "eager"
    assert "no C++ compiler" in found.reason


def test_compilation_can_be_switched_off(tmp_path: Path) -> None:
    found = load_kernels(CPU, enable_compile=False, cache=tmp_path)
    assert found.mode == "eager"
    assert "switched off" in found.reason
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("no_compiler")
@pytest.mark.timeout(BUILD_TIMEOUT_S)
def test_packages_of_another_key_are_never_opened(
    tmp_path: Path, compiled_kernels: Kernels, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert compiled_kernels.mode == "compiled"
    opened: list[Path] = []
    monkeypatch.setattr(load, "_open", lambda path, _threads: opened.append(path))
    stale = tmp_path / (kernel_key()[:-1] + "~")
    shutil.copytree(default_cache() / kernel_key(), stale)
    assert load_kernels(CPU, enable_compile=True, cache=tmp_path).mode == "eager"
    assert opened == []
    stale.rename(tmp_path / kernel_key())
    assert load_kernels(CPU, enable_compile=True, cache=tmp_path).mode == "compiled"
    assert len(opened) == len(KERNEL_NAMES)


@pytest.mark.usefixtures("no_compiler")
def test_a_torn_package_means_eager_and_a_sentence(tmp_path: Path) -> None:
    folder = tmp_path / kernel_key()
    folder.mkdir()
    for name in KERNEL_NAMES:
        (folder / f"{name}.pt2").write_bytes(b"PK\x03\x04 torn")
    found = load_kernels(CPU, enable_compile=True, cache=tmp_path)
    assert found.mode == "eager"
    assert "delete it" in found.reason


def test_a_cache_that_cannot_be_written_means_eager_and_names_the_setting(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("in the way")
    found = load_kernels(CPU, enable_compile=True, cache=file)
    assert found.mode == "eager"
    assert "AURALIS_KERNEL_CACHE" in found.reason


def test_building_can_be_given_up(tmp_path: Path) -> None:
    stop = threading.Event()
    stages: list[str] = []

    def progress(stage: str, _fraction: float) -> None:
        stages.append(stage)
        stop.set()

    found = load_kernels(CPU, enable_compile=True, cache=tmp_path, progress=progress, stop=stop)
    assert stages == ["compiling kernels"]
    assert found.mode == "eager"
    assert "stopped" in found.reason


def test_a_build_that_was_interrupted_is_taken_up_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / kernel_key()).mkdir(parents=True)
    built: list[str] = []
    monkeypatch.setattr("services.synthesis.kernels.child_builds._follow", lambda *_: built.append("all"))
    monkeypatch.setattr("subprocess.Popen", _Child)
    build_missing(tmp_path / kernel_key(), "c++", lambda _stage, _fraction: None, None)
    assert built == ["all"]


class _Child:
    """In place of a process that compiles."""

    stdout = None

    def __init__(self, *_: object, **__: object) -> None:
        self.returncode = 0

    def kill(self) -> None: ...
    def wait(self) -> None: ...


def test_a_compiler_that_fails_means_eager_and_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "KERNEL_NAMES", ("no-such-kernel",))
    found = load_kernels(CPU, enable_compile=True, cache=tmp_path)
    assert found.mode == "eager"
    assert "no-such-kernel" in found.reason


def test_eager_kernels_take_a_single_row() -> None:
    found = eager_kernels("for a test")
    points = found.expand(
        torch.zeros(1, COLUMNS, 3), torch.zeros(1, WORDS, 3, dtype=torch.int32), *closed_form_tables()
    )
    assert found.low(*points)[0].shape == (1, 177, 3, 64)
    assert found.high(*points)[0].shape == (1, 177, HIGH_SUMS, 64)


class _Counting:
    """In place of `torch.compile`: compiles with a backend that only counts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.compiled = 0
        self._compile = torch.compile
        monkeypatch.setattr(torch, "compile", self)

    def __call__(self, module: torch.nn.Module, **options: bool) -> Callable[..., object]:
        def backend(graph: torch.fx.GraphModule, _example: list[torch.Tensor]) -> Callable[..., object]:
            self.compiled += 1
            return graph

        compiled: Callable[..., object] = self._compile(module, backend=backend, **options)
        return compiled


def test_just_in_time_each_kernel_is_compiled_once_for_whatever_is_rendered(monkeypatch: pytest.MonkeyPatch) -> None:
    counting = _Counting(monkeypatch)
    found = just_in_time.just_in_time_kernels(CPU, lambda _stage, _fraction: None, None)
    assert counting.compiled == len(KERNEL_NAMES)
    monkeypatch.setattr(render, "load_kernels", lambda _device, **_options: found)
    pads = [(0.0, 60.0, 40.0 + 7.0 * place, place / 6.0, Layer.PAD) for place in range(5)]
    # One thread, as on a GPU.
    renderer = Renderer(CPU, max_streams=8, threads=1, compose=score([*pads, (0.0, 60.0, 105.0, 0.7, Layer.SHIMMER)]))
    silent = Renderer(CPU, max_streams=4, threads=1, compose=score([]))
    try:
        for rows in (1, 2, 3, 4, 6):
            # The loud ones have bright partials, the quiet ones none; each has another number of them.
            specs = [StreamSpec(seed=row, intensity_steps=20 * (row + 1) // rows) for row in range(rows)]
            renderer.render([(spec, SECTION_START + 3) for spec in specs])
        assert renderer.render([(StreamSpec(), SECTION_START + 3)]).partials > 0
        assert silent.render([(StreamSpec(), SECTION_START + 3)]).partials == 0
    finally:
        renderer.close()
        silent.close()
    assert counting.compiled == len(KERNEL_NAMES), "a listener waits while a kernel is compiled again"


def test_where_just_in_time_compilation_fails_it_runs_eagerly_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_module: torch.nn.Module, **_options: bool) -> Callable[..., object]:
        raise RuntimeError("Failed to find C compiler.\nAnd a page more.")

    monkeypatch.setattr(torch, "compile", fail)
    # The device of tensors without data: no GPU is needed to see what happens where one cannot be compiled for.
    found = load_kernels(torch.device("meta"), enable_compile=True)
    assert found.mode == "eager"
    assert "Failed to find C compiler." in found.reason
    assert "And a page more" not in found.reason


def test_just_in_time_compilation_can_be_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    counting = _Counting(monkeypatch)
    stop = threading.Event()
    stop.set()
    found = load_kernels(torch.device("meta"), enable_compile=True, stop=stop)
    assert (found.mode, counting.compiled) == ("eager", 0)
    assert "stopped" in found.reason
