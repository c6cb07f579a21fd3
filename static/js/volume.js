import { bytes, count } from "./format.js";
import { toast } from "./toasts.js";
import { follow, joined, post } from "./volume-api.js";
import { askConflict } from "./volume-conflict.js";
import { dropped, onDrop, picked } from "./volume-drop.js";
import { edit } from "./volume-edit.js";
import { Queue } from "./volume-queue.js";
import { show } from "./volume-tray.js";

const REFRESH_MS = 800;

const files = () => document.getElementById("files");
const here = () => files().dataset.path;
const rows = () => [...files().querySelectorAll("tr[data-name]")];
const rowOf = (element) => element.closest("tr[data-name]");
const chosen = new Set();
let chosenIn = here();

const refresh = () => files().dispatchEvent(new CustomEvent("refresh"));

// --- uploads ---

let draw = () => {};
let refreshing = 0;
const queue = new Queue({
  ask: askConflict,
  changed: () => draw(),
  placed(isLast) {
    clearTimeout(refreshing);
    refreshing = setTimeout(refresh, isLast ? 0 : REFRESH_MS);
  },
});
draw = show(queue);

function upload(found) {
  if (found.length) queue.add(here(), found);
}

onDrop(async (transfer) => {
  const folder = here();
  try {
    queue.add(folder, await dropped(transfer));
  } catch {
    toast("What was dropped could not be read.", "error");
  }
});

for (const input of document.querySelectorAll("#pick-files, #pick-folder")) {
  input.addEventListener("change", () => {
    upload(picked(input));
    input.value = "";
  });
}

addEventListener("beforeunload", (event) => {
  if (queue.isBusy) event.preventDefault();
});

// --- what is chosen ---

function showChosen() {
  if (chosenIn !== here()) {
    chosen.clear();
    chosenIn = here();
  }
  const names = new Set(rows().map((row) => row.dataset.name));
  for (const name of chosen) if (!names.has(name)) chosen.delete(name);
  for (const row of rows()) row.querySelector("[data-choose]").checked = chosen.has(row.dataset.name);
  const all = files().querySelector("[data-choose-all]");
  if (!all) return;
  all.checked = chosen.size > 0 && chosen.size === names.size;
  all.indeterminate = chosen.size > 0 && !all.checked;
  document.getElementById("file-bar").hidden = !chosen.size;
  files().querySelector("[data-chosen-text]").textContent = chosenWords();
}

function chosenWords() {
  const sizes = rows().filter((row) => chosen.has(row.dataset.name));
  const size = sizes.reduce((sum, row) => sum + Number(row.dataset.size ?? 0), 0);
  return `${count(chosen.size)} chosen${size ? ` · ${bytes(size)}` : ""}`;
}

document.addEventListener("change", (event) => {
  if (event.target.matches("[data-choose]")) {
    const { name } = rowOf(event.target).dataset;
    if (event.target.checked) chosen.add(name);
    else chosen.delete(name);
  } else if (event.target.matches("[data-choose-all]")) {
    chosen.clear();
    if (event.target.checked) for (const row of rows()) chosen.add(row.dataset.name);
  } else {
    return;
  }
  showChosen();
});

document.addEventListener("submit", (event) => {
  if (!event.target.matches("[data-zip-form]")) return;
  event.target.querySelectorAll("input[name=name]").forEach((old) => old.remove());
  for (const name of chosen) {
    const field = document.createElement("input");
    Object.assign(field, { type: "hidden", name: "name", value: name });
    event.target.append(field);
  }
});

// --- one deed each ---

async function rename(row) {
  const { name } = row.dataset;
  await edit(row, name, async (value) => {
    await post("move", { path: joined(here(), name), to: joined(here(), value) });
  });
  refresh();
}

async function newFolder() {
  const body = files().querySelector(".file-table tbody");
  if (!body || body.querySelector(".is-new")) return;
  const row = document.createElement("tr");
  row.className = "is-new";
  row.innerHTML = '<td class="cell-check"></td><td class="cell-name"></td><td class="cell-size"></td><td class="cell-modified"></td><td class="cell-actions"></td>';
  body.prepend(row);
  await edit(row, "", async (value) => {
    await post("folder", { path: joined(here(), value) });
  });
  row.remove();
  refresh();
}

