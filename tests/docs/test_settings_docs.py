"""docs/settings.md has the variables as the code has them; `python tests/docs/test_settings_docs.py` writes it."""

from __future__ import annotations

import re
from pathlib import Path

from otel_audit.variables import VARIABLES

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "settings.md"
PLACE = re.compile(r"(?<=test_settings_docs\.py -->\n\n).*?(?=<!-- end -->)", re.DOTALL)


def table() -> str:
    """The table in Markdown."""
    rows = [
        f"| `{variable.name}` | {_default(variable.default)} | {variable.meaning.replace('|', '&#124;')} |"
        for variable in VARIABLES
    ]
    return "\n".join(["| variable | default | meaning |", "|---|---|---|", *rows, "", ""])


def _default(text: str) -> str:
    return text if text in ("none", "built in", "made in the state directory") else f"`{text}`"


def test_the_table_is_that_of_the_code() -> None:
    found = PLACE.search(PAGE.read_text())

    assert found is not None
    assert found[0] == table()


def test_every_variable_that_a_page_names_exists() -> None:
    pages = [ROOT / "README.md", ROOT / "CHANGELOG.md", *ROOT.glob("docs/**/*.md")]
    known = {variable.name for variable in VARIABLES}
    unknown = {
        (page.name, name)
        for page in pages
        for name in re.findall(r"OTEL_AUDIT_[A-Z_]*[A-Z](?![A-Z_*])", page.read_text())
        if name not in known
    }

    assert unknown == set()


def write() -> None:
    """Put the present table into the page."""
    PAGE.write_text(PLACE.sub(lambda _: table(), PAGE.read_text()))


if __name__ == "__main__":
    write()
