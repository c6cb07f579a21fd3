// A job's page: everything live comes through one socket.
import { GpuCharts } from "./chart-gpu.js";
import { bytes, duration, money } from "./format.js";
import { JobSocket } from "./job-socket.js";
import { LogPanel } from "./job-log.js";

const HOUR_US = 3_600_000_000n;
const QUEUE_MS = 3000;
const FILES_MS = 10_000;
const STATE_MS = 10_000;
const run = document.getElementById("run");
const find = (id) => document.getElementById(id);
const WORDS = {
  live: "Live",
  lost: "Reconnecting",
  ended: "Ended",
  refused: "You can no longer see this job. Reload the page.",
};

const log = new LogPanel();
const charts = new GpuCharts();
let attempt = 0; // whose log and charts are shown
let ahead = 0; // the server's clock less ours, in milliseconds

// The same sum as the bill: floor(price x GPUs x microseconds / hour), never added up from ticks.
function cost(element, now) {
  const { closed, price, gpus, from } = element.dataset;
  const us = BigInt(Math.max(0, Math.round(now - Date.parse(from)))) * 1000n;
  return Number(BigInt(closed) + (BigInt(price) * BigInt(gpus) * us) / HOUR_US);
}

function tick() {
  if (document.hidden) return;
  const now = Date.now() + ahead;
  const paid = find("job-cost");
  if (paid.dataset.from) paid.textContent = money(cost(paid, now), 4);
  const ran = find("job-ran");
  if (ran.dataset.from) ran.textContent = duration((now - Date.parse(ran.dataset.from)) / 1000);
  const starts = find("job-starts");
  if (starts) starts.textContent = duration(Math.ceil((Date.parse(starts.dataset.at) - now) / 1000));
}

const refresh = (id) => find(id).dispatchEvent(new CustomEvent("refresh"));
const status = () => run.querySelector(".run-status");
const isFinal = () => "final" in status().dataset;

function settled() {
  find("stop-button").hidden = !("mayStop" in status().dataset);
  if (isFinal()) find("stop-dialog").close();
  tick();
}

function state(name) {
  const live = find("log-live");
  live.dataset.state = name === "refused" ? "lost" : name;
  live.textContent = WORDS[name];
}

function showEnd(text) {
  find("log-end").textContent = text;
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

const socket = new JobSocket(run.dataset.socket, run.dataset.statusUrl, {
  state,
  hello(data, isSame) {
    ahead = Date.parse(data.now) - Date.now();
    if (!isSame) log.reset(data.offset);
    if (attempt && attempt !== data.attempt) {
      charts.reset();
      refresh("job-files");
    }
    attempt = data.attempt;
    if (data.status !== status().dataset.status) refresh("job-now");
    loadStored();
  },
  status() {
    refresh("job-now");
    refresh("job-files");
  },
  gpu(data) {
    if (data.attempt === attempt) charts.add(data);
  },
  log(data) {
    log.append(data.text);
    showEnd(`${bytes(data.next_offset)} so far`);
  },
  complete(data) {
    state("ended");
    log.draw();
    showEnd(data.offset ? `${bytes(data.offset)}, complete` : "It printed nothing.");
    refresh("job-now");
    refresh("job-files");
  },
  end(data) {
    log.draw();
    showEnd(data.offset ? `${bytes(data.offset)}, complete` : "It printed nothing.");
    refresh("job-now");
    refresh("job-files");
    loadStored();
  },
});

// What Stop would do follows the job's status, but never changes under somebody who reads it; nor
// does a table under somebody who walks through it by keyboard.
document.addEventListener("htmx:oobBeforeSwap", (event) => {
  const { target } = event.detail;
  const isRead = target.id === "stop-box" ? find("stop-dialog").open : target.contains(document.activeElement);
  if (isRead) event.preventDefault();
});
document.addEventListener("htmx:afterSettle", (event) => {
  if (event.target.closest("#job-now")) settled();
});
setInterval(tick, 1000);
document.addEventListener("visibilitychange", tick);
// A place in the queue moves when others' jobs end, of which this job's socket knows nothing.
setInterval(() => {
  if (!document.hidden && !socket.isOver && status().dataset.status === "queued") refresh("job-now");
}, QUEUE_MS);
// Whether its engine still answers is told by no event either.
setInterval(() => {
  if (!document.hidden && !socket.isOver) refresh("job-now");
}, STATE_MS);
const filesShown = () => !find("run-files").hidden;
setInterval(() => {
  if (!document.hidden && !socket.isOver && filesShown() && status().dataset.status === "running") refresh("job-files");
}, FILES_MS);
document.addEventListener("tabchosen", () => {
  if (filesShown() && !isFinal()) refresh("job-files");
});
tick();
