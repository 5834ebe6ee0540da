/* The page: controls, sound, and what is told about it. */

import { Connection, askStatus, isFull } from "./connection.js";
import { canDecodeOpus } from "./opus.js";
import { Sky } from "./sky.js";

const $ = (id) => document.getElementById(id);
const DEFAULTS = { key: "C", mode: "dorian", bpm: 70, intensity: 0.5, preset: "drift", seed: 0 };
const REPORT_MS = 5000;
const NOW_PLAYING_MS = 3000;
const STATUS = {
  idle: "Press play.",
  connecting: "Connecting…",
  reconnecting: "Reconnecting; the music goes on from the buffer…",
  warming: "The first notes are being made…",
  degraded: "The renderer is away; the last bars play on.",
  full: "All places are taken; trying again soon…",
  playing: "Playing",
};
const HEARD = ["playing", "degraded", "reconnecting"];
const TIER_MS = { minimal: 500, normal: 1000, stable: 1500, defensive: 2500 };
const METER_MS = 3000;             // the deepest buffer there is
const FADE_OUT_S = 20;             // how long a sleep timer takes to let go
const PLAIN_RETRY_MS = 2000;
const PLAIN_TRIES = 6;
// A page without TLS on another host has neither; an old browser may lack one of them.
const CAN_MIX = isSecureContext && "AudioWorkletNode" in globalThis;

const sky = new Sky($("sky"));
const params = { ...DEFAULTS };
let audio = null;                  // {context, node, gain, analyser}
let opening = null;                // the promise of it
let turn = 0;                      // counts plays and stops: what is waited for may not be wanted any more
let plain = null;                  // <audio>, where nothing better is there
let connection = null;
let opus = false;
let sleep = { at: null, timer: null };
let streamId = null;
let playout = { bufferMs: 0, underruns: 0, chunkId: 0 };
let arrival = { at: 0, id: 0, jitterMs: 0 };

const handlers = {
  state: show,
  chunk({ id, tier, depth }) {
    const now = performance.now();
    // Bursts are early by design: only steady arrivals, one after the other, tell of jitter.
    if (arrival.id === id - 1 && now - arrival.at > 30) {
      arrival.jitterMs += (Math.abs(now - arrival.at - 100) - arrival.jitterMs) * 0.1;
    }
    arrival.at = now;
    arrival.id = id;
    $("tier").textContent = tier;
    $("meter").style.setProperty("--tier", TIER_MS[tier] / METER_MS);
    document.body.dataset.depth = depth;
    document.body.dataset.chunks = Number(document.body.dataset.chunks ?? 0) + 1;
    if (["connecting", "reconnecting", "warming", "full"].includes(document.body.dataset.state)) show("playing");
  },
  sound(id, samples, generation) {
    audio?.node.port.postMessage({ type: "chunk", id, samples, generation }, [samples.buffer]);
  },
  hello(message) {
    streamId = message.stream_id;
    document.body.dataset.encoding = message.format.encoding;
  },
  splice(message, generation) {
    streamId = message.stream_id;
    audio?.node.port.postMessage({ type: "splice", id: message.chunk_id, generation });
    document.body.dataset.splices = Number(document.body.dataset.splices ?? 0) + 1;
  },
  status(message) {
    if (message.state in STATUS) show(message.state);
  },
  full(status) {
    show("full", status.draining
      ? "The server is being restarted; trying again soon…"
      : `All ${status.max_listeners} places are taken; trying again soon…`);
  },
  refused(why) {
    show("full", `${why || "The server is busy"}. Trying again soon…`);
  },
  error(message, final) {
    say(message);
    if (final) stop(message);
  },
};

function show(state, text = STATUS[state] ?? state) {
  document.body.dataset.state = state;
  say(text);
  $("play").setAttribute("aria-label", state === "idle" ? "Play" : "Stop");
  $("record").hidden = !HEARD.includes(state);
  entitle();
}

/* Screen readers say it aloud: only what is new. */
function say(text) {
  if ($("status").textContent !== text) $("status").textContent = text;
}

