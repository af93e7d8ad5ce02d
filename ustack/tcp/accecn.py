"""Accurate ECN: feedback of every congestion mark.  RFC 9768.

The receiver tells how many segments came with CE, modulo 8, in the three flags AE, CWR and ECE of every segment (the
field ACE), and in an option how many bytes came with each codepoint.  Here: the handshake, both counters, and the
checks against networks that bleach or mangle them.  The layout of the option is in `accecn_option`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ustack.native import lib
from ustack.tcp.ecn_need import capable_codepoint, need
from ustack.wire.tcp import FIN, RST
from ustack.wire.tcp_options import ACCURATE_ECN_0, AccurateEcn

if TYPE_CHECKING:
    from ustack.tcp.connection import Connection
    from ustack.tcp.segment import Segment

_ACE_SHIFT = 6
_ACE_MASK = 7
FIRST_COUNT = 5
"""Where the counter of CE marks starts on both sides, so that a field that was zeroed shows.  RFC 9768 §3.2.1."""
FIRST_BYTES = {lib.ECT_1: 1, lib.ECN_CE: 0, lib.ECT_0: 1}
"""Where the byte counters start, for the same reason.  RFC 9768 §3.2.1."""
ORDERS = ((lib.ECT_0, lib.ECN_CE, lib.ECT_1), (lib.ECT_1, lib.ECN_CE, lib.ECT_0))
"""The codepoints that the option's fields count, by its order.  RFC 9768 §3.2.3."""

_NOT_SEEN, _SEEN_EMPTY, _SEEN_COUNTERS, _SEEN_MANGLED = range(4)

_RESERVED = 0b101
"""An answer without a meaning yet: some later version's, which is Accurate ECN as well (RFC 9768 §3.1.3)."""
_REFLECTED = {lib.NOT_ECT: 0b010, lib.ECT_1: 0b011, lib.ECT_0: 0b100, lib.ECN_CE: 0b110}
"""ACE on a <SYN,ACK> and on the ACK of it: the codepoint that the SYN arrived with.  RFC 9768 §3.1.1, Table 2."""
_TOLD = (lib.ECT_0, lib.ECT_1, lib.NOT_ECT, lib.ECT_1, lib.ECT_0, lib.ECT_1, lib.ECN_CE, lib.ECT_1)
"""The codepoint that a reflecting ACE tells; the values without a meaning count as ECN-capable ones."""

_FIELDS_FOR = {lib.ECT_1: 1, lib.ECN_CE: 2, lib.ECT_0: 3}
"""How many fields the option (of order 1, which we send) must have to tell of a codepoint."""
_OPTION_INTERVAL_BITS = 0xFFC00000
"""The option leaves at least once every 2^22 bytes: RFC 9768 §3.2.3.3."""
_LATEST_OPTION_BYTES = (1 << 23) - 1
"""An option that has not been seen until then cannot be relied upon: its counters may have wrapped."""
_PENDING_MOST = 6
_MEAN_SHIFT = 6
_MANY_PACKETS_AN_ACK = 4 << _MEAN_SHIFT


def ace(flags: int) -> int:
    """The field ACE: AE, CWR and ECE as a number."""
    return flags >> _ACE_SHIFT & _ACE_MASK


def reflection(codepoint: int) -> int:
    """The flags that tell a SYN's codepoint."""
    return _REFLECTED[codepoint] << _ACE_SHIFT


# The handshake: RFC 9768 §3.1 and §3.2.2.


def accept(connection: Connection, segment: Segment) -> None:
    """The peer's SYN asks for Accurate ECN, and so do we."""
    tcb = connection.tcb
    tcb.ecn_mode = lib.ECN_ACCURATE
    tcb.syn_ecn_received = tcb.ecn_last_received = segment.codepoint
    connection.wants_slow_path(lib.SLOW_ECN, True)


