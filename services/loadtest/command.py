"""`auralis loadtest`: make the Job, follow it, collect, report, clean up (shell)."""

from __future__ import annotations

import json
import secrets
import signal
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from services.loadtest.cluster import ClusterError, LoadCluster, PodState
from services.loadtest.messages import Wire
from services.loadtest.plan import APP, STARTING_S, LoadPlan, job
from services.loadtest.report import HEADINGS, Limits, PodOutput, Report, read_output

LOOK_S: Final = 1.0
MAX_BARS: Final = 16
"""With more pods there is one bar for all."""
EXIT_INTERRUPTED: Final = 130


@dataclass(frozen=True)
class Wishes:
    """The command line."""

    listeners: int
    pods: int
    seconds: float
    ramp_s: float
    streams: int
    wire: Wire
    seed: int
    namespace: str | None
    context: str | None
    release: str | None
    url: str | None
    image: str | None
    token_secret: str
    output: Path | None
    limits: Limits


def run_loadtest(wishes: Wishes) -> int:
    """Run it; the exit status: 0 where every limit was kept, 1 where not, 130 after Ctrl-C."""
    console = Console(stderr=True, highlight=False)
    try:
        cluster = LoadCluster.connect(wishes.namespace, wishes.context)
        edge = cluster.find_edge(wishes.release)
        plan = LoadPlan(
            name=f"{APP}-{secrets.token_hex(3)}",
            listeners=wishes.listeners,
            pods=wishes.pods,
            seconds=wishes.seconds,
            ramp_s=wishes.ramp_s,
            streams=wishes.streams,
            seed=wishes.seed,
            wire=wishes.wire,
            url=wishes.url or edge.url,
            image=wishes.image or edge.image,
            pull_policy=edge.pull_policy,
            pull_secrets=edge.pull_secrets,
            token_secret=wishes.token_secret,
        )
        facts = {"context": cluster.context, "namespace": cluster.namespace, "edges_ready": edge.ready, **asdict(plan)}
        console.print(
            f"{plan.listeners} listeners from {plan.pods} pods to {plan.url} ({edge.ready} edges ready), "
            f"{plan.streams} streams, {plan.wire}; job {plan.name}"
        )
        with stopping() as stop:
            pods = _measure(cluster, plan, stop, console)
            interrupted = stop.is_set()
    except ValueError as error:
        console.print(f"{error}.", style="red")
        return 2
    except ClusterError as error:
        console.print(str(error), style="red")
        return 1
    report = Report(plan.listeners, pods, plan.pods, facts, wishes.limits, interrupted)
    # Where nobody looks (a file, a pipe) lines need not fit a window.
    show(report, Console(highlight=False, width=None if sys.stdout.isatty() else 160))
    folder = wishes.output or Path(plan.name)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(report.to_json(), indent=1) + "\n")
    from services.loadtest.plot import draw  # noqa: PLC0415 - matplotlib takes a second to import

    draw(report, folder / "report.png")
    console.print(f"Written: {folder / 'report.json'}, {folder / 'report.png'}")
    if interrupted:
        return EXIT_INTERRUPTED
    return 0 if report.kept else 1


@contextmanager
def stopping() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set in place of ending the process: what was made is taken away first."""
    event = threading.Event()

    def ask(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - signal's signature
        event.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _measure(cluster: LoadCluster, plan: LoadPlan, stop: threading.Event, console: Console) -> list[PodOutput]:
    """From the Job's making to its going; what its pods said."""
    try:
        cluster.create(job(plan))
        _follow(cluster, plan, stop, console)
        if stop.is_set():
            console.print("Interrupted: collecting what there is, and taking the job away.")
        return [read_output(cluster.log(pod.name), pod.index) for pod in cluster.pods(plan.name)]
    finally:
        _take_away(cluster, plan, console)


def _take_away(cluster: LoadCluster, plan: LoadPlan, console: Console) -> None:
    """Delete the Job; that it cannot be is no reason to lose what was measured, or the error that came before."""
    try:
        cluster.delete(plan.name)
    except ClusterError as error:
        console.print(
            f"{error} If there is a job {plan.name}, it ends by its deadline and goes ten minutes later.", style="red"
        )
    else:
        console.print(f"Job {plan.name} and its pods are taken away.")