async function unpack(row) {
  const { name } = row.dataset;
  const note = row.querySelector(".cell-size");
  const before = note.textContent;
  row.classList.add("is-busy");
  try {
    const last = await follow("unpack", { path: joined(here(), name) }, (step) => {
      if (step.of) note.textContent = `${count(step.done)} of ${count(step.of)}`;
    });
    const leftOut = last.left_out ? ` ${count(last.left_out)} links were left out.` : "";
    toast(`${name} is unpacked into ${last.name}.${leftOut}`, "success");
  } catch (error) {
    note.textContent = before;
    toast(error.message, "error");
  }
  row.classList.remove("is-busy");
  refresh();
}

const dialog = document.getElementById("delete-files");
let doomed = [];

function askDelete(names) {
  if (!names.length) return;
  doomed = names;
  const kinds = new Map(rows().map((row) => [row.dataset.name, row.dataset.kind]));
  const folders = names.filter((name) => kinds.get(name) === "folder").length;
  dialog.querySelector("h2").textContent = names.length === 1 ? `Delete ${kinds.get(names[0]) ?? "file"}?` : `Delete ${count(names.length)} entries?`;
  dialog.querySelector("[data-delete-names]").replaceChildren(
    ...names.slice(0, 5).map((name) => {
      const line = document.createElement("li");
      line.textContent = name;
      line.className = "strong";
      return line;
    }),
    ...(names.length > 5 ? [Object.assign(document.createElement("li"), { textContent: `and ${count(names.length - 5)} more` })] : []),
  );
  const inside = folders ? ` ${folders === 1 ? "The folder goes" : "Folders go"} with everything in ${folders === 1 ? "it" : "them"}.` : "";
  dialog.querySelector("[data-delete-words]").textContent = `This cannot be undone.${inside}`;
  dialog.querySelector("[data-delete-progress]").hidden = true;
  dialog.querySelector("[data-delete-go]").disabled = false;
  dialog.showModal();
}

async function deleteDoomed() {
  const progress = dialog.querySelector("[data-delete-progress]");
  dialog.querySelector("[data-delete-go]").disabled = true;
  const folder = here();
  let removed = 0;
  try {
    for (let isWhole = false; !isWhole && dialog.open; ) {
      const done = await post("delete", { folder, names: doomed });
      removed += done.removed;
      isWhole = done.complete;
      progress.hidden = false;
      progress.textContent = `${count(removed)} deleted`;
    }
    dialog.close();
  } catch (error) {
    dialog.close();
    toast(error.message, "error");
  }
  refresh();
}

// --- hands and keys ---

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  const row = rowOf(button);
  if (button.closest(".menu-box")) button.closest("details").open = false;
  if (button.dataset.pick) document.getElementById(`pick-${button.dataset.pick}`).click();
  else if ("newFolder" in button.dataset) newFolder();
  else if ("rename" in button.dataset) rename(row);
  else if ("unpack" in button.dataset) unpack(row);
  else if ("delete" in button.dataset) askDelete([row.dataset.name]);
  else if ("deleteChosen" in button.dataset) askDelete([...chosen]);
  else if ("deleteGo" in button.dataset) deleteDoomed();
  else if ("chooseNone" in button.dataset) {
    chosen.clear();
    showChosen();
  }
});

document.addEventListener("keydown", (event) => {
  const row = event.target.closest?.("tr[data-name]");
  if (!row || event.target.matches("input:not([type=checkbox])") || event.ctrlKey || event.metaKey) return;
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step && !event.target.closest("details[open]")) {
    const all = rows();
    const next = all[all.indexOf(row) + step];
    (next?.querySelector("[data-file-link]") ?? next?.querySelector("[data-choose]"))?.focus();
  } else if (event.key === "F2") rename(row);
  else if (event.key === "Delete") askDelete(chosen.size ? [...chosen] : [row.dataset.name]);
  else if (event.key === " " && event.target.matches("a")) row.querySelector("[data-choose]").click();
  else return;
  event.preventDefault();
});

document.addEventListener("htmx:beforeSwap", (event) => {
  // A name that is being typed, or a menu that is open, is not swept away by a look of the clock.
  const isBusy = files().querySelector(".file-edit, details[open], .is-busy");
  const isAsked = event.detail.requestConfig?.triggeringEvent?.type === "click";
  if (event.detail.target === files() && isBusy && !isAsked) event.detail.shouldSwap = false;
});
document.addEventListener("htmx:afterSettle", showChosen);
showChosen();
