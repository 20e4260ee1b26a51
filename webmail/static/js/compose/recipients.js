// Recipients as chips. Each tells as it is typed whether the mail can be encrypted to it; the server
// says it in words, here they are only placed.
import { fetchInto, post } from "../requests.js";

const form = document.querySelector("[data-compose]");
const boxes = [...form.querySelectorAll("[data-recipients]")].map((field) => make(field));
const ASK_AFTER_MS = 250;
let asking = 0;

/** "Ana Ruiz <ana@x.org>, bob@y.org" → [{name, address, text}]; commas inside quotes do not split. */
export function parse(text) {
  const parts = text.match(/(?:"(?:[^"\\]|\\.)*"|<[^>]*>|[^,;\n])+/g) ?? [];
  return parts.map((part) => part.trim()).filter(Boolean).map((part) => {
    const match = part.match(/^(.*?)<([^<>]+)>$/);
    const name = match ? match[1].trim().replace(/^"|"$/g, "").replace(/\\(.)/g, "$1") : "";
    return { name, address: (match ? match[2] : part).trim(), text: part };
  });
}

const changed = () => form.dispatchEvent(new CustomEvent("sealpost:changed"));

function make(field) {
  const kind = field.dataset.recipients;
  const input = field.querySelector("input");
  const list = field.querySelector("[data-chips]");
  const panel = field.querySelector(".suggestions");
  const hidden = document.createElement("input");
  hidden.type = "hidden";
  hidden.name = kind;
  input.removeAttribute("name");
  field.append(hidden);
  const box = { kind, field, input, list, panel, hidden, people: [] };

  const sync = () => {
    const typed = input.value.trim();
    hidden.value = [...box.people.map((person) => person.text), ...(typed ? [typed] : [])].join(", ");
  };
  box.sync = sync;
  box.add = (text) => {
    const known = new Set(box.people.map((person) => person.address.toLowerCase()));
    for (const person of parse(text)) {
      if (known.has(person.address.toLowerCase())) continue;
      box.people.push(person);
      known.add(person.address.toLowerCase());
    }
    draw(box);
    sync();
  };
  box.remove = (address) => {
    box.people = box.people.filter((person) => person.address !== address);
    draw(box);
    sync();
  };
  box.take = () => {
    if (!input.value.trim()) return;
    const text = input.value;
    input.value = "";
    box.add(text);
    closePanel(box);
    changed();
    ask();
  };

  input.addEventListener("input", () => {
    sync();
    // A space ends a bare address; in a name it is only a space.
    if (/[,;\n]\s*$/.test(input.value) || /^[^\s"<]+@[^\s"<]+\.[^\s"<]+\s$/.test(input.value)) {
      input.value = input.value.replace(/[,;\s]+$/, "");
      box.take();
    } else suggest(box);
  });
  input.addEventListener("paste", (event) => {
    const text = event.clipboardData.getData("text");
    if (!/[,;\n]/.test(text)) return;
    event.preventDefault();
    box.add(text);
    changed();
    ask();
  });
  input.addEventListener("keydown", (event) => keys(box, event));
  input.addEventListener("blur", () => setTimeout(() => {
    if (!field.contains(document.activeElement)) box.take();
    closePanel(box);
  }, 120));
  list.addEventListener("click", (event) => {
    const button = event.target.closest(".chip-remove");
    if (!button) return;
    box.remove(button.closest("li").dataset.address);
    input.focus();
    changed();
    ask();
  });
  list.addEventListener("dblclick", (event) => {
    const chip = event.target.closest("li");
    if (!chip) return;
    const person = box.people.find((each) => each.address === chip.dataset.address);
    box.remove(chip.dataset.address);
    input.value = person.text;
    input.focus();
  });
  field.querySelector(".chip-box").addEventListener("click", (event) => {
    if (event.target.matches(".chip-box")) input.focus();
  });
  const before = input.value;
  input.value = "";
  box.add(before);
  return box;
}

function draw(box) {
  const template = form.querySelector("[data-chip-template]").content.firstElementChild;
  box.list.replaceChildren(...box.people.map((person) => {
    const chip = template.cloneNode(true);
    chip.dataset.address = person.address;
    chip.querySelector(".chip-name").textContent = person.name || person.address;
    const remove = chip.querySelector(".chip-remove");
    remove.setAttribute("aria-label", remove.dataset.words.replace("%s", person.name || person.address));
    return chip;
  }));
  place();
}

/** Put the states that the server told onto the chips. */
function place() {
  const states = new Map();
  for (const item of form.querySelectorAll("[data-recipient-states] li")) states.set(item.dataset.address.toLowerCase(), item.dataset);
  for (const chip of form.querySelectorAll(".recipient-chip")) {
    const state = states.get(chip.dataset.address.toLowerCase());
    if (!state) continue;
    chip.dataset.state = state.state;
    chip.title = `${chip.dataset.address}: ${state.sentence}`;
    chip.querySelector(".chip-words").textContent = state.words;
    const use = chip.querySelector("use");
    use.setAttribute("href", use.getAttribute("href").replace(/#.*/, `#${state.icon}`));
  }
}

/** Ask the server what will happen, and show its sentence above Send. */
export function ask() {
  clearTimeout(asking);
  asking = setTimeout(async () => {
    const url = new URL(form.dataset.recipientsUrl, location.href);
    for (const box of boxes) url.searchParams.set(box.kind, box.people.map((person) => person.text).join(", "));
    url.searchParams.set("protection", form.elements.protection.value);
    if (form.elements.from?.value) url.searchParams.set("from", form.elements.from.value);
    const outcome = document.getElementById("outcome");
    if (outcome) await fetchInto(outcome, url.pathname + url.search, { swap: "outerHTML" });
  }, ASK_AFTER_MS);
}

document.addEventListener("htmx:after:swap", place);
form.addEventListener("change", (event) => event.target.name === "from" && ask());
form.addEventListener("click", (event) => {
  const remove = event.target.closest("[data-remove-recipients]");
  if (remove) {
    for (const address of remove.dataset.removeRecipients.split(",")) for (const box of boxes) box.remove(address);
    changed();
    ask();
  }
  const pin = event.target.closest("[data-pin]");
  if (pin) {
    const { address, sha256, pin: choice, pinUrl } = pin.dataset;
    post(pinUrl, [["address", address], ["sha256", sha256], ["choice", choice]]).then(ask);
  }
  const choice = event.target.closest("[data-set-protection]");
  if (choice) {
    form.elements.protection.value = choice.dataset.setProtection;
    changed();
    ask();
  }
});
form.addEventListener("submit", () => boxes.forEach((box) => box.sync()), true);

// --- suggestions: a listbox under the field ------------------------------------------------------

let suggesting = 0;

function suggest(box) {
  clearTimeout(suggesting);
  const query = box.input.value.trim();
  if (query.length < 2 || !form.dataset.suggest) return closePanel(box);
  suggesting = setTimeout(async () => {
    const url = new URL(form.dataset.suggest, location.href);
    url.searchParams.set("q", query);
    await fetchInto(box.panel, url.pathname + url.search);
    const options = box.panel.querySelectorAll("[role=option]");
    if (!options.length || box.input.value.trim() !== query || document.activeElement !== box.input) return closePanel(box);
    options.forEach((option, index) => (option.id = `${box.panel.id}-${index}`));
    box.panel.hidden = false;
    box.input.setAttribute("role", "combobox");
    box.input.setAttribute("aria-autocomplete", "list");
    box.input.setAttribute("aria-controls", box.panel.id);
    box.input.setAttribute("aria-expanded", "true");
    choose(box, 0);
  }, 140);
}

function closePanel(box) {
  clearTimeout(suggesting);
  box.panel.hidden = true;
  box.panel.replaceChildren();
  if (box.input.getAttribute("role") === "combobox") {
    box.input.setAttribute("aria-expanded", "false");
    box.input.removeAttribute("aria-activedescendant");
  }
}

function choose(box, index) {
  const options = [...box.panel.querySelectorAll("[role=option]")];
  const at = (index + options.length) % options.length;
  options.forEach((option, each) => option.setAttribute("aria-selected", String(each === at)));
  box.input.setAttribute("aria-activedescendant", options[at].id);
}

function accept(box, option) {
  const { name, address } = option.dataset;
  box.input.value = "";
  box.add(name ? `"${name.replace(/["\\]/g, "\\$&")}" <${address}>` : address);
  closePanel(box);
  box.input.focus();
  changed();
  ask();
}

function keys(box, event) {
  if (event.isComposing) return;
  const options = [...box.panel.querySelectorAll("[role=option]")];
  const at = options.findIndex((option) => option.getAttribute("aria-selected") === "true");
  const open = !box.panel.hidden && options.length > 0;
  if (open && (event.key === "ArrowDown" || event.key === "ArrowUp")) choose(box, at + (event.key === "ArrowDown" ? 1 : -1));
  else if (open && event.key === "Escape") closePanel(box);
  else if (open && (event.key === "Enter" || event.key === "Tab") && !event.ctrlKey && !event.metaKey) accept(box, options[at]);
  else if (event.key === "Enter" && !event.ctrlKey && !event.metaKey) box.take();
  else if (event.key === "Backspace" && !box.input.value && box.people.length) {
    box.remove(box.people.at(-1).address);
    changed();
    ask();
  } else return;
  event.preventDefault();
  event.stopPropagation();
}

form.addEventListener("mousedown", (event) => {
  const option = event.target.closest(".suggestions [role=option]");
  if (!option) return;
  event.preventDefault();
  accept(boxes.find((box) => box.panel.contains(option)), option);
});
place();
