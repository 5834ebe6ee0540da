/* The stream that the page plays: its parameters, and how the page's address and links name it. */

const DEFAULTS = { key: "C", mode: "dorian", bpm: 70, intensity: 0.5, preset: "drift", seed: 0 };

/* The parameters that the page's address names; what it does not name, or names wrongly, has its default. */
export function readAddress(options) {
  const params = { ...DEFAULTS };
  const query = new URLSearchParams(location.search);
  const pick = (name, allowed) => allowed.includes(query.get(name)) && (params[name] = query.get(name));
  pick("key", options.keys);
  pick("mode", options.modes);
  pick("preset", options.presets);
  const number = (name, [low, high], whole) => {
    const value = Number(query.get(name));
    if (query.get(name) && value >= low && value <= high && (!whole || Number.isInteger(value))) params[name] = value;
  };
  number("bpm", options.bpm, true);
  number("intensity", options.intensity, false);
  number("seed", options.seed, true);
  return params;
}

/* Have the page's address name the stream, without an entry in the browser's history. */
export function writeAddress(params) {
  const query = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(params)) {
    value === DEFAULTS[name] ? query.delete(name) : query.set(name, value);
  }
  const text = query.toString();
  history.replaceState(null, "", text ? `?${text}` : location.pathname);
}

/* The listener's token, if the page's address has one. */
export const token = () => new URLSearchParams(location.search).get("token");

/* The stream as the query of `stream.mp3` and `record`, with the listener's token. */
export function streamQuery(params, more = {}) {
  const query = new URLSearchParams({ ...params, ...more });
  if (token()) query.set("token", token());
  return query;
}

/* The page's address for other listeners: without this listener's token. */
export function shareLink() {
  const link = new URL(location.href);
  link.searchParams.delete("token");
  return link.href;
}

export const describe = (params) => `${params.key} ${params.mode}, ${params.preset}`;
