// One socket a page. It comes back by itself, takes up the log at the byte where it stopped and asks
// for the steps it has missed.
const FIRST_WAIT_MS = 400;
const LONGEST_WAIT_MS = 8000;
const NOT_SIGNED_IN = 4401;
const NOT_FOUND = 4404;
const ACK_BYTES = 128 * 1024;

export class RunSocket {
  /**
   * `after` is the number of the last step the page shows. `handlers`: hello(data, isSame), status,
   * gpu, log(data), end, state("live" | "lost" | "ended" | "refused").
   */
  constructor(path, probe, after, handlers) {
    this.path = path;
    this.probe = probe;
    this.after = after;
    this.handlers = handlers;
    this.offset = null;
    this.attempt = null;
    this.acked = 0;
    this.tries = 0;
    this.isOver = false;
    addEventListener("online", () => this.hurry());
    document.addEventListener("visibilitychange", () => document.hidden || this.hurry());
    this.open();
  }

  open() {
    this.timer = 0;
    const url = new URL(this.path, location.href);
    url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    url.searchParams.set("after", this.after);
    if (this.offset !== null) {
      url.searchParams.set("offset", this.offset);
      url.searchParams.set("attempt", this.attempt);
    }
    const socket = new WebSocket(url);
    this.socket = socket;
    this.wasOpen = false;
    socket.addEventListener("message", (event) => this.take(JSON.parse(event.data)));
    socket.addEventListener("close", (event) => this.closed(event.code));
  }

  take(message) {
    const { kind, data } = message;
    if (kind === "status") this.after = Math.max(this.after, data.event);
    if (kind === "hello") this.hello(data);
    else if (kind === "log") this.log(data);
    else if (kind === "end") this.end(data);
    else this.handlers[kind]?.(data);
  }

  hello(data) {
    this.wasOpen = true;
    this.tries = 0;
    const isSame = this.offset === data.offset && this.attempt === data.attempt;
    this.offset = data.offset;
    this.attempt = data.attempt;
    this.acked = data.offset;
    this.handlers.state("live");
    this.handlers.hello(data, isSame);
  }

  log(data) {
    if (data.offset !== this.offset) {
      this.socket.close(); // a hole: come back and ask from where we are
      return;
    }
    this.offset = data.next_offset;
    this.handlers.log(data);
    if (this.offset - this.acked >= ACK_BYTES) {
      this.acked = this.offset;
      this.socket.send(JSON.stringify({ ack: this.offset }));
    }
  }

  end(data) {
    this.isOver = true;
    this.handlers.state("ended");
    this.handlers.end(data);
  }

  /** What had ended goes on: a notebook was started again. */
  again() {
    if (!this.isOver) return;
    this.isOver = false;
    this.tries = 0;
    this.open();
  }

  async closed(code) {
    if (this.isOver) return;
    const isRefused = code === NOT_SIGNED_IN || code === NOT_FOUND || (!this.wasOpen && (await this.mayNot()));
    if (isRefused) {
      this.isOver = true;
      this.handlers.state("refused");
      return;
    }
    this.handlers.state("lost");
    const wait = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** this.tries);
    this.tries += 1;
    this.timer = setTimeout(() => this.open(), wait * (0.75 + Math.random() / 2));
  }

  // A browser does not say why a socket was refused; the page's own address does.
  async mayNot() {
    try {
      const response = await fetch(this.probe, { redirect: "manual" });
      return response.type === "opaqueredirect" || response.status === 404;
    } catch {
      return false;
    }
  }

  hurry() {
    if (!this.timer) return;
    clearTimeout(this.timer);
    this.open();
  }
}
