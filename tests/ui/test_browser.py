"""The sample pages in a real Chromium, under the site's own Content-Security-Policy."""

from __future__ import annotations

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, Route, expect

from tests.ui.conftest import Visit
from tests.ui.samples import PAGES

pytestmark = pytest.mark.browser


SAVED = (200, '{"draft": "", "version": 2, "words": "Saved 10:32", "urls": {}}')


def violations(page: Page, *rules: str) -> list[str]:
    """What axe finds, by all rules unless some are named: the rule and the first node of each."""
    # The site's policy forbids foreign scripts, axe too; evaluate() is not bound by it.
    options = {"runOnly": {"type": "rule", "values": list(rules)}} if rules else None
    found = Axe().run(page, options=options).response["violations"]
    return [
        f"{each['id']}: {each['nodes'][0]['html'][:160]} {each['nodes'][0]['failureSummary']}"
        for each in found
    ]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_accessible_in_both_themes_and_fits_a_phone(visit: Visit, name: str) -> None:
    visit.page.emulate_media(color_scheme="light", reduced_motion="reduce")
    page = visit.open(name)
    assert violations(page) == []
    page.emulate_media(color_scheme="dark")
    # Only colours differ between the themes.
    assert violations(page, "color-contrast") == []
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert visit.complaints == []


@pytest.mark.parametrize("name", ["list", "message", "message-html", "compose-clear", "outbox"])
def test_axe_finds_nothing_on_a_phone(phone: Visit, name: str) -> None:
    assert violations(phone.open(name)) == []


def test_axe_finds_a_fault_that_is_there(visit: Visit) -> None:
    page = visit.open("sign-in")
    page.evaluate("document.querySelector('label[for=address]').remove()")
    assert violations(page)


def test_the_policy_of_the_site_stops_inline_scripts(visit: Visit) -> None:
    page = visit.open("sign-in")
    page.evaluate(
        "(() => { const s = document.createElement('script'); s.textContent = 'window.bad = 1';"
        " document.body.append(s); })()"
    )
    assert page.evaluate("window.bad") is None
    assert any("Content Security Policy" in each for each in visit.complaints)


def test_arrows_move_one_focus_through_the_list(visit: Visit) -> None:
    page = visit.open("list")
    assert page.locator('.row[tabindex="0"]').count() == 1
    page.locator("#row-1").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(page.locator("#row-3")).to_be_focused()
    page.keyboard.press("End")
    expect(page.locator("#row-30")).to_be_focused()
    page.keyboard.press("Home")
    page.keyboard.press("j")
    expect(page.locator("#row-2")).to_be_focused()


def test_shift_selects_a_range_and_the_bar_counts_it(visit: Visit) -> None:
    page = visit.open("list")
    page.locator("#row-2 input").click()
    page.locator("#row-5 input").click(modifiers=["Shift"])
    expect(page.locator("[data-bulk-count]")).to_have_text("4 selected")
    assert page.locator('.row[aria-selected="true"]').count() == 4
    page.keyboard.press("Escape")
    expect(page.locator("[data-bulk]")).not_to_be_visible()


def test_tab_passes_the_search_operators_and_arrows_reach_them(visit: Visit) -> None:
    page = visit.open("list")
    page.locator("#search-field").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    expect(page.locator('[data-operator="to:"]')).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#search-field")).to_have_value(re.compile("to:$"))
    page.keyboard.press("Tab")
    assert not page.evaluate("document.activeElement.matches('[data-operator]')")


@pytest.mark.parametrize("name", ["list", "message", "compose-clear", "settings", "welcome"])
def test_nothing_sticks_out_of_a_page_320_pixels_wide(visit: Visit, name: str) -> None:
    visit.page.set_viewport_size({"width": 320, "height": 640})
    page = visit.open(name)
    out = page.evaluate(
        "[...document.querySelectorAll('main :is(a, button, input, select, textarea, h1)')]"
        ".filter((each) => each.checkVisibility() && each.getBoundingClientRect().right > 320"
        " && !each.closest('.editor-bar')).map((each) => each.outerHTML.slice(0, 100))"
    )
    assert out == []


