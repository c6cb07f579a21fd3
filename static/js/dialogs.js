// A dialog that comes in with an answer is opened at once.
const openNow = (root) => root.querySelector("dialog[data-open-now]")?.showModal();

document.addEventListener("htmx:afterSwap", (event) => openNow(event.target));
openNow(document);

document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-open-dialog]");
  if (opener) {
    opener.closest("details.menu")?.removeAttribute("open");
    document.getElementById(opener.dataset.openDialog)?.showModal();
    return;
  }
  const dialog = event.target.closest("dialog.dialog");
  if (!dialog) return;
  if (event.target.closest("[data-close-dialog]") || event.target === dialog) dialog.close();
});

// What was refused comes back with its dialog open.
document.querySelector("dialog[data-open-now]")?.showModal();
