// Parts marked data-while-visible ask the server again by themselves (htmx polls them), but only
// while somebody looks. They say so quietly when it does not answer.

const isOurs = (event) => event.detail.elt?.matches?.("[data-while-visible]");

function mark(part, isLost) {
  part.toggleAttribute("data-lost", isLost);
  let note = part.previousElementSibling?.matches(".live[data-note]") ? part.previousElementSibling : null;
  if (isLost && !note) {
    note = document.createElement("p");
    note.className = "live";
    note.dataset.note = "";
    note.dataset.state = "lost";
    note.setAttribute("role", "status");
    note.textContent = "Reconnecting. What you see may be out of date.";
    part.before(note);
  } else if (!isLost) {
    note?.remove();
  }
}

document.addEventListener("htmx:beforeRequest", (event) => {
  if (isOurs(event) && document.hidden) event.preventDefault();
});

document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  for (const part of document.querySelectorAll("[data-while-visible]")) {
    part.dispatchEvent(new CustomEvent("refresh"));
  }
});

document.addEventListener("htmx:beforeSwap", (event) => {
  if (!isOurs(event)) return;
  const { xhr, elt } = event.detail;
  // The session ended and the answer is the sign-in page: show that, whole.
  const wanted = new URL(elt.getAttribute("hx-get"), location.href).pathname;
  if (xhr.responseURL && new URL(xhr.responseURL).pathname !== wanted) {
    event.detail.shouldSwap = false;
    location.reload();
  } else if (xhr.status < 400) {
    mark(elt, false);
  }
});

// Ahead of the page's own handler: a poll that fails is tried again and needs no toast each time.
for (const name of ["htmx:responseError", "htmx:sendError", "htmx:timeout"]) {
  addEventListener(
    name,
    (event) => {
      if (!isOurs(event)) return;
      event.stopImmediatePropagation();
      mark(event.detail.elt, true);
    },
    { capture: true },
  );
}
