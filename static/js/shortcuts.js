const PAUSE_MS = 900;
let pressed = "";
let pressedAt = 0;

const targets = () => [...document.querySelectorAll("[data-shortcut]")];
const isTyping = (element) => element.matches("input, textarea, select, [contenteditable]");

function act(element) {
  if (isTyping(element)) {
    element.focus();
    element.select?.();
  } else {
    element.click();
  }
}

function showKeys() {
  const dialog = document.getElementById("keys");
  const list = document.getElementById("keys-list");
  if (!dialog || dialog.open) return;
  const rows = [...targets().map((e) => [e.dataset.shortcutLabel ?? e.textContent.trim(), e.dataset.shortcut]), ["This list", "?"]];
  list.replaceChildren(
    ...rows.flatMap(([label, keys]) => {
      const name = document.createElement("dt");
      name.textContent = label;
      const value = document.createElement("dd");
      for (const key of keys.split(" ")) {
        const box = document.createElement("kbd");
        box.textContent = key;
        value.append(box, " ");
      }
      return [name, value];
    }),
  );
  dialog.showModal();
}

document.addEventListener("click", (event) => {
  if (event.target.closest("[data-open-dialog=keys]")) {
    document.getElementById("keys").close();
    showKeys();
  }
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (isTyping(event.target)) {
    if (event.key === "Escape" && event.target.dataset.shortcut) event.target.blur();
    return;
  }
  if (document.querySelector("dialog[open]")) return;
  if (event.key === "?") {
    showKeys();
    return;
  }
  if (event.key.length !== 1) return;
  const now = Date.now();
  const keys = now - pressedAt < PAUSE_MS && pressed ? `${pressed} ${event.key}` : event.key;
  const target = targets().find((e) => e.dataset.shortcut === keys);
  if (target) {
    event.preventDefault();
    pressed = "";
    act(target);
    return;
  }
  pressed = event.key;
  pressedAt = now;
});
