const tabsOf = (box) => [...box.querySelectorAll(":scope > [role=tablist] > [role=tab]")];

function choose(tab) {
  for (const other of tabsOf(tab.closest("[data-tabs]"))) {
    const isChosen = other === tab;
    other.setAttribute("aria-selected", String(isChosen));
    other.tabIndex = isChosen ? 0 : -1;
    document.getElementById(other.getAttribute("aria-controls")).hidden = !isChosen;
  }
  tab.dispatchEvent(new CustomEvent("tabchosen", { bubbles: true }));
}

// What the address calls a tab. A name that is no element's id lets nothing scroll on load.
const nameOf = (tab) => tab.dataset.name ?? tab.getAttribute("aria-controls");

function start() {
  for (const box of document.querySelectorAll("[data-tabs]")) {
    const tabs = tabsOf(box);
    const wanted = location.hash.slice(1);
    const chosen =
      tabs.find((tab) => nameOf(tab) === wanted) ??
      tabs.find((tab) => new RegExp(tab.dataset.tabFor ?? "$^").test(wanted)) ??
      tabs.find((tab) => tab.getAttribute("aria-selected") === "true") ??
      tabs[0];
    if (chosen) choose(chosen);
  }
}

document.addEventListener("click", (event) => {
  const tab = event.target.closest("[data-tabs] [role=tab]");
  if (!tab) return;
  choose(tab);
  history.replaceState(history.state, "", `#${nameOf(tab)}`);
});

document.addEventListener("keydown", (event) => {
  const tab = event.target.closest?.("[data-tabs] [role=tab]");
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!tab || !step) return;
  const tabs = tabsOf(tab.closest("[data-tabs]"));
  const next = tabs[(tabs.indexOf(tab) + step + tabs.length) % tabs.length];
  next.focus();
  next.click();
});

addEventListener("hashchange", start);
start();
