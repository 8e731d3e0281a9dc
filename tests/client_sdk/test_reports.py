"""Reports of both sides after a real round: made, signed, verified offline by either command, computed anew."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from aggregator.cli import app as server_app
from client_sdk.cli import app as partner_app
from client_sdk.keystore import PASSPHRASE_VARIABLE
from privacy.errors import BadSignature, ChoraleError, ConfigurationError, DigestMismatch, NotAllowed
from privacy.protocol.http_contract import split_frame
from privacy.report.signature import FORMATS, SUFFIX, UNKNOWN_STATUS, Known, ReportSignature, verify_report
from tests.client_sdk.choir import PASSPHRASE, Choir, choir
from tests.client_sdk.test_ledger_files import one_round


@pytest.fixture(scope="module")
def after_a_round(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Choir]:
    folder = tmp_path_factory.mktemp("choir")
    (folder / "passphrase").write_text(PASSPHRASE)
    with pytest.MonkeyPatch.context() as patch, choir(folder) as three:
        patch.setenv(PASSPHRASE_VARIABLE, str(folder / "passphrase"))
        _, campaign, state = three.constitute()
        one_round(three, campaign, state)
        yield three


def _run(app: object, *arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments], catch_exceptions=False)  # type: ignore[arg-type]


@pytest.mark.parametrize("form", FORMATS)
def test_a_partner_reports_and_either_command_verifies_it(after_a_round: Choir, form: str, tmp_path: Path) -> None:
    three, file = after_a_round, tmp_path / f"보고서 1.{form}"
    config = str(three.config("partner-01"))
    done = _run(partner_app, "report", "--out", str(file), "--language", "ko", "-c", config)
    assert done.exit_code == 0, done.output
    for app in (partner_app, server_app):
        done = _run(app, "report", "verify", str(file), "--charter", three.charter.digest, "--json")
        found = json.loads(done.stdout)
        assert (found["signed by"], found["about"], found["charter known"]) == (
            "partner-01",
            "partner-01",
            "yes, from the hash that was given",
        )
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2] ^= 1
    file.write_bytes(raw)
    for app in (partner_app, server_app):
        with pytest.raises(DigestMismatch):
            _run(app, "report", "verify", str(file))


def test_one_report_in_several_forms(after_a_round: Choir, tmp_path: Path) -> None:
    charter, files = after_a_round.charter.digest, [tmp_path / f"report.{form}" for form in FORMATS]
    outs = [option for file in files for option in ("--out", str(file))]
    assert _run(partner_app, "report", *outs, "-c", str(after_a_round.config("partner-01"))).exit_code == 0
    made = set()
    for file in files:
        said = json.loads(_run(partner_app, "report", "verify", str(file), "--charter", charter, "--json").stdout)
        assert said["charter known"] == "yes, from the hash that was given"
        stated = ReportSignature.model_validate_json(Path(f"{file}{SUFFIX}").read_bytes()).statement.body
        made.add((stated.as_of, stated.ledger, stated.period))
    assert len(made) == 1, "one report"


def test_what_is_known_of_the_charter_decides_what_a_report_proves(after_a_round: Choir, tmp_path: Path) -> None:
    config, file = str(after_a_round.config("partner-01")), tmp_path / "report.json"
    assert _run(partner_app, "report", "--out", str(file), "-c", config).exit_code == 0
    for app in (partner_app, server_app):
        done = _run(app, "report", "verify", str(file), "--json")
        said = json.loads(done.stdout)
        assert (done.exit_code, said["charter known"]) == (UNKNOWN_STATUS, "no")
        assert said["words"] in done.stdout
        assert "anyone could have made" in said["verdict"]
    done = _run(partner_app, "report", "verify", str(file), "-c", str(after_a_round.config("partner-02")), "--json")
    said = json.loads(done.stdout)
    assert (done.exit_code, said["charter known"]) == (0, "yes, from this partner's journal")
    with pytest.raises(BadSignature):
        _run(partner_app, "report", "verify", str(file), "-c", config, "--charter", "0" * 64)


def test_a_folder_that_knows_no_charter_verifies_no_report(after_a_round: Choir, tmp_path: Path) -> None:
    config, file = after_a_round.config("partner-01"), tmp_path / "report.json"
    assert _run(partner_app, "report", "--out", str(file), "-c", str(config)).exit_code == 0
    empty = tmp_path / "partner.toml"
    empty.write_bytes(config.read_bytes())
    with pytest.raises(ConfigurationError, match="accepted"):
        _run(partner_app, "report", "verify", str(file), "-c", str(empty))


def test_a_partners_json_is_computed_anew_from_its_own_ledger(after_a_round: Choir, tmp_path: Path) -> None:
    config = str(after_a_round.config("partner-02"))
    file, own, service = tmp_path / "report.json", tmp_path / "own.jsonl", tmp_path / "service.jsonl"
    for arguments in (
        ("report", "--out", str(file), "-c", config),
        ("ledger", "export", str(own), "-c", config),
        ("ledger", "export", str(service), "--of", "service", "-c", config),
    ):
        assert _run(partner_app, *arguments).exit_code == 0
    done = _run(server_app, "report", "verify", str(file), "--ledger", str(own), "--json")
    assert json.loads(done.stdout)["recomputed"].startswith("from 1 entries")
    with pytest.raises(DigestMismatch):
        _run(partner_app, "report", "verify", str(file), "--ledger", str(service))


def test_the_services_report_is_fetched_in_scope_and_computed_anew(after_a_round: Choir, tmp_path: Path) -> None:
    three = after_a_round
    config = str(three.config("partner-01"))
    service = tmp_path / "service.jsonl"
    assert _run(partner_app, "ledger", "export", str(service), "--of", "service", "-c", config).exit_code == 0
    with three.partner("partner-01") as partner:
        raw = partner.transport.get("/v1/report", {"format": "json"})
        signature, report = split_frame(raw)
        found = verify_report(report, signature, Known.charter(three.charter.digest))
        assert (found.signer, found.statement.participant) == ("server", "partner-01")
        with pytest.raises(NotAllowed):
            partner.transport.get("/v1/report", {"participant": "partner-02"})
        for wrong in ("format=exe", "language=xx", "from=yesterday", "from=2999-01-01"):
            name, value = wrong.split("=")
            with pytest.raises(ConfigurationError):
                partner.transport.get("/v1/report", {name: value})
    file = tmp_path / "report.json"
    file.write_bytes(report)
    file.with_name(file.name + SUFFIX).write_bytes(signature)
    done = _run(server_app, "report", "verify", str(file), "--ledger", str(service), "--json")
    said = json.loads(done.stdout)
    assert "every figure" in said["recomputed"]
    assert said["countersigned by"] == "Partner-01; Partner-02; Partner-03"


def test_what_is_absent_or_unknown_is_said(after_a_round: Choir, tmp_path: Path) -> None:
    config = str(after_a_round.config("partner-01"))
    for arguments in (
        ("report", "verify", str(tmp_path / "none.pdf")),
        ("report", "--out", str(tmp_path / "report.docx"), "-c", config),
        ("report", "--out", str(tmp_path / "r.pdf"), "--from", "1 July", "-c", config),
        ("report", "--out", str(tmp_path / "r.pdf"), "--language", "fr", "-c", config),
    ):
        with pytest.raises(ChoraleError):
            _run(partner_app, *arguments)
    assert list(tmp_path.iterdir()) == []
