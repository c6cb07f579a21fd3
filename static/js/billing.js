// What a person opened stays open when the part of the page around it is refreshed.
let open = [];

document.addEventListener("htmx:beforeSwap", (event) => {
  if (!event.target.matches("[data-keep-open]")) return;
  open = [...event.target.querySelectorAll("details[open][id]")].map((element) => element.id);
});

document.addEventListener("htmx:afterSwap", (event) => {
  if (!event.target.matches("[data-keep-open]")) return;
  for (const id of open) document.getElementById(id)?.setAttribute("open", "");
});
