import { fileUrl, joined, post, refusalOf, token } from "./volume-api.js";

const AT_ONCE = 3;
const RETRY_SECONDS = [1, 2, 4, 8, 15, 30];
const ASK_AT_ONCE = 500;
// The connection broke, or the server is busy: worth another try. All else stays refused.
const isPassing = (status) => status === 0 || status === 408 || status === 429 || status >= 502;

const isReadable = (file) => (file ? file.slice(0, 1).arrayBuffer() : Promise.resolve()).then(() => true, () => false);

/**
 * Uploads, a few at a time. `ask(item, there, others)` resolves a name that is taken with
 * `{how, forAll}`; `changed()` is called when there is something new to show, `placed()` when files
 * have arrived.
 */
export class Queue {
  constructor({ ask, changed, placed }) {
    Object.assign(this, { ask, changed, placed });
    this.items = [];
    this.running = 0;
  }

  get isBusy() {
    return this.items.some((item) => ["asking", "waiting", "sending", "pausing"].includes(item.state));
  }

  /** Bytes sent and to send, of all that was not given up. */
  get progress() {
    const counted = this.items.filter((item) => !["skipped", "cancelled"].includes(item.state));
    const sum = (read) => counted.reduce((total, item) => total + read(item), 0);
    return {
      sent: sum((item) => (item.state === "done" ? item.size : item.sent)),
      size: sum((item) => item.size),
      done: counted.filter((item) => item.state === "done").length,
      failed: counted.filter((item) => item.state === "failed").length,
      count: counted.length,
    };
  }

  /** Upload `found` into `folder`, after asking about names that are taken. */
  async add(folder, found) {
    if (!this.isBusy) this.items = this.items.filter((item) => item.state === "failed");
    const items = found.map(({ path, file }) => ({
      path, file, folder, size: file?.size ?? 0, sent: 0, tries: 0, state: "asking", how: "fail",
    }));
    this.items.push(...items);
    this.changed();
    try {
      await this.settle(folder, items);
    } catch (error) {
      for (const item of items) if (item.state === "asking") this.fail(item, error.message);
    }
    this.start();
  }

  async settle(folder, items) {
    let always = null;
    for (let at = 0; at < items.length; at += ASK_AT_ONCE) {
      const some = items.slice(at, at + ASK_AT_ONCE);
      const { known } = await post("known", { folder, paths: some.map((item) => item.path) });
      let others = some.filter((item) => known[item.path] && item.file).length;
      for (const item of some) {
        const there = known[item.path];
        if (there && item.file) {
          others -= 1;
          const answer = always ?? (await this.ask(item, there, others + items.length - at - some.length));
          if (answer.forAll) always = answer;
          item.how = answer.how;
        }
        if (item.state === "asking") item.state = item.how === "skip" ? "skipped" : "waiting";
      }
      this.start();
    }
  }

  start() {
    for (const item of this.items) {
      if (this.running >= AT_ONCE) break;
      if (item.state === "waiting") this.send(item);
    }
    this.changed();
  }

  async send(item) {
    item.state = "sending";
    this.running += 1;
    try {
      if (item.file) await this.put(item);
      else await post("folder", { path: joined(item.folder, item.path), may_exist: true });
      item.state = "done";
    } catch (error) {
      if (item.state !== "cancelled") await this.judge(item, error);
    }
    this.running -= 1;
    if (item.state === "done") this.placed(!this.isBusy);
    this.start();
  }

  put(item) {
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      item.request = request;
      const url = fileUrl(joined(item.folder, item.path));
      request.open("PUT", `${url}?parents=true&conflict=${item.how}`);
      request.setRequestHeader("Accept", "application/json");
      request.setRequestHeader("X-CSRFToken", token());
      request.setRequestHeader("Content-Type", "application/octet-stream");
      request.upload.addEventListener("progress", (event) => {
        item.sent = event.loaded;
        this.changed();
      });
      request.addEventListener("loadend", () => {
        item.request = null;
        if (request.status === 201) resolve();
        else reject(refusalOf(request.status, request.responseText));
      });
      request.send(item.file);
    });
  }

  async judge(item, error) {
    item.sent = 0;
    if (error.status === 409 && error.fields?.path === "exists" && item.how === "fail") {
      // It was made there since we asked.
      const { how } = await this.ask(item, null, 0);
      Object.assign(item, { how, state: how === "skip" ? "skipped" : "waiting" });
    } else if (error.status === 0 && !(await isReadable(item.file))) {
      this.fail(item, "It can no longer be read: it was changed or moved on your machine.");
    } else if (isPassing(error.status) && item.tries < RETRY_SECONDS.length) {
      this.pause(item, RETRY_SECONDS[item.tries]);
    } else {
      this.fail(item, error.message);
    }
  }

  pause(item, seconds) {
    item.tries += 1;
    item.state = "pausing";
    const again = () => {
      clearTimeout(item.timer);
      removeEventListener("online", again);
      if (item.state === "pausing") this.retry(item, item.tries);
    };
    item.timer = setTimeout(again, seconds * 1000);
    addEventListener("online", again);
  }

  fail(item, why) {
    Object.assign(item, { state: "failed", why, sent: 0 });
  }

  retry(item, tries = 0) {
    Object.assign(item, { state: "waiting", tries, why: "" });
    this.start();
  }

  cancel(item) {
    if (["done", "skipped"].includes(item.state)) return;
    item.state = "cancelled";
    clearTimeout(item.timer);
    item.request?.abort();
    this.changed();
  }

  cancelAll() {
    for (const item of this.items) this.cancel(item);
  }
}
