// The log panel: follow, wrap, search, first error. Only the last lines are kept in the page.
import { count } from "./format.js";
import { Lines, isError } from "./run-text.js";

const KEPT = 5000;
const SPARE = 500;
const NEAR = 40;
const PEEK = 6;

const find = (id) => document.getElementById(id);

export class LogPanel {
  constructor() {
    this.view = find("log-view");
    this.list = find("log-lines");
    this.search = find("log-search");
    this.waiting = [];
    this.frame = 0;
    this.isFollowing = true;
    this.listen();
    this.reset(0);
  }

  /** Start again, from byte `offset` of the log. */
  reset(offset) {
    this.lines = new Lines();
    this.waiting = [];
    this.isCut = offset > 0;
    this.number = 0;
    this.openItem = null;
    this.list.replaceChildren();
    find("log-earlier").hidden = !this.isCut;
    find("log-error").hidden = true;
    this.here = -1;
    this.nothing = "Nothing printed yet.";
    this.showPeek();
  }

  /** No more will come. */
  end() {
    this.nothing = "It printed nothing.";
    this.draw();
    this.showPeek();
  }

  /** Text that follows what there is. */
  append(text) {
    this.waiting.push(text);
    this.frame ||= requestAnimationFrame(() => this.draw());
    // A hidden page draws no frames, and must not pile up text either.
    if (document.hidden) this.draw();
  }

  draw() {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    if (!this.waiting.length) return;
    const done = this.lines.take(this.waiting.join(""));
    this.waiting = [];
    this.addLines(done);
    this.showPeek();
    this.showLinked();
    if (this.isFollowing) this.view.scrollTop = this.view.scrollHeight;
    else this.showState();
  }

  /** The last lines, for who looks elsewhere, wherever the page has a place for them now. */
  showPeek() {
    const last = [...this.list.children].slice(-PEEK).map((item) => item.lastElementChild.textContent);
    for (const peek of document.querySelectorAll("[data-log-peek]")) {
      peek.textContent = last.length ? last.join("\n") : this.nothing;
    }
  }

  /** The line the address names, once it is there. */
  showLinked() {
    const line = /^#L\d+$/.test(location.hash) && find(location.hash.slice(1));
    if (!line || line === this.linked) return;
    this.linked = line;
    this.list.querySelector(".is-target")?.classList.remove("is-target");
    line.classList.add("is-target");
    this.show(line);
  }

  addLines(done) {
    const first = this.openItem;
    this.openItem = null;
    if (first && done.length) {
      this.write(first, done.shift());
    } else if (first) {
      this.openItem = first;
    }
    if (done.length > KEPT) {
      this.number += done.length - KEPT;
      done.splice(0, done.length - KEPT);
      this.list.replaceChildren();
      this.cut();
    }
    const fresh = document.createDocumentFragment();
    for (const line of done) fresh.append(this.item(line));
    const open = this.lines.open;
    if (this.openItem) this.write(this.openItem, open);
    else if (open) fresh.append((this.openItem = this.item(open)));
    this.list.append(fresh);
    this.trim();
  }

  item(line) {
    this.number += 1;
    const item = document.createElement("li");
    item.className = "log-line";
    const number = document.createElement("a");
    number.className = "log-no";
    // Lines are counted only where the beginning of the log is known.
    if (!this.isCut) {
      item.id = `L${this.number}`;
      number.href = `#L${this.number}`;
      number.textContent = this.number;
      number.setAttribute("aria-label", `Line ${this.number}`);
    }
    const text = document.createElement("span");
    text.className = "log-text";
    item.append(number, text);
    this.write(item, line);
    return item;
  }

  write(item, line) {
    const text = item.lastElementChild;
    text.textContent = line;
    const bad = isError(line);
    item.classList.toggle("is-error", bad);
    if (bad) find("log-error").hidden = false;
    if (this.search.value) this.mark(text);
  }

