// Charts over time as SVG: lines, areas, stacks, a target line, and a cursor that reads values. No dependencies.

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 190;
const LEFT = 46;
const RIGHT = 10;
const TOP = 10;
const BOTTOM = 22;

function svg(name, attributes = {}, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

/** A round step; about `count` of them reach `top`. */
export function roundStep(top, count = 4) {
  const rough = top / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((each) => each * power).find((each) => each >= rough);
  return step ?? 10 * power;
}

/** Index of the element of ascending `times` that is nearest to `time`. */
export function nearest(times, time) {
  let low = 0;
  let high = times.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (times[middle] <= time) low = middle;
    else high = middle;
  }
  return times[high] - time < time - times[low] ? high : low;
}

export const clock = (seconds, withSeconds = false) =>
  new Date(seconds * 1000).toLocaleTimeString([], {
    hour: "2-digit", minute: "2-digit", ...(withSeconds ? { second: "2-digit" } : {}),
  });

/**
 * One chart. Data: {times: [Unix seconds], series: [{name, values: [number or null], slot, area, dashed}]}; a series may
 * have times of its own. `slot` is the number of its colour.
 */
export class TimeChart {
  constructor(place, { format, stacked = false, target = null, targetName = "", least = 1, seconds = 1800 }) {
    this.place = place;
    this.options = { format, stacked, target, targetName, least, seconds };
    this.data = { times: [], series: [] };
    this.at = null;
    this.picture = svg("svg", { role: "img", height: HEIGHT });
    this.legend = document.createElement("ul");
    this.legend.className = "legend";
    place.replaceChildren(this.picture, this.legend);
    new ResizeObserver(() => this.draw()).observe(place);
    const move = (event) => {
      const { left } = this.picture.getBoundingClientRect();
      this.at = event.clientX - left;
      this.draw();
    };
    this.picture.addEventListener("pointermove", move);
    this.picture.addEventListener("pointerdown", move);
    this.picture.addEventListener("pointerleave", () => {
      this.at = null;
      this.draw();
    });
  }

  show(data) {
    this.data = data;
    this.draw();
  }

  draw() {
    const width = this.place.clientWidth;
    if (!width) return;
    const { format, stacked, target, targetName, least, seconds } = this.options;
    const series = this.data.series.map((each) => ({ ...each, times: each.times ?? this.data.times }));
    const end = Math.max(0, ...series.map((each) => each.times.at(-1) ?? 0));
    // A short history fills the whole chart.
    const first = Math.min(end, ...series.map((each) => each.times[0] ?? end));
    const span = Math.min(seconds, Math.max(60, end - first));
    const start = end - span;
    const levels = this.#levels(series);
    const highest = Math.max(least, ...levels.flatMap((each) => each.top.filter((value) => value !== null)));
    const step = roundStep(highest * 1.05);
    const top = Math.ceil((highest * 1.02) / step) * step;
    const x = (time) => LEFT + ((time - start) / span) * (width - LEFT - RIGHT);
    const y = (value) => TOP + (1 - value / top) * (HEIGHT - TOP - BOTTOM);

    const parts = [];
    for (let value = 0; value <= top + step / 2; value += step) {
      parts.push(svg("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value) }));
      parts.push(svg("text", { x: LEFT - 8, y: y(value) + 4, "text-anchor": "end" }, format(value)));
    }
    if (end) {
      const marks = width < 480 ? 2 : 4;
      for (let mark = 0; mark <= marks; mark += 1) {
        const time = start + (span * mark) / marks;
        const anchor = mark === 0 ? "start" : mark === marks ? "end" : "middle";
        parts.push(svg("text", { x: x(time), y: HEIGHT - 4, "text-anchor": anchor }, clock(time, span < 300)));
      }
    }
    if (target !== null && target <= top) {
      parts.push(svg("line", { class: "target", x1: LEFT, x2: width - RIGHT, y1: y(target), y2: y(target) }));
      parts.push(svg("text", { class: "target-name", x: LEFT + 4, y: y(target) - 4 }, targetName));
    }
    series.forEach((each, index) => {
      const points = each.times
        .map((time, place) => [time, levels[index].bottom[place], levels[index].top[place]])
        .filter(([time]) => time >= start);
      for (const run of runs(points)) {
        const upper = run.map(([time, , value]) => `${x(time).toFixed(1)},${y(value).toFixed(1)}`).join("L");
        if (stacked || each.area) {
          const lower = run.toReversed().map(([time, value]) => `${x(time).toFixed(1)},${y(value).toFixed(1)}`).join("L");
          parts.push(svg("path", { class: `area ${stacked ? "stacked" : ""} s${each.slot}`, d: `M${upper}L${lower}Z` }));
        }
        parts.push(svg("path", { class: `line ${each.dashed ? "dashed" : ""} s${each.slot}`, d: `M${upper}` }));
      }
      const last = points.at(-1);
      if (last && last[2] !== null && !stacked) {
        parts.push(svg("circle", { class: `end s${each.slot}`, cx: x(last[0]), cy: y(last[2]), r: 3 }));
      }
    });
    let time = end;
    if (this.at !== null && end) {
      time = start + ((Math.min(Math.max(this.at, LEFT), width - RIGHT) - LEFT) / (width - LEFT - RIGHT)) * span;
      parts.push(svg("line", { class: "cursor", x1: x(time), x2: x(time), y1: TOP, y2: HEIGHT - BOTTOM }));
    }
    this.picture.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    this.picture.replaceChildren(...parts);
    this.#describe(series, time);
  }

  /** Lower and upper bound of each series at each of its times. */
  #levels(series) {
    if (!this.options.stacked) {
      return series.map(({ values }) => ({ bottom: values.map(() => 0), top: values }));
    }
    let below = this.data.times.map(() => 0);
    return series.map(({ values }) => {
      const bottom = below;
      below = below.map((value, index) => value + (values[index] ?? 0));
      return { bottom, top: below };
    });
  }

  #describe(series, time) {
    const { format } = this.options;
    const read = series.map((each) => {
      const value = each.times.length ? each.values[nearest(each.times, time)] : null;
      return { ...each, text: value === null || value === undefined ? "–" : format(value) };
    });
    this.legend.replaceChildren(
      ...read.map((each) => {
        const item = document.createElement("li");
        item.className = `s${each.slot}`;
        const value = document.createElement("b");
        value.textContent = each.text;
        item.append(each.name, value);
        return item;
      }),
    );
    if (this.at !== null && time) {
      const item = document.createElement("li");
      item.className = "at";
      item.textContent = clock(time, true);
      this.legend.append(item);
    }
    this.picture.setAttribute("aria-label", read.map((each) => `${each.name}: ${each.text}`).join(", ") || "no data yet");
  }
}

/** Splits points at missing values. */
function runs(points) {
  const pieces = [[]];
  for (const point of points) {
    if (point[2] === null || point[2] === undefined) pieces.push([]);
    else pieces.at(-1).push(point);
  }
  return pieces.filter((each) => each.length > 1);
}
