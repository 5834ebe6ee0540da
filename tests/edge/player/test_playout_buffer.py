"""The playout buffer in node, where hours of sound take a second, because its rates are arguments."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

SOURCE = Path(__file__).parents[3] / "services/edge/player/playout_buffer.js"
NODE = shutil.which("node")

pytestmark = pytest.mark.skipif(NODE is None, reason="no node on PATH (apt install nodejs)")

HEAD = """
import { readFileSync } from "node:fs";
const source = readFileSync(process.argv[2], "utf8");
const { PlayoutBuffer } = await import("data:text/javascript," + encodeURIComponent(source));
// A buffer at a hundredth of the real rate, fed by a server's clock and drawn from by a sound card's.
function play({ seconds, drift, depth = 10, rate = 480, jitter = () => 0, gap = () => false }) {
  let state = {};
  const depths = [], buffer = new PlayoutBuffer(rate, (report) => (state = report));
  buffer.reset(rate);
  const frames = rate / 10, left = new Float32Array(frames / 4), right = new Float32Array(frames / 4);
  let id = 0, largest = 0, silence = 0, longest = 0, before = null;
  const arrivals = [];
  const chunk = () => {
    const samples = new Float32Array(2 * frames);
    for (let n = 0; n < frames; n++) {
      samples[2 * n] = samples[2 * n + 1] = 0.5 * Math.sin(4 * Math.PI * (id * frames + n) / rate);
    }
    return samples;
  };
  for (let n = 0; n < depth; n++) arrivals.push([0, id + n]);
  let next = depth, played = 0;
  for (let now = 0; now < seconds; now = played / (rate * (1 + drift))) {
    for (; next - depth <= now * 10; next++) {
      if (!gap(next)) arrivals.push([(next - depth) / 10 + jitter(next), next]);
    }
    while (arrivals.length && arrivals[0][0] <= now) { [, id] = arrivals.shift(); buffer.add(id, chunk()); }
    buffer.pull(left, right);
    played += left.length;
    for (const value of left) {
      if (before !== null && now > 1) largest = Math.max(largest, Math.abs(value - before));
      silence = Math.abs(value) < 1e-4 ? silence + 1 : 0;
      if (now > 1) longest = Math.max(longest, silence);
      before = value;
    }
    if (now > 120 && state.playing) depths.push(state.bufferMs);
  }
  let low = Infinity, high = -Infinity;
  for (const each of depths) { low = Math.min(low, each); high = Math.max(high, each); }
  const { underruns, correction } = buffer;
  return { low, high, underruns, largest, longestMs: longest * 1000 / rate, correction };
}
"""


def run(script: str, tmp_path: Path) -> Any:
    file = tmp_path / "test.mjs"
    file.write_text(HEAD + f"\nconsole.log(JSON.stringify({script}));\n")
    assert NODE is not None
    done = subprocess.run([NODE, file, SOURCE], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("drift_ppm", [200, -200])
def test_a_clock_that_is_off_by_200_ppm_keeps_its_depth_for_eight_hours(drift_ppm: int, tmp_path: Path) -> None:
    heard = run(f"play({{ seconds: 8 * 3600, drift: {drift_ppm}e-6, rate: 240 }})", tmp_path)
    # Uncorrected it would be 5.8 s by then: dry, or beyond every bound.
    assert heard["underruns"] == 0
    assert 750 < heard["low"] < heard["high"] < 1150
    assert heard["correction"] == pytest.approx(-drift_ppm * 1e-6, rel=0.2)


def test_sound_is_unbroken_and_never_jumps(tmp_path: Path) -> None:
    heard = run("play({ seconds: 300, drift: 0 })", tmp_path)
    # The steepest step of the tone itself.
    assert heard["largest"] < 0.5 * 2 * 3.1416 * 2 / 480 * 1.05
    assert heard["longestMs"] < 10


def test_jitter_within_the_buffer_is_not_heard(tmp_path: Path) -> None:
    heard = run("play({ seconds: 300, drift: 0, jitter: (n) => (n * 7919 % 10) * 0.05 })", tmp_path)
    assert heard["underruns"] == 0
    assert heard["largest"] < 0.5 * 2 * 3.1416 * 2 / 480 * 1.05


def test_a_hole_is_jumped_over_and_counts_no_underrun(tmp_path: Path) -> None:
    heard = run("play({ seconds: 200, drift: 0, gap: (n) => n === 500 })", tmp_path)
    assert heard["underruns"] == 0
    assert heard["longestMs"] < 100


@pytest.mark.parametrize("hole", [501, 502, 504])
def test_a_hole_is_crossed_without_a_step(hole: int, tmp_path: Path) -> None:
    heard = run(f"play({{ seconds: 60, drift: 0, rate: 4800, gap: (n) => n === {hole} }})", tmp_path)
    # The tone's own steepest step, and at most all of its height over 10 ms.
    assert heard["largest"] < 0.5 * 4 * 3.1416 / 4800 + 1.0 * 1.5708 / 48


def test_chunks_decoded_late_go_to_the_stream_that_they_belong_to(tmp_path: Path) -> None:
    script = """(() => {
      const buffer = new PlayoutBuffer(480, () => {});
      buffer.reset(480);
      const flat = (value) => new Float32Array(96).fill(value);
      for (let id = 0; id < 3; id++) buffer.add(id, flat(0.1), 0);
      buffer.splice(2, 1);
      buffer.add(2, flat(0.9), 1);
      buffer.add(3, flat(0.9), 1);
      buffer.add(3, flat(0.1), 0);           // of the old stream, decoded after the splice
      buffer.add(4, flat(0.9), 1);
      const left = new Float32Array(48 * 5), right = new Float32Array(48 * 5);
      buffer.pull(left, right);
      return { last: left[48 * 5 - 4], first: left[30], most: Math.max(...left) };
    })()"""
    heard = run(script, tmp_path)
    assert heard["first"] == pytest.approx(0.1)
    assert heard["last"] == pytest.approx(0.9)
    assert heard["most"] <= 0.92
