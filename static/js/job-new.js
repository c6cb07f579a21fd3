// The form of a job.
import { environmentsOf, extras, prepare, seconds, value, whole } from "./launch.js";

const form = document.getElementById("launch");
const offerEnvironments = environmentsOf(form.elements.environment);
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
    offerEnvironments(pool);
    offerNodes(Number(pool.nodes ?? 1));
  },
});
