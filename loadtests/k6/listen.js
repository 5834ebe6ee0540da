// Listeners that connect and stay: the steady state.
//
//   k6 run -e URL=ws://127.0.0.1:8000/ws -e VUS=50 -e DURATION=1m loadtests/k6/listen.js
import { DURATION, VUS, listen, playingThresholds, seconds } from './auralis.js';

export const options = {
  scenarios: {
    listeners: { executor: 'per-vu-iterations', vus: VUS, iterations: 1, maxDuration: `${seconds(DURATION) + 30}s` },
  },
  thresholds: playingThresholds,
};

export default function () {
  listen(seconds(DURATION));
}
