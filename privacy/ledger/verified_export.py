"""What a whole file proves, once verification.py has read it: for programs, for scripts and for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from privacy.ledger.chain import ChainTotals
from privacy.ledger.export import Chain
from privacy.protocol.messages import ChainHead, Charter
from privacy.protocol.printable import visible
from privacy.protocol.words import words


@dataclass(frozen=True)
class VerifiedExport:
    """`countersigned`: the longest chain that each partner has countersigned."""

    chain: Chain
    charters: tuple[Charter, ...]
    partner: str | None
    head: ChainHead
    countersigned: Mapping[str, ChainHead]
    totals: ChainTotals

    @property
    def names(self) -> dict[str, str]:
        """Everyone who was ever on the roster: id, and the newest name."""
        return {entry.partner: entry.name for charter in self.charters for entry in charter.roster}

    @property
    def not_countersigned(self) -> tuple[str, ...]:
        """Who on the newest roster countersigned nothing; nobody is asked to in an own chain."""
        if self.partner is not None:
            return ()
        return tuple(partner for partner in self.charters[-1].partners if partner not in self.countersigned)

    def described(self) -> dict[str, Any]:
        """For scripts, with ids; `words` are what people compare."""
        newest = self.charters[-1]
        charged: dict[str, int] = {}
        for (_, participant, _), row in self.totals.rows.items():
            charged[participant] = charged.get(participant, 0) + row.charged
        return {
            "consortium": newest.consortium,
            "epoch": newest.epoch,
            "charter": newest.digest,
            "words": words(newest.digest),
            "chain": "the consortium's" if self.partner is None else f"{self.partner}'s own",
            "entries": self.head.count,
            "head": self.head.head,
            "charged": dict(sorted(charged.items())),
            "countersigned": {partner: head.count for partner, head in sorted(self.countersigned.items())},
            "not_countersigned": list(self.not_countersigned),
            "names": dict(sorted(self.names.items())),
        }

    def told(self) -> dict[str, str]:
        """For people: the same, each participant by name and id."""
        said = self.described()
        names = said.pop("names")

        def called(partner: str) -> str:
            return f"{visible(names[partner])} ({partner})"

        def counted(counts: Mapping[str, int], before: str = "") -> str:
            return "; ".join(f"{called(who)} {before}{count}" for who, count in counts.items()) or "nobody"

        said["charged"] = counted(said["charged"])
        countersigned, without = said.pop("countersigned"), said.pop("not_countersigned")
        if self.partner is None:
            said["countersigned"] = counted(countersigned, "up to entry ")
            if without:
                said["not by"] = "; ".join(called(partner) for partner in without)
        return {name: str(value) for name, value in said.items()}
