// Rich text in a frame of its own origin (see editor/frame.html), plain text in the textarea. The
// textarea always holds the text version, so that nothing depends on the frame.
const form = document.querySelector("[data-compose]");
const box = form.querySelector("[data-editor]");
const area = box.querySelector("[data-plain-text]");
const html = form.querySelector("[data-html]");
const modePlain = form.querySelector("[data-mode-plain]");
const bar = box.querySelector("[data-editor-bar]");
const toggle = box.querySelector("[data-toggle-plain]");
const linkRow = box.querySelector("[data-link-row]");
const MIN_HEIGHT = 300;
const PAUSE_MS = 400;

let port = null;
let hooks = {};
let frame = null;
let began = area.defaultValue;
let typedAt = -Infinity;

const theme = () => {
  const chosen = document.documentElement.dataset.theme;
  if (chosen) return chosen;
  return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
};
const escape = (text) => text.replace(/[&<>"]/g, (char) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[char]);

/** Plain text as simple HTML; lines beginning with ">" become quotes. */
export function toHtml(text) {
  let depth = 0;
  let out = "";
  for (const raw of text.split("\n")) {
    const level = raw.match(/^(?:> ?)*/)[0].replace(/[^>]/g, "").length;
    while (depth < level) (out += "<blockquote>"), (depth += 1);
    while (depth > level) (out += "</blockquote>"), (depth -= 1);
    const line = raw.replace(/^(?:> ?)*/, "");
    out += `<div>${escape(line) || "<br>"}</div>`;
  }
  return out + "</blockquote>".repeat(depth);
}

function tell(message) {
  port?.postMessage(message);
}

function open() {
  frame = document.createElement("iframe");
  frame.className = "editor-frame";
  frame.title = box.dataset.label;
  // Without allow-same-origin: what is quoted cannot reach this page.
  frame.setAttribute("sandbox", "allow-scripts");
  frame.src = box.dataset.src;
  const hello = (event) => {
    if (event.source !== frame?.contentWindow || event.data?.type !== "sealpost-editor") return;
    removeEventListener("message", hello);
    const channel = new MessageChannel();
    channel.port1.onmessage = receive;
    const root = document.documentElement;
    frame.contentWindow.postMessage(
      { type: "open", html: html.value || toHtml(began), label: box.dataset.label, theme: theme(), lang: root.lang, dir: root.dir },
      "*",
      [channel.port2],
    );
    port = channel.port1;
  };
  addEventListener("message", hello);
  box.querySelector("[data-editor-rich]").replaceChildren(frame);
  box.classList.add("is-opening");
}

/** The frame takes over from the textarea, in which one may have been typing meanwhile. A key pressed
 * while the focus moves would be lost, so it moves in a pause. */
function takeOver() {
  if (!port) return;
  if (performance.now() - typedAt < PAUSE_MS) return void setTimeout(takeOver, PAUSE_MS / 4);
  const text = area.value;
  const focused = document.activeElement === area;
  box.classList.add("is-rich");
  box.classList.remove("is-opening");
  if (focused) frame.focus();
  if (text.endsWith(began)) tell({ type: "typed", text: text.slice(0, text.length - began.length) });
  else tell({ type: "set", html: toHtml(text) });
}

function close() {
  port?.close();
  port = null;
  frame?.remove();
  frame = null;
  box.classList.remove("is-rich", "is-opening");
}

function receive({ data }) {
  if (data.type === "height") frame.style.height = `${Math.max(MIN_HEIGHT, Math.min(data.height, 4000))}px`;
  if (data.type === "content") {
    html.value = data.html;
    area.value = data.text;
    hooks.changed?.();
  }
  if (data.type === "state") {
    for (const [name, on] of Object.entries(data.state)) {
      bar.querySelector(`[data-command="${name}"]`)?.setAttribute("aria-pressed", String(on));
    }
  }
  if (data.type === "files") form.dispatchEvent(new CustomEvent("sealpost:files", { detail: data.files }));
  if (data.type === "key") {
    if (data.key === "send") hooks.send?.();
    if (data.key === "cc" || data.key === "bcc") hooks.showCc?.(data.key);
    if (data.key === "link") askLink();
    if (data.key === "leave") form.querySelector("[data-send]").focus();
  }
  if (data.type === "ready") takeOver();
}

function askLink() {
  linkRow.hidden = false;
  linkRow.querySelector("input").focus();
}

function setLink(address) {
  linkRow.hidden = true;
  linkRow.querySelector("input").value = "";
  if (address !== null && !/^(?:https?:|mailto:)/i.test(address)) address = `https://${address}`;
  tell({ type: "command", name: "focus" });
  tell({ type: "command", name: "link", value: address });
}

bar.addEventListener("click", (event) => {
  const button = event.target.closest("[data-command]");
  if (!button) return;
  if (button.dataset.command === "link" && button.getAttribute("aria-pressed") !== "true") return askLink();
  tell({ type: "command", name: button.dataset.command });
  tell({ type: "command", name: "focus" });
});
// Toolbar: one stop in the tab order, arrows inside.
const tools = [...bar.querySelectorAll("button")];
tools.forEach((tool, index) => (tool.tabIndex = index ? -1 : 0));
bar.addEventListener("keydown", (event) => {
  const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!by) return;
  const shown = tools.filter((tool) => tool.checkVisibility());
  const to = shown[(shown.indexOf(document.activeElement) + by + shown.length) % shown.length];
  tools.forEach((tool) => (tool.tabIndex = tool === to ? 0 : -1));
  to.focus();
  event.preventDefault();
});
linkRow.querySelector("[data-link-set]").addEventListener("click", () => {
  const value = linkRow.querySelector("input").value.trim();
  setLink(value || null);
});
linkRow.querySelector("[data-link-remove]").addEventListener("click", () => setLink(null));
linkRow.addEventListener("keydown", (event) => {
  if (event.key === "Enter") {
    event.preventDefault();
    linkRow.querySelector("[data-link-set]").click();
  }
  if (event.key === "Escape") linkRow.hidden = true;
});

area.addEventListener("input", () => (typedAt = performance.now()));

toggle.addEventListener("click", () => {
  const plain = toggle.getAttribute("aria-pressed") !== "true";
  toggle.setAttribute("aria-pressed", String(plain));
  modePlain.value = plain ? "1" : "";
  if (plain) {
    close();
    html.value = "";
    area.focus();
  } else {
    began = area.value;
    area.focus();
    open();
  }
  if (!plain) tools.forEach((tool, index) => (tool.tabIndex = index ? -1 : 0));
  hooks.changed?.();
});

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => tell({ type: "theme", theme: theme() }));
new MutationObserver(() => tell({ type: "theme", theme: theme() })).observe(document.documentElement, { attributeFilter: ["data-theme"] });

export const editor = {
  start(given) {
    hooks = given;
    if (area.value === began) area.setSelectionRange(0, 0);
    else typedAt = performance.now();
    if (modePlain.value !== "1") open();
    else tools.forEach((tool) => (tool.tabIndex = tool === toggle ? 0 : -1));
  },
  /** What the writer wrote: the text without quoted lines. */
  ownText() {
    return area.value.split("\n").filter((line) => !line.startsWith(">")).join("\n");
  },
};
