"""The dashboard in a real Chromium, against a real telemetry service whose fleet answers over the bus in memory."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from playwright.async_api import Page, async_playwright

from services.edge.metrics import EdgeMetrics
from services.runtime.bus import Subscription
from services.runtime.bus.memory import MemoryBroker, MemoryBus
from services.runtime.http.server import EmbeddedServer, bind_socket
from services.runtime.metrics import MemoryMetrics, PrometheusMetrics
from services.runtime.process.scrape_answers import answer_scrapes
from services.runtime.settings import Settings
from services.synthesis.metrics import SynthesisMetrics
from services.telemetry import scrape
from services.telemetry import service as telemetry_service
from services.telemetry.alerting.alerts import AlertReport, AlertsReport
from services.telemetry.app import create_app
from services.telemetry.fleet import fleet
from services.telemetry.service import TelemetryService
from tests.browser.test_player import ARGS, CHROMIUM, until

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH (apt install chromium, or set AURALIS_CHROMIUM)"),
]


@dataclass
class Watched:
    """A telemetry service with an edge and a renderer."""

    url: str
    service: TelemetryService
    broker: MemoryBroker
    edge: EdgeMetrics
    renderer: SynthesisMetrics
    memory: MemoryMetrics
    answers: list[Subscription]


@contextlib.asynccontextmanager
async def watched(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Watched]:
    for name, value in (("EVERY_S", 0.2), ("_WATCHED_EVERY_S", 0.2)):
        monkeypatch.setattr(telemetry_service, name, value)
    monkeypatch.setattr(scrape, "WAIT_S", 0.1)
    monkeypatch.setattr(scrape, "FRESH_S", 0.05)
    monkeypatch.setattr("services.telemetry.fleet.fleet_history.SPACING_S", 0.2)
    broker = MemoryBroker()
    metrics = {name: PrometheusMetrics() for name in ("edge", "synthesis")}
    edge, renderer = EdgeMetrics(metrics["edge"]), SynthesisMetrics(metrics["synthesis"])
    memory = MemoryMetrics(metrics["synthesis"])
    answers = []
    for name, each in metrics.items():
        each.describe_process(service=name)
        bus = MemoryBus(broker)
        await bus.connect()

        def exposition(each: PrometheusMetrics = each) -> bytes:
            edge.jitter_ms.observe(4)
            return each.exposition()

        answers.append(await answer_scrapes(bus, service=name, instance=f"{name}-a", exposition=exposition))
    edge.listeners.set(7)
    edge.listeners_limit.set(50)
    edge.demand.set(2)
    edge.loudness.set(-20)
    edge.renderers.set(1)
    edge.tiers.labels(tier="normal").set(5)
    edge.tiers.labels(tier="stable").set(2)
    renderer.capacity.set(40)
    service = TelemetryService(Settings(instance="telemetry-a"), bus=MemoryBus(broker))
    server = EmbeddedServer(create_app(service), bind_socket("127.0.0.1", 0), lifespan="off")
    await service.start()
    await server.start()
    try:
        yield Watched(f"http://127.0.0.1:{server.port}", service, broker, edge, renderer, memory, answers)
    finally:
        await service.drain()
        await server.stop()
        await service.stop()


@contextlib.asynccontextmanager
async def opened(url: str, **context: object) -> AsyncIterator[tuple[Page, list[str]]]:
    """The page, and the warnings and errors of its console."""
    complaints: list[str] = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        try:
            page = await (await browser.new_context(**context)).new_page()
            page.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
            page.on("pageerror", lambda error: complaints.append(str(error)))
            await page.goto(url)
            await until(page, "Number(document.body.dataset.events ?? 0) >= 3")
            yield page, complaints
        finally:
            await browser.close()


async def text(page: Page, selector: str) -> str:
    return " ".join((await page.inner_text(selector)).split())


async def test_the_fleet_is_shown_in_figures_curves_and_rows_as_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    async with watched(monkeypatch) as fleet_, opened(fleet_.url) as (page, complaints):
        assert "All is well" in await text(page, "#state")
        assert "Listeners 7" in await text(page, "#totals")
        assert "Render headroom 95" in await text(page, "#totals")
        rows = await text(page, "#instances")
        for name in ("edge-a", "synthesis-a", "telemetry-a"):
            assert name in rows
        for chart in ("listeners", "jitter", "tiers", "headroom", "memory"):
            await until(page, f"document.querySelectorAll('#{chart} .line').length > 0")
            label = await page.get_attribute(f"#{chart} svg", "aria-label")
            assert label
            assert ":" in label
        assert "Nothing is wrong" in await text(page, "#alerts")
        fleet_.edge.listeners.set(9)
        await until(page, "document.querySelector('#totals dd').textContent.startsWith('9')")
        assert complaints == []


async def test_a_curve_shows_its_value_under_the_pointer(monkeypatch: pytest.MonkeyPatch) -> None:
    async with watched(monkeypatch) as fleet_, opened(fleet_.url) as (page, _):
        await page.hover("#listeners svg")
        await until(page, "document.querySelector('#listeners .cursor') !== null")
        assert "7" in await text(page, "#listeners .legend")
        await page.mouse.move(0, 0)
        await until(page, "document.querySelector('#listeners .cursor') === null")


async def test_an_alert_is_shown_and_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    async with watched(monkeypatch) as fleet_:
        fleet_.edge.loudness.set(-120)
        fleet_.memory.leak.set(1)
        fleet_.memory.growth.labels(kind="resident").set(55 * 2**20)
        async with opened(fleet_.url) as (page, _):
            await until(page, "document.querySelectorAll('#alert-list .badge').length === 2")
            alerts = await text(page, "#alerts")
            assert "EdgeSilent" in alerts
            assert "MemoryLeakDetected" in alerts
            assert "leak: 55 MiB/h" in await text(page, "#instances")
            # The alerts have not lasted long enough to fire, and the page does not say that all is well.
            assert "2 alerts may fire soon" in await text(page, "#state")
            # Instances with a fault come first; otherwise edges come before renderers.
            assert (await text(page, "#instances tr:first-child")).startswith("synthesis-a")
            fleet_.edge.loudness.set(-20)
            await until(page, "document.querySelectorAll('#alert-list .badge').length === 1")


def alert(name: str, severity: str, runbook: str) -> AlertReport:
    return AlertReport(name, severity, "firing", "edge-a", "Wrong", "very wrong", runbook, 1000.0)


async def test_firing_alerts_are_counted_in_the_title_and_link_their_runbooks(monkeypatch: pytest.MonkeyPatch) -> None:
    page_url = "https://music.example/runbooks/EdgeSilent.md"
    async with watched(monkeypatch) as fleet_:
        told = [
            alert("EdgeSilent", "critical", page_url),
            alert("ChunkJitterHigh", "warning", "javascript:alert(1)"),
            alert("InstanceSilent", "warning", "docs/runbooks/InstanceSilent.md"),
        ]
        monkeypatch.setattr(fleet_.service, "alerts", lambda: AlertsReport("prometheus", "", told))
        async with opened(fleet_.url) as (page, complaints):
            assert await page.title() == "(3) Auralis fleet"
            assert await page.get_attribute("#state", "class") == "bad"
            links = page.locator("#alert-list a")
            assert [await link.get_attribute("href") for link in await links.all()] == [page_url]
            titles = [await name.get_attribute("title") for name in await page.locator("#alert-list b").all()]
            assert "What to do: docs/runbooks/InstanceSilent.md" in titles
            assert complaints == []


async def test_an_instance_that_falls_silent_is_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet, "SILENT_AFTER_S", 0.6)
    async with watched(monkeypatch) as fleet_, opened(fleet_.url) as (page, _):
        await fleet_.answers[0].close()
        await until(page, "document.querySelector('#instances').textContent.includes('silent for')")
        assert "1 silent" in await text(page, "#totals")


async def test_the_dashboard_reports_a_lost_bus_and_a_lost_telemetry(monkeypatch: pytest.MonkeyPatch) -> None:
    async with watched(monkeypatch) as fleet_, opened(fleet_.url) as (page, _):
        fleet_.broker.go_away()
        await until(page, "document.querySelector('#state').textContent.includes('disconnected from the bus')")
        await fleet_.service.drain()
        await until(page, "document.querySelector('#state').textContent.includes('lost')")


@pytest.mark.parametrize("scheme", ["dark", "light"])
async def test_colours_follow_the_system_and_can_be_chosen(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    colours = {"dark": "rgb(7, 11, 24)", "light": "rgb(244, 246, 251)"}
    async with watched(monkeypatch) as fleet_, opened(fleet_.url, color_scheme=scheme) as (page, complaints):
        assert await page.evaluate(background) == colours[scheme]
        for wanted in ("dark", "light"):
            await page.click("#theme")
            assert await page.evaluate(background) == colours[wanted]
        await page.reload()
        assert await page.evaluate(background) == colours["light"]
        assert await contrast(page) >= 4.5
        assert complaints == []


async def contrast(page: Page) -> float:
    """The least contrast of text on a panel, as WCAG computes it."""
    found: float = await page.evaluate(
        """() => {
            const light = (colour) => {
                const parts = colour.match(/[\\d.]+/g).slice(0, 3).map((c) => {
                    const v = c / 255;
                    return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
                });
                return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
            };
            const panel = light(getComputedStyle(document.querySelector('.chart')).backgroundColor);
            const texts = [...document.querySelectorAll('h2, small, dt, dd, td, th, .legend li')];
            return Math.min(...texts.map((each) => {
                const [a, b] = [light(getComputedStyle(each).color), panel].sort((x, y) => y - x);
                return (a + 0.05) / (b + 0.05);
            }));
        }"""
    )
    return found


async def test_the_dashboard_fits_a_phone(monkeypatch: pytest.MonkeyPatch) -> None:
    phone = {"viewport": {"width": 360, "height": 740}}
    async with watched(monkeypatch) as fleet_, opened(fleet_.url, **phone) as (page, _):
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        widths = await page.evaluate(
            "[...document.querySelectorAll('.plot svg')].map(e => e.getBoundingClientRect().width)"
        )
        assert min(widths) > 280
        # Names of alerts begin where their badges end.
        fleet_.edge.degraded.set(1)
        fleet_.edge.loudness.set(-120)
        await until(page, "document.querySelectorAll('#alert-list li b').length === 2")
        lefts = await page.evaluate(
            "[...document.querySelectorAll('#alert-list li b')].map(e => e.getBoundingClientRect().left)"
        )
        assert max(lefts) < 130
        # The wide table scrolls inside itself, and the keyboard reaches it.
        assert await page.evaluate("document.querySelector('.table').tabIndex") == 0
