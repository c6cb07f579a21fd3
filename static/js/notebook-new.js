// The form of a notebook.
import { instantIn } from "./local-time.js";
import { extras, prepare, seconds, value, whole } from "./launch.js";

const form = document.getElementById("launch");
const cards = [...form.querySelectorAll("[data-environment]")];

function request() {
  const body = {
    name: value("name"),
    pool: value("pool"),
    gpus: whole("gpus"),
    environment: value("environment"),
    idle_minutes: whole("idle"),
    lifetime_seconds: seconds(),
    ...extras(),
  };
  const at = instantIn(form.querySelector("[data-local-time]"));
  return at ? { ...body, stop_at: at.toISOString() } : body;
}

form.elements.volume.addEventListener("input", () => {
  document.getElementById("no-volume").hidden = Boolean(value("volume"));
});

prepare({
  path: "/api/v1/notebooks",
  request,
  // Each pool has environments of its own.
  offer(pool) {
    if (pool.environments === undefined) return;
    const offered = pool.environments.split(" ");
    for (const card of cards) {
      card.hidden = !offered.includes(card.dataset.environment);
      card.querySelector("input").disabled = card.hidden;
    }
    const shown = cards.filter((card) => !card.hidden);
    if (shown.length && !shown.some((card) => card.querySelector("input").checked)) shown[0].querySelector("input").checked = true;
    document.getElementById("no-volume").hidden = Boolean(value("volume"));
  },
});
