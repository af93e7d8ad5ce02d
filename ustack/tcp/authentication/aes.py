"""AES-128 encryption of single blocks (FIPS 197), and the CMAC made of it (RFC 4493).

Python's standard library has no block cipher.  This one is small and slow, and its table lookups are no secret to who
shares the processor's cache: enough for TCP-AO's second algorithm on a research stack, and for nothing else.
"""

from __future__ import annotations

from functools import lru_cache

BLOCK = 16
_ROUNDS = 10


def _doubled(value: int) -> int:
    """Times x in the field GF(2^8) of FIPS 197 §4.2."""
    value <<= 1
    return value ^ 0x11B if value & 0x100 else value


def _make_sbox() -> bytes:
    """FIPS 197 §5.1.1: the inverse in the field, then an affine transformation."""
    sbox = bytearray(256)
    p = q = 1
    while True:
        p ^= _doubled(p)
        for shift in (1, 2, 4):
            q ^= q << shift & 0xFF
        q ^= 0x09 if q & 0x80 else 0
        rotated = q
        for count in (1, 2, 3, 4):
            rotated ^= (q << count | q >> 8 - count) & 0xFF
        sbox[p] = rotated ^ 0x63
        if p == 1:
            break
    sbox[0] = 0x63
    return bytes(sbox)


_SBOX = _make_sbox()
_SHIFTED = tuple((column + row) % 4 * 4 + row for column in range(4) for row in range(4))
"""Where each byte comes from in ShiftRows.  FIPS 197 §5.1.2."""


def _expand(key: bytes) -> list[bytes]:
    """The round keys.  FIPS 197 §5.2."""
    words = [key[start : start + 4] for start in range(0, BLOCK, 4)]
    constant = 1
    while len(words) < 4 * (_ROUNDS + 1):
        word = words[-1]
        if not len(words) % 4:
            word = bytes(_SBOX[byte] for byte in word[1:] + word[:1])
            word = bytes((word[0] ^ constant, *word[1:]))
            constant = _doubled(constant)
        words.append(_xor(words[-4], word))
    return [b"".join(words[start : start + 4]) for start in range(0, len(words), 4)]


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))


def _mix_column(column: bytes) -> bytes:
    """FIPS 197 §5.1.3."""
    everything = column[0] ^ column[1] ^ column[2] ^ column[3]
    return bytes(column[row] ^ everything ^ _doubled(column[row] ^ column[(row + 1) % 4]) for row in range(4))


class Aes128:
    """One key."""

    def __init__(self, key: bytes) -> None:
        assert len(key) == BLOCK, "a key of AES-128 is 16 bytes"
        self._round_keys = _expand(key)

    def encrypt(self, block: bytes) -> bytes:
        """One block.  FIPS 197 §5.1."""
        state = _xor(block, self._round_keys[0])
        for number in range(1, _ROUNDS + 1):
            state = bytes(_SBOX[state[place]] for place in _SHIFTED)
            if number < _ROUNDS:
                state = b"".join(_mix_column(state[start : start + 4]) for start in range(0, BLOCK, 4))
            state = _xor(state, self._round_keys[number])
        return state


@lru_cache(maxsize=256)
def _prepared(key: bytes) -> tuple[Aes128, bytes, bytes]:
    """The cipher and the two subkeys.  RFC 4493 §2.3."""
    cipher = Aes128(key)
    first = _doubled_block(cipher.encrypt(bytes(BLOCK)))
    return cipher, first, _doubled_block(first)


def _doubled_block(block: bytes) -> bytes:
    value = int.from_bytes(block, "big") << 1
    if value >> 8 * BLOCK:
        value ^= 1 << 8 * BLOCK | 0x87
    return value.to_bytes(BLOCK, "big")


def cmac(key: bytes, message: bytes) -> bytes:
    """AES-CMAC, 16 bytes.  RFC 4493 §2.4."""
    cipher, whole, padded = _prepared(key)
    start = (max(len(message), 1) - 1) // BLOCK * BLOCK
    last = message[start:]
    last = _xor(last, whole) if len(last) == BLOCK else _xor((last + b"\x80").ljust(BLOCK, b"\0"), padded)
    state = bytes(BLOCK)
    for place in range(0, start, BLOCK):
        state = cipher.encrypt(_xor(state, message[place : place + BLOCK]))
    return cipher.encrypt(_xor(state, last))
