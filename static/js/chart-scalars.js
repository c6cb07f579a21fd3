// Charts of what a run wrote for TensorBoard: one for each tag, one line for each folder.
import { CONFIG, cell, isShown, layout } from "./plot.js";
import { token } from "./theme.js";

const COLOURS = 8;
const TABLE_ROWS = 200;
const UNITS = [[600, 1, "s"], [36_000, 60, "min"], [Infinity, 3600, "h"]];
const find = (id) => document.getElementById(id);
const number = (value) => Number(value.toPrecision(5)).toString();
const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
const nameOf = (series) => (series.run === "." ? "Home folder" : series.run);

export class ScalarCharts {
  constructor() {
    this.panel = find("run-metrics");
    this.charts = new Map();
    this.found = null;
    this.isLoading = false;
    this.seen = new IntersectionObserver((entries) => {
      for (const entry of entries) {
        const chart = this.charts.get(entry.target.dataset.tag);
        if (!chart) continue;
        chart.isNear = entry.isIntersecting;
        if (chart.isNear) this.draw(chart);
      }
    }, { rootMargin: "300px" });
    for (const id of ["metrics-over", "metrics-smooth", "metrics-log"]) find(id).addEventListener("input", () => this.redraw());
    find("metrics-find").addEventListener("input", () => this.filter());
    document.addEventListener("themechange", () => this.redraw());
    document.addEventListener("tabchosen", () => this.load());
  }

  get isShown() {
    return !this.panel.hidden;
  }

  /** Another attempt's follow. */
  reset() {
    for (const chart of this.charts.values()) this.remove(chart);
    this.charts.clear();
    this.found = null;
    find("metrics-none").hidden = true;
    this.load();
  }

  /** All there is now; once more while the server has not read to the end. */
  async load() {
    if (!this.isShown || this.isLoading) return;
    this.isLoading = true;
    let found = null;
    try {
      do {
        const response = await fetch(this.panel.dataset.url);
        if (!response.ok) throw new Error(`status ${response.status}`);
        found = await response.json();
        this.show(found);
      } while (!found.is_whole && this.isShown);
    } catch (error) {
      // The next look may succeed; what is drawn stays.
      console.warn("metrics were not loaded:", error.message);
      if (!this.charts.size) find("metrics-note").textContent = "The metrics cannot be read just now.";
    } finally {
      this.isLoading = false;
    }
  }

  show(found) {
    const tags = new Set(found.tags.map((one) => one.tag));
    for (const [tag, chart] of this.charts) if (!tags.has(tag)) { this.remove(chart); this.charts.delete(tag); }
    for (const { tag, series } of found.tags) {
      const chart = this.charts.get(tag) ?? this.add(tag);
      chart.series = series;
      if (chart.isNear) this.draw(chart);
    }
    this.found = found;
    find("metrics-fields").hidden = !found.tags.length;
    find("metrics-none").hidden = found.tags.length > 0 || !found.is_whole;
    this.filter();
  }

  note() {
    const found = this.found;
    if (!found) return;
    const words = find("metrics-find").value.trim();
    if (words && [...this.charts.values()].every((chart) => chart.box.hidden)) {
      find("metrics-note").textContent = `None of the metrics has “${words}” in its name.`;
      return;
    }
    const count = found.tags.length;
    const hidden = found.hidden_series ? ` ${found.hidden_series} more lines are not drawn. TensorBoard shows them all.` : "";
    const all = count ? `${count} metric${count === 1 ? "" : "s"}.${hidden}` : "";
    find("metrics-note").textContent = found.is_whole ? all : `${all} Reading on.`.trim();
  }

  add(tag) {
    const box = find("metric").content.firstElementChild.cloneNode(true);
    const title = box.querySelector(".chart-title");
    title.textContent = tag;
    title.title = tag;
    box.dataset.tag = tag;
    box.setAttribute("aria-label", tag);
    const chart = { tag, box, plot: box.querySelector(".plot"), details: box.querySelector("details"), series: [], isNear: false };
    chart.details.addEventListener("toggle", () => this.table(chart));
    const after = [...this.charts.keys()].filter((other) => other > tag).sort()[0];
    find("metrics-charts").insertBefore(box, after === undefined ? null : this.charts.get(after).box);
    this.charts.set(tag, chart);
    this.seen.observe(box);
    return chart;
  }

  remove(chart) {
    this.seen.unobserve(chart.box);
    if (chart.isWired) Plotly.purge(chart.plot);
    chart.box.remove();
  }

  filter() {
    const words = find("metrics-find").value.trim().toLowerCase();
    for (const chart of this.charts.values()) chart.box.hidden = !chart.tag.toLowerCase().includes(words);
    this.note();
  }

