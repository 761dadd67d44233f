"""README and pages: links lead somewhere, Python examples run, commands and names exist."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md"))]
README_BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


def page_name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_every_local_link_leads_to_a_file_and_a_heading_that_exist(page: Path) -> None:
    broken: list[str] = []
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        path, _, anchor = link.partition("#")
        if ":" in path:
            continue
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in headings(target)):
            broken.append(link)

    assert broken == []


def headings(page: Path) -> set[str]:
    """The anchors that GitHub gives the headings of *page*."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("block", README_BLOCKS, ids=lambda block: block.partition("\n")[0])
def test_the_readme_s_python_runs(block: str, tmp_path: Path) -> None:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("OTEL_")},
        "OTEL_AUDIT_DIR": str(tmp_path),
        "OTEL_AUDIT_SPOOL_RESERVE": "1MiB",
    }
    program = f"import otel_audit\notel_audit.configure()\n{block}"

    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )

    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_every_verb_that_a_page_names_exists(page: Path) -> None:
    verbs = {"coverage", "verify", "show", "recover", "ship", "keys", "doctor", "demo", "COMMAND"}
    named = set(re.findall(r"(?:`|^ {4}|^\$ )otel-audit ([a-zA-Z]+)", page.read_text(), re.MULTILINE))

    assert named <= verbs
