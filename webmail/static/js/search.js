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
  // One stop for Tab; the arrows lead from the field through the chips.
  const operators = [...form.querySelectorAll("[data-operator]")];
  for (const chip of operators) chip.tabIndex = -1;
  form.addEventListener("keydown", (event) => {
    const at = operators.indexOf(event.target);
    const by = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
    if (by && chips && (at >= 0 || event.key === "ArrowDown")) {
      chips.hidden = false;
      (operators[at + by] ?? (at + by < 0 ? field : operators[0])).focus();
      event.preventDefault();
    }
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
