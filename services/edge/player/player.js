/* The page: what a press of a control, a message of the server and a timer do. */

import { fetchNowPlaying, fetchOptions, fetchPiece } from "./api.js";
import { AudioOutput, CAN_MIX } from "./audio_output.js";
import { Connection } from "./connection.js";
import { Controls } from "./controls.js";
import { Display } from "./display.js";
import { PlainStream } from "./plain_stream.js";
import { Sky } from "./sky.js";
import { SleepTimer } from "./sleep_timer.js";
import { addressedPiece, describe, readAddress, streamQuery, writeAddress } from "./stream.js";

const REPORT_MS = 5000;
const NOW_PLAYING_MS = 3000;
const START_FADE_S = 0.17;         // time constant of the volume when the music begins
const VOLUME_FADE_S = 0.017;       // and when the slider moves

const display = new Display();
const sky = new Sky(document.getElementById("sky"));
const controls = new Controls({
  press: () => (display.idle ? play() : stop()),
  change,
  piece: (name) => choosePiece(name || params.seed),
  another: () => choosePiece(Math.floor(Math.random() * twoWordSeeds)),
  volume: () => applyVolume(),
  sleep(minutes) {
    const { fading } = sleep;
    sleep.set(minutes);
    if (fading) applyVolume();
  },
});
const sleep = new SleepTimer({
  begin: (fadeOutS) => output?.approach(0, fadeOutS / 4),
  fade: (share) => plain?.setVolume(controls.readGain() * share),
  end() {
    stop("Good night.");
    applyVolume();
  },
});
const params = {};
let title = "";                    // of the piece: the name of params.seed
let twoWordSeeds = 1;              // seeds below it have a title without a number
let choice = 0;                    // counts choices of a piece: an answer to an earlier one is void
let opening = null;                // promise of `output`
let output = null;                 // AudioOutput, where the browser can mix
let connection = null;             // Connection, with `output`
let plain = null;                  // PlainStream, where the browser cannot mix
let turn = 0;                      // counts plays and stops: what was awaited before the last one is void
let streamId = null;
let playout = { playing: false };

const handlers = {
  state: (state) => display.show(state),
  chunk(chunk) {
    display.chunk(chunk);
    if (["connecting", "reconnecting", "warming", "full"].includes(display.state)) display.show("playing");
  },
  samples: (id, samples, generation) => output?.add(id, samples, generation),
  hello(message) {
    streamId = message.stream_id;
    display.encoding(message.format.encoding);
  },
  splice(message, generation) {
    streamId = message.stream_id;
    output?.splice(message.chunk_id, generation);
    display.splice();
  },
  status: (message) => display.isKnown(message.state) && display.show(message.state),
  full(status) {
    display.show("full", status.draining
      ? "The server is being restarted; trying again soon…"
      : `All ${status.max_listeners} places are taken; trying again soon…`);
  },
  refused: (why) => display.show("full", `${why || "The server is busy"}. Trying again soon…`),
  error(message, final) {
    display.say(message);
    if (final) stop(message);
  },
};

async function play() {
  turn += 1;
  const mine = turn;
  display.show("connecting");
  if (!CAN_MIX) {
    playPlain();
    return;
  }
  try {
    opening ??= AudioOutput.open(onPlayout);
    output = await opening;
    if (mine !== turn) return;
    await output.resume();
    if (mine !== turn) return;
  } catch (error) {
    opening = null;
    if (mine !== turn) return;
    display.show("idle", `This browser cannot play it (${error.message}). Try listen.m3u in another player.`);
    return;
  }
  sky.follow(output.analyser);
  output.reset();
  connection ??= new Connection(handlers, output.protocols);
  applyVolume(START_FADE_S);
  connection.start(params);
  controls.offerMediaKeys({ play, pause: () => stop() });
}

function playPlain() {
  plain ??= new PlainStream(() => `stream.mp3?${streamQuery(params)}`, {
    playing: () => display.show("playing"),
    waiting: () => display.show("connecting"),
    seconds: (seconds) => display.plainSeconds(seconds),
    full: handlers.full,
    failed: stop,
  });
  plain.start();
  applyVolume();
  controls.offerMediaKeys({ play, pause: () => stop() });
}

function stop(why) {
  turn += 1;
  connection?.stop();
  plain?.stop();
  sleep.set(0);
  streamId = null;
  display.show("idle", why);
  display.clear();
  output?.stop(() => display.idle);
}

function applyVolume(timeConstantS = VOLUME_FADE_S) {
  const gain = controls.readGain();
  plain?.setVolume(gain);
  if (!display.idle) output?.approach(gain, timeConstantS);
}

function change(changes) {
  Object.assign(params, changes);
  paint();
  connection?.update(changes);
  if (plain && !display.idle) plain.update();
  writeAddress(params);
}

function paint() {
  controls.paint(params);
  sky.wear(params.preset);
  display.setStream(`${title}, ${describe(params)}`);
  controls.nameForMediaKeys(title, params);
}

/* Change to the piece that has this number or title; whether there is one. */
async function choosePiece(name) {
  const mine = (choice += 1);
  try {
    const piece = await fetchPiece(name);
    if (mine !== choice) return true;
    ({ title } = piece);
    display.setPiece(title);
    if (piece.seed === params.seed) paint();
    else change({ seed: piece.seed });
    return true;
  } catch (error) {
    if (mine === choice) display.say(`There is no such piece (${error.message}).`);
    return mine !== choice;
  } finally {
    if (mine === choice) controls.setPiece(title);
  }
}

function onPlayout(report) {
  playout = report;
  display.playout(report);
}

function reportPlayout() {
  if (display.idle || !playout.playing) return;
  connection?.report({
    chunk_id: playout.chunkId,
    buffer_ms: Math.round(playout.bufferMs),
    underruns: playout.underruns,
  });
}

async function updateNowPlaying() {
  if (display.idle) return;
  try {
    const entry = await fetchNowPlaying(params, streamId);
    if (entry && !display.idle) display.nowPlaying(entry);
  } catch {
    // The music does not need it, and the next try is three seconds away.
  }
}

async function setUp() {
  const options = await fetchOptions();
  Object.assign(params, readAddress(options));
  twoWordSeeds = options.two_word_seeds;
  controls.offer(options, params);
  applyVolume();
  paint();
  // What the address misspells has its default.
  if (!(await choosePiece(addressedPiece() ?? params.seed))) await choosePiece(params.seed);
  if (!CAN_MIX) display.hideBuffer();
  setInterval(reportPlayout, REPORT_MS);
  setInterval(updateNowPlaying, NOW_PLAYING_MS);
}

setUp().catch((error) => display.say(`The server did not answer (${error.message}); reload the page.`));
