// Writing mail: saving by itself, sending, and the small checks before.
import "./recipients.js";
import "./attachments.js";
import { editor } from "./editor.js";
import { fetchInto, renewToken } from "../requests.js";
import { used } from "../lock.js";

const form = document.querySelector("[data-compose]");
const saved = form.querySelector("[data-saved]");
const sendHint = form.querySelector(".send-hint");
const usualHint = sendHint.textContent;
const AFTER_TYPING_MS = 2500;
const AT_MOST_MS = 10_000;
let dirtySince = 0;
let timer = 0;
let saving = null;
let leaving = false;

export function changed() {
  if (!dirtySince) {
    dirtySince = Date.now();
    saved.textContent = form.dataset.wordsUnsaved;
  }
  hint();
  clearTimeout(timer);
  timer = setTimeout(save, Math.max(0, Math.min(AFTER_TYPING_MS, dirtySince + AT_MOST_MS - Date.now())));
}

function fields() {
  const data = new FormData(form);
  data.delete("file");
  return data;
}

/** Save now. Resolves to true when the server has it; "conflict" when another window was faster. */
export async function save() {
  clearTimeout(timer);
  if (saving) await saving;
  if (!dirtySince || leaving) return true;
  saving = push();
  const done = await saving;
  saving = null;
  return done;
}

async function push({ again = true } = {}) {
  const began = dirtySince;
  dirtySince = 0;
  saved.textContent = form.dataset.wordsSaving;
  try {
    const response = await fetch(form.dataset.save, {
      method: "POST",
      body: fields(),
      credentials: "same-origin",
      headers: { Accept: "application/json", "HX-Request": "true" },
    });
    const answer = (response.headers.get("Content-Type") ?? "").includes("json") ? await response.json() : {};
    if (response.ok) {
      keep(answer);
      used();
      signedOut.close();
      sendHint.textContent = usualHint;
      return true;
    }
    dirtySince = began;
    if (response.status === 401 || (response.status === 403 && again)) {
      const found = response.status === 401 ? "out" : await renewToken();
      if (found === "renewed") return push({ again: false });
      saved.textContent = found === "out" ? form.dataset.wordsSignedOut : form.dataset.wordsOtherPerson;
      if (!signedOut.open) signedOut.showModal();
      return false;
    }
    saved.textContent = answer.sentence ?? form.dataset.wordsOffline;
    if (response.status === 423) askToUnlock();
    else if (response.status === 409) return "conflict";
    else timer = setTimeout(save, AT_MOST_MS);
  } catch {
    dirtySince = began;
    saved.textContent = form.dataset.wordsOffline;
    timer = setTimeout(save, AT_MOST_MS);
  }
  return false;
}

function keep(answer) {
  if (answer.draft) {
    const fresh = form.elements.draft.value !== answer.draft;
    form.elements.draft.value = answer.draft;
    if (fresh && answer.urls?.draft) history.replaceState(history.state, "", answer.urls.draft);
  }
  if (answer.version !== undefined) form.elements.version.value = answer.version;
  if (answer.words && !dirtySince) saved.textContent = answer.words;
  const { urls = {} } = answer;
  if (urls.save) form.dataset.save = urls.save;
  if (urls.attach) form.dataset.attach = urls.attach;
  if (urls.send) form.action = urls.send;
  if (urls.discard) {
    const button = form.querySelector("[data-discard]");
    button.formAction = urls.discard;
    button.hidden = false;
    form.querySelector("[data-leave]").hidden = true;
  }
}

const dialog = document.querySelector("[data-unlock-dialog]");
const signedOut = document.querySelector("[data-signed-out-dialog]");
signedOut.querySelector("[data-close-dialog]").addEventListener("click", () => signedOut.close());

async function askToUnlock() {
  if (dialog.open) return;
  const url = document.querySelector("[data-lock]")?.dataset.unlockUrl ?? document.querySelector("a[data-lock]")?.href;
  await fetchInto(dialog, url);
  dialog.showModal();
  dialog.querySelector("input[type=password]")?.focus();
}

form.querySelector("[data-leave]").addEventListener("click", () => (leaving = true));
document.addEventListener("sealpost:locked", askToUnlock);
document.addEventListener("sealpost:unlocked", save);
document.addEventListener("sealpost:closing", save);

form.addEventListener("input", (event) => event.target.name !== "file" && changed());
form.addEventListener("sealpost:changed", changed);
// Left for another tab, or back from one where one signed in again.
document.addEventListener("visibilitychange", save);
addEventListener("focus", save);
addEventListener("beforeunload", (event) => dirtySince && !leaving && event.preventDefault());

// --- sending ---------------------------------------------------------------------------------

let sending = false;
let ready = false;

const own = () => editor.ownText();

function forgotten() {
  if (form.querySelector("[data-attachment], .uploading")) return false;
  const words = form.dataset.attachmentWords.split("|").filter(Boolean);
  const text = `${form.elements.subject.value}\n${own()}`.toLowerCase();
  return words.some((word) => text.includes(word.toLowerCase()));
}

/** A hint while writing; the server asks once more before it sends. */
function hint() {
  const note = form.querySelector("[data-forgotten]");
  note.querySelector("[data-forgotten-words]").textContent = form.dataset.wordsForgotten;
  note.hidden = !forgotten();
}

form.addEventListener("submit", async (event) => {
  const button = event.submitter;
  if (button?.hasAttribute("formaction")) {
    if (button.matches("[data-discard]")) leaving = true;
    return;
  }
  if (ready) {
    leaving = true;
    setTimeout(() => form.querySelectorAll("[data-send]").forEach((each) => (each.disabled = true)));
    return;
  }
  event.preventDefault();
  if (leaving || sending) return;
  sending = true;
  const words = form.querySelector("[data-send] span");
  const before = words.textContent;
  words.textContent = form.dataset.wordsSending;
  await attachmentsDone();
  // Saved first: the page is left only when the server has every word and the keys are at hand.
  dirtySince ||= Date.now();
  ready = Boolean(await save());
  sending = false;
  if (ready) return form.requestSubmit(button);
  words.textContent = before;
  sendHint.textContent = saved.textContent;
});

function attachmentsDone() {
  return new Promise((resolve) => {
    const look = () => (form.querySelector(".uploading") ? setTimeout(look, 200) : resolve());
    look();
  });
}

addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});

export function send() {
  form.requestSubmit(form.querySelector("[data-send]"));
}

export function showCc(kind) {
  form.querySelector("[data-cc-fields]").classList.remove("may-hide");
  form.querySelector("[data-show-cc]").hidden = true;
  form.querySelector(`#field-${kind}`).focus();
}

form.querySelector("[data-show-cc]").addEventListener("click", () => showCc("cc"));
if (!form.querySelector(".may-hide")) form.querySelector("[data-show-cc]").hidden = true;

document.addEventListener("keydown", (event) => {
  if (!event.ctrlKey && !event.metaKey) return;
  const key = event.key.toLowerCase();
  if (key === "enter" && !event.isComposing) send();
  else if (event.shiftKey && key === "c") showCc("cc");
  else if (event.shiftKey && key === "b") showCc("bcc");
  else return;
  event.preventDefault();
});

editor.start({ changed, send, showCc });

if (form.hasAttribute("data-locked")) {
  dirtySince = Date.now(); // what stands here was typed while the keys were away
  askToUnlock();
}
