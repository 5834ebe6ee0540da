/* The visualiser: slow veils of light that follow the music's spectrum. */

const VEILS = 4;                   // one for each two octaves
const BANDS = 16;                  // of light in a veil
const STEP = 12;                   // pixels between two points of a curve
/* Degrees of the colour wheel. */
const HUES = { drift: 215, aurora: 160, cathedral: 265, harbor: 195, lantern: 32, nocturne: 240, rainfall: 205, tundra: 185 };

export class Sky {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.analyser = null;
    this.hue = HUES.drift;
    this.target = this.hue;
    this.levels = new Float32Array(VEILS);
    this.drawn = 0;
    this.still = matchMedia("(prefers-reduced-motion: reduce)");
    addEventListener("resize", () => this.resize());
    this.resize();
    requestAnimationFrame((time) => this.frame(time));
  }

  follow(analyser) {
    this.analyser = analyser;
    this.bins = new Uint8Array(analyser.frequencyBinCount);
  }

  /* Turn slowly to the colour of a preset. */
  wear(preset) {
    this.target = HUES[preset] ?? HUES.drift;
  }

  resize() {
    const scale = Math.min(devicePixelRatio || 1, 1.5) / 2;   // soft shapes need no fine pixels
    this.canvas.width = Math.max(1, Math.round(innerWidth * scale));
    this.canvas.height = Math.max(1, Math.round(innerHeight * scale));
  }

  listen() {
    if (!this.analyser) return;
    this.analyser.getByteFrequencyData(this.bins);
    // Bands of two octaves from 60 Hz on, smoothed, because ambience should breathe and not flicker.
    const perBin = this.analyser.context.sampleRate / 2 / this.bins.length;
    for (let veil = 0; veil < VEILS; veil++) {
      const low = 60 * 4 ** veil, from = Math.floor(low / perBin), to = Math.max(from + 1, Math.floor((low * 4) / perBin));
      let sum = 0;
      for (let bin = from; bin < to && bin < this.bins.length; bin++) sum += this.bins[bin];
      const level = sum / (to - from) / 255;
      this.levels[veil] += (level - this.levels[veil]) * 0.06;
    }
  }

  frame(time) {
    requestAnimationFrame((next) => this.frame(next));
    // Thirty pictures a second are enough for slow light, and save a phone's battery.
    if (document.hidden || time - this.drawn < 30) return;
    this.drawn = time;
    this.listen();
    this.hue += (this.target - this.hue) * 0.02;
    const { context: c, canvas: { width: w, height: h } } = this;
    const t = this.still.matches ? 0 : time / 1000;
    const ground = c.createLinearGradient(0, 0, 0, h);
    ground.addColorStop(0, `hsl(${this.hue} 45% 6%)`);
    ground.addColorStop(1, `hsl(${this.hue + 25} 50% 11%)`);
    c.globalCompositeOperation = "source-over";
    c.fillStyle = ground;
    c.fillRect(0, 0, w, h);
    c.globalCompositeOperation = "lighter";
    for (let veil = 0; veil < VEILS; veil++) {
      const level = this.levels[veil];
      const middle = h * (0.72 - 0.13 * veil) + Math.sin(t * 0.07 * (veil + 1) + veil * 2) * h * 0.05;
      const reach = h * (0.1 + 0.28 * level);
      // Bands within bands, each with a little light, give soft edges that follow the wave.
      c.fillStyle = `hsl(${this.hue + veil * 18 - 20} 75% 62% / ${(0.1 + 0.35 * level) / BANDS})`;
      for (let band = 1; band <= BANDS; band++) {
        const half = reach * (band / BANDS) ** 1.4;
        c.beginPath();
        for (let x = -STEP; x <= w + STEP; x += STEP) {
          const y = middle + this.wave(x / w, t, veil) * h * 0.06 * (1 + level);
          x === -STEP ? c.moveTo(x, y - half) : c.lineTo(x, y - half);
        }
        for (let x = w + STEP; x >= -STEP; x -= STEP) {
          c.lineTo(x, middle + this.wave(x / w, t + 9, veil + 1) * h * 0.05 + half);
        }
        c.fill();
      }
    }
  }

  /* From -1.5 to 1.5. */
  wave(x, t, veil) {
    return Math.sin(x * 4.2 + t * 0.11 * (veil + 1) + veil * 1.7) + 0.5 * Math.sin(x * 9.1 - t * 0.07 + veil * 3);
  }
}
