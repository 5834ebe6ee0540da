/* The stream that the page plays: its parameters, and how the page's address and links name it. */

const OPTIONAL = ["brightness", "density", "texture"];
const TEXTURE_LEVEL = "level.texture";  // another name of "level.air"

let defaults = {};                 // the server's; `levels` has an entry for each layer

/* The parameters that the page's address names; what it does not name, or names wrongly, has its default. */
export function readAddress(options) {
  defaults = options.defaults;
  const params = { ...defaults, levels: { ...defaults.levels } };
  const query = new URLSearchParams(location.search);
  const pick = (name, allowed) => allowed.includes(query.get(name)) && (params[name] = query.get(name));
  pick("key", options.keys);
  pick("mode", options.modes);
  pick("preset", options.presets);
  pick("texture", options.textures);
  const number = (name, [low, high], whole, take) => {
    const value = Number(query.get(name));
    if (query.get(name) && value >= low && value <= high && (!whole || Number.isInteger(value))) take(value);
  };
  const field = (name, whole) => number(name, options[name], whole, (value) => (params[name] = value));
  field("bpm", true);
  field("intensity", false);
  field("seed", true);
  field("brightness", false);
  field("density", false);
  number(TEXTURE_LEVEL, options.levels.air, false, (value) => (params.levels.air = value));
  for (const [layer, range] of Object.entries(options.levels)) {
    number(`level.${layer}`, range, false, (value) => (params.levels[layer] = value));
  }
  return params;
}

/* The piece that the page's address names, by number or title; null if it names none. */
export const addressedPiece = () => new URLSearchParams(location.search).get("seed");

/* Have the page's address name the stream, without an entry in the browser's history. */
export function writeAddress(params) {
  const query = new URLSearchParams(location.search);
  query.delete(TEXTURE_LEVEL);
  const normal = flat(defaults);
  for (const [name, value] of Object.entries(flat(params))) {
    value === normal[name] ? query.delete(name) : query.set(name, value);
  }
  const text = query.toString();
  history.replaceState(null, "", text ? `?${text}` : location.pathname);
}

/* The listener's token, if the page's address has one. */
export const token = () => new URLSearchParams(location.search).get("token");

/* The stream as the query of `stream.mp3` and `record`, with the listener's token. */
export function streamQuery(params, more = {}) {
  const query = new URLSearchParams({ ...flat(requested(params)), ...more });
  if (token()) query.set("token", token());
  return query;
}

/* The parameters to ask a server for: optional ones, and layers, only where they are not at their default, so that an
   older server understands those who use none. */
export function requested({ levels, ...params }) {
  for (const name of OPTIONAL) if (params[name] === defaults[name]) delete params[name];
  const changed = Object.entries(levels).filter(([layer, level]) => level !== defaults.levels[layer]);
  return changed.length ? { ...params, levels: Object.fromEntries(changed) } : params;
}

/* Brightness, density, texture and levels at their defaults. */
export const untouched = () => ({
  ...Object.fromEntries(OPTIONAL.map((name) => [name, defaults[name]])),
  levels: { ...defaults.levels },
});

/* Whether brightness, density, texture or a level is not at its default. */
export const isTouched = (params) => {
  const request = requested(params);
  return "levels" in request || OPTIONAL.some((name) => name in request);
};

/* The parameters as a query has them: `levels.pad` is the field "level.pad". */
function flat({ levels = {}, ...params }) {
  for (const [layer, level] of Object.entries(levels)) params[`level.${layer}`] = level;
  return params;
}

/* The page's address for other listeners: without this listener's token. */
export function shareLink() {
  const link = new URL(location.href);
  link.searchParams.delete("token");
  return link.href;
}

export const describe = (params) => `${params.key} ${params.mode}, ${params.preset}`;