def syn_arrives_again(connection: Connection, segment: Segment) -> None:
    """In SYN-RECEIVED: tell of the latest.  Without flags it is a fall-back of a peer that none of them reached.

    RFC 9768 §3.1.4.
    """
    tcb = connection.tcb
    if tcb.ecn_mode == lib.ECN_ACCURATE:
        tcb.syn_ecn_received = segment.codepoint
        if not ace(segment.flags):
            tcb.accecn_fail |= lib.ACCECN_ACE_RECEIVE


def syn_ack_lost(tcb: Any) -> None:
    """A <SYN,ACK> leaves without flags since two with them got lost: that may have been why.  RFC 9768 §3.1.4.2."""
    if tcb.ecn_mode == lib.ECN_ACCURATE:
        tcb.accecn_fail |= lib.ACCECN_ACE_SEND


def syn_ack_arrives(connection: Connection, segment: Segment) -> None:
    """What the peer makes of our offer.  RFC 9768 §3.1.1, Table 2."""
    tcb = connection.tcb
    answer = ace(segment.flags)
    if answer in (0b000, 0b111):
        tcb.ecn_mode = lib.ECN_NONE
        return
    if answer == 0b001:
        tcb.ecn_mode = lib.ECN_CLASSIC if need(connection) in ("", "classic") else lib.ECN_NONE
        return
    tcb.ecn_mode = lib.ECN_ACCURATE
    tcb.syn_ecn_received = segment.codepoint
    tcb.ecn_flags |= lib.ECN_REFLECT
    connection.wants_slow_path(lib.SLOW_ECN, True)
    if segment.options.accurate_ecn is not None:
        _see_option(tcb, segment.options.accurate_ecn)
        tcb.accecn_demand = 2
    if answer != _RESERVED and _is_plausible(connection, answer) and segment.codepoint == lib.ECN_CE:
        tcb.received_ce += 1
        tcb.received_ce_pending += 1


def syn_in_window(connection: Connection, segment: Segment) -> None:
    """A SYN or <SYN,ACK> on a synchronized connection: the ACK that it gets tells of its codepoint."""
    tcb = connection.tcb
    if tcb.ecn_mode != lib.ECN_ACCURATE:
        return
    tcb.syn_ecn_received = segment.codepoint
    tcb.ecn_flags |= lib.ECN_REFLECT
    if segment.options.accurate_ecn is not None and tcb.accecn_seen < _SEEN_COUNTERS:
        _see_option(tcb, segment.options.accurate_ecn)
        tcb.accecn_demand = max(tcb.accecn_demand, 1)


def third_ack_arrives(connection: Connection, segment: Segment) -> None:
    """The ACK of our <SYN,ACK> tells how that has arrived, unless it carries data or is a later one.

    RFC 9768 §3.2.2.1, Table 4.
    """
    tcb = connection.tcb
    told = ace(segment.flags)
    if told == 0:
        tcb.accecn_fail |= lib.ACCECN_ACE_RECEIVE
    elif told not in (0b001, 0b101, 0b111) and not segment.carried and not segment.options.sack_blocks:
        marked = _TOLD[told] == lib.ECN_CE
        if _is_plausible(connection, told) and marked and not tcb.delivered_ce:
            tcb.delivered_ce = 1
    if segment.options.accurate_ecn is not None:
        _see_option(tcb, segment.options.accurate_ecn)
    tcb.accecn_demand = 1


def _is_plausible(connection: Connection, told: int) -> bool:
    """Whether a packet with the codepoint that we sent can have arrived as the peer tells.  RFC 9768 §3.2.2.3.

    If not, the network mangles the codepoints: we then send none that is ECN-capable.
    """
    tcb = connection.tcb
    sent, received = tcb.syn_ecn_sent, _TOLD[told]
    possible = sent == received or lib.NOT_ECT not in (sent, received)
    if possible or not connection.tcp.config.ecn_fallback:
        return True
    tcb.accecn_fail |= lib.ACCECN_ACE_RECEIVE
    return False


