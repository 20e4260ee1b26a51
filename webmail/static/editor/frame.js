// Runs inside the editor's frame, which has an origin of its own. It speaks with the page over one
// message channel that the page hands in; nobody else is listened to.
(() => {
  const root = document.getElementById("editor");
  let editor = null;
  let port = null;
  let last = "";

  const FORBIDDEN = { FORBID_TAGS: ["style", "form", "input", "button", "textarea", "select", "svg", "math", "video", "audio", "iframe"], FORBID_ATTR: ["srcset", "background"], ALLOW_DATA_ATTR: false, RETURN_DOM_FRAGMENT: true };
  const sanitize = (html) => document.importNode(DOMPurify.sanitize(html, FORBIDDEN), true);

  // Pictures of a quoted mail are not loaded while it is answered: the sender would see it.
  DOMPurify.addHook("afterSanitizeAttributes", (node) => {
    const source = node.getAttribute?.("src");
    if (node.tagName === "IMG" && source && !/^(?:data:image\/(?:png|jpeg|gif|webp);|cid:)/i.test(source)) node.removeAttribute("src");
    if (node.style) for (const name of ["position", "background-image", "background"]) if (/url\(|fixed|absolute/i.test(node.style.getPropertyValue(name))) node.style.removeProperty(name);
  });

  const BLOCKS = new Set(["DIV", "P", "LI", "BLOCKQUOTE", "UL", "OL", "PRE", "TABLE", "TR", "H1", "H2", "H3", "H4", "H5", "H6", "HR"]);

  /** The same text for readers without HTML: quotes with "> ", list marks, links with their address. */
  function plain(node) {
    let out = "";
    const line = () => (out && !out.endsWith("\n") ? (out += "\n") : out);
    for (const child of node.childNodes) {
      if (child.nodeType === Node.TEXT_NODE) {
        out += child.data.replace(/[\u200b\ufeff]/g, "").replace(/[\t\n\r ]+/g, " ");
        continue;
      }
      if (child.nodeType !== Node.ELEMENT_NODE) continue;
      if (child.tagName === "BR") {
        out += "\n";
        continue;
      }
      let inner = plain(child);
      if (child.tagName === "A" && child.href && !child.textContent.includes(child.getAttribute("href").replace(/^(?:https?:\/\/|mailto:)/, ""))) inner += ` <${child.getAttribute("href")}>`;
      if (child.tagName === "BLOCKQUOTE") inner = inner.replace(/\n$/, "").split("\n").map((each) => (each.startsWith(">") ? `>${each}` : `> ${each}`)).join("\n");
      if (child.tagName === "LI") {
        const items = [...child.parentNode.children];
        inner = `${child.parentNode.tagName === "OL" ? `${items.indexOf(child) + 1}.` : "-"} ${inner.trim()}`;
      }
      if (BLOCKS.has(child.tagName)) {
        line();
        out += inner;
        line();
      } else out += inner;
    }
    return out;
  }

  const FORMATS = { bold: "B", italic: "I", underline: "U", strikethrough: "S", list: "UL", numbers: "OL", quote: "BLOCKQUOTE", link: "A" };

  function tellState() {
    const state = {};
    for (const [name, tag] of Object.entries(FORMATS)) state[name] = editor.hasFormat(tag);
    port.postMessage({ type: "state", state });
  }

  function tellHeight() {
    port?.postMessage({ type: "height", height: Math.ceil(root.getBoundingClientRect().height) });
  }

  function tellContent() {
    // Squire tells of its own changes too: only what differs from what the page knows is told on.
    if (editor.getHTML() === last) return;
    last = editor.getHTML();
    const empty = !root.textContent.trim() && !root.querySelector("img, hr, table");
    port.postMessage({ type: "content", html: empty ? "" : editor.getHTML(), text: empty ? "" : plain(root).replace(/\n{3,}/g, "\n\n").trimEnd() });
    tellHeight();
  }

  const toggle = (tag, add, remove) => (editor.hasFormat(tag) ? editor[remove]() : editor[add]());
  const COMMANDS = {
    bold: () => toggle("B", "bold", "removeBold"),
    italic: () => toggle("I", "italic", "removeItalic"),
    underline: () => toggle("U", "underline", "removeUnderline"),
    strikethrough: () => toggle("S", "strikethrough", "removeStrikethrough"),
    list: () => toggle("UL", "makeUnorderedList", "removeList"),
    numbers: () => toggle("OL", "makeOrderedList", "removeList"),
    quote: () => toggle("BLOCKQUOTE", "increaseQuoteLevel", "decreaseQuoteLevel"),
    clear: () => editor.removeAllFormatting(),
    link: (address) => (address ? editor.makeLink(address) : editor.removeLink()),
    image: (source) => editor.insertImage(source, {}),
    focus: () => editor.focus(),
  };

  function receive({ data }) {
    if (data.type === "theme") document.documentElement.dataset.theme = data.theme;
    if (data.type === "typed" && data.text) editor.insertPlainText(data.text, false);
    if (data.type === "set") editor.setHTML(data.html);
    if (data.type === "typed" || data.type === "set") tellContent();
    if (data.type === "command" && Object.hasOwn(COMMANDS, data.name)) {
      COMMANDS[data.name](data.value);
      tellState();
    }
  }

  addEventListener("message", (event) => {
    if (port || event.source !== parent || event.data?.type !== "open" || !event.ports[0]) return;
    port = event.ports[0];
    root.setAttribute("aria-label", event.data.label);
    document.documentElement.lang = event.data.lang;
    document.documentElement.dir = event.data.dir;
    document.documentElement.dataset.theme = event.data.theme;
    editor = new Squire(root, { blockTag: "DIV", sanitizeToDOMFragment: sanitize });
    editor.setHTML(event.data.html);
    last = editor.getHTML();
    editor.moveCursorToStart();
    editor.addEventListener("input", tellContent);
    editor.addEventListener("pathChange", tellState);
    editor.addEventListener("pasteImage", (paste) => {
      const files = [...(paste.detail?.clipboardData?.files ?? [])];
      if (files.length) {
        paste.preventDefault();
        port.postMessage({ type: "files", files });
      }
    });
    root.addEventListener("paste", (paste) => {
      const files = [...(paste.clipboardData?.files ?? [])];
      const text = paste.clipboardData?.types.includes("text/html") || paste.clipboardData?.types.includes("text/plain");
      if (files.length && !text) {
        paste.preventDefault();
        paste.stopImmediatePropagation();
        port.postMessage({ type: "files", files });
      }
    }, true);
    for (const name of ["dragover", "drop"]) {
      addEventListener(name, (drop) => {
        if (![...drop.dataTransfer.types].includes("Files")) return;
        drop.preventDefault();
        if (name === "drop") port.postMessage({ type: "files", files: [...drop.dataTransfer.files] });
      }, true);
    }
    addEventListener("keydown", (press) => {
      const control = press.ctrlKey || press.metaKey;
      let key = null;
      if (control && press.key === "Enter") key = "send";
      if (control && press.key.toLowerCase() === "k") key = "link";
      if (control && press.shiftKey && press.key.toLowerCase() === "c") key = "cc";
      if (control && press.shiftKey && press.key.toLowerCase() === "b") key = "bcc";
      if (press.key === "Escape") key = "leave";
      if (!key) return;
      press.preventDefault();
      press.stopImmediatePropagation();
      port.postMessage({ type: "key", key });
    }, true);
    // A frame that gets the focus gives it to its text, before the next key arrives.
    addEventListener("focus", () => document.activeElement === root || editor.focus());
    port.onmessage = receive;
    new ResizeObserver(tellHeight).observe(root);
    port.postMessage({ type: "ready", text: plain(root).replace(/\n{3,}/g, "\n\n").trimEnd() });
    tellHeight();
  });
  parent.postMessage({ type: "sealpost-editor" }, "*");
})();
