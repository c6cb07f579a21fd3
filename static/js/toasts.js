const SHOWN_MS = 6000;
const ICONS = { success: "ok", warning: "alert", error: "alert" };

function icon(name) {
  const use = document.querySelector("use[href*='icons.svg']");
  const sprite = use ? use.getAttribute("href").split("#")[0] : "/static/img/icons.svg";
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const link = document.createElementNS("http://www.w3.org/2000/svg", "use");
  link.setAttribute("href", `${sprite}#${name}`);
  svg.append(link);
  return svg;
}

// Errors stay until they are closed; the rest goes by itself unless somebody is reading it.
function goAway(box) {
  if (box.classList.contains("toast-error")) return;
  setTimeout(() => {
    if (box.matches(":hover, :focus-within")) goAway(box);
    else box.remove();
  }, SHOWN_MS);
}

/** Shows a message. `tone` is success, info, warning or error. */
export function toast(text, tone = "info") {
  const box = document.createElement("div");
  box.className = `toast toast-${tone}`;
  const words = document.createElement("p");
  words.textContent = text;
  const close = document.createElement("button");
  close.className = "copy";
  close.type = "button";
  close.dataset.closeToast = "";
  close.setAttribute("aria-label", "Close");
  close.append(icon("close"));
  box.append(icon(ICONS[tone] ?? "info"), words, close);
  document.getElementById("toasts")?.append(box);
  goAway(box);
}

document.addEventListener("click", (event) => {
  event.target.closest("[data-close-toast]")?.closest(".toast").remove();
});
document.querySelectorAll("#toasts > .toast").forEach(goAway);
