"""A consortium on paper, for the operator's tests: real keys and messages, and nobody who runs."""

from dataclasses import dataclass
from hashlib import sha256

from privacy.dp.caps import Caps
from privacy.dp.events import PrivacyEvent, TableRow
from privacy.he.boxes import BoxKey
from privacy.protocol.identifiers import ZERO_DIGEST
from privacy.protocol.messages import Campaign, Charter, Enrolment, ParameterShape, RosterEntry, Signed, UpdateRule
from privacy.protocol.signing import SigningKey, sign
from tests.consortium import ManualClock, SeededSource

PARTNERS = ("ash", "birch", "cedar", "dogwood", "elm")
ROW = TableRow(
    name="training", event=PrivacyEvent(kind="distributed", noise_multiplier=4.0, sampling_rate=0.1), count=10
)
CAPS = Caps(epsilon_alone=100.0, epsilon_in_sum=50.0, delta=1e-5)


class Clock(ManualClock):
    """A clock whose `sleep` moves it."""

    def sleep(self, seconds):
        self.seconds += seconds


def digest_of(text):
    return sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Consortium:
    operator: SigningKey
    server: SigningKey
    partners: dict[str, SigningKey]
    result_keys: dict[str, str]
    charter: Charter
    campaign: Signed[Campaign]


def make_consortium():
    operator, server = SigningKey.generate(SeededSource("operator")), SigningKey.generate(SeededSource("server"))
    partners = {name: SigningKey.generate(SeededSource(name)) for name in PARTNERS}
    result_keys = {name: BoxKey.generate().public_bytes.hex() for name in PARTNERS}
    charter = Charter(
        consortium="Test wood",
        epoch=1,
        previous=ZERO_DIGEST,
        roster=tuple(
            RosterEntry(
                partner=name,
                name=name.title(),
                signing_keys=partners[name].public,
                result_key=result_keys[name],
                caps=CAPS,
            )
            for name in PARTNERS
        ),
        n_min=4,
        colluders=1,
        parameter_set="bfv-4096-60",
        privacy_unit="one record",
        table=(ROW,),
        allow_none=False,
        lead="ash",
        operator_keys=operator.public,
        server_keys=server.public,
    )
    campaign = Campaign(
        charter=charter.digest,
        name="leaves",
        parameters=(ParameterShape(name="w", shape=(20, 5)),),
        update_rule=UpdateRule(kind="sgd", learning_rate=0.1),
        clip=1.0,
        denominator=100.0,
        genesis=digest_of("genesis"),
    )
    return Consortium(operator, server, partners, result_keys, charter, sign(campaign, "ash", partners["ash"]))


def enrolment(consortium, partner):
    body = Enrolment(
        invitation=digest_of(partner),
        partner=partner,
        name=partner.title(),
        signing_keys=consortium.partners[partner].public,
        result_key=consortium.result_keys[partner],
        caps=CAPS,
    )
    return sign(body, partner, consortium.partners[partner])


def dump(message):
    return message.model_dump(mode="json")
