// Search: operators offered as chips while the field is in use.

const form = document.querySelector("[data-search]");
const field = form?.querySelector("input[type=search]");
const chips = form?.querySelector("[data-search-chips]");

export function focusSearch() {
  field?.focus();
  field?.select();
}

if (field) {
  field.addEventListener("focus", () => chips && (chips.hidden = false));
  form.addEventListener("focusout", (event) => {
    if (chips && !form.contains(event.relatedTarget)) chips.hidden = true;
  });
  form.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    if (chips && !chips.hidden) chips.hidden = true;
    else field.blur();
    event.stopPropagation();
  });
  form.addEventListener("click", (event) => {
    const chip = event.target.closest("[data-operator]");
    if (!chip) return;
    const before = field.value.trimEnd();
    field.value = `${before}${before ? " " : ""}${chip.dataset.operator}`;
    if (!chip.dataset.operator.endsWith(":")) field.value += " ";
    field.focus();
  });
}

document.addEventListener("click", (event) => {
  if (event.target.closest("[data-focus-search]")) {
    event.preventDefault();
    focusSearch();
  }
});
