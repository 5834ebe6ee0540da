"""The player page in a real Chromium, against a real edge."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator

import pytest
import websockets
from playwright.async_api import Page, Route, async_playwright

from services.contract.spec import SENTENCES
from services.edge.listener import waiting
from services.runtime.bus.memory import MemoryBroker
from services.runtime.settings import BufferSettings, Settings
from tests.edge.support import SPEC, Edge, TinyRenderer, pitch_hz, running_edge
from tests.support.waiting import until as holds

CHROMIUM = os.environ.get("AURALIS_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
ARGS = [
    "--no-sandbox",
    "--autoplay-policy=no-user-gesture-required",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--no-first-run",
]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH (apt install chromium, or set AURALIS_CHROMIUM)"),
]


@contextlib.asynccontextmanager
async def opened(
    edge: Edge, query: str = "", *, without: str = "", script: str = "", **context: object
) -> AsyncIterator[tuple[Page, list[str]]]:
    """The page, and the warnings and errors of its console.

    Args:
        without: a global that this browser does not have.
        script: runs before the page's own.
    """
    complaints: list[str] = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        try:
            page = await (await browser.new_context(**context)).new_page()
            if without:
                await page.add_init_script(f"delete globalThis.{without};")
            if script:
                await page.add_init_script(script)
            page.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
            page.on("pageerror", lambda error: complaints.append(str(error)))
            await page.goto(f"{edge.http}/{query}")
            await page.wait_for_selector("#presets input")
            yield page, complaints
        finally:
            await browser.close()


@contextlib.asynccontextmanager
async def playing_edge(**settings: object) -> AsyncIterator[tuple[Edge, MemoryBroker]]:
    broker = MemoryBroker()
    renderer = TinyRenderer(broker)
    renderer.marked = False
    await renderer.start()
    try:
        async with running_edge(broker, **settings) as edge:
            yield edge, broker
    finally:
        await renderer.stop()


async def until(page: Page, expression: str, timeout_s: float = 10) -> None:
    # Playwright's wait_for_function evaluates text inside the page, which its content security policy forbids.
    await holds(lambda: page.evaluate(expression), timeout_s, every_s=0.05)


async def state(page: Page, name: str) -> str:
    return str(await page.evaluate(f"document.body.dataset.{name} ?? ''"))


async def test_play_makes_sound_and_stop_ends_it() -> None:
    async with playing_edge() as (edge, _), opened(edge) as (page, complaints):
        await page.click("#play")
        await until(page, "document.body.dataset.state === 'playing' && Number(document.body.dataset.level) > 0.02")
        await asyncio.sleep(3)  # the time in which nothing may be missing
        assert int(await state(page, "underruns")) == 0
        assert 300 < int(await state(page, "bufferMs")) < 1500
        await until(page, "['Am9', 'Fmaj7'].includes(document.getElementById('chord').textContent)")
        await page.click("#play")
        await until(page, "document.body.dataset.state === 'idle'")
        await listeners(edge, 0)
        assert complaints == []


async def test_dragging_intensity_changes_the_stream_without_a_break() -> None:
    async with playing_edge() as (edge, _), opened(edge) as (page, complaints):
        await page.click("#play")
        await until(page, "Number(document.body.dataset.level) > 0.02")
        for step in range(11, 19):
            await page.evaluate(
                "value => { const slider = document.getElementById('intensity'); slider.value = value;"
                " slider.dispatchEvent(new Event('input', {bubbles: true})); }",
                step / 20,
            )
            await asyncio.sleep(0.05)  # the pace of a drag
        await until(page, "Number(document.body.dataset.splices) >= 1")
        await asyncio.sleep(2)  # the time in which nothing may be missing
        heard = [stream["stream"]["intensity"] for stream in edge.service.hub.now_playing()]
        assert heard == [0.9]
        assert "intensity=0.9" in page.url
        assert int(await state(page, "underruns")) == 0
        assert complaints == []


MOVE = (
    "([id, value]) => { const slider = document.getElementById(id); slider.value = value;"
    " slider.dispatchEvent(new Event('input', {bubbles: true})); }"
)


async def test_brightness_density_texture_and_levels_change_the_stream_without_a_break() -> None:
    async with playing_edge() as (edge, _), opened(edge) as (page, complaints):
        assert await page.is_hidden("#brightness")
        await page.click("summary")
        await page.click("#play")
        await until(page, "Number(document.body.dataset.level) > 0.02")
        for slider, value in (("brightness", 0.7), ("density", 0.3), ("level-pad", 0.5), ("level-air", 0)):
            await page.evaluate(MOVE, [slider, value])
        await page.select_option("#texture", "sea")
        await until(page, "Number(document.body.dataset.splices) >= 1")
        wanted = "c-dorian-70-50-drift-0-b70-d30-tsea-pad50-air0"
        await holds(lambda: [stream["stream_id"] for stream in edge.service.hub.now_playing()] == [wanted])
        assert page.url.endswith("?brightness=0.7&density=0.3&level.pad=0.5&level.air=0&texture=sea")
        assert "level.pad=0.5" in str(await page.get_attribute("#record", "href"))
        spoken = [
            await page.get_attribute(f"#{slider}", "aria-valuetext")
            for slider in ("brightness", "density", "level-pad", "level-air", "level-bass")
        ]
        assert spoken == ["70 %, brighter", "30 %, fewer notes", "50 %", "silent", "100 %"]
        await page.click("#untouched")
        plain = "c-dorian-70-50-drift-0"
        await holds(lambda: [stream["stream_id"] for stream in edge.service.hub.now_playing()] == [plain])
        assert page.url == f"{edge.http}/"
        assert int(await state(page, "underruns")) == 0
        assert complaints == []


async def test_a_link_shows_the_levels_that_it_names_and_starts_with_them() -> None:
    link = "?level.pad=0.5&density=0.3&level.air=9&texture=rain"
    async with playing_edge() as (edge, _), opened(edge, link) as (page, _):
        assert await page.input_value("#level-pad") == "0.5"
        assert await page.input_value("#texture") == "rain"
        assert await page.input_value("#density") == "0.3"
        assert await page.input_value("#level-air") == "1"
        await page.click("#play")
        await until(page, "document.body.dataset.state === 'playing'")
        (stream,) = edge.service.hub.now_playing()
        assert stream["stream_id"] == "c-dorian-70-50-drift-0-d30-train-pad50"


async def test_the_level_of_the_texture_has_two_names_in_a_link_and_one_in_the_address() -> None:
    async with playing_edge() as (edge, _), opened(edge, "?level.texture=0.5&texture=snow") as (page, _):
        assert await page.input_value("#level-air") == "0.5"
        assert await page.input_value("#texture") == "preset"
        await page.select_option("#texture", "fire")
        assert page.url.endswith("?texture=fire&level.air=0.5")


async def test_the_page_says_what_the_chosen_character_is() -> None:
    async with playing_edge() as (edge, _), opened(edge, "?preset=tundra") as (page, _):
        assert await page.inner_text("#sentence") == SENTENCES["tundra"]
        await page.click("#presets label:has-text('rainfall')")
        assert await page.inner_text("#sentence") == SENTENCES["rainfall"]


@pytest.mark.parametrize("size", [(1280, 800), (360, 740)])
async def test_every_control_under_more_can_be_touched_and_nothing_is_wider_than_the_page(
    size: tuple[int, int],
) -> None:
    viewport = {"width": size[0], "height": size[1]}
    async with playing_edge() as (edge, _), opened(edge, "?level.pad=0", viewport=viewport) as (page, _):
        heights = await page.evaluate(
            "[...document.querySelectorAll('#more input, #more select, #more button, summary')]"
            ".map(each => each.getBoundingClientRect().height)"
        )
        assert len(heights) == 2 + 1 + 7 + 2
        assert min(heights) >= 44
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        # By keys alone: from the summary to the first slider, and a step up.
        await page.focus("summary")
        await page.keyboard.press("Tab")
        await page.keyboard.press("ArrowRight")
        assert await page.input_value("#brightness") == "0.55"


async def test_a_link_names_the_stream() -> None:
    async with playing_edge() as (edge, _), opened(edge, "?key=D%23&mode=lydian&bpm=60&preset=tundra") as (page, _):
        assert await page.input_value("#key") == "D#"
        await page.click("#play")
        await until(page, "document.body.dataset.state === 'playing'")
        assert [s["stream_id"] for s in edge.service.hub.now_playing()] == ["ds-lydian-60-50-tundra-0"]


async def test_a_lost_connection_comes_back_without_a_gap() -> None:
    async with playing_edge() as (edge, _), opened(edge) as (page, _):
        await page.click("#play")
        await until(page, "Number(document.body.dataset.level) > 0.02")
        chunks = int(await state(page, "chunks"))
        await until(page, f"Number(document.body.dataset.chunks) > {chunks + 10}")
        for connection in list(edge.service.hub.connections):
            connection.transport.close(1012, "test")  # type: ignore[attr-defined] # the hub's own connections
        await until(page, "document.body.dataset.state === 'reconnecting'")
        await until(page, "document.body.dataset.state === 'playing'")
        await asyncio.sleep(2)  # the time in which nothing may be missing
        assert int(await state(page, "underruns")) == 0
        assert edge.metric("auralis_resumes_total", recovered="true") == 1


async def test_a_connection_that_falls_silent_is_replaced() -> None:
    async with playing_edge() as (edge, _), opened(edge) as (page, _):
        await page.click("#play")
        await until(page, "Number(document.body.dataset.level) > 0.02")
        (connection,) = edge.service.hub.connections
        # The connection is dead, and neither end has been told.
        edge.service.hub.crowd.remove(connection)
        edge.service.hub._delivery.end(connection)
        await until(page, "document.body.dataset.state === 'reconnecting'", 6)
        await until(page, "document.body.dataset.state === 'playing'")
        await hears(page, SPEC.stream_id)


async def test_the_page_fits_a_phone_and_can_be_used_by_keyboard() -> None:
    phone = {"viewport": {"width": 360, "height": 740}}
    async with playing_edge() as (edge, _), opened(edge, **phone) as (page, _):
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        await page.keyboard.press("Tab")
        assert await page.evaluate("document.activeElement.id") == "play"
        await page.keyboard.press("Enter")
        await until(page, "document.body.dataset.state === 'playing'")
        unlabelled = await page.evaluate(
            "[...document.querySelectorAll('input, select, button')]"
            ".filter(e => !e.labels?.length && !e.textContent.trim() && !e.ariaLabel).length"
        )
        assert unlabelled == 0


async def hears(page: Page, stream_id: str) -> None:
    """Wait until the stream's tone is the loudest frequency of the page."""
    await until(page, f"Math.abs(Number(document.body.dataset.pitch) - {pitch_hz(stream_id)}) < 30")


