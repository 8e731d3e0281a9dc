"""The consortium's chain in the database: appended to in the transaction of what it records (protocol 6.4).

Rules:
1. Entries come from privacy.ledger.chain alone; they, the head and the holdings are written in one transaction.
2. The head row is locked by whoever appends, before it reads what it decides by: so the chain has one order, and
   no two joins see the same room.
3. Whether a budget has room is privacy.dp.budget's decision, over the holdings under one charter.
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import select
from sqlalchemy.orm import Session

from aggregator.storage import oversight
from aggregator.storage.tables import HoldingRow, LedgerEntryRow, LedgerHeadRow
from privacy.dp.budget import Budget, Holding, HoldingState
from privacy.dp.events import PrivacyEvent
from privacy.dp.tightening import limited
from privacy.errors import LedgerBroken
from privacy.ledger.chain import EMPTY, BudgetMove, RowTotals, next_action_entry, next_budget_entry, read_line
from privacy.ledger.entry import NO_ROW, BudgetChange, EntryKind, LedgerEntry, OfficersAction
from privacy.protocol.messages import ChainHead, Charter, Plan

_CHAIN = "consortium"
_PAGE = 500
_HELD: dict[EntryKind, HoldingState] = {
    "reserve": HoldingState.RESERVED,
    "charge": HoldingState.CHARGED,
    "recovered": HoldingState.CHARGED,
    "lapse": HoldingState.LAPSED,
}
_STATES: dict[str, HoldingState] = {state.value: state for state in HoldingState}


def head(session: Session) -> ChainHead:
    row = session.get_one(LedgerHeadRow, _CHAIN)
    return ChainHead(count=row.count, head=row.head)


def head_at(session: Session, count: int) -> str | None:
    """The hash of entry `count`; of nothing at 0; None where the chain is shorter."""
    if count == 0:
        return EMPTY.head
    row = session.get(LedgerEntryRow, count)
    return None if row is None else row.digest


def budget(session: Session, charter: Charter, charter_digest: str, participant: str) -> Budget:
    """A participant's budget under one charter, and under the caps that officers have tightened since."""
    rows = session.scalars(
        select(HoldingRow).where(HoldingRow.charter == charter_digest, HoldingRow.participant == participant)
    )
    index = {row.name: place for place, row in enumerate(charter.table)}
    holdings = {
        row.round: Holding(PrivacyEvent.model_validate_json(row.event), index.get(row.row), _STATES[row.state])
        for row in rows
    }
    left = oversight.limits(session, charter_digest, participant)
    tightened = oversight.caps(session, charter_digest, participant)
    return Budget(limited(charter.table, left), holdings, charter.filter_for(participant, tightened))


def reserve(session: Session, charter: Charter, plan: Plan, plan_digest: str, participant: str, at: int) -> None:
    """Reserve the plan's event. Raises BudgetExhausted and writes nothing when no row has room."""
    _locked_head(session)
    before = budget(session, charter, plan.charter, participant)
    after = before.reserve(plan_digest, plan.event)
    if after is before:
        return
    place = after.holdings[plan_digest].row
    if place is None:
        raise LedgerBroken(0, "a row for a reservation", "none", "the budget rules are broken")
    row = charter.table[place].name
    session.add(
        HoldingRow(
            participant=participant,
            round=plan_digest,
            charter=plan.charter,
            number=plan.round,
            attempt=plan.attempt,
            event=plan.event.model_dump_json().encode(),
            row=row,
            state=HoldingState.RESERVED.value,
        )
    )
    move = BudgetMove.of_plan("reserve", participant, plan, row)
    _append_move(session, plan.charter, at, move, held=False)


def settle(
    session: Session, charter: Charter, plan: Plan, plan_digest: str, members: frozenset[str], at: int
) -> None:
    """Charge each member's reservation of this attempt, and lapse everyone else's."""
    _locked_head(session)
    reserved = session.scalars(
        select(HoldingRow)
        .where(HoldingRow.round == plan_digest, HoldingRow.state == HoldingState.RESERVED.value)
        .order_by(HoldingRow.participant)
    ).all()
    for holding in reserved:
        standing = budget(session, charter, plan.charter, holding.participant)
        kind: EntryKind = "charge" if holding.participant in members else "lapse"
        after = standing.charge(plan_digest) if kind == "charge" else standing.lapse(plan_digest)
        move = BudgetMove.of_plan(kind, holding.participant, plan, holding.row)
        _append_move(session, plan.charter, at, move, held=True)
        holding.state = after.holdings[plan_digest].state.value
        session.flush()


