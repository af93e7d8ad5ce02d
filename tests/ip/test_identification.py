"""Identifications and flow labels: never repeated too soon, never to be guessed, always the same for a seed."""

from hypothesis import given
from hypothesis import strategies as st

from tests.support.ip_host import HOST4, HOST6, PEER4, PEER6, Host
from tests.support.requirement import requirement
from ustack.entropy import SeededEntropy
from ustack.ip.identification import FlowLabels, Identifications

ADDRESS = st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16)


@requirement("RFC791", "3.1/identification")
def test_identifications_of_one_flow_do_not_repeat_until_the_field_wraps() -> None:
    """RFC 6864 §4.3, even while other flows use the same counters."""
    host = Host()
    seen = set()
    for number in range(20_000):
        seen.add(host.layer.next_identification(HOST4, PEER4, 17))
        host.layer.next_identification(HOST4, number.to_bytes(4, "big"), 17)
        if number % 4 == 0:
            host.layer.next_identification(HOST4, PEER4, 6)
    assert len(seen) == 20_000
    assert max(seen) <= 0xFFFF


@requirement("RFC1122", "3.2.1.5")
@given(st.integers(0, 1000), ADDRESS, ADDRESS, st.integers(0, 255))
def test_identifications_go_up_by_one_and_are_the_same_for_a_seed(
    seed: int, source: bytes, destination: bytes, protocol: int
) -> None:
    one, other = (Identifications(SeededEntropy(seed)) for _ in range(2))
    first = one.take(source, destination, protocol)
    assert first == other.take(source, destination, protocol)
    assert one.take(source, destination, protocol) == (first + 1) & 0xFFFFFFFF


def test_identifications_of_other_flows_begin_elsewhere() -> None:
    """RFC 7739 §5.3."""
    starts = {Identifications(SeededEntropy(1)).take(HOST6, bytes((number,)) * 16, 17) for number in range(200)}
    assert len(starts) == 200
    assert Identifications(SeededEntropy(1)).take(HOST6, PEER6, 0) != Identifications(SeededEntropy(2)).take(
        HOST6, PEER6, 0
    )


@requirement("RFC8200", "6")
@given(st.integers(0, 100), ADDRESS, ADDRESS, st.integers(0, 255), st.integers(0, 65535), st.integers(0, 65535))
def test_a_flow_label_is_the_same_for_all_packets_of_a_flow_and_never_zero(
    seed: int, source: bytes, destination: bytes, protocol: int, source_port: int, destination_port: int
) -> None:
    """RFC 6437 §3."""
    flow = (source, destination, protocol, source_port, destination_port)
    label = FlowLabels(SeededEntropy(seed)).label(*flow)
    assert 0 < label < 1 << 20
    assert label == FlowLabels(SeededEntropy(seed)).label(*flow)


def test_flow_labels_of_different_flows_are_spread() -> None:
    host = Host()
    labels = {host.layer.flow_label(HOST6, PEER6, 6, port, 80) for port in range(1024, 5120)}
    assert len(labels) > 4000
    assert {label >> 16 for label in labels} == set(range(16))


@requirement("RFC8200", "6")
def test_flow_labels_differ_between_hosts() -> None:
    assert Host(seed=1).layer.flow_label(HOST6, PEER6, 6, 1, 2) != Host(seed=2).layer.flow_label(HOST6, PEER6, 6, 1, 2)
