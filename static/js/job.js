// A job's page: a run with files.
import { find, follow, isFinal, refresh, status } from "./run.js";

const FILES_MS = 10_000;
const filesShown = () => !find("run-files").hidden;

const socket = follow({
  parts: () => refresh("run-files-list"),
  settled() {
    find("stop-button").hidden = !("mayStop" in status().dataset);
  },
});

setInterval(() => {
  if (!document.hidden && !socket.isOver && filesShown() && status().dataset.status === "running") refresh("run-files-list");
}, FILES_MS);
document.addEventListener("tabchosen", () => {
  if (filesShown() && !isFinal()) refresh("run-files-list");
});
