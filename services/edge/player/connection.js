/* The WebSocket: binary chunks and events in, control out; comes back by itself, where it left off. */

import { OpusVoice } from "./opus.js";

const HEADER_BYTES = 20;
const OPUS = 2;                    // formats in the frame's header; 1 is PCM
const TIERS = ["minimal", "normal", "stable", "defensive"];
const BACKOFF_MS = [250, 500, 1000, 2000, 5000, 10000];
const FULL_RETRY_MS = 5000;
const SILENT_MS = 3000;            // chunks come ten times a second: a line that brings none for so long is dead
const UPDATE_MS = 50;              // dragging sends at most 20 changes a second

export class Connection {
  /* `on` has chunk({id, generation, tier, depth}) as a chunk arrives, sound(id, samples, generation) when it can be
     played (Float32Array, interleaved), hello, status, splice(message, generation), error(message, final), full(status),
     refused(why) and state(name). `protocols`: the subprotocols to offer, the best first. */
  constructor(on, protocols) {
    this.on = on;
    this.protocols = protocols;
    this.voice = null;
    this.generation = 0;
    this.params = null;
    this.pending = {};
    this.timer = null;
    this.attempt = 0;              // of connecting; an older one that wakes up late gives up
    this.heardAt = null;           // when the last chunk came; null: none has come on this connection
    setInterval(() => this.watch(), SILENT_MS / 4);
    addEventListener("online", () => this.wanted && !this.asked && this.open());
  }

  /* A phone that changes its network is not told that its connections are gone: they only fall silent. */
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
    this.turnedAway = false;       // refused, for the time being
    this.generation = 0;
    this.voice?.close();
    this.voice = new OpusVoice({
      chunk: (id, samples, generation) => this.sound(id, samples, generation),
      error: (message) => this.decodeAgain(message),
    });
    this.open();
  }

  stop() {
    this.wanted = this.asked = this.turnedAway = false;
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
      else if (this.turnedAway) this.open();   // what was refused is not what is wanted now
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
    clearTimeout(this.retry);
    this.attempt += 1;
    const { attempt } = this;
    // Who waits for a place is told once, and not again with each try.
    if (!this.turnedAway) this.tellState();
    const status = await askStatus();
    if (attempt !== this.attempt) return;
    if (isFull(status)) {
      this.on.full(status);
      this.wait();
      return;
    }
    this.connect();
  }

  wait() {
    this.turnedAway = true;
    this.retry = setTimeout(() => this.open(), FULL_RETRY_MS * (0.75 + Math.random() / 2));
  }

  tellState() {
    this.on.state(this.nextId === null ? "connecting" : "reconnecting");
  }

  connect() {
    const address = new URL("ws", location.href);
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
    address.search = "";
    address.hash = "";
    const token = new URLSearchParams(location.search).get("token");
    if (token) address.searchParams.set("token", token);
    this.socket?.close();
    const socket = new WebSocket(address, this.protocols);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    this.asked = this.greeted = false;
    this.heardAt = null;
    socket.onopen = () => {
      if (socket !== this.socket) return;
      const params = { ...this.params };
      if (this.token) {
        params.resume = this.token;
        if (this.nextId !== null) params.chunk_id = this.nextId;
      }
      this.send({ type: "control", action: "start", params });
      this.asked = true;
    };
    socket.onmessage = ({ data }) => {
      if (socket !== this.socket) return;      // what was on its way when it was closed
      if (typeof data === "string") this.event(JSON.parse(data));
      else this.chunk(data);
    };
    socket.onclose = ({ code, reason }) => this.closed(socket, code, reason);
  }

  chunk(data) {
    const header = new DataView(data);
    const id = Number(header.getBigUint64(4, true));
    const { generation } = this;
    this.nextId = id + 1;
    this.heardAt = performance.now();
    this.turnedAway = false;
    this.on.chunk({ id, generation, tier: TIERS[header.getUint8(2)], depth: header.getUint8(3) });
    if (header.getUint8(1) === OPUS) {
      this.voice.decode(id, new Uint8Array(data, HEADER_BYTES), generation);
      return;
    }
    const pcm = new Int16Array(data.slice(HEADER_BYTES));
    this.sound(id, Float32Array.from(pcm, (value) => value / 32768), generation);
  }

  sound(id, samples, generation) {
    this.failures = 0;
    this.on.sound(id, samples, generation);
  }

  /* A decoder that has failed needs a beginning, and only a new connection brings one: from the first chunk it lacks. */
  decodeAgain(message) {
    console.warn(message);
    if (this.voice.last) this.nextId = this.voice.last.id + 1;
    this.socket?.close();
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
    this.turnedAway = false;
    this.tellState();
    // Spread over half of the delay, so that a thousand players do not knock together.
    this.retry = setTimeout(() => this.open(), delay * (0.75 + Math.random() / 2));
  }
}

/* What the server says of itself; null where it does not answer: then connecting is the better question. */
export async function askStatus() {
  try {
    return await (await fetch("api/status", { signal: AbortSignal.timeout(2000) })).json();
  } catch {
    return null;
  }
}

/* Whether a server that says `status` of itself takes nobody now. */
export const isFull = (status) => status !== null && (status.draining || status.listeners >= status.max_listeners);
