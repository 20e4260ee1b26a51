// Archive, delete, spam, read, star, move: done on the page at once, told to the server, undone with z.
import { post } from "../requests.js";
import { bind } from "../shortcuts.js";
import { showFragment, showTemplate } from "../toasts.js";
import { clearSelection, focusRow, openId, pane, pickedIds, refresh, rowOf, rows, subject } from "./list.js";
import { refreshList } from "./poll.js";
import { showList } from "./reader.js";

const LEAVING = new Set(["archive", "delete", "spam", "move"]);
const actUrl = () => pane.querySelector("[data-list-form]").getAttribute("action");

export async function act(action, ids, extra = {}) {
  if (!ids.length) return false;
  const touched = ids.map(rowOf).filter(Boolean);
  const back = LEAVING.has(action) ? leave(touched, ids) : mark(action, touched);
  try {
    const pairs = [["action", action], ...ids.map((id) => ["ids", id]), ...Object.entries(extra)];
    const response = await post(actUrl(), pairs);
    const answer = await response.text();
    // A page of error is a whole document, and says nothing of mails.
    if (answer.includes("<html")) throw new Error("no answer of this action");
    showFragment(answer);
    if (!response.ok) back();
    if (LEAVING.has(action) || !response.ok) await refreshList();
  } catch {
    back();
    showTemplate("act-failed");
  }
  return true;
}

function leave(touched, ids) {
  const all = rows();
  const last = Math.max(...touched.map((row) => all.indexOf(row)), -1);
  const next = all.slice(last + 1).find((row) => !touched.includes(row)) ?? all.findLast((row) => !touched.includes(row));
  const reading = ids.includes(openId());
  const places = touched.map((row) => [row, row.parentNode, row.nextSibling]).reverse();
  touched.forEach((row) => row.remove());
  clearSelection();
  if (reading) showList();
  focusRow(next);
  return () => {
    for (const [row, parent, after] of places) {
      if (!rowOf(row.dataset.id)) parent.insertBefore(row, after?.parentNode === parent ? after : null);
    }
    refresh();
  };
}

function mark(action, touched) {
  const before = touched.map((row) => [row, row.cloneNode(true)]);
  for (const row of touched) {
    if (action === "read") row.classList.remove("is-unread");
    if (action === "unread") row.classList.add("is-unread");
    if (action === "star" || action === "unstar") star(row.querySelector(".row-star"), action === "star");
  }
  return () => before.forEach(([row, copy]) => row.replaceWith(copy));
}

function star(button, on) {
  button.setAttribute("aria-pressed", String(on));
  if (button.dataset.act) button.dataset.act = on ? "unstar" : "star";
  else button.value = on ? "unstar" : "star";
}

pane.addEventListener("click", (event) => {
  const button = event.target.closest("[data-act]");
  if (!button) return;
  const row = button.closest(".row");
  let action = button.dataset.act;
  if (action === "toggle-read") action = row.classList.contains("is-unread") ? "read" : "unread";
  act(action, [row.dataset.id]);
});

document.addEventListener("submit", (event) => {
  const form = event.target;
  const action = event.submitter?.name === "action" ? event.submitter.value : null;
  if (form.matches("[data-list-form]") && action) {
    event.preventDefault();
    act(action, pickedIds());
  } else if (form.matches("[data-message-form]") && action) {
    event.preventDefault();
    const id = form.elements.ids.value;
    if (action === "star" || action === "unstar") star(form.querySelector(".star-button"), action === "star");
    act(action, [id]);
    if (action === "unread") showList();
  } else if (form.matches("[data-acted]")) {
    event.preventDefault();
    undo(form);
  }
});

async function undo(form) {
  try {
    const pairs = [...new FormData(form)].filter(([, value]) => typeof value === "string");
    const answer = await (await post(form.getAttribute("action"), pairs)).text();
    if (answer.includes("<html")) throw new Error("no answer of this action");
    form.remove();
    showFragment(answer);
  } catch {
    return showTemplate("act-failed");
  }
  await refreshList();
}

document.addEventListener("change", (event) => {
  if (!event.target.matches("[data-move-target]") || !event.target.value) return;
  const target = event.target.value;
  event.target.value = "";
  const form = event.target.form;
  act("move", form.matches("[data-message-form]") ? [form.elements.ids.value] : pickedIds(), { target });
});

for (const [key, action] of [["e", "archive"], ["#", "delete"], ["!", "spam"], ["Shift+I", "read"]]) {
  bind(key, () => (subject().length ? void act(action, subject()) : false));
}
bind("Shift+U", () => {
  const ids = subject();
  if (!ids.length) return false;
  act("unread", ids);
  if (openId() && ids.includes(openId())) showList();
});
bind("s", () => {
  const ids = subject();
  if (!ids.length) return false;
  const on = !ids.every((id) => rowOf(id)?.querySelector(".row-star")?.getAttribute("aria-pressed") === "true");
  const open = document.querySelector(".star-button");
  if (open && ids.includes(openId())) star(open, on);
  act(on ? "star" : "unstar", ids);
});
bind("v", () => {
  const select = pickedIds().length ? pane.querySelector("[data-move-target]") : document.querySelector("[data-message-form] [data-move-target]");
  if (!select) return false;
  select.focus();
  select.showPicker?.();
});
refresh();