def record_action(
    session: Session,
    charter: str,
    at: int,
    participant: str | None,
    reason: str,
    action: OfficersAction | None = None,
) -> int:
    """Write down what was done that touches no budget; gives the entry's index."""
    entry = next_action_entry(_locked_head(session), charter, at, participant, reason, action)
    _append(session, entry)
    return entry.index


def lines(session: Session, after: int, limit: int) -> Iterator[bytes]:
    """Canonical entries from `after` + 1 on, at most `limit`, a page of rows at a time."""
    last = after + limit
    while after < last:
        page = session.scalars(
            select(LedgerEntryRow.entry)
            .where(LedgerEntryRow.index > after, LedgerEntryRow.index <= min(last, after + _PAGE))
            .order_by(LedgerEntryRow.index)
        ).all()
        if not page:
            return
        yield from page
        after += len(page)


def replay(session: Session, line: bytes) -> LedgerEntry:
    """Append an entry that was lost, as it was, and take up what it says of holdings. Raises LedgerBroken.

    The caller has verified that it follows; what an officer's action changed besides is the caller's to take up.
    """
    chain = _locked_head(session)
    entry = read_line(chain.count + 1, line)
    if (entry.index, entry.previous) != (chain.count + 1, chain.head):
        raise LedgerBroken(chain.count + 1, f"the entry after {chain.head[:16]}", "another", "give it in its order")
    if entry.budget is not None and entry.participant is not None:
        _hold(session, entry.charter, entry.participant, entry.budget, _HELD[entry.kind])
    _append(session, entry)
    return entry


def recover(
    session: Session, charter: Charter, change: BudgetChange, participant: str, at: int, reason: str
) -> bool:
    """Charge what another chain or a cohort proves, room or not; False where it is charged already.

    change: whose totals are computed anew, and its row unless the attempt is reserved in one. Raises Conflict on
    another event than is held.
    """
    _locked_head(session)
    there = session.get(HoldingRow, (participant, change.plan))
    if there is not None and there.state == HoldingState.CHARGED.value:
        return False
    before = budget(session, charter, charter.digest, participant)
    held = before.holdings.get(change.plan)
    after = before.charge_recovered(change.plan, change.event)
    place = after.holdings[change.plan].row
    row = NO_ROW if place is None else charter.table[place].name
    move = BudgetMove("recovered", participant, change.plan, change.round, change.attempt, change.event, row)
    reserved = held is not None and held.state is HoldingState.RESERVED
    _append_move(session, charter.digest, at, move, held=reserved, reason=reason)
    _hold(session, charter.digest, participant, change.model_copy(update={"row": row}), HoldingState.CHARGED)
    session.flush()
    return True


def _hold(session: Session, charter: str, participant: str, change: BudgetChange, state: HoldingState) -> None:
    row = session.get(HoldingRow, (participant, change.plan))
    if row is None:
        row = HoldingRow(
            participant=participant,
            round=change.plan,
            charter=charter,
            number=change.round,
            attempt=change.attempt,
            event=change.event.model_dump_json().encode(),
        )
        session.add(row)
    row.row, row.state = change.row, state.value


def _append_move(
    session: Session, charter: str, at: int, move: BudgetMove, *, held: bool, reason: str = ""
) -> None:
    # First the head: what another writer appends meanwhile must be among the totals.
    chain = _locked_head(session)
    last = session.scalars(
        select(LedgerEntryRow)
        .where(
            LedgerEntryRow.charter == charter,
            LedgerEntryRow.participant == move.participant,
            LedgerEntryRow.row == move.row,
        )
        .order_by(LedgerEntryRow.index.desc())
        .limit(1)
    ).first()
    before = RowTotals() if last is None else RowTotals(last.charged or 0, last.reserved or 0)
    _append(session, next_budget_entry(chain, charter, at, move, before, held, reason))


def _locked_head(session: Session) -> ChainHead:
    query = select(LedgerHeadRow).where(LedgerHeadRow.chain == _CHAIN).with_for_update()
    row = session.scalars(query.execution_options(populate_existing=True)).one()
    return ChainHead(count=row.count, head=row.head)


def _append(session: Session, entry: LedgerEntry) -> None:
    digest = entry.digest
    change = entry.budget
    session.add(
        LedgerEntryRow(
            index=entry.index,
            digest=digest,
            at=entry.at,
            charter=entry.charter,
            kind=entry.kind,
            participant=entry.participant,
            round=change.plan if change else None,
            row=change.row if change else None,
            charged=change.charged if change else None,
            reserved=change.reserved if change else None,
            entry=entry.canonical_bytes,
        )
    )
    row = session.get_one(LedgerHeadRow, _CHAIN)
    row.count, row.head = entry.index, digest
    session.flush()
