"""`auralis loadtest` (shell): creates the Job, follows it, reports, and deletes it."""

from __future__ import annotations

import json
import math
import secrets
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Final, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from services.loadtest.cluster import ClusterError, LoadCluster, PodState
from services.loadtest.messages import Wire
from services.loadtest.plan import APP, END_MARGIN_S, START_TIMEOUT_S, LoadPlan, job
from services.loadtest.report import HEADINGS, Limits, PodOutput, Report, read_output

POLL_S: Final = 1.0
"""Time between two looks at the pods."""
LINE_EVERY_S: Final = 5.0
"""Time between two lines of progress, if the output is not a terminal."""
MAX_UNANSWERED: Final = 30
"""Polls in a row that the API server may leave unanswered; it may be restarting."""
MAX_BARS: Final = 16
"""Pods that have a progress bar or a table row each; if there are more, one for all."""
EXIT_INTERRUPTED: Final = 130
_ENDED: Final = frozenset({"Succeeded", "Failed"})


@dataclass(frozen=True)
class Options:
    """The options of the command; see `auralis loadtest --help`."""

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


def run_loadtest(options: Options) -> int:
    """Run a load test and write its report.

    Returns:
        Exit status: 0 if every limit was kept, 1 if one was exceeded or the cluster failed, 2 for unusable options, 130
        after Ctrl-C.
    """
    console = Console(stderr=True, highlight=False)
    try:
        cluster = LoadCluster.connect(options.namespace, options.context)
        edge = cluster.find_edge(options.release)
        plan = LoadPlan(
            name=f"{APP}-{secrets.token_hex(3)}",
            listeners=options.listeners,
            pods=options.pods,
            seconds=options.seconds,
            ramp_s=options.ramp_s,
            streams=options.streams,
            seed=options.seed,
            wire=options.wire,
            url=options.url or edge.url,
            image=options.image or edge.image,
            pull_policy=edge.pull_policy,
            pull_secrets=edge.pull_secrets,
            token_secret=options.token_secret,
        )
        facts = {"context": cluster.context, "namespace": cluster.namespace, "edges_ready": edge.ready, **asdict(plan)}
        console.print(
            f"{plan.listeners} listeners from {plan.pods} pods to {plan.url} ({edge.ready} edges ready), "
            f"{plan.streams} streams, {plan.wire}; job {plan.name}"
        )
        with stop_on_signals() as stop:
            pods = _measure(cluster, plan, stop, console)
            interrupted = stop.is_set()
    except ValueError as error:
        console.print(f"{error}.", style="red")
        return 2
    except ClusterError as error:
        console.print(str(error), style="red")
        return 1
    report = Report(plan.listeners, pods, plan.pods, facts, options.limits, interrupted)
    # In a file or pipe, lines need not fit a window.
    show(report, Console(highlight=False, width=None if sys.stdout.isatty() else 160))
    folder = options.output or Path(plan.name)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(report.to_json(), indent=1) + "\n")
    from services.loadtest.plot import draw  # noqa: PLC0415 - matplotlib takes a second to import

    draw(report, folder / "report.png")
    console.print(f"Written: {folder / 'report.json'}, {folder / 'report.png'}")
    if interrupted:
        return EXIT_INTERRUPTED
    return 0 if report.kept else 1


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set instead of ending the process, so that the Job is deleted first."""
    event = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - signal's signature
        event.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _measure(cluster: LoadCluster, plan: LoadPlan, stop: threading.Event, console: Console) -> list[PodOutput]:
    """Create the Job, follow it and delete it; returns the output of its pods."""
    try:
        cluster.create(job(plan))
        _follow(cluster, plan, stop, console)
        if stop.is_set():
            console.print("Interrupted: collecting the figures so far, then deleting the job.")
        return [read_output(cluster.log(pod.name), pod.index) for pod in cluster.pods(plan.name)]
    finally:
        _delete(cluster, plan, console)


def _delete(cluster: LoadCluster, plan: LoadPlan, console: Console) -> None:
    """Delete the Job; a failure is printed, so that neither the figures nor an earlier error are lost."""
    try:
        cluster.delete(plan.name)
    except ClusterError as error:
        console.print(
            f"{error} If job {plan.name} exists, it ends at its deadline and is deleted ten minutes later.", style="red"
        )
    else:
        console.print(f"Job {plan.name} and its pods are deleted.")


def _follow(cluster: LoadCluster, plan: LoadPlan, stop: threading.Event, console: Console) -> None:
    """Return when every pod has ended, or `stop` is set.

    Raises:
        ClusterError: pods do not start or do not end, or the cluster stops answering.
    """
    start_deadline_s = time.monotonic() + START_TIMEOUT_S
    end_deadline_s = start_deadline_s + plan.total_s + END_MARGIN_S
    unanswered = 0
    with _Display(plan.pods, console) as display, ThreadPoolExecutor(8) as pool:
        while not stop.is_set():
            try:
                states = cluster.pods(plan.name)
                unanswered = 0
            except ClusterError:
                unanswered += 1
                if unanswered > MAX_UNANSWERED:
                    raise
                stop.wait(POLL_S)
                continue
            outputs = list(pool.map(lambda state: _newest_line(cluster, state), states))
            display.show(states, outputs)
            if len(states) == plan.pods and all(state.phase in _ENDED for state in states):
                return
            waiting = [state for state in states if state.phase == "Pending"]
            if time.monotonic() > start_deadline_s and (waiting or len(states) < plan.pods):
                trouble = waiting[0].trouble if waiting else "the job creates no pods: see its events"
                raise ClusterError(
                    f"{len(waiting)} of {plan.pods} pods did not start in {START_TIMEOUT_S} s: {trouble}"
                )
            if time.monotonic() > end_deadline_s:
                raise ClusterError("The pods did not end in time; their figures are lost.")
            stop.wait(POLL_S)


class _Display:
    """Shows the progress of the pods: bars on a terminal, lines elsewhere."""

    def __init__(self, pods: int, console: Console) -> None:
        self._pods = pods
        self._console = console
        self._bars = Progress(
            TextColumn("{task.description:>8}"),
            BarColumn(40),
            TextColumn("{task.fields[status]}"),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        names = ["all", *([f"pod {number}" for number in range(pods)] if 1 < pods <= MAX_BARS else [])]
        self._tasks = {name: self._bars.add_task(name, total=1.0, status="waiting") for name in names}
        self._printed_s = -math.inf

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def show(self, states: Sequence[PodState], outputs: Sequence[PodOutput]) -> None:
        shares = [1.0 if state.phase in _ENDED else output.share for state, output in zip(states, outputs, strict=True)]
        for state, output, share in zip(states, outputs, shares, strict=True):
            if f"pod {state.index}" in self._tasks:
                status = state.trouble or (output.status if output.progress else state.phase)
                self._bars.update(self._tasks[f"pod {state.index}"], completed=share, status=status)
        newest = [output.progress[-1] for output in outputs if output.progress]
        listening, missing = (sum(line[name] for line in newest) for name in ("listening", "missing"))
        status = f"{listening} listening, {missing} chunks missing"
        done = sum(shares) / self._pods
        self._bars.update(self._tasks["all"], completed=done, status=status)
        if not self._console.is_terminal and time.monotonic() - self._printed_s >= LINE_EVERY_S:
            self._printed_s = time.monotonic()
            self._console.print(f"{done:4.0%}  {status}")


def _newest_line(cluster: LoadCluster, state: PodState) -> PodOutput:
    return read_output([] if state.phase == "Pending" else cluster.log(state.name, last_lines=2), state.index)


def show(report: Report, console: Console) -> None:
    """Print a table of the pods, one of the limits, and the errors."""
    table = Table(*HEADINGS, box=None, pad_edge=False, header_style="bold")
    rows = report.rows()
    for row in rows if len(rows) <= MAX_BARS + 1 else rows[-1:]:
        table.add_row(*row)
    console.print(table)
    console.print()
    limits = Table("limit", "observed", "allowed", "", box=None, pad_edge=False, header_style="bold")
    for check in report.checks:
        observed = "nothing" if check.observed is None else f"{check.observed:.4g} {check.unit}"
        allowed = f"{'at least' if check.at_least else 'at most'} {check.limit:g}"
        limits.add_row(check.name, observed, allowed, "[green]kept[/]" if check.kept else "[bold red]NOT kept[/]")
    console.print(limits)
    for message, count in report.total.errors.most_common():
        console.print(f"{count} listeners: {message}", markup=False)
