// Loads half an hour of history, then shows live events. Names come from the fleet, so they are set as text only.

import { TimeChart, clock } from "/charts.js";

const KEPT_S = 1800; // length of the charts
const RETRY_MS = 3000; // pause before the next attempt to connect
const STALE_MS = 15_000; // silence after which the figures count as stale
const MEMORY_SPACING_S = 5; // time between two points of a memory curve
const CURVES = 8; // memory curves, of the largest instances
const TIERS = ["minimal", "normal", "stable", "defensive"];

const find = (selector) => document.querySelector(selector);
const state = find("#state");
const number = (value, digits = 0) =>
  value === null || value === undefined ? "" : value.toLocaleString("en", { maximumFractionDigits: digits });
const short = (value) =>
  value >= 1e6 ? `${number(value / 1e6, 1)}M` : value >= 1e4 ? `${number(value / 1e3, 1)}k` : number(value, value < 10 ? 1 : 0);

const charts = {
  listeners: new TimeChart(find("#listeners .plot"), { format: short, least: 4 }),
  jitter: new TimeChart(find("#jitter .plot"), { format: short, target: 50, targetName: "99 % within 50 ms", least: 20 }),
  tiers: new TimeChart(find("#tiers .plot"), { format: short, stacked: true, least: 4 }),
  headroom: new TimeChart(find("#headroom .plot"), { format: short, least: 4 }),
  memory: new TimeChart(find("#memory .plot"), { format: short, least: 100 }),
};
let points = [];
const memory = new Map();
// An instance keeps its colour while the page is open.
const slots = new Map();
let lastEventMs = 0;

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

// --- theme

function setTheme(theme) {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  const names = { system: "as in the system", dark: "dark", light: "light" };
  find("#theme").ariaLabel = `Colours: ${names[theme]}`;
  find("#theme").title = find("#theme").ariaLabel;
  try {
    localStorage.setItem("auralis-theme", theme);
  } catch {
    // Private windows may have no storage: the choice then lasts until the page is closed.
  }
}

function savedTheme() {
  try {
    return localStorage.getItem("auralis-theme") ?? "system";
  } catch {
    return "system";
  }
}

find("#theme").addEventListener("click", () => {
  const order = ["system", "dark", "light"];
  setTheme(order[(order.indexOf(document.documentElement.dataset.theme ?? "system") + 1) % order.length]);
});
setTheme(savedTheme());

// --- figures

function tile(name, value, unit, note, className) {
  const pair = element("div");
  const figure = element("dd", value || "–", className);
  if (unit && value) figure.append(element("small", unit));
  if (note) figure.append(element("small", note, "note"));
  pair.append(element("dt", name), figure);
  return pair;
}

function showTotals({ totals }, point) {
  const free = point.headroom === null ? "" : number(100 * point.headroom);
  const tight = point.headroom !== null && point.headroom < 0.15;
  const silent = totals.instances_silent ? `${totals.instances_silent} silent` : "all answer";
  const leaks = totals.leaks ? `${totals.leaks} leaking` : "no leak";
  find("#totals").replaceChildren(
    tile("Listeners", number(totals.listeners), "", "now"),
    tile("Streams", number(point.demanded_streams), "", totals.degraded_streams ? `${totals.degraded_streams} looping` : "none looping", totals.degraded_streams ? "warn" : ""),
    tile("Render headroom", free, "%", `${number(totals.capacity_streams)} streams fit`, tight ? "warn" : ""),
    tile("Jitter p95", number(totals.jitter_p95_ms, 1), "ms", totals.late_ratio === null ? "" : `${number(100 * (1 - totals.late_ratio), 2)} % in time`, totals.late_ratio > 0.01 ? "warn" : ""),
    tile("Memory", number(totals.memory_mb), "MiB", leaks, totals.leaks ? "bad" : ""),
    tile("Instances", number(totals.instances_up), "", silent, totals.instances_silent ? "bad" : ""),
  );
}

