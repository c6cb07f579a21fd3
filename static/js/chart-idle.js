// What a notebook did, look by look: how busy, and as bands what it was judged to be.
import { CONFIG, cell, isShown, layout } from "./plot.js";
import { token } from "./theme.js";

const LOOK_MS = 60_000;
// A look that is missing for longer than this leaves a gap.
const GAP_MS = 3 * LOOK_MS;
const WORDS = { busy: "Busy", idle: "Idle", unknown: "Unknown" };
const LINES = [
  { key: "gpu_percent", name: "GPUs", colour: 1, text: (v) => `${v.toFixed(0)} %` },
  { key: "cpu_percent", name: "CPU", colour: 2, text: (v) => `${v.toFixed(0)} %` },
  { key: "connections", name: "Browsers", colour: 3, axis: "y2", text: (v) => String(v) },
];
const said = (value, text) => (value === null || value === undefined ? "–" : text(value));

export class IdleChart {
  constructor() {
    this.box = document.getElementById("chart-idle");
    this.plot = this.box.querySelector(".plot");
    this.details = this.box.querySelector("details");
    this.looks = [];
    this.details.addEventListener("toggle", () => this.table());
    document.addEventListener("themechange", () => this.draw());
  }

  async load() {
    if (!isShown(this.box)) return;
    try {
      const response = await fetch(this.box.dataset.url);
      if (!response.ok) return;
      this.looks = (await response.json()).looks;
    } catch (error) {
      console.warn("looks were not loaded:", error.message); // the next load may succeed
      return;
    }
    this.draw();
  }

  draw() {
    const { looks } = this;
    const last = looks.at(-1);
    this.box.querySelector(".chart-empty").hidden = Boolean(last);
    this.box.querySelector(".legend").hidden = !last;
    this.box.querySelector(".chart-now").textContent = last ? WORDS[last.verdict] : "";
    if (!last || !window.Plotly || !isShown(this.box)) return;
    const most = Math.max(100, ...looks.map((look) => Math.max(look.gpu_percent ?? 0, look.cpu_percent ?? 0)));
    const browsers = Math.max(4, ...looks.map((look) => look.connections ?? 0));
    Plotly.react(
      this.plot,
      [...LINES.map((line) => this.line(line)), this.words()],
      layout({
        margin: { l: 44, r: 36, t: 8, b: 28 },
        shapes: this.bands(),
        xaxis: { tickformat: "%H:%M", hoverformat: "%e %b, %H:%M" },
        yaxis: { range: [0, most * 1.05] },
        yaxis2: { overlaying: "y", side: "right", range: [0, browsers], fixedrange: true, showgrid: false, zeroline: false, nticks: 4, tickformat: "d" },
      }),
      CONFIG,
    );
    this.table();
  }

  line({ key, name, colour, axis, text }) {
    const x = [];
    const y = [];
    for (const [n, look] of this.looks.entries()) {
      if (n && look.at - this.looks[n - 1].at > GAP_MS) {
        x.push(new Date(look.at - LOOK_MS));
        y.push(null);
      }
      x.push(new Date(look.at));
      y.push(look[key]);
    }
    return {
      x, y, name, type: "scatter", mode: this.looks.length < 3 ? "lines+markers" : "lines", yaxis: axis ?? "y", connectgaps: false,
      line: { color: token(`--chart-${colour}`), width: 1.75, shape: axis ? "hv" : "linear", dash: axis ? "dot" : "solid" },
      hovertemplate: `${name}: %{y:.0f}${axis ? "" : " %"}<extra></extra>`,
    };
  }

  // A line nobody sees that tells the verdict of each look: colour alone would not.
  words() {
    return {
      x: this.looks.map((look) => new Date(look.at)), y: this.looks.map(() => 0), type: "scatter", mode: "markers", marker: { opacity: 0 },
      text: this.looks.map((look) => `${WORDS[look.verdict]}${look.words ? `: ${look.words}` : ""}`.replaceAll("<", "&lt;")),
      hovertemplate: "%{text}<extra></extra>",
    };
  }

  /** One band for each stretch of looks with one verdict. */
  bands() {
    const found = [];
    for (const [n, look] of this.looks.entries()) {
      const from = n && look.at - this.looks[n - 1].at <= GAP_MS ? this.looks[n - 1].at : look.at - LOOK_MS;
      const band = found.at(-1);
      if (band?.verdict === look.verdict && band.to === from) band.to = look.at;
      else found.push({ verdict: look.verdict, from, to: look.at });
    }
    return found.map(({ verdict, from, to }) => ({
      type: "rect", layer: "below", xref: "x", yref: "paper", x0: new Date(from), x1: new Date(to), y0: 0, y1: 1,
      fillcolor: token(`--band-${verdict}`), line: { width: 0 },
    }));
  }

  table() {
    if (!this.details.open) return;
    this.details.querySelector("thead tr").replaceChildren(
      cell("th", "Time"), cell("th", "Found"), cell("th", "Cells running", true), ...LINES.map((line) => cell("th", line.name, true)),
    );
    this.details.querySelector("tbody").replaceChildren(
      ...this.looks.toReversed().map((look) => {
        const row = document.createElement("tr");
        row.append(
          cell("td", new Date(look.at).toLocaleString("en-GB", { dateStyle: "short", timeStyle: "short" })),
          cell("td", look.words || WORDS[look.verdict]),
          cell("td", said(look.kernels_busy, String), true),
          ...LINES.map((line) => cell("td", said(look[line.key], line.text), true)),
        );
        return row;
      }),
    );
  }
}
