"""The PDF's type: Pretendard (SIL Open Font License 1.1), in this package, and which characters it can draw.

Rules:
1. No font of the machine is used, so a report is the same bytes everywhere; fonts/PROVENANCE.md says where these
   files come from.
2. PDF/A refuses text that its font cannot draw. Names are free text, so what the font lacks is shown as a square.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import typst

from privacy.errors import ConfigurationError

FOLDER: Final = Path(str(files("privacy.report"))) / "fonts"
FAMILY: Final = "Pretendard"
MISSING: Final = "□"
_MEASURE: Final = "Pretendard-Regular.otf"


@lru_cache(maxsize=1)
def fonts() -> typst.Fonts:
    """For typst: this package's fonts, and typst's own for hashes in a fixed width."""
    found = typst.Fonts(include_system_fonts=False, include_embedded_fonts=True, font_paths=[str(FOLDER)])
    if FAMILY not in found.families():
        raise ConfigurationError(f"the font {FAMILY} in {FOLDER}", "none", "install the package anew")
    return found


def drawable(value: Any) -> Any:
    """A JSON value whose texts hold only what the font can draw (rule 2)."""
    if isinstance(value, str):
        known = coverage()
        return "".join(sign if ord(sign) in known else MISSING for sign in value)
    if isinstance(value, dict):
        return {key: drawable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [drawable(item) for item in value]
    return value


@lru_cache(maxsize=1)
def coverage() -> frozenset[int]:
    """Code points that the font maps to a glyph (OpenType `cmap`, subtable format 12 or 4)."""
    raw = (FOLDER / _MEASURE).read_bytes()
    (tables,) = struct.unpack_from(">H", raw, 4)
    for place in range(tables):
        tag, _, at, _ = struct.unpack_from(">4sIII", raw, 12 + 16 * place)
        if tag == b"cmap":
            return frozenset(_mapped(raw, at))
    raise ConfigurationError(f"a cmap table in {_MEASURE}", "none", "install the package anew")


def _mapped(raw: bytes, at: int) -> set[int]:
    found: set[int] = set()
    (subtables,) = struct.unpack_from(">H", raw, at + 2)
    for place in range(subtables):
        _, _, offset = struct.unpack_from(">HHI", raw, at + 4 + 8 * place)
        start = at + offset
        (form,) = struct.unpack_from(">H", raw, start)
        if form == 12:
            (groups,) = struct.unpack_from(">I", raw, start + 12)
            for group in range(groups):
                first, last, glyph = struct.unpack_from(">III", raw, start + 16 + 12 * group)
                found.update(range(first + (glyph == 0), last + 1))
        elif form == 4:
            found |= _segments(raw, start)
    return found


def _segments(raw: bytes, start: int) -> set[int]:
    (double,) = struct.unpack_from(">H", raw, start + 6)
    count = double // 2
    ends = struct.unpack_from(f">{count}H", raw, start + 14)
    starts = struct.unpack_from(f">{count}H", raw, start + 16 + double)
    deltas = struct.unpack_from(f">{count}H", raw, start + 16 + 2 * double)
    offsets_at = start + 16 + 3 * double
    offsets = struct.unpack_from(f">{count}H", raw, offsets_at)
    found = set()
    for place in range(count):
        for code in range(starts[place], min(ends[place], 0xFFFE) + 1):
            glyph = code
            if offsets[place]:
                into = offsets_at + 2 * place + offsets[place] + 2 * (code - starts[place])
                (glyph,) = struct.unpack_from(">H", raw, into)
                if glyph == 0:
                    continue
            if (glyph + deltas[place]) & 0xFFFF:
                found.add(code)
    return found
