/* The way from samples to the loudspeaker: playout buffer, gain and analyser in an AudioContext. */

import { canDecodeOpus } from "./opus.js";

const OPUS_RATE_HZ = 48000;
const PCM_RATE_HZ = 44100;
const STOP_FADE_S = 0.08;          // time constant of the gain
const SUSPEND_AFTER_MS = 600;      // when the fade of a stop is over

/* False on a page without TLS (except on localhost) and in an old browser: these have no AudioWorklet. */
export const CAN_MIX = isSecureContext && "AudioWorkletNode" in globalThis;

export class AudioOutput {
  /* `onPlayout` is called four times a second with what the playout buffer reports, and level and pitch of the sound. */
  static async open(onPlayout) {
    const opus = await canDecodeOpus();
    const context = new AudioContext({ sampleRate: opus ? OPUS_RATE_HZ : PCM_RATE_HZ, latencyHint: "playback" });
    await context.audioWorklet.addModule("worklet.js");
    return new AudioOutput(context, opus, onPlayout);
  }

  constructor(context, opus, onPlayout) {
    this.context = context;
    this.opus = opus;
    this.node = new AudioWorkletNode(context, "auralis-playout", { numberOfInputs: 0, outputChannelCount: [2] });
    this.gain = new GainNode(context, { gain: 0 });
    this.analyser = new AnalyserNode(context, { fftSize: 2048, smoothingTimeConstant: 0.85 });
    this.node.connect(this.gain).connect(this.analyser).connect(context.destination);
    this.node.port.onmessage = ({ data }) => onPlayout({ ...data, level: this.level(), pitch: this.pitch() });
  }

  /* WebSocket subprotocols that this browser can decode, the best first. */
  get protocols() {
    return this.opus ? ["auralis.opus.v1", "auralis.pcm.v1"] : ["auralis.pcm.v1"];
  }

  resume() {
    return this.context.resume();
  }

  reset() {
    this.node.port.postMessage({ type: "reset", rate: this.opus ? OPUS_RATE_HZ : PCM_RATE_HZ });
  }

  add(id, samples, generation) {
    this.node.port.postMessage({ type: "chunk", id, samples, generation }, [samples.buffer]);
  }

  splice(id, generation) {
    this.node.port.postMessage({ type: "splice", id, generation });
  }

  /* Approach a gain; after `timeConstantS` about two thirds of the way are done. */
  approach(gain, timeConstantS) {
    this.gain.gain.setTargetAtTime(gain, this.context.currentTime, timeConstantS);
  }

  /* Fade out, then let the sound card rest if `isIdle` still says so. */
  stop(isIdle) {
    this.approach(0, STOP_FADE_S);
    setTimeout(() => isIdle() && this.context.suspend(), SUSPEND_AFTER_MS);
  }

  /* RMS, 1 is full scale. */
  level() {
    const samples = new Float32Array(this.analyser.fftSize);
    this.analyser.getFloatTimeDomainData(samples);
    return Math.sqrt(samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length);
  }

  /* The loudest frequency, Hz. */
  pitch() {
    const levels = new Float32Array(this.analyser.frequencyBinCount);
    this.analyser.getFloatFrequencyData(levels);
    return (levels.indexOf(Math.max(...levels)) * this.context.sampleRate) / this.analyser.fftSize;
  }
}