@pytest.mark.parametrize(("without", "encoding"), [("", "opus"), ("AudioDecoder", "s16le")])
async def test_a_slider_changes_the_music_in_opus_and_in_pcm_without_a_decoder(without: str, encoding: str) -> None:
    new = SPEC.updated({"bpm": 90})
    assert abs(pitch_hz(new.stream_id) - pitch_hz(SPEC.stream_id)) > 80
    async with playing_edge() as (edge, _), opened(edge, without=without) as (page, complaints):
        await page.click("#play")
        await hears(page, SPEC.stream_id)
        assert await state(page, "encoding") == encoding
        await page.evaluate(
            "() => { const slider = document.getElementById('bpm'); slider.value = 90;"
            " slider.dispatchEvent(new Event('input', {bubbles: true})); }"
        )
        await hears(page, new.stream_id)
        assert complaints == []


async def test_without_an_audio_worklet_the_same_controls_drive_the_plain_stream() -> None:
    async with playing_edge() as (edge, _), opened(edge, without="AudioWorkletNode") as (page, _):
        assert await page.is_visible("#plain")
        await page.click("#play")
        await until(
            page, "document.body.dataset.state === 'playing' && Number(document.body.dataset.seconds) > 0.5", 20
        )
        assert [stream["stream_id"] for stream in edge.service.hub.now_playing()] == [SPEC.stream_id]
        assert await page.is_visible("#record")
        # The browser does not report the figures behind these.
        assert not any([await page.is_visible(f"#{name}") for name in ("meter", "buffer", "tier")])
        await page.select_option("#key", "F#")
        await plays(edge, SPEC.updated({"key": "F#"}).stream_id, 10)
        await page.click("#play")
        await listeners(edge, 0)


