// Calls of the file manager's page. A refusal is an Error with `status`, `code` and `fields`.

const place = document.getElementById("manager").dataset.base;

export class Refusal extends Error {
  constructor(message, { status = 0, code = "", fields = {} } = {}) {
    super(message);
    Object.assign(this, { status, code, fields });
  }
}

export const token = () => document.body.dataset.csrf;
export const joined = (folder, name) => (folder ? `${folder}/${name}` : name);

/** The address of a file, whatever is in its name. */
export const fileUrl = (path) => `${place}files/${path.split("/").map(encodeURIComponent).join("/")}`;

/** What an answer that is no success says. */
export function refusalOf(status, text) {
  try {
    const { error } = JSON.parse(text);
    return new Refusal(error.message, { status, ...error });
  } catch {
    return new Refusal(wordsFor(status), { status });
  }
}

function wordsFor(status) {
  if (status === 0) return "The connection was lost.";
  if (status < 400) return "You are signed out. Open this page again and sign in.";
  return status >= 500 ? "Something broke on our side." : "That was refused.";
}

async function send(deed, body) {
  try {
    return await fetch(`${place}${deed}/`, {
      method: "POST",
      headers: { "Content-Type": "application/json", Accept: "application/json", "X-CSRFToken": token() },
      body: JSON.stringify(body),
    });
  } catch {
    throw new Refusal(wordsFor(0));
  }
}

export async function post(deed, body) {
  const answer = await send(deed, body);
  if (!answer.ok || answer.redirected) {
    throw refusalOf(answer.redirected ? 302 : answer.status, await answer.text());
  }
  return answer.json();
}

/** The steps of something long, as they come; the last is returned. */
export async function follow(deed, body, onStep) {
  const answer = await send(deed, body);
  if (!answer.ok || answer.redirected) {
    throw refusalOf(answer.redirected ? 302 : answer.status, await answer.text());
  }
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let [rest, last] = ["", null];
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      last = JSON.parse(line);
      if (last.error) throw new Refusal(last.error.message, last.error);
      onStep(last);
    }
  }
  return last;
}
