"""npm's oidc-provider, a certified OpenID provider, as a process of the tests' own.

Rules:
1. It listens on loopback alone, on a free port, and ends with the test that started it.
2. It is installed once, into pytest's cache. Where node, npm or the package is absent, the tests that need it skip
   and say so.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from pathlib import Path

import httpx

from tests import npm

HERE = Path(__file__).parent
CLIENT_ID = "chorale"
CLIENT_SECRET = "a secret & of + the client%"
_FORM = re.compile(r'action="([^"]+)" method="post">\s*<input type="hidden" name="prompt" value="(\w+)"')


def installed(cache: Path) -> Path:
    """The folder to run the provider from."""
    shutil.copy(HERE / "provider.mjs", cache / "provider.mjs")
    return npm.installed(cache, HERE, "oidc-provider", "node")


@contextmanager
def provider(folder: Path, redirect: str, *, by_userinfo: bool) -> Iterator[str]:
    """The issuer's address. by_userinfo: the email is not in the ID token, but at the userinfo endpoint."""
    port = free_port()
    environment = os.environ | {"TEST_USERINFO": "1" if by_userinfo else "0"}
    with subprocess.Popen(
        ["node", "provider.mjs", str(port), redirect],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert any("ready" in line for line in process.stdout), "the provider did not start"
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def walk(start: str, login: str, back: str) -> str:
    """Sign in at the provider as a person does, and say yes; gives the address that leads back, not yet gone to."""
    with httpx.Client(follow_redirects=False, timeout=30) as http:
        answer = http.get(start)
        for _ in range(20):
            if answer.is_redirect:
                target = str(answer.next_request.url) if answer.next_request else ""
                if target.startswith(back):
                    return target
                answer = http.get(target)
                continue
            form = _FORM.search(answer.text)
            assert form is not None, answer.text
            fields = {"prompt": form[2], "login": login, "password": "any"}
            answer = http.post(unescape(form[1]), data=fields)
    raise AssertionError("the provider leads nowhere")
