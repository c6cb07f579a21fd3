// Fields of a time: the server counts in UTC, people type what their clock shows.
const pad = (n) => String(n).padStart(2, "0");

/** The instant a field means, or null while it is empty. */
export function instantIn(field) {
  const typed = field.querySelector("input[type=datetime-local]").value;
  const at = new Date(typed);
  return typed && !Number.isNaN(at.getTime()) ? at : null;
}

function asTyped(at) {
  return `${at.getFullYear()}-${pad(at.getMonth() + 1)}-${pad(at.getDate())}T${pad(at.getHours())}:${pad(at.getMinutes())}`;
}

// How far the clock is from UTC depends on the date: summer time.
function note(field) {
  const at = instantIn(field) ?? new Date();
  const offset = at.getTimezoneOffset();
  field.querySelector("[name=utc_offset]").value = offset;
  const [hours, minutes] = [Math.trunc(Math.abs(offset) / 60), Math.abs(offset) % 60];
  const ahead = `${offset > 0 ? "−" : "+"}${hours}${minutes ? `:${pad(minutes)}` : ""}`;
  field.querySelector("[data-zone]").textContent = offset ? `UTC${ahead}` : "UTC";
}

function prepare(root) {
  for (const field of root.querySelectorAll("[data-local-time]")) {
    const input = field.querySelector("input[type=datetime-local]");
    if (input.dataset.utc) input.value = asTyped(new Date(input.dataset.utc));
    delete input.dataset.utc;
    note(field);
  }
}

document.addEventListener("input", (event) => {
  const field = event.target.closest("[data-local-time]");
  if (field) note(field);
});
document.addEventListener("htmx:afterSwap", (event) => prepare(event.target));
prepare(document);
