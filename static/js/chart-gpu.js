// GPU charts: one line a GPU, gaps drawn as gaps, shared hover, the same as a table.
import { CONFIG, cell, isShown, layout as plotLayout } from "./plot.js";
import { token } from "./theme.js";

const GIB = 1024 ** 3;
const KEPT = 1800;
const GAP_BEATS = 3;
const TABLE_ROWS = 120;
const COLOURS = 8;
const LEAST_MS = 15_000;

const clock = (ms) => new Date(ms).toLocaleTimeString("en-GB");
const CHARTS = [
  { id: "utilization", key: "utilization_percent", scale: 1, top: () => 100, text: (v) => `${v.toFixed(0)} %` },
  { id: "memory", key: "memory_used_bytes", scale: GIB, top: (gpu) => gpu.memory_bytes / GIB, text: (v) => `${v.toFixed(2)} GiB` },
];

export class GpuCharts {
  constructor() {
    this.gpus = new Map();
    this.beat = 1000;
    this.isDirty = false;
    this.charts = CHARTS.map((chart) => ({ ...chart, box: document.getElementById(`chart-${chart.id}`) }));
    for (const chart of this.charts) {
      chart.plot = chart.box.querySelector(".plot");
      chart.box.querySelector("details").addEventListener("toggle", () => this.table(chart));
    }
    document.addEventListener("themechange", () => this.draw());
    document.addEventListener("visibilitychange", () => this.isDirty && this.draw());
    // A chart that is not shown has no size to draw in; what stands beside it comes and goes.
    document.addEventListener("tabchosen", () => this.shown());
    new ResizeObserver(() => this.shown()).observe(this.charts[0].plot);
  }

  /** Forget every sample: those of another attempt follow. */
  reset() {
    this.gpus.clear();
    for (const chart of this.charts) {
      if (chart.isWired) Plotly.purge(chart.plot);
      chart.isWired = false;
      chart.box.querySelector(".chart-empty").hidden = false;
      chart.box.querySelector(".chart-now").textContent = "";
      chart.box.querySelector(".legend").replaceChildren();
      for (const part of chart.box.querySelectorAll("thead tr, tbody")) part.replaceChildren();
    }
  }

  shown() {
    if (this.isDirty) this.draw();
    else for (const chart of this.charts) if (chart.isWired && isShown(chart.plot)) Plotly.Plots.resize(chart.plot);
  }

  /** Stored samples, which come first. */
  load(stored) {
    this.beat = stored.interval_seconds * 1000;
    for (const series of stored.gpus) {
      const gpu = this.gpu(series);
      gpu.at = series.at;
      gpu.utilization_percent = series.utilization_percent;
      gpu.memory_used_bytes = series.memory_used_bytes;
    }
    this.draw();
  }

  /** One beat, live. */
  add(data) {
    const at = Date.parse(data.at);
    for (const reading of data.gpus) {
      const gpu = this.gpu(reading);
      if (gpu.at.length && at <= gpu.at.at(-1)) continue;
      gpu.at.push(at);
      for (const { key } of CHARTS) gpu[key].push(reading[key]);
      if (gpu.at.length > KEPT) for (const list of [gpu.at, ...CHARTS.map((c) => gpu[c.key])]) list.shift();
    }
    this.draw();
  }

  gpu({ uuid, index, memory_bytes }) {
    if (!this.gpus.has(uuid)) {
      this.gpus.set(uuid, { index, memory_bytes, at: [], utilization_percent: [], memory_used_bytes: [] });
    }
    return this.gpus.get(uuid);
  }

  draw() {
    this.isDirty = true;
    if (document.hidden || !window.Plotly || !this.gpus.size || !isShown(this.charts[0].plot)) return;
    this.isDirty = false;
    for (const chart of this.charts) this.drawOne(chart);
  }

  drawOne(chart) {
    const gpus = [...this.gpus.values()].sort((a, b) => a.index - b.index);
    chart.box.querySelector(".chart-empty").hidden = true;
    const traces = gpus.map((gpu, i) => this.trace(chart, gpu, i));
    Plotly.react(chart.plot, traces, layout(chart, gpus), CONFIG);
    if (!chart.isWired) this.wire(chart);
    const last = gpus.map((gpu) => gpu[chart.key].at(-1)).filter((v) => v !== null && v !== undefined);
    chart.box.querySelector(".chart-now").textContent = last.length ? chart.text(mean(last) / chart.scale) : "";
    legend(chart, gpus);
    this.table(chart);
  }

