// New mail without reload: ask gently, tell the live region, the title and the icon.
import { fetchInto } from "../requests.js";
import { say } from "../toasts.js";
import { openId, pane } from "./list.js";

const SEEN_MS = 5_000;
const SOON_MS = 1_200;
const HIDDEN_MS = 60_000;
const icon = document.querySelector("link[rel=icon][data-plain]");
let timer = 0;
let failures = 0;

const form = () => pane.querySelector("[data-list-form]");

/** Ask now; the server answers 204 when nothing changed. */
export async function refreshList({ background = false } = {}) {
  const url = form()?.dataset.pollUrl;
  if (!url) return;
  const headers = background ? { "X-Sealpost-Background": "1" } : {};
  await fetchInto(pane, url, { swap: "innerMorph", headers });
}

async function round() {
  clearTimeout(timer);
  // A first page is kept fresh; while rows are selected or a menu is open nothing may move.
  if (!pane.querySelector(".bulk-bar.is-on") && navigator.onLine) await refreshList({ background: true });
  plan();
}

/** Soon again while the server still looks into mail that nobody opened. */
function usual() {
  if (document.hidden) return HIDDEN_MS;
  return Number(form()?.dataset.unopened) && !failures ? SOON_MS : SEEN_MS;
}

function plan(pause = usual() * Math.min(2 ** failures, 16)) {
  clearTimeout(timer);
  timer = setTimeout(round, pause);
}
document.addEventListener("sealpost:opened", () => plan(SOON_MS));

function tell() {
  const unread = Number(form()?.dataset.unread ?? 0);
  if (icon) icon.href = unread ? icon.dataset.unread : icon.dataset.plain;
  if (!openId()) document.title = `${unread ? `(${unread}) ` : ""}${form()?.dataset.title ?? ""} – Sealpost`;
  const news = pane.querySelector("[data-announcement]");
  if (news) say(news.textContent);
}

pane.addEventListener("htmx:error", () => (failures += 1));
document.addEventListener("htmx:after:swap", (event) => {
  if (event.detail.ctx.target !== pane) return;
  failures = 0;
  tell();
});
document.addEventListener("visibilitychange", () => !document.hidden && round());
pane.addEventListener("click", (event) => {
  if (!event.target.closest("[data-refresh]")) return;
  event.preventDefault();
  refreshList();
});
// An error answer must not take the list's place.
pane.addEventListener("htmx:before:swap", (event) => {
  const { ctx } = event.detail;
  if (ctx.target === pane && ctx.response?.status >= 400) {
    failures += 1;
    event.preventDefault();
  }
});
if (icon && Number(form()?.dataset.unread)) icon.href = icon.dataset.unread;
plan(SOON_MS); // the page was drawn from what is known; look at the server at once
