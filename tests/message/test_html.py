"""Nothing of a mail runs, loads, or draws over what is ours; what is harmless stays."""

from __future__ import annotations

import re
import time
from html.parser import HTMLParser

import pytest

from tests.message.payloads import OVERLAYS, PAYLOADS
from webmail.message import css, html, preview, text, tokens


class Seen(HTMLParser):
    """Another parser than the sanitiser's looks at its output."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def check_harmless(safe: html.SafeHtml) -> None:
    for tag, attributes in Seen(safe.body).tags:
        assert tag in html.TAGS
        for name, value in attributes.items():
            assert not name.startswith("on")
            assert name not in {"srcset", "background", "ping", "poster", "action", "formaction"}
            if name == "href":
                assert re.match(r"(?:https?://|mailto:|tel:|#mail-)", value or "")
            elif name == "src":
                assert (value or "").startswith("data:image/")
                assert "svg" not in (value or "")
            elif name == "style":
                check_style(value or "")
    check_style(safe.style)
    assert "<" not in safe.style


def check_style(style: str) -> None:
    lowered = style.lower()
    for word in (
        "url", "import", "expression", "evil", "image-set", "position", "transform",
        "behavior", "binding", "content", "cursor", "@font", "@keyframes", "var(",
    ):  # fmt: skip
        assert word not in lowered, (word, style)


@pytest.mark.parametrize("name", PAYLOADS)
def test_known_attacks_come_out_harmless(name: str) -> None:
    safe = html.sanitise(f"<p>before</p>{PAYLOADS[name]}<p>after</p>")
    check_harmless(safe)
    assert "before" in safe.body


@pytest.mark.parametrize("name", OVERLAYS)
def test_a_mail_cannot_draw_outside_its_place(name: str) -> None:
    check_harmless(html.sanitise(OVERLAYS[name]))


@pytest.mark.parametrize("name", PAYLOADS)
def test_sanitising_twice_changes_nothing(name: str) -> None:
    once = html.sanitise(PAYLOADS[name]).body
    assert Seen(html.sanitise(once).body).tags == Seen(once).tags


def test_what_is_harmless_stays() -> None:
    safe = html.sanitise(
        '<h1>Report</h1><p style="color: #c00; margin: 0 auto !important">Hello '
        '<b>Alice</b>, see <a href="https://ok.example/a?b=1&amp;c=2">this</a>.</p>'
        '<table width="600" bgcolor="#fff"><tr><td colspan="2" align="center">x</td></tr></table>'
        '<img src="cid:logo" alt="Logo" width="10"><style>.a > td { padding: 4px } '
        "@media (max-width: 600px) { .a { width: 100% } }</style>",
        inline={"logo": "data:image/png;base64,iVBORw0KGgo="},
    )
    for piece in (
        "<h1>Report</h1>",
        'style="color: #c00; margin: 0 auto !important"',
        "<b>Alice</b>",
        'href="https://ok.example/a?b=1&amp;c=2"',
        'rel="noopener noreferrer"',
        'target="_blank"',
        'width="600"',
        'colspan="2"',
        'src="data:image/png;base64,iVBORw0KGgo="',
        'alt="Logo"',
    ):
        assert piece in safe.body, piece
    assert ".a > td { padding: 4px }" in safe.style
    assert "@media (max-width: 600px) { .a { width: 100% } }" in safe.style
    assert safe.remote_blocked == 0
    assert not safe.cut


def test_remote_images_are_counted_and_only_loaded_through_the_proxy() -> None:
    source = '<img src="https://pictures.example/a.png"><img src="//pictures.example/b.png">'
    off = html.sanitise(source)
    assert off.remote_blocked == 2
    assert "pictures.example" not in off.body
    on = html.sanitise(source, remote=lambda url: f"data:image/png;base64,{len(url)}")
    assert on.remote_blocked == 0
    assert on.body.count("data:image/png") == 2


def test_ids_and_names_of_a_mail_never_meet_ours() -> None:
    safe = html.sanitise('<a id="unlock" name="csrf">x</a><a href="#unlock">y</a>')
    assert 'id="mail-unlock"' in safe.body
    assert 'name="mail-csrf"' in safe.body
    assert 'href="#mail-unlock"' in safe.body


DEEP = {
    "plain": "<div>" * 50_000,
    "closed": "<div>" * 20_000 + "</div>" * 20_000,
    "false ends": "<div></b>" * 50_000,
    "formatting": "".join(f"<b id={number}>" for number in range(20_000)),
    "formatting in paragraphs": "<p><b class=a><b class=b><b class=c></p>" * 5_000,
    "ends inside tables": "<div><table></div>" * 30_000,
    "paragraphs in cells": "<p><table><td>" * 30_000,
    "lists": "<li><ul>" * 40_000,
    "links in tables": "<a href=x><table>" * 20_000,
    "ends in attributes": '<div title="</div></div>">' * 30_000,
    "font": "<font>" * 30_000,
    "items in items": "<dd><li>" * 40_000,
    "option groups": "<optgroup>" * 40_000,
    "ruby": "<ruby><rt><ruby><rt>" * 20_000,
    "headings": "<h1><button><p>" * 20_000,
    "button": "<button>" * 30_000,
    "half a tag": "<a " * 200_000,
    "half a comment": "<!--" * 200_000,
    "half a style": "<style>" * 100_000,
    "half an attribute": '<x a="' * 100_000,
    "only brackets": "<" * 1_000_000,
    "entities": "&lt;" * 500_000,
    "styled": '<p style="color:red;margin:0">' * 50_000,
    "css brackets": f'<p style="{"(" * 100_000}">x</p><style>{"{" * 200_000}</style>',
    "css calc": f'<p style="width:{"calc(" * 50_000}">x</p>',
    "attributes": "<p " + "".join(f"a{number}=1 " for number in range(100_000)) + ">x",
}


@pytest.mark.parametrize("name", DEEP)
def test_depth_and_length_cost_little_time(name: str) -> None:
    started = time.process_time()
    safe = html.sanitise(DEEP[name])
    assert time.process_time() - started < 4, "quadratic work would take minutes"
    check_harmless(safe)


def depth(source: str) -> int:
    deepest = current = 0
    for match in re.finditer(r"<(/?)([a-z0-9]+)", source):
        if match[2] in tokens.VOID:
            continue
        current += -1 if match[1] else 1
        deepest = max(deepest, current)
    return deepest


@pytest.mark.parametrize(
    "name", ["plain", "false ends", "formatting", "ends inside tables", "paragraphs in cells",
             "lists", "links in tables", "font", "formatting in paragraphs", "items in items",
             "option groups", "ruby", "headings", "button"]
)  # fmt: skip
def test_no_document_is_nested_deeper_than_browsers_go(name: str) -> None:
    assert depth(html.sanitise(DEEP[name]).body) <= 600


def test_ordinary_nesting_is_left_alone() -> None:
    source = "<table><tr><td>" * 20 + "deep" + "</td></tr></table>" * 20
    safe = html.sanitise(source)
    assert depth(safe.body) >= 80
    assert not safe.cut
    sloppy = html.sanitise("<p>para<li>item<td>cell" * 2_000 + "<p>end")
    assert not sloppy.cut
    assert sloppy.body.count("para") == 2_000


def test_a_mail_that_was_cut_says_so() -> None:
    assert html.sanitise("<p>x</p>" * (tokens.SIZE_LIMIT // 8 + 1)).cut
    assert html.sanitise(DEEP["plain"]).cut


@pytest.mark.parametrize(
    "value",
    ["https://ok.example/x", "HTTP://OK.example", "mailto:bob@acme.example", "tel:+49301234"],
)
def test_ordinary_links_are_kept(value: str) -> None:
    assert html.safe_link(value) is not None


@pytest.mark.parametrize(
    "value",
    ["javascript:x", "java\nscript:x", "data:text/html,x", "//x.example", "/accounts/lock/",
     "https:\\\\evil.example", "http://", "blob:x", "file:///etc/passwd", "http://[bad"],
)  # fmt: skip
def test_other_links_are_dropped(value: str) -> None:
    assert html.safe_link(value) is None


def test_a_style_attribute_keeps_values_and_drops_what_it_does_not_know() -> None:
    assert (
        css.filter_declarations(
            "color: red; position: fixed; font-family: 'Segoe UI', Arial; width: calc(100% - 2px);"
            "background: #eee url(x); background: #eee; display: grid; display: block"
        )
        == 'color: red; font-family: "Segoe UI", Arial; width: calc(100% - 2px); '
        "background-color: #eee; display: block"
    )


# --- plain text


def test_links_of_a_text_become_links_and_the_rest_stays_text() -> None:
    safe = text.to_html("See https://ok.example/a(b)?c=1&d=2. (http://x.example/y) <b>bold</b>")
    assert '<a href="https://ok.example/a(b)?c=1&amp;d=2" target="_blank"' in safe.body
    assert ">http://x.example/y</a>)" in safe.body
    assert "&lt;b&gt;bold&lt;/b&gt;" in safe.body


@pytest.mark.parametrize(
    "source",
    ['a@a.co?]<img/src="x"/onerror=attack()>', "[<script>attack()</script>]: http://x",
     'http://x.example/"onmouseover="attack()', "http://x.example/<svg/onload=attack()>",
     "javascript:attack()", "http://x.example/' onclick='attack()", "mailto:\"><script>attack()"],
)  # fmt: skip
def test_no_text_becomes_markup(source: str) -> None:
    for tag, attributes in Seen(text.to_html(source).body).tags:
        assert tag in {"div", "span", "a"}
        assert set(attributes) <= {"class", "href", "target", "rel"}


def test_quoted_lines_are_marked_by_depth() -> None:
    body = text.to_html("new\n> once\n>> twice\n> > twice too\n" + ">" * 50 + " deep").body
    assert body.count("mail-quote-1") == 1
    assert body.count("mail-quote-2") == 2
    assert "mail-quote-5" in body


@pytest.mark.parametrize(
    "source",
    ["http://" * 100_000, "a" * 1_000_000 + "!", "http://x" + ")" * 500_000, ">" * 500_000,
     "mailto:" * 100_000, "\n" * 500_000, "http://x.example/" + "a." * 400_000],
)  # fmt: skip
def test_text_is_marked_up_in_linear_time(source: str) -> None:
    started = time.process_time()
    text.to_html(source)
    assert time.process_time() - started < 2


# --- previews


def test_a_preview_is_the_first_words_without_quotes() -> None:
    mail = "On Mon, 1 Jan 2026, Bob wrote:\n> old words\n\n-----\nHello   Alice,\nhere it is.\n"
    assert preview.snippet(mail) == "Hello Alice, here it is."
    assert preview.snippet("x" * 500).endswith("…")
    assert len(preview.snippet("word " * 500)) <= preview.LENGTH
    assert preview.snippet("<style>p{}</style><p>Hello&nbsp;<b>Alice</b></p>", is_html=True) == (
        "Hello Alice"
    )
    assert preview.snippet("a\u202eb\x00c") == "abc"


def test_quotes_keep_their_marks_as_text() -> None:
    text = html.to_text(
        "<div>Hello</div><div><br></div><div>Carol wrote:</div><blockquote><div>Dear Alice,</div>"
        "<div><br></div><div>it is attached.</div><blockquote><p>inner</p></blockquote>"
        "<div>Carol</div></blockquote><div><br></div><div>below</div>"
    )
    assert text == (
        "Hello\n\nCarol wrote:\n> Dear Alice,\n>\n> it is attached.\n>> inner\n> Carol\n\nbelow"
    )
    assert html.to_text("</blockquote>" * 9 + "<blockquote>" * 99 + "a").count(">") == 20
