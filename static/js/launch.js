// A launch form: asks for a new quote as it is filled in, and writes the same call for the API.
const form = document.getElementById("launch");
const call = document.getElementById("same-call");
const QUOTED = new Set(["pool", "gpus", "nodes", "hours", "minutes"]);

export const value = (name) => form.elements[name]?.value ?? "";
export const whole = (name) => Number.parseInt(value(name) || "0", 10) || 0;
export const seconds = () => whole("hours") * 3600 + whole("minutes") * 60;

/** What the chosen pool says of itself. */
const pool = () => form.querySelector("[name=pool]:checked")?.dataset ?? {};

/** Fields that every launch may leave out. */
export function extras() {
  const found = {};
  if (value("volume")) found.volume = value("volume");
  if (value("project").trim()) found.project = value("project");
  const cost = Math.round(Number(value("max_cost")) * 1e6);
  if (cost > 0) found.max_cost_micros = cost;
  return found;
}

// A volume lies in the storage of one engine.
function offerVolumes() {
  const select = form.elements.volume;
  if (!select) return;
  for (const option of select.options) {
    option.disabled = Boolean(option.value) && Boolean(pool().backend) && option.dataset.backend !== pool().backend;
  }
  if (select.selectedOptions[0]?.disabled) select.value = "";
}

/** Each pool has environments of its own: offers in `select` those of the chosen one. */
export function environmentsOf(select) {
  const all = [...select.options].map((option) => option.value);
  return (chosenPool) => {
    if (chosenPool.environments === undefined) return;
    const offered = chosenPool.environments.split(" ");
    const names = all.filter((name) => offered.includes(name));
    const chosen = select.value;
    select.replaceChildren(...names.map((name) => new Option(name, name)));
    select.value = names.includes(chosen) ? chosen : (names[0] ?? "");
  };
}

/** `path` of the API, `request()` its body, `offer(pool)` shows what the chosen pool has. */
export function prepare({ path, request, offer }) {
  // A line of JSON text never is the bare word JSON, so nothing typed can end the document early.
  function writeCall() {
    if (!call.open) return;
    const lines = [
      `curl ${location.origin}${path} \\`,
      '  -H "Authorization: Bearer $FASTGPU_API_KEY" \\',
      '  -H "Content-Type: application/json" \\',
      "  --data-binary @- <<'JSON'",
      JSON.stringify(request(), null, 2),
      "JSON",
    ];
    document.getElementById("same-call-text").textContent = lines.join("\n");
  }

  function offerAll() {
    offerVolumes();
    offer(pool());
  }

  form.addEventListener("input", (event) => {
    if (event.target.name === "pool") offerAll();
    if (QUOTED.has(event.target.name)) form.dispatchEvent(new CustomEvent("quote"));
    writeCall();
  });
  form.addEventListener("submit", () => {
    document.getElementById("launch-button").disabled = true;
  });
  // Back from the next page: the browser shows the form as it was left.
  addEventListener("pageshow", () => {
    document.getElementById("launch-button").disabled = false;
  });
  call.addEventListener("toggle", writeCall);
  call.hidden = false;
  offerAll();
}
