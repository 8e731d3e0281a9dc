"""A sealed file opens under its passphrase alone, unchanged, and never by absurd scrypt parameters."""

import unicodedata

import pytest

from privacy.errors import ConfigurationError, KeystoreLocked
from privacy.protocol import sealed_file
from privacy.protocol.canonical import canonical, parse
from privacy.protocol.sealed_file import MAX_SEALED_BYTES, open_secret, seal_secret


class Counting:
    """Bytes 0, 1, 2, ...: a repeatable source for tests."""

    def __init__(self):
        self.next = 0

    def bytes(self, count):
        self.next += count
        return bytes((self.next + i) % 256 for i in range(count))


@pytest.fixture(scope="module")
def sealed():
    return seal_secret(b"a signing seed", "correct horse", Counting())


def test_a_sealed_secret_opens_under_its_passphrase(sealed):
    assert open_secret(sealed, "correct horse") == b"a signing seed"
    assert b"signing seed" not in sealed


def test_two_seals_share_neither_salt_nor_ciphertext():
    source = Counting()
    assert (
        seal_secret(b"x" * 64, "p", source).split(b"\n", 1)[1]
        != seal_secret(b"x" * 64, "p", source).split(b"\n", 1)[1]
    )


def test_composed_and_decomposed_hangul_are_one_passphrase():
    raw = seal_secret(b"k", unicodedata.normalize("NFC", "합창단"), Counting())
    assert open_secret(raw, unicodedata.normalize("NFD", "합창단")) == b"k"


@pytest.mark.parametrize("passphrase", ["", "Correct horse", "correct horse "])
def test_another_passphrase_opens_nothing(sealed, passphrase):
    with pytest.raises(KeystoreLocked, match="another passphrase"):
        open_secret(sealed, passphrase)


def test_an_empty_passphrase_seals_nothing():
    with pytest.raises(ConfigurationError):
        seal_secret(b"k", "", Counting())


def test_a_file_cut_short_anywhere_is_refused(sealed):
    header = sealed.index(b"\n")
    for length in [0, 1, header // 2, header, header + 1, header + 16, len(sealed) - 1]:
        with pytest.raises(KeystoreLocked):
            open_secret(sealed[:length], "correct horse")


def test_every_flipped_bit_is_noticed(sealed, monkeypatch):
    # The real derivation costs 60 ms a bit; the binding does not depend on its cost.
    derived = []

    def derive(header, passphrase):
        derived.append(header)
        return b"k" * 32

    monkeypatch.setattr(sealed_file, "_derive", derive)
    raw = seal_secret(b"a signing seed", "p", Counting())
    for place in range(len(raw)):
        for bit in range(8):
            changed = bytearray(raw)
            changed[place] ^= 1 << bit
            with pytest.raises(KeystoreLocked):
                open_secret(bytes(changed), "p")
    assert len(derived) > 100


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("log2_n", 1),
        ("log2_n", 14),
        ("log2_n", 19),
        ("log2_n", 63),
        ("log2_n", "15"),
        ("log2_n", True),
        ("r", 1),
        ("r", 2**30),
        ("p", 0),
        ("p", 5),
        ("kdf", "none"),
        ("cipher", "AES-128-ECB"),
        ("salt", "00"),
        ("type", "chorale/2 sealed-file"),
        ("more", 1),
    ],
)
def test_absurd_headers_derive_nothing(sealed, field, value, monkeypatch):
    def derive(header, passphrase):
        pytest.fail("a key was derived under a header that had to be refused")

    monkeypatch.setattr(sealed_file, "_derive", derive)
    line, _, rest = sealed.partition(b"\n")
    header = {**parse(line), field: value}
    with pytest.raises(KeystoreLocked):
        open_secret(canonical(header) + b"\n" + rest, "correct horse")


def test_sizes_are_bounded():
    with pytest.raises(KeystoreLocked):
        open_secret(b"{}" * MAX_SEALED_BYTES, "p")
    with pytest.raises(ConfigurationError):
        seal_secret(bytes(MAX_SEALED_BYTES), "p", Counting())
