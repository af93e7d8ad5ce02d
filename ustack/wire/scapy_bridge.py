"""Packets to and from scapy (extra `scapy`): the one module that imports it, once a function here is called."""

from __future__ import annotations

import importlib
from typing import Any

from ustack.wire import Buffer


def to_scapy(packet: Buffer) -> Any:
    """The scapy `IP` or `IPv6` packet of the same bytes.

    Raises:
        ImportError: scapy is not installed.
        ValueError: the bytes are neither IPv4 nor IPv6.
    """
    data = bytes(packet)
    ipv4_layer, ipv6_layer = _ip_layers()
    layers = {4: ipv4_layer, 6: ipv6_layer}
    version = data[0] >> 4 if data else 0
    if version not in layers:
        raise ValueError(f"neither IPv4 nor IPv6: version {version}")
    return layers[version](data)


def from_scapy(packet: Any) -> bytes:
    """The bytes of a scapy packet from its outermost `IP` or `IPv6` layer on; scapy fills in what is not set.

    Raises:
        ImportError: scapy is not installed.
        ValueError: there is no such layer.
    """
    ip_layers = _ip_layers()
    while packet and not isinstance(packet, ip_layers):
        packet = packet.payload
    if not packet:
        raise ValueError("the packet has neither an IP nor an IPv6 layer")
    return bytes(packet)


def _ip_layers() -> tuple[Any, Any]:
    """Scapy's classes `IP` and `IPv6`."""
    try:
        ipv4_module = importlib.import_module("scapy.layers.inet")
        ipv6_module = importlib.import_module("scapy.layers.inet6")
    except ImportError as error:
        raise ImportError("this needs scapy: install the extra with `pip install 'ustack[scapy]'`") from error
    return ipv4_module.IP, ipv6_module.IPv6
