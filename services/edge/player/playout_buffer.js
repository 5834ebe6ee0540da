/* The playout buffer, apart from the audio thread: chunks come in by number, samples go out without a gap or a click.

   The position is counted in frames from the first chunk. It advances by the ratio of the stream's rate to the sound card's,
   corrected by at most 0.2 %, so that the buffer neither drains nor grows over hours. */

const CHUNK_S = 0.1;
const FADE_S = 0.1;                // equal-power fade from one stream to the next
const DECLICK_S = 0.01;            // fade where sound stops or starts because chunks are missing
const MAX_CORRECTION = 0.002;      // share of the rate; a change of pitch this small is not heard
const START_CHUNKS = 2;            // start with this many; the server sends three together
const RESUME_CHUNKS = 3;           // after an underrun, play on with this many
const KEEP_CHUNKS = 2;             // kept behind the position, for interpolation and fades
const REPORTS_PER_S = 4;
const SMOOTHING_S = 5;             // time constant of the buffer's moving average
const SETTLE_S = 10;               // time before the buffer's level is held
const RETARGET_CHUNKS = 2.5;       // a larger change of the level is a new tier, and no drift
const CORRECTION_PER_S = 0.02;     // correction for each second that the buffer is off its target
const MAX_LAYERS = 4;              // streams in a fade or waiting for one; of more, the second oldest is dropped
const MAX_CHUNKS = 120;            // overflow: the oldest are dropped ("drop_oldest")

export class PlayoutBuffer {
  /* `outputRate`: frames a second of the sound card. `report` is called four times a second. */
  constructor(outputRate, report) {
    this.outputRate = outputRate;
    this.report = report;
    this.reset(outputRate);
  }

  /* Begin anew, with chunks of `rate` frames a second. */
  reset(rate) {
    this.rate = rate;
    this.chunkFrames = Math.round(rate * CHUNK_S);
    this.fadeFrames = Math.round(rate * FADE_S);
    this.declickFrames = Math.max(1, Math.round(this.outputRate * DECLICK_S));
    this.lastLeft = 0;
    this.lastRight = 0;
    this.joint = null;             // difference of the sounds before and after a hole, while it is faded out
    this.generation = 0;           // counts splices
    // Streams, the oldest first; each replaces the ones before it from its frame `from` on.
    // `chunks`: number -> Float32Array, interleaved stereo.
    this.layers = [{ generation: 0, from: -Infinity, chunks: new Map() }];
    this.base = null;              // number of the first chunk, so that positions stay small and exact
    this.last = -1;                // highest number of a chunk
    this.position = 0;
    this.playing = false;
    this.gain = 0;
    this.correction = 0;
    this.target = null;            // frames of buffer to hold
    this.smoothed = 0;
    this.settling = 0;
    this.underruns = 0;
    this.unreported = 0;
  }

  /* Chunk `id` of the stream that the splice number `generation` began. */
  add(id, pcm, generation = this.generation) {
    if (this.base === null) {
      this.base = id;
      this.position = 0;
    }
    if ((id - this.base + 1) * this.chunkFrames <= this.position) return;   // too late to be heard
    // Decoding takes a while, so a chunk may come after its stream has been replaced.
    const layer = this.layers.find((each) => each.generation === generation);
    if (layer === undefined) return;
    const { chunks } = layer;
    chunks.set(id, pcm);
    if (generation === this.generation && id > this.last) this.last = id;
    while (chunks.size > MAX_CHUNKS) chunks.delete(chunks.keys().next().value);
  }

  /* From chunk `id` on another stream follows. Chunks of the old one stay, to fade out of it. */
  splice(id, generation = this.generation + 1) {
    this.generation = generation;
    if (this.base === null) {
      this.layers = [{ generation, from: -Infinity, chunks: new Map() }];
      return;
    }
    const from = Math.max((id - this.base) * this.chunkFrames, Math.ceil(this.position));
    if (this.layers.length === MAX_LAYERS) this.layers.splice(1, 1);
    this.layers.push({ generation, from, chunks: new Map() });
    this.last = Math.max(id - 1, this.base + Math.floor(this.position / this.chunkFrames));
  }

  /* Frames that are not yet played. */
  buffered() {
    return this.base === null ? 0 : Math.max(0, (this.last + 1 - this.base) * this.chunkFrames - this.position);
  }

  sample(chunks, frame, channel) {
    const chunk = chunks.get(this.base + Math.floor(frame / this.chunkFrames));
    return chunk === undefined ? null : chunk[(frame % this.chunkFrames) * 2 + channel];
  }

