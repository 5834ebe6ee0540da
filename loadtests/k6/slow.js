// Slow readers beside quick ones: the slow ones skip ahead, the quick ones are not affected.
//
//   k6 run -e URL=ws://127.0.0.1:8000/ws -e VUS=20 -e SLOW=5 -e DURATION=30s loadtests/k6/slow.js
//
// A slow reader reads PACE messages a second of ten. When the socket buffers of both ends are full (megabytes, after half
// a minute or more) the edge notices and makes it skip ahead. Slow readers use the older k6/ws, which does not read while
// a handler sleeps.
import { sleep } from 'k6';
import ws from 'k6/ws';
import { Counter } from 'k6/metrics';
import { DURATION, URL, VUS, control, listen, playingThresholds, seconds, skips } from './auralis.js';

const SLOW = Number(__ENV.SLOW || 5);
const PACE = Number(__ENV.PACE || 2);
const slowChunks = new Counter('auralis_slow_chunks');
const ended = new Counter('auralis_slow_ended'); // slow readers that an edge disconnected

export const options = {
  scenarios: {
    quick: { exec: 'quick', executor: 'per-vu-iterations', vus: VUS, iterations: 1, maxDuration: `${seconds(DURATION) + 30}s` },
    slow: { exec: 'slow', executor: 'per-vu-iterations', vus: SLOW, iterations: 1, maxDuration: `${seconds(DURATION) + 30}s` },
  },
  // The playing thresholds are about quick listeners; slow ones have metrics of their own.
  thresholds: Object.assign({}, playingThresholds, {
    auralis_slow_chunks: ['count>0'],
    auralis_slow_ended: ['count==0'],
    // A short run does not fill the buffers.
    auralis_skips: seconds(DURATION) >= 90 ? ['count>0'] : [],
  }),
};

export function quick() {
  listen(seconds(DURATION));
}

export function slow() {
  const until = Date.now() + seconds(DURATION) * 1000;
  let stopped = false;
  // JSON is the largest format, so it fills the buffers first.
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
