"""Styles of untrusted mail: properties and values by allow-list, nothing that loads, hides our
chrome or leaves its frame.

nh3 filters property names but not values (``background: url(http://tracker)`` passes it), so style
attributes and <style> elements are parsed here and written anew from what was understood.
"""

from __future__ import annotations

import re
from typing import Any, Final

import tinycss2

DECLARATION_LIMIT: Final = 200
RULE_LIMIT: Final = 3_000
STYLE_LIMIT: Final = 256 * 1024
NESTING_LIMIT: Final = 4
"""@media inside @media … : deeper is no mail."""

PROPERTIES: Final = frozenset(
    """
    background-color border border-bottom border-bottom-color border-bottom-left-radius
    border-bottom-right-radius border-bottom-style border-bottom-width border-collapse border-color
    border-left border-left-color border-left-style border-left-width border-radius border-right
    border-right-color border-right-style border-right-width border-spacing border-style border-top
    border-top-color border-top-left-radius border-top-right-radius border-top-style
    border-top-width border-width box-sizing caption-side clear color direction display
    empty-cells float font font-family font-size font-style font-variant font-weight height
    letter-spacing line-height list-style list-style-position list-style-type margin margin-bottom
    margin-left margin-right margin-top max-height max-width min-height min-width opacity overflow
    overflow-wrap overflow-x overflow-y padding padding-bottom padding-left padding-right
    padding-top quotes table-layout text-align text-decoration text-decoration-color
    text-decoration-line text-decoration-style text-indent text-overflow text-transform
    unicode-bidi vertical-align visibility white-space width word-break word-spacing word-wrap
    """.split()
)
"""``background`` may stand with colours only: it becomes ``background-color``. No ``position``,
``transform``, ``content``, ``cursor``, ``filter``, ``animation``: they draw over or load."""

_FUNCTIONS: Final = frozenset({"rgb", "rgba", "hsl", "hsla", "calc", "min", "max", "clamp"})

_DISPLAY: Final = frozenset(
    "block inline inline-block list-item none table table-caption table-cell table-column "
    "table-column-group table-footer-group table-header-group table-row table-row-group "
    "inline-table flex inline-flex contents".split()
)

_SELECTOR: Final = re.compile(r"[A-Za-z0-9_ .#>+~*,:()=\[\]\"'|^$-]*")

_MEDIA: Final = re.compile(r"[A-Za-z0-9 ,.:()<>=-]*")

_PSEUDO: Final = frozenset(
    "first-child last-child nth-child nth-of-type first-of-type last-of-type only-child not empty "
    "link hover active focus".split()
)
"""``:visited`` is left out."""


def filter_declarations(untrusted: str) -> str:
    """The allowed declarations of a style attribute, written anew; "" when nothing is left."""
    try:
        return _declarations(untrusted)
    except RecursionError:  # brackets in brackets in brackets: no style is worth that
        return ""


def _declarations(untrusted: str) -> str:
    kept: list[str] = []
    parsed = tinycss2.parse_blocks_contents(
        untrusted[:STYLE_LIMIT], skip_comments=True, skip_whitespace=True
    )
    for item in parsed[:DECLARATION_LIMIT]:
        if item.type != "declaration":
            continue
        written = _declaration(item)
        if written:
            kept.append(written)
    return "; ".join(kept)


def _declaration(declaration: Any) -> str:
    name = declaration.lower_name
    if name == "background":
        name = "background-color"
    if name not in PROPERTIES:
        return ""
    value = _value(declaration.value, depth=0)
    if value is None:
        return ""
    value = value.strip()
    if not value or not _value_fits(name, value.lower()):
        return ""
    important = " !important" if declaration.important else ""
    return f"{name}: {value}{important}"


def _value_fits(name: str, value: str) -> bool:
    if name == "display":
        return value in _DISPLAY
    if name == "background-color":
        return len(value.split()) == 1 or value.startswith(("rgb", "hsl"))
    return True


def _value(tokens: Any, *, depth: int) -> str | None:
    """The value written from known tokens, or None when one of them is not allowed."""
    if depth > 4:
        return None
    out: list[str] = []
    for token in tokens:
        kind = token.type
        if kind == "whitespace":
            out.append(" ")
        elif kind == "ident":
            if not re.fullmatch(r"-?[A-Za-z_][A-Za-z0-9_-]*", token.value):
                return None
            out.append(token.value)
        elif kind in {"number", "percentage"}:
            out.append(token.representation + ("%" if kind == "percentage" else ""))
        elif kind == "dimension":
            if not re.fullmatch(r"[A-Za-z]{1,5}", token.unit):
                return None
            out.append(f"{token.representation}{token.unit}")
        elif kind == "hash":
            if not re.fullmatch(r"[0-9A-Fa-f]{3,8}", token.value):
                return None
            out.append(f"#{token.value}")
        elif kind == "string":
            # Font names; nothing else needs more than letters.
            if not re.fullmatch(r"[\w .,'-]*", token.value):
                return None
            out.append('"' + token.value + '"')
        elif kind == "literal":
            if token.value not in {",", "/", "+", "-", "*"}:
                return None
            out.append(token.value)
        elif kind == "function":
            if token.lower_name not in _FUNCTIONS:
                return None  # url(), image-set(), var(), attr(), expression() …
            inner = _value(token.arguments, depth=depth + 1)
            if inner is None:
                return None
            out.append(f"{token.lower_name}({inner})")
        else:  # url, comments, blocks, errors
            return None
    return "".join(out)


def filter_stylesheet(untrusted: str) -> str:
    """The allowed rules of <style> elements, written anew."""
    if len(untrusted) > STYLE_LIMIT:
        untrusted = untrusted[:STYLE_LIMIT]
    try:
        rules = tinycss2.parse_stylesheet(untrusted, skip_comments=True, skip_whitespace=True)
        written = "\n".join(_rules(rules, depth=0))
    except RecursionError:
        return ""
    # Nothing above writes "<"; this line keeps it so whatever changes there.
    return written.replace("<", "")


def _rules(rules: Any, *, depth: int) -> list[str]:
    out: list[str] = []
    for rule in rules[:RULE_LIMIT]:
        if rule.type == "qualified-rule":
            selector = _selector(tinycss2.serialize(rule.prelude))
            declarations = filter_declarations(tinycss2.serialize(rule.content))
            if selector and declarations:
                out.append(f"{selector} {{ {declarations} }}")
        elif rule.type == "at-rule" and rule.lower_at_keyword == "media" and rule.content:
            # @import, @font-face, @keyframes, @namespace … load or animate: left out.
            query = tinycss2.serialize(rule.prelude).strip()
            if depth >= NESTING_LIMIT or not _MEDIA.fullmatch(query) or "<" in query:
                continue
            nested = tinycss2.parse_rule_list(
                rule.content, skip_comments=True, skip_whitespace=True
            )
            inner = _rules(nested, depth=depth + 1)
            if inner:
                out.append(f"@media {query} {{ {' '.join(inner)} }}")
    return out


def _selector(text: str) -> str:
    text = " ".join(text.split())
    if not text or len(text) > 2_000 or not _SELECTOR.fullmatch(text):
        return ""
    for name in re.findall(r":+([A-Za-z-]*)", text):
        if name.lower() not in _PSEUDO:
            return ""
    if text.count("(") > 20:
        return ""
    return text
