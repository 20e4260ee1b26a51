// Small kindnesses of forms: first field focused, no double submit, words while waiting.

document.querySelector("[data-autofocus]:not(dialog *)")?.focus({ preventScroll: true });

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (event.defaultPrevented || form.method === "dialog" || form.hasAttribute("hx-post")) return;
  const button = event.submitter ?? form.querySelector("button[type=submit]");
  if (form.dataset.sent) {
    event.preventDefault();
    return;
  }
  if (!button?.dataset.busyWords) return;
  form.dataset.sent = "1";
  button.dataset.words = button.textContent;
  // After the browser has collected the fields: a disabled button would not be sent.
  setTimeout(() => {
    button.textContent = button.dataset.busyWords;
    button.disabled = true;
  });
});

addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) {
    delete form.dataset.sent;
    for (const button of form.querySelectorAll("button:disabled[data-words]")) {
      button.disabled = false;
      button.textContent = button.dataset.words;
    }
  }
});
