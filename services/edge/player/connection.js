/* The WebSocket: binary chunks and events in, control out; comes back by itself, where it left off. */

import { OpusVoice } from "./opus.js";

const HEADER_BYTES = 20;
const OPUS = 2;                    // formats in the frame's header; 1 is PCM
const TIERS = ["minimal", "normal", "stable", "defensive"];
const BACKOFF_MS = [250, 500, 1000, 2000, 5000, 10000];
const FULL_RETRY_MS = 5000;
const UPDATE_MS = 50;              // dragging sends at most 20 changes a second

export class Connection {
  /* `on` has chunk({id, generation, tier, depth}) as a chunk arrives, sound(id, samples, generation) when it can be
     played (Float32Array, interleaved), hello, status, splice(message, generation), error(message, final), full(status)
     and state(name). `protocols`: the subprotocols to offer, the best first. */
  constructor(on, protocols) {
    this.on = on;
    this.protocols = protocols;
    this.voice = null;
    this.generation = 0;
    this.params = null;
    this.pending = {};
    this.timer = null;
  }

  start(params) {
    this.params = { ...params };
    this.token = null;
    this.nextId = null;
    this.failures = 0;
    this.wanted = true;
    this.generation = 0;
    this.voice?.close();
    this.voice = new OpusVoice({
      chunk: (id, samples, generation) => this.on.sound(id, samples, generation),
      error: (message) => this.on.error(message, false),
    });
    this.open();
  }

  stop() {
    this.wanted = false;
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
      if (this.greeted) this.send({ type: "control", action: "update", params });
    }, UPDATE_MS);
  }

  report(report) {
    if (this.greeted) this.send({ type: "report", ...report });
  }

  send(message) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  /* A refused WebSocket tells a page nothing: what the server says of itself is asked for before. */
  async open() {
    this.on.state(this.nextId === null ? "connecting" : "reconnecting");
    const status = await askStatus();
    if (!this.wanted) return;
    if (status && (status.draining || status.listeners >= status.max_listeners)) {
      this.on.full(status);
      this.retry = setTimeout(() => this.open(), FULL_RETRY_MS * (0.75 + Math.random() / 2));
      return;
    }
    this.connect();
  }

  connect() {
    const address = new URL("ws", location.href);
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
    address.search = "";
    address.hash = "";
    const token = new URLSearchParams(location.search).get("token");
    if (token) address.searchParams.set("token", token);
    const socket = new WebSocket(address, this.protocols);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    this.greeted = false;
    socket.onopen = () => {
      const params = { ...this.params };
      if (this.token) {
        params.resume = this.token;
        if (this.nextId !== null) params.chunk_id = this.nextId;
      }
      this.send({ type: "control", action: "start", params });
    };
    socket.onmessage = ({ data }) => (typeof data === "string" ? this.event(JSON.parse(data)) : this.chunk(data));
    socket.onclose = ({ code, reason }) => this.closed(socket, code, reason);
  }

  chunk(data) {
    const header = new DataView(data);
    const id = Number(header.getBigUint64(4, true));
    const { generation } = this;
    this.failures = 0;
    this.nextId = id + 1;
    this.on.chunk({ id, generation, tier: TIERS[header.getUint8(2)], depth: header.getUint8(3) });
    if (header.getUint8(1) === OPUS) {
      this.voice.decode(id, new Uint8Array(data, HEADER_BYTES), generation);
      return;
    }
    const pcm = new Int16Array(data.slice(HEADER_BYTES));
    this.on.sound(id, Float32Array.from(pcm, (value) => value / 32768), generation);
  }

  event(message) {
    switch (message.type) {
      case "hello":
        this.token = message.resume;
        this.greeted = true;
        this.on.hello(message);
        break;
      case "splice":
        this.nextId = message.chunk_id;
        this.generation += 1;
        this.on.splice(message, this.generation);
        break;
      case "status":
        if (message.resume) this.token = message.resume;
        this.on.status(message);
        break;
      case "error":
        this.on.error(message.message, false);
        break;
    }
  }

  closed(socket, code, reason) {
    if (socket !== this.socket || !this.wanted) return;
    this.greeted = false;
    if (code === 4400 || code === 4401 || code === 1008) {
      this.wanted = false;
      this.on.error(reason || `the server closed the connection (${code})`, true);
      return;
    }
    const delay = code === 1012 ? 100 : BACKOFF_MS[Math.min(this.failures, BACKOFF_MS.length - 1)];
    this.failures += 1;
    this.on.state(this.nextId === null ? "connecting" : "reconnecting");
    // Spread over half of the delay, so that a thousand players do not knock together.
    this.retry = setTimeout(() => this.open(), delay * (0.75 + Math.random() / 2));
  }
}

/* What the server says of itself; null where it does not answer: then connecting is the better question. */
async function askStatus() {
  try {
    return await (await fetch("api/status", { signal: AbortSignal.timeout(2000) })).json();
  } catch {
    return null;
  }
}
