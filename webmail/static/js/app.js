// The entry: one module per behaviour. Every page works without them for reading, plain compose and
// settings; they make it faster and kinder.
import "./requests.js";
import "./menus.js";
import "./toasts.js";
import "./lock.js";
import "./rail.js";
import "./search.js";
import "./preferences.js";
import "./shortcuts.js";
import "./forms.js";
import "./passwords.js";
import "./copy.js";
import "./offline.js";

const more = [];
if (document.querySelector("[data-list]")) more.push(import("./mail/mail.js"));
if (document.querySelector("[data-compose]")) more.push(import("./compose/compose.js"));
// Said aloud for whatever drives the page from outside: from here on every key and button works.
await Promise.all(more);
document.documentElement.dataset.scripts = "ready";
