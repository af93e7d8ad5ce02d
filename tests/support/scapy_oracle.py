"""Scapy as an independent oracle: its layers, imported once, without its reading routes or warning of anything.

Tests give every address and every length that scapy would otherwise look up or guess.
"""

from __future__ import annotations

import logging
import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from scapy.config import conf

    conf.route_autoload = False
    conf.route6_autoload = False
    logging.getLogger("scapy").setLevel(logging.CRITICAL)

    from scapy.layers import igmp as igmp_layers
    from scapy.layers import inet, inet6
    from scapy.packet import Packet, Raw

__all__ = ["Packet", "Raw", "igmp_layers", "inet", "inet6", "recomputed"]


def recomputed(packet: Packet) -> bytes:
    """The bytes of a dissected packet once scapy has computed every checksum and length that it knows how to.

    What an ICMP error quotes stays as it is.
    """
    copy = packet.copy()
    layer = copy
    while layer and not isinstance(layer, inet.IPerror | inet6.IPerror6):
        if "autopad" in layer.fields:
            layer.autopad = 0
        for name in ("chksum", "cksum", "len", "plen", "ihl", "dataofs"):
            if name in layer.fields:
                del layer.fields[name]
        layer.raw_packet_cache = None
        layer = layer.payload
    return bytes(copy)
