"""What the service is configured with: defaults, its folder's `chorale-server.toml`, then `CHORALE_` variables.

Rules:
1. Everything the service keeps lies in one folder: settings, online key, operator's public keys, database, blobs.
2. What may hold a secret (a password in an address) shows in no repr.
3. Sizes that the wire is checked against are here, and nowhere else as numbers.
The operator's private key is no setting: the service never reads it.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from privacy.errors import ConfigurationError
from privacy.he.parameters import POLYNOMIAL_BYTES
from privacy.protocol.canonical import MAX_MESSAGE_BYTES
from privacy.protocol.http_contract import MAX_SHARD_BYTES

SETTINGS_FILE = "chorale-server.toml"
DEFAULT_SHARD_BYTES = 8 << 20
_HostName = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$")]


class Oidc(BaseModel):
    """The identity provider that accounts may sign in through.

    issuer: as its tokens name it. client_secret_file: in the service's folder unless absolute; or the variable
    CHORALE_OIDC__CLIENT_SECRET. origins: of endpoints that are not the issuer's own. required_amr: of every ID
    token (how the provider made sure). name: on the sign-in page.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    issuer: Annotated[str, Field(pattern=r"^https?://[^\s?#]+$")]
    client_id: Annotated[str, Field(min_length=1, max_length=255)]
    client_secret: SecretStr = SecretStr("")
    client_secret_file: Path | None = None
    origins: tuple[str, ...] = ()
    required_amr: tuple[str, ...] = ()
    name: Annotated[str, Field(max_length=80)] = ""

    def secret(self, folder: Path) -> str:
        """Raises ConfigurationError where there is none, or others may read its file."""
        given = self.client_secret.get_secret_value()
        if self.client_secret_file is not None:
            try:
                file = folder / self.client_secret_file
                mode = stat.S_IMODE(file.stat().st_mode)
                given = file.read_text("utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigurationError(
                    "the client's secret in oidc.client_secret_file", type(error).__name__, "write it there"
                ) from None
            if mode & 0o077:
                raise ConfigurationError(
                    f"{file} readable by its owner alone", f"mode {mode:04o}", f"chmod 600 {file}"
                )
        if not given:
            raise ConfigurationError(
                "the client's secret", "none", "set oidc.client_secret_file, or CHORALE_OIDC__CLIENT_SECRET"
            )
        return given


class Rate(BaseModel):
    """per_second: requests in the long run. burst: at once, after a pause."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    per_second: Annotated[float, Field(gt=0, le=1e6)]
    burst: Annotated[float, Field(ge=1, le=1e9)]


class Rates(BaseModel):
    """Requests from one identity, each kind apart, or from an address behind which nobody is (docs/limits.md)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # A round's news for 50 partners are some 300 answers to long polls: an honest burst fits several times.
    partner: Rate = Rate(per_second=100, burst=2000)
    operator: Rate = Rate(per_second=100, burst=2000)
    session: Rate = Rate(per_second=10, burst=200)
    address: Rate = Rate(per_second=5, burst=300)


class Settings(BaseSettings):
    """folder: absolute. Sizes in bytes, durations in seconds."""

    model_config = SettingsConfigDict(
        env_prefix="CHORALE_",
        env_nested_delimiter="__",
        nested_model_default_partial_update=True,
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
    )

    folder: Path
    database_url: Annotated[str, Field(repr=False)] = ""
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8470
    public_url: str = ""
    shard_bytes: Annotated[int, Field(ge=POLYNOMIAL_BYTES, le=MAX_SHARD_BYTES)] = DEFAULT_SHARD_BYTES
    max_shards: Annotated[int, Field(ge=1, le=1 << 20)] = 65536
    message_bytes: Annotated[int, Field(ge=1 << 16, le=MAX_MESSAGE_BYTES)] = MAX_MESSAGE_BYTES
    sum_workers: Annotated[int, Field(ge=1, le=256)] = os.cpu_count() or 1
    session_seconds: Annotated[int, Field(ge=60, le=30 * 86400)] = 12 * 3600
    session_idle_seconds: Annotated[int, Field(ge=60, le=30 * 86400)] = 3600
    two_persons_to_resume: bool = True
    alarm_webhooks: Annotated[tuple[str, ...], Field(max_length=8, repr=False)] = ()
    names_inside: Annotated[tuple[_HostName, ...], Field(max_length=64)] = ()
    bodies_at_once: Annotated[int, Field(ge=1, le=10_000)] = 8
    polls_at_once: Annotated[int, Field(ge=1, le=10_000)] = 32
    officer_link_seconds: Annotated[int, Field(ge=60, le=7 * 86400)] = 3600
    rates: Rates = Rates()
    waiting_campaigns: Annotated[int, Field(ge=1, le=10_000)] = 16
    open_state_requests: Annotated[int, Field(ge=1, le=10_000)] = 64
    state_boxes_kept: Annotated[int, Field(ge=1, le=10_000)] = 8

    oidc: Oidc | None = None

    @field_validator("folder")
    @classmethod
    def _absolute(cls, folder: Path) -> Path:
        return folder.expanduser().resolve()

    @field_validator("alarm_webhooks")
    @classmethod
    def _safe_addresses(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        for url in urls:
            parts = urlsplit(url)
            loopback = parts.hostname in ("127.0.0.1", "::1", "localhost")
            if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and loopback)):
                raise ValueError("an https address, or http on loopback")
        return urls

    @field_validator("shard_bytes")
    @classmethod
    def _whole_polynomials(cls, size: int) -> int:
        if size % POLYNOMIAL_BYTES:
            raise ValueError(f"a multiple of {POLYNOMIAL_BYTES} bytes, one polynomial")
        return size

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        del dotenv_settings, file_secret_settings
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)

    @classmethod
    def load(cls, folder: Path) -> Settings:
        """The settings of a server folder. Raises ConfigurationError with the field that is wrong."""

        class OfFolder(Settings):
            model_config = SettingsConfigDict(toml_file=folder / SETTINGS_FILE)

        try:
            loaded = OfFolder(folder=folder)
        except (ValidationError, ValueError) as error:
            raise ConfigurationError(
                f"usable settings in {folder / SETTINGS_FILE} and the CHORALE_ variables",
                "; ".join(str(error).splitlines()[1:3]) or str(error),
                "correct the setting and start again",
            ) from error
        return Settings.model_construct(**dict(loaded))

    @property
    def database(self) -> str:
        """The SQLAlchemy URL; SQLite in the folder unless set."""
        return self.database_url or f"sqlite:///{self.folder / 'chorale.db'}"

    @property
    def nonces(self) -> Path:
        """SQLite, whatever the database is: see storage/nonces.py."""
        return self.folder / "nonces.db"

    @property
    def blobs(self) -> Path:
        return self.folder / "blobs"

    def reached_by_https(self, scheme: str) -> bool:
        """For a request of this scheme; also where a proxy ends TLS, if the public address says so."""
        return scheme == "https" or self.url.startswith("https://")

    @property
    def url(self) -> str:
        """Where people and partners reach the service."""
        return (self.public_url or f"http://{self.host}:{self.port}").rstrip("/")
