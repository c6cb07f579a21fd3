// Spending by day: stacked bars in the colours of the theme, the same as the table below them.
import { token } from "./theme.js";

const COLOURS = 8;
const box = document.getElementById("chart-spend");
const { days, series } = JSON.parse(document.getElementById("spend-data").textContent);

function draw() {
  const text = token("--muted");
  const traces = series.map(({ name, dollars }, i) => ({
    type: "bar", name, x: days, y: dollars,
    marker: { color: token(`--chart-${(i % COLOURS) + 1}`) },
    hovertemplate: `%{x|%e %b}: $%{y:.2f}<extra>${name.replaceAll("<", "&lt;")}</extra>`,
  }));
  const axis = { gridcolor: token("--chart-grid"), zerolinecolor: token("--chart-grid"), tickfont: { color: text }, fixedrange: true };
  Plotly.react(box, traces, {
    barmode: "relative", showlegend: false, bargap: 0.25, hovermode: "closest",
    paper_bgcolor: "transparent", plot_bgcolor: "transparent",
    font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: text },
    margin: { l: 56, r: 12, t: 12, b: 32 },
    xaxis: { ...axis, type: "date", tickformat: "%e %b", nticks: 8 },
    yaxis: { ...axis, tickprefix: "$", rangemode: "tozero" },
  }, { displayModeBar: false, responsive: true, scrollZoom: false, doubleClick: false, showTips: false });
}

if (window.Plotly && box) {
  draw();
  document.addEventListener("themechange", draw);
}
