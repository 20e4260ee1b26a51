// How pages ask the server: HTMX for fragments, post() for actions. Both carry the CSRF token.
import htmx from "../vendor/htmx-4.0.1/htmx.esm.min.js";
import { lockedOut } from "./lock.js";

const token = () => document.querySelector('meta[name="csrf-token"]')?.content ?? "";

document.addEventListener("htmx:config:request", (event) => {
  const { request } = event.detail.ctx;
  if (request.method !== "GET") request.headers["X-CSRFToken"] = token();
});

/** Fetch a fragment into `target`. Resolves when it is in place. */
export function fetchInto(target, url, { swap = "innerHTML", source = target, headers = {} } = {}) {
  return htmx.ajax("GET", url, { target, swap, source, headers });
}

/** Let HTMX look at markup that was put in by hand. */
export function process(element) {
  htmx.process(element);
}

/**
 * Whoever signed in again in another tab has a new CSRF token: take it over, if it is the same
 * person. Resolves to "renewed", "other" (somebody else is signed in) or "out" (nobody is).
 */
export async function renewToken() {
  const who = (root) => root.querySelector(".account-button")?.title ?? "";
  const headers = { "X-Sealpost-Background": "1" };
  const response = await fetch(document.querySelector("a.brand").href, { credentials: "same-origin", headers });
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  if (!who(page)) return "out";
  if (who(page) !== who(document)) return "other";
  const fresh = page.querySelector('meta[name="csrf-token"]').content;
  document.querySelector('meta[name="csrf-token"]').content = fresh;
  for (const field of document.querySelectorAll("input[name=csrfmiddlewaretoken]")) field.value = fresh;
  return "renewed";
}

/** POST `pairs` ([[name, value], …] or FormData); resolves to the Response. */
export async function post(url, pairs, { again = true } = {}) {
  const body = pairs instanceof FormData ? pairs : new URLSearchParams(pairs);
  if (!body.has("csrfmiddlewaretoken")) body.append("csrfmiddlewaretoken", token());
  const response = await fetch(url, {
    method: "POST",
    body,
    credentials: "same-origin",
    headers: { "HX-Request": "true", "X-CSRFToken": token() },
  });
  if (response.status === 403 && again && (await renewToken()) === "renewed") {
    body.set("csrfmiddlewaretoken", token());
    return post(url, body, { again: false });
  }
  const away = response.headers.get("HX-Redirect");
  if (away && new URL(away, location.href).origin === location.origin) location.assign(away);
  else if (response.headers.get("HX-Refresh") === "true") location.reload();
  else if (response.status === 423) lockedOut();
  return response;
}

/** The answer to an action does not know which folder this page shows. */
function keepActive(fresh) {
  const active = document.getElementById(fresh.id)?.querySelector(".is-active[data-folder]");
  const twin = active && fresh.querySelector(`[data-folder="${active.dataset.folder}"]`);
  twin?.classList.add("is-active");
  twin?.setAttribute("aria-current", "page");
}

/** The nodes of a fragment; elements marked hx-swap-oob replace their namesakes at once. */
export function unpack(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  for (const element of template.content.querySelectorAll("[hx-swap-oob]")) {
    element.removeAttribute("hx-swap-oob");
    keepActive(element);
    document.getElementById(element.id)?.replaceWith(element);
    element.isConnected || element.remove();
  }
  return [...template.content.children];
}
