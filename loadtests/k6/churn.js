// Listeners that connect, listen for a few seconds and leave: the cost of connecting.
//
//   k6 run -e URL=ws://127.0.0.1:8000/ws -e RATE=20 -e STAY=3 -e DURATION=1m loadtests/k6/churn.js
//
// RATE listeners connect each second, at first a tenth of them; each stays STAY seconds.
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
  // A stay of seconds is too short for a figure of jitter.
  thresholds: Object.assign({}, playingThresholds, {
    auralis_jitter: [],
    // k6 could not start listeners in time: the test would measure k6.
    dropped_iterations: ['count==0'],
  }),
};

export default function () {
  listen(STAY);
}
