// The identity block folds to one line and stays so; amber and red ones never fold. "How this was
// checked" may be pinned open.
import { recall, remember } from "../memory.js";
import { bind } from "../shortcuts.js";

function apply(block) {
  const fold = block.querySelector("[data-fold]");
  const may = block.hasAttribute("data-may-collapse");
  fold.hidden = !may;
  const folded = may && recall("identity") === "folded";
  block.classList.toggle("is-folded", folded);
  fold.setAttribute("aria-expanded", String(!folded));
  const evidence = block.querySelector("[data-evidence]");
  if (evidence && recall("evidence") === "open") evidence.open = true;
}

const applyAll = () => document.querySelectorAll("[data-identity]").forEach(apply);

document.addEventListener("click", (event) => {
  const fold = event.target.closest("[data-fold]");
  if (!fold) return;
  remember("identity", fold.getAttribute("aria-expanded") === "true" ? "folded" : null);
  apply(fold.closest("[data-identity]"));
});
document.addEventListener("toggle", (event) => {
  if (event.target.matches?.("[data-evidence]")) remember("evidence", event.target.open ? "open" : null);
}, true);
document.addEventListener("htmx:after:swap", applyAll);

bind("i", () => {
  const block = document.querySelector("[data-identity]");
  const evidence = block?.querySelector("[data-evidence]");
  if (!evidence) return false;
  if (block.classList.contains("is-folded")) {
    remember("identity", null);
    apply(block);
  }
  evidence.open = !evidence.open;
  evidence.querySelector("summary").focus();
});
applyAll();
