"""Shamir's secret sharing as words (SLIP-39), by the reference implementation. Its errors may repeat what was typed, so none leaves this file as it is."""

from collections.abc import Sequence

from shamir_mnemonic import EncryptedMasterSecret, MnemonicError, Share, combine_mnemonics, split_ems
from shamir_mnemonic.wordlist import WORD_INDEX_MAP

from bastide.domain.break_glass import SECRET_BYTES
from bastide.domain.errors import InvalidInput
from bastide.services.break_glass.ports import Part

#: The secret has its own 128 bits: there is no passphrase, and nothing to make slow.
_NO_PASSPHRASE = b""
_FASTEST = 0
_WORDS = 20
_AGAIN = "type them again as they are on the card, with a space between"


class WordShares:
    """As the port Sharing."""

    def split(self, secret: bytes, number: int, threshold: int, count: int) -> tuple[str, ...]:
        """Words for each custodian. `number` is the identifier that all of them carry."""
        sealed = EncryptedMasterSecret.from_master_secret(
            secret, _NO_PASSPHRASE, number, extendable=False, iteration_exponent=_FASTEST
        )
        (group,) = split_ems(1, [(threshold, count)], sealed)
        return tuple(share.mnemonic() for share in group)

    def read(self, words: str) -> Part:
        """Raises InvalidInput, which repeats none of them."""
        share = _share(words)
        return Part(share.identifier, share.index, share.member_threshold)

    def combine(self, words: Sequence[str]) -> bytes:
        """Raises InvalidInput."""
        plain = [_plain(one) for one in words]
        for one in plain:
            _share(one)
        try:
            secret: bytes = combine_mnemonics(plain, _NO_PASSPHRASE)
        except MnemonicError:
            raise InvalidInput(
                "words",
                "these words do not fit together",
                remedy="they must be of one envelope, each of another custodian, and exactly as many as are needed",
            ) from None
        return secret


def _share(words: str) -> Share:
    for place, word in enumerate(_plain(words).split(), 1):
        if word not in WORD_INDEX_MAP:
            raise InvalidInput("words", f"word {place} is none of the list", remedy=_AGAIN)
    try:
        share = Share.from_mnemonic(_plain(words))
    except MnemonicError:
        raise InvalidInput(
            "words",
            f"a word is wrong, missing or at the wrong place: there are {_WORDS} of them, and the last three check the others",
            remedy=_AGAIN,
        ) from None
    if (share.group_threshold, share.group_count, len(share.value)) != (1, 1, SECRET_BYTES):
        raise InvalidInput(
            "words", "these words are not of an envelope of Bastide", remedy="use those on the card"
        )
    return share


def _plain(words: str) -> str:
    return " ".join(words.lower().split())
