"""native/src/siphash.c against published vectors, CPython's own SipHash and the algorithm written out."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.octets import exact
from ustack.native import lib

KEY = bytes(range(16))
MASK = 2**64 - 1

# The first 16 of vectors.h of the reference implementation: the inputs are 00, 00 01, … under the key 00 … 0f.
REFERENCE = [
    "310e0edd47db6f72", "fd67dc93c539f874", "5a4fa9d909806c0d", "2d7efbd796666785",
    "b7877127e09427cf", "8da699cd64557618", "cee3fe586e46c9cb", "37d1018bf50002ab",
    "6224939a79f5f593", "b0e4a90bdf82009e", "f3b9dd94c5bb5d7a", "a7ad6b22462fb3f4",
    "fbe50e86bc8f1e75", "903d84c02756ea14", "eef27a8e90ca23f7", "e545be4961ca29a1",
]  # fmt: skip


def rotate(value: int, bits: int) -> int:
    return (value << bits | value >> (64 - bits)) & MASK


def sip_round(v: list[int]) -> None:
    v[0] = (v[0] + v[1]) & MASK
    v[1] = rotate(v[1], 13) ^ v[0]
    v[0] = rotate(v[0], 32)
    v[2] = (v[2] + v[3]) & MASK
    v[3] = rotate(v[3], 16) ^ v[2]
    v[0] = (v[0] + v[3]) & MASK
    v[3] = rotate(v[3], 21) ^ v[0]
    v[2] = (v[2] + v[1]) & MASK
    v[1] = rotate(v[1], 17) ^ v[2]
    v[2] = rotate(v[2], 32)


def oracle(key: bytes, data: bytes, compression: int, finalization: int) -> int:
    """Aumasson and Bernstein 2012, §2.2–2.4."""
    k0, k1 = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")
    v = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573]
    padded = data + bytes(7 - len(data) % 8) + bytes([len(data) % 256])
    for place in range(0, len(padded), 8):
        word = int.from_bytes(padded[place : place + 8], "little")
        v[3] ^= word
        for _ in range(compression):
            sip_round(v)
        v[0] ^= word
    v[2] ^= 0xFF
    for _ in range(finalization):
        sip_round(v)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


@pytest.mark.parametrize(("length", "expected"), list(enumerate(REFERENCE)))
def test_reference_vectors_of_siphash_2_4(length: int, expected: str) -> None:
    data = bytes(range(length))
    assert lib.siphash(exact(KEY), exact(data), length).to_bytes(8, "little").hex() == expected


@given(st.binary(min_size=16, max_size=16), st.binary(max_size=300))
def test_both_variants_follow_the_paper(key: bytes, data: bytes) -> None:
    assert lib.siphash(exact(key), exact(data), len(data)) == oracle(key, data, 2, 4)
    assert lib.siphash13(exact(key), exact(data), len(data)) == oracle(key, data, 1, 3)


@pytest.mark.skipif(sys.hash_info.algorithm != "siphash13", reason="this Python hashes bytes with another function")
def test_cpython_hashes_bytes_alike_under_the_key_zero() -> None:
    program = "print(*(hash(bytes(range(length))) for length in range(1, 64)))"
    command = [sys.executable, "-c", program]
    output = subprocess.run(command, env={"PYTHONHASHSEED": "0"}, capture_output=True, text=True, check=True).stdout
    for length, expected in enumerate(map(int, output.split()), 1):
        assert lib.siphash13(exact(bytes(16)), exact(bytes(range(length))), length) == expected & MASK
