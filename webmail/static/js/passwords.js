// Strength in words, "the same again", and showing what is typed. Nothing leaves the page.

const COMMON = /^(?:password|passwort|qwert|12345|letmein|welcome|sealpost|admin|iloveyou)/i;

/** 0 too short, 1 weak, 2 fair, 3 strong: length first, then variety; repeats count little. */
export function score(password, minimum) {
  if (password.length < minimum) return 0;
  const different = new Set(password).size;
  const kinds = [/\p{Ll}/u, /\p{Lu}/u, /\d/, /[^\p{L}\d]/u, /[^\u0000-\u007f]/u].filter((kind) => kind.test(password)).length;
  const bits = Math.min(password.length, different * 2) * (2 + kinds * 0.7);
  if (COMMON.test(password) || different < 6) return 1;
  if (bits < 48) return 1;
  return bits < 66 ? 2 : 3;
}

for (const field of document.querySelectorAll("[data-strength]")) {
  const meter = document.querySelector("[data-strength-meter]");
  field.addEventListener("input", () => {
    const value = score(field.value, field.minLength > 0 ? field.minLength : 12);
    meter.dataset.score = field.value ? value : "";
    meter.querySelector("[data-strength-words]").textContent = field.value
      ? meter.getAttribute(`data-words-${value}`)
      : "";
  });
}

for (const field of document.querySelectorAll("[data-same-as]")) {
  const first = document.getElementById(field.dataset.sameAs);
  const compare = () => {
    const differs = field.value !== "" && field.value !== first.value;
    field.setCustomValidity(differs ? field.dataset.words : "");
    document.querySelector("[data-same-words]").textContent =
      differs && field.value.length >= first.value.length ? field.dataset.words : "";
  };
  field.addEventListener("input", compare);
  first.addEventListener("input", compare);
}

document.querySelector("[data-show-passwords]")?.addEventListener("change", (event) => {
  for (const field of document.querySelectorAll("[data-strength], [data-same-as]")) {
    field.type = event.target.checked ? "text" : "password";
  }
});
