// Listeners that come, hear a few seconds, and go: what connecting costs, while others listen.
//
//   k6 run -e URL=ws://127.0.0.1:8000/ws -e RATE=20 -e STAY=3 -e DURATION=1m loadtests/k6/churn.js
//
// RATE listeners come a second, at first a tenth of it; each stays STAY seconds.
import { DURATION, listen, playingThresholds, seconds } from './auralis.js';

const RATE = Number(__ENV.RATE || 10);
const STAY = Number(__ENV.STAY || 3);

export const options = {
  scenarios: {
    churn: {
      executor: 'ramping-arrival-rate',
      startRate: Math.max(1, Math.round(RATE / 10)),
      timeUnit: '1s',
      preAllocatedVUs: Math.ceil(RATE * (STAY + 2)),
      maxVUs: Math.ceil(RATE * (STAY + 2) * 2),
      stages: [
        { target: RATE, duration: `${seconds(DURATION) / 3}s` },
        { target: RATE, duration: `${(2 * seconds(DURATION)) / 3}s` },
      ],
      gracefulStop: `${STAY + 5}s`,
    },
  },
  // Those who stay for seconds have no jitter to speak of.
  thresholds: Object.assign({}, playingThresholds, {
    auralis_jitter: [],
    // Listeners that k6 could not begin in time: then k6, not the edge, was measured.
    dropped_iterations: ['count==0'],
  }),
};

export default function () {
  listen(STAY);
}
