const GAP = 8;
const tip = document.createElement("div");
tip.className = "tip";
tip.hidden = true;
tip.setAttribute("aria-hidden", "true");
document.body.append(tip);

function show(target) {
  tip.textContent = target.dataset.tip;
  (target.closest("dialog") ?? document.body).append(tip);
  tip.hidden = false;
  const at = target.getBoundingClientRect();
  const below = at.bottom + GAP;
  const top = below + tip.offsetHeight > innerHeight ? at.top - GAP - tip.offsetHeight : below;
  tip.style.top = `${Math.max(GAP, top)}px`;
  tip.style.left = `${Math.max(GAP, Math.min(at.left, innerWidth - tip.offsetWidth - GAP))}px`;
}

const hide = () => {
  tip.hidden = true;
};

for (const name of ["pointerover", "focusin"]) {
  document.addEventListener(name, (event) => {
    const target = event.target.closest?.("[data-tip]");
    if (target) show(target);
    else hide();
  });
}
document.addEventListener("focusout", hide);
document.addEventListener("scroll", hide, { capture: true, passive: true });
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") hide();
});
