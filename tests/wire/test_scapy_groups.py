"""Scapy as the oracle of IGMP and MLD, every version, in both directions."""

from typing import Any

import pytest

from tests.support.scapy_oracle import igmp_layers, inet, inet6, recomputed
from ustack.address import format_address, parse_address
from ustack.wire import icmpv6, igmp, ipv4, ipv6, ipv6_ext, mld
from ustack.wire.group_record import GroupRecord, RecordType

GROUP, HOST, OTHER = "224.0.0.251", "192.0.2.1", "192.0.2.2"
GROUP6, HOST6, OTHER6 = "ff02::fb", "fe80::1", "2001:db8::2"
G, A, B = (parse_address(text) for text in (GROUP, HOST, OTHER))
G6, A6, B6 = (parse_address(text) for text in (GROUP6, HOST6, OTHER6))

IGMP_CASES: dict[str, tuple[Any, igmp.IgmpMessage]] = {
    "query v1": (igmp_layers.IGMP_MQ(mrcode=0, gaddr="0.0.0.0"), igmp.MembershipQuery(1, 0, bytes(4))),
    "query v2": (igmp_layers.IGMP_MQ(mrcode=100, gaddr=GROUP), igmp.MembershipQuery(2, 100, G)),
    "query v3 general": (
        igmp_layers.IGMPv3_MQ(mrcode=20, gaddr="0.0.0.0", srcaddrs=[]),
        igmp.MembershipQuery(3, 20, bytes(4)),
    ),
    "query v3 with sources": (
        igmp_layers.IGMPv3_MQ(mrcode=20, gaddr=GROUP, s=1, qrv=2, qqic=125, srcaddrs=[HOST, OTHER]),
        igmp.MembershipQuery(3, 20, G, True, 2, 125, (A, B)),
    ),
    "report v1": (igmp_layers.IGMP_MR(gaddr=GROUP), igmp.MembershipReport(1, G)),
    "report v2": (igmp_layers.IGMPv2_MR(gaddr=GROUP), igmp.MembershipReport(2, G)),
    "leave": (igmp_layers.IGMPv2_LG(gaddr=GROUP), igmp.LeaveGroup(G)),
    "report v3": (
        igmp_layers.IGMPv3_MR(records=[
            igmp_layers.IGMPv3_MR_Group(rtype=kind, maddr=GROUP, srcaddrs=[HOST, OTHER][: kind % 3])
            for kind in RecordType
        ]),
        igmp.MembershipReportV3(tuple(GroupRecord(kind, G, (A, B)[: kind % 3]) for kind in RecordType)),
    ),
}  # fmt: skip
MLD_CASES: dict[str, tuple[Any, mld.MldMessage]] = {
    "query v1": (inet6.ICMPv6MLQuery(mrd=1000, mladdr=GROUP6), mld.ListenerQuery(1, 1000, G6)),
    "report v1": (inet6.ICMPv6MLReport(mladdr=GROUP6), mld.ListenerReport(G6)),
    "done": (inet6.ICMPv6MLDone(mladdr=GROUP6), mld.ListenerDone(G6)),
    "query v2 general": (inet6.ICMPv6MLQuery2(mrd=1000), mld.ListenerQuery(2, 1000, bytes(16))),
    "query v2 with sources": (
        inet6.ICMPv6MLQuery2(mrd=40000, mladdr=GROUP6, S=1, QRV=7, QQIC=125, sources=[HOST6, OTHER6]),
        mld.ListenerQuery(2, 40000, G6, True, 7, 125, (A6, B6)),
    ),
    "report v2": (
        inet6.ICMPv6MLReport2(records=[
            inet6.ICMPv6MLDMultAddrRec(rtype=kind, dst=GROUP6, sources=[HOST6, OTHER6][: kind % 3])
            for kind in RecordType
        ]),
        mld.ListenerReportV2(tuple(GroupRecord(kind, G6, (A6, B6)[: kind % 3]) for kind in RecordType)),
    ),
}  # fmt: skip
IGMP_MESSAGES = pytest.mark.parametrize(("layer", "message"), IGMP_CASES.values(), ids=IGMP_CASES.keys())
MLD_MESSAGES = pytest.mark.parametrize(("layer", "message"), MLD_CASES.values(), ids=MLD_CASES.keys())


@IGMP_MESSAGES
def test_igmp_of_scapy_parses_to_the_same(layer: Any, message: igmp.IgmpMessage) -> None:
    packet = bytes(inet.IP(src=HOST, dst=GROUP, proto=2) / layer.copy())
    header = ipv4.parse(packet)
    assert igmp.parse(memoryview(packet)[header.header_length :]) == message


@IGMP_MESSAGES
def test_igmp_of_ours_dissects_to_the_same_and_the_same_checksum(layer: Any, message: igmp.IgmpMessage) -> None:
    built = igmp.build(message)
    dissected = igmp_layers.IGMP(built)
    assert type(dissected) is type(layer)
    del dissected.chksum
    dissected.raw_packet_cache = None
    assert bytes(dissected) == built
    if isinstance(message, igmp.MembershipReportV3):
        found = [(record.rtype, record.maddr, len(record.srcaddrs)) for record in dissected.records]
        assert found == [(kind, GROUP, kind % 3) for kind in RecordType]
    else:
        assert dissected.gaddr == format_address(message.group)


@MLD_MESSAGES
def test_mld_of_scapy_parses_to_the_same(layer: Any, message: mld.MldMessage) -> None:
    alert = inet6.IPv6ExtHdrHopByHop(options=[inet6.RouterAlert(value=0)])
    packet = bytes(inet6.IPv6(src=HOST6, dst=GROUP6, hlim=1) / alert / layer.copy())
    chain = ipv6_ext.walk(packet, ipv6.parse(packet).next_header)
    assert (chain.protocol, chain.router_alert) == (58, 0)
    assert mld.parse(icmpv6.parse(memoryview(packet)[chain.offset :], A6, G6)) == message


@MLD_MESSAGES
def test_mld_of_ours_dissects_to_the_same_and_the_same_checksum(layer: Any, message: mld.MldMessage) -> None:
    built = mld.build(A6, G6, message)
    chain = ipv6_ext.build_hop_by_hop(58, [(ipv6_ext.OPTION_ROUTER_ALERT, bytes(2))])
    packet = ipv6.build(A6, G6, 0, len(chain) + len(built), hop_limit=1) + chain + built
    dissected = inet6.IPv6(packet)
    assert type(layer) in dissected
    assert recomputed(dissected) == packet
    if isinstance(message, mld.ListenerReportV2):
        records = dissected[type(layer)].records[0].iterpayloads()  # scapy takes each for the payload of the last
        assert [(record.rtype, record.dst) for record in records] == [(kind, GROUP6) for kind in RecordType]
    else:
        assert dissected[type(layer)].mladdr == format_address(message.group)
