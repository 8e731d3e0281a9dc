"""The words of a digest: their list is what is claimed of it, and they are those of the whole digest."""

import pytest

from privacy.errors import MalformedMessage
from privacy.protocol.words import WORDLIST, WORDS_SHOWN, words


def test_the_list_has_a_word_for_each_byte_that_no_other_is_mistaken_for():
    assert len(WORDLIST) == 256
    assert len({word[:3] for word in WORDLIST}) == 256
    assert all(3 <= len(word) <= 7 and word.isascii() and word.islower() for word in WORDLIST)


def test_the_words_of_a_digest_are_fixed():
    assert words("00" * 32) == "galaxy bucket bell opera chalk pocket olive whale branch river judge coffee"
    assert len(words("ab" * 32).split()) == WORDS_SHOWN


def test_the_last_bit_of_a_digest_changes_the_words():
    assert words("00" * 32) != words("00" * 31 + "01")


@pytest.mark.parametrize("bad", ["", "00" * 31, "00" * 33, "zz" * 32])
def test_what_is_not_a_digest_has_no_words(bad):
    with pytest.raises(MalformedMessage):
        words(bad)
