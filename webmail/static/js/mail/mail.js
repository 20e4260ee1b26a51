// The mail page: list, reader, actions.
import "./list.js";
import "./reader.js";
import "./actions.js";
import "./swipe.js";
import "./dragging.js";
import "./divider.js";
import "./identity.js";
import "./poll.js";
import "./previews.js";
