"""A digest as words that two people compare over the telephone.

One word a byte, from 256 plain English words of 3 to 7 letters, no two of which begin with the same three letters.
The words are compared outside the server before a charter is signed (protocol 4.0). A server that shows two
partners two charters needs a *collision* of the words, which for 96 bits of a plain hash would be 2^48 hashes:
hours. So the digest is stretched first (scrypt, n = 2^14, r = 8: 16 MiB and some 30 ms a try, which makes a
collision cost about 10^5 core-years).
"""

from __future__ import annotations

from functools import lru_cache

from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from privacy.errors import MalformedMessage

WORDS_SHOWN = 12
DIGEST_BYTES = 32

WORDLIST = tuple(
    """
    abbey acorn actor adopt agent alarm album amber anchor angle ankle apple apron arch arrow atlas attic
    autumn awake bacon badge bagel baker bamboo banjo barrel basil bath beaver bell bench berry bike birch
    bishop black blue boat body bolt bone book border bottle boxer branch bread brick bronze bucket bull bunny
    butter cabin cactus cafe camel candle carpet castle cat cave cedar cello chalk cheese chorus church cider
    circle city clay cliff clock coach cobra coffee coin comet copper coral cotton cousin crab creek crown
    cube curtain daisy dance dawn deck delta denim desert devil diary dinner doctor dollar domino donkey door
    dragon dream drum duck dust eagle earth east echo edge elbow elder empire engine envoy equal event exit
    fabric falcon family farmer father fence ferry fiddle film finger fire flag flute fog forest fossil fox
    frame frog fruit galaxy garden gate gentle ghost giant ginger girl glass globe goat gold gorilla gram
    green guitar hammer harbor hat hawk heaven hedge helmet hero hill honey horse hotel hunter ice idea igloo
    insect iron island ivory jacket jazz jelly jigsaw jockey judge jungle kettle kidney king kitten knight
    ladder lake lamp lantern lawn lemon letter library lily linen lizard lobster lunch magnet maple market
    meadow melon metal milk mirror monkey motor museum napkin needle nickel north number oasis ocean olive
    onion opera orange otter oven owl oxygen paddle palace parrot peanut pencil pepper piano pigeon pillow
    planet pocket potato prince pumpkin puzzle queen rabbit ribbon river rocket silver sugar tiger tulip
    violin wagon whale zebra
    """.split()
)


@lru_cache(maxsize=1024)
def words(digest_hex: str) -> str:
    """The twelve words of a SHA-256 digest (64 hex characters), separated by spaces."""
    try:
        digest = bytes.fromhex(digest_hex)
    except ValueError:
        digest = b""
    if len(digest) != DIGEST_BYTES:
        raise MalformedMessage(
            f"a digest of {2 * DIGEST_BYTES} hex characters",
            f"{len(digest_hex)} characters",
            "give the whole digest",
        )
    stretched = Scrypt(salt=b"chorale/1 words", length=WORDS_SHOWN, n=1 << 14, r=8, p=1).derive(digest)
    return " ".join(WORDLIST[byte] for byte in stretched)