async def test_the_page_reports_a_full_server_and_takes_its_first_free_place() -> None:
    async with playing_edge(max_connections=1) as (edge, _), opened(edge) as (page, _):
        assert edge.service.hub.admit("192.0.2.1") is None
        await page.click("#play")
        await until(page, "document.getElementById('status').textContent.startsWith('All 1 places are taken')")
        # Nothing has been heard, so there is nothing to download.
        assert not await page.is_visible("#record")
        edge.service.hub.release("192.0.2.1")
        await until(page, "document.body.dataset.state === 'playing'", 15)


async def test_the_music_survives_a_restart_of_the_server() -> None:
    broker = MemoryBroker()
    renderer = TinyRenderer(broker)
    renderer.marked = False
    await renderer.start()
    try:
        async with contextlib.AsyncExitStack() as browser:
            async with running_edge(broker, secret="of both") as first:
                page, _ = await browser.enter_async_context(opened(first))
                await page.click("#play")
                await hears(page, SPEC.stream_id)
                port = first.port
            await until(page, "document.body.dataset.state === 'reconnecting'")
            async with running_edge(broker, port=port, secret="of both"):
                await until(page, "document.body.dataset.state === 'playing'", 20)
                chunks = int(await state(page, "chunks"))
                await until(page, f"Number(document.body.dataset.chunks) > {chunks + 10}")
                await hears(page, SPEC.stream_id)
    finally:
        await renderer.stop()


