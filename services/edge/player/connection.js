/* The WebSocket: binary chunks and events in, control out. It reconnects by itself and resumes where it was. */

import { fetchStatus, isFull } from "./api.js";
import { OpusVoice } from "./opus.js";
import { requested, token } from "./stream.js";

const HEADER_BYTES = 20;
const OPUS = 2;                    // format in the header of a binary message; 1 is PCM
/* By the number in a header. */
const TIERS = ["minimal", "normal", "stable", "defensive"];
const BACKOFF_MS = [250, 500, 1000, 2000, 5000, 10000];   // pause after the first, second, … failure
const FULL_RETRY_MS = 5000;        // a place becomes free only when a listener leaves
const SILENT_MS = 3000;            // chunks arrive ten times a second: a connection without any for this long is dead
const UPDATE_MS = 50;              // dragging a slider sends at most 20 changes a second
const CHUNK_MS = 100;
const BURST_MS = 30;               // chunks closer than this are a burst, which is early by design
const JITTER_WEIGHT = 0.1;         // of the newest arrival in the moving average

export class Connection {
  /* `on` has chunk({tier, depth}) as a chunk arrives, samples(id, samples, generation) when it can be played
     (Float32Array, interleaved), hello(message), status(message), splice(message, generation), error(message, final),
     full(status), refused(why) and state(name). `protocols`: the subprotocols to offer, the best first. */
  constructor(on, protocols) {
    this.on = on;
    this.protocols = protocols;
    this.voice = null;
    this.generation = 0;
    this.moved = 0;                // by how much larger ids of chunks would be without the jumps of the server's clock
    this.params = null;
    this.pending = {};
    this.timer = null;
    this.attempt = 0;              // counts attempts to connect: what an earlier one still awaits is void
    this.heardAt = null;           // when the last chunk arrived on this connection
    this.lastArrival = { id: 0, at: 0 };
    this.jitterMs = 0;
    setInterval(() => this.watch(), SILENT_MS / 4);
    addEventListener("online", () => this.wanted && !this.asked && this.open());
  }

  /* A phone that changes its network does not learn that its connections are lost: they only fall silent. */
  watch() {
    if (this.heardAt === null || performance.now() - this.heardAt < SILENT_MS) return;
    const { socket } = this;
    socket.close();
    this.closed(socket, 1006, "");
  }

  start(params) {
    this.params = { ...params };
    this.token = null;
    this.nextId = null;
    this.failures = 0;
    this.wanted = true;
    this.refused = false;          // the server accepts no listener, or not this stream, for the time being
    this.generation = this.moved = 0;
    this.voice?.close();
    this.voice = new OpusVoice({
      chunk: (id, samples, generation) => this.decoded(id, samples, generation),
      error: (message) => this.reconnectForDecoder(message),
    });
    this.open();
  }

  stop() {
    this.wanted = this.asked = this.refused = false;
    this.heardAt = null;
    this.attempt += 1;
    clearTimeout(this.retry);
    if (this.socket?.readyState === WebSocket.OPEN) this.send({ type: "control", action: "stop" });
    this.socket?.close();
    this.socket = null;
    this.voice?.close();
  }

  /* Change some of the stream's fields; several quick changes are sent as one. */
  update(changes) {
    Object.assign(this.params ?? {}, changes);
    Object.assign(this.pending, changes);
    this.timer ??= setTimeout(() => {
      this.timer = null;
      const params = this.pending;
      this.pending = {};
      if (this.asked) this.send({ type: "control", action: "update", params });
      else if (this.refused) this.open();   // another stream may be accepted
    }, UPDATE_MS);
  }

  report(report) {
    if (!this.greeted) return;
    this.send({ type: "report", ...report, chunk_id: report.chunk_id - this.moved, jitter_ms: Math.round(this.jitterMs * 10) / 10 });
  }

  send(message) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  /* A page does not learn why a WebSocket is refused, so the server's status is fetched before. */
  async open() {
    clearTimeout(this.retry);
    this.attempt += 1;
    const { attempt } = this;
    // While it waits for a place, the page goes on saying so.
    if (!this.refused) this.showState();
    const status = await fetchStatus();
    if (attempt !== this.attempt) return;
    if (isFull(status)) {
      this.on.full(status);
      this.wait();
      return;
    }
    this.connect();
  }

  wait() {
    this.refused = true;
    this.retry = setTimeout(() => this.open(), FULL_RETRY_MS * (0.75 + Math.random() / 2));
  }

