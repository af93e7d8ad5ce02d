"""What an impaired wire does to packets: how often, when, the same way again, and without losing count."""

import errno
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.frames import (
    FakeDevice,
    append_partial,
    append_super,
    burst_of,
    contents,
    is_valid,
    reason_to_drop,
    tcp_packet,
    udp_packet,
)
from tests.support.raising import raises_errno
from ustack.burst import Burst
from ustack.config import MILLISECOND, SECOND
from ustack.link.device import ALL_OFFLOADS
from ustack.link.frame import Frame
from ustack.link.impairment import PERFECT, Impairment, ImpairmentProfile, corrupt
from ustack.link.pipe import pipe


def numbered(count: int) -> list[bytes]:
    return [udp_packet(4, i.to_bytes(4, "big")) for i in range(count)]


def send(device: Impairment, packets: list[bytes], now: int = 0) -> None:
    for first in range(0, len(packets), 200):
        device.write(burst_of(*packets[first : first + 200]), now)


def run_out(device: Impairment) -> list[int]:
    """Read at every deadline until there is none; returns these times."""
    times: list[int] = []
    while (deadline := device.next_deadline()) is not None:
        times.append(deadline)
        device.read(Burst(), deadline)
    return times


probabilities = st.sampled_from([0.0, 0.05, 0.5, 1.0])
profiles = st.builds(
    ImpairmentProfile,
    loss=probabilities,
    corruption=probabilities,
    duplication=probabilities,
    reordering=probabilities,
    reordering_ns=st.integers(0, SECOND),
    delay_ns=st.integers(0, SECOND),
    jitter_ns=st.integers(0, SECOND),
    rate_bits_per_s=st.none() | st.integers(1, 10**9),
    queue_bytes=st.integers(0, 10_000),
    held_bytes=st.integers(0, 10_000),
)


def test_a_perfect_wire_changes_nothing() -> None:
    inner = FakeDevice()
    device = Impairment(inner, 1)
    inner.arriving = numbered(3)
    burst = Burst()
    assert device.read(burst, 5) == 3
    assert contents(burst) == numbered(3)
    assert device.write(burst, 5) == 3
    assert inner.written == numbered(3)
    assert device.next_deadline() is None


def test_it_passes_on_what_the_wrapped_device_is() -> None:
    inner = FakeDevice(name="tun7", mtu=1280, offload=3)
    device = Impairment(inner, 1)
    assert (device.name, device.mtu, device.offload, device.fileno()) == ("tun7", 1280, 3, 77)
    inner.offload = 0
    assert device.offload == 0
    device.close()
    assert inner.closed


def test_it_passes_the_hook_of_a_pipe_on() -> None:
    a, b = pipe()
    calls: list[bool] = []
    device = Impairment(b, 1)
    device.on_readable = lambda: calls.append(True)
    a.write(burst_of(b"x"), 0)
    assert calls == [True]
    assert device.on_readable is b.on_readable


@pytest.mark.parametrize(
    ("effect", "counter"), [("loss", "lost"), ("corruption", "corrupted"), ("duplication", "duplicated")]
)
def test_an_effect_befalls_the_share_of_packets_that_the_profile_says(effect: str, counter: str) -> None:
    inner = FakeDevice()
    device = Impairment(inner, 7, ImpairmentProfile(**{effect: 0.2}))
    send(device, numbered(5000))
    counters = device.outbound.counters
    assert abs(getattr(counters, counter) - 1000) < 120
    assert len(inner.written) == 5000 - counters.lost + counters.duplicated
    assert sum(not is_valid(packet) for packet in inner.written) == counters.corrupted


def test_reordering_moves_only_the_packets_that_it_befalls() -> None:
    inner = FakeDevice()
    device = Impairment(inner, 3, ImpairmentProfile(reordering=0.1, reordering_ns=20 * MILLISECOND))
    packets = numbered(1000)
    for i, packet in enumerate(packets):
        device.read(Burst(), i * MILLISECOND)
        device.write(burst_of(packet), i * MILLISECOND)
    run_out(device)
    order = [int.from_bytes(packet[28:], "big") for packet in inner.written]
    assert sorted(order) == list(range(1000))
    overtaken = [number for place, number in enumerate(order) if any(later < number for later in order[place:])]
    late = [number for place, number in enumerate(order) if any(earlier > number for earlier in order[:place])]
    assert 60 < len(late) <= device.outbound.counters.reordered
    assert overtaken


@given(st.integers(0, SECOND), st.integers(0, SECOND), st.integers())
def test_delay_and_jitter_bound_the_arrival_and_keep_the_order(delay: int, jitter: int, seed: int) -> None:
    inner = FakeDevice()
    device = Impairment(inner, seed, ImpairmentProfile(delay_ns=delay, jitter_ns=jitter))
    for i in range(20):
        device.write(burst_of(bytes([i])), i * 1000)
    run_out(device)
    assert inner.written == [bytes([i]) for i in range(20)]
    for i, arrival in enumerate(inner.times):
        assert i * 1000 + delay <= arrival <= 19 * 1000 + delay + jitter


