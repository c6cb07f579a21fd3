import { toast } from "./toasts.js";

async function copy(button) {
  const source = button.dataset.copyFrom;
  const text = source ? document.querySelector(source).textContent : button.dataset.copy;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    toast("The browser did not allow copying. Select the text and press Ctrl+C.", "warning");
    return;
  }
  button.classList.add("is-done");
  const before = button.getAttribute("aria-label");
  button.setAttribute("aria-label", "Copied");
  setTimeout(() => {
    button.classList.remove("is-done");
    if (before) button.setAttribute("aria-label", before);
  }, 1500);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy], [data-copy-from]");
  if (button) copy(button);
});
