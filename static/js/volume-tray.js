import { bytes, duration } from "./format.js";

// Rows for what is of interest; a folder may have fifty thousand files.
const MOST_ROWS = { sending: 10, pausing: 10, failed: 50, asking: 0, waiting: 5, done: 5 };
const WORDS = { waiting: "Waiting", done: "Done", asking: "", skipped: "Skipped", cancelled: "Cancelled" };
const SPEED_MS = 5000;

const tray = document.getElementById("uploads");
const part = (name) => tray.querySelector(`[data-uploads-${name}]`);
const list = document.getElementById("uploads-list");
const rows = new Map();
let samples = [];

/** Shows what a queue does. Nothing is drawn more often than the screen is. */
export function show(queue) {
  let isAsked = false;
  part("cancel").addEventListener("click", () => queue.cancelAll());
  part("fold").addEventListener("click", fold);
  part("close").addEventListener("click", () => {
    tray.hidden = true;
  });
  list.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    const item = [...rows].find(([, row]) => row.contains(button))?.[0];
    if (!button || !item) return;
    if (button.name === "retry") queue.retry(item);
    else queue.cancel(item);
  });
  return () => {
    if (isAsked) return;
    isAsked = true;
    requestAnimationFrame(() => {
      isAsked = false;
      draw(queue);
    });
  };
}

function fold() {
  const isFolded = tray.toggleAttribute("data-folded");
  part("fold").setAttribute("aria-expanded", String(!isFolded));
  part("fold").setAttribute("aria-label", isFolded ? "Show more" : "Show less");
}

function draw(queue) {
  const now = queue.progress;
  tray.hidden = !queue.items.length || (!now.count && !queue.isBusy);
  part("title").textContent = title(queue, now);
  part("left").textContent = queue.isBusy ? left(now) : bytes(now.sent);
  part("bar").max = Math.max(1, now.size);
  part("bar").value = now.size ? now.sent : queue.isBusy ? 0 : 1;
  part("cancel").hidden = !queue.isBusy;
  part("close").hidden = queue.isBusy;
  drawRows(queue);
}

function title(queue, { done, failed, count }) {
  if (queue.items.some((item) => item.state === "asking") && !queue.running) return "Looking what is there already";
  if (queue.isBusy) return `Uploading ${Math.min(done + 1, count)} of ${count}`;
  if (failed) return `${failed} of ${count} not uploaded`;
  return `${done} uploaded`;
}

function left({ sent, size }) {
  const at = performance.now();
  samples = [...samples.filter((sample) => at - sample.at < SPEED_MS && sample.sent <= sent), { at, sent }];
  const [first] = samples;
  const seconds = (at - first.at) / 1000;
  const speed = seconds > 0.5 ? (sent - first.sent) / seconds : 0;
  const share = size ? `${Math.floor((100 * sent) / size)} %` : "";
  return speed ? `${share} · ${bytes(speed)}/s · ${duration((size - sent) / speed)} left` : share;
}

function drawRows(queue) {
  const room = { ...MOST_ROWS };
  const newest = [...queue.items].reverse();
  const shown = new Set([...queue.items.filter((item) => item.state !== "done"), ...newest.filter((item) => item.state === "done")].filter((item) => room[item.state]-- > 0));
  for (const [item, row] of rows) {
    if (shown.has(item)) continue;
    row.remove();
    rows.delete(item);
  }
  for (const item of queue.items) {
    if (!shown.has(item)) continue;
    if (!rows.has(item)) {
      rows.set(item, build(item));
      list.append(rows.get(item));
    }
    update(rows.get(item), item);
  }
  drawRest(queue);
}

function drawRest(queue) {
  list.querySelector(".upload-rest")?.remove();
  const waiting = queue.items.filter((item) => item.state === "waiting").length - MOST_ROWS.waiting;
  if (waiting <= 0) return;
  const rest = document.createElement("li");
  rest.className = "upload-rest";
  rest.textContent = `and ${waiting.toLocaleString("en-US")} more`;
  list.append(rest);
}

function build(item) {
  const row = document.createElement("li");
  row.className = "upload";
  const name = document.createElement("span");
  name.className = "name";
  name.title = item.path;
  const [head, tail] = [document.createElement("span"), document.createElement("span")];
  head.className = "name-head";
  tail.className = "name-tail";
  head.textContent = item.path.slice(0, -8);
  tail.textContent = item.path.slice(-8);
  name.append(head, tail);
  const state = document.createElement("span");
  state.className = "upload-state";
  const button = document.createElement("button");
  button.type = "button";
  button.className = "btn btn-sm btn-quiet";
  const bar = document.createElement("progress");
  bar.max = Math.max(1, item.size);
  bar.setAttribute("aria-label", item.path);
  row.append(name, state, button, bar);
  return row;
}

function update(row, item) {
  const [, state, button, bar] = row.children;
  row.dataset.state = item.state;
  state.textContent = stateOf(item);
  bar.value = item.sent;
  bar.hidden = item.state !== "sending";
  const isOver = ["done", "skipped", "cancelled"].includes(item.state);
  button.hidden = isOver;
  button.name = item.state === "failed" ? "retry" : "cancel";
  button.textContent = item.state === "failed" ? "Retry" : "Cancel";
  button.setAttribute("aria-label", `${button.textContent} ${item.path}`);
}

function stateOf(item) {
  if (item.state === "sending") return item.sent < item.size ? `${bytes(item.sent)} of ${bytes(item.size)}` : "Storing";
  if (item.state === "pausing") return navigator.onLine ? "Trying again shortly" : "Waiting for the network";
  if (item.state === "failed") return item.why;
  return WORDS[item.state] ?? "";
}