async function openAudio() {
  opus = await canDecodeOpus();
  const context = new AudioContext({ sampleRate: rate(), latencyHint: "playback" });
  await context.audioWorklet.addModule("worklet.js");
  const node = new AudioWorkletNode(context, "auralis-playout", { numberOfInputs: 0, outputChannelCount: [2] });
  const gain = new GainNode(context, { gain: 0 });
  const analyser = new AnalyserNode(context, { fftSize: 2048, smoothingTimeConstant: 0.85 });
  node.connect(gain).connect(analyser).connect(context.destination);
  node.port.onmessage = ({ data }) => {
    playout = data;
    $("buffer").textContent = `${(data.bufferMs / 1000).toFixed(1)} s`;
    $("meter").style.setProperty("--level", Math.min(1, data.bufferMs / METER_MS));
    $("meter").setAttribute("aria-valuenow", Math.round(data.bufferMs));
    document.body.dataset.underruns = data.underruns;
    document.body.dataset.bufferMs = Math.round(data.bufferMs);
    document.body.dataset.level = level(analyser).toFixed(4);
    document.body.dataset.pitch = Math.round(loudest(analyser));
  };
  sky.follow(analyser);
  return { context, node, gain, analyser };
}

/* Frames a second of what the server sends. */
const rate = () => (opus ? 48000 : 44100);

function level(analyser) {
  const samples = new Float32Array(analyser.fftSize);
  analyser.getFloatTimeDomainData(samples);
  return Math.sqrt(samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length);
}

/* The loudest frequency, in Hz. */
function loudest(analyser) {
  const levels = new Float32Array(analyser.frequencyBinCount);
  analyser.getFloatFrequencyData(levels);
  return (levels.indexOf(Math.max(...levels)) * analyser.context.sampleRate) / analyser.fftSize;
}

async function play() {
  turn += 1;
  const mine = turn;
  show("connecting");
  if (!CAN_MIX) {
    playPlainly();
    return;
  }
  try {
    opening ??= openAudio();
    audio = await opening;
    if (mine !== turn) return;
    await audio.context.resume();
    if (mine !== turn) return;
  } catch (error) {
    opening = null;
    if (mine !== turn) return;
    show("idle", `This browser cannot play it (${error.message}). Try listen.m3u in another player.`);
    return;
  }
  audio.node.port.postMessage({ type: "reset", rate: rate() });
  connection ??= new Connection(handlers, opus ? ["auralis.opus.v1", "auralis.pcm.v1"] : ["auralis.pcm.v1"]);
  volume(0.5);
  connection.start(params);
  tellMediaSession();
}

/* Without AudioWorklet: the HTTP stream in an <audio> element, and the same controls. */
function playPlainly() {
  if (!plain) {
    plain = new Audio();
    plain.preload = "none";
    for (const [event, state] of [["playing", "playing"], ["waiting", "connecting"]]) {
      plain.addEventListener(event, () => plain.src && document.body.dataset.state !== "idle" && show(state));
    }
    plain.addEventListener("playing", () => (plain.failures = 0));
    plain.addEventListener("timeupdate", () => (document.body.dataset.seconds = plain.currentTime.toFixed(1)));
    // A server that restarts ends the stream; one that is full answers with an error.
    for (const event of ["ended", "error"]) plain.addEventListener(event, plainFailed);
  }
  clearTimeout(plain.retry);
  plain.src = `stream.mp3?${streamQuery()}`;
  volume();
  // What else it can fail for, the element tells as an "error".
  plain.play().catch((error) => error.name === "NotAllowedError" && stop(`This browser does not play it (${error.message}).`));
  tellMediaSession();
}

async function plainFailed() {
  if (!plain.getAttribute("src") || document.body.dataset.state === "idle") return;
  const mine = turn;
  const status = await askStatus();
  if (mine !== turn) return;
  plain.failures = (plain.failures ?? 0) + 1;
  if (isFull(status)) handlers.full(status);
  else if (plain.failures < PLAIN_TRIES) show("connecting");
  else {
    plain.failures = 0;
    stop("The stream cannot be had; try again later.");
    return;
  }
  clearTimeout(plain.retry);
  plain.retry = setTimeout(playPlainly, PLAIN_RETRY_MS * (0.75 + Math.random() / 2));
}

