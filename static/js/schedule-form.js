// The form of a schedule.
import { environmentsOf, extras, prepare, seconds, value, whole } from "./launch.js";

const form = document.getElementById("launch");
const examples = document.getElementById("cron-examples");
const ask = () => form.dispatchEvent(new CustomEvent("times"));

// As the server reads them: JSON where it is JSON, else text.
function parameters() {
  const found = {};
  for (const line of value("parameters").split("\n")) {
    const at = line.indexOf("=");
    if (at < 1) continue;
    const text = line.slice(at + 1).trim();
    try {
      found[line.slice(0, at).trim()] = JSON.parse(text);
    } catch {
      found[line.slice(0, at).trim()] = text;
    }
  }
  return found;
}

function request() {
  return {
    name: value("name"),
    notebook: value("notebook"),
    output_folder: value("output_folder"),
    parameters: parameters(),
    cron: value("cron"),
    timezone: value("timezone"),
    skips_while_running: form.elements.skips_while_running.checked,
    catches_up: form.elements.catches_up.checked,
    pool: value("pool"),
    gpus: whole("gpus"),
    environment: value("environment"),
    time_limit_seconds: seconds(),
    ...extras(),
  };
}

// People think in their own time zone; the server knows none of theirs.
function guessZone() {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const isKnown = [...document.getElementById("zones").options].some((option) => option.value === zone);
  if ("isNew" in form.dataset && isKnown && value("timezone") === "UTC") form.elements.timezone.value = zone;
}

examples.hidden = false;
examples.addEventListener("click", (event) => {
  const chosen = event.target.closest("[data-cron]");
  if (!chosen) return;
  form.elements.cron.value = chosen.dataset.cron;
  form.elements.cron.dispatchEvent(new Event("input", { bubbles: true }));
});
form.addEventListener("input", (event) => {
  if (["cron", "timezone"].includes(event.target.name)) ask();
});

guessZone();
prepare({ path: "/api/v1/schedules", request, offer: environmentsOf(form.elements.environment) });
if (value("timezone") !== "UTC") ask();