def _see_option(tcb: Any, option: AccurateEcn) -> None:
    """Note the first option; one whose first or third field is zero was zeroed on its way.  RFC 9768 §3.2.3.2.4."""
    counters = option.counters
    if not counters:
        tcb.accecn_seen = _SEEN_EMPTY
    elif 0 in counters[::2]:
        _lose_option(tcb)
    else:
        tcb.accecn_seen = _SEEN_COUNTERS


def _lose_option(tcb: Any) -> None:
    tcb.accecn_seen = _SEEN_MANGLED
    tcb.accecn_fail |= lib.ACCECN_OPTION_RECEIVE


# Outgoing segments: RFC 9768 §3.2.2.


def mark(connection: Connection, flags: int, length: int) -> int:
    """The flags with ACE; every segment is ECN-capable, pure ACKs and retransmissions too.  RFC 9768 §3.2.2.5."""
    tcb = connection.tcb
    failed = tcb.accecn_fail & (lib.ACCECN_ACE_SEND | lib.ACCECN_ACE_RECEIVE)
    tcb.ecn_codepoint = lib.NOT_ECT if failed else capable_codepoint(connection)
    reflect = tcb.ecn_flags & lib.ECN_REFLECT
    tcb.ecn_flags &= ~(lib.ECN_REFLECT | lib.ECN_ACK_NEXT)
    if reflect and not length and not flags & (FIN | RST):
        return flags | reflection(tcb.syn_ecn_received)
    tcb.received_ce_pending = 0
    return flags | int(tcb.received_ce + FIRST_COUNT & _ACE_MASK) << _ACE_SHIFT


def duplicate_arrives(tcb: Any, end: int) -> None:
    """Data that end at `end` have come again, though the last ACK with the option has told that they had come twice.

    ACKs with the option then do not get through, but others may.  RFC 9768 §3.2.3.2.2.
    """
    if tcb.ecn_mode == lib.ECN_ACCURATE and tcb.accecn_sent_dsack and tcb.duplicate_sack.end == end:
        tcb.accecn_fail |= lib.ACCECN_OPTION_SEND


# Segments that arrive.


def codepoint_arrives(connection: Connection, codepoint: int, carried: int) -> None:
    """See that the peer hears of a codepoint that differs from the last one with two ACKs.  RFC 9768 §3.2.2.5.1."""
    tcb = connection.tcb
    if codepoint and carried:
        tcb.accecn_least_fields = max(tcb.accecn_least_fields, _FIELDS_FOR[codepoint])
        count = tcb.received_ecn_bytes[codepoint - 1]
        if (count ^ (count - carried)) & _OPTION_INTERVAL_BITS:
            tcb.accecn_demand = max(tcb.accecn_demand, 1)
    changed = tcb.ecn_last_received != codepoint
    if changed or codepoint == lib.ECN_CE:
        tcb.accecn_demand = 2
    if changed:
        tcb.ecn_flags |= lib.ECN_ACK_NEXT
    if carried and tcb.ecn_flags & lib.ECN_ACK_NEXT:
        tcb.ack_now = 1


def ack_arrives(connection: Connection, segment: Segment, delivered: int, delivered_bytes: int) -> bool:
    """Take ACE and the option of an acknowledgment that is not an old one; whether they tell of new marks.

    RFC 9768 §3.2.2.5.2 and §3.2.3.4.
    """
    tcb = connection.tcb
    if not delivered and not delivered_bytes and not segment.timestamp_advanced:
        return False
    marked_bytes = tcb.delivered_ecn_bytes[lib.ECN_CE - 1]
    reliable = _take_option(tcb, segment.options.accurate_ecn, delivered_bytes)
    if delivered:
        _update_mean(tcb, delivered)
    if tcb.received_ce_pending >= _PENDING_MOST:
        tcb.ecn_flags |= lib.ECN_ACK_NEXT
    least = (ace(segment.flags) - FIRST_COUNT - tcb.delivered_ce) & _ACE_MASK
    newly = least
    if delivered > _ACE_MASK:
        bytes_newly = tcb.delivered_ecn_bytes[lib.ECN_CE - 1] - marked_bytes if reliable else None
        newly = _resolve_wrap(tcb, least, delivered, delivered_bytes, bytes_newly)
    tcb.delivered_ce += newly
    return bool(newly)


