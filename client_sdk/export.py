"""A trained model to take away: torch tensors by name, and a card that says what it is and what it cost.

Rules:
1. Only confirmed states (or the genesis) are exported: the state is what t partners agreed on.
2. Both epsilons are this partner's, from its own ledger; the other partners' ledgers say theirs.
3. The card names hashes of everything it speaks of, so that an auditor can check it against the log.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import torch

from client_sdk.durable import make_folder, write_durably
from client_sdk.model_state import ModelState
from privacy.protocol.canonical import digest
from privacy.protocol.messages import Campaign, Charter
from privacy.report.budget_report import GuaranteeBudget, ParticipantBudget

TENSORS = "model.pt"
CARD = "MODEL_CARD.md"

_MEANING = {
    "in_sum": "against everyone who sees the model or the opened sums, colluding partners included",
    "alone": "against whoever opened one of this partner's uploads, which a quorum of partners refuses to do",
}


_LISTED = 12
_CARD = """\
# {campaign.name}

Trained by {charter.n_max} organisations of the consortium "{charter.consortium}", epoch {charter.epoch}, over
{state.round} confirmed rounds. No organisation saw another's data or update: only sums of at least {charter.n_min}
updates were opened, by a quorum of the organisations together.

## Data

Unit of privacy: {charter.privacy_unit}. The data never left the organisations that hold them. Whether and how
updates were made private before they were encrypted and sent is what the next table says.

## Privacy

From the ledger of {spent.name} ({spent.partner}), at delta {spent.delta:g}, as if the number of rounds had been
fixed; {spent.charged} attempts charged, {spent.charged_without_result} of them without a result.

| guarantee | epsilon | cap | holds | chance to tell, from even odds, whether one unit took part |
|---|---|---|---|---|
{rows}

Epsilon bounds what anyone can learn about one unit of privacy, whatever else they know; a smaller one protects
more. The last column is the best that any test could do; a coin gives 50 %.

## Training

- update rule: {rule}
- clip {campaign.clip:g}, denominator {campaign.denominator:g}
- {campaign.length:,} shared parameters: {listed}

## Hashes (SHA-256)

| of | hash |
|---|---|
| {tensors} | `{tensors_digest}` |
| model state after round {state.round} | `{state.digest}` |
| genesis | `{campaign.genesis}` |
| campaign | `{campaign.digest}` |
| charter | `{charter.digest}` |

## Limits

Nothing here defends against poisoned updates beyond the checks after opening. The model's quality is for its users
to measure, on data of their own.
"""


@dataclass(frozen=True)
class Exported:
    tensors: Path
    card: Path
    tensors_digest: str


def tensors(state: ModelState, campaign: Campaign, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    """The shared parameters by name, in the campaign's order; a state dict of the shared part of the module."""
    state.check(campaign)
    found: dict[str, torch.Tensor] = {}
    at = 0
    for parameter in campaign.parameters:
        part = torch.from_numpy(state.parameters[at : at + parameter.size].copy())
        found[parameter.name] = part.reshape(parameter.shape).to(dtype)
        at += parameter.size
    return found


def export(
    folder: Path, state: ModelState, campaign: Campaign, charter: Charter, spent: ParticipantBudget
) -> Exported:
    """Write model.pt and MODEL_CARD.md into `folder`. spent: this partner's figures from its own ledger."""
    buffer = io.BytesIO()
    torch.save(tensors(state, campaign), buffer)
    raw = buffer.getvalue()
    make_folder(folder)
    write_durably(folder / TENSORS, raw)
    card = model_card(state, campaign, charter, spent, digest(raw))
    write_durably(folder / CARD, card.encode("utf-8"))
    return Exported(folder / TENSORS, folder / CARD, digest(raw))


def model_card(
    state: ModelState, campaign: Campaign, charter: Charter, spent: ParticipantBudget, tensors_digest: str
) -> str:
    """Markdown."""
    rule = campaign.update_rule
    momenta = (
        f"momentum {rule.momentum:g}"
        if rule.kind == "sgd"
        else f"beta {rule.beta1:g} and {rule.beta2:g}, epsilon {rule.epsilon:g}"
    )
    listed = ", ".join(f"`{p.name}` {list(p.shape)}" for p in campaign.parameters[:_LISTED])
    more = len(campaign.parameters) - _LISTED
    return _CARD.format(
        campaign=campaign,
        charter=charter,
        state=state,
        spent=spent,
        rows="\n".join(_row(guarantee) for guarantee in spent.guarantees),
        rule=f"{rule.kind}, learning rate {rule.learning_rate:g}, {momenta}, weight decay {rule.weight_decay:g}",
        listed=listed + (f" and {more} more" if more > 0 else ""),
        tensors=TENSORS,
        tensors_digest=tensors_digest,
    )


def _row(guarantee: GuaranteeBudget) -> str:
    name = "in the sum" if guarantee.guarantee == "in_sum" else "alone"
    spent = guarantee.epsilon if isinstance(guarantee.epsilon, str) else f"{guarantee.epsilon:.2f}"
    meaning = _MEANING[guarantee.guarantee]
    return f"| {name} | {spent} | {guarantee.cap:g} | {meaning} | {guarantee.even_odds:.0%} |"
