// Menus are <details>: they work alone; here they also close on Escape, outside click and choice.

const open = () => document.querySelectorAll("details[data-menu][open]");

document.addEventListener("click", (event) => {
  for (const menu of open()) {
    const inside = menu.contains(event.target);
    if (!inside || (event.target.closest(".menu-list a, .menu-list button") && inside)) {
      menu.open = false;
    }
  }
});

document.addEventListener("keydown", (event) => {
  const menus = [...open()];
  if (!menus.length) return;
  const menu = menus.at(-1);
  if (event.key === "Escape") {
    menu.open = false;
    menu.querySelector("summary").focus();
    event.preventDefault();
    event.stopPropagation();
  } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    const items = [...menu.querySelectorAll(".menu-list a, .menu-list button")];
    if (!items.length || event.target.matches("input, select")) return;
    const at = items.indexOf(document.activeElement) + (event.key === "ArrowDown" ? 1 : -1);
    items[(at + items.length) % items.length].focus();
    event.preventDefault();
  }
}, true);

document.addEventListener("focusout", (event) => {
  const menu = event.target.closest?.("details[data-menu][open]");
  if (menu && event.relatedTarget && !menu.contains(event.relatedTarget)) menu.open = false;
});
