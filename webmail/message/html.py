"""Untrusted mail HTML → a document of its own, safe by itself.

This is one of three layers, each sufficient alone: the sanitiser here, the Content-Security-Policy
of the body's response, and the sandbox attribute of the frame. Order of work: bound size and depth,
take <style> out and filter it, sanitise with nh3 (no svg, no math, no form, no script), with every
attribute value passing through :class:`_Attributes`.
"""

from __future__ import annotations

import html as html_entities
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import nh3

from webmail.message import css, tokens

TAGS: Final = frozenset(
    """
    a abbr acronym address article aside b bdi bdo big blockquote br caption center cite code col
    colgroup dd del details dfn dir div dl dt em figcaption figure font footer h1 h2 h3 h4 h5 h6
    header hr i img ins kbd li main mark menu nav nobr ol p pre q rp rt ruby s samp section small
    span strike strong sub summary sup table tbody td tfoot th thead time tr tt u ul var wbr
    """.split()
)

_EVERYWHERE: Final = frozenset({"style", "class", "id", "dir", "lang", "title", "align", "valign"})
_SIZES: Final = frozenset({"width", "height", "bgcolor", "border"})

ATTRIBUTES: Final[dict[str, set[str]]] = {
    "*": set(_EVERYWHERE),
    "a": {"href", "name"},
    "img": {"src", "alt", "width", "height", "border", "hspace", "vspace"},
    "table": {*_SIZES, "cellpadding", "cellspacing", "summary", "rules", "frame"},
    "tr": {*_SIZES},
    "td": {*_SIZES, "colspan", "rowspan", "nowrap", "headers", "scope"},
    "th": {*_SIZES, "colspan", "rowspan", "nowrap", "headers", "scope"},
    "col": {"span", "width"},
    "colgroup": {"span", "width"},
    "font": {"color", "face", "size"},
    "hr": {"size", "width", "color", "noshade"},
    "ol": {"start", "type", "reversed"},
    "ul": {"type"},
    "li": {"type", "value"},
    "blockquote": {"type"},
    "del": {"datetime"},
    "ins": {"datetime"},
    "time": {"datetime"},
    "bdo": {"dir"},
    "details": {"open"},
}

_QUOTE: Final = "\x02"
_UNQUOTE: Final = "\x03"
QUOTE_DEPTH: Final = 20
"""Quote marks in front of one line of text."""

ID_PREFIX: Final = "mail-"
"""Ids and names of the mail never meet ours."""

LINK_SCHEMES: Final = frozenset({"http", "https", "mailto", "tel", "cid"})

DATA_IMAGE: Final = re.compile(r"data:image/(?:png|jpeg|jpg|gif|webp);base64,[A-Za-z0-9+/=\s]*")
"""Raster types only: an SVG is a program."""

DATA_LIMIT: Final = 2 * 1024 * 1024

_CONTROL: Final = re.compile(r"[\x00-\x20\x7f-\xa0\u200b-\u200f\u2028-\u202e\ufeff]")


@dataclass(frozen=True)
class SafeHtml:
    """A fragment that may stand inside the body document, its styles, and what was held back."""

    body: str
    style: str
    remote_blocked: int
    """Images that would have been loaded from elsewhere. Backgrounds never are."""
    cut: bool

    @property
    def has_remote(self) -> bool:
        return self.remote_blocked > 0


def sanitise(
    untrusted: str,
    *,
    inline: Mapping[str, str] | None = None,
    remote: Callable[[str], str] | None = None,
    link: Callable[[str], str] | None = None,
) -> SafeHtml:
    """Make ``untrusted`` safe.

    ``inline`` maps Content-IDs to addresses of ours (or data: URIs); ``remote`` turns the address
    of a remote image into one of our proxy, and is None while remote content is off; ``link`` may
    rewrite the target of links.
    """
    bounded = tokens.bound(untrusted)
    attributes = _Attributes(dict(inline or {}), remote, link)
    body = nh3.clean(
        bounded.html,
        tags=set(TAGS),
        attributes={tag: set(names) for tag, names in ATTRIBUTES.items()},
        clean_content_tags={"script", "style", "template", "title", "iframe", "noscript"},
        attribute_filter=attributes.filter,
        strip_comments=True,
        link_rel="noopener noreferrer",
        url_schemes=set(LINK_SCHEMES) | {"data"},
        set_tag_attribute_values={"a": {"target": "_blank"}},
        id_prefix=ID_PREFIX,
    )
    style = css.filter_stylesheet("\n".join(bounded.styles))
    return SafeHtml(body, style, attributes.blocked, bounded.cut)


