// Copy a text, print a page.

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (button) {
    const source = document.getElementById(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(source.textContent.trim());
    } catch {
      // No clipboard (plain http, or refused): select it, so that Ctrl+C does.
      getSelection().selectAllChildren(source);
      return;
    }
    const words = button.querySelector("span");
    const before = words.textContent;
    words.textContent = button.dataset.wordsDone;
    setTimeout(() => (words.textContent = before), 2500);
  }
  if (event.target.closest("[data-print]")) print();
});
