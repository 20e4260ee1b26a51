// The message list as a grid: one row in the tab order, moved by arrows and j/k; selection by x,
// Space, click and Shift.
import { bind } from "../shortcuts.js";

const picked = new Set();
let anchor = null;

export const pane = document.querySelector("[data-list]");
export const rows = () => [...pane.querySelectorAll(".row")];
export const rowOf = (id) => document.getElementById(`row-${id}`);
export const current = () => pane.querySelector('.row[tabindex="0"]') ?? rows()[0] ?? null;
export const openId = () => document.querySelector("[data-message]")?.dataset.id ?? null;
export const pickedIds = () => rows().map((row) => row.dataset.id).filter((id) => picked.has(id));

/** Ids an action is about: the selection, else the open message, else the row in focus. */
export function subject() {
  const ids = pickedIds();
  if (ids.length) return ids;
  const id = openId() ?? document.activeElement?.closest?.(".row")?.dataset.id ?? null;
  return id ? [id] : [];
}

export function clearSelection() {
  picked.clear();
  refresh();
}

function pick(row, on, { extend = false } = {}) {
  if (extend && anchor?.isConnected) {
    const all = rows();
    const [from, to] = [all.indexOf(anchor), all.indexOf(row)].sort((a, b) => a - b);
    for (const each of all.slice(from, to + 1)) on ? picked.add(each.dataset.id) : picked.delete(each.dataset.id);
  } else {
    on ? picked.add(row.dataset.id) : picked.delete(row.dataset.id);
    anchor = row;
  }
  refresh();
}

/** Bring the markup in line with what is picked, open and in focus; after every swap. */
export function refresh() {
  const all = rows();
  const here = new Set(all.map((row) => row.dataset.id));
  for (const id of picked) if (!here.has(id)) picked.delete(id);
  const opened = openId();
  let focusable = all.find((row) => row.tabIndex === 0) ?? (opened && rowOf(opened)) ?? all[0];
  for (const row of all) {
    const on = picked.has(row.dataset.id);
    row.setAttribute("aria-selected", String(on));
    row.querySelector("input[name=ids]").checked = on;
    row.tabIndex = row === focusable ? 0 : -1;
    row.querySelector(".row-link").tabIndex = -1;
    row.querySelector("input[name=ids]").tabIndex = -1;
    if (row.dataset.id === opened) row.setAttribute("aria-current", "true");
    else row.removeAttribute("aria-current");
  }
  const bar = pane.querySelector("[data-bulk]");
  const count = pickedIds().length;
  bar.classList.toggle("is-on", count > 0);
  const words = bar.querySelector("[data-bulk-count]");
  words.textContent = words.dataset.words.replace("%n", count);
  const whole = pane.querySelector("[data-select-all]");
  whole.checked = count > 0 && count === all.length;
  whole.indeterminate = count > 0 && count < all.length;
}

export function focusRow(row) {
  if (!row) return;
  for (const each of rows()) each.tabIndex = each === row ? 0 : -1;
  row.focus({ preventScroll: true });
  row.scrollIntoView({ block: "nearest" });
}

export function step(by) {
  const all = rows();
  const from = all.indexOf(current());
  const focused = document.activeElement?.closest?.(".row");
  const at = focused || openId() ? from + by : from;
  return all[Math.min(Math.max(at, 0), all.length - 1)] ?? null;
}

pane.addEventListener("change", (event) => {
  if (event.target.matches("[data-select-all]")) {
    for (const row of rows()) event.target.checked ? picked.add(row.dataset.id) : picked.delete(row.dataset.id);
    refresh();
  }
});

let shifted = false;
pane.addEventListener("click", (event) => {
  shifted = event.shiftKey;
  const box = event.target.closest("input[name=ids]");
  if (box) pick(box.closest(".row"), box.checked, { extend: shifted });
  if (event.target.closest("[data-clear-selection]")) clearSelection();
});

pane.addEventListener("keydown", (event) => {
  const row = event.target.closest(".row");
  if (!row || event.ctrlKey || event.metaKey || event.altKey) return;
  const all = rows();
  const at = all.indexOf(row);
  const go = (index) => {
    const to = all[Math.min(Math.max(index, 0), all.length - 1)];
    if (event.shiftKey) {
      if (!picked.has(row.dataset.id)) pick(row, true);
      pick(to, true);
    }
    focusRow(to);
    event.preventDefault();
  };
  const controls = () => [...row.querySelectorAll("input[name=ids], .cell-actions button")].filter((each) => each.checkVisibility?.({ opacityProperty: false }) ?? true);
  switch (event.key) {
    case "ArrowDown": return go(at + 1);
    case "ArrowUp": return go(at - 1);
    case "PageDown": return go(at + 10);
    case "PageUp": return go(at - 10);
    case "Home": return go(0);
    case "End": return go(all.length - 1);
    case " ":
      if (event.target !== row) return;
      pick(row, !picked.has(row.dataset.id), { extend: event.shiftKey });
      return event.preventDefault();
    case "ArrowRight":
    case "ArrowLeft": {
      const forward = (event.key === "ArrowRight") === (document.documentElement.dir !== "rtl");
      const all = [row, ...controls()];
      const to = all[all.indexOf(event.target) + (forward ? 1 : -1)];
      to?.focus();
      return event.preventDefault();
    }
  }
});

bind("x", () => {
  const row = document.activeElement?.closest?.(".row") ?? (openId() ? rowOf(openId()) : null) ?? current();
  if (!row) return false;
  pick(row, !picked.has(row.dataset.id));
});

document.addEventListener("htmx:after:swap", (event) => {
  if (event.detail.ctx.target === pane) refresh();
});
refresh();
