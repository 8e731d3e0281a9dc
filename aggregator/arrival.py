"""A body on its way: how long it may take, and how much of it is held (docs/http.md).

Rules:
1. A body keeps a pace: STALL_SECONDS without a byte end it, and so does a total of GRACE_SECONDS and a second for
   each SLOWEST_BYTES that have come. So it takes at most that for its declared size, and a byte now and then buys
   no time.
2. Who is cut off is answered 503, and the connection ends: the rest of the body is not waited for.
3. A body that is read whole is refused before more than its limit is held; bulk declares its length.
How many there are at once is counted in storage/under_way.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from fastapi import Request

from privacy.errors import BodyTooSlow, MalformedMessage, TooLarge

STALL_SECONDS = 60.0
GRACE_SECONDS = 60.0
SLOWEST_BYTES = 16 << 10
"""128 kbit/s: a shard of 8 MiB may take ten minutes, less than its attempt's deadline leaves."""


async def arriving(request: Request) -> AsyncIterator[bytes]:
    """The body as it comes. Raises BodyTooSlow."""
    stream = request.stream()
    loop = asyncio.get_running_loop()
    begun = loop.time()
    came = 0
    while True:
        end = begun + GRACE_SECONDS + came / SLOWEST_BYTES
        try:
            async with asyncio.timeout_at(min(end, loop.time() + STALL_SECONDS)):
                piece = await anext(stream, None)
        except TimeoutError:
            raise BodyTooSlow(
                f"the body's next bytes within {STALL_SECONDS:g} s, and {SLOWEST_BYTES} bytes a second after"
                f" {GRACE_SECONDS:g} s",
                f"{came} bytes in {loop.time() - begun:.0f} s",
                "send the whole request again over a faster line",
            ) from None
        if piece is None:
            return
        came += len(piece)
        yield piece


async def read_body(request: Request, limit: int) -> bytes:
    """The whole body. Raises TooLarge before more than `limit` bytes are held, BodyTooSlow."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and (len(declared) > 15 or int(declared) > limit):
        raise TooLarge(f"a body of at most {limit} bytes", declared[:40], "send a smaller one")
    held = bytearray()
    async for piece in arriving(request):
        held += piece
        if len(held) > limit:
            raise TooLarge(f"a body of at most {limit} bytes", "more", "send a smaller one")
    return bytes(held)


def content_length(request: Request, limit: int) -> int:
    """The length that a bulk request must declare."""
    declared = request.headers.get("content-length", "")
    if not declared.isdecimal() or len(declared) > 15:
        raise MalformedMessage("a content-length header", declared[:40] or "none", "declare the body's length")
    if int(declared) > limit:
        raise TooLarge(f"a body of at most {limit} bytes", declared, "send what was announced, no more")
    return int(declared)