/* The stream as a URL's query, with the listener's token where the page has one. */
function streamQuery(more = {}) {
  const query = new URLSearchParams({ ...params, ...more });
  const token = new URLSearchParams(location.search).get("token");
  if (token) query.set("token", token);
  return query;
}

function tellMediaSession() {
  if ("mediaSession" in navigator) {
    navigator.mediaSession.metadata = new MediaMetadata({ title: describe(), artist: "Auralis" });
    navigator.mediaSession.setActionHandler("play", play);
    navigator.mediaSession.setActionHandler("pause", () => stop());
  }
}

function stop(why) {
  turn += 1;
  connection?.stop();
  setSleep(0);
  if (plain) {
    clearTimeout(plain.change);
    clearTimeout(plain.retry);
    plain.pause();
    plain.removeAttribute("src");
    plain.load();
  }
  streamId = null;
  show("idle", why);
  for (const id of ["listeners", "bar", "buffer", "tier"]) $(id).textContent = "–";
  $("chord").textContent = "\u00a0";
  $("meter").style.setProperty("--level", 0);
  if (!audio) return;
  audio.gain.gain.setTargetAtTime(0, audio.context.currentTime, 0.08);
  const { context } = audio;
  setTimeout(() => document.body.dataset.state === "idle" && context.suspend(), 600);
}

function volume(seconds = 0.05) {
  const value = Number($("volume").value);
  tell("volume", `${Math.round(value * 100)} %`);
  // Squared: a slider's middle should sound like half.
  if (plain) plain.volume = value * value;
  if (audio && document.body.dataset.state !== "idle") audio.gain.gain.setTargetAtTime(value * value, audio.context.currentTime, seconds / 3);
  remember("volume", String(value));
}

/* Some browsers are told to keep nothing, and throw instead. */
function remember(name, value) {
  try {
    localStorage.setItem(name, value);
  } catch {
    // Then it is forgotten.
  }
}

function remembered(name) {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}

/* A slider's value in words, for the eye and for screen readers. */
function tell(id, text) {
  $(`${id}-value`).textContent = text;
  $(id).setAttribute("aria-valuetext", text);
}

function change(changes) {
  Object.assign(params, changes);
  paint();
  connection?.update(changes);
  if (plain && document.body.dataset.state !== "idle") {
    // The stream begins anew: not for every step of a drag.
    clearTimeout(plain.change);
    plain.change = setTimeout(playPlainly, 400);
  }
  const query = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(params)) {
    value === DEFAULTS[name] ? query.delete(name) : query.set(name, value);
  }
  const text = query.toString();
  history.replaceState(null, "", text ? `?${text}` : location.pathname);
}

function paint() {
  $("key").value = params.key;
  $("mode").value = params.mode;
  $("bpm").value = params.bpm;
  tell("bpm", `${params.bpm} bpm`);
  $("intensity").value = params.intensity;
  tell("intensity", `${Math.round(params.intensity * 100)} %`);
  const chosen = document.querySelector(`#presets input[value="${params.preset}"]`);
  if (chosen) chosen.checked = true;
  $("record").href = `record?${streamQuery({ seconds: 20 })}`;
  sky.wear(params.preset);
  entitle();
}

function entitle() {
  document.title = document.body.dataset.state === "idle" ? "Auralis" : `${describe()} · Auralis`;
}

const describe = () => `${params.key} ${params.mode}, ${params.preset}`;

async function setUp() {
  const options = await (await fetch("api/options")).json();
  const fill = (id, values) => $(id).append(...values.map((value) => new Option(value, value)));
  fill("key", options.keys);
  fill("mode", options.modes);
  [$("bpm").min, $("bpm").max] = options.bpm;
  for (const preset of options.presets) {
    const label = document.createElement("label");
    const input = Object.assign(document.createElement("input"), { type: "radio", name: "preset", value: preset });
    label.append(input, preset);
    $("presets").append(label);
  }
  readUrl(options);
  $("volume").value = remembered("volume") ?? "0.8";
  volume();
  paint();
  if (!CAN_MIX) {
    $("plain").hidden = false;
    // The browser has a buffer of its own, and tells nothing of it.
    for (const element of [$("meter"), $("buffer").parentElement, $("tier").parentElement]) element.hidden = true;
  }
}

