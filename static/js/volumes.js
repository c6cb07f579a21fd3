import { money } from "./format.js";

const DAYS_PER_MONTH = 365 / 12;

// Says what the size that is typed costs; the server gives the price of a large one, so that a small
// one is exact to the cent.
function say(form) {
  const text = form.querySelector("[data-price-text]");
  const micros = Number(form.dataset.sizePrice);
  const gib = Number(form.elements.size_gib.value);
  const isKnown = form.dataset.sizePrice && Number.isInteger(gib) && gib > 0;
  const month = isKnown ? (micros * gib) / Number(form.dataset.sizePriced) : 0;
  text.textContent = isKnown ? `${money(month)} a month, ${money(month / DAYS_PER_MONTH)} a day.` : "";
}

for (const form of document.querySelectorAll("form[data-size-price]")) {
  form.addEventListener("input", () => say(form));
  say(form);
}
