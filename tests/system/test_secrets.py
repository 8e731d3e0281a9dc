"""Real processes of a service and of partners, one killed and one that fails: none prints what is secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from aggregator.storage.folder import SERVER_KEY_FILE, create_server_folder
from privacy.protocol.signing import SigningKey
from privacy.randomness import SystemRandom
from tests.client_sdk.choir import PASSPHRASE, Choir, values_for
from tests.marks import Marks
from tests.system.processes import Process, outcome, phase, serving, start, wait_until_healthy


@pytest.mark.system
@pytest.mark.full
def test_processes_print_no_key_and_no_update(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    marks = Marks()
    operator = SigningKey.generate(SystemRandom())
    marks.add("the operator's key", operator.private_bytes())
    marks.add("a passphrase", PASSPHRASE)
    create_server_folder(tmp_path / "server", operator.public, SystemRandom())
    marks.add("the service's key", (tmp_path / "server" / SERVER_KEY_FILE).read_bytes())
    # A webhook where nobody listens: the service fails to reach it, and says so.
    hook = "http://127.0.0.1:9/hook/T0K3N-of-the-address"
    marks.add("a webhook's address", hook)
    with serving(tmp_path / "server", CHORALE_ALARM_WEBHOOKS=f'["{hook}"]') as (service, url):
        three = Choir(tmp_path, url, operator, patience=40.0)
        _, campaign, state = three.constitute()
        for name in three.names:
            with three.partner(name) as partner:
                marks.add("a signing key", partner.keys.signing.private_bytes())
                marks.add("a result key", partner.keys.result.private_bytes)
                marks.add("a device's secret", partner.keys.device_secret)
            marks.add("an update", values_for(name).tobytes())
        # It ends with a trace: there is no such campaign.
        arguments = ["-m", "tests.system.partner_process", str(three.config(three.names[0])), "00" * 32, "1"]
        failing = Process(arguments, {})
        assert not failing.succeeded()
        partners = {name: start(three, name, campaign, until=1) for name in three.names}
        try:
            three.post_plan(campaign, state.digest, (40, 60, 80))
            partners[three.names[0]].wait_for(phase("upload"))
            service.kill()
            service.start()
            wait_until_healthy(url)
            lines = [str(partners[name].wait_for(outcome(1))) for name in three.names]
        finally:
            for process in partners.values():
                process.end()
    shown = capfd.readouterr()
    assert "Traceback" in shown.err
    assert marks.found_in(shown.out, shown.err, *lines) == set()
    assert marks.found_under(tmp_path / "server", but=(SERVER_KEY_FILE,)) == set()