  showState() {
    this.on.state(this.nextId === null ? "connecting" : "reconnecting");
  }

  connect() {
    const address = new URL("ws", location.href);
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
    address.search = "";
    address.hash = "";
    if (token()) address.searchParams.set("token", token());
    this.socket?.close();
    const socket = new WebSocket(address, this.protocols);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    this.asked = this.greeted = false;
    this.heardAt = null;
    socket.onopen = () => {
      if (socket !== this.socket) return;
      const params = requested(this.params);
      if (this.token) {
        params.resume = this.token;
        if (this.nextId !== null) params.chunk_id = this.nextId;
      }
      this.send({ type: "control", action: "start", params });
      this.asked = true;
    };
    socket.onmessage = ({ data }) => {
      if (socket !== this.socket) return;      // sent before the socket was closed
      if (typeof data === "string") this.event(JSON.parse(data));
      else this.chunk(data);
    };
    socket.onclose = ({ code, reason }) => this.closed(socket, code, reason);
  }

  chunk(data) {
    const header = new DataView(data);
    const sentId = Number(header.getBigUint64(4, true));
    const id = sentId + this.moved;
    const { generation } = this;
    this.nextId = sentId + 1;
    this.heardAt = performance.now();
    this.refused = false;
    this.measureJitter(id);
    this.on.chunk({ tier: TIERS[header.getUint8(2)], depth: header.getUint8(3) });
    if (header.getUint8(1) === OPUS) {
      this.voice.decode(id, new Uint8Array(data, HEADER_BYTES), generation);
      return;
    }
    const pcm = new Int16Array(data.slice(HEADER_BYTES));
    this.decoded(id, Float32Array.from(pcm, (value) => value / 32768), generation);
  }

  /* Only chunks that arrive singly, one after the other, tell of jitter. */
  measureJitter(id) {
    const { lastArrival, heardAt } = this;
    const elapsed = heardAt - lastArrival.at;
    if (lastArrival.id === id - 1 && elapsed > BURST_MS) {
      this.jitterMs += (Math.abs(elapsed - CHUNK_MS) - this.jitterMs) * JITTER_WEIGHT;
    }
    this.lastArrival = { id, at: heardAt };
  }

  decoded(id, samples, generation) {
    this.failures = 0;
    this.on.samples(id, samples, generation);
  }

  /* A new decoder needs pre-roll, which only the first chunk of a connection has: resume at the first missing chunk. */
  reconnectForDecoder(message) {
    console.warn(message);
    if (this.voice.last) this.nextId = this.voice.last.id + 1 - this.moved;
    this.socket?.close();
  }

  event(message) {
    switch (message.type) {
      case "hello":
        this.token = message.resume;
        this.greeted = true;
        // Another server, or one whose clock was set back, begins at a place that has been played under this number.
        if (message.recovered === false && message.chunk_id < this.nextId) this.move(this.nextId, message.chunk_id);
        this.on.hello(message);
        break;
      case "splice":
        this.nextId = message.chunk_id;
        this.generation += 1;
        this.on.splice({ ...message, chunk_id: message.chunk_id + this.moved }, this.generation);
        break;
      case "status":
        if (message.resume) this.token = message.resume;
        if (message.state === "skipped" && message.reason === "clock") {
          this.move(message.from_chunk_id, message.to_chunk_id);
        }
        this.on.status(message);
        break;
      case "error":
        this.on.error(message.message, false);
        break;
    }
  }

  /* The chunk that would have been `from` comes as `to`. */
  move(from, to) {
    this.moved += from - to;
    this.nextId = to;
  }

  closed(socket, code, reason) {
    if (socket !== this.socket || !this.wanted) return;
    this.socket = null;
    this.heardAt = null;
    this.asked = this.greeted = false;
    if (code === 4400 || code === 4401 || code === 1008) {
      this.wanted = false;
      this.on.error(reason || `the server closed the connection (${code})`, true);
      return;
    }
    if (code === 1013 && this.nextId === null) {
      this.on.refused(reason);
      this.wait();
      return;
    }
    const delay = code === 1012 ? 100 : BACKOFF_MS[Math.min(this.failures, BACKOFF_MS.length - 1)];
    this.failures += 1;
    this.refused = false;
    this.showState();
    // Spread over half of the delay, so that a thousand players do not connect together.
    this.retry = setTimeout(() => this.open(), delay * (0.75 + Math.random() / 2));
  }
}
