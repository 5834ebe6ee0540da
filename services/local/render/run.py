"""`auralis render` (shell): renders a stream to files, shows progress, and describes the result."""

from __future__ import annotations

import contextlib
import importlib.util
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from services.contract.spec import StreamSpec
from services.local.doctor import machine
from services.local.render.float_wav import MAX_SECONDS, FloatWav
from services.runtime.settings import SynthesisSettings

if TYPE_CHECKING:
    from services.synthesis.render.renderer import Renderer

EXIT_FAILED: Final = 1
EXIT_SETTINGS: Final = 2
PICTURE_SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".svg", ".pdf", ".webp")
"""Formats that matplotlib writes and common programs open."""
_MIDI_SUFFIXES: Final = (".mid", ".midi")
_SCORE_SUFFIXES: Final = (".json",)
_BAR_STEPS: Final = 1000


@dataclass(frozen=True, slots=True)
class Files:
    """What to write; None: not that one.

    Attributes:
        sound: WAV file.
        plot: picture of the sound; needs `sound`.
        midi: Standard MIDI File of the score.
        score: the score as JSON.
        stems: folder for a WAV file of each layer; made if it does not exist.
    """

    sound: Path | None = None
    plot: Path | None = None
    midi: Path | None = None
    score: Path | None = None
    stems: Path | None = None


def run_render(spec: StreamSpec, files: Files, *, seconds: float, start_block: int) -> int:
    """Render a stream, and write each of `files`.

    Args:
        spec: the stream.
        files: what to write.
        seconds: of sound.
        start_block: first block, seconds since the Unix epoch.

    Returns:
        Exit status: 0, 1 if a file cannot be written or the device is missing, 2 for unusable settings.
    """
    settings, finding = machine.read_settings()
    if settings is None:
        sys.stderr.write(f"{finding.sentence}\n")
        return EXIT_SETTINGS
    console = Console(stderr=True, highlight=False)
    try:
        _check_files(files, seconds)
        if files.midi or files.score:
            _write_score(spec, files, seconds=seconds, start_block=start_block)
        if files.sound or files.stems:
            _render(spec, files, settings.synthesis, console, seconds=seconds, start_block=start_block)
        if files.sound and files.plot:
            _draw(spec, files.sound, files.plot, console, start_block=start_block)
    except _RenderError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_FAILED
    return 0


class _RenderError(Exception):
    """Rendering or drawing failed; the message is a sentence."""


def _check_files(files: Files, seconds: float) -> None:
    """Check what would fail after minutes of rendering."""
    for file in (files.sound, files.plot, files.midi, files.score, files.stems):
        if file and not file.parent.is_dir():
            raise _RenderError(f"{file}: the folder {file.parent} does not exist; make it first.")
    for file, what, suffixes in (
        (files.midi, "a MIDI file", _MIDI_SUFFIXES),
        (files.score, "a score as JSON", _SCORE_SUFFIXES),
    ):
        if file and file.suffix.lower() not in suffixes:
            raise _RenderError(f"{file}: got {_suffix(file)}, expected {what}: {', '.join(suffixes)}.")
    if files.stems and seconds > MAX_SECONDS:
        raise _RenderError(
            f"--stems: got {seconds:g} s, expected at most {MAX_SECONDS} s, the most that such a WAV file holds; "
            "render it in parts, with --at."
        )
    if files.plot and (problem := plot_problem(files.plot)):
        raise _RenderError(problem)


def _suffix(file: Path) -> str:
    return repr(file.suffix or "no suffix")


def _write_score(spec: StreamSpec, files: Files, *, seconds: float, start_block: int) -> None:
    """Write what the score alone decides, and print what it holds."""
    from services.local.render.midi_file import midi_file  # noqa: PLC0415 - numpy, and only if it is asked for
    from services.local.render.score_json import score_json  # noqa: PLC0415 - as above
    from services.local.render.score_view import view_score  # noqa: PLC0415 - as above

    score = view_score(spec, start_block, seconds)
    if files.midi:
        _write(files.midi, midi_file(spec, score, seconds=seconds))
    if files.score:
        _write(files.score, score_json(spec, score, start_block=start_block, seconds=seconds).encode())
    what = f"{len(score.begin_s)} notes, {len(score.chords)} chords, {seconds:g} s of {spec.title}"
    for file in filter(None, (files.midi, files.score)):
        sys.stdout.write(f"{file}: {what}.\n")


def _write(file: Path, content: bytes) -> None:
    try:
        file.write_bytes(content)
    except OSError as error:
        raise _RenderError(f"{file}: {error.strerror or error}.") from error


def _render(
    spec: StreamSpec, files: Files, synthesis: SynthesisSettings, console: Console, *, seconds: float, start_block: int
) -> None:
    """Render sound and stems with progress bars, and print the results."""
    bars = Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TimeElapsedColumn(),
        console=console, transient=True, disable=not console.is_terminal,
    )  # fmt: skip
    with bars:
        renderer = _warm_renderer(synthesis, bars, console)
        said = []
        try:
            if files.sound:
                said.append(_render_sound(spec, files.sound, renderer, bars, seconds=seconds, start_block=start_block))
            if files.stems:
                said.append(_render_stems(spec, files.stems, renderer, bars, seconds=seconds, start_block=start_block))
        finally:
            renderer.close()
    for sentence in said:
        sys.stdout.write(f"{sentence}\n")
    if renderer.eager_reason:
        sys.stderr.write(f"Rendered eagerly, which is several times slower than compiled: {renderer.eager_reason}.\n")