def test_the_folder_that_is_shown_stays_marked_after_an_action(visit: Visit) -> None:
    page = visit.open("list")
    answer = (
        '<ul class="folders" id="folders" hx-swap-oob="true"><li>'
        '<a class="folder" href="/mail/1/" data-folder="1">Inbox fresh</a></li></ul>'
    )
    page.route("**/act/", lambda route: route.fulfill(body=answer, content_type="text/html"))
    page.locator("#row-1").focus()
    page.keyboard.press("s")
    folder = page.get_by_role("link", name="Inbox fresh")
    expect(folder).to_have_attribute("aria-current", "page")
    expect(folder).to_have_class("folder is-active")


def test_a_preview_that_is_no_picture_leaves_the_name(visit: Visit) -> None:
    page = visit.open("message")
    page.evaluate(
        "(() => { const i = new Image(); i.src = '/sample-body/';"
        " document.querySelector('.attachment').prepend(i); })()"
    )
    expect(page.locator(".attachment img")).to_have_count(0)


def test_single_keys_rest_in_fields_and_can_be_switched_off(visit: Visit) -> None:
    page = visit.open("list")
    page.locator("#search-field").fill("")
    page.keyboard.type("x?c")
    assert page.input_value("#search-field") == "x?c"
    page.locator("#row-1").focus()
    page.keyboard.press("?")
    expect(page.locator("#shortcuts")).to_be_visible()
    page.locator("#shortcuts [data-shortcuts-switch]").uncheck()
    page.keyboard.press("Escape")
    page.locator("#row-1").focus()
    page.keyboard.press("x")
    assert page.locator('.row[aria-selected="true"]').count() == 0


def test_the_identity_folds_to_one_line_and_stays_folded(visit: Visit) -> None:
    page = visit.open("message")
    page.locator("[data-fold]").click()
    expect(page.locator("#identity-more")).not_to_be_visible()
    visit.open("message-html")
    expect(page.locator("#identity-more")).not_to_be_visible()
    visit.open("message-failed")
    expect(page.locator("#identity-more")).to_be_visible()


def test_a_mail_that_fails_to_open_says_so_and_offers_another_try(visit: Visit) -> None:
    page = visit.open("list")
    page.locator("#row-2 .row-link").click()
    failed = page.locator("#reader .failed")
    expect(failed.get_by_role("heading")).to_have_text("Something went wrong here.")
    expect(failed.locator("code")).to_have_text("7f3a91c2")
    expect(failed.get_by_role("link", name="Try again")).to_have_attribute(
        "href", re.compile("/mail/1/2/$")
    )
    assert page.locator("#reader header").count() == 0
    page.context.set_offline(True)
    page.locator("#row-3 .row-link").click()
    expect(failed.get_by_role("heading")).to_have_text("The server does not answer.")


@pytest.mark.parametrize("answer", ["no connection", "a page of error", "a refusal"])
def test_what_could_not_be_done_is_said_and_the_list_is_as_it_was(
    visit: Visit, answer: str
) -> None:
    page = visit.open("list")
    rows = page.locator(".row").evaluate_all("all => all.map((row) => row.id)")

    def refuse(route: Route) -> None:
        if answer == "no connection":
            route.abort()
        elif answer == "a page of error":
            route.fulfill(status=403, body="<!doctype html><html><p>Token</p></html>")
        else:
            body = '<div class="toast" data-toast role="alert">The mail server is away.</div>'
            route.fulfill(status=503, body=body, content_type="text/html")

    action = page.locator("[data-list-form]").get_attribute("action")
    page.route(f"**{action}", refuse)
    page.locator("#row-2").focus()
    page.keyboard.press("e")
    words = "mail server is away" if answer == "a refusal" else "not done"
    expect(page.locator("#toasts")).to_contain_text(words)
    assert page.locator(".row").evaluate_all("all => all.map((row) => row.id)") == rows
    page.locator("#row-3").focus()
    page.keyboard.press("s")
    expect(page.locator("#toasts [role=alert]")).to_have_count(2)
    expect(page.locator("#row-3 .row-star")).to_have_attribute("aria-pressed", "false")