def test_a_delayed_packet_arrives_at_its_deadline_and_not_before() -> None:
    inner = FakeDevice()
    device = Impairment(inner, 1, ImpairmentProfile(delay_ns=100), ImpairmentProfile(delay_ns=300))
    inner.arriving = [b"inbound"]
    burst = Burst()
    device.write(burst_of(b"outbound"), 1000)
    assert device.read(burst, 1000) == 0
    assert device.next_deadline() == 1100
    assert device.read(burst, 1099) == 0
    assert inner.written == []
    assert device.read(burst, 1100) == 0
    assert inner.written == [b"outbound"]
    assert device.next_deadline() == 1300
    assert device.read(burst, 1300) == 1
    assert contents(burst) == [b"inbound"]


def test_a_bottleneck_spaces_packets_by_their_length() -> None:
    inner = FakeDevice()
    device = Impairment(inner, 1, ImpairmentProfile(rate_bits_per_s=8000))
    device.write(burst_of(bytes(100), bytes(50), bytes(100)), 0)
    assert run_out(device) == [SECOND // 10, SECOND * 15 // 100, SECOND // 4]


def test_a_bottleneck_drops_what_its_queue_has_no_room_for_and_takes_packets_again_later() -> None:
    inner = FakeDevice()
    device = Impairment(inner, 1, ImpairmentProfile(rate_bits_per_s=8000, queue_bytes=250))
    device.write(burst_of(*[bytes(100)] * 5), 0)
    assert device.outbound.counters.queue_full == 3
    device.write(burst_of(bytes(100)), SECOND // 10)
    assert device.outbound.counters.queue_full == 3
    assert run_out(device)[-1] == SECOND * 3 // 10
    assert len(inner.written) == 3


def test_an_idle_bottleneck_takes_a_packet_larger_than_its_queue() -> None:
    inner = FakeDevice()
    device = Impairment(inner, 1, ImpairmentProfile(rate_bits_per_s=8000, queue_bytes=10))
    device.write(burst_of(bytes(1000)), 0)
    run_out(device)
    assert inner.written == [bytes(1000)]


def test_what_is_held_is_bounded() -> None:
    device = Impairment(FakeDevice(), 1, ImpairmentProfile(delay_ns=SECOND, held_bytes=1000))
    send(device, [bytes(100)] * 1000)
    assert len(device.outbound) == 10
    assert device.outbound.counters.held_full == 990


@given(profiles, st.integers(), st.lists(st.tuples(st.integers(0, SECOND), st.integers(1, 400)), max_size=30))
def test_no_packet_goes_unaccounted(profile: ImpairmentProfile, seed: int, writes: list[tuple[int, int]]) -> None:
    inner = FakeDevice(room=3)
    device = Impairment(inner, seed, profile)
    now = 0
    for gap, size in writes:
        now += gap
        device.write(burst_of(*[udp_packet(6, bytes(size))] * 3), now)
        counters = device.outbound.counters
        ended = counters.lost + counters.queue_full + counters.held_full + counters.malformed
        assert counters.taken + counters.duplicated == counters.released + ended + len(device.outbound)
        assert len(inner.written) == counters.released or profile == PERFECT
    assert device.outbound.counters.taken == 3 * len(writes) or profile == PERFECT


@given(profiles, profiles, st.integers(), st.lists(st.binary(min_size=1, max_size=60), max_size=30))
def test_the_same_seed_does_the_same(
    outbound: ImpairmentProfile, inbound: ImpairmentProfile, seed: int, packets: list[bytes]
) -> None:
    def run() -> tuple[list[bytes], list[tuple[int | None, list[bytes]]]]:
        inner = FakeDevice()
        device = Impairment(inner, seed, outbound, inbound)
        inner.arriving = list(packets)
        device.write(burst_of(*packets), 0)
        seen: list[tuple[int | None, list[bytes]]] = []
        now = 0
        for _ in range(100):
            burst = Burst()
            device.read(burst, now)
            seen.append((device.next_deadline(), contents(burst)))
            now = device.next_deadline() or now
        return inner.written, seen

    assert run() == run()


def test_another_seed_does_something_else_and_directions_differ() -> None:
    def run(seed: int) -> tuple[list[bytes], list[bytes]]:
        inner = FakeDevice()
        device = Impairment(inner, seed, ImpairmentProfile(loss=0.5), ImpairmentProfile(loss=0.5))
        device.write(burst_of(*numbered(200)), 0)
        inner.arriving = numbered(200)
        burst = Burst()
        device.read(burst, 0)
        return inner.written, contents(burst)

    first, second = run(1), run(2)
    assert first[0] != first[1]
    assert first[0] != second[0]
    assert first[1] != second[1]


@given(
    st.sampled_from([4, 6]),
    st.sampled_from([udp_packet, tcp_packet]),
    st.binary(max_size=200),
    st.booleans(),
    st.integers(),
)
def test_corruption_is_always_detected(version: int, build, payload: bytes, partial: bool, seed: int) -> None:
    packet = build(version, payload)
    burst = burst_of(packet)
    if partial:
        burst.clear()
        append_partial(burst, packet)
    corrupted = corrupt(Frame.copy(burst, 0), Random(seed))
    assert corrupted.flags == 0
    assert len(corrupted.packet) == len(packet)
    changed = [i for i in range(len(packet)) if packet[i] != corrupted.packet[i]]
    assert changed
    assert changed[-1] - changed[0] <= 1
    if reason_to_drop(corrupted.packet) is None:  # a checksum of zero says that there is none
        assert build is udp_packet
        assert version == 4
        assert corrupted.packet[26:28] == b"\0\0"


@given(st.binary(max_size=12), st.integers())
def test_corruption_of_any_bytes_fails_at_nothing(packet: bytes, seed: int) -> None:
    assert len(corrupt(Frame(packet), Random(seed)).packet) == len(packet)


def test_a_partial_checksum_stays_partial_where_nothing_is_corrupted() -> None:
    a, b = pipe(offload=ALL_OFFLOADS)
    device = Impairment(a, 1, ImpairmentProfile(delay_ns=5))
    burst, received = Burst(), Burst()
    append_partial(burst, tcp_packet(6, b"payload"))
    device.write(burst, 0)
    device.read(received, 5)
    assert b.read(received, 5) == 1
    assert received.cdata.frames[0].flags == 1
    assert received.completed(0) == tcp_packet(6, b"payload")


@pytest.mark.parametrize("version", [4, 6])
def test_loss_acts_on_the_single_segments_of_a_super_segment(version: int) -> None:
    inner = FakeDevice(offload=ALL_OFFLOADS)
    device = Impairment(inner, 5, ImpairmentProfile(loss=0.3))
    burst = Burst()
    append_super(burst, tcp_packet(version, bytes(50_000)), 1000)
    device.write(burst, 0)
    counters = device.outbound.counters
    assert counters.taken == 50
    assert 5 < counters.lost < 30
    assert len(inner.written) == 50 - counters.lost
    assert all(is_valid(packet) for packet in inner.written)


def test_a_malformed_super_segment_is_counted() -> None:
    inner = FakeDevice()
    device = Impairment(inner, 5, ImpairmentProfile(loss=0.3))
    burst = burst_of(b"\x45nonsense")
    burst.cdata.frames[0].gso_type = 1
    burst.cdata.frames[0].gso_size = 100
    device.write(burst, 0)
    assert inner.written == []
    assert device.outbound.counters.malformed == 1


def test_packets_that_do_not_fit_the_readers_burst_wait() -> None:
    inner = FakeDevice()
    device = Impairment(inner, 5, inbound=ImpairmentProfile(duplication=1.0))
    inner.arriving = numbered(200)
    burst = Burst()
    assert device.read(burst, 0) == 256
    assert device.read(burst, 0) == 0
    burst.clear()
    assert device.read(burst, 0) == 144


def test_everything_that_has_arrived_is_taken_in_one_read() -> None:
    inner = FakeDevice()
    device = Impairment(inner, 5, inbound=ImpairmentProfile(delay_ns=10))
    inner.arriving = numbered(2000)
    assert device.read(Burst(), 0) == 0
    assert inner.arriving == []
    assert len(device.inbound) == 2000


def test_a_device_that_takes_nothing_now_gets_the_packets_later_in_order() -> None:
    inner = FakeDevice(room=0)
    device = Impairment(inner, 5, ImpairmentProfile(delay_ns=1))
    device.write(burst_of(b"1", b"2"), 0)
    device.read(Burst(), 1)
    device.write(burst_of(b"3"), 1)
    assert inner.written == []
    inner.room = 1
    device.read(Burst(), 2)
    assert inner.written == [b"1", b"2", b"3"]


def test_what_is_on_its_way_arrives_before_a_lost_device_is_reported() -> None:
    a, b = pipe()
    device = Impairment(b, 1, inbound=ImpairmentProfile(delay_ns=10))
    a.write(burst_of(b"last words"), 0)
    burst = Burst()
    assert device.read(burst, 0) == 0
    a.close()
    assert device.read(burst, 5) == 0
    assert device.read(burst, 10) == 1
    with raises_errno(errno.ENODEV):
        device.read(burst, 11)


def test_other_errors_of_the_device_come_through_at_once() -> None:
    inner = FakeDevice()
    device = Impairment(inner, 1, inbound=ImpairmentProfile(delay_ns=10))
    inner.arriving = [b"x"]
    device.read(Burst(), 0)
    inner.failure = OSError(errno.EIO, "broken")
    with raises_errno(errno.EIO):
        device.read(Burst(), 1)


@pytest.mark.parametrize(
    "wrong", [{"loss": -0.1}, {"duplication": 1.1}, {"delay_ns": -1}, {"rate_bits_per_s": 0}, {"queue_bytes": -1}]
)
def test_a_profile_that_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ImpairmentProfile(**wrong)
