/* Decodes Opus packets with the browser's own decoder (WebCodecs). */

const RATE_HZ = 48000;
const PACKET_FRAMES = 960;         // 20 ms
const JOINT_FRAMES = 240;          // 5 ms in which the difference of two decoders at their joint is faded out
const CONFIG = { codec: "opus", sampleRate: RATE_HZ, numberOfChannels: 2 };

export async function canDecodeOpus() {
  try {
    return "AudioDecoder" in globalThis && (await AudioDecoder.isConfigSupported(CONFIG)).supported === true;
  } catch {
    return false;
  }
}

/* A binary message's audio as {preroll: number of packets, packets}; see services/contract/websocket.py. */
export function unpack(payload) {
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  const before = view.getUint8(0), count = view.getUint8(1);
  const packets = [];
  let start = 2 + 2 * count;
  for (let index = 0; index < count; index++) {
    const length = view.getUint16(2 + 2 * index, true);
    packets.push(payload.subarray(start, start + length));
    start += length;
  }
  return { preroll: before, packets };
}

export class OpusVoice {
  /* `on.chunk(id, samples, generation)` gets interleaved Float32Arrays of 100 ms; `on.error(message)`. */
  constructor(on) {
    this.on = on;
    this.decoder = null;
    this.timeUs = 0;
    this.last = null;              // {id, generation, left, right}: the end of what was decoded last
  }

  decode(id, payload, generation) {
    const { preroll, packets } = unpack(payload);
    if (preroll) this.begin();
    else if (!this.decoder) return;  // without pre-roll it needs the decoder of the chunk before
    const { codec, expect } = this.decoder;
    expect({ id, generation, preroll, packets: packets.length });
    for (const data of packets) {
      if (codec.state !== "configured") return;  // it has failed, and its error handler reports that
      codec.decode(new EncodedAudioChunk({ type: "key", timestamp: this.timeUs, data }));
      this.timeUs += 20000;
    }
  }

  /* A new decoder, whose output of the pre-roll is dropped. The old one finishes what it has. */
  begin() {
    const old = this.decoder;
    old?.codec.flush().then(() => old.codec.close(), () => {});
    const expected = [];
    let decoded = [];              // one Float32Array for each packet
    const done = () => {
      const { id, generation, preroll, packets } = expected[0];
      if (decoded.length < packets) return;
      expected.shift();
      const before = decoded.slice(0, preroll), heard = decoded.slice(preroll, packets);
      decoded = decoded.slice(packets);
      this.finish(id, generation, before.at(-1), heard);
    };
    const codec = new AudioDecoder({
      output: (data) => {
        decoded.push(interleaved(data));
        data.close();
        if (expected.length) done();
      },
      error: (error) => {
        // A decoder that has been replaced may fail.
        if (this.decoder?.codec !== codec) return;
        this.decoder = null;
        this.on.error(`the Opus decoder failed (${error.message})`);
      },
    });
    codec.configure(CONFIG);
    this.decoder = { codec, expect: (chunk) => expected.push(chunk) };
  }

  finish(id, generation, before, heard) {
    const samples = new Float32Array(heard.length * PACKET_FRAMES * 2);
    heard.forEach((packet, index) => samples.set(packet, index * PACKET_FRAMES * 2));
    const { last } = this;
    if (before && last && last.id === id - 1 && last.generation === generation) {
      // Two decoders of the same music differ only by the codec's noise.
      const differences = [last.left - before.at(-2), last.right - before.at(-1)];
      for (let frame = 0; frame < JOINT_FRAMES; frame++) {
        const share = 0.5 + 0.5 * Math.cos((Math.PI * frame) / JOINT_FRAMES);
        samples[2 * frame] += differences[0] * share;
        samples[2 * frame + 1] += differences[1] * share;
      }
    }
    this.last = { id, generation, left: samples.at(-2), right: samples.at(-1) };
    this.on.chunk(id, samples, generation);
  }

  close() {
    if (this.decoder && this.decoder.codec.state !== "closed") this.decoder.codec.close();
    this.decoder = null;
    this.last = null;
  }
}

function interleaved(data) {
  const samples = new Float32Array(data.numberOfFrames * 2);
  const plane = new Float32Array(data.numberOfFrames);
  for (let channel = 0; channel < 2; channel++) {
    data.copyTo(plane, { planeIndex: channel, format: "f32-planar" });
    for (let frame = 0; frame < plane.length; frame++) samples[2 * frame + channel] = plane[frame];
  }
  return samples;
}
