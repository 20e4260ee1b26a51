// Width of the message list, by pointer or by arrow keys; remembered in this browser.
import { recall, remember } from "../memory.js";

const divider = document.querySelector("[data-divider]");
const MIN = 280;
const MAX = 640;

function set(width) {
  const value = Math.round(Math.min(Math.max(width, MIN), MAX));
  document.documentElement.style.setProperty("--list", `${value}px`);
  divider.setAttribute("aria-valuenow", value);
  return value;
}

if (divider) {
  let now = set(Number(recall("list")) || 400);
  const list = document.querySelector("[data-list]");
  divider.addEventListener("pointerdown", (event) => {
    divider.setPointerCapture(event.pointerId);
    const box = list.getBoundingClientRect();
    const rtl = document.documentElement.dir === "rtl";
    const move = (to) => (now = set(rtl ? box.right - to.clientX : to.clientX - box.left));
    divider.addEventListener("pointermove", move);
    divider.addEventListener("pointerup", () => {
      divider.removeEventListener("pointermove", move);
      remember("list", String(now));
    }, { once: true });
  });
  divider.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -16, ArrowRight: 16, Home: -1000, End: 1000 }[event.key];
    if (!by) return;
    event.preventDefault();
    now = set(now + (document.documentElement.dir === "rtl" ? -by : by));
    remember("list", String(now));
  });
}