/* Fade out and stop in so many minutes; 0: never mind. */
function setSleep(minutes) {
  clearInterval(sleep.timer);
  sleep = { at: null, timer: null };
  $("sleep").value = String(minutes);
  $("sleep-left").textContent = "";
  document.body.classList.remove("drowsy");
  if (!minutes) return;
  sleep.at = Date.now() + minutes * 60000;
  sleep.timer = setInterval(tellSleep, 1000);
  tellSleep();
}

function tellSleep() {
  const left = (sleep.at - Date.now()) / 1000;
  if (left <= 0) {
    stop("Good night.");
    volume();
    return;
  }
  $("sleep-left").textContent = left > 60 ? `${Math.ceil(left / 60)} min` : `${Math.ceil(left)} s`;
  if (left <= FADE_OUT_S && plain) plain.volume = Number($("volume").value) ** 2 * (left / FADE_OUT_S);
  if (left > FADE_OUT_S || document.body.classList.contains("drowsy")) return;
  document.body.classList.add("drowsy");
  if (audio) audio.gain.gain.setTargetAtTime(0, audio.context.currentTime, FADE_OUT_S / 4);
}

function readUrl(options) {
  const query = new URLSearchParams(location.search);
  const pick = (name, allowed) => allowed.includes(query.get(name)) && (params[name] = query.get(name));
  pick("key", options.keys);
  pick("mode", options.modes);
  pick("preset", options.presets);
  const number = (name, [low, high], whole) => {
    const value = Number(query.get(name));
    if (query.get(name) && value >= low && value <= high && (!whole || Number.isInteger(value))) params[name] = value;
  };
  number("bpm", options.bpm, true);
  number("intensity", options.intensity, false);
  number("seed", options.seed, true);
}

async function tellNowPlaying() {
  if (document.body.dataset.state === "idle") return;
  try {
    const { streams } = await (await fetch("api/streams")).json();
    const same = (stream) => Object.entries(params).every(([name, value]) => stream.stream[name] === value);
    const mine = streams.find((stream) => (streamId ? stream.stream_id === streamId : same(stream)));
    if (!mine || document.body.dataset.state === "idle") return;
    $("chord").textContent = mine.chord ?? "\u00a0";
    $("listeners").textContent = mine.listeners;
    $("bar").textContent = `${mine.bar} / ${mine.bars}`;
  } catch {
    // The music does not need it; the next try is three seconds away.
  }
}

$("play").addEventListener("click", () => (document.body.dataset.state === "idle" ? play() : stop()));
$("key").addEventListener("change", (event) => change({ key: event.target.value }));
$("mode").addEventListener("change", (event) => change({ mode: event.target.value }));
$("bpm").addEventListener("input", (event) => change({ bpm: Number(event.target.value) }));
$("intensity").addEventListener("input", (event) => change({ intensity: Number(event.target.value) }));
$("presets").addEventListener("change", (event) => change({ preset: event.target.value }));
$("volume").addEventListener("input", () => volume());
$("sleep").addEventListener("change", (event) => setSleep(Number(event.target.value)));
$("controls").addEventListener("submit", (event) => event.preventDefault());
$("share").addEventListener("click", async () => {
  const link = new URL(location.href);
  link.searchParams.delete("token");   // it is this listener's, and the link is for others
  try {
    await navigator.clipboard.writeText(link.href);
    $("share").textContent = "Copied";
  } catch {
    $("share").textContent = link.href;
  }
  setTimeout(() => ($("share").textContent = "Copy link to this stream"), 2500);
});
addEventListener("keydown", (event) => {
  if (event.code !== "Space" || event.target.closest("button, input, select")) return;
  event.preventDefault();
  $("play").click();
});
setInterval(() => {
  if (document.body.dataset.state === "idle" || !playout.playing || !connection) return;
  connection.report({
    chunk_id: playout.chunkId,
    buffer_ms: Math.round(playout.bufferMs),
    underruns: playout.underruns,
    jitter_ms: Math.round(arrival.jitterMs * 10) / 10,
  });
}, REPORT_MS);
setInterval(tellNowPlaying, NOW_PLAYING_MS);

setUp().catch((error) => say(`The server did not answer (${error.message}); reload the page.`));