def _update_mean(tcb: Any, delivered: int) -> None:
    mean, sample = tcb.acked_packets_mean, delivered << _MEAN_SHIFT
    if mean:
        sample = (mean << _MEAN_SHIFT) - mean + sample >> _MEAN_SHIFT
    tcb.acked_packets_mean = min(sample, 0xFFFF)


def _resolve_wrap(tcb: Any, least: int, delivered: int, delivered_bytes: int, marked_bytes: int | None) -> int:
    """How many marks an ACK of more than 7 segments tells of: the counter may have wrapped.  RFC 9768 §A.2.

    `marked_bytes` are those that the option has told newly; without it, the worst is assumed unless ACKs are thinned on
    their way so that every one of them acknowledges many.
    """
    most = delivered - ((delivered - least) & _ACE_MASK)
    if marked_bytes is None:
        return least if tcb.acked_packets_mean > _MANY_PACKETS_AN_ACK else most
    if not marked_bytes:
        return least
    if delivered >= 2 * (_ACE_MASK + 1) and (tcb.sack_permitted or tcb.ca_state in (lib.CA_OPEN, lib.CA_CWR)):
        if delivered_bytes <= marked_bytes:
            return most
        estimate = -(-marked_bytes * delivered // delivered_bytes)
        return min(most, least + (estimate & ~_ACE_MASK))
    if marked_bytes > least * tcb.snd_mss:
        return most
    return least if marked_bytes < most * tcb.snd_mss // 2 else most


def _take_option(tcb: Any, option: AccurateEcn | None, delivered_bytes: int) -> bool:
    """Update the byte counters; whether they can be relied upon for this acknowledgment.

    Without the option what was delivered counts for the codepoint that the latest options have told of, if one alone.
    """
    if tcb.accecn_fail & lib.ACCECN_OPTION_RECEIVE:
        return False
    guess = tcb.accecn_guess
    if option is None:
        if not tcb.accecn_seen and tcb.bytes_sent >= _LATEST_OPTION_BYTES:
            _lose_option(tcb)
        if not tcb.accecn_seen or not guess:
            return False
        tcb.delivered_ecn_bytes[guess - 1] += delivered_bytes
        return True
    if tcb.accecn_seen < _SEEN_COUNTERS:
        _see_option(tcb, option)
    return _take_counters(tcb, option, guess)


def _take_counters(tcb: Any, option: AccurateEcn, guess: int) -> bool:
    order = ORDERS[0 if option.kind == ACCURATE_ECN_0 else 1]
    deltas = {
        codepoint: _advance_counter(tcb, codepoint, count)
        for codepoint, count in zip(order, option.counters, strict=False)
    }
    changed = [codepoint for codepoint, delta in deltas.items() if delta and codepoint != guess]
    ambiguous = min(deltas.values(), default=0) < 0 or len(changed) > 1
    if ambiguous:
        tcb.accecn_guess = 0
    elif changed:
        tcb.accecn_guess = changed[0]
    return bool(guess) and not ambiguous


def _advance_counter(tcb: Any, codepoint: int, count: int) -> int:
    """Take 24 bits of a byte counter into the 32 that we keep; by how much it has grown, or shrunk."""
    index = codepoint - 1
    known: int = tcb.delivered_ecn_bytes[index]
    delta = (count - FIRST_BYTES[codepoint] - known) & 0xFFFFFF
    if delta & 0x800000:
        delta -= 1 << 24
    tcb.delivered_ecn_bytes[index] = (known + delta) & 0xFFFFFFFF
    return delta
