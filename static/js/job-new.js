// The form of a job.
import { extras, prepare, seconds, value, whole } from "./launch.js";

const form = document.getElementById("launch");
const environment = form.elements.environment;
const allEnvironments = [...environment.options].map((option) => option.value);
const nodesField = document.getElementById("nodes-field");

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
    time_limit_seconds: seconds(),
    ...extras(),
  };
  if (whole("nodes") > 1) body.nodes = whole("nodes");
  if (whole("retries") > 0) body.retries = whole("retries");
  const env = variables();
  return Object.keys(env).length ? { ...body, env } : body;
}

// Each pool has environments of its own.
function offerEnvironments(offered) {
  const chosen = environment.value;
  environment.replaceChildren(
    ...allEnvironments.filter((name) => offered.includes(name)).map((name) => new Option(name, name)),
  );
  environment.value = offered.includes(chosen) ? chosen : (offered[0] ?? "");
}

// Nodes are asked for only where a pool gives more than one. A field that is disabled is not sent.
function offerNodes(most) {
  if (!nodesField) return;
  nodesField.hidden = most < 2;
  form.elements.nodes.disabled = most < 2;
  form.elements.nodes.max = most;
}

prepare({
  path: "/api/v1/jobs",
  request,
  offer(pool) {
    if (pool.environments !== undefined) offerEnvironments(pool.environments.split(" ").filter(Boolean));
    offerNodes(Number(pool.nodes ?? 1));
  },
});
