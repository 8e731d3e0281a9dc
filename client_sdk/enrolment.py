"""How a partner enters a consortium: keys, enrolment, and a charter accepted by comparing words (protocol 4.0).

Rules:
1. Keys are on disk before the enrolment that names them is sent.
2. A charter is accepted only if its own entry is what this partner enrolled, its numbers are safe, and this
   machine's policy allows it; and only by the hash whose words people compared outside the service.
3. Where the policy names an officer's key, nothing is accepted without that officer's consent.
4. A pinned charter is replaced only by the next epoch that names it as `previous`.
5. A folder that begins with a later epoch, since the one before was lost, takes up what this partner accepted then:
   each charter by the hash that its successor names, with the acceptance that the former keys signed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from client_sdk.durable import FolderLock, make_folder
from client_sdk.keystore import KEYSTORE_NAME, PartnerKeys, Passphrase, create_keys, load_keys
from client_sdk.officer_consent import require_consent
from client_sdk.partner import PINNED_CHARTER, Outside, Partner
from client_sdk.policy import Policy
from client_sdk.service import Service
from client_sdk.settings import LoadedSettings, load_settings
from client_sdk.transport import LONG_POLL_SECONDS, Transport
from privacy.errors import ConfigurationError, LedgerBroken, NotAllowed, WeakerThanCharter
from privacy.ledger.export import preamble_messages
from privacy.protocol.canonical import digest
from privacy.protocol.identifiers import OPERATOR, ZERO_DIGEST
from privacy.protocol.messages import (
    Charter,
    CharterAcceptance,
    Enrolment,
    RosterEntry,
    Signed,
    parse_signed,
)
from privacy.protocol.plan_checks import check_acceptances, check_charter
from privacy.protocol.signing import sign
from privacy.protocol.words import words


@dataclass(frozen=True)
class Offered:
    """A charter as the service shows it. `words`: what people compare over another line."""

    signed: Signed[Charter]
    words: str
    accepted_by: tuple[str, ...]
    in_force: bool

    @property
    def charter(self) -> Charter:
        return self.signed.body


def enrol(config: Path, token: str, outside: Outside, passphrase: Passphrase | None = None) -> str:
    """Make keys (or take those of a try before), send the enrolment; the words of its digest, to compare.

    Raises ConfigurationError, KeystoreLocked, FolderInUse, and what the service refuses.
    """
    loaded = load_settings(config)
    folder = make_folder(loaded.folder)
    with FolderLock(folder):
        if (folder / KEYSTORE_NAME).exists():
            keys = load_keys(folder, passphrase)
        else:
            keys = create_keys(folder, passphrase, outside.source)
        body = enrolment_message(loaded, keys, token)
        with Transport(
            loaded.settings.server.url,
            None,
            outside.clock,
            outside.source,
            patience=loaded.settings.server.patience,
            progress=outside.progress,
            handler=outside.handler,
            sleep=outside.sleep,
        ) as transport:
            Service(transport).enrol(token, sign(body, body.partner, keys.signing))
    return words(body.digest)


def enrolment_message(loaded: LoadedSettings, keys: PartnerKeys, token: str) -> Enrolment:
    return Enrolment(
        invitation=digest(token.encode()),
        partner=loaded.settings.partner.id,
        name=loaded.settings.partner.name,
        signing_keys=keys.signing.public,
        result_key=keys.result.public_bytes.hex(),
        caps=loaded.settings.caps,
    )


def wait_for_approval(partner: Partner, until: float) -> bool:
    """Whether the operator approved before `until` (seconds since 1970)."""
    while partner.service.enrolment_state(partner.name, LONG_POLL_SECONDS) != "approved":
        if partner.outside.clock.now() >= until:
            return False
    return True


def offered_charter(partner: Partner, wait: int = 0) -> Offered:
    """The newest charter, signed by the operator it names; nothing of it is pinned. Raises BadSignature."""
    signed, acceptances, in_force = partner.service.latest_charter(wait)
    partner.verifier.verify(signed, {OPERATOR: signed.body.operator_keys})
    return Offered(signed, words(signed.digest), tuple(sorted(acceptances)), in_force)


def other_keys(partner: Partner, charter: Charter) -> tuple[str, ...]:
    """Partners whose keys are others than in the charter that this partner accepted last: they enrolled anew."""
    before = {entry.partner: entry for signed in partner.charters()[-1:] for entry in signed.body.roster}
    return tuple(
        entry.partner
        for entry in charter.roster
        if entry.partner in before
        and (entry.signing_keys, entry.result_key)
        != (before[entry.partner].signing_keys, before[entry.partner].result_key)
    )


def accept_charter(partner: Partner, offered: Offered, confirmed_digest: str, consent: Path | None = None) -> None:
    """Check, pin and sign the charter whose digest a person confirmed. Harmless to call again.

    consent: file with the officer's, where the policy asks for one and the journal does not hold it yet.
    Raises WeakerThanCharter, UnsafeParameters, PolicyRefused, NotAllowed.
    """
    charter = offered.charter
    if len(confirmed_digest) != len(charter.digest):
        raise ConfigurationError(
            f"a charter's hash of {len(charter.digest)} hex characters",
            f"{len(confirmed_digest)}",
            "copy it whole, as charter show prints it",
        )
    if charter.digest != confirmed_digest:
        raise WeakerThanCharter(
            f"the charter that was confirmed, {confirmed_digest}",
            f"{charter.digest}",
            "read its words again and compare them with the others'",
        )
    policy = Policy(partner.settings, partner.journal, partner.own_ledger)
    _check_own_entry(partner, charter)
    check_charter(charter)
    policy.check_charter(charter, partner.name)
    _check_succession(partner, charter)
    require_consent(partner, charter, consent)
    acceptance = partner.sign(CharterAcceptance(charter=charter.digest, partner=partner.name))
    _take_up_the_past(partner, charter)
    policy.check_lifetime(charter, partner.name, (signed.body for signed in partner.charters()))
    partner.pin(offered.signed)
    partner.service.accept_charter(acceptance)


def wait_in_force(partner: Partner, until: float) -> bool:
    """Whether everyone on the roster of the pinned charter signed it before `until`; verified here."""
    while True:
        signed, acceptances, in_force = partner.service.latest_charter(LONG_POLL_SECONDS)
        if signed.digest == partner.charter.digest and in_force:
            check_acceptances(partner.charter, acceptances, partner.verifier)
            return True
        if partner.outside.clock.now() >= until:
            return False


def _check_own_entry(partner: Partner, charter: Charter) -> None:
    if partner.name not in charter.partners:
        raise NotAllowed(f"{partner.name} on the charter's roster", "a roster without it", "ask the operator")
    expected = RosterEntry(
        partner=partner.name,
        name=partner.settings.partner.name,
        signing_keys=partner.keys.signing.public,
        result_key=partner.keys.result.public_bytes.hex(),
        caps=partner.settings.caps,
    )
    came = charter.entry(partner.name)
    for field in RosterEntry.model_fields:
        if getattr(came, field) != getattr(expected, field):
            raise WeakerThanCharter(
                f"{partner.name}'s own {field.replace('_', ' ')} as it enrolled: {getattr(expected, field)!s:.60}",
                f"{getattr(came, field)!s:.60}",
                "sign nothing: the charter misstates this partner",
            )


def _take_up_the_past(partner: Partner, charter: Charter) -> None:
    """Rule 5. Raises LedgerBroken, BadSignature where the service's charters are not those that led to this one."""
    if charter.previous == ZERO_DIGEST or partner.journal.fact(PINNED_CHARTER) is not None:
        return
    try:
        preamble = partner.service.ledger_preamble()
    except NotAllowed:
        return  # it is on no roster so far: nothing was ever charged to it
    accepted = {
        (signed.body.charter, signed.body.partner): signed
        for signed in preamble_messages(preamble, CharterAcceptance)
    }
    charters = {signed.digest: signed for signed in preamble_messages(preamble, Charter)}
    wanted = charter.previous
    while wanted != ZERO_DIGEST:
        signed = charters.get(wanted)
        if signed is None:
            raise LedgerBroken(
                0,
                f"the charter that a later one names as the one before, {wanted[:16]}",
                "none in the service's ledger",
                "do not go on: ask another partner for its ledger export",
            )
        body = partner.verifier.verify(signed, {OPERATOR: charter.operator_keys})
        mine = accepted.get((wanted, partner.name))
        if mine is not None and partner.name in body.partners:
            partner.verifier.verify(mine, {partner.name: body.entry(partner.name).signing_keys})
            partner.remember(signed, mine)
        wanted = body.previous


def _check_succession(partner: Partner, charter: Charter) -> None:
    raw = partner.journal.fact(PINNED_CHARTER)
    if raw is None:
        if charter.previous != ZERO_DIGEST and charter.epoch == 1:
            raise WeakerThanCharter("no charter before the first epoch", charter.previous[:16], "ask the operator")
        return
    pinned = parse_signed(Charter, raw).body
    if charter.digest == pinned.digest:
        return
    if charter.epoch != pinned.epoch + 1 or charter.previous != pinned.digest:
        raise WeakerThanCharter(
            f"epoch {pinned.epoch + 1} after charter {pinned.digest[:16]}",
            f"epoch {charter.epoch} after {charter.previous[:16]}",
            "sign nothing: this is not the successor of the charter that this partner pinned",
        )
