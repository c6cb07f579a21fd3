import { duration, money, relative } from "./format.js";

const HOUR_MS = 3_600_000;

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function tick() {
  const now = new Date();
  for (const element of document.querySelectorAll("time[data-relative]")) {
    setText(element, relative(new Date(element.dateTime), now));
  }
  for (const element of document.querySelectorAll("[data-elapsed]")) {
    const until = element.dataset.elapsedUntil ? new Date(element.dataset.elapsedUntil) : now;
    setText(element, duration((until - new Date(element.dataset.elapsed)) / 1000));
  }
  for (const element of document.querySelectorAll("[data-cost-micros][data-rate-micros][data-since]")) {
    const { costMicros, rateMicros, since } = element.dataset;
    const hours = Math.max(0, now - new Date(since)) / HOUR_MS;
    setText(element, money(Number(costMicros) + Number(rateMicros) * hours, 4));
  }
}

setInterval(() => {
  if (!document.hidden) tick();
}, 1000);
document.addEventListener("visibilitychange", tick);
document.addEventListener("htmx:afterSettle", tick);
tick();
