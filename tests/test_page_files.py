"""The page's files: what the content policy forbids, and what must be there, without a browser."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parent.parent / "service" / "page"
SCRIPTS = sorted((PAGE / "js").rglob("*.js"))
STYLES = [PAGE / "style.css", *sorted((PAGE / "css").glob("*.css"))]
INDEX = (PAGE / "index.html").read_text(encoding="utf-8")
EVERYTHING = [PAGE / "index.html", *STYLES, *SCRIPTS]

_IMPORT = re.compile(r'(?:^import\b[^;"]*|\bimport\()"(\.[^"]+)"', re.MULTILINE)
_EXPORT = re.compile(r"^export (?:async )?(?:function|const|class) (\w+)", re.MULTILINE)
_NAMES = re.compile(r'import \{([^}]*)\} from "([^"]+)"')
_AS_HTML = re.compile(
    r"\b(?:innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|"
    r"createContextualFragment|srcdoc|eval|new Function)\b"
)


def _named(paths: list[Path]) -> list[str]:
    return [path.relative_to(PAGE).as_posix() for path in paths]


@pytest.mark.parametrize("script", SCRIPTS, ids=_named(SCRIPTS))
def test_a_script_imports_what_is_there_by_names_that_are_exported(script: Path) -> None:
    text = script.read_text(encoding="utf-8")
    for target in _IMPORT.findall(text):
        assert (script.parent / target).is_file(), target
    for names, target in _NAMES.findall(text):
        offered = set(_EXPORT.findall((script.parent / target).read_text(encoding="utf-8")))
        asked = {name.split(" as ")[0].strip() for name in names.split(",") if name.strip()}
        assert asked <= offered, (target, asked - offered)


@pytest.mark.parametrize("script", SCRIPTS, ids=_named(SCRIPTS))
def test_a_script_uses_what_it_imports(script: Path) -> None:
    text = script.read_text(encoding="utf-8")
    for names, _ in _NAMES.findall(text):
        for name in filter(None, (one.split(" as ")[-1].strip() for one in names.split(","))):
            assert len(re.findall(rf"(?<![\w$.]){name}\b", text)) > 1, name


@pytest.mark.parametrize("script", SCRIPTS, ids=_named(SCRIPTS))
def test_a_script_reads_nothing_as_html_or_code(script: Path) -> None:
    assert not _AS_HTML.search(script.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", EVERYTHING, ids=_named(EVERYTHING))
def test_the_page_names_no_other_host(path: Path) -> None:
    found = set(re.findall(r"https?://[^\s\"'`)]+", path.read_text(encoding="utf-8")))
    assert found <= {"http://www.w3.org/2000/svg"}


def test_the_document_loads_only_files_that_are_there_and_holds_no_script_or_style() -> None:
    loaded = re.findall(r'(?:src|href)="(page/[^"]+)"', INDEX)
    assert loaded
    assert all((PAGE.parent / path).is_file() for path in loaded)
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", INDEX)


def test_every_stylesheet_is_linked() -> None:
    linked = set(re.findall(r'rel="stylesheet" href="page/([^"]+)"', INDEX))
    assert linked == set(_named(STYLES))


@pytest.mark.parametrize("name", ["classify", "review", "thresholds", "explore"])
def test_every_tab_has_its_page(name: str) -> None:
    assert f'href="#/{name}"' in INDEX
    text = (PAGE / "js" / f"{name}.js").read_text(encoding="utf-8")
    assert re.search(r"export const page = \{\s*title: \"", text)
