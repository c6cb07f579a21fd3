// Files and folders from a drop or a choice, as `{path, file}`; empty folders as `{path, file: null}`.

const MOST = 50_000;

const readSome = (reader) => new Promise((resolve, reject) => reader.readEntries(resolve, reject));
const fileOf = (entry) => new Promise((resolve, reject) => entry.file(resolve, reject));

async function childrenOf(folder) {
  const reader = folder.createReader();
  const all = [];
  // Browsers hand out a hundred at a time.
  for (;;) {
    const some = await readSome(reader);
    if (!some.length) return all;
    all.push(...some);
  }
}

async function gather(entry, above, found) {
  if (found.length >= MOST) return;
  const path = above ? `${above}/${entry.name}` : entry.name;
  if (entry.isFile) {
    found.push({ path, file: await fileOf(entry) });
    return;
  }
  const children = await childrenOf(entry);
  if (!children.length) found.push({ path, file: null });
  for (const child of children) await gather(child, path, found);
}

/** What was dropped. The entries must be asked for at once, before the event is over. */
export async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return [...transfer.files].map((file) => ({ path: file.name, file }));
  const found = [];
  for (const entry of entries) await gather(entry, "", found);
  return found;
}

export const picked = (input) =>
  [...input.files].map((file) => ({ path: file.webkitRelativePath || file.name, file }));

/** Calls `take(transfer)` for what is dropped anywhere on the page. */
export function onDrop(take) {
  let depth = 0;
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  const mark = () => document.body.classList.toggle("is-dropping", depth > 0);

  addEventListener("dragenter", (event) => {
    if (!hasFiles(event)) return;
    depth += 1;
    mark();
  });
  addEventListener("dragleave", (event) => {
    if (!hasFiles(event)) return;
    depth = Math.max(0, depth - 1);
    mark();
  });
  addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
  });
  addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    depth = 0;
    mark();
    take(event.dataTransfer);
  });
}
