// Keys as in Gmail. They rest inside fields and dialogs, and single keys can be switched off.
import { recall, remember } from "./memory.js";
import { focusSearch } from "./search.js";
import { lastUndo } from "./toasts.js";

const dialog = document.querySelector("[data-shortcuts-dialog]");
const handlers = new Map();
let on = recall("shortcuts") !== "off";
let waitsForSecond = 0;
let leavesUntil = 0;

/** `key` as typed ("#", "j", "Shift+I"); the handler returns false when it does not apply. */
export function bind(key, handler) {
  handlers.set(key, handler);
}

const follow = (selector) => () => {
  const link = document.querySelector(selector);
  if (!link) return false;
  link.click();
  return true;
};
const goTo = (role) => follow(`a.folder[data-role="${role}"]`);

bind("c", follow(".compose-button"));
bind("/", () => focusSearch());
bind("?", () => openHelp());
bind("z", () => (lastUndo() ? (lastUndo().click(), true) : false));
bind("Shift+L", () => {
  const button = document.querySelector("[data-lock-now]");
  if (!button) return false;
  button.form.requestSubmit(button);
  return true;
});
bind("g i", goTo("inbox"));
bind("g d", goTo("drafts"));
bind("g t", goTo("sent"));
bind("g s", () => {
  const inbox = document.querySelector('a.folder[data-role="inbox"]');
  if (!inbox) return false;
  const url = new URL(inbox.href);
  url.searchParams.set("q", "is:starred");
  location.assign(url);
  return true;
});

function name(event) {
  const letter = event.key.length === 1 && /\p{Letter}/u.test(event.key);
  if (letter && event.shiftKey) return `Shift+${event.key.toUpperCase()}`;
  return event.key;
}

// Another page is on its way: what is typed now is meant for that one. A download only looks like it.
addEventListener("beforeunload", () => (leavesUntil = performance.now() + 3000));

document.addEventListener("keydown", (event) => {
  if (performance.now() < leavesUntil) return;
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (event.target.closest("input:not([type=checkbox],[type=radio]), textarea, select, [contenteditable], dialog")) return;
  const single = event.key.length === 1;
  if (single && !on && event.key !== "?") return;
  let key = name(event);
  if (performance.now() < waitsForSecond) {
    key = `g ${key}`;
    waitsForSecond = 0;
  } else if (key === "g") {
    waitsForSecond = performance.now() + 1200;
    return;
  }
  const handler = handlers.get(key);
  if (handler && handler(event) !== false) event.preventDefault();
});

function openHelp() {
  dialog?.showModal();
}

document.addEventListener("click", (event) => {
  if (event.target.closest("[data-open-shortcuts]")) openHelp();
  if (event.target === dialog) dialog.close();
});

for (const input of document.querySelectorAll("[data-shortcuts-switch]")) {
  input.checked = on;
  input.addEventListener("change", () => {
    on = input.checked;
    remember("shortcuts", on ? null : "off");
    for (const twin of document.querySelectorAll("[data-shortcuts-switch]")) twin.checked = on;
  });
}
