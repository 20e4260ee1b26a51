// Small kindnesses of forms: first field focused, no double submit, words while waiting.

document.querySelector("[data-autofocus]:not(dialog *)")?.focus({ preventScroll: true });

const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
for (const field of document.querySelectorAll("[data-time-zone]")) field.value = zone;
for (const offer of document.querySelectorAll("[data-zone-offer]")) {
  const field = document.getElementById(offer.dataset.zoneOffer);
  const known = [...field.options].some((option) => option.value === zone);
  offer.hidden = !known || field.value === zone;
  offer.querySelector("button").textContent = zone;
  offer.querySelector("button").addEventListener("click", () => {
    field.value = zone;
    offer.hidden = true;
    field.focus();
  });
}

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
