const MICROS = 1_000_000;

/** Integer micro-units as dollars; small sums get as many places as they need to not read $0.00. */
export function money(micros, places = 2) {
  const value = micros / MICROS;
  const size = Math.abs(value);
  const digits = places === 2 && size > 0 && size < 0.01 ? 4 : places;
  const text = size.toLocaleString("en-US", {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  });
  return `${value < 0 ? "−" : ""}$${text}`;
}

export const rate = (microsPerHour) => `${money(microsPerHour)}/h`;

/** Seconds as "42 s", "3 min 05 s", "2 h 07 min" or "3 d 4 h". */
export function duration(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const pad = (n) => String(n).padStart(2, "0");
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${pad(whole % 60)} s`;
  if (whole < 86_400) return `${Math.floor(whole / 3600)} h ${pad(Math.floor((whole % 3600) / 60))} min`;
  return `${Math.floor(whole / 86_400)} d ${Math.floor((whole % 86_400) / 3600)} h`;
}

/** How long ago, or how soon, in one unit. Older than a week: the date. */
export function relative(date, now = new Date()) {
  const seconds = Math.round((now - date) / 1000);
  const size = Math.abs(seconds);
  const say = (n, unit) => (seconds >= 0 ? `${n} ${unit} ago` : `in ${n} ${unit}`);
  if (size < 5) return "just now";
  if (size < 60) return say(size, "s");
  if (size < 3600) return say(Math.floor(size / 60), "min");
  if (size < 86_400) return say(Math.floor(size / 3600), "h");
  if (size < 7 * 86_400) return say(Math.floor(size / 86_400), "d");
  return date.toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric" });
}

export function bytes(n) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = n;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

export const percent = (x) => `${Math.round(x)} %`;
export const count = (n) => n.toLocaleString("en-US");
