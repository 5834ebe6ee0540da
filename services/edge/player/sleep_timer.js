/* The sleep timer: counts down, has the music fade out, and ends it. */

const FADE_OUT_S = 20;

const $ = (id) => document.getElementById(id);

export class SleepTimer {
  /* `on` has begin(fadeOutS) when the fade begins, fade(share) each second of it, from 1 to 0, and end(). */
  constructor(on) {
    this.on = on;
    this.endsAt = null;
    this.timer = null;
  }

  get fading() {
    return document.body.classList.contains("drowsy");
  }

  /* End the music after `minutes`; 0: let it play on. */
  set(minutes) {
    clearInterval(this.timer);
    this.endsAt = this.timer = null;
    $("sleep").value = String(minutes);
    $("sleep-left").textContent = "";
    document.body.classList.remove("drowsy");
    if (!minutes) return;
    this.endsAt = Date.now() + minutes * 60000;
    this.timer = setInterval(() => this.tick(), 1000);
    this.tick();
  }

  tick() {
    const leftS = (this.endsAt - Date.now()) / 1000;
    if (leftS <= 0) {
      this.on.end();
      return;
    }
    $("sleep-left").textContent = leftS > 60 ? `${Math.ceil(leftS / 60)} min` : `${Math.ceil(leftS)} s`;
    if (leftS > FADE_OUT_S) return;
    this.on.fade(leftS / FADE_OUT_S);
    if (this.fading) return;
    document.body.classList.add("drowsy");
    this.on.begin(FADE_OUT_S);
  }
}