def test_an_opened_mail_is_not_covered_by_the_notice_that_it_opens(visit: Visit) -> None:
    page = visit.open("message")
    opened = page.locator("#reader").inner_html()
    page = visit.open("list")
    page.route("**/mail/1/3/", lambda route: route.fulfill(body=opened, content_type="text/html"))
    # A slow device: what is in place is told a while later.
    page.evaluate(
        "document.addEventListener('htmx:after:swap', () => {"
        " const end = performance.now() + 300; while (performance.now() < end); })"
    )
    page.locator("#row-3 .row-link").click()
    expect(page.locator("#reader [data-message]")).to_be_visible()
    page.wait_for_timeout(400)
    expect(page.locator("#reader [data-message]")).to_be_visible()
    assert visit.complaints == []


def test_i_opens_how_it_was_checked(visit: Visit) -> None:
    page = visit.open("message")
    page.keyboard.press("i")
    expect(page.locator(".facts .fact")).to_have_count(5)
    expect(page.get_by_text("D-Trust Root CA")).to_be_visible()


def test_mail_html_cannot_reach_the_page(visit: Visit) -> None:
    page = visit.open("message-html")
    frame = page.frame_locator("iframe.letter-frame")
    expect(frame.get_by_text("Sent as HTML.")).to_be_visible()
    reached = page.evaluate("document.querySelector('iframe.letter-frame').contentDocument")
    assert reached is None


def test_recipients_become_chips_with_their_state(visit: Visit) -> None:
    page = visit.open("compose-clear")
    chips = page.locator('[data-recipients="to"] .recipient-chip')
    expect(chips).to_have_count(4)
    assert [chip.get_attribute("data-state") for chip in chips.all()] == [
        "certificate",
        "certificate",
        "none",
        "problem",
    ]
    field = page.locator("#field-to")
    field.fill('"Diaz, Dana" <dana@acme.example>, ')
    expect(chips).to_have_count(5)
    expect(chips.last).to_contain_text("Diaz, Dana")
    field.press("Backspace")
    expect(chips).to_have_count(4)
    field.press_sequentially("Erin Evans")
    expect(chips).to_have_count(4)
    field.fill("")
    field.press_sequentially("erin@acme.example ")
    expect(chips).to_have_count(5)
    field.press("Backspace")
    page.locator("[data-remove-recipients]").click()
    expect(chips).to_have_count(2)
    sent = page.locator('input[type="hidden"][name="to"]').input_value()
    assert sent == "Ana Ruiz <ana.ruiz@lighthouse.example>, bob@acme.example"


def test_rich_text_is_written_in_a_frame_and_kept_as_text_too(visit: Visit) -> None:
    page = visit.open("compose")
    editor = page.frame_locator("iframe.editor-frame").locator("#editor")
    expect(editor).to_contain_text("thank you")
    editor.click()
    page.keyboard.press("Control+Home")
    page.keyboard.type("Hello ")
    expect(page.locator("#field-text")).to_have_value(
        "Hello Dear Ana,\n\nsigned, thank you.\n\nAlice\n> Please sign it by Friday."
    )
    assert "<b>thank you</b>" in page.locator("[data-html]").input_value()
    page.keyboard.press("Control+b")
    expect(page.locator('[data-command="bold"]')).to_have_attribute("aria-pressed", "true")
    assert visit.complaints == []


def test_what_is_typed_while_the_editor_loads_stands_in_it(visit: Visit) -> None:
    page = visit.page
    page.goto(f"{visit.address}/compose", wait_until="commit")
    expect(page.locator("#field-text")).to_be_focused()
    page.keyboard.type("Typed at once, ", delay=15)
    editor = page.frame_locator("iframe.editor-frame").locator("#editor")
    expect(editor).to_contain_text("Typed at once, Dear Ana")
    expect(page.locator(".editor.is-rich")).to_be_visible()
    page.keyboard.type("and more. ")
    expect(editor).to_contain_text("Typed at once, and more. Dear Ana")
    expect(page.locator("#field-text")).to_have_value(
        re.compile(r"^Typed at once, and more\. Dear Ana")
    )
    assert "<b>thank you</b>" in page.locator("[data-html]").input_value()


