"""`partner.toml`: where the service is, who this partner is, its caps, and its own policy.

Rules:
1. Unknown keys are refused: a misspelt cap must not pass for an absent one.
2. Paths are relative to the file. Nothing secret stands in it; keys are in the keystore.
What a charter or the service says never changes these; only an editor does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from privacy.dp.caps import Caps
from privacy.errors import ConfigurationError
from privacy.protocol.identifiers import DisplayName, Model, PartnerId
from privacy.protocol.toml_text import parse_toml
from privacy.web_address import is_web_address

Epsilon = Annotated[float, Field(gt=0)]


class PartnerSection(Model):
    id: PartnerId
    name: DisplayName


class ServerSection(Model):
    url: Annotated[str, Field(min_length=8, max_length=300)]
    # How long to go on trying before a call gives up, in seconds.
    patience: Annotated[float, Field(gt=0, le=86_400)] = 120.0


class FolderSection(Model):
    """`state`: journal, keystore, uploads under way and model states."""

    state: str = "."


class PolicySection(Model):
    """What this partner will not go beyond, whatever the service asks.

    max_lifetime_epsilon_*: over every charter accepted here, caps added up; no limit where absent.
    records: how many records it holds, for the check delta <= 1 / (10 x records) (protocol 6.1). officer_key: file
    with the public key of this partner's security officer, without whose consent no charter is accepted.
    """

    max_epsilon_alone: Epsilon
    max_epsilon_in_sum: Epsilon
    max_lifetime_epsilon_alone: Epsilon | None = None
    max_lifetime_epsilon_in_sum: Epsilon | None = None
    max_void_attempts: Annotated[int, Field(ge=1, le=1000)] = 2
    records: Annotated[int, Field(ge=1)]
    allow_unprotected: bool = False
    officer_key: Annotated[str, Field(min_length=1)] | None = None


class Settings(Model):
    """All of partner.toml, checked."""

    version: Literal[1] = 1
    partner: PartnerSection
    server: ServerSection
    folder: FolderSection = FolderSection()
    caps: Caps
    policy: PolicySection


class LoadedSettings(Model):
    """Settings and the file they came from."""

    settings: Settings
    source: Path

    @property
    def folder(self) -> Path:
        return (self.source.parent / self.settings.folder.state).resolve()

    @property
    def officer_key(self) -> Path | None:
        named = self.settings.policy.officer_key
        return None if named is None else self.source.parent / named


def load_settings(path: Path) -> LoadedSettings:
    """Read and check partner.toml. Raises ConfigurationError."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"a settings file at {path}",
            error.strerror or "a file that cannot be read",
            "write one: docs/guide.md shows one",
        ) from None
    try:
        settings = Settings.model_validate(parse_toml(raw, f"TOML in {path}"))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigurationError(f"settings in {path}", f"{where}: {first['msg']}", "correct the file") from None
    if not is_web_address(settings.server.url):
        raise ConfigurationError(
            "a server.url with http or https, a host and no path", settings.server.url, f"correct it in {path}"
        )
    return LoadedSettings(settings=settings, source=path.resolve())
