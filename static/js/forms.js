const unsaved = new WeakSet();

function prepare(root) {
  for (const button of root.querySelectorAll("[data-reveal][hidden]")) button.hidden = false;
  const form = root.querySelector("form[data-autofocus-error]");
  form?.querySelector("[aria-invalid=true]")?.focus();
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-reveal]");
  if (!button) return;
  const field = document.getElementById(button.dataset.reveal);
  const isShown = field.type === "text";
  field.type = isShown ? "password" : "text";
  button.textContent = isShown ? "Show" : "Hide";
  button.setAttribute("aria-pressed", String(!isShown));
});

document.addEventListener("change", (event) => {
  event.target.closest("form[data-submit-on-change]")?.requestSubmit();
});
document.addEventListener("input", (event) => {
  const form = event.target.closest("form[data-warn-unsaved]");
  if (form) unsaved.add(form);
});
document.addEventListener("submit", (event) => unsaved.delete(event.target));
addEventListener("beforeunload", (event) => {
  const forms = document.querySelectorAll("form[data-warn-unsaved]");
  if ([...forms].some((form) => unsaved.has(form))) event.preventDefault();
});

document.addEventListener("htmx:afterSettle", (event) => prepare(event.target));
prepare(document);