def test_keys_rest_while_another_page_is_on_its_way(visit: Visit) -> None:
    page = visit.open("list")
    page.locator("#row-1").focus()
    page.evaluate("dispatchEvent(new Event('beforeunload'))")
    page.keyboard.press("e")
    expect(page.locator("#row-1")).to_be_visible()


def test_the_editor_cannot_reach_the_page_and_drops_scripts(visit: Visit) -> None:
    page = visit.open("compose")
    expect(page.frame_locator("iframe.editor-frame").locator("#editor")).to_contain_text("Ana")
    frame = next(each for each in page.frames if "editor/frame" in each.url)
    reached = frame.evaluate(
        "(() => { try { return parent.document.title } catch { return '' } })()"
    )
    assert reached == ""
    frame.evaluate(
        "document.getElementById('editor').append(document.importNode(DOMPurify.sanitize("
        "'<img src=x onerror=parent.bad=1><img src=\"https://far.example/p.gif\">',"
        "{RETURN_DOM_FRAGMENT: true}), true))"
    )
    assert (
        frame.evaluate("document.querySelectorAll('#editor [onerror], #editor img[src]').length")
        == 0
    )


def test_plain_text_keeps_what_was_written(visit: Visit) -> None:
    page = visit.open("compose")
    expect(page.frame_locator("iframe.editor-frame").locator("#editor")).to_contain_text("Ana")
    page.locator("[data-toggle-plain]").click()
    expect(page.locator("#field-text")).to_be_visible()
    assert "> Please sign it by Friday." in page.input_value("#field-text")
    assert page.locator("[data-html]").input_value() == ""


def writing(visit: Visit) -> Page:
    """The composer with a word that the server does not have."""
    page = visit.open("compose")
    editor = page.frame_locator("iframe.editor-frame").locator("#editor")
    expect(editor).to_contain_text("thank you")
    page.locator("#field-subject").fill("Not saved yet")
    return page


def answer_saves(page: Page, *answers: tuple[int, str]) -> list[str]:
    """Answer the next saves with these and later ones with the last; returns what was asked."""
    asked: list[str] = []
    left = list(answers)

    def answer(route: Route) -> None:
        asked.append(route.request.url)
        status, body = left.pop(0) if len(left) > 1 else left[0]
        route.fulfill(status=status, body=body, content_type="application/json")

    page.route("**/compose/save/", answer)
    return asked


def test_send_leaves_the_page_only_when_every_word_is_saved(visit: Visit) -> None:
    page = writing(visit)
    sent: list[str] = []
    page.on("request", lambda each: sent.append(each.url) if "/send/" in each.url else None)
    saves = answer_saves(page, (503, '{"sentence": "The key service is not running."}'), SAVED)
    page.locator("[data-send]").click()
    expect(page.locator("[data-saved]")).to_have_text("The key service is not running.")
    expect(page.locator(".send-hint")).to_have_text("The key service is not running.")
    expect(page.locator("[data-send]")).to_contain_text("Send")
    assert sent == []
    page.locator("[data-send]").dblclick()
    page.wait_for_timeout(500)
    assert len(sent) == 1
    assert len(saves) == 2


def test_locked_at_send_the_password_is_asked_for_in_place(visit: Visit) -> None:
    page = writing(visit)
    answer_saves(page, (423, '{"sentence": "Your mail is locked."}'))
    page.locator("[data-send]").click()
    expect(page.locator("[data-unlock-dialog]")).to_be_visible()
    expect(page.locator("#field-subject")).to_have_value("Not saved yet")


def test_signed_out_while_writing_the_text_stays_and_is_saved_after_signing_in(
    visit: Visit,
) -> None:
    page = writing(visit)
    saves = answer_saves(page, (401, "{}"), (403, "{}"), SAVED)
    again = page.content().replace('name="csrf-token" content="', 'name="csrf-token" content="new')
    page.route(
        f"{visit.address}/", lambda route: route.fulfill(body=again, content_type="text/html")
    )
    page.locator("[data-send]").click()
    expect(page.locator("[data-signed-out-dialog]")).to_contain_text("You are signed out.")
    expect(page.locator("#field-subject")).to_have_value("Not saved yet")
    page.evaluate("dispatchEvent(new Event('focus'))")  # back from the other tab
    expect(page.locator("[data-signed-out-dialog]")).to_be_hidden()
    expect(page.locator("[data-saved]")).to_have_text("Saved 10:32")
    assert len(saves) == 3
    assert page.locator('meta[name="csrf-token"]').get_attribute("content") == "new"


