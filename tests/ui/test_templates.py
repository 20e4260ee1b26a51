"""What no template and no script may hold, and that every sample renders."""

from __future__ import annotations

import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from django.conf import settings

from tests.ui.gallery import render
from tests.ui.samples import PAGES

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))
STATIC = ROOT / "webmail" / "static"
SANDBOX = "allow-popups allow-popups-to-escape-sandbox"


class Offences(HTMLParser):
    """Inline scripts, styles and handlers of one document."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        names = dict(attributes)
        if tag == "style" or (tag == "script" and not names.get("src")):
            self.found.append(f"<{tag}>")
        for name, value in attributes:
            if name.startswith("on") or name.startswith("hx-on") or name == "style":
                self.found.append(f"{tag} {name}")
            if (value or "").strip().lower().startswith(("javascript:", "js:")):
                self.found.append(f"{tag} {name}={value}")
            if name == "hx-trigger" and "[" in (value or ""):
                self.found.append(f"{tag} {name} with a filter, which needs eval")
            if name in {"hx-vals", "hx-headers"} and not (value or "").startswith("{"):
                self.found.append(f"{tag} {name} that is not JSON")


def offences(text: str) -> list[str]:
    parser = Offences()
    parser.feed(text)
    return parser.found


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_template_has_inline_script_style_or_handler(path: Path) -> None:
    assert offences(path.read_text()) == []


@pytest.mark.parametrize(
    "text",
    [
        "<script>1</script>",
        "<p style='color:red'>",
        "<p onclick='x()'>",
        "<a href='javascript:x'>",
        "<p hx-on:click='x()'>",
        "<p hx-trigger='click[ctrlKey]'>",
        "<style>p{}</style>",
    ],
)
def test_the_check_for_inline_code_finds_it(text: str) -> None:
    assert offences(text)


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_template_switches_escaping_off(path: Path) -> None:
    text = path.read_text()
    assert "|safe" not in text
    assert "autoescape off" not in text
    assert "safeseq" not in text


@pytest.mark.parametrize("name", PAGES)
def test_every_sample_renders(name: str) -> None:
    html = render(name)
    assert html.lstrip().startswith("<!doctype html>")
    assert offences(html) == []


@pytest.mark.parametrize("name", [name for name in PAGES if "message" in name])
def test_every_frame_of_mail_is_sandboxed_without_scripts_and_without_our_origin(name: str) -> None:
    for frame in re.findall(r"<iframe[^>]*>", render(name)):
        assert f'sandbox="{SANDBOX}"' in frame
        assert "srcdoc" not in frame
        assert "allow-scripts" not in frame
        assert "allow-same-origin" not in frame


def test_a_mail_with_html_is_shown_in_such_a_frame() -> None:
    assert "<iframe" in render("message-html")


def test_templates_know_no_other_frames() -> None:
    for path in TEMPLATES:
        for frame in re.findall(r"<iframe[^>]*>", path.read_text()):
            assert f'sandbox="{SANDBOX}"' in frame, path


def test_the_editor_of_quoted_mail_has_an_origin_of_its_own() -> None:
    script = (STATIC / "js" / "compose" / "editor.js").read_text()
    assert 'setAttribute("sandbox", "allow-scripts")' in script
    assert 'sandbox", "allow-scripts allow-same-origin' not in script


def test_the_verdict_stands_outside_what_the_sender_wrote() -> None:
    html = render("message-html")
    letter = html.index('<article class="letter"')
    assert html.index("data-identity") < letter
    assert html.index("<iframe") > letter
    assert html.index("</section>", html.index("data-identity")) < letter


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("message", "Signed by Ana Ruiz"),
        ("message-first", "first message from this signer"),
        ("message-expected", "this sender normally signs"),
        ("message-failed", "Signature does not match this message"),
        ("message-locked", "Locked. Unlock to read"),
        ("message-unsigned", "Not signed"),
    ],
)
def test_every_state_is_said_in_words(name: str, words: str) -> None:
    assert words in render(name)


@pytest.mark.parametrize("name", ["message-failed", "message-expected"])
def test_red_and_amber_identity_lines_cannot_be_folded(name: str) -> None:
    assert "data-may-collapse" not in render(name)


def test_calm_identity_lines_can_be_folded() -> None:
    assert "data-may-collapse" in render("message")


def test_what_a_sender_writes_is_escaped_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    attack = '"><img src=x onerror=alert(1)>{{ settings.SECRET_KEY }}'
    from tests.ui import samples

    hostile = samples.rows()
    for name in ("sender", "subject", "snippet", "level_chip"):
        hostile[0] = samples.replace(hostile[0], **{name: attack})
    hostile[0] = samples.replace(hostile[0], mark={"state": "failed", "words": attack})
    box = samples.Mailbox(attack, attack)
    opened = samples.opened(subject=attack, senders=[box], to=[box], outer_subject=attack)
    opened = samples.replace(
        opened, attachments=[samples.replace(opened.attachments[0], name=attack, type=attack)]
    )
    page = samples.message_page(opened, thread=hostile[:2])
    page["rows"] = hostile
    page["query"] = attack
    page["certificate"] = {**page["certificate"], "name": attack, "chain": [attack]}
    monkeypatch.setitem(PAGES, "hostile", ("reading/message.html", lambda: page))
    html = render("hostile")
    assert offences(html) == []
    assert "<img src=x" not in html
    assert settings.SECRET_KEY not in html


def test_vendored_files_are_the_ones_recorded() -> None:
    vendor = STATIC / "vendor"
    lines = (vendor / "CHECKSUMS.sha256").read_text().split("\n")
    recorded = {name: digest for digest, name in (line.split() for line in lines if line)}
    assert len(recorded) == 4
    for name, digest in recorded.items():
        assert hashlib.sha256((vendor / name).read_bytes()).hexdigest() == digest, name
    assert {str(each.relative_to(vendor)) for each in vendor.rglob("*.js")} == {
        name for name in recorded if name.endswith(".js")
    }


def test_every_icon_in_use_is_in_the_sprite() -> None:
    sprite = set(re.findall(r'<symbol id="([^"]+)"', (STATIC / "icons" / "sprite.svg").read_text()))
    used = set()
    for path in TEMPLATES:
        for reference in re.findall(r"sprite \}\}#((?:\{%.*?%\}|[a-z0-9-])+)", path.read_text()):
            used |= {each for each in re.split(r"\{%.*?%\}", reference) if each}
    assert used <= sprite
    assert len(used) > 40


def test_own_scripts_write_no_html_of_their_own() -> None:
    for path in [*(STATIC / "js").rglob("*.js"), STATIC / "editor" / "frame.js"]:
        text = path.read_text()
        for danger in (
            "eval(",
            "new Function",
            ".outerHTML",
            "insertAdjacentHTML",
            "document.write",
        ):
            assert danger not in text, f"{path}: {danger}"
        if path.name != "requests.js":  # unpacks what our own server answered, nothing else
            assert ".innerHTML" not in text, path