async def test_the_sleep_timer_counts_down_and_is_reset_by_a_stop() -> None:
    async with playing_edge() as (edge, _), opened(edge) as (page, _):
        await page.click("#play")
        await until(page, "document.body.dataset.state === 'playing'")
        await page.select_option("#sleep", "15")
        assert await page.text_content("#sleep-left") == "15 min"
        await page.evaluate("() => { const real = Date.now; Date.now = () => real() + 15 * 60000 + 500; }")
        await until(page, "document.body.dataset.state === 'idle'")
        assert await page.text_content("#status") == "Good night."
        assert await page.input_value("#sleep") == "0"


async def test_the_last_seconds_can_be_downloaded() -> None:
    async with playing_edge() as (edge, _), opened(edge, "?key=D", accept_downloads=True) as (page, _):
        await page.click("#play")
        await until(page, "Number(document.body.dataset.level) > 0.02")
        async with page.expect_download() as download:
            await page.click("#record")
        file = await (await download.value).path()
        assert file.read_bytes()[:4] == b"RIFF"
        assert (await download.value).suggested_filename == "auralis-d-dorian-70-50-drift-0.wav"


async def listeners(edge: Edge, count: int) -> None:
    """Wait until the edge has `count` listeners."""
    await holds(lambda: edge.metric("auralis_listeners") == count)


async def plays(edge: Edge, stream_id: str, within_s: float = 5) -> None:
    """Wait until this stream is the only one with listeners."""
    await holds(lambda: [stream["stream_id"] for stream in edge.service.hub.now_playing()] == [stream_id], within_s)


async def test_a_stop_while_the_sound_is_still_being_opened_counts() -> None:
    script = """
      const add = AudioWorklet.prototype.addModule;
      AudioWorklet.prototype.addModule = async function (url) {
        await new Promise((done) => setTimeout(done, 500));
        return add.call(this, url);
      };"""
    async with playing_edge() as (edge, _), opened(edge, script=script) as (page, _):
        await page.click("#play")
        await page.click("#play")
        await asyncio.sleep(1.5)  # longer than the opening takes
        assert await state(page, "state") == "idle"
        assert edge.metric("auralis_listeners") == 0
        await page.click("#play")
        await until(page, "Number(document.body.dataset.level) > 0.02")


async def test_play_stop_play_in_quick_succession_opens_one_connection() -> None:
    async with playing_edge() as (edge, _), opened(edge) as (page, _):

        async def slow(route: Route) -> None:
            await asyncio.sleep(0.5)  # a slow server
            await route.continue_()

        await page.route("**/api/status", slow)
        opened_sockets: list[object] = []
        page.on("websocket", lambda socket: opened_sockets.append(socket))  # noqa: PLW0108 - it marks what it is given
        for _ in range(3):
            await page.click("#play")
            await asyncio.sleep(0.1)  # the pace of the presses
        await until(page, "document.body.dataset.state === 'playing'")
        await asyncio.sleep(1)  # the time in which another could be opened
        assert len(opened_sockets) == 1
        assert edge.metric("auralis_listeners") == 1


