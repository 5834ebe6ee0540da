// Reads /api/fleet every two seconds and shows it. Names come from the fleet, so they are only ever set as text.

const EVERY_MS = 2000;
const state = document.querySelector("#state");
const totals = document.querySelector("#totals");
const rows = document.querySelector("#instances");

const whole = (value) => (value === null ? "" : value.toLocaleString("en"));
const measured = (value, unit) => (value === null ? "" : `${value.toLocaleString("en")} ${unit}`);

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function showTotals(sums) {
  const figures = [
    ["Listeners", whole(sums.listeners)],
    ["Streams asked for", whole(sums.demanded_streams)],
    ["Streams that can be rendered", whole(Math.round(sums.capacity_streams))],
    ["Degraded streams", whole(sums.degraded_streams)],
    ["Memory", measured(Math.round(sums.memory_mb), "MiB")],
    ["Instances", sums.instances_silent ? `${sums.instances_up} (${sums.instances_silent} silent)` : whole(sums.instances_up)],
  ];
  totals.replaceChildren(
    ...figures.map(([name, value]) => {
      const pair = element("div");
      pair.append(element("dt", name), element("dd", value));
      return pair;
    }),
  );
}

function showInstance(each) {
  const row = element("tr");
  const name = element("th", each.instance);
  name.scope = "row";
  name.append(element("br"), element("small", [each.service, each.version, each.render_mode].filter(Boolean).join(" · ")));
  const tiers = each.tiers
    ? Object.entries(each.tiers).filter(([, count]) => count).map(([tier, count]) => `${tier} ${count}`).join(", ")
    : "";
  row.append(
    name,
    element("td", each.up ? "up" : `silent for ${Math.round(each.silent_s)} s`, each.up ? "up" : "silent"),
    element("td", whole(each.listeners)),
    element("td", whole(each.streams)),
    element("td", tiers),
    element("td", measured(each.jitter_p95_ms, "ms")),
    element("td", measured(each.render_p95_ms, "ms")),
    element("td", each.capacity_streams === null ? "" : `${whole(Math.round(each.capacity_streams))} streams`),
    element("td", measured(each.memory_mb, "MiB")),
  );
  return row;
}

async function refresh() {
  try {
    const response = await fetch("/api/fleet", { signal: AbortSignal.timeout(5000) });
    if (!response.ok) throw new Error(`telemetry answered ${response.status}`);
    const fleet = await response.json();
    showTotals(fleet.totals);
    rows.replaceChildren(...fleet.instances.map(showInstance));
    state.className = fleet.bus_connected ? "" : "bad";
    state.textContent = fleet.bus_connected
      ? `As of ${new Date(fleet.generated_at * 1000).toLocaleTimeString()}`
      : "Telemetry does not reach the bus: what is shown is its last knowledge.";
  } catch (error) {
    state.className = "bad";
    state.textContent = `No answer (${error.message}); trying again.`;
  }
  setTimeout(refresh, EVERY_MS);
}

refresh();
