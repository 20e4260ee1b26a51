"""docs/configuration.md names every setting that the code reads, with the default it has there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "configuration.md"
SETTING = re.compile(r"\b(?:SEALPOST_[A-Z_]+[A-Z]|DATABASE_URL|DJANGO_SUPERUSER_PASSWORD)\b")
ROW = re.compile(r"^\| `([A-Z_]+)` \| ([^|]*) \|", re.MULTILINE)


def strings_of_the_code() -> Iterator[str]:
    """Every text in the code but docstrings, which may speak of settings without reading them."""
    for package in ("webmail", "crypto_agent", "launcher"):
        for path in sorted((ROOT / package).rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            told = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
            for node in ast.walk(tree):
                if not isinstance(node, ast.Constant) or id(node) in told:
                    continue
                if isinstance(node.value, str):
                    yield node.value


def documented() -> dict[str, str]:
    """Setting → its default, as the page gives them."""
    return {name: default.strip() for name, default in ROW.findall(PAGE.read_text("utf-8"))}


def names_in_the_code() -> set[str]:
    return {name for text in strings_of_the_code() for name in SETTING.findall(text)}


def test_every_setting_that_the_code_reads_is_on_the_page() -> None:
    known = documented()
    read = names_in_the_code()
    assert len(read) > 30  # the search finds something at all
    missing = {
        name for name in read if name not in known and name.removesuffix("_FILE") not in known
    }
    assert not missing, f"not in {PAGE.name}: {sorted(missing)}"


def test_every_setting_on_the_page_is_read_by_the_code() -> None:
    assert set(documented()) - names_in_the_code() == set()


def defaults_of_the_web() -> dict[str, object]:
    """Setting → default, where webmail/settings.py gives it as a plain value."""
    found: dict[str, object] = {}
    for node in ast.walk(ast.parse((ROOT / "webmail" / "settings.py").read_text("utf-8"))):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        if not isinstance(node.func.value, ast.Name) or node.func.value.id != "env":
            continue
        name = ast.literal_eval(node.args[0])
        for keyword in node.keywords:
            if keyword.arg == "default":
                try:
                    found[name] = eval(  # arithmetic such as 15 * 60, of our own file
                        compile(ast.Expression(keyword.value), "settings", "eval"),
                        {"__builtins__": {}},
                    )
                except NameError:  # made of another setting: the page says it in words
                    continue
    return found


def test_the_page_gives_the_defaults_of_the_web() -> None:
    known, defaults = documented(), defaults_of_the_web()
    assert defaults["SEALPOST_SESSION_IDLE"] == 900
    for name, default in defaults.items():
        if default in ("", []):
            assert known[name] in ("none", "– (required)"), name
        else:
            text = ",".join(default) if isinstance(default, list) else str(default)
            assert known[name] == f"`{text}`", name


def test_the_page_gives_the_defaults_of_the_supervisor() -> None:
    from crypto_agent.config import SupervisorConfig

    known = documented()
    for name, default in {
        "SEALPOST_SESSION_IDLE": SupervisorConfig.idle_s,
        "SEALPOST_SESSION_ABSOLUTE": SupervisorConfig.absolute_s,
        "SEALPOST_MAX_AGENTS": SupervisorConfig.max_agents,
        "SEALPOST_AGENT_MEMORY_MB": SupervisorConfig.memory_mb,
        "SEALPOST_AGENT_CPU": SupervisorConfig.cpu_s,
    }.items():
        assert known[name] == f"`{int(default)}`", name
    assert known["SEALPOST_SERVICES"] == f"`{','.join(SupervisorConfig.services)}`"