  redraw() {
    for (const chart of this.charts.values()) if (chart.isNear) this.draw(chart);
  }

  draw(chart) {
    if (!window.Plotly || !chart.series.length || !isShown(chart.box)) return;
    const over = find("metrics-over").value;
    const smooth = Number(find("metrics-smooth").value);
    const isLog = find("metrics-log").checked;
    const unit = unitOf(chart.series);
    const traces = chart.series.flatMap((series, i) => lines(series, i, over, smooth, unit));
    const xaxis = over === "time" ? { type: "date" } : { type: "linear", ticksuffix: over === "since" ? ` ${unit.name}` : "" };
    const view = layout({ xaxis, yaxis: { type: isLog ? "log" : "linear", exponentformat: "power" }, hovermode: "x unified" });
    Plotly.react(chart.plot, traces, view, CONFIG);
    if (!chart.isWired) this.wire(chart);
    const last = chart.series.length === 1 ? chart.series[0].values.at(-1) : undefined;
    chart.box.querySelector(".chart-now").textContent = last === undefined ? "" : number(last);
    legend(chart);
    this.table(chart);
  }

  // Hovering one shows the same place in those beside it.
  wire(chart) {
    chart.isWired = true;
    const others = () => [...this.charts.values()].filter((other) => other !== chart && other.isWired && other.isNear && isShown(other.box));
    chart.plot.on("plotly_hover", (event) => {
      if (!event.event) return;
      const at = event.points[0].x;
      for (const other of others()) Plotly.Fx.hover(other.plot, { xval: typeof at === "string" ? Date.parse(`${at.replace(" ", "T")}Z`) : +at }, "xy");
    });
    chart.plot.on("plotly_unhover", (event) => {
      if (!event.event) return;
      for (const other of others()) Plotly.Fx.unhover(other.plot);
    });
  }

  table(chart) {
    if (!chart.details.open) return;
    chart.details.querySelector("thead tr").replaceChildren(
      ...(chart.series.length > 1 ? [cell("th", "Folder")] : []), cell("th", "Step", true), cell("th", "Time"), cell("th", "Value", true),
    );
    const rows = chart.series.flatMap((series) => series.steps.map((step, n) => ({ series, step, n })));
    rows.sort((a, b) => b.step - a.step);
    chart.details.querySelector("tbody").replaceChildren(
      ...rows.slice(0, TABLE_ROWS).map(({ series, step, n }) => {
        const row = document.createElement("tr");
        if (chart.series.length > 1) row.append(cell("td", nameOf(series)));
        const at = new Date(series.times[n] * 1000).toLocaleString("en-GB", { dateStyle: "short", timeStyle: "medium" });
        row.append(cell("td", String(step), true), cell("td", at), cell("td", number(series.values[n]), true));
        return row;
      }),
    );
  }
}

// A run of seconds is not told in hours.
function unitOf(all) {
  const longest = Math.max(...all.map(({ times }) => times.at(-1) - times[0]));
  const [, seconds, name] = UNITS.find(([most]) => longest < most);
  return { seconds, name };
}

function lines(series, i, over, smooth, unit) {
  const x = {
    step: () => series.steps,
    time: () => series.times.map((at) => new Date(at * 1000)),
    since: () => series.times.map((at) => (at - series.times[0]) / unit.seconds),
  }[over]();
  const colour = token(`--chart-${(i % COLOURS) + 1}`);
  const mode = x.length < 3 ? "lines+markers" : "lines";
  const base = { x, type: "scatter", mode, name: nameOf(series), line: { color: colour, width: 1.75 } };
  const hovertemplate = `${escaped(nameOf(series))}: %{y:.5~g}<extra></extra>`;
  if (!smooth) return [{ ...base, y: series.values, hovertemplate }];
  return [
    { ...base, y: series.values, opacity: 0.25, hoverinfo: "skip" },
    { ...base, y: smoothed(series.values, smooth), hovertemplate },
  ];
}

// An exponential mean that gives its first values their full weight.
function smoothed(values, weight) {
  let mean = 0;
  let sum = 0;
  return values.map((value) => {
    mean = mean * weight + value * (1 - weight);
    sum = sum * weight + (1 - weight);
    return mean / sum;
  });
}

function legend(chart) {
  const box = chart.box.querySelector(".legend");
  box.hidden = chart.series.length < 2;
  if (box.hidden || box.childElementCount === chart.series.length) return;
  box.replaceChildren(
    ...chart.series.map((series, i) => {
      const item = document.createElement("span");
      item.className = `legend-item legend-${(i % COLOURS) + 1}`;
      item.textContent = nameOf(series);
      return item;
    }),
  );
}
