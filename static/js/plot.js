// What all Plotly charts of runs have in common.
import { currentTheme, token } from "./theme.js";

export const CONFIG = { displayModeBar: false, responsive: true, scrollZoom: false, doubleClick: false, showTips: false };

export const isShown = (element) => element.offsetParent !== null;

export function cell(tag, text, isNumber = false) {
  const made = document.createElement(tag);
  made.textContent = text;
  if (isNumber) made.className = "num";
  return made;
}

/** A layout over time. `xaxis` and `yaxis` are added to what every chart has. */
export function layout({ xaxis, yaxis, ...more }) {
  const grid = token("--chart-grid");
  const axis = { gridcolor: grid, zeroline: false, fixedrange: true, nticks: 5 };
  return {
    margin: { l: 44, r: 12, t: 8, b: 28 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: "system-ui, sans-serif", size: 12, color: token("--muted") },
    showlegend: false,
    dragmode: false,
    hovermode: "x unified",
    hoverlabel: { bgcolor: token("--surface"), bordercolor: token("--line"), font: { color: token("--text") } },
    xaxis: { ...axis, linecolor: grid, type: "date", ...xaxis },
    yaxis: { ...axis, ...yaxis },
    datarevision: Date.now(),
    uirevision: currentTheme(),
    ...more,
  };
}
