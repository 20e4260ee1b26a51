// Attachments by button, drop and paste; each with progress and cancel.
import { post, unpack } from "../requests.js";
import { save } from "./compose.js";

const form = document.querySelector("[data-compose]");
const list = form.querySelector("[data-attachments]");
const token = () => document.querySelector('meta[name="csrf-token"]').content;
let queue = Promise.resolve();

export function attach(files) {
  for (const file of files) {
    const item = form.querySelector("[data-upload-template]").content.firstElementChild.cloneNode(true);
    item.querySelector(".attachment-name").textContent = file.name;
    item.querySelector("progress").setAttribute("aria-label", file.name);
    const job = { file, item, request: null, cancelled: false };
    item.querySelector("[data-cancel-upload]").addEventListener("click", () => {
      job.cancelled = true;
      job.request?.abort();
      item.remove();
    });
    list.append(item);
    // One after the other: the draft's version grows with each.
    queue = queue.then(() => upload(job));
  }
}

function total() {
  return [...list.querySelectorAll("[data-size]")].reduce((sum, item) => sum + Number(item.dataset.size), 0);
}

async function upload(job) {
  if (job.cancelled) return;
  if (total() + job.file.size > Number(form.dataset.limit || Infinity)) return fail(job, form.dataset.wordsTooLarge);
  if (!form.elements.draft.value) {
    form.dispatchEvent(new CustomEvent("sealpost:changed"));
    await save();
  }
  const data = new FormData();
  data.append("csrfmiddlewaretoken", token());
  data.append("draft", form.elements.draft.value);
  data.append("version", form.elements.version.value);
  data.append("file", job.file, job.file.name);
  await new Promise((resolve) => {
    const request = new XMLHttpRequest();
    job.request = request;
    request.open("POST", form.dataset.attach);
    request.setRequestHeader("HX-Request", "true");
    request.setRequestHeader("X-CSRFToken", token());
    request.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable) job.item.querySelector("progress").value = (event.loaded / event.total) * 100;
    });
    request.addEventListener("load", () => {
      const version = request.getResponseHeader("X-Draft-Version");
      if (version) form.elements.version.value = version;
      const fresh = /html/.test(request.getResponseHeader("Content-Type") ?? "") ? unpack(request.responseText).filter((each) => each.matches("li.attachment")) : [];
      if (fresh.length) job.item.replaceWith(...fresh);
      else if (request.status === 423) {
        fail(job, form.dataset.wordsFailed);
        document.dispatchEvent(new CustomEvent("sealpost:locked"));
      } else fail(job, form.dataset.wordsFailed);
    });
    request.addEventListener("error", () => fail(job, form.dataset.wordsFailed));
    request.addEventListener("loadend", resolve);
    request.send(data);
  });
}

function fail(job, words) {
  job.item.classList.remove("uploading");
  job.item.classList.add("attachment-error");
  job.item.setAttribute("role", "alert");
  job.item.querySelector("progress")?.remove();
  job.item.querySelector(".attachment-name").textContent = `${job.file.name}: ${words}`;
}

form.querySelector("[data-file]").addEventListener("change", (event) => {
  attach(event.target.files);
  event.target.value = "";
});
form.addEventListener("sealpost:files", (event) => attach(event.detail));
form.addEventListener("paste", (event) => {
  if (event.clipboardData.files.length) {
    event.preventDefault();
    attach(event.clipboardData.files);
  }
});

const carriesFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
document.addEventListener("dragover", (event) => {
  if (!carriesFiles(event)) return;
  event.preventDefault();
  form.classList.add("is-dropping");
});
document.addEventListener("dragleave", (event) => event.relatedTarget === null && form.classList.remove("is-dropping"));
document.addEventListener("drop", (event) => {
  if (!carriesFiles(event)) return;
  event.preventDefault();
  form.classList.remove("is-dropping");
  attach(event.dataTransfer.files);
});

list.addEventListener("click", async (event) => {
  if (event.target.closest("[data-remove-error], .attachment-error [data-cancel-upload]")) event.target.closest("li").remove();
  const button = event.target.closest("[data-detach]");
  if (!button) return;
  event.preventDefault();
  const item = button.closest("li");
  item.classList.add("is-leaving");
  const response = await post(button.formAction, [["draft", form.elements.draft.value], ["version", form.elements.version.value]]);
  const version = response.headers.get("X-Draft-Version");
  if (version) form.elements.version.value = version;
  if (response.ok) item.remove();
  else item.classList.remove("is-leaving");
});
