// Short messages at the foot of the page, with undo. They wait while pointed at or focused.
import { unpack } from "./requests.js";

const LASTS_MS = 8000;

export function say(words) {
  const live = document.querySelector("[data-live]");
  if (live && words) {
    live.textContent = "";
    requestAnimationFrame(() => (live.textContent = words));
  }
}

/** Show the fragment the server answered an action with. */
export function showFragment(html) {
  const region = document.getElementById("toasts");
  const fresh = unpack(html);
  if (fresh.length) region.querySelectorAll("[data-acted]").forEach((old) => old.remove());
  for (const element of fresh) {
    region.append(element);
    watch(element);
  }
}

/** A toast made from a template the page brought along. */
export function showTemplate(id) {
  const template = document.getElementById(id);
  if (!template) return;
  const element = template.content.firstElementChild.cloneNode(true);
  document.getElementById("toasts").append(element);
  watch(element);
}

export function lastUndo() {
  return [...document.querySelectorAll("#toasts [data-undo]")].at(-1) ?? null;
}

function watch(toast) {
  if (toast.dataset.countdown) return countDown(toast);
  let left = LASTS_MS;
  const timer = setInterval(() => {
    if (toast.matches(":hover, :focus-within")) return;
    left -= 500;
    if (left <= 0 || !toast.isConnected) {
      clearInterval(timer);
      toast.remove();
    }
  }, 500);
}

function countDown(toast) {
  const ends = performance.now() + Number(toast.dataset.countdown) * 1000;
  const words = toast.querySelector("[data-countdown-words]");
  const timer = setInterval(() => {
    const left = Math.ceil((ends - performance.now()) / 1000);
    if (left > 0) {
      words.textContent = toast.dataset.words.replace("%n", left);
      return;
    }
    clearInterval(timer);
    words.textContent = toast.dataset.wordsDone;
    toast.querySelector("[data-undo]")?.remove();
    // Looking at the outbox rings the bell for what is due.
    fetch(toast.dataset.outbox, { headers: { "X-Sealpost-Background": "1" }, credentials: "same-origin" }).catch(() => {});
    setTimeout(() => toast.remove(), 3000);
  }, 250);
}

document.querySelectorAll("#toasts [data-toast]").forEach(watch);
document.addEventListener("click", (event) => {
  event.target.closest("[data-close-toast]")?.closest("[data-toast]")?.remove();
});
