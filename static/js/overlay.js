// The countdown in a notebook: a bar in a corner of JupyterLab's page, which the proxy serves and
// puts there. The page around it is not ours: all of it lives in a shadow root, and nothing of it
// is written into markup.
(() => {
  if (window.top !== window || document.querySelector("fastgpu-countdown")) return;

  const STATUS = "/.fastgpu/status";
  const PATIENCE_MS = 3000;
  const RETRY_MS = 2000;
  const SAID_MS = 6000;
  const STYLE = `
    :host { all: initial; color-scheme: light dark; position: fixed; z-index: 2147483647;
      right: 16px; bottom: 40px; max-width: min(360px, calc(100vw - 32px)) }
    :host([hidden]) { display: none }
    section { box-sizing: border-box; padding: 12px 16px; border-radius: 8px;
      border: 1px solid light-dark(#c9c8c3, #434a51); background: light-dark(#ffffff, #16191c);
      color: light-dark(#1b1d1f, #e9ebec);
      font: 14px/1.4 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", Arial, sans-serif;
      font-variant-numeric: tabular-nums }
    section[data-tone=warn] { border-color: light-dark(#855000, #ecb455) }
    section[data-tone=bad] { border-color: light-dark(#ae2724, #ff958c) }
    p { margin: 0 }
    p + p { margin-top: 4px; color: light-dark(#5c6166, #a0a7ae) }
    b { font-weight: 600 }
    div { display: flex; flex-wrap: wrap; gap: 8px; margin-top: 8px }
    div:empty { display: none }
    button, a { font: inherit; box-sizing: border-box; min-height: 32px; padding: 4px 12px;
      border-radius: 6px; cursor: pointer; text-decoration: none;
      border: 1px solid light-dark(#8b8c88, #6b737b); background: light-dark(#ffffff, #1e2226);
      color: light-dark(#1b1d1f, #e9ebec) }
    .main { border-color: transparent; background: light-dark(#2f4fbd, #3f5cc8); color: #ffffff }
    .bad { border-color: transparent; background: light-dark(#b42a27, #b93531); color: #ffffff }
    button:disabled { opacity: .6; cursor: default }
    :focus-visible { outline: 2px solid light-dark(#2f4fbd, #9db2ff); outline-offset: 2px }
  `;

  const host = document.createElement("fastgpu-countdown");
  host.hidden = true;
  const root = host.attachShadow({ mode: "open" });
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(STYLE);
  root.adoptedStyleSheets = [sheet];
  const section = document.createElement("section");
  section.setAttribute("aria-label", "FastGPU");
  const [head, more] = [document.createElement("p"), document.createElement("p")];
  head.setAttribute("role", "status");
  const choices = document.createElement("div");
  section.append(head, more, choices);
  root.append(section);

  let state = null; // what the proxy last told
  let skew = 0; // milliseconds by which its clock is ahead of this one
  let shown = ""; // the view, so that what ticks does not draw buttons anew under a finger
  let said = ""; // what came of a choice, for some seconds
  let isOver = false;
  let lostTimer = 0;

  /** Seconds as "9 min 05 s". */
  function span(seconds) {
    const whole = Math.max(0, Math.ceil(seconds));
    if (whole < 60) return `${whole} s`;
    if (whole < 3600) return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, "0")} s`;
    return `${Math.floor(whole / 3600)} h ${String(Math.floor((whole % 3600) / 60)).padStart(2, "0")} min`;
  }

  function button(text, act, kind = "") {
    const made = document.createElement("button");
    made.type = "button";
    made.textContent = text;
    made.className = kind;
    made.addEventListener("click", act);
    return made;
  }

  function link(text) {
    const made = document.createElement("a");
    made.textContent = text;
    made.className = "main";
    made.target = "_top";
    made.href = state && /^https?:/.test(state.page) ? state.page : location.href;
    return made;
  }

  /** Draw a view once; what stays the same is not touched, so that focus and speech stay. */
  function show(view, tone, title, text, ...buttons) {
    host.hidden = false;
    if (shown === view) return;
    const isFocusInside = root.activeElement !== null;
    shown = view;
    section.dataset.tone = tone;
    head.textContent = title;
    more.textContent = text;
    choices.replaceChildren(...buttons);
    if (isFocusInside) choices.firstElementChild?.focus();
  }

  function hide() {
    host.hidden = true;
    shown = "";
  }

  function draw() {
    if (isOver || shown === "lost") return;
    if (said) return show(`said ${said}`, "", said, "");
    if (!state?.stops_at) return hide();
    if (shown === "sure") return;
    const left = (Date.parse(state.stops_at) - Date.now() - skew) / 1000;
    const why = state.why ? `: ${state.why}` : "";
    const buttons = [button("Stop now", askIfSure)];
    // Only idleness can be put off here.
    if (state.stops_for === "idle") buttons.unshift(button("Keep 1 h", () => choose("keep"), "main"));
    show(`counting ${state.stops_for}`, "warn", `This notebook stops soon${why}.`, "", ...buttons);
    if (!more.firstChild) {
      const timer = document.createElement("b");
      timer.setAttribute("role", "timer");
      more.append("In ", timer);
    }
    more.querySelector("b").textContent = span(left);
  }

  function askIfSure() {
    show(
      "sure", "bad", "Stop this notebook now?",
      "Its files are kept; what its kernels hold in memory is lost. Stopped, it costs nothing; a volume costs what it always does.",
      button("Stop", () => choose("stop"), "bad"),
      button("Not now", () => { shown = ""; draw(); }),
    );
    choices.lastElementChild.focus();
  }

  async function choose(deed) {
    for (const each of choices.querySelectorAll("button")) each.disabled = true;
    let words = "FastGPU does not answer right now. Try again in a moment.";
    try {
      const answer = await fetch(`/.fastgpu/${deed}`, { method: "POST", cache: "no-store" });
      const told = await answer.json();
      words = told.words ?? told.error?.message ?? words;
    } catch {
      // No answer, or none of ours: the words above say so.
    }
    if (isOver) return;
    said = words;
    shown = "";
    draw();
    setTimeout(() => { said = ""; shown = ""; draw(); }, SAID_MS);
  }

  function over(title, text, words) {
    isOver = true;
    clearTimeout(lostTimer);
    show("over", "bad", title, text, link(words));
  }

  function lose() {
    if (lostTimer || isOver) return;
    lostTimer = setTimeout(() => {
      show("lost", "warn", "Reconnecting…", "The way to this notebook is interrupted. What runs in it goes on.");
    }, PATIENCE_MS);
  }

  function find() {
    clearTimeout(lostTimer);
    lostTimer = 0;
    if (shown === "lost") shown = "";
    draw();
  }

  function listen() {
    const events = new EventSource(STATUS);
    events.addEventListener("open", find);
    events.addEventListener("countdown", (event) => {
      state = JSON.parse(event.data);
      skew = Date.parse(state.now) - Date.now();
      if (shown === "sure" && !state.stops_at) shown = "";
      draw();
    });
    events.addEventListener("stopped", (event) => {
      events.close();
      state = JSON.parse(event.data);
      over(`This notebook was stopped${state.why ? `: ${state.why}` : "."}`, "Its files are kept.", "Go to its page");
    });
    events.addEventListener("error", () => {
      lose();
      if (events.readyState !== EventSource.CLOSED) return;
      setTimeout(learn, RETRY_MS);
    });
  }

  /** A browser does not say why it gave up listening, so ask. */
  async function learn() {
    if (isOver) return;
    let status = 0;
    const asked = new AbortController();
    try {
      status = (await fetch(STATUS, { cache: "no-store", signal: asked.signal })).status;
      asked.abort();
    } catch {
      // The proxy is away.
    }
    if (status === 404) over("This notebook was stopped.", "Its files are kept.", "Go to its page");
    else if (status === 401 || status === 403) over("You are signed out here.", "What runs in the notebook goes on.", "Open it again");
    else if (status === 200) listen();
    else setTimeout(learn, RETRY_MS);
  }

  root.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || shown !== "sure") return;
    shown = "";
    draw();
  });
  document.documentElement.append(host);
  setInterval(draw, 1000);
  listen();
})();