  /* Cubic interpolation; null where the chunk of the frame itself is missing. */
  read(chunks, at, channel) {
    const frame = Math.floor(at);
    const b = this.sample(chunks, frame, channel);
    if (b === null) return null;
    const t = at - frame;
    if (t === 0) return b;
    const a = frame > 0 ? this.sample(chunks, frame - 1, channel) ?? b : b;
    const c = this.sample(chunks, frame + 1, channel) ?? b;
    const d = this.sample(chunks, frame + 2, channel) ?? c;
    return b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)));
  }

  /* Fill two Float32Arrays. */
  pull(left, right) {
    const rate = (this.rate / this.outputRate) * (1 + this.correction);
    if (!this.playing && this.base !== null && this.buffered() >= this.needed()) this.playing = true;
    for (let index = 0; index < left.length; index++) {
      let l = null, r = null;
      if (this.playing) {
        [l, r] = this.next();
        if (l === null) {
          this.runDry();
          if (this.playing) [l, r] = this.crossHole();
        }
      }
      if (l === null) {
        left[index] = this.lastLeft * this.gain;
        right[index] = this.lastRight * this.gain;
        this.gain = Math.max(0, this.gain - 1 / this.declickFrames);
        continue;
      }
      this.gain = Math.min(1, this.gain + 1 / this.declickFrames);
      if (this.joint) [l, r] = this.smooth(l, r);
      this.lastLeft = l;
      this.lastRight = r;
      left[index] = this.lastLeft * this.gain;
      right[index] = this.lastRight * this.gain;
      this.position += rate;
    }
    this.afterPull(left.length);
  }

  /* Frames with which playing starts. */
  needed() {
    return (this.underruns ? RESUME_CHUNKS : START_CHUNKS) * this.chunkFrames;
  }

  /* The frame at the position as [left, right]; nulls where there is nothing to play. */
  next() {
    const at = this.position;
    const { layers } = this;
    let l = this.read(layers[0].chunks, at, 0);
    let r = l === null ? null : this.read(layers[0].chunks, at, 1);
    for (let index = 1; index < layers.length && at >= layers[index].from; index++) {
      const layer = layers[index];
      const newL = this.read(layer.chunks, at, 0);
      if (newL === null) {
        // It has not arrived: the old stream goes on, and the fade begins later.
        if (l !== null) layer.from = at;
        break;
      }
      const newR = this.read(layer.chunks, at, 1);
      const t = (at - layer.from) / this.fadeFrames;   // 0 to 1 within the fade
      if (t >= 1 || l === null) {
        layers.splice(0, index);
        index = 0;
        [l, r] = [newL, newR];
        continue;
      }
      const out = Math.cos(t * Math.PI / 2), into = Math.sin(t * Math.PI / 2);
      [l, r] = [l * out + newL * into, r * out + newR * into];
    }
    return [l, r];
  }

  /* The frame after a hole as [left, right]; the difference to the frame before it will be faded out. */
  crossHole() {
    const [l, r] = this.next();
    if (l !== null) this.joint = { left: this.lastLeft - l, right: this.lastRight - r, done: 0 };
    return [l, r];
  }

  /* Add what is left of the difference at the last hole. */
  smooth(l, r) {
    const { joint } = this;
    const share = 0.5 + 0.5 * Math.cos((Math.PI * joint.done) / this.declickFrames);
    joint.done += 1;
    if (joint.done >= this.declickFrames) this.joint = null;
    return [l + joint.left * share, r + joint.right * share];
  }

  runDry() {
    // A hole with chunks after it is skipped; without chunks after it, this is an underrun.
    const here = this.base + Math.floor(this.position / this.chunkFrames);
    let nearest = Infinity;
    for (const { chunks } of this.layers) for (const id of chunks.keys()) if (id > here && id < nearest) nearest = id;
    if (nearest < Infinity) {
      this.position = (nearest - this.base) * this.chunkFrames;
      return;
    }
    this.playing = false;
    this.underruns += 1;
    this.target = null;
    this.settling = 0;
  }

  /* Forget chunks that were played, correct the rate, and report. */
  afterPull(frames) {
    if (this.base === null) return;
    const first = this.base + Math.floor(this.position / this.chunkFrames) - KEEP_CHUNKS;
    for (const { chunks } of this.layers) {
      for (const id of chunks.keys()) {
        if (id >= first) break;
        chunks.delete(id);
      }
    }
    if (this.playing) this.steer(frames);
    this.unreported += frames;
    if (this.unreported >= this.outputRate / REPORTS_PER_S) {
      this.unreported = 0;
      this.report({
        chunkId: this.base + Math.floor(this.position / this.chunkFrames),
        bufferMs: (this.buffered() / this.rate) * 1000,
        underruns: this.underruns,
        correction: this.correction,
        playing: this.playing,
      });
    }
  }

  /* Hold the buffer at the level where it settled: slow changes after that are the difference of two clocks. */
  steer(frames) {
    const seconds = frames / this.outputRate;
    const buffered = this.buffered();
    const share = Math.min(1, seconds / SMOOTHING_S);
    this.smoothed = this.settling === 0 ? buffered : this.smoothed + (buffered - this.smoothed) * share;
    this.settling += seconds;
    if (this.settling < SETTLE_S) return;
    const retarget = RETARGET_CHUNKS * this.chunkFrames;
    if (this.target === null || Math.abs(this.smoothed - this.target) > retarget) this.target = this.smoothed;
    const error = (this.smoothed - this.target) / this.rate;
    this.correction = Math.max(-MAX_CORRECTION, Math.min(MAX_CORRECTION, error * CORRECTION_PER_S));
  }
}
