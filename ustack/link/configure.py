"""The kernel's side of a TUN device: addresses, routes, MTU and silence, in the namespace of this process."""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from ustack import errors
from ustack.constants import AF_INET, AF_INET6
from ustack.link.tun import TunDevice, create_tun

_IFA_F_NODAD = 0x02
_IPV6_SILENCE = {
    "accept_ra": "0",
    "addr_gen_mode": "1",  # none: no link-local address, which router solicitations would come from
    "autoconf": "0",
    "dad_transmits": "0",
    "router_solicitations": "0",
}


def configure(name: str, mtu: int, addresses: Iterable[str], routes: Iterable[str] = ()) -> None:
    """Give interface `name` an MTU, addresses (`10.9.0.1/24`, `fd09::1/64`) and routes (networks), and bring it up.

    The kernel sends nothing on it by itself.  Raises OSError with the errno of the step that failed.
    """
    _silence_ipv6(name)
    with _kernels_refusal(name), IPRoute() as kernel:
        index = _index(kernel, name)
        kernel.link("set", index=index, mtu=mtu)
        for address in addresses:
            _add_address(kernel, index, address)
        kernel.link("set", index=index, state="up")
        for route in routes:
            _add_route(kernel, index, route)


def bring_up_loopback() -> None:
    """Bring `lo` up, which a new namespace has down."""
    with _kernels_refusal("lo"), IPRoute() as kernel:
        kernel.link("set", index=_index(kernel, "lo"), state="up")


def forward() -> None:
    """Let the kernel forward packets between the interfaces, where /proc/sys is writable."""
    for switch in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
        with contextlib.suppress(OSError):
            Path(f"/proc/sys/net/{switch}").write_text("1")


def remove_interface(name: str) -> None:
    """Delete an interface; one that is not there is fine."""
    with IPRoute() as kernel:
        for index in kernel.link_lookup(ifname=name):
            with contextlib.suppress(NetlinkError):
                kernel.link("del", index=index)


def open_tun_here(
    name: str,
    mtu: int = 1500,
    kernel_addresses: Iterable[str] = ("10.9.0.1/24",),
    routes: Iterable[str] = (),
    *,
    offload: bool = True,
) -> TunDevice:
    """Create and configure a TUN device in the namespace that this process is in, be it the host's.

    For a process that was started inside a namespace; everybody else wants `Namespace.open_tun`.  The device goes when
    it is closed.  Raises OSError.
    """
    device = TunDevice(create_tun(name, offload=offload), mtu, offload=offload)
    try:
        configure(device.name, mtu, kernel_addresses, routes)
    except BaseException:
        device.close()
        raise
    return device


def _index(kernel: Any, name: str) -> int:
    index: int
    (index,) = kernel.link_lookup(ifname=name)
    return index


def _add_address(kernel: Any, index: int, text: str) -> None:
    interface = ipaddress.ip_interface(text)
    kernel.addr(
        "add",
        index=index,
        family=AF_INET if interface.version == 4 else AF_INET6,
        address=str(interface.ip),
        prefixlen=interface.network.prefixlen,
        **({} if interface.version == 4 else {"ifa_flags": _IFA_F_NODAD}),
    )


def _add_route(kernel: Any, index: int, text: str) -> None:
    network = ipaddress.ip_network(text)
    kernel.route("add", dst=str(network), oif=index, family=AF_INET if network.version == 4 else AF_INET6)


def _silence_ipv6(name: str) -> None:
    """Keep the kernel from soliciting routers, where there is IPv6 and a writable /proc/sys."""
    for key, value in _IPV6_SILENCE.items():
        with contextlib.suppress(OSError):
            Path(f"/proc/sys/net/ipv6/conf/{name}/{key}").write_text(value)


@contextlib.contextmanager
def _kernels_refusal(name: str) -> Any:
    """Turn pyroute2's error into an OSError with its errno."""
    try:
        yield
    except NetlinkError as refusal:
        raise errors.error(refusal.code, f"configuring {name}") from refusal
