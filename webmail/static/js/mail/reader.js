// Opening a message beside (or instead of) its list, with real addresses and a working back button.
import { fetchInto } from "../requests.js";
import { bind } from "../shortcuts.js";
import { clearSelection, current, focusRow, openId, pane, pickedIds, refresh, rowOf, rows, step } from "./list.js";

const reader = document.getElementById("reader");
const BUSY_AFTER_MS = 150;
const listTitle = () => {
  const form = pane.querySelector("[data-list-form]");
  const unread = Number(form?.dataset.unread ?? 0);
  return `${unread ? `(${unread}) ` : ""}${form?.dataset.title ?? ""} – Sealpost`;
};
const listUrl = () => pane.querySelector("[data-list-form]").dataset.listUrl;
const wide = () => matchMedia("(min-width: 1024px)").matches && document.documentElement.dataset.reader !== "off";

history.replaceState({ message: document.body.dataset.view === "message" ? location.href : null }, "");

let turns = 0;
let arrived = false;
let refusal = "";
// A page of error is a whole document; only its words belong into the reader.
reader.addEventListener("htmx:before:swap", (event) => {
  const { ctx } = event.detail;
  if (ctx.target !== reader) return;
  arrived = ctx.text.includes("data-message");
  if (arrived) return;
  refusal = ctx.text;
  event.preventDefault();
});

function showFailure(url) {
  const failed = document.getElementById("reader-failed").content.cloneNode(true);
  const page = new DOMParser().parseFromString(refusal, "text/html");
  const words = page.querySelector("main h1");
  if (words) {
    failed.querySelector("[data-failed-sentence]").textContent = words.textContent;
    failed.querySelector("[data-failed-hint]").textContent = page.querySelector("main h1 ~ p")?.textContent ?? "";
  }
  const number = page.getElementById("error-id");
  if (number) {
    failed.querySelector("[data-failed-number]").hidden = false;
    failed.querySelector("[data-failed-number] code").textContent = number.textContent;
  }
  failed.querySelector("[data-failed-again]").href = url;
  reader.replaceChildren(failed);
  refresh();
}

export async function openMessage(url, { push = true, focus = !wide() } = {}) {
  const row = rows().find((each) => each.dataset.url === new URL(url, location.href).pathname);
  const wait = setTimeout(() => {
    if (arrived) return; // in place already, and HTMX has only not said so yet
    reader.replaceChildren(document.getElementById("reader-busy").content.cloneNode(true));
    document.body.dataset.view = "message";
  }, BUSY_AFTER_MS);
  if (push) history.pushState({ message: url }, "", url);
  const turn = ++turns;
  arrived = false;
  refusal = "";
  try {
    await fetchInto(reader, url);
  } catch {
    // Shown below, like an answer that is no message.
  } finally {
    clearTimeout(wait);
  }
  if (turn !== turns) return; // another one was opened meanwhile
  document.body.dataset.view = "message";
  if (!arrived) return showFailure(url);
  const opened = reader.querySelector("[data-message]");
  document.title = `${opened.dataset.subject || reader.querySelector("h1")?.textContent || ""} – Sealpost`;
  reader.querySelector(".message-scroll")?.scrollTo(0, 0);
  row?.classList.remove("is-unread");
  refresh();
  if (focus) reader.focus({ preventScroll: true });
  // The list may tell now what it could not before: its subject, who signed it.
  if (row && !opened.querySelector("[data-unlock-form]")) document.dispatchEvent(new CustomEvent("sealpost:opened"));
}

export function showList({ push = true } = {}) {
  const id = openId();
  document.body.dataset.view = "list";
  reader.replaceChildren(document.getElementById("nothing-open").content.cloneNode(true));
  document.title = listTitle();
  if (push) history.pushState({ message: null }, "", listUrl());
  refresh();
  focusRow((id && rowOf(id)) || current());
}

addEventListener("popstate", (event) => {
  if (event.state?.message) openMessage(event.state.message, { push: false });
  else if (event.state) showList({ push: false });
});

const plainClick = (event) =>
  event.button === 0 && !event.ctrlKey && !event.metaKey && !event.altKey && !event.defaultPrevented;

document.addEventListener("click", (event) => {
  if (!plainClick(event)) return;
  const link = event.target.closest(".row-link, [data-open-message], [data-back]");
  if (!link) return;
  if (link.matches(".row-link")) {
    const row = link.closest(".row");
    // Shift selects a range; drafts open in the composer, which is a page of its own.
    if (event.shiftKey) {
      event.preventDefault();
      row.querySelector("input[name=ids]").dispatchEvent(new MouseEvent("click", { bubbles: true, cancelable: true, shiftKey: true }));
      return;
    }
    if (!link.pathname.startsWith("/mail/")) return;
    event.preventDefault();
    focusRow(row);
    openMessage(link.href);
  } else if (event.shiftKey) {
    return;
  } else if (link.matches("[data-back]")) {
    event.preventDefault();
    showList();
  } else {
    event.preventDefault();
    openMessage(link.href, { focus: true });
  }
});

const openRow = (row) => row?.querySelector(".row-link")?.click();

pane.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && event.target.matches(".row")) {
    openRow(event.target);
    event.preventDefault();
  }
});

function move(by) {
  const row = step(by);
  if (!row) return false;
  const reading = openId() !== null;
  focusRow(row);
  if (reading) openRow(row);
}
bind("j", () => move(1));
bind("k", () => move(-1));
bind("o", () => openRow(document.activeElement?.closest?.(".row") ?? current()));
bind("u", () => (openId() ? showList() : false));
bind("Escape", () => {
  if (pickedIds().length) return clearSelection();
  return openId() ? showList() : false;
});

const follow = (name) => () => {
  const url = reader.querySelector("[data-message]")?.dataset[name];
  if (!url) return false;
  location.assign(url);
};
bind("r", follow("reply"));
bind("a", follow("replyAll"));
bind("f", follow("forward"));

function inThread(by) {
  const links = [...reader.querySelectorAll("[data-thread]")];
  const at = links.findIndex((link) => link.closest("[aria-current]"));
  const to = links[at + by];
  if (!to) return false;
  openMessage(to.href, { focus: true });
}
bind("n", () => inThread(1));
bind("p", () => inThread(-1));
