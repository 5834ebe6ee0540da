/* The page's controls: buttons, sliders, selects and the space bar. */

import { describe, isTouched, shareLink, streamQuery, untouched } from "./stream.js";

const RECORD_S = 20;
const COPIED_MS = 2500;            // how long "Copied" is shown
const TEXTURE = "air";             // the layer whose level is the texture's
const OWN_TEXTURE = "as the character has it";

const $ = (id) => document.getElementById(id);

export class Controls {
  /* `on` has press(), change(params), piece(name), another(), volume() and sleep(minutes). */
  constructor(on) {
    const change = (id, event, read) => $(id).addEventListener(event, ({ target }) => on.change({ [id]: read(target.value) }));
    $("play").addEventListener("click", () => on.press());
    change("key", "change", String);
    change("mode", "change", String);
    change("bpm", "input", Number);
    change("intensity", "input", Number);
    change("brightness", "input", Number);
    change("density", "input", Number);
    change("texture", "change", String);
    // All levels each time: several quick changes are sent as one, of which the last counts.
    for (const id of ["levels", "texture-level"]) $(id).addEventListener("input", () => on.change({ levels: readLevels() }));
    $("untouched").addEventListener("click", () => on.change(untouched()));
    $("piece").addEventListener("change", ({ target }) => on.piece(target.value.trim()));
    $("another").addEventListener("click", () => on.another());
    $("presets").addEventListener("change", ({ target }) => on.change({ preset: target.value }));
    $("volume").addEventListener("input", () => on.volume());
    $("sleep").addEventListener("change", ({ target }) => on.sleep(Number(target.value)));
    $("controls").addEventListener("submit", (event) => event.preventDefault());
    $("share").addEventListener("click", () => this.share());
    addEventListener("keydown", (event) => {
      if (event.code !== "Space" || event.target.closest("button, input, select, summary")) return;
      event.preventDefault();
      $("play").click();
    });
  }

  /* Offer the values that the server knows; what the page's address names is seen. */
  offer({ keys, modes, bpm, presets, sentences, textures, levels, defaults }, params) {
    const fill = (id, values) => $(id).append(...values.map((value) => new Option(value, value)));
    fill("key", keys);
    fill("mode", modes);
    $("texture").append(...textures.map((kind) => new Option(kind === defaults.texture ? OWN_TEXTURE : kind, kind)));
    [$("bpm").min, $("bpm").max] = bpm;
    for (const preset of presets) {
      const label = Object.assign(document.createElement("label"), { title: sentences[preset] });
      const input = Object.assign(document.createElement("input"), { type: "radio", name: "preset", value: preset });
      label.append(input, preset);
      $("presets").append(label);
    }
    this.sentences = sentences;
    for (const [layer, range] of Object.entries(levels)) {
      if (layer === TEXTURE) $("texture-level").append(levelSlider(layer, "Texture level", range));
      else $("levels").append(levelSlider(layer, `${layer[0].toUpperCase()}${layer.slice(1)}`, range));
    }
    $("more").open = isTouched(params);
    $("volume").value = remembered("volume") ?? "0.8";
  }

  paint(params) {
    $("key").value = params.key;
    $("mode").value = params.mode;
    $("bpm").value = params.bpm;
    describeSlider("bpm", `${params.bpm} bpm`);
    $("intensity").value = params.intensity;
    describeSlider("intensity", `${Math.round(params.intensity * 100)} %`);
    paintHalves("brightness", params.brightness, "darker", "brighter");
    paintHalves("density", params.density, "fewer notes", "more notes");
    $("texture").value = params.texture;
    for (const [layer, level] of Object.entries(params.levels)) {
      $(`level-${layer}`).value = level;
      describeSlider(`level-${layer}`, level ? `${Math.round(level * 100)} %` : "silent");
    }
    const chosen = document.querySelector(`#presets input[value="${params.preset}"]`);
    if (chosen) chosen.checked = true;
    $("sentence").textContent = this.sentences[params.preset] ?? "";
    $("record").href = `record?${streamQuery(params, { seconds: RECORD_S })}`;
  }

  setPiece(title) {
    $("piece").value = title;
  }

  /* The volume as a gain; squared, because then the middle of the slider sounds half as loud. */
  readGain() {
    const value = Number($("volume").value);
    describeSlider("volume", `${Math.round(value * 100)} %`);
    remember("volume", String(value));
    return value * value;
  }

  /* For headsets and lock screens. */
  offerMediaKeys(on) {
    if (!("mediaSession" in navigator)) return;
    navigator.mediaSession.setActionHandler("play", () => on.play());
    navigator.mediaSession.setActionHandler("pause", () => on.pause());
  }

  nameForMediaKeys(title, params) {
    if (!("mediaSession" in navigator)) return;
    navigator.mediaSession.metadata = new MediaMetadata({ title, album: describe(params), artist: "Auralis" });
  }

  async share() {
    const link = shareLink();
    try {
      await navigator.clipboard.writeText(link);
      $("share").textContent = "Copied";
    } catch {
      $("share").textContent = link;
    }
    setTimeout(() => ($("share").textContent = "Copy link to this stream"), COPIED_MS);
  }
}

/* The slider of a layer's level, with its title and value. */
function levelSlider(layer, title, [min, max, step]) {
  const id = `level-${layer}`;
  const label = Object.assign(document.createElement("label"), { className: "slider", htmlFor: id });
  const name = Object.assign(document.createElement("span"), { textContent: `${title} ` });
  const output = Object.assign(document.createElement("output"), { id: `${id}-value` });
  output.setAttribute("aria-live", "off");
  name.append(output);
  const slider = Object.assign(document.createElement("input"), { id, type: "range", min, max, step });
  slider.dataset.layer = layer;
  label.append(name, slider);
  return label;
}

function readLevels() {
  return Object.fromEntries([...$("more").querySelectorAll("input[data-layer]")].map((slider) => [slider.dataset.layer, Number(slider.value)]));
}

/* A slider whose middle is how the character has it. */
function paintHalves(id, value, below, above) {
  $(id).value = value;
  const words = value < 0.5 ? `, ${below}` : value > 0.5 ? `, ${above}` : "";
  describeSlider(id, `${Math.round(value * 100)} %`, words);
}

/* A slider's value in words, for eyes and for screen readers. */
function describeSlider(id, text, spoken = "") {
  $(`${id}-value`).textContent = text;
  $(id).setAttribute("aria-valuetext", text + spoken);
}

/* Browsers that are set to store nothing throw instead; then the value is forgotten. */
function remember(name, value) {
  try {
    localStorage.setItem(name, value);
  } catch {
    // See above.
  }
}

function remembered(name) {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}
