// A terminal in the browser, on the origin of what it looks into. The proxy serves this page, and
// forwards its socket to a shell among hostile code: what comes from there is only ever drawn.
import { FitAddon, Terminal } from "./xterm.js";

const SOCKET = `${location.origin.replace(/^http/, "ws")}/terminals/websocket/1`;
const STATUS = "/.fastgpu/status";
const PATIENCE_MS = 600; // shorter interruptions are not worth a word
const LONGEST_MS = 5000;
const FIT_MS = 60;
// What a terminal says of itself when a program asks: CSI ends in c, n, R, t or y; OSC and DCS.
const ANSWER = /^\x1b(\[[?>=]?[\d;]*\$?[cnRty]|\]|P)/;
const SIZES = { 0: 13, 640: 14 };

const [bar, said, act, way] = ["bar", "said", "act", "way"].map((id) => document.getElementById(id));
const control = document.getElementById("control");
const keys = document.getElementById("keys");
const box = document.getElementById("terminal");
const dark = matchMedia("(prefers-color-scheme: dark)");

const term = new Terminal({
  cursorBlink: !matchMedia("(prefers-reduced-motion: reduce)").matches,
  fontFamily: getComputedStyle(document.documentElement).getPropertyValue("--mono"),
  fontSize: sizeOf(),
  lineHeight: 1.2,
  macOptionIsMeta: true,
  minimumContrastRatio: 4.5,
  scrollback: 5000,
  theme: theme(),
});
const fit = new FitAddon();

let socket = null;
let tries = 0; // to get through, since it last worked
let trouble = null; // what is wrong with the shell or the way there
let ending = null; // what the proxy says of the end of the whole notebook
let isOver = false;
let hasEnded = false; // the shell, of itself
let isReplay = false; // the next output is of before
let isMute = false;
let page = "";
let lostTimer = 0;