function tierBar(tiers) {
  const cell = element("td");
  const all = TIERS.reduce((sum, tier) => sum + (tiers?.[tier] ?? 0), 0);
  if (!all) return cell;
  const bar = element("span", undefined, "tierbar");
  bar.title = TIERS.map((tier) => `${tier} ${tiers[tier]}`).join(", ");
  bar.role = "img";
  bar.ariaLabel = bar.title;
  TIERS.forEach((tier, index) => {
    const part = element("i", undefined, `s${index}`);
    part.style.width = `${(100 * tiers[tier]) / all}%`;
    bar.append(part);
  });
  cell.append(bar);
  return cell;
}

function growth(each) {
  if (!each.memory) return element("td");
  if (each.memory.leak) return element("td", `leak: ${number(each.memory.growth_mb_per_hour)} MiB/h`, "bad");
  return element("td", each.memory.confidence ? `${number(each.memory.growth_mb_per_hour, 1)} MiB/h` : "too early to tell", "");
}

/* A clock that differs from the others is named; charts/auralis/files/alerts.yaml has the same limit. */
const MAX_CLOCK_S = 0.5;

function state(each) {
  if (!each.up) return element("td", `silent for ${number(each.silent_s)} s`, "bad");
  const clock_s = each.clock_difference_s ?? 0;
  if (Math.abs(clock_s) <= MAX_CLOCK_S) return element("td", "up", "good");
  return element("td", `up, clock ${clock_s > 0 ? "+" : "−"}${number(Math.abs(clock_s), 1)} s`, "warn");
}

const unit = (value, name, digits = 0) => (value === null ? "" : `${number(value, digits)} ${name}`);

function showInstance(each) {
  const row = element("tr");
  const name = element("th", each.instance);
  name.scope = "row";
  name.append(element("br"), element("small", [each.service, each.version, each.render_mode].filter(Boolean).join(" · ")));
  row.append(
    name,
    state(each),
    element("td", number(each.listeners)),
    element("td", number(each.streams ?? each.rendered_streams)),
    tierBar(each.tiers),
    element("td", unit(each.jitter_p95_ms, "ms", 1)),
    element("td", unit(each.render_p95_ms, "ms")),
    element("td", each.realtime_factor === null ? "" : `${number(each.realtime_factor)}×`),
    element("td", unit(each.capacity_streams, "streams")),
    element("td", unit(each.memory_mb, "MiB")),
    growth(each),
  );
  return row;
}

// --- alerts

/** The alert's name, as a link to its runbook if that has a URL. */
function alertName({ name, runbook }) {
  const made = element("b");
  if (/^https?:\/\//.test(runbook)) {
    const link = element("a", name);
    link.href = runbook;
    made.append(link);
  } else {
    made.textContent = name;
  }
  made.title = `What to do: ${runbook}`;
  return made;
}

function showAlerts({ source, problem, alerts }) {
  find("#alerts-source").textContent = problem || (source === "prometheus" ? "from Prometheus" : "judged by telemetry");
  find("#alerts-source").className = problem ? "bad" : "";
  const rows = alerts.map((each) => {
    const row = element("li");
    const colour = each.state === "firing" ? (each.severity === "critical" ? "bad" : "warn") : each.state;
    const verb = { firing: "since", pending: "since", resolved: "ended" }[each.state] ?? "";
    row.append(
      element("span", each.state, `badge ${colour}`),
      alertName(each),
      element("span", [each.summary, each.instance, each.description].filter(Boolean).join(" · "), "what"),
      element("span", `${verb} ${clock(each.since)}`, "when"),
    );
    return row;
  });
  find("#alert-list").replaceChildren(...(rows.length ? rows : [element("li", "Nothing is wrong.", "none")]));
}

// --- charts

function remember(point, instances) {
  if (!points.length || point.time > points.at(-1).time) points.push(point);
  points = points.filter((each) => each.time > point.time - KEPT_S);
  for (const each of instances) {
    if (!each.up || each.memory_mb === null) continue;
    const curve = memory.get(each.instance) ?? { service: each.service, times: [], rss_mb: [] };
    memory.set(each.instance, curve);
    if (point.time - (curve.times.at(-1) ?? 0) < MEMORY_SPACING_S) continue;
    curve.times.push(point.time);
    curve.rss_mb.push(each.memory_mb);
  }
  for (const [name, curve] of memory) {
    while (curve.times.length && curve.times[0] < point.time - KEPT_S) {
      curve.times.shift();
      curve.rss_mb.shift();
    }
    if (!curve.times.length) memory.delete(name);
  }
}

