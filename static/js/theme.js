const root = document.documentElement;
const YEAR = 365 * 86_400;

/** "light" or "dark": what is shown now. */
export function currentTheme() {
  const chosen = root.dataset.theme;
  if (chosen !== "auto") return chosen;
  return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}

/** The colour of a token as the browser computes it, for canvases and chart libraries. */
export function token(name) {
  const probe = document.createElement("span");
  probe.hidden = true;
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const colour = getComputedStyle(probe).color;
  probe.remove();
  return colour;
}

function announce() {
  document.dispatchEvent(new CustomEvent("themechange", { detail: { theme: currentTheme() } }));
}

function mark() {
  for (const button of document.querySelectorAll("[data-theme-set]")) {
    button.setAttribute("aria-pressed", String(button.dataset.themeSet === root.dataset.theme));
  }
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-theme-set]");
  if (!button) return;
  root.dataset.theme = button.dataset.themeSet;
  const secure = location.protocol === "https:" ? "; Secure" : "";
  document.cookie = `theme=${button.dataset.themeSet}; Path=/; Max-Age=${YEAR}; SameSite=Lax${secure}`;
  mark();
  announce();
});

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", announce);
