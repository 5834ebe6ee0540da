// Slow readers beside quick ones: the slow are moved on, the quick notice nothing.
//
//   k6 run -e URL=ws://127.0.0.1:8000/ws -e VUS=20 -e SLOW=5 -e DURATION=30s loadtests/k6/slow.js
//
// A slow reader takes PACE messages a second, where ten are due: its socket is not read in between, and once the buffers
// of both ends are full (megabytes: half a minute and more) the edge sees it and moves it on. The older k6/ws is used
// for them: it reads no further while a handler sleeps.
import { sleep } from 'k6';
import ws from 'k6/ws';
import { Counter } from 'k6/metrics';
import { DURATION, URL, VUS, control, listen, playingThresholds, seconds, skips } from './auralis.js';

const SLOW = Number(__ENV.SLOW || 5);
const PACE = Number(__ENV.PACE || 2);
const slowChunks = new Counter('auralis_slow_chunks');
const ended = new Counter('auralis_slow_ended'); // slow readers that an edge hung up on

export const options = {
  scenarios: {
    quick: { exec: 'quick', executor: 'per-vu-iterations', vus: VUS, iterations: 1, maxDuration: `${seconds(DURATION) + 30}s` },
    slow: { exec: 'slow', executor: 'per-vu-iterations', vus: SLOW, iterations: 1, maxDuration: `${seconds(DURATION) + 30}s` },
  },
  // The playing thresholds are those of the quick: the slow count apart.
  thresholds: Object.assign({}, playingThresholds, {
    auralis_slow_chunks: ['count>0'],
    auralis_slow_ended: ['count==0'],
    // In a short run the buffers are not full yet.
    auralis_skips: seconds(DURATION) >= 90 ? ['count>0'] : [],
  }),
};

export function quick() {
  listen(seconds(DURATION));
}

export function slow() {
  const until = Date.now() + seconds(DURATION) * 1000;
  let stopped = false;
  // JSON is the longest form, and so the first to fill the buffers.
  ws.connect(URL, { headers: { 'Sec-WebSocket-Protocol': 'auralis.json.v1' } }, (socket) => {
    socket.on('open', () => socket.send(control('start', { seed: 1 })));
    socket.on('message', (text) => {
      if (text.startsWith('{"type":"audio"')) slowChunks.add(1);
      else if (text.includes('"skipped"')) skips.add(1);
      if (Date.now() >= until) {
        stopped = true;
        socket.close();
      } else {
        sleep(1 / PACE);
      }
    });
    socket.on('close', () => {
      if (!stopped) ended.add(1);
    });
  });
}
