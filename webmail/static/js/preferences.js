// Look of this browser: colours, density, place of the reading pane. Kept in this browser only.
import { recall, remember } from "./memory.js";

const root = document.documentElement;
const SWITCHES = [
  ["[data-theme-switch]", "theme", "system"],
  ["[data-density-switch]", "density", "normal"],
  ["[data-reader-switch]", "reader", "right"],
];

for (const [selector, name, usual] of SWITCHES) {
  for (const group of document.querySelectorAll(selector)) {
    const now = recall(name) ?? usual;
    for (const input of group.querySelectorAll("input")) input.checked = input.value === now;
    group.addEventListener("change", (event) => {
      const value = event.target.value;
      remember(name, value === usual ? null : value);
      if (value === usual) delete root.dataset[name];
      else root.dataset[name] = value;
      for (const twin of document.querySelectorAll(`${selector} input`)) {
        twin.checked = twin.value === value;
      }
    });
  }
}
