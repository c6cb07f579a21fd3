import { bytes, relative } from "./format.js";

const dialog = document.getElementById("conflict");
const part = (name) => dialog.querySelector(`[data-conflict-${name}]`);
let before = Promise.resolve();

/** Asks what becomes of a file whose name is taken, one question at a time. */
export function askConflict(item, there, others) {
  const answer = before.then(() => ask(item, there, others));
  before = answer;
  return answer;
}

function ask(item, there, others) {
  const isFolder = there?.kind === "folder";
  part("title").textContent = `${item.path} is there already`;
  part("there").textContent = there ? said(there.size_bytes, new Date(there.modified_at), isFolder) : "Made just now";
  part("yours").textContent = said(item.size, new Date(item.file.lastModified), false);
  part("all").checked = false;
  part("more").hidden = others < 1;
  part("all-text").textContent = `The same for the other ${others.toLocaleString("en-US")}, should they be there too`;
  const replace = dialog.querySelector("[data-conflict=replace]");
  replace.disabled = isFolder;
  replace.title = isFolder ? "A file does not replace a folder." : "";
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    const choose = (event) => {
      const button = event.target.closest("[data-conflict]");
      if (button) dialog.close(button.dataset.conflict);
    };
    dialog.addEventListener("click", choose);
    dialog.addEventListener(
      "close",
      () => {
        dialog.removeEventListener("click", choose);
        resolve({ how: dialog.returnValue || "skip", forAll: part("all").checked });
      },
      { once: true },
    );
  });
}

function said(size, at, isFolder) {
  return `${isFolder ? "A folder" : bytes(size ?? 0)}, ${relative(at)}`;
}
