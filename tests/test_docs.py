"""What the README and the guide show is true: settings parse, commands exist, links lead on, code compiles."""

from __future__ import annotations

import ast
import json
import re
import shlex
from pathlib import Path

import click
import pytest
import typer.main

from aggregator.cli import app as server_app
from aggregator.operator.charter_draft import read_draft
from client_sdk.campaign_file import read_campaign_file
from client_sdk.cli import app as partner_app
from client_sdk.settings import load_settings

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "SECURITY.md", *(ROOT / "docs").rglob("*.md")])
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
GUIDE = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    return [body for found, body in BLOCK.findall(text) if found == language]


@pytest.mark.parametrize("index", range(3))
def test_the_settings_of_the_guide_are_read_by_who_reads_them(index: int, tmp_path: Path) -> None:
    path = tmp_path / "file.toml"
    path.write_text(blocks(GUIDE, "toml")[index], encoding="utf-8")
    (load_settings, read_draft, read_campaign_file)[index](path)


def commands() -> list[tuple[str, str]]:
    """Every command line shown, with the page that shows it."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        shown = [line for block in blocks(text, "") for line in block.splitlines()]
        shown += re.findall(r"`((?:chorale-server|chorale-partner) [^`]+)`", text)
        found += [
            (page.name, line.split("#")[0].strip())
            for line in shown
            if line.startswith(("chorale-server", "chorale-partner"))
        ]
    return found


@pytest.mark.parametrize(("page", "line"), commands())
def test_every_command_that_is_shown_exists(page: str, line: str) -> None:
    program, *words = shlex.split(line)
    command: click.Command = typer.main.get_command(server_app if program == "chorale-server" else partner_app)
    while hasattr(command, "commands") and words and words[0] in command.commands:
        command = command.commands[words.pop(0)]
    if hasattr(command, "commands"):
        assert getattr(command, "invoke_without_command", False), f"{page}: no command in {line!r}"
        assert not words or words[0].startswith("-"), f"{page}: unknown command in {line!r}"
    known = {option for parameter in command.params for option in parameter.opts}
    for word in words:
        if word.startswith("--"):
            assert word.split("=")[0] in known, f"{page}: {line!r} has no option {word}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_python_compiles(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
    for block in blocks(text, "python"):
        ast.parse(block)


def test_nothing_is_left_to_be_filled_in() -> None:
    for page in PAGES:
        assert "<!--" not in page.read_text(encoding="utf-8"), page.name


def test_every_test_that_the_threat_model_names_exists() -> None:
    rows = [
        line for line in (ROOT / "docs/threat_model.md").read_text(encoding="utf-8").splitlines() if "::" in line
    ]
    assert len(rows) > 30
    for row in rows:
        for file, name in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", row):
            assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8"), f"{file}::{name}"


def test_the_map_of_the_tree_names_what_there_is_and_every_folder() -> None:
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    section = text.split("## Where things are", 1)[1].split("\n## ", 1)[0]
    home = ROOT
    for line in section.splitlines():
        if opened := re.match(r"(?:\*\*|\| )`([\w/]+/)`", line):
            home = ROOT / opened[1]
        for name in re.findall(r"`([\w/*]+(?:\.py|/))`", line):
            assert any((ROOT if "/" in name else home).glob(name)), f"{name} in {home.relative_to(ROOT)}"
    packages = [made.parent for made in ROOT.glob("*/*/__init__.py")]
    assert len(packages) > 20
    for folder in packages:
        assert f"`{folder.relative_to(ROOT)}/`" in section, folder


def test_the_table_of_routes_is_the_documents() -> None:
    made = json.loads((ROOT / "docs/openapi.json").read_text(encoding="utf-8"))["paths"]
    routes = {
        (method.upper(), re.sub(r"{\w+}", "{}", path)) for path, methods in made.items() for method in methods
    }
    page = (ROOT / "docs/http.md").read_text(encoding="utf-8")
    cells = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    shown = {
        (method, re.sub(r"{\w+}", "{}", path))
        for cell in cells
        for method, path in re.findall(r"`(GET|POST|PUT) ([^`?]+)", cell)
    }
    assert {route for route in shown if not route[1].startswith("/console")} == routes