  trace(chart, gpu, i) {
    const x = [];
    const y = [];
    for (const [n, at] of gpu.at.entries()) {
      // Where beats are missing the line is broken, never drawn across.
      if (n && at - gpu.at[n - 1] > GAP_BEATS * Math.max(1000, this.stepAt(gpu, n))) {
        x.push(new Date((at + gpu.at[n - 1]) / 2));
        y.push(null);
      }
      x.push(new Date(at));
      const value = gpu[chart.key][n];
      y.push(value === null ? null : value / chart.scale);
    }
    return {
      x, y, type: "scatter", mode: y.length < 3 ? "lines+markers" : "lines", name: `GPU ${gpu.index}`, connectgaps: false,
      line: { color: token(`--chart-${(i % COLOURS) + 1}`), width: 1.75 },
      hovertemplate: `GPU ${gpu.index}: %{y:.${chart.scale === 1 ? 0 : 2}f}<extra></extra>`,
    };
  }

  // Stored points may stand for more than a second each; live ones are a second apart.
  stepAt(gpu, n) {
    return gpu.at.length > n + 1 ? Math.min(this.beat, gpu.at[n + 1] - gpu.at[n]) || this.beat : this.beat;
  }

  wire(chart) {
    chart.isWired = true;
    const others = this.charts.filter((other) => other !== chart);
    chart.plot.on("plotly_hover", (event) => {
      if (!event.event) return;
      for (const other of others) {
        if (other.isWired) Plotly.Fx.hover(other.plot, { xval: +new Date(event.points[0].x) }, "xy");
      }
    });
    chart.plot.on("plotly_unhover", (event) => {
      if (!event.event) return;
      for (const other of others) if (other.isWired) Plotly.Fx.unhover(other.plot);
    });
  }

  table(chart) {
    const details = chart.box.querySelector("details");
    if (!details.open) return;
    const gpus = [...this.gpus.values()].sort((a, b) => a.index - b.index);
    details.querySelector("thead tr").replaceChildren(
      cell("th", "Time"),
      ...gpus.map((gpu) => cell("th", `GPU ${gpu.index}`, true)),
    );
    const times = [...new Set(gpus.flatMap((gpu) => gpu.at.slice(-TABLE_ROWS)))].sort((a, b) => b - a).slice(0, TABLE_ROWS);
    details.querySelector("tbody").replaceChildren(
      ...times.map((at) => {
        const row = document.createElement("tr");
        row.append(cell("td", clock(at)));
        for (const gpu of gpus) {
          const value = gpu[chart.key][gpu.at.lastIndexOf(at)];
          row.append(cell("td", value === null || value === undefined ? "–" : chart.text(value / chart.scale), true));
        }
        return row;
      }),
    );
  }
}

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

function legend(chart, gpus) {
  const box = chart.box.querySelector(".legend");
  box.hidden = gpus.length < 2;
  if (box.hidden || box.childElementCount === gpus.length) return;
  box.replaceChildren(
    ...gpus.map((gpu, i) => {
      const item = document.createElement("span");
      item.className = `legend-item legend-${(i % COLOURS) + 1}`;
      item.textContent = `GPU ${gpu.index}`;
      return item;
    }),
  );
}

function layout(chart, gpus) {
  const highest = Math.max(0, ...gpus.flatMap((gpu) => gpu[chart.key])) / chart.scale;
  const most = Math.max(...gpus.map(chart.top));
  // Memory fills its chart; a share of a large card would be a flat line at the bottom.
  const top = chart.scale === 1 ? most : Math.min(most, Math.max(0.25, highest * 1.25));
  const first = Math.min(...gpus.map((gpu) => gpu.at[0] ?? Infinity));
  const last = Math.max(...gpus.map((gpu) => gpu.at.at(-1) ?? 0));
  // The first seconds keep their place instead of being stretched over the whole width.
  const shown = last - first < LEAST_MS ? { range: [new Date(first), new Date(first + LEAST_MS)] } : { autorange: true };
  return plotLayout({
    xaxis: { ...shown, tickformat: "%H:%M:%S", hoverformat: "%H:%M:%S" },
    yaxis: { range: [0, top * 1.02] },
  });
}
