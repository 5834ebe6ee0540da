"""The page's connection in node, with a WebSocket that the test speaks for."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

SOURCE = Path(__file__).parents[3] / "services/edge/player/connection.js"
NODE = shutil.which("node")

pytestmark = pytest.mark.skipif(NODE is None, reason="no node on PATH (apt install nodejs)")

HEAD = """
import { readFileSync } from "node:fs";
// Each import becomes one of the names that the page's other modules give it.
const source = readFileSync(process.argv[2], "utf8").replace(/^import .*$/gm, "");
const stubs = `
const fetchStatus = async () => ({}), isFull = () => false, requested = (params) => params, token = () => null;
class OpusVoice { close() {} }
`;
globalThis.location = new URL("http://edge.test/");
globalThis.addEventListener = () => {};
globalThis.setInterval = () => {};
const sent = [], samples = [], splices = [];
globalThis.WebSocket = class {
  static OPEN = 1;
  constructor() { this.readyState = 1; globalThis.socket = this; }
  send(text) { sent.push(JSON.parse(text)); }
  close() {}
};
const { Connection } = await import("data:text/javascript," + encodeURIComponent(stubs + source));
const ignored = () => {};
const on = new Proxy({
  samples: (id) => samples.push(id), splice: (message) => splices.push(message.chunk_id),
}, { get: (target, name) => target[name] ?? ignored });
const connection = new Connection(on, ["auralis.pcm.v1"]);
connection.start({});
const settled = () => new Promise((resolve) => setTimeout(resolve, 0));
await settled();
socket.onopen();
function chunk(id) {
  const data = new DataView(new ArrayBuffer(24));
  data.setUint8(1, 1);
  data.setBigUint64(4, BigInt(id), true);
  socket.onmessage({ data: data.buffer });
}
const say = (message) => socket.onmessage({ data: JSON.stringify(message) });
const hello = (id, recovered = null) => say({ type: "hello", resume: "t", chunk_id: id, recovered });
"""


def run(script: str) -> Any:
    assert NODE is not None
    tail = "console.log(JSON.stringify({ sent, samples, splices }));"
    done = subprocess.run(
        [NODE, "--input-type=module", "-", str(SOURCE)],
        input=HEAD + script + tail,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_chunks_after_a_jump_of_the_clock_follow_those_before_it() -> None:
    found = run("""
    hello(50000);
    chunk(50000); chunk(50001);
    say({ type: "status", state: "skipped", reason: "clock", from_chunk_id: 50002, to_chunk_id: 14002 });
    chunk(14002); chunk(14003);
    say({ type: "splice", chunk_id: 14003 });
    chunk(14003);
    connection.report({ chunk_id: 50002, buffer_ms: 100, underruns: 0 });
    socket.onclose({ code: 1012, reason: "" });
    await new Promise((resolve) => setTimeout(resolve, 200));
    socket.onopen();
    """)
    assert found["samples"] == [50000, 50001, 50002, 50003, 50003]
    assert found["splices"] == [50003]
    report = next(message for message in found["sent"] if message["type"] == "report")
    assert report["chunk_id"] == 14002
    starts = [message["params"] for message in found["sent"] if message.get("action") == "start"]
    assert starts[-1]["chunk_id"] == 14004


def test_a_listener_that_was_too_slow_keeps_its_numbers() -> None:
    found = run("""
    hello(50000);
    chunk(50000);
    say({ type: "status", state: "skipped", from_chunk_id: 50001, to_chunk_id: 50020 });
    chunk(50020);
    """)
    assert found["samples"] == [50000, 50020]


def test_an_edge_whose_clock_is_behind_that_of_the_edge_before_is_heard() -> None:
    found = run("""
    hello(50000);
    chunk(50000); chunk(50001);
    hello(14000, false);
    chunk(14000);
    """)
    assert found["samples"] == [50000, 50001, 50002]
