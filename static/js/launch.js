// The launch form: asks for a new quote as it is filled in, and writes the same call for the API.
const form = document.getElementById("launch");
const call = document.getElementById("same-call");
const QUOTED = new Set(["pool", "gpus", "nodes", "hours", "minutes"]);
const environment = form.elements.environment;
const allEnvironments = [...environment.options].map((option) => option.value);

const nodesField = document.getElementById("nodes-field");

const value = (name) => form.elements[name]?.value ?? "";
const whole = (name) => Number.parseInt(value(name) || "0", 10) || 0;

function variables() {
  const found = {};
  for (const line of value("env").split("\n")) {
    const at = line.indexOf("=");
    if (at > 0) found[line.slice(0, at).trim()] = line.slice(at + 1);
  }
  return found;
}

function request() {
  const body = {
    name: value("name"),
    pool: value("pool"),
    gpus: whole("gpus"),
    environment: value("environment"),
    command: value("command"),
    time_limit_seconds: whole("hours") * 3600 + whole("minutes") * 60,
  };
  if (whole("nodes") > 1) body.nodes = whole("nodes");
  if (whole("retries") > 0) body.retries = whole("retries");
  if (value("project").trim()) body.project = value("project");
  const env = variables();
  return Object.keys(env).length ? { ...body, env } : body;
}

// A line of JSON text never is the bare word JSON, so nothing typed can end the document early.
function writeCall() {
  if (!call.open) return;
  const lines = [
    `curl ${location.origin}/api/v1/jobs \\`,
    '  -H "Authorization: Bearer $FASTGPU_API_KEY" \\',
    '  -H "Content-Type: application/json" \\',
    "  --data-binary @- <<'JSON'",
    JSON.stringify(request(), null, 2),
    "JSON",
  ];
  document.getElementById("same-call-text").textContent = lines.join("\n");
}

// Each pool has environments of its own.
function offerEnvironments() {
  const pool = form.querySelector("[name=pool]:checked");
  if (!pool) return;
  const offered = pool.dataset.environments.split(" ").filter(Boolean);
  const chosen = environment.value;
  environment.replaceChildren(
    ...allEnvironments.filter((name) => offered.includes(name)).map((name) => new Option(name, name)),
  );
  environment.value = offered.includes(chosen) ? chosen : (offered[0] ?? "");
}

// Nodes are asked for only where a pool gives more than one. A field that is disabled is not sent.
function offerNodes() {
  if (!nodesField) return;
  const pool = form.querySelector("[name=pool]:checked");
  const most = Number(pool?.dataset.nodes ?? 1);
  nodesField.hidden = most < 2;
  form.elements.nodes.disabled = most < 2;
  form.elements.nodes.max = most;
}

form.addEventListener("input", (event) => {
  if (event.target.name === "pool") {
    offerEnvironments();
    offerNodes();
  }
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
offerEnvironments();
offerNodes();
