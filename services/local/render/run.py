"""`auralis render` (shell): renders a stream to a WAV file, shows progress, and describes the result."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from services.contract.spec import StreamSpec
from services.local.doctor import machine

EXIT_FAILED: Final = 1
EXIT_SETTINGS: Final = 2
PICTURE_SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".svg", ".pdf", ".webp")
"""Formats that matplotlib writes and common programs open."""


def run_render(spec: StreamSpec, path: Path, *, seconds: float, start_block: int, plot: Path | None = None) -> int:
    """Render a stream to a WAV file, and draw it if `plot` is given.

    Args:
        spec: the stream.
        path: WAV file to write.
        seconds: of sound.
        start_block: first block, seconds since the Unix epoch.
        plot: picture to write; None: none.

    Returns:
        Exit status: 0, 1 if a file cannot be written or the device is missing, 2 for unusable settings.
    """
    settings, finding = machine.read_settings()
    if settings is None:
        sys.stderr.write(f"{finding.sentence}\n")
        return EXIT_SETTINGS
    for file in (path, plot) if plot else (path,):
        if not file.parent.is_dir():
            sys.stderr.write(f"{file}: the folder {file.parent} does not exist.\n")
            return EXIT_FAILED
    if plot:
        # Checked before minutes of rendering.
        problem = plot_problem(plot)
        if problem:
            sys.stderr.write(f"{problem}\n")
            return EXIT_FAILED
    console = Console(stderr=True, highlight=False)
    bars = Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TimeElapsedColumn(),
        console=console, transient=True, disable=not console.is_terminal,
    )  # fmt: skip
    with bars:
        warming = bars.add_task("loading torch", total=1000)
        from services.synthesis.device_selector import AutoDeviceSelector, DeviceError  # noqa: PLC0415 - torch: seconds
        from services.synthesis.render.offline import render_to_wav  # noqa: PLC0415 - as above
        from services.synthesis.render.renderer import Renderer  # noqa: PLC0415 - as above

        synthesis = settings.synthesis
        try:
            device = AutoDeviceSelector(synthesis.device).select_device()
        except DeviceError as error:
            sys.stderr.write(f"{error}\n")
            return EXIT_FAILED
        renderer = Renderer(
            device,
            enable_compile=synthesis.enable_compile,
            kernel_cache=Path(synthesis.kernel_cache).expanduser() if synthesis.kernel_cache else None,
        )
        shown_stage = ""

        def show_progress(stage: str, fraction: float) -> None:
            nonlocal shown_stage
            bars.update(warming, description=stage, completed=round(1000 * fraction))
            if stage != shown_stage and not console.is_terminal:
                # Compiling takes a minute or two: silence would look like a fault.
                console.print(f"{stage} …")
            shown_stage = stage

        renderer.warm_up(show_progress)
        bars.update(warming, visible=False)
        rendering = bars.add_task(f"rendering {spec.stream_id}", total=1000)
        try:
            result = render_to_wav(
                spec,
                seconds,
                path,
                lambda fraction: bars.update(rendering, completed=round(1000 * fraction)),
                start_block=start_block,
                renderer=renderer,
            )
        except OSError as error:
            sys.stderr.write(f"{path}: {error.strerror or error}.\n")
            return EXIT_FAILED
        finally:
            renderer.close()
    sys.stdout.write(f"{describe(path, result.seconds, result.wall_s, result.peak, result.mode)}\n")
    if renderer.eager_reason:
        sys.stderr.write(f"Rendered eagerly, which is several times slower than compiled: {renderer.eager_reason}.\n")
    if plot:
        from services.local.render.plot import draw  # noqa: PLC0415 - matplotlib: an extra, and a second

        with console.status(f"drawing {plot}"):
            try:
                draw(spec, path, plot, start_block=start_block)
            except OSError as error:
                sys.stderr.write(f"{plot}: {error.strerror or error}.\n")
                return EXIT_FAILED
        sys.stdout.write(f"{plot}: score, waveform, spectrogram and loudness.\n")
    return 0


def plot_problem(plot: Path) -> str:
    """Why a picture cannot be drawn to `plot`; empty if it can."""
    if plot.suffix.lower() not in PICTURE_SUFFIXES:
        return f"{plot}: got {plot.suffix or 'no suffix'!r}, expected a picture: {', '.join(PICTURE_SUFFIXES)}."
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
