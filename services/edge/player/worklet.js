/* The playout buffer on the audio thread; what it does is in ring.js. */

import { Ring } from "./ring.js";

class Playout extends AudioWorkletProcessor {
  constructor() {
    super();
    this.ring = new Ring(sampleRate, (state) => this.port.postMessage(state));
    this.port.onmessage = ({ data }) => this.receive(data);
  }

  receive(message) {
    switch (message.type) {
      case "chunk": this.ring.add(message.id, message.samples, message.generation); break;
      case "splice": this.ring.splice(message.id, message.generation); break;
      case "reset": this.ring.reset(message.rate); break;
    }
  }

  process(_inputs, outputs) {
    this.ring.pull(...outputs[0]);
    return true;
  }
}

registerProcessor("auralis-playout", Playout);
