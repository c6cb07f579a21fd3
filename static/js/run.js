// A run's page: everything live comes through one socket. Jobs and notebooks add what is their own.
import { GpuCharts } from "./chart-gpu.js";
import { ScalarCharts } from "./chart-scalars.js";
import { bytes, duration, money } from "./format.js";
import { RunSocket } from "./run-socket.js";
import { LogPanel } from "./run-log.js";

const HOUR_US = 3_600_000_000n;
const QUEUE_MS = 3000;
const STATE_MS = 10_000;
const METRICS_MS = 10_000;
const WORDS = {
  live: "Live",
  lost: "Reconnecting",
  ended: "Ended",
  refused: "You can no longer see this run. Reload the page.",
};

export const find = (id) => document.getElementById(id);
export const refresh = (id) => find(id).dispatchEvent(new CustomEvent("refresh"));
export const status = () => document.querySelector(".run-status");
export const isFinal = () => "final" in status().dataset;

// The same sum as the bill: floor(price x GPUs x microseconds / hour), never added up from ticks.
function cost(element, now) {
  const { closed, price, gpus, from } = element.dataset;
  const us = BigInt(Math.max(0, Math.round(now - Date.parse(from)))) * 1000n;
  return Number(BigInt(closed) + (BigInt(price) * BigInt(gpus) * us) / HOUR_US);
}

// What Stop would do follows the run's status, but never changes under somebody who reads it; nor does
// a menu under somebody who chooses from it, or a table under who walks through it by keyboard. What
// can be done is always what is true, and keeps the focus by itself.
function isUsed(part) {
  if (part.id === "stop-box") return find("stop-dialog").open;
  if (part.id === "run-actions") return Boolean(part.querySelector("details[open]"));
  return part.id !== "run-stage" && part.contains(document.activeElement);
}

/**
 * Follow the run. `own` may have: settled() after the page shows a new state, status(data) of each
 * step, parts() when what the run wrote may have changed, mayRestart for what rests and goes on.
 */
export function follow(own = {}) {
  const run = find("run");
  const log = new LogPanel();
  const charts = new GpuCharts();
  const metrics = new ScalarCharts();
  let attempt = 0; // whose log and charts are shown
  let ahead = 0; // the server's clock less ours, in milliseconds

  function tick() {
    if (document.hidden) return;
    const now = Date.now() + ahead;
    const paid = find("run-cost");
    if (paid.dataset.from) paid.textContent = money(cost(paid, now), 4);
    const ran = find("run-ran");
    if (ran.dataset.from) ran.textContent = duration((now - Date.parse(ran.dataset.from)) / 1000);
    const starts = find("run-starts");
    if (starts) starts.textContent = duration(Math.ceil((Date.parse(starts.dataset.at) - now) / 1000));
  }

  function settled() {
    if (isFinal()) find("stop-dialog").close();
    else if (own.mayRestart) socket.again();
    log.showPeek();
    own.settled?.();
    tick();
  }

  function state(name) {
    const live = find("log-live");
    live.dataset.state = name === "refused" ? "lost" : name;
    live.textContent = WORDS[name];
    find("run-lost").hidden = name !== "lost";
  }

  function showEnd(offset) {
    log.end();
    find("log-end").textContent = offset ? `${bytes(offset)}, complete` : "It printed nothing.";
    refresh("run-now");
    own.parts?.();
  }

  async function loadStored() {
    if (!attempt) return;
    const asked = attempt;
    try {
      const response = await fetch(`${run.dataset.telemetry}?attempt=${asked}`);
      const stored = response.ok ? await response.json() : null;
      if (stored && asked === attempt) charts.load(stored);
    } catch (error) {
      // The live samples follow; the stored ones come with the next connection.
      console.warn("stored samples were not loaded:", error.message);
    }
  }

  const socket = new RunSocket(run.dataset.socket, run.dataset.statusUrl, Number(run.dataset.after), {
    state,
    hello(data, isSame) {
      ahead = Date.parse(data.now) - Date.now();
      if (!isSame) log.reset(data.offset);
      if (attempt && attempt !== data.attempt) {
        charts.reset();
        metrics.reset();
        own.parts?.();
      }
      attempt = data.attempt;
      if (data.status !== status().dataset.status) refresh("run-now");
      loadStored();
    },
    status(data) {
      refresh("run-now");
      own.parts?.();
      own.status?.(data);
    },
    gpu(data) {
      if (data.attempt === attempt) charts.add(data);
    },
    log(data) {
      log.append(data.text);
      find("log-end").textContent = `${bytes(data.next_offset)} so far`;
    },
    complete(data) {
      state("ended");
      showEnd(data.offset);
    },
    end(data) {
      showEnd(data.offset);
      loadStored();
      metrics.load();
    },
  });

  document.addEventListener("htmx:oobBeforeSwap", (event) => {
    if (isUsed(event.detail.target)) event.preventDefault();
  });
  document.addEventListener("htmx:afterSettle", (event) => {
    if (event.target.closest("#run-now")) settled();
  });
  setInterval(tick, 1000);
  document.addEventListener("visibilitychange", tick);
  // A place in the queue moves when others' runs end, of which this run's socket knows nothing.
  setInterval(() => {
    if (!document.hidden && !socket.isOver && status().dataset.status === "queued") refresh("run-now");
  }, QUEUE_MS);
  // Whether its engine still answers is told by no event either; nor is a start after a rest.
  setInterval(() => {
    if (!document.hidden && (!socket.isOver || own.mayRestart)) refresh("run-now");
  }, STATE_MS);
  setInterval(() => {
    if (!document.hidden && !isFinal()) metrics.load();
  }, METRICS_MS);
  metrics.load();
  tick();
  return socket;
}
