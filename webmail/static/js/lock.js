// The unlock state: counts down, locks the page when the time is over, and goes on after unlocking
// without leaving where one was.

const pill = () => document.querySelector("[data-lock]");
const BACKGROUND = { "X-Sealpost-Background": "1" };
let ends = 0;

function show() {
  const state = pill();
  if (state?.dataset.state !== "unlocked") return;
  const left = Math.max(0, Math.round((ends - Date.now()) / 1000));
  const words = state.querySelector("[data-lock-time]");
  state.classList.toggle("is-closing", left <= 60);
  words.textContent =
    left <= 60
      ? state.dataset.wordsSeconds.replace("%n", left)
      : state.dataset.wordsMinutes.replace("%n", Math.ceil(left / 60));
  if (left === 60 || left === 20) document.dispatchEvent(new CustomEvent("sealpost:closing"));
  if (left === 0) expired();
}

/** Time is over here; another tab may have kept the session alive, so ask before locking the page. */
async function expired() {
  ends = Date.now() + 15_000;
  try {
    const response = await fetch(location.href, { headers: BACKGROUND, credentials: "same-origin" });
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    const fresh = page.querySelector('[data-lock][data-state="unlocked"]');
    if (fresh) {
      ends = Date.now() + Number(fresh.dataset.locksIn) * 1000;
      return;
    }
  } catch {
    return; // no connection: keep trying
  }
  lockedOut();
}

/** The keys are away: take what was readable off the page, and ask for the password in place. */
export function lockedOut() {
  if (document.querySelector("[data-compose]")) {
    document.dispatchEvent(new CustomEvent("sealpost:locked"));
    return;
  }
  location.reload();
}

/** Every answer of the server that the person asked for starts the idle time anew. */
export function used() {
  const state = pill();
  if (state?.dataset.state === "unlocked") {
    ends = Math.max(ends, Date.now() + Number(state.dataset.locksIn) * 1000);
  }
}

const state = pill();
if (state?.dataset.state === "unlocked") {
  ends = Date.now() + Number(state.dataset.locksIn) * 1000;
  setInterval(show, 1000);
  document.addEventListener("htmx:after:request", (event) => {
    const { ctx } = event.detail;
    if (!ctx.request.headers["X-Sealpost-Background"] && ctx.response?.status < 400) used();
  });
}

// Messages open without a new page: come back to the one that is open now, not to the first address.
document.addEventListener("submit", (event) => {
  if (event.target.matches("[data-lock]")) {
    event.target.elements.next.value = location.pathname + location.search;
  }
});

document.addEventListener("htmx:after:swap", () => {
  const done = document.querySelector("[data-unlocked]");
  if (!done) return;
  const dialog = done.closest("dialog");
  if (dialog) {
    dialog.close();
    document.dispatchEvent(new CustomEvent("sealpost:unlocked"));
    return;
  }
  const wanted = done.dataset.backTo;
  if (wanted?.startsWith("/") && !wanted.startsWith("//")) location.replace(wanted);
  else location.reload();
});