def _render_sound(
    spec: StreamSpec, path: Path, renderer: Renderer, bars: Progress, *, seconds: float, start_block: int
) -> str:
    """Render to a WAV file, and describe it."""
    from services.synthesis.render.offline import render_to_wav  # noqa: PLC0415 - torch: seconds

    rendering = bars.add_task(f"rendering {spec.stream_id}", total=_BAR_STEPS)
    try:
        result = render_to_wav(
            spec,
            seconds,
            path,
            lambda fraction: bars.update(rendering, completed=round(_BAR_STEPS * fraction)),
            start_block=start_block,
            renderer=renderer,
        )
    except OSError as error:
        raise _RenderError(f"{path}: {error.strerror or error}.") from error
    return describe(path, result.seconds, result.wall_s, result.peak, result.mode)


def _render_stems(
    spec: StreamSpec, folder: Path, renderer: Renderer, bars: Progress, *, seconds: float, start_block: int
) -> str:
    """Render each layer to a WAV file of its own, and say which there are."""
    from services.synthesis.render.stems import render_stems, stem_specs  # noqa: PLC0415 - torch: seconds

    rendering = bars.add_task(f"rendering stems of {spec.stream_id}", total=_BAR_STEPS)
    layers = list(stem_specs(spec))
    try:
        folder.mkdir(exist_ok=True)
        with contextlib.ExitStack() as stack:
            files = {layer: stack.enter_context(FloatWav(folder / f"{layer}.wav")) for layer in layers}
            for done, part in render_stems(spec, seconds, start_block=start_block, renderer=renderer):
                for layer, sound in part.items():
                    files[layer].write(sound)
                bars.update(rendering, completed=round(_BAR_STEPS * done))
    except OSError as error:
        raise _RenderError(f"{error.filename or folder}: {error.strerror or error}.") from error
    if not layers:
        return f"{folder}: no stems, because every layer is silent."
    return f"{folder}: {len(layers)} stems of {seconds:g} s, before the level stage: {', '.join(layers)}."


def _warm_renderer(synthesis: SynthesisSettings, bars: Progress, console: Console) -> Renderer:
    """A renderer with loaded kernels; they may have to be compiled first."""
    warming = bars.add_task("loading torch", total=_BAR_STEPS)
    from services.synthesis.device_selector import AutoDeviceSelector, DeviceError  # noqa: PLC0415 - torch: seconds
    from services.synthesis.render.renderer import Renderer  # noqa: PLC0415 - as above

    try:
        device = AutoDeviceSelector(synthesis.device).select_device()
    except DeviceError as error:
        raise _RenderError(str(error)) from error
    renderer = Renderer(
        device,
        enable_compile=synthesis.enable_compile,
        kernel_cache=Path(synthesis.kernel_cache).expanduser() if synthesis.kernel_cache else None,
    )
    shown_stage = ""

    def show_progress(stage: str, fraction: float) -> None:
        nonlocal shown_stage
        bars.update(warming, description=stage, completed=round(_BAR_STEPS * fraction))
        if stage != shown_stage and not console.is_terminal:
            # Compiling takes a minute or two: silence would look like a fault.
            console.print(f"{stage} …")
        shown_stage = stage

    renderer.warm_up(show_progress)
    bars.update(warming, visible=False)
    return renderer


def _draw(spec: StreamSpec, path: Path, plot: Path, console: Console, *, start_block: int) -> None:
    from services.local.render.plot import draw  # noqa: PLC0415 - matplotlib: an extra, and a second

    with console.status(f"drawing {plot}"):
        try:
            draw(spec, path, plot, start_block=start_block)
        except OSError as error:
            raise _RenderError(f"{plot}: {error.strerror or error}.") from error
    sys.stdout.write(f"{plot}: score, waveform, spectrogram, loudness, layers and the form of the hour.\n")


def plot_problem(plot: Path) -> str:
    """Why a picture cannot be drawn to `plot`; empty if it can."""
    if plot.suffix.lower() not in PICTURE_SUFFIXES:
        return f"{plot}: got {_suffix(plot)}, expected a picture: {', '.join(PICTURE_SUFFIXES)}."
    if importlib.util.find_spec("matplotlib") is None:
        return "--plot: matplotlib is not installed: `uv pip install -e '.[plot]'`."
    return ""


def describe(path: Path, seconds: float, wall_s: float, peak: float, mode: str) -> str:
    """The result in one sentence.

    Args:
        path: WAV file that was written.
        seconds: of sound.
        wall_s: seconds that rendering took.
        peak: largest absolute sample, full scale is 1.
        mode: "compiled" or "eager".
    """
    from services.local.render.loudness import integrated_lufs  # noqa: PLC0415 - numpy, and only at the end

    lufs = integrated_lufs(path)
    loudness = "silent" if lufs == -math.inf else f"{lufs:.1f} LUFS"
    peak_dbfs = 20 * math.log10(peak) if peak > 0 else -math.inf
    return (
        f"{path}: {seconds:g} s in {wall_s:.1f} s, {seconds / wall_s:.0f} times faster than it plays ({mode}); "
        f"{loudness}, peak {peak_dbfs:.1f} dBFS."
    )
