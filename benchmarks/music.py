"""Listening report: every preset is rendered offline, measured row by row beside its peers, and drawn.

    .venv/bin/python benchmarks/music.py                              (all presets; half an hour on two busy cores)
    .venv/bin/python benchmarks/music.py --quick --presets drift      (whether everything runs; no figures to show)
    .venv/bin/python benchmarks/music.py --areas tone,space           (some rows alone)
    .venv/bin/python benchmarks/music.py --plots notes --areas layers (one note of each instrument, as spectrograms)
    .venv/bin/python benchmarks/music.py --jury DIR                   (with an outside ear: the folder of its program)

Writes report.md (one table), report.jsonl (a line for each figure), a picture for each preset and one of the notes of
all instruments into --out.
Everything begins at the same unix time, so two runs of one revision give the same figures. Most rows hear 240 s, the
loudness range ten minutes. Rows of an hour (air, recognition, the picture of loudness) do not render all of it but 120
windows of 5 s spread over it, so that the report takes minutes. What each row means is in the docstrings of
`music_report`; what must hold is one table, `music_report/limits.py`.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.music_report.areas import AREAS, PEERS, QUICK, Plan, Session
from benchmarks.music_report.instrument_notes import STROKES, instrument_notes
from benchmarks.music_report.page import page, summary
from benchmarks.music_report.results import ALL, ROWS, Results
from benchmarks.music_report.studio import START, NotMeasuredError, Studio
from services.contract.spec import PRESETS
from services.synthesis.render.revision import render_revision

OUT: Final = Path(__file__).parent / "results" / "music"
NOTES: Final = "instruments.png"
_PREFIXES: Final = {"tone": ("tone.", "low.beat", "low.correlation"), "keys": ("low.key_step",)}
"""How the rows of an area begin, where that is not its name."""


def main() -> int:
    """Parse the command line, measure, write; returns the exit status."""
    options = read_options(sys.argv[1:])
    began = time.perf_counter()
    options.out.mkdir(parents=True, exist_ok=True)
    failed = 0
    text = ""
    with tempfile.TemporaryDirectory() as scratch:
        studio = Studio(eager=options.eager)
        try:
            folder = options.out / "wav" if options.keep_wav else Path(scratch)
            session = Session(studio, QUICK if options.quick else Plan(), options.presets, folder, options.jury)
            about = _about(studio, quick=options.quick)
            for area in options.areas:
                failed += not _measure(session, area)
                # After each area, so that a long run that is ended early leaves what it measured.
                text = _write(options.out, session.results, about | {"seconds": round(time.perf_counter() - began)})
            if options.plots != "none":
                pictures = _draw(session, options.out, options.plots)
                seconds = round(time.perf_counter() - began)
                text = _write(options.out, session.results, about | {"seconds": seconds}, pictures)
        finally:
            studio.close()
    print(text)
    print(f"{summary(session.results)} Written to {options.out}.")
    return 1 if failed else 0


def _write(out: Path, results: Results, about: Mapping[str, Any], pictures: Sequence[str] = ()) -> str:
    """Write both files of the report; returns the page."""
    text = page(results, about, pictures)
    (out / "report.md").write_text(text, encoding="utf-8")
    lines = [json.dumps({**figure.as_json(), **about}, ensure_ascii=False) for figure in results.figures]
    (out / "report.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return text


def _measure(session: Session, area: str) -> bool:
    """Measure an area; False if it failed. What cannot be measured here is no failure."""
    began = time.perf_counter()
    reason = ""
    worked = True
    try:
        AREAS[area](session)
    except NotMeasuredError as error:
        reason = str(error)
    except Exception as error:  # noqa: BLE001 - the other rows are still worth their time
        traceback.print_exc()
        reason, worked = f"failed: {type(error).__name__}: {error}", False
    if reason:
        for key in rows_of(area):
            session.results.add(key, ALL, "", None, reason)
    print(f"{area}: {reason or 'measured'} ({time.perf_counter() - began:.0f} s)", file=sys.stderr, flush=True)
    return worked


def rows_of(area: str) -> list[str]:
    """Keys of the rows that an area measures."""
    return [row.key for row in ROWS if row.key.startswith(_PREFIXES.get(area, (f"{area}.",)))]


def _draw(session: Session, out: Path, plots: str) -> list[str]:
    """Names of the pictures that were drawn."""
    if importlib.util.find_spec("matplotlib") is None:
        print("pictures: matplotlib is not installed: `uv pip install -e '.[plot]'`", file=sys.stderr)
        return []
    from benchmarks.music_report.pictures import draw, draw_notes  # noqa: PLC0415 - matplotlib: an extra, and a second

    draw_notes(out / NOTES, [stroke.name for stroke in STROKES], instrument_notes(session.studio))
    if plots == "notes":
        return [NOTES]
    peer = None
    for name in PEERS:
        try:
            peer = (name, session.peer(name))
            break
        except NotMeasuredError:
            continue
    drawn = [NOTES]
    for preset in session.presets:
        hour = (list(session.hour_starts()), session.hour(preset))
        draw(out / f"{preset}.png", preset, session.wav(preset), hour, peer)
        drawn.append(f"{preset}.png")
    return drawn


def _about(studio: Studio, *, quick: bool) -> dict[str, Any]:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],  # noqa: S607 - git from PATH, for a label
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    return {
        "commit": commit,
        "revision": render_revision(),
        "start": START,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {studio.device}, {studio.mode}",
        "quick": quick,
    }


def read_options(arguments: Sequence[str]) -> argparse.Namespace:
    """What the command line asks for; ends the process, with a sentence, where it asks for what does not exist."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a minute in place of four: whether everything runs")
    parser.add_argument("--presets", default=",".join(PRESETS), help="some of the presets; by default all")
    parser.add_argument("--areas", default=",".join(AREAS), help=f"some of {', '.join(AREAS)}")
    parser.add_argument("--out", type=Path, default=OUT, help="folder of the report")
    parser.add_argument("--jury", type=Path, help="folder of the outside ear's program")
    parser.add_argument("--keep-wav", action="store_true", help="keep what was rendered, in --out")
    parser.add_argument(
        "--plots",
        choices=("all", "notes", "none"),
        default="all",
        help="pictures: of presets and instruments, or fewer",
    )
    parser.add_argument("--no-pictures", dest="plots", action="store_const", const="none", help="as --plots none")
    parser.add_argument("--eager", action="store_true", help="without compiled kernels")
    options = parser.parse_args(arguments)
    for name, known in (("presets", PRESETS), ("areas", tuple(AREAS))):
        chosen = [text for text in getattr(options, name).split(",") if text]
        if not chosen or set(chosen) - set(known):
            parser.error(f"--{name}: got {getattr(options, name)!r}, expected some of {', '.join(known)}")
        setattr(options, name, chosen)
    return options


if __name__ == "__main__":
    sys.exit(main())