async def test_a_change_before_the_greeting_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "WARMING_AFTER_S", 60.0)
    broker = MemoryBroker()
    async with running_edge(broker) as edge, opened(edge) as (page, _):
        await page.click("#play")
        await listeners(edge, 1)
        await plays(edge, SPEC.stream_id)
        await page.select_option("#key", "F#")
        await plays(edge, SPEC.updated({"key": "F#"}).stream_id)


async def test_a_refused_stream_is_reported_and_another_can_be_chosen_immediately() -> None:
    async with (
        playing_edge(max_streams=1) as (edge, _),
        opened(edge, "?key=D") as (page, _),
        websockets.connect(edge.ws) as other,
    ):
        await other.send('{"type":"control","action":"start"}')
        await other.recv()
        await page.click("#play")
        await until(page, "document.getElementById('status').textContent.includes('1 streams are playing already')")
        assert await state(page, "state") == "full"
        await page.select_option("#key", "C")
        # Long before the page would try again by itself.
        await until(page, "document.body.dataset.state === 'playing'", 3)


async def test_a_failed_decoder_is_replaced_and_nothing_is_missing() -> None:
    script = """
      const Real = AudioDecoder;
      let broken = false;
      globalThis.AudioDecoder = class extends Real {
        constructor(init) { super(init); this.failed = init.error; this.packets = 0; }
        decode(chunk) {
          this.packets += 1;
          if (!broken && this.packets === 251) {
            broken = true;
            this.close();
            this.failed(new DOMException("made up"));
          } else super.decode(chunk);
        }
      };"""
    deep = Settings(port=0, metrics_port=0, buffer=BufferSettings(initial_tier="defensive"))
    async with playing_edge(settings=deep) as (edge, _), opened(edge, script=script) as (page, complaints):
        await page.click("#play")
        await until(page, "document.body.dataset.state === 'reconnecting'")
        await until(page, "document.body.dataset.state === 'playing'")
        await asyncio.sleep(2)  # the time in which nothing may be missing
        await hears(page, SPEC.stream_id)
        assert int(await state(page, "underruns")) == 0
        assert edge.metric("auralis_resumes_total", recovered="true") == 1
        assert complaints == ["the Opus decoder failed (made up)"]


async def test_the_plain_stream_comes_back_after_a_restart_of_the_server() -> None:
    broker = MemoryBroker()
    renderer = TinyRenderer(broker)
    await renderer.start()
    try:
        async with contextlib.AsyncExitStack() as browser:
            async with running_edge(broker) as first:
                page, _ = await browser.enter_async_context(opened(first, without="AudioWorkletNode"))
                await page.click("#play")
                await until(page, "Number(document.body.dataset.seconds) > 0.5", 20)
                port = first.port
                # The drain ends the stream, which a browser does not open again by itself.
                await first.service.drain()
            await until(page, "document.body.dataset.state === 'connecting'")
            async with running_edge(broker, port=port) as second:
                await until(page, "document.body.dataset.state === 'playing'", 20)
                await listeners(second, 1)
    finally:
        await renderer.stop()


async def test_a_full_server_is_reported_with_the_plain_stream_too() -> None:
    async with (
        playing_edge(max_connections=1) as (edge, _),
        opened(edge, without="AudioWorkletNode") as (page, _),
    ):
        assert edge.service.hub.admit("192.0.2.1") is None
        await page.click("#play")
        await until(page, "document.getElementById('status').textContent.startsWith('All 1 places are taken')")
        edge.service.hub.release("192.0.2.1")
        await until(page, "document.body.dataset.state === 'playing'", 15)


async def test_a_token_is_in_the_addresses_of_downloads_and_not_in_shared_links() -> None:
    script = "navigator.clipboard.writeText = async (text) => { document.body.dataset.copied = text; };"
    async with playing_edge() as (edge, _), opened(edge, "?token=mine&key=D", script=script) as (page, _):
        assert "token=mine" in str(await page.get_attribute("#record", "href"))
        await page.click("#share")
        await until(page, "document.body.dataset.copied")
        assert await state(page, "copied") == f"{edge.http}/?key=D"