/** A colour of ours as the browser has worked it out: xterm.js takes no functions of CSS. */
function colour(token) {
  const probe = document.body.appendChild(document.createElement("i"));
  probe.style.color = `var(--${token})`;
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

function theme() {
  const [text, muted, bg] = ["text", "muted", "bg"].map(colour);
  const [red, green, yellow, blue, magenta, cyan] = ["bad", "ok", "warn", "accent", "chart-4", "info"].map(colour);
  return {
    background: bg, foreground: text, cursor: colour("accent"), cursorAccent: bg,
    selectionBackground: colour("line-strong"), selectionInactiveBackground: colour("line"),
    black: dark.matches ? colour("line-strong") : text, brightBlack: muted,
    white: dark.matches ? text : muted, brightWhite: text,
    red, green, yellow, blue, magenta, cyan,
    brightRed: red, brightGreen: green, brightYellow: yellow, brightBlue: blue, brightMagenta: magenta, brightCyan: cyan,
  };
}

function sizeOf() {
  return SIZES[innerWidth < 640 ? 0 : 640];
}

/** Show what is wrong, else what is about to end, else nothing. */
function draw() {
  const shown = trouble ?? ending;
  const wasShown = !bar.hidden;
  bar.hidden = !shown;
  if (shown) {
    bar.dataset.tone = shown.tone;
    if (said.textContent !== shown.text) said.textContent = shown.text;
    act.hidden = !shown.act;
    act.textContent = shown.act?.text ?? "";
    act.onclick = shown.act?.run ?? null;
    way.hidden = !shown.way;
    way.textContent = shown.way ?? "";
    way.href = /^https?:/.test(page) ? page : "/";
  }
  if (wasShown !== Boolean(shown)) fit.fit();
}

function send(...message) {
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
}

function tellSize() {
  send("set_size", term.rows, term.cols, box.clientHeight, box.clientWidth);
}

function connect() {
  const mine = new WebSocket(SOCKET);
  socket = mine;
  mine.addEventListener("message", (event) => hear(JSON.parse(event.data)));
  mine.addEventListener("close", () => {
    if (socket === mine && !isOver && !hasEnded) lose();
  });
}

function hear([kind, content]) {
  if (kind === "stdout") return print(content);
  if (kind === "setup") {
    // The shell's latest output follows, also of what this page has seen already.
    isReplay = true;
    clearTimeout(lostTimer);
    [tries, lostTimer, trouble] = [0, 0, null];
    term.reset();
    draw();
    tellSize();
    term.focus();
  } else if (kind === "disconnect") {
    hasEnded = true;
    trouble = { tone: "info", text: "The shell has ended.", act: { text: "New shell", run: again }, way: "Go to its page" };
    draw();
    act.focus();
  }
}

/** What programs asked the terminal in output of before is answered to nobody now. */
function print(text) {
  isMute = isReplay;
  isReplay = false;
  term.write(text, isMute ? () => { isMute = false; } : undefined);
}

function again() {
  hasEnded = false;
  trouble = { tone: "info", text: "Starting a shell…" };
  draw();
  connect();
}

/** The way is interrupted: learn why, have the shell's server started if that is it, and go on. */
async function lose() {
  tries += 1;
  lostTimer ||= setTimeout(() => {
    if (isOver || !lostTimer) return;
    trouble = { tone: "warn", text: "Reconnecting… What runs goes on." };
    draw();
  }, PATIENCE_MS);
  const status = await ask();
  if (isOver) return;
  if (status === 404) return over("What ran here has ended, and the terminal with it.", "Go to its page");
  if (status === 401 || status === 403) return over("You are signed out here. What runs goes on.", "Open it again");
  if (status === 200 && tries > 1 && (await wake())) return;
  setTimeout(connect, Math.min(LONGEST_MS, 100 * 2 ** Math.min(tries, 6)));
}

/** How it stands, as a status of HTTP; 0 where the proxy is away. A socket does not say why it closed. */
async function ask() {
  const asked = new AbortController();
  try {
    const { status } = await fetch(STATUS, { cache: "no-store", signal: asked.signal });
    asked.abort();
    return status;
  } catch {
    return 0;
  }
}

/** Its server ends when nobody looks for a while: have it started. True where it may not be had. */
async function wake() {
  try {
    const answer = await fetch("/.fastgpu/wake", { method: "POST", cache: "no-store" });
    const { words } = await answer.json();
    if (answer.ok || answer.status >= 500 || isOver) return false;
    if (answer.status === 409) {
      // What ends just now has no terminal any more, before its end is known: say so and look on.
      trouble = { tone: "warn", text: words, way: "Go to its page" };
      draw();
      return false;
    }
    over(words, "Go to its page");
    return true;
  } catch {
    return false;
  }
}

function over(text, words) {
  isOver = true;
  clearTimeout(lostTimer);
  events.close();
  socket?.close();
  trouble = { tone: "bad", text, way: words };
  term.options.cursorBlink = false;
  draw();
  way.focus();
}

async function keep() {
  act.disabled = true;
  try {
    const answer = await fetch("/.fastgpu/keep", { method: "POST", cache: "no-store" });
    said.textContent = (await answer.json()).words;
  } catch {
    said.textContent = "FastGPU does not answer right now. Try again in a moment.";
  }
  act.disabled = false;
}

/** What a keyboard has sent; a letter after Ctrl on the bar of keys is a control character. */
function type(data) {
  const isControl = control.getAttribute("aria-pressed") === "true" && /^[@-_a-z ]$/.test(data);
  if (isControl) control.setAttribute("aria-pressed", "false");
  send("stdin", isControl ? String.fromCharCode(data.toUpperCase().charCodeAt(0) & 31) : data);
}

const events = new EventSource(STATUS);
events.addEventListener("countdown", (event) => {
  const state = JSON.parse(event.data);
  page = state.page;
  const at = state.stops_at && new Date(state.stops_at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  ending = at && {
    tone: "warn", text: `This notebook stops at ${at}: ${state.why}.`, way: "Go to its page",
    act: state.stops_for === "idle" ? { text: "Keep 1 h", run: keep } : null,
  };
  draw();
});
events.addEventListener("stopped", (event) => {
  page = JSON.parse(event.data).page;
  over("What ran here has ended, and the terminal with it.", "Go to its page");
});

// As elsewhere in browsers: copy what is selected, paste with the browser's own keys.
term.attachCustomKeyEventHandler((event) => {
  const isShortcut = (event.ctrlKey || event.metaKey) && !event.altKey;
  if (!isShortcut) return true;
  if (event.code === "KeyV") return false;
  return !(event.code === "KeyC" && (term.hasSelection() || event.shiftKey));
});
term.onData((data) => {
  if (!(isMute && ANSWER.test(data))) type(data);
});
term.onResize(tellSize);
// A finger on them leaves the keyboard where it is.
keys.addEventListener("pointerdown", (event) => event.preventDefault());
keys.addEventListener("click", ({ target }) => {
  const button = target.closest("button");
  if (!button) return;
  if (button === control) {
    const isPressed = control.getAttribute("aria-pressed") === "true";
    control.setAttribute("aria-pressed", String(!isPressed));
  } else {
    const { sends } = button.dataset;
    type(term.modes.applicationCursorKeysMode ? sends.replace("[", "O") : sends);
  }
  term.focus();
});

term.loadAddon(fit);
term.open(box);
term.textarea.setAttribute("aria-label", "Terminal input");
fit.fit();

let fitTimer = 0;
new ResizeObserver(() => {
  clearTimeout(fitTimer);
  fitTimer = setTimeout(() => {
    term.options.fontSize = sizeOf();
    fit.fit();
  }, FIT_MS);
}).observe(box);
dark.addEventListener("change", () => { term.options.theme = theme(); });
connect();
