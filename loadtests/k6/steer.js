// Listeners that change their stream all the time: time from `update` to the new music.
//
//   k6 run -e URL=ws://127.0.0.1:8000/ws -e VUS=10 -e EVERY=3 -e DURATION=1m loadtests/k6/steer.js
import exec from 'k6/execution';
import { Counter, Trend } from 'k6/metrics';
import { DURATION, VUS, control, listen, playingThresholds, seconds } from './auralis.js';

const EVERY = Number(__ENV.EVERY || 3);
const steered = new Trend('auralis_steered', true); // from `update` to the first chunk of the new music
const heardAfter = new Trend('auralis_heard_after', true); // from `update` until that chunk is played
const unanswered = new Counter('auralis_unanswered_updates');

export const options = {
  scenarios: {
    steering: { executor: 'per-vu-iterations', vus: VUS, iterations: 1, maxDuration: `${seconds(DURATION) + 30}s` },
  },
  thresholds: Object.assign({}, playingThresholds, {
    auralis_jitter: [],
    auralis_steered: ['p(95)<600'],
    auralis_heard_after: ['p(95)<1000'],
    auralis_unanswered_updates: ['count==0'],
  }),
};

export default function () {
  const keys = ['C', 'D', 'E', 'F', 'G', 'A'];
  let turn = exec.vu.idInTest;
  let askedAt = 0;
  let spliceFrom = null;
  let playingAt = null; // a player without a further buffer plays chunk id at playingAt + id * 100 ms

  listen(seconds(DURATION), {
    open(socket) {
      const timer = setInterval(() => {
        if (socket.readyState !== 1) {
          clearInterval(timer);
          return;
        }
        if (askedAt) unanswered.add(1);
        turn += 1;
        askedAt = Date.now();
        spliceFrom = null;
        socket.send(control('update', { key: keys[turn % keys.length], intensity: (turn % 5) / 4 }));
      }, EVERY * 1000);
    },
    event(message) {
      if (message.type === 'splice') spliceFrom = message.chunk_id;
    },
    chunk(id) {
      const now = Date.now();
      if (playingAt === null) playingAt = now - id * 100;
      if (askedAt && spliceFrom !== null && id >= spliceFrom) {
        steered.add(now - askedAt);
        heardAfter.add(Math.max(now, playingAt + id * 100) - askedAt);
        askedAt = 0;
      }
    },
  });
}