def test_nobody_elses_sign_in_takes_over_what_was_written(visit: Visit) -> None:
    page = writing(visit)
    saves = answer_saves(page, (403, "{}"))
    others = page.content().replace("account-button", "account-button-of-bob")
    others = others.replace(
        "<body", '<body><button class="account-button" title="bob@acme.example"></button', 1
    )
    page.route(
        f"{visit.address}/", lambda route: route.fulfill(body=others, content_type="text/html")
    )
    page.locator("[data-send]").click()
    expect(page.locator("[data-saved]")).to_contain_text("somebody else is signed in")
    assert len(saves) == 1


def test_a_hint_appears_when_an_attachment_is_announced_and_none_is_there(visit: Visit) -> None:
    page = visit.open("compose")
    expect(page.frame_locator("iframe.editor-frame").locator("#editor")).to_contain_text("Ana")
    page.locator("[data-toggle-plain]").click()
    page.evaluate("document.querySelector('[data-attachment]').remove()")
    page.locator("#field-text").press_sequentially("See the attachment.")
    expect(page.locator("[data-forgotten]")).to_be_visible()


def test_passwords_are_compared_and_weighed_in_words(visit: Visit) -> None:
    page = visit.open("welcome")
    page.locator("#new-password").fill("short")
    expect(page.locator("[data-strength-meter]")).to_contain_text("Too short")
    page.locator("#new-password").fill("password123456")
    expect(page.locator("[data-strength-meter]")).to_contain_text("Weak")
    page.locator("#new-password").fill("harbour violet spoon atlas")
    expect(page.locator("[data-strength-meter]")).to_contain_text("Strong")
    page.locator("#new-password-again").fill("harbour violet spoon atlaz")
    expect(page.locator("[data-same-words]")).to_have_text("The two passwords differ.")


def test_the_theme_can_be_switched_and_is_remembered(visit: Visit) -> None:
    page = visit.open("list")
    before = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.locator(".account-menu summary").click()
    page.locator('.account-menu input[value="dark"]').check()
    after = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert after != before
    visit.open("settings")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == after


def test_touch_targets_are_44_pixels_on_a_phone(phone: Visit) -> None:
    page = phone.open("message")
    for selector in (".message-bar .icon-button", ".bottom-bar a", ".letter-foot .button"):
        for target in page.locator(selector).all():
            if target.is_visible():
                box = target.bounding_box()
                assert box is not None
                assert min(box["width"], box["height"]) >= 44, selector


def test_mail_can_be_read_and_written_without_scripts(without_scripts: Visit) -> None:
    page = without_scripts.open("list")
    expect(page.locator("#row-1 .row-link")).to_be_visible()
    expect(page.locator('[data-bulk] button[value="archive"]')).to_be_visible()
    page = without_scripts.open("message")
    expect(page.locator(".letter-text").get_by_text("attached is the version")).to_be_visible()
    page.locator(".evidence > summary").click()
    expect(page.get_by_text("D-Trust Root CA")).to_be_visible()
    page = without_scripts.open("compose-clear")
    for selector in ("#field-to", "#field-cc", "#field-text", "[data-send]", "#field-file"):
        expect(page.locator(selector)).to_be_visible()


def test_nothing_moves_for_those_who_asked_for_it(visit: Visit) -> None:
    visit.page.emulate_media(reduced_motion="reduce")
    page = visit.open("list-trouble")
    assert (
        page.evaluate("getComputedStyle(document.querySelector('.spinner')).animationName")
        == "none"
    )


def test_forced_colours_keep_the_selected_row_visible(visit: Visit) -> None:
    visit.page.emulate_media(forced_colors="active")
    page = visit.open("message")
    style = page.evaluate(
        "getComputedStyle(document.querySelector('.row[aria-current]')).outlineStyle"
    )
    assert style == "solid"
