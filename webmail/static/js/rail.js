// Folders: collapse on wide screens (remembered), slide in on phones.
import { remember } from "./memory.js";

const root = document.documentElement;
const narrow = matchMedia("(max-width: 640px)");
const buttons = () => document.querySelectorAll("button[data-toggle-rail]");

function tell() {
  for (const button of buttons()) {
    button.setAttribute("aria-expanded", String(root.dataset.rail !== "closed"));
  }
}

document.addEventListener("click", (event) => {
  const toggle = event.target.closest("[data-toggle-rail]");
  if (toggle) {
    event.preventDefault();
    if (narrow.matches) {
      const opens = root.dataset.rail !== "open";
      if (opens) root.dataset.rail = "open";
      else delete root.dataset.rail;
      if (opens) document.getElementById("rail").focus();
    } else {
      root.dataset.rail = root.dataset.rail === "closed" ? "open" : "closed";
      remember("rail", root.dataset.rail);
    }
    tell();
  } else if (narrow.matches && root.dataset.rail === "open" && !event.target.closest(".folder")) {
    const close = event.target.closest(".rail-close");
    if (close) event.preventDefault();
    if (close || !event.target.closest(".rail")) delete root.dataset.rail;
  }
});

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && narrow.matches && root.dataset.rail === "open") {
    delete root.dataset.rail;
    document.querySelector(".bottom-bar [data-toggle-rail]")?.focus();
  }
});
tell();