  trim() {
    const over = this.list.childElementCount - KEPT;
    if (over <= SPARE) return;
    const above = this.view.scrollHeight;
    for (let i = 0; i < over; i += 1) this.list.firstElementChild.remove();
    this.cut();
    if (!this.isFollowing) this.view.scrollTop -= above - this.view.scrollHeight;
  }

  cut() {
    find("log-earlier").hidden = false;
  }

  // --- search ---

  mark(text) {
    const line = text.textContent;
    const wanted = this.search.value.toLowerCase();
    const low = line.toLowerCase();
    let at = wanted ? low.indexOf(wanted) : -1;
    if (at < 0 || low.length !== line.length) {
      if (text.childElementCount) text.textContent = line;
      return;
    }
    const parts = [];
    let done = 0;
    while (at >= 0) {
      const hit = document.createElement("mark");
      hit.textContent = line.slice(at, at + wanted.length);
      parts.push(line.slice(done, at), hit);
      done = at + wanted.length;
      at = low.indexOf(wanted, done);
    }
    text.replaceChildren(...parts, line.slice(done));
  }

  searchAll() {
    for (const text of this.list.querySelectorAll(".log-text")) this.mark(text);
    this.here = -1;
    if (this.search.value) this.step(1);
    else find("log-hits").textContent = "";
  }

  step(by) {
    const hits = this.list.querySelectorAll("mark");
    this.list.querySelector("mark.is-here")?.classList.remove("is-here");
    if (!hits.length) {
      find("log-hits").textContent = this.search.value ? "None" : "";
      return;
    }
    this.here = (this.here + by + hits.length) % hits.length;
    hits[this.here].classList.add("is-here");
    find("log-hits").textContent = `${count(this.here + 1)} of ${count(hits.length)}`;
    this.show(hits[this.here]);
  }

  show(element) {
    this.follow(false);
    const offset = element.getBoundingClientRect().top - this.view.getBoundingClientRect().top;
    this.view.scrollTop += offset - this.view.clientHeight / 2;
  }

  firstError() {
    const line = this.list.querySelector(".is-error");
    if (!line) return;
    this.list.querySelector(".is-target")?.classList.remove("is-target");
    line.classList.add("is-target");
    this.show(line);
  }

  // --- following ---

  follow(isOn) {
    this.isFollowing = isOn;
    this.showState();
    if (isOn) this.view.scrollTop = this.view.scrollHeight;
  }

  showState() {
    find("log-follow").setAttribute("aria-pressed", String(this.isFollowing));
  }

  listen() {
    const atEnd = () => this.view.scrollHeight - this.view.scrollTop - this.view.clientHeight < NEAR;
    // Scrolling back by hand stops following; reaching the end again takes it up.
    for (const name of ["wheel", "touchmove", "keydown", "pointerup"]) {
      this.view.addEventListener(name, () => requestAnimationFrame(() => this.follow(atEnd())), { passive: true });
    }
    find("log-follow").addEventListener("click", () => this.follow(!this.isFollowing));
    find("log-error").addEventListener("click", () => this.firstError());
    find("log-wrap").addEventListener("click", (event) => {
      const isOn = this.view.classList.toggle("is-wrap");
      event.currentTarget.setAttribute("aria-pressed", String(isOn));
      if (this.isFollowing) this.follow(true);
    });
    this.search.addEventListener("input", () => this.searchAll());
    this.search.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      this.step(event.shiftKey ? -1 : 1);
    });
    document.addEventListener("visibilitychange", () => this.draw());
    addEventListener("hashchange", () => this.showLinked());
    // While its tab is not shown the view cannot be scrolled.
    document.addEventListener("tabchosen", (event) => {
      if (event.target.dataset.name !== "log") return;
      const line = this.list.querySelector(".is-target");
      if (this.isFollowing) this.follow(true);
      else if (line) this.show(line);
    });
  }
}
