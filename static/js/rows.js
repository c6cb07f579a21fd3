const OWN = "a, button, input, select, label, summary, [tabindex]";

document.addEventListener("click", (event) => {
  const row = event.target.closest("tr[data-href]");
  const inner = event.target.closest(OWN);
  if (!row || (inner && inner !== row) || getSelection().toString()) return;
  if (event.ctrlKey || event.metaKey) window.open(row.dataset.href);
  else location.assign(row.dataset.href);
});

document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && event.target.matches?.("tr[data-href]")) {
    location.assign(event.target.dataset.href);
  }
});
