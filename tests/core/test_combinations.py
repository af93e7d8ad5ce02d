"""The whole matrix of `combinations.resolve` against Winsock's reference of socket()."""

from __future__ import annotations

import errno
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.raising import raises_errno
from ustack import combinations
from ustack.combinations import resolve

INET, INET6, UNSPEC = socket.AF_INET, socket.AF_INET6, socket.AF_UNSPEC
STREAM, DGRAM, RAW, RDM, SEQPACKET = 1, 2, 3, 4, 5
TCP, UDP, ICMP, IGMP, ICMPV6, PGM, SCTP = 6, 17, 1, 2, 58, 113, 132
NO_FAMILY, NO_TYPE = errno.EAFNOSUPPORT, errno.ESOCKTNOSUPPORT
NO_PROTOCOL, WRONG_TYPE = errno.EPROTONOSUPPORT, errno.EPROTOTYPE

PROTOCOLS = (0, TCP, UDP, ICMP, IGMP, ICMPV6, PGM, SCTP, 200)
# One line for each family and type, one entry for each of PROTOCOLS: what it becomes, or the errno.
INET_MATRIX = {
    0: [(STREAM, TCP), (STREAM, TCP), (DGRAM, UDP), (RAW, ICMP), (RAW, IGMP), (RAW, ICMPV6), NO_PROTOCOL, NO_PROTOCOL,
        NO_PROTOCOL],
    STREAM: [(STREAM, TCP), (STREAM, TCP), WRONG_TYPE, WRONG_TYPE, WRONG_TYPE, WRONG_TYPE, WRONG_TYPE, NO_PROTOCOL,
             NO_PROTOCOL],
    DGRAM: [(DGRAM, UDP), WRONG_TYPE, (DGRAM, UDP), WRONG_TYPE, WRONG_TYPE, WRONG_TYPE, WRONG_TYPE, WRONG_TYPE,
            NO_PROTOCOL],
    RAW: [NO_PROTOCOL, (RAW, TCP), (RAW, UDP), (RAW, ICMP), (RAW, IGMP), (RAW, ICMPV6), (RAW, PGM), (RAW, SCTP),
          (RAW, 200)],
    RDM: [NO_TYPE, WRONG_TYPE, WRONG_TYPE, WRONG_TYPE, WRONG_TYPE, WRONG_TYPE, NO_PROTOCOL, WRONG_TYPE, NO_PROTOCOL],
    SEQPACKET: [NO_TYPE, WRONG_TYPE, WRONG_TYPE, WRONG_TYPE, WRONG_TYPE, WRONG_TYPE, WRONG_TYPE, NO_PROTOCOL,
                NO_PROTOCOL],
    9: [NO_TYPE] * 9,
}  # fmt: skip
INET6_MATRIX = INET_MATRIX | {RDM: [NO_TYPE] * 9}
CASES = [
    (family, kind, protocol, outcome)
    for family, matrix in ((INET, INET_MATRIX), (INET6, INET6_MATRIX))
    for kind, line in matrix.items()
    for protocol, outcome in zip(PROTOCOLS, line, strict=True)
]


@pytest.mark.parametrize(("family", "kind", "protocol", "outcome"), CASES)
def test_every_combination_of_a_known_family_is_as_the_reference_says(family, kind, protocol, outcome):
    if isinstance(outcome, tuple):
        assert resolve(family, kind, protocol) == (family, *outcome)
        return
    with raises_errno(outcome):
        resolve(family, kind, protocol)


def test_nothing_specified_at_all_is_invalid():
    with raises_errno(errno.EINVAL):
        resolve(UNSPEC, 0, 0)


@pytest.mark.parametrize(
    ("kind", "protocol", "outcome"),
    [
        (DGRAM, UDP, (INET, DGRAM, UDP)),
        (0, UDP, (INET, DGRAM, UDP)),
        (0, TCP, (INET, STREAM, TCP)),
        (STREAM, 0, (INET, STREAM, TCP)),
        (0, ICMP, (INET, RAW, ICMP)),
        (0, IGMP, (INET, RAW, IGMP)),
        (0, ICMPV6, (INET6, RAW, ICMPV6)),
        (RAW, ICMPV6, (INET6, RAW, ICMPV6)),
        (RAW, 200, (INET, RAW, 200)),
    ],
)
def test_an_unspecified_family_is_that_of_the_first_provider_that_fits(kind, protocol, outcome):
    assert resolve(UNSPEC, kind, protocol) == outcome


@pytest.mark.parametrize("family", [1, 3, 16, 17, 40, -1, 1 << 20])
def test_a_family_that_no_provider_has_is_not_supported(family):
    with raises_errno(errno.EAFNOSUPPORT):
        resolve(family, STREAM, TCP)


@pytest.mark.parametrize("protocol", [-1, 256, 262, 1 << 40])
def test_a_protocol_number_outside_the_ip_header_is_not_supported(protocol):
    for kind in (0, STREAM, DGRAM, RAW):
        with raises_errno(errno.EPROTONOSUPPORT):
            resolve(INET, kind, protocol)


@given(st.integers(-5, 50), st.integers(-5, 12), st.integers(-5, 300))
def test_a_result_is_complete_and_keeps_what_the_caller_gave(family, kind, protocol):
    try:
        result = resolve(family, kind, protocol)
    except OSError as error:
        result = None
        number = error.errno
    if result is None:
        assert number in (errno.EINVAL, NO_FAMILY, NO_TYPE, NO_PROTOCOL, WRONG_TYPE)
        return
    assert all(result)
    assert all(given in (0, got) for given, got in zip((family, kind, protocol), result, strict=True))
    assert resolve(*result) == result


def test_the_catalog_has_no_row_twice():
    assert len({row[:3] for row in combinations.CATALOG}) == len(combinations.CATALOG)
