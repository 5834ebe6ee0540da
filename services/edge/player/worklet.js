/* The playout buffer on the audio thread. */

import { PlayoutBuffer } from "./playout_buffer.js";

class Playout extends AudioWorkletProcessor {
  constructor() {
    super();
    this.buffer = new PlayoutBuffer(sampleRate, (report) => this.port.postMessage(report));
    this.port.onmessage = ({ data }) => this.receive(data);
  }

  receive(message) {
    switch (message.type) {
      case "chunk": this.buffer.add(message.id, message.samples, message.generation); break;
      case "splice": this.buffer.splice(message.id, message.generation); break;
      case "reset": this.buffer.reset(message.rate); break;
    }
  }

  process(_inputs, outputs) {
    this.buffer.pull(...outputs[0]);
    return true;
  }
}

registerProcessor("auralis-playout", Playout);