class _Attributes:
    """Decides on each attribute value that the tree builder saw, after it decoded it."""

    def __init__(
        self,
        inline: dict[str, str],
        remote: Callable[[str], str] | None,
        link: Callable[[str], str] | None,
    ) -> None:
        self.inline = inline
        self.remote = remote
        self.link = link
        self.blocked = 0
        self.style_budget = css.STYLE_LIMIT

    def filter(self, tag: str, name: str, value: str) -> str | None:
        if name == "style":
            self.style_budget -= len(value)
            return css.filter_declarations(value) or None if self.style_budget > 0 else None
        if name == "href":
            return self._link(value)
        if name == "src":
            return self._image(value)
        if name == "name":
            return ID_PREFIX + value
        if name in {"id", "class"}:
            return value[:500]
        return value[:2_000]

    def _link(self, value: str) -> str | None:
        if value.startswith("#"):
            return f"#{ID_PREFIX}{value[1:]}"
        address = safe_link(value)
        if address is None:
            return None
        return self.link(address) if self.link is not None else address

    def _image(self, value: str) -> str | None:
        address = _CONTROL.sub("", value)
        scheme = address.partition(":")[0].lower()
        if scheme == "cid":
            return self.inline.get(address[4:].strip("<>"))
        if scheme == "data":
            fits = len(address) <= DATA_LIMIT and DATA_IMAGE.fullmatch(address)
            return address if fits else None
        if scheme in {"http", "https"} or address.startswith("//"):
            if address.startswith("//"):
                address = f"https:{address}"
            if self.remote is None:
                self.blocked += 1
                return None
            return self.remote(address)
        return None


def safe_link(value: str) -> str | None:
    """``value`` as an absolute link of a harmless scheme, or None.

    Blanks and control characters are taken out first, because browsers do so too: "java\\tscript:".
    """
    address = _CONTROL.sub(lambda match: "%20" if match[0] == " " else "", value.strip())
    try:
        parts = urlsplit(address)
    except ValueError:
        return None
    scheme = parts.scheme.lower()
    if scheme in {"http", "https"}:
        return address if parts.netloc and "\\" not in address else None
    if scheme in {"mailto", "tel"} and len(address) <= 2_000:
        return address
    return None


DOCUMENT: Final = """<!DOCTYPE html>
<html><head><meta charset="utf-8"><meta name="referrer" content="no-referrer">
<base target="_blank"><title></title>
<style>
html {{ color-scheme: light; }}
body {{ margin: 0; padding: 18px 22px 24px; background: #fff; color: #1b1f24;
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
  overflow-wrap: anywhere; }}
body > :first-child, body > :first-child > :first-child {{ margin-top: 0; }}
img {{ max-width: 100%; height: auto; }}
img:not([src]) {{ display: inline-block; box-sizing: border-box; padding: 2px 8px; max-width: 100%;
  border: 1px dashed #8a8f98; color: #57606a; font-size: 13px; }}
img:not([src]):is(:not([alt]), [alt=""]) {{ display: none; }}
pre {{ white-space: pre-wrap; }}
blockquote {{ margin: 0 0 0 8px; padding-left: 12px; border-left: 2px solid #c7ccd1; }}
.mail-text {{ white-space: pre-wrap; }}
.mail-quote {{ color: #57606a; }}
{style}
</style></head><body>{body}</body></html>
"""


def document(safe: SafeHtml) -> str:
    """The whole document that the body route answers with."""
    return DOCUMENT.format(style=safe.style, body=safe.body)


def to_text(untrusted: str, *, limit: int = 200_000) -> str:
    """Plain text of HTML, for previews, quotes and people who prefer it; what is quoted has "> " in
    front. Hidden text stays hidden nowhere: a preview must not show other words than the mail, so
    <style> and comments only go."""
    bounded = tokens.bound(untrusted[: 4 * limit])
    text = bounded.html.replace(_QUOTE, "").replace(_UNQUOTE, "")
    text = re.sub(r"<blockquote\b[^>]*>", f"\n{_QUOTE}\n", text)
    text = re.sub(r"</blockquote\b[^>]*>", f"\n{_UNQUOTE}\n", text)
    text = re.sub(r"<(?:br|/p|/div|/tr|/li|/h[1-6]|hr)\b[^>]*>", "\n", text)
    text = re.sub(r"<(?:/td|/th)\b[^>]*>", "\t", text)
    text = html_entities.unescape(re.sub(r"<[^<>]*>", "", text))
    return "\n".join(_quoted_lines(text)).strip()[:limit]


def _quoted_lines(text: str) -> list[str]:
    """Lines with one blank between words, never two empty ones in a row, and their quote marks."""
    lines: list[str] = []
    depth = 0
    for raw in text.splitlines():
        line = " ".join(raw.split())
        if line in {_QUOTE, _UNQUOTE}:
            depth = min(max(depth + (1 if line == _QUOTE else -1), 0), QUOTE_DEPTH)
            while lines and not lines[-1].strip("> "):
                lines.pop()
            continue
        marked = f"{'>' * depth} {line}".rstrip() if depth else line
        if not line and (not lines or lines[-1] == marked):
            continue
        lines.append(marked)
    return lines
