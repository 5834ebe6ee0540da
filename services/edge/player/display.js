/* What the page shows of its state and of the music. */

const STATUS = {
  idle: "Press play.",
  connecting: "Connecting…",
  reconnecting: "Reconnecting; the music goes on from the buffer…",
  warming: "The first notes are being made…",
  degraded: "The renderer is away; the last bars play on.",
  full: "All places are taken; trying again soon…",
  playing: "Playing",
};
const AUDIBLE = ["playing", "degraded", "reconnecting"];
const TIER_MS = { minimal: 500, normal: 1000, stable: 1500, defensive: 2500 };
const METER_MS = 3000;             // right end of the meter, a little beyond the deepest tier

const $ = (id) => document.getElementById(id);

export class Display {
  constructor() {
    this.stream = "";              // in words, for the title
  }

  get state() {
    return document.body.dataset.state;
  }

  get idle() {
    return this.state === "idle";
  }

  isKnown(state) {
    return state in STATUS;
  }

  show(state, text = STATUS[state] ?? state) {
    document.body.dataset.state = state;
    this.say(text);
    $("play").setAttribute("aria-label", state === "idle" ? "Play" : "Stop");
    $("record").hidden = !AUDIBLE.includes(state);
    this.updateTitle();
  }

  /* Screen readers read the status aloud at each assignment, so it is assigned only when it changes. */
  say(text) {
    if ($("status").textContent !== text) $("status").textContent = text;
  }

  setStream(words) {
    this.stream = words;
    this.updateTitle();
  }

  setPiece(title) {
    if ($("title").textContent !== title) $("title").textContent = title;
  }

  updateTitle() {
    document.title = this.idle ? "Auralis" : `${this.stream} · Auralis`;
  }

  chunk({ tier, depth }) {
    const { dataset } = document.body;
    $("tier").textContent = tier;
    $("meter").style.setProperty("--tier", TIER_MS[tier] / METER_MS);
    dataset.depth = depth;
    dataset.chunks = Number(dataset.chunks ?? 0) + 1;
  }

  playout({ bufferMs, underruns, level, pitch }) {
    const { dataset } = document.body;
    $("buffer").textContent = `${(bufferMs / 1000).toFixed(1)} s`;
    $("meter").style.setProperty("--level", Math.min(1, bufferMs / METER_MS));
    $("meter").setAttribute("aria-valuenow", Math.round(bufferMs));
    dataset.underruns = underruns;
    dataset.bufferMs = Math.round(bufferMs);
    dataset.level = level.toFixed(4);
    dataset.pitch = Math.round(pitch);
  }

  encoding(name) {
    document.body.dataset.encoding = name;
  }

  splice() {
    document.body.dataset.splices = Number(document.body.dataset.splices ?? 0) + 1;
  }

  plainSeconds(seconds) {
    document.body.dataset.seconds = seconds.toFixed(1);
  }

  nowPlaying({ chord, listeners, bar, bars }) {
    $("chord").textContent = chord ?? "\u00a0";
    $("listeners").textContent = listeners;
    $("bar").textContent = `${bar} / ${bars}`;
  }

  clear() {
    for (const id of ["listeners", "bar", "buffer", "tier"]) $(id).textContent = "–";
    $("chord").textContent = "\u00a0";
    $("meter").style.setProperty("--level", 0);
  }

  /* For the plain stream: the browser has its own buffer and does not tell how full it is. */
  hideBuffer() {
    $("plain").hidden = false;
    for (const element of [$("meter"), $("buffer").parentElement, $("tier").parentElement]) element.hidden = true;
  }
}
