"""The network between partners, operator and service: it delays, drops, repeats, reorders, cuts and corrupts.

Rules:
1. A request that is lost, or whose answer is, looks to its sender like a connection that failed, some time later.
2. A repeated request is the same bytes, delivered a second time; only the first copy's answer reaches the sender.
3. A corrupted request or answer has one bit flipped in its body (or in its line and headers, where there is none).
4. Every request is shown whole to `watch` as it leaves, whatever becomes of it: what leaves a machine may be read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import httpx

from tests.simulation.faults import Faults
from tests.simulation.machines import Machine
from tests.simulation.scheduler import Scheduler, Waiting
from tests.simulation.service import Exchange, SimulatedService

Headers = Sequence[tuple[bytes, bytes]]

Watch = Callable[[str, str, str, Headers, bytes], None]
"""sender, method, target, headers, body."""

NO_ANSWER = "no answer came"


class Network:
    def __init__(self, scheduler: Scheduler, faults: Faults, service: SimulatedService) -> None:
        self.scheduler = scheduler
        self.faults = faults
        self.service = service
        self.watch: Watch = lambda sender, method, target, headers, body: None
        self.answered: Callable[[str, str, int, bytes], None] = lambda method, target, status, body: None

    def line(self, machine: Machine) -> httpx.BaseTransport:
        return Line(self, machine)


class Line(httpx.BaseTransport):
    """What one machine's HTTP client sends over. Called in that machine's actor."""

    def __init__(self, network: Network, machine: Machine) -> None:
        self._network = network
        self._machine = machine
        self._place = machine.name

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        body = request.read()
        target = request.url.raw_path.decode("ascii")
        headers = [(name.lower(), value) for name, value in request.headers.raw]
        self._machine.point("before a request")
        self._network.watch(self._place, request.method, target, headers, body)
        status, answer_headers, content = self._network.scheduler.wait(
            lambda waiting: self._send(waiting, request.method, target, headers, body)
        )
        self._machine.point("after a request")
        return httpx.Response(status, headers=answer_headers, content=content, request=request)

    def _send(
        self, waiting: Waiting, method: str, target: str, headers: list[tuple[bytes, bytes]], body: bytes
    ) -> None:
        network, faults = self._network, self._network.faults
        fails = self._fails(waiting)
        if faults.fires("drop", self._place):
            fails("the request was lost", self._slow())
            return
        if faults.fires("corrupt", self._place):
            target, body = self._corrupted(target, body)
        pieces = [body]
        if len(body) > 1000:
            half = faults.choose(f"pieces {self._place}", (1, 4096, len(body) // 2))
            pieces = [body[:half], body[half:]]
        cut = len(pieces) > 1 and faults.fires("cut", self._place)
        if cut:
            pieces = pieces[:1]

        def arrive(first: bool) -> Callable[[], None]:
            def answered(status: int, answer_headers: list[tuple[bytes, bytes]], content: bytes) -> None:
                network.answered(method, target, status, content)
                if first:
                    self._answer(waiting, status, answer_headers, content)

            def gone() -> None:
                if first:
                    fails("the connection was reset", faults.uniform(f"reset {self._place}", 0.01, 0.1))

            return lambda: network.service.take(
                Exchange(method, target, headers, list(pieces), cut, answered, gone)
            )

        network.scheduler.after(self._latency(), arrive(first=True))
        if faults.fires("repeat", self._place):
            network.scheduler.after(self._slow(), arrive(first=False))

    def _answer(self, waiting: Waiting, status: int, headers: list[tuple[bytes, bytes]], content: bytes) -> None:
        faults = self._network.faults
        fails = self._fails(waiting)
        if faults.fires("lose answer", self._place):
            fails("the answer was lost", self._slow())
            return
        if faults.fires("cut answer", self._place):
            fails("the answer was cut", self._latency())
            return
        if content and faults.fires("corrupt answer", self._place):
            content = self._flip(content)
        kept = [(name, value) for name, value in headers if name != b"content-length"]
        self._network.scheduler.after(
            self._latency(), lambda: self._network.scheduler.wake(waiting, (status, kept, content))
        )

    def _fails(self, waiting: Waiting) -> Callable[[str, float], None]:
        scheduler = self._network.scheduler
        return lambda why, seconds: scheduler.after(seconds, lambda: scheduler.wake(waiting, httpx.ReadError(why)))

    def _latency(self) -> float:
        if self._network.faults.fires("delay", self._place):
            return self._slow()
        return self._network.faults.uniform(f"latency {self._place}", 0.005, 0.05)

    def _slow(self) -> float:
        return self._network.faults.uniform(f"slow {self._place}", 0.5, 20.0)

    def _corrupted(self, target: str, body: bytes) -> tuple[str, bytes]:
        if body:
            return target, self._flip(body)
        flipped = self._flip(target.encode()[1:])
        # A byte that no request line can hold never reaches a service.
        return "/" + "".join(chr(byte & 0x7F) for byte in flipped if 0x20 < byte & 0x7F < 0x7F), body

    def _flip(self, content: bytes) -> bytes:
        at = int(self._network.faults.uniform(f"bit {self._place}", 0, 8 * len(content)))
        flipped = bytearray(content)
        flipped[at // 8] ^= 1 << (at % 8)
        return bytes(flipped)