async def test_a_browser_that_stores_nothing_plays() -> None:
    script = "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('no'); } });"
    async with playing_edge() as (edge, _), opened(edge, script=script) as (page, complaints):
        await page.click("#play")
        await until(page, "Number(document.body.dataset.level) > 0.02")
        assert complaints == []


async def test_a_screen_reader_gets_each_change_once_and_in_words() -> None:
    async with playing_edge() as (edge, _), opened(edge) as (page, _):
        values = {
            slider: await page.get_attribute(f"#{slider}", "aria-valuetext")
            for slider in ("intensity", "bpm", "volume")
        }
        assert values == {"intensity": "50 %", "bpm": "70 bpm", "volume": "80 %"}
        # An <output> is a live region by default, and the sleep timer's would be read aloud each second.
        live = "[...document.querySelectorAll('output, [role=status], [aria-live]')].filter(e => e.ariaLive !== 'off')"
        # Beside the state, the sentence about a character is read when it is chosen.
        assert await page.evaluate(f"{live}.map(e => e.id)") == ["status", "sentence"]
        # The changing name tells the state; with a pressed state it would read "Stop, pressed".
        assert await page.get_attribute("#play", "aria-label") == "Play"
        await page.click("#play")
        await until(page, "document.body.dataset.state === 'playing'")
        assert await page.get_attribute("#play", "aria-label") == "Stop"
        assert await page.get_attribute("#play", "aria-pressed") is None
        assert await page.title() == "Tranquil Pond, C dorian, drift · Auralis"
        await page.click("#play")
        assert await page.title() == "Auralis"


async def test_in_forced_colours_the_chosen_preset_is_visible() -> None:
    async with playing_edge() as (edge, _), opened(edge, forced_colors="active") as (page, _):
        # Translucent colours are forced to one colour for all; only opaque ones differ.
        chosen, other, filled = await page.evaluate(
            "[...[...document.querySelectorAll('#presets label')].slice(0, 2).map(label => getComputedStyle(label)),"
            " getComputedStyle(document.getElementById('meter'), '::before')].map(style => style.backgroundColor)"
        )
        assert chosen.startswith("rgb(")
        assert filled.startswith("rgb(")
        assert chosen != other


async def test_a_piece_has_a_title_and_is_found_by_it() -> None:
    async with playing_edge() as (edge, _), opened(edge, "?seed=scented-rookery") as (page, complaints):
        await until(page, "document.getElementById('title').textContent === 'Scented Rookery'")
        await page.click("#play")
        await until(page, "document.body.dataset.state === 'playing'")
        assert await page.title() == "Scented Rookery, C dorian, drift · Auralis"
        assert "seed=1" in page.url
        await page.fill("#piece", "blended leaf")
        await page.press("#piece", "Enter")
        await until(page, "document.getElementById('title').textContent === 'Blended Leaf'")
        await holds(lambda: "c-dorian-70-50-drift-7" in edge.service.hub.streams.by_id)
        await page.fill("#piece", "0")
        await page.press("#piece", "Enter")
        await until(page, "document.getElementById('piece').value === 'Tranquil Pond'")
        assert "seed" not in page.url
        await page.click("#another")
        await until(page, "document.getElementById('title').textContent !== 'Tranquil Pond'")
        assert len((await page.inner_text("#title")).split()) == 2
        assert complaints == []


async def test_a_title_that_does_not_exist_changes_nothing_and_is_explained() -> None:
    async with playing_edge() as (edge, _), opened(edge, "?seed=scented-nothing") as (page, _):
        await until(page, "document.getElementById('title').textContent === 'Tranquil Pond'")
        assert "no title ends in 'nothing'" in await page.inner_text("#status")
        await page.fill("#piece", "blended loaf")
        await page.press("#piece", "Enter")
        await until(page, "document.getElementById('status').textContent.includes(\"'loaf'\")")
        assert await page.input_value("#piece") == "Tranquil Pond"
        assert await page.inner_text("#title") == "Tranquil Pond"
