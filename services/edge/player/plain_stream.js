/* The HTTP stream in an <audio> element, for browsers that cannot mix: it reconnects by itself. */

import { fetchStatus, isFull } from "./api.js";

const RETRY_MS = 2000;
const TRIES = 6;                   // with the pauses about ten seconds
const CHANGE_MS = 400;             // wait for the end of a drag, because each change starts the stream anew

export class PlainStream {
  /* `address()` gives the stream's URL. `on` has playing(), waiting(), seconds(position), full(status) and
     failed(why), after which it does not try again. */
  constructor(address, on) {
    this.address = address;
    this.on = on;
    this.attempt = 0;              // counts starts and stops: a check that ends after the next one is void
    this.failures = 0;
    this.audio = new Audio();
    this.audio.preload = "none";
    this.audio.addEventListener("playing", () => {
      this.failures = 0;
      if (this.wanted) on.playing();
    });
    this.audio.addEventListener("waiting", () => this.wanted && on.waiting());
    this.audio.addEventListener("timeupdate", () => on.seconds(this.audio.currentTime));
    // A server that restarts ends the stream; a full one answers with an error.
    for (const event of ["ended", "error"]) this.audio.addEventListener(event, () => this.retryLater());
  }

  get wanted() {
    return this.audio.hasAttribute("src");
  }

  start() {
    this.attempt += 1;
    clearTimeout(this.retry);
    this.audio.src = this.address();
    // All other failures arrive as an "error" event.
    this.audio.play().catch((error) => {
      if (error.name === "NotAllowedError") this.on.failed(`This browser does not play it (${error.message}).`);
    });
  }

  stop() {
    this.attempt += 1;
    this.failures = 0;
    clearTimeout(this.change);
    clearTimeout(this.retry);
    this.audio.pause();
    this.audio.removeAttribute("src");
    this.audio.load();
  }

  /* The address has changed. */
  update() {
    clearTimeout(this.change);
    this.change = setTimeout(() => this.start(), CHANGE_MS);
  }

  setVolume(gain) {
    this.audio.volume = gain;
  }

  async retryLater() {
    if (!this.wanted) return;
    const { attempt } = this;
    const status = await fetchStatus();
    if (attempt !== this.attempt) return;
    this.failures += 1;
    if (isFull(status)) this.on.full(status);
    else if (this.failures < TRIES) this.on.waiting();
    else {
      this.on.failed("The stream cannot be had; try again later.");
      return;
    }
    clearTimeout(this.retry);
    this.retry = setTimeout(() => this.start(), RETRY_MS * (0.75 + Math.random() / 2));
  }
}
