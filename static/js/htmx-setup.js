import { toast } from "./toasts.js";

document.addEventListener("htmx:configRequest", (event) => {
  const token = document.body.dataset.csrf;
  if (token && event.detail.verb !== "get") event.detail.headers["X-CSRFToken"] = token;
});

// A refused form comes back as 4xx with the form and its errors: show it like any other answer.
document.addEventListener("htmx:beforeSwap", (event) => {
  const { xhr } = event.detail;
  if ([400, 402, 409, 422].includes(xhr.status) && xhr.getResponseHeader("Content-Type")?.startsWith("text/html")) {
    event.detail.shouldSwap = true;
    event.detail.isError = false;
  }
});

// What is asked for again and again tries again by itself, and its page says that it is out of date.
const isPolled = ({ elt }) => elt?.getAttribute("hx-trigger")?.includes("every") || elt?.hasAttribute("data-polled");

document.addEventListener("htmx:responseError", (event) => {
  const { xhr, elt } = event.detail;
  if (elt?.hasAttribute("data-polled")) return;
  const reference = xhr.getResponseHeader("X-Request-Id");
  const why = xhr.status >= 500 ? "Something broke on our side." : "That was refused.";
  toast(`${why} Reload the page and try again.${reference ? ` Reference ${reference}` : ""}`, "error");
});

for (const name of ["htmx:sendError", "htmx:timeout"]) {
  document.addEventListener(name, (event) => {
    if (!isPolled(event.detail)) toast("The server does not answer. Try again in a moment.", "error");
  });
}
