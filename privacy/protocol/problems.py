"""Errors over the wire: an error of privacy/errors.py to an RFC 9457 problem, and back.

Rules:
1. A problem's `type` is PROBLEM_BASE + the error's code; `expected`, `came`, `remedy` travel as members, and the
   number of an opening check or ledger line with them.
2. An exception that is none of ours says nothing about itself on the wire.
3. Whoever reads a problem trusts none of it: unknown codes, missing or overlong members become an error all the
   same, cut to MAX_TEXT.
It knows no HTTP library.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from privacy.errors import (
    CheckRefused,
    ChoraleError,
    LedgerBroken,
    MalformedMessage,
    ServiceUnavailable,
    TooManyRequests,
)
from privacy.protocol.http_contract import PROBLEM_BASE

MAX_TEXT = 2000


def problem_of(error: Exception) -> dict[str, Any]:
    """The problem document; its `status` is the HTTP status to answer with."""
    if not isinstance(error, ChoraleError):
        error = ChoraleError(
            "an answer",
            "an internal error of the service",
            "tell the operator when it happened: the service's log has it",
        )
    problem: dict[str, Any] = {
        "type": PROBLEM_BASE + error.code,
        "title": error.code.replace("-", " "),
        "status": error.status,
        "detail": str(error)[:MAX_TEXT],
        "expected": error.expected[:MAX_TEXT],
        "came": error.came[:MAX_TEXT],
        "remedy": error.remedy[:MAX_TEXT],
    }
    if isinstance(error, CheckRefused):
        problem["number"] = error.number
    if isinstance(error, LedgerBroken):
        problem["line"] = error.line
    return problem


def error_of(problem: Mapping[str, Any] | None, status: int) -> ChoraleError:
    """The error that a problem names; where it names none, one for its HTTP status (None: no problem came)."""
    if problem is None:
        problem = {}
    kind = problem.get("type")
    code = kind.removeprefix(PROBLEM_BASE) if isinstance(kind, str) else ""
    texts = (
        _text(problem.get("expected"), "an answer with a problem document"),
        _text(problem.get("came"), f"HTTP status {status}"),
        _text(problem.get("remedy"), "check that the address is that of the service, and read its log"),
    )
    error_class = _CLASSES.get(code) or _BY_STATUS.get(status, ChoraleError)
    if error_class is CheckRefused:
        return CheckRefused(_number(problem.get("number"), 7), *texts)
    if error_class is LedgerBroken:
        return LedgerBroken(_number(problem.get("line"), 2**53), *texts)
    return error_class(*texts)


def _subclasses(root: type[ChoraleError]) -> Iterator[type[ChoraleError]]:
    yield root
    for child in root.__subclasses__():
        yield from _subclasses(child)


def _by_code() -> dict[str, type[ChoraleError]]:
    classes: dict[str, type[ChoraleError]] = {}
    for error_class in _subclasses(ChoraleError):
        # A subclass that declares no code of its own is the parent's kind over the wire.
        if "code" in vars(error_class) and classes.setdefault(error_class.code, error_class) is not error_class:
            raise AssertionError(f"two error classes share the code {error_class.code}")
    return classes


_CLASSES = _by_code()
# Where a proxy answered in the service's place, or a body was not a problem.
_BY_STATUS: dict[int, type[ChoraleError]] = {
    422: MalformedMessage,
    429: TooManyRequests,
    502: ServiceUnavailable,
    503: ServiceUnavailable,
    504: ServiceUnavailable,
}


def _text(value: object, otherwise: str) -> str:
    return value[:MAX_TEXT] if isinstance(value, str) and value else otherwise


def _number(value: object, largest: int) -> int:
    return value if isinstance(value, int) and 0 <= value <= largest else 0