function column(name, key, slot, more = {}) {
  return { name, slot, values: points.map((each) => each[key]), ...more };
}

function drawCharts() {
  const times = points.map((each) => each.time);
  charts.listeners.show({ times, series: [column("listeners", "listeners", 0, { area: true })] });
  charts.jitter.show({
    times,
    series: [column("p50", "jitter_p50_ms", 2), column("p95", "jitter_p95_ms", 0), column("p99", "jitter_p99_ms", 1)],
  });
  charts.tiers.show({
    times,
    series: TIERS.map((tier, slot) => ({ name: tier, slot, values: points.map((each) => each.tiers[tier] ?? 0) })),
  });
  charts.headroom.show({
    times,
    series: [column("can be rendered", "capacity_streams", 2, { dashed: true }), column("asked for", "demanded_streams", 3, { area: true })],
  });
  const largest = [...memory].sort(([, a], [, b]) => b.rss_mb.at(-1) - a.rss_mb.at(-1)).slice(0, CURVES);
  for (const [name] of largest) {
    if (!slots.has(name)) slots.set(name, slots.size % CURVES);
  }
  charts.memory.show({
    times: [],
    series: largest.map(([name, curve]) => ({ name, slot: slots.get(name), times: curve.times, values: curve.rss_mb })),
  });
}

// --- events

function show({ fleet, point, alerts }) {
  lastEventMs = Date.now();
  remember(point, fleet.instances);
  showTotals(fleet, point);
  showAlerts(alerts);
  // Silent instances first, then leaking ones.
  const rank = (each) => (each.up ? (each.memory?.leak ? 1 : 2) : 0);
  find("#instances").replaceChildren(...fleet.instances.toSorted((a, b) => rank(a) - rank(b)).map(showInstance));
  drawCharts();
  const firing = alerts.alerts.filter((each) => each.state === "firing");
  const pending = alerts.alerts.filter((each) => each.state === "pending").length;
  document.title = `${firing.length ? `(${firing.length}) ` : ""}Auralis fleet`;
  const worst = firing.some((each) => each.severity === "critical") ? "bad" : firing.length || pending ? "warn" : "good";
  state.className = fleet.bus_connected ? worst : "bad";
  if (!fleet.bus_connected) state.textContent = "Telemetry is disconnected from the bus: these are the last known figures.";
  else if (firing.length) state.textContent = `${firing.length} alert${firing.length > 1 ? "s" : ""}, as of ${clock(fleet.generated_at, true)}`;
  else if (pending) state.textContent = `${pending} alert${pending > 1 ? "s" : ""} may fire soon, as of ${clock(fleet.generated_at, true)}`;
  else state.textContent = `All is well, as of ${clock(fleet.generated_at, true)}`;
  document.body.dataset.events = Number(document.body.dataset.events ?? 0) + 1;
}

async function begin() {
  try {
    const response = await fetch("/api/history", { signal: AbortSignal.timeout(5000) });
    if (!response.ok) throw new Error(`telemetry answered ${response.status}`);
    const history = await response.json();
    points = history.points;
    memory.clear();
    for (const [name, curve] of Object.entries(history.memory)) memory.set(name, curve);
    drawCharts();
  } catch (error) {
    state.className = "bad";
    state.textContent = `No answer (${error.message}); retrying.`;
    setTimeout(begin, RETRY_MS);
    return;
  }
  const events = new EventSource("/api/events");
  events.addEventListener("message", (event) => show(JSON.parse(event.data)));
  events.addEventListener("error", () => {
    state.className = "bad";
    state.textContent = "The connection is lost; retrying.";
    if (events.readyState === EventSource.CLOSED) setTimeout(begin, RETRY_MS);
  });
}

setInterval(() => {
  if (lastEventMs && Date.now() - lastEventMs > STALE_MS && state.className !== "bad") {
    state.className = "bad";
    state.textContent = `No event since ${clock(lastEventMs / 1000, true)}.`;
  }
}, 2000);

begin();
