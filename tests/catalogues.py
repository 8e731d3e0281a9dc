"""`make catalogues`: compile every .po in the tree to the .mo beside it, which is what the programs read."""

from __future__ import annotations

import io
from collections.abc import Iterator
from gettext import GNUTranslations
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

ROOT = Path(__file__).parents[1]


def sources() -> Iterator[Path]:
    """Each `<package>/catalogues/<language>/<domain>.po`."""
    for package in ("privacy", "aggregator"):
        yield from sorted((ROOT / package).rglob("catalogues/*/*.po"))


def read(source: Path) -> Catalog:
    """Raises on a file that is not gettext's, or has an id twice."""
    ids = [line for line in source.read_text("utf-8").splitlines() if line.startswith('msgid "')]
    if len(set(ids)) != len(ids):
        raise ValueError(f"{source}: {sorted({one for one in ids if ids.count(one) > 1})} twice")
    with source.open("rb") as file:
        return read_po(file, locale=source.parent.name, abort_invalid=True)


def texts(source: Path) -> dict[str, str]:
    """Message id -> text."""
    return {str(message.id): str(message.string) for message in read(source) if message.id}


def texts_compiled(compiled: bytes) -> dict[str, str]:
    """What a program gets from a .mo."""
    translations = GNUTranslations(io.BytesIO(compiled))
    catalogue: dict[str, str] = translations._catalog  # type: ignore[attr-defined]
    return {key: text for key, text in catalogue.items() if key}


def main() -> None:
    for source in sources():
        compiled = io.BytesIO()
        write_mo(compiled, read(source))
        target = source.with_suffix(".mo")
        # The header names Babel's version: a file that says the same already stays as it is.
        if target.exists() and texts_compiled(target.read_bytes()) == texts(source):
            continue
        target.write_bytes(compiled.getvalue())


if __name__ == "__main__":
    main()
