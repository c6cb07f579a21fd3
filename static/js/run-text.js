// Turns what a terminal would be sent into lines: pure, without a page.
const ESCAPES = /\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)|[@-Z\\^_])/g;
const CUT_ESCAPE = /\u001b(?:\[[0-?]*[ -/]*|\][^\u0007\u001b]{0,200})?$/;
// eslint-disable-next-line no-control-regex
const CONTROLS = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]/g;
export const LONGEST_LINE = 10_000;

/** Feed it pieces; it gives the lines they finish and keeps the one that is still being written. */
export class Lines {
  constructor() {
    this.rest = "";
    this.current = "";
  }

  /** The lines `text` finishes. A carriage return starts its line again, as progress bars do. */
  take(text) {
    let all = this.rest + text;
    this.rest = "";
    const cut = CUT_ESCAPE.exec(all) ?? /\r$/.exec(all);
    if (cut) {
      this.rest = cut[0];
      all = all.slice(0, cut.index);
    }
    const parts = all.replace(ESCAPES, "").split(/\r?\n/);
    const done = [];
    for (const [index, part] of parts.entries()) {
      const line = overwrite(index === 0 ? this.current + part : part);
      if (index < parts.length - 1) done.push(tidy(line));
      else this.current = line.slice(0, LONGEST_LINE + 1);
    }
    return done;
  }

  /** The unfinished line. */
  get open() {
    return tidy(this.current);
  }
}

function overwrite(line) {
  if (!line.includes("\r")) return line;
  const parts = line.split("\r");
  return parts.findLast((part) => part !== "") ?? "";
}

function tidy(line) {
  const clean = line.replace(CONTROLS, "");
  return clean.length > LONGEST_LINE ? `${clean.slice(0, LONGEST_LINE)} …` : clean;
}

const ERROR =
  /^Traceback \(most recent call last\)|(?:^|[\s.])[A-Z]\w*(?:Error|Exception)(?::|$)|\b(?:ERROR|FATAL|CRITICAL)\b|Segmentation fault|^Killed$|: command not found$|: No such file or directory$/;

export const isError = (line) => ERROR.test(line);
