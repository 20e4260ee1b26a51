"""What the pages name is there: files, modules, operations, codes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from crypto_agent import protocol

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_of_a_page_leads_to_a_file(path: Path) -> None:
    targets = [t for t in LINK.findall(path.read_text("utf-8")) if "://" not in t]
    assert {target for target in targets if not (path.parent / target).exists()} == set()


def test_every_decision_is_in_the_list() -> None:
    written = {path.name for path in (ROOT / "docs" / "decisions").glob("*.md")} - {"README.md"}
    assert written
    assert set(LINK.findall(page("decisions/README.md"))) == written


def modules_of(row: str) -> list[str]:
    """Modules of one table row; one without a folder lies where the one before it lies."""
    found: list[str] = []
    for name in re.findall(r"`([a-z0-9_/]+)`", row.split("|")[4]):
        folder = found[-1].rpartition("/")[0] if found and "/" not in name else ""
        found.append(f"{folder}/{name}" if folder else name)
    return found


def test_every_module_of_the_index_of_standards_exists() -> None:
    rows = [row for row in page("rfc-index.md").splitlines() if row.count("|") == 6]
    named = {module for row in rows for module in modules_of(row)}
    assert len(named) > 30
    missing = set()
    for module in named:
        path = ROOT / (module if module.startswith("webmail/") else f"crypto_agent/{module}")
        if not (path.is_dir() or path.with_suffix(".py").exists()):
            missing.add(module)
    assert missing == set()


def test_every_row_of_the_index_of_standards_says_yes_partial_or_no() -> None:
    rows = [row for row in page("rfc-index.md").splitlines() if re.match(r"\| (?:\d|CA)", row)]
    assert len(rows) > 50
    assert {row.split("|")[3].strip() for row in rows} == {"Yes", "Partial", "No"}


def test_every_operation_and_error_is_on_the_page_of_the_protocol() -> None:
    text = page("agent-protocol.md")
    operations = {
        *protocol.OPENER_OPERATIONS,
        *protocol.SESSION_OPERATIONS,
        *protocol.RELEASE_OPERATIONS,
        *protocol.CONTROL_OPERATIONS,
        *(name for names in protocol.SERVICE_OPERATIONS.values() for name in names),
    }
    told = {*operations, *protocol.SERVICE_OPERATIONS, *(code.value for code in protocol.ErrorCode)}
    assert {name for name in told if f"`{name}`" not in text} == set()
