// A notebook's page: a run that opens in the browser, rests and goes on.
import { IdleChart } from "./chart-idle.js";
import { find, follow } from "./run.js";

const IDLE_MS = 60_000;
const run = find("run");
const title = document.title;
let opens = "opens" in run.dataset;

const isReady = () => Boolean(find("open-button"));
const hasFailed = () => document.querySelector(".run-status").dataset.status === "failed";

// It opens by itself only where the person waits for it. In a tab they have left it would start
// kernels that nobody uses, and what is used is not idle: there it waits until they come back.
function openIfAwaited() {
  const note = find("opens-note");
  if (note) note.hidden = !opens;
  if (hasFailed()) stopWaiting();
  if (!opens || !isReady()) return;
  if (document.hidden) {
    document.title = `Ready: ${title}`;
    return;
  }
  stopWaiting();
  location.assign(run.dataset.openUrl);
}

// The way back from JupyterLab leads to this page, and must not lead forward again.
function stopWaiting() {
  opens = false;
  document.title = title;
  const here = new URL(location.href);
  here.searchParams.delete("open");
  here.searchParams.delete("next");
  history.replaceState(history.state, "", here);
}

follow({ mayRestart: true, settled: openIfAwaited });
document.addEventListener("visibilitychange", openIfAwaited);
openIfAwaited();

const idle = new IdleChart();
document.addEventListener("tabchosen", () => idle.load());
setInterval(() => {
  if (!document.hidden) idle.load();
}, IDLE_MS);
idle.load();
