// Shared by all scripts: a listener and its metrics.
import { WebSocket } from 'k6/websockets';
import { Counter, Rate, Trend } from 'k6/metrics';
import exec from 'k6/execution';

export const URL = __ENV.URL || 'ws://127.0.0.1:8000/ws';
export const VUS = Number(__ENV.VUS || 20);
export const DURATION = __ENV.DURATION || '30s';
const STREAMS = Number(__ENV.STREAMS || 4);
const SEED = Number(__ENV.SEED || 1);
const TOKEN = __ENV.TOKEN || '';

const TICK_MS = 100;
const WINDOW_MS = 10000;
const STARTING_MS = 2000;
const RESTART = 1012;

export const firstAudio = new Trend('auralis_first_audio', true); // from connecting to the first chunk
export const jitter = new Trend('auralis_jitter', true); // lateness against the earliest of the last seconds
export const gapRate = new Rate('auralis_gap_rate'); // share of missing chunks
export const underrunRate = new Rate('auralis_underrun_rate'); // share of chunks that arrived after a player needed them
export const refusedRate = new Rate('auralis_refused_rate'); // share of connections that an edge refused
export const chunks = new Counter('auralis_chunks');
export const skips = new Counter('auralis_skips'); // times when an edge skipped chunks for a slow listener

export const playingThresholds = {
  auralis_first_audio: ['p(95)<1000'],
  auralis_gap_rate: ['rate<0.0001'],
  auralis_jitter: ['p(99)<50'],
  auralis_underrun_rate: ['rate<0.001'],
  auralis_refused_rate: ['rate==0'],
  // A test without any audio would keep every other threshold.
  auralis_chunks: ['count>0'],
};

export function seconds(text) {
  const units = { ms: 0.001, s: 1, m: 60, h: 3600 };
  let total = 0;
  for (const part of text.matchAll(/([\d.]+)(ms|s|m|h)/g)) total += Number(part[1]) * units[part[2]];
  return total;
}

// The stream of this listener: listeners are spread over STREAMS streams.
export function params() {
  return { seed: SEED + ((exec.vu.idInTest - 1) % STREAMS) };
}

export function control(action, values) {
  return JSON.stringify({ type: 'control', action, params: values });
}

// Counts a chunk; returns its number, or null for one that came before.
function countChunk(state, bytes) {
  const view = new DataView(bytes);
  const id = Number(view.getBigUint64(4, true));
  const tier = view.getUint8(2);
  const now = Date.now();
  if (state.last === null) {
    firstAudio.add(now - state.began);
    state.first = now;
    state.playoutDelay = now - id * TICK_MS;
  } else if (id <= state.last) {
    return null;
  }
  const missing = state.last === null ? 0 : id - state.last - 1;
  for (let n = 0; n < Math.min(missing, 100); n += 1) gapRate.add(true);
  gapRate.add(false);
  chunks.add(1);
  const delay = now - id * TICK_MS;
  underrunRate.add(state.last !== null && delay > state.playoutDelay);
  state.playoutDelay = Math.max(state.playoutDelay, delay);
  state.last = id;
  if (tier !== state.tier || now > state.windowEnds) {
    state.previousLeastDelay = tier === state.tier ? state.leastDelay : Infinity;
    state.leastDelay = delay;
    state.tier = tier;
    state.windowEnds = now + WINDOW_MS;
  }
  state.leastDelay = Math.min(state.leastDelay, delay);
  if (now - state.first > STARTING_MS) jitter.add(delay - Math.min(state.leastDelay, state.previousLeastDelay));
  return id;
}

// Listens for `forSeconds` and reconnects when an edge goes away. `on` may have
//   open(socket)            called when the listener is connected and has requested its stream
//   chunk(id, socket)       called for each new chunk
//   event(message, socket)  called for each JSON message
export function listen(forSeconds, on = {}) {
  const state = {
    began: Date.now(), last: null, first: 0, tier: -1, playoutDelay: 0, leastDelay: Infinity,
    previousLeastDelay: Infinity, windowEnds: 0,
  };
  const until = state.began + forSeconds * 1000;
  let resume = null;

  function connect() {
    const headers = TOKEN ? { Authorization: `Bearer ${TOKEN}` } : {};
    const socket = new WebSocket(URL, ['auralis.pcm.v1'], { headers });
    let opened = false;
    socket.binaryType = 'arraybuffer';
    socket.addEventListener('open', () => {
      opened = true;
      refusedRate.add(false);
      const wanted = params();
      if (resume !== null) {
        wanted.resume = resume;
        if (state.last !== null) wanted.chunk_id = state.last + 1;
      }
      socket.send(control('start', wanted));
      setTimeout(() => {
        if (socket.readyState === 1) socket.send(control('stop', {}));
        setTimeout(() => socket.close(), 500);
      }, Math.max(0, until - Date.now()));
      if (on.open) on.open(socket);
    });
    socket.addEventListener('message', (message) => {
      if (typeof message.data !== 'string') {
        const id = countChunk(state, message.data);
        if (id !== null && on.chunk) on.chunk(id, socket);
        return;
      }
      const value = JSON.parse(message.data);
      if (value.resume) resume = value.resume;
      if (value.type === 'splice') {
        // The edge sends these chunks again, as other music: neither repeats nor late.
        state.last = Math.min(state.last === null ? value.chunk_id - 1 : state.last, value.chunk_id - 1);
        state.tier = -1;
      } else if (value.type === 'status' && value.state === 'skipped') {
        skips.add(1);
      }
      if (on.event) on.event(value, socket);
    });
    socket.addEventListener('error', () => {
      if (!opened) refusedRate.add(true);
    });
    socket.addEventListener('close', (event) => {
      if (event.code === RESTART && event.reason) resume = event.reason;
      const again = Date.now() < until - 200 && event.code !== 1000;
      if (again) setTimeout(connect, event.code === RESTART ? 0 : 500);
    });
  }

  connect();
}
