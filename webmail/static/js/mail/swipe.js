// Swiping a row on touch screens: towards the end archives, towards the start deletes. The same
// actions stand visibly in the selection bar and above the message.
import { act } from "./actions.js";
import { pane } from "./list.js";

const FAR = 96;
let swipe = null;

pane.addEventListener("pointerdown", (event) => {
  const row = event.target.closest(".row");
  if (event.pointerType !== "touch" || !row) return;
  swipe = { row, x: event.clientX, y: event.clientY, by: 0, on: false };
});

pane.addEventListener("pointermove", (event) => {
  if (!swipe) return;
  const [dx, dy] = [event.clientX - swipe.x, event.clientY - swipe.y];
  if (!swipe.on && Math.abs(dy) > 10) return void (swipe = null);
  if (!swipe.on && Math.abs(dx) < 14) return;
  swipe.on = true;
  swipe.by = dx;
  swipe.row.setPointerCapture?.(event.pointerId);
  swipe.row.style.transform = `translateX(${dx}px)`;
  swipe.row.style.opacity = Math.abs(dx) > FAR ? "0.5" : "";
});

function end(event) {
  if (!swipe) return;
  const { row, by, on } = swipe;
  swipe = null;
  row.style.transform = "";
  row.style.opacity = "";
  if (!on) return;
  addEventListener("click", stop, { capture: true, once: true });
  setTimeout(() => removeEventListener("click", stop, { capture: true }), 50);
  if (event.type === "pointerup" && Math.abs(by) > FAR) {
    const forward = by > 0 === (document.documentElement.dir !== "rtl");
    act(forward ? "archive" : "delete", [row.dataset.id]);
  }
}

function stop(event) {
  event.preventDefault();
  event.stopPropagation();
}

pane.addEventListener("pointerup", end);
pane.addEventListener("pointercancel", end);
