// Rows can be dragged to a folder. "Move to…" does the same without dragging.
import { act } from "./actions.js";
import { pane, pickedIds } from "./list.js";

let dragged = [];

pane.addEventListener("dragstart", (event) => {
  const row = event.target.closest?.(".row");
  if (!row) return;
  dragged = pickedIds().includes(row.dataset.id) ? pickedIds() : [row.dataset.id];
  event.dataTransfer.effectAllowed = "move";
  // Nothing of the mail leaves with the drag: other programs would see it.
  event.dataTransfer.clearData();
  event.dataTransfer.setData("application/x-sealpost", "messages");
});

const folderAt = (event) => (dragged.length ? event.target.closest?.("a.folder[data-folder]:not(.is-active)") : null);

document.addEventListener("dragover", (event) => {
  const folder = folderAt(event);
  if (!folder) return;
  event.preventDefault();
  folder.classList.add("is-drop");
});
document.addEventListener("dragleave", (event) => event.target.closest?.("a.folder")?.classList.remove("is-drop"));
document.addEventListener("drop", (event) => {
  const folder = folderAt(event);
  if (!folder) return;
  event.preventDefault();
  folder.classList.remove("is-drop");
  act("move", dragged, { target: folder.dataset.folder });
  dragged = [];
});
document.addEventListener("dragend", () => (dragged = []));
