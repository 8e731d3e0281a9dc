"""Vectors of messages: canonical bytes, digests, roots, signatures, requests, frames, and a ledger.

ML-DSA signing is randomised, so a signature is made once and kept: `make vectors` keeps the old one while it still
verifies, and everything else is made anew and must come out the same.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from privacy.dp.events import PrivacyEvent
from privacy.errors import ChoraleError
from privacy.ledger.chain import EMPTY, BudgetMove, RowTotals, next_action_entry, next_budget_entry
from privacy.protocol import merkle
from privacy.protocol.canonical import canonical
from privacy.protocol.http_contract import frame, request_text
from privacy.protocol.messages import ChainHead, CharterAcceptance, Join, parse_signed
from privacy.protocol.signing import SigningKey, countersign, sign, verify
from privacy.protocol.words import words

PATH = Path(__file__).parent / "protocol.json"
SEED = bytes(range(64))
SIGNERS = ("operator", "signatures")
EVENT = PrivacyEvent(kind="distributed", noise_multiplier=1.25, sampling_rate=0.1, steps=1)


def build(kept: dict[str, str]) -> dict[str, Any]:
    """Every vector, as JSON values; bytes are hex. kept: messages that were signed before, by the vector's name."""
    key = SigningKey(SEED)
    acceptance = CharterAcceptance(charter="ab" * 32, partner="alpha")
    signed = _kept(kept.get("signing"), key, "alpha") or sign(acceptance, "alpha", key).canonical_bytes
    # Signers whose names stand in the signed form in the order, and with the letters, of its own keys.
    both = _kept(kept.get("countersigning"), key, *SIGNERS) or _countersigned(acceptance, key)
    join = Join(
        charter="ab" * 32,
        plan="cd" * 32,
        partner="alpha",
        round_key="01" * 1216,
        ledger=ChainHead(count=3, head="ef" * 32),
    )
    leaves = [merkle.shard_digest(bytes([i]) * (i + 1)) for i in range(7)]
    request = request_text("put", "/v1/rounds/x?wait=3", "alpha", 1_800_000_000, "00" * 16, "11" * 32)
    return {
        "canonical": [
            {"value": value, "hex": canonical(value).hex()}
            for value in ({"b": 1, "a": [True, None, "é\n"]}, 1e21, 0.1, 1.0, -0.0, "\u20ac$\u000f", [])
        ],
        "canonical_refused": [
            text.encode().hex()
            for text in ('{"b":1,"a":2}', '{"a": 1}', '{"a":1.0}', '{"a":1,"a":1}', "NaN", "[" * 13 + "]" * 13)
        ],
        "merkle": [
            {"shard_digests": [d.hex() for d in leaves[:n]], "root": merkle.root(leaves[:n])} for n in range(1, 8)
        ],
        "signing": {
            "seed": SEED.hex(),
            "ed25519_public": key.public.ed25519,
            "ml_dsa_65_public": key.public.ml_dsa_65,
            "message": signed.hex(),
            "body_digest": acceptance.digest,
        },
        "countersigning": {"signers": list(SIGNERS), "message": both.hex(), "body_digest": acceptance.digest},
        "join": {"body": join.canonical_bytes.hex(), "digest": join.digest},
        "request": {"text": request.hex(), "ed25519": key.sign_request(request)},
        "frame": {
            "message": b"{}".hex(),
            "attachment": b"\x00\x01".hex(),
            "frame": frame(b"{}", b"\x00\x01").hex(),
        },
        "words": {"digest": acceptance.digest, "words": words(acceptance.digest)},
        "ledger": [line.hex() for line in ledger_lines()],
    }


def ledger_lines() -> list[bytes]:
    """A chain of one reservation, its charge, a lapse and an officer's action."""
    head, lines = EMPTY, []
    first = BudgetMove("reserve", "alpha", "cd" * 32, 1, 1, EVENT, "train")
    second = BudgetMove("reserve", "alpha", "dd" * 32, 1, 2, EVENT, "train")
    steps = [
        (first, RowTotals(0, 0), False),
        (BudgetMove("charge", *_rest(first)), RowTotals(0, 1), True),
        (second, RowTotals(1, 0), False),
        (BudgetMove("lapse", *_rest(second)), RowTotals(1, 1), True),
    ]
    for at, (move, before, held) in enumerate(steps):
        entry = next_budget_entry(head, "ab" * 32, 1_800_000_000 + at, move, before, held)
        lines.append(entry.canonical_bytes)
        head = ChainHead(count=entry.index, head=entry.digest)
    lines.append(next_action_entry(head, "ab" * 32, 1_800_000_009, "alpha", "suspended on request").canonical_bytes)
    return lines


def _rest(move: BudgetMove) -> tuple[str, str, int, int, PrivacyEvent, str]:
    return move.participant, move.plan, move.round, move.attempt, move.event, move.row


def _countersigned(acceptance: CharterAcceptance, key: SigningKey) -> bytes:
    first, second = SIGNERS
    return countersign(sign(acceptance, first, key), second, key).canonical_bytes


def _kept(kept: str | None, key: SigningKey, *signers: str) -> bytes | None:
    if kept is None:
        return None
    raw = bytes.fromhex(kept)
    try:
        verify(parse_signed(CharterAcceptance, raw), dict.fromkeys(signers, key.public))
    except ChoraleError:
        return None
    return raw


def kept_messages() -> dict[str, str]:
    held = json.loads(PATH.read_text()) if PATH.exists() else {}
    return {name: held[name]["message"] for name in ("signing", "countersigning") if name in held}


def main() -> None:
    PATH.write_text(json.dumps(build(kept_messages()), indent=1, ensure_ascii=True) + "\n")


if __name__ == "__main__":
    main()