def _follow(cluster: LoadCluster, plan: LoadPlan, stop: threading.Event, console: Console) -> None:
    """Return when every pod has ended, or `stop` is set.

    Raises:
        ClusterError: pods do not start, or the cluster does not answer any more.
    """
    columns = (
        TextColumn("{task.description:>8}"),
        BarColumn(40),
        TextColumn("{task.fields[words]}"),
        TimeElapsedColumn(),
    )
    deadline_s = time.monotonic() + STARTING_S + plan.total_s + 60
    starting_s = time.monotonic() + STARTING_S
    unanswered = 0
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars, ThreadPoolExecutor(8) as some:
        tasks = {
            name: bars.add_task(name, total=1.0, words="waiting")
            for name in ("all", *([f"pod {n}" for n in range(plan.pods)] if 1 < plan.pods <= MAX_BARS else []))
        }
        said_s = 0.0
        while not stop.is_set():
            try:
                states = cluster.pods(plan.name)
                unanswered = 0
            except ClusterError:
                # An API server that restarts is no reason to throw a measurement away.
                unanswered += 1
                if unanswered > 30:
                    raise
                stop.wait(LOOK_S)
                continue
            tails = list(some.map(lambda state: _tail(cluster, state), states))
            for state, tail in zip(states, tails, strict=True):
                if f"pod {state.index}" in tasks:
                    words = state.trouble or (tail.words if tail.moments else state.phase)
                    bars.update(tasks[f"pod {state.index}"], completed=_share(state, tail), words=words)
            done = sum(_share(state, tail) for state, tail in zip(states, tails, strict=True)) / plan.pods
            listening = sum(tail.moments[-1]["listening"] for tail in tails if tail.moments)
            missing = sum(tail.moments[-1]["missing"] for tail in tails if tail.moments)
            words = f"{listening} listening, {missing} chunks missing"
            bars.update(tasks["all"], completed=done, words=words)
            if not console.is_terminal and time.monotonic() - said_s >= 5.0:
                said_s = time.monotonic()
                console.print(f"{done:4.0%}  {words}")
            if len(states) == plan.pods and all(state.phase in {"Succeeded", "Failed"} for state in states):
                return
            waiting = [state for state in states if state.phase == "Pending"]
            if time.monotonic() > starting_s and (waiting or len(states) < plan.pods):
                trouble = waiting[0].trouble if waiting else "the job makes no pods: see its events"
                raise ClusterError(f"{len(waiting)} of {plan.pods} pods did not start in {STARTING_S} s: {trouble}")
            if time.monotonic() > deadline_s:
                raise ClusterError("The pods did not end in time; their figures are lost.")
            stop.wait(LOOK_S)


def _tail(cluster: LoadCluster, state: PodState) -> PodOutput:
    """A pod's newest line."""
    return read_output([] if state.phase == "Pending" else cluster.log(state.name, last_lines=2), state.index)


def _share(state: PodState, tail: PodOutput) -> float:
    return 1.0 if state.phase in {"Succeeded", "Failed"} else tail.share


def show(report: Report, console: Console) -> None:
    """Print the tables."""
    table = Table(*HEADINGS, box=None, pad_edge=False, header_style="bold")
    rows = report.rows()
    for row in rows if len(rows) <= MAX_BARS + 1 else rows[-1:]:
        table.add_row(*row)
    console.print(table)
    console.print()
    limits = Table("limit", "seen", "allowed", "", box=None, pad_edge=False, header_style="bold")
    for check in report.checks:
        seen = "nothing" if check.seen is None else f"{check.seen:.4g} {check.unit}"
        allowed = f"{'at least' if check.at_least else 'at most'} {check.limit:g}"
        limits.add_row(check.name, seen, allowed, "[green]kept[/]" if check.kept else "[bold red]NOT kept[/]")
    console.print(limits)
    for sentence, count in report.total.errors.most_common():
        console.print(f"{count} listeners: {sentence}", markup=False)
