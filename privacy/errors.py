"""The whole error tree.

Rules:
1. Every error says three things: what was expected, what came, and what to do next.
2. A class is a kind of failure that a caller treats differently; its `code` is the stable name that goes
   over the wire (RFC 9457 `type`) and into logs. The HTTP status belongs to the kind, so both sides agree.
3. Verification raises one of these; nothing here returns a flag.
This module knows nothing of HTTP libraries, and holds no secrets: messages may be logged.
"""

from __future__ import annotations

from typing import ClassVar


class ChoraleError(Exception):
    """Root of all errors the project raises on purpose."""

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500

    def __init__(self, expected: str, came: str, remedy: str) -> None:
        super().__init__(f"expected {expected}; came {came}; {remedy}")
        self.expected = expected
        self.came = came
        self.remedy = remedy

    def __reduce__(self) -> tuple[object, ...]:
        # The constructors take more than `args` holds; errors cross from the processes of a pool.
        return type(self).__new__, (type(self), *self.args), self.__dict__


# --- what came from outside is not acceptable ---------------------------------------------------------


class MalformedMessage(ChoraleError):
    """Not canonical, not of the schema, or not of the length it must have."""

    code = "malformed-message"
    status = 422


class TooLarge(ChoraleError):
    code = "too-large"
    status = 413


class DigestMismatch(ChoraleError):
    """Bytes are not those that a signed message, a header or a root names."""

    code = "digest-mismatch"
    status = 422


class BadSignature(ChoraleError):
    """A signature is absent, false, or by a key that may not sign this."""

    code = "bad-signature"
    status = 401


class NotAuthenticated(ChoraleError):
    """The request around a message is unsigned, stale or replayed."""

    code = "not-authenticated"
    status = 401


class ClockSkew(NotAuthenticated):
    code = "clock-skew"


class ReplayedRequest(NotAuthenticated):
    code = "replayed-request"


class TooManyAttempts(ChoraleError):
    """Tried more often than a secret may be guessed at; later it goes on."""

    code = "too-many-attempts"
    status = 429


class TooManyRequests(ChoraleError):
    """More requests than one identity, or one address, may send; `retry_after` seconds later it goes on."""

    code = "too-many-requests"
    status = 429

    def __init__(self, expected: str, came: str, remedy: str, retry_after: int = 1) -> None:
        super().__init__(expected, came, remedy)
        self.retry_after = retry_after


class QuotaReached(ChoraleError):
    """As many as may lie there at once are there already."""

    code = "quota-reached"
    status = 409


class NotAllowed(ChoraleError):
    """Known, but not of the role or the roster that this needs."""

    code = "not-allowed"
    status = 403


class NotFound(ChoraleError):
    code = "not-found"
    status = 404


class Conflict(ChoraleError):
    """Differs from what was accepted before; what was accepted stays."""

    code = "conflict"
    status = 409


class WrongState(Conflict):
    """A legal message at a moment when the round, charter or campaign does not take it."""

    code = "wrong-state"


class DeadlinePassed(WrongState):
    code = "deadline-passed"


class AttemptOver(WrongState):
    """A round attempt ended before this partner was in a cohort; nothing was charged, the next one comes."""

    code = "attempt-over"


class WeakerThanCharter(ChoraleError):
    """A plan or campaign promises less than the charter that everyone signed."""

    code = "weaker-than-charter"
    status = 422


class StorageFull(ChoraleError):
    code = "storage-full"
    status = 507


# --- the budget ---------------------------------------------------------------------------------------


class BudgetExhausted(ChoraleError):
    code = "budget-exhausted"
    status = 409


class ParticipantSuspended(ChoraleError):
    """An officer has stopped this participant: nothing more is charged to it until officers let it go on."""

    code = "participant-suspended"
    status = 403


class AccountingFailed(ChoraleError):
    """The accountant's answer is not a number one may rely on (NaN, negative, infinite order): fail closed."""

    code = "accounting-failed"
    status = 500


# --- cryptography -------------------------------------------------------------------------------------


class OutOfRange(ChoraleError):
    """A number outside its stated range: a ring word >= q, a share >= p, a lane beyond its offset."""

    code = "out-of-range"
    status = 422


class UnsafeParameters(ChoraleError):
    """Parameters outside the bounds within which exactness or security was shown."""

    code = "unsafe-parameters"
    status = 422


class BoxRefused(ChoraleError):
    """An HPKE box that does not open, or whose content is not what a box must hold."""

    code = "box-refused"
    status = 422


class KeyRefused(ChoraleError):
    """A public key to which nothing can be encapsulated."""

    code = "key-refused"
    status = 422


class NotEnoughOpenings(ChoraleError):
    code = "not-enough-openings"
    status = 409


class OpeningFailed(ChoraleError):
    """The summed key does not open the sum within its error bound, or no decoding of the shares does."""

    code = "opening-failed"
    status = 422


class FingerprintMismatch(ChoraleError):
    """The sum the service published is not the sum of the uploads that were fingerprinted."""

    code = "fingerprint-mismatch"
    status = 422


class CheckRefused(ChoraleError):
    """One of the numbered opening checks (protocol 4.4) failed; `number` names it."""

    code = "opening-refused"
    status = 422

    def __init__(self, number: int, expected: str, came: str, remedy: str) -> None:
        super().__init__(expected, came, remedy)
        self.number = number

    def __str__(self) -> str:
        return f"opening check {self.number} refused: {super().__str__()}"


# --- the ledger ---------------------------------------------------------------------------------------


class LedgerBroken(ChoraleError):
    """A chain that does not verify; `line` (from 1) is the first line found wrong."""

    code = "ledger-broken"
    status = 422

    def __init__(self, line: int, expected: str, came: str, remedy: str) -> None:
        super().__init__(expected, came, remedy)
        self.line = line


class RolledBack(ChoraleError):
    """State on disk is older than what was seen before: a restored folder. Nothing goes on from it."""

    code = "rolled-back"
    status = 409


# --- the partner's own machine ------------------------------------------------------------------------


class PolicyRefused(ChoraleError):
    """The partner's own policy says no; nothing that comes from the server lifts it."""

    code = "policy-refused"
    status = 409


class FolderInUse(ChoraleError):
    code = "folder-in-use"
    status = 409


class KeystoreLocked(ChoraleError):
    code = "keystore-locked"
    status = 401


class UnsupportedModel(ChoraleError):
    """A model whose per-record gradients cannot be had, or depend on other records."""

    code = "unsupported-model"
    status = 422


class ServiceUnavailable(ChoraleError):
    """The service did not answer within the retries; nothing was lost, running again goes on."""

    code = "service-unavailable"
    status = 503


class BodyTooSlow(ServiceUnavailable):
    """A request's body that does not keep a pace. It was not taken; its connection ends."""

    code = "body-too-slow"


class ConfigurationError(ChoraleError):
    """A settings file, flag or folder that cannot be used as it is."""

    code = "configuration"
    status = 422
