"""The kernel's side of a TUN device: addresses, routes, MTU and silence, in the namespace of this process."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import time
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from ustack import errors
from ustack.constants import AF_INET, AF_INET6
from ustack.link.tun import TunDevice, create_tun

_IFA_F_NODAD = 0x02
_RTN_LOCAL = 2
_LOCAL_SECONDS = 5.0
_QUEUE_FRAMES = 1000
"""What the kernel keeps for the stack to read; more is dropped.  A TUN device has 500, an Ethernet card's has this."""
_IPV6_SILENCE = {
    "accept_ra": "0",
    "addr_gen_mode": "1",  # none: no link-local address, which router solicitations would come from
    "autoconf": "0",
    "dad_transmits": "0",
    "router_solicitations": "0",
}


def configure(name: str, mtu: int, addresses: Collection[str], routes: Iterable[str] = ()) -> int:
    """Give interface `name` an MTU, addresses (`10.9.0.1/24`, `fd09::1/64`) and routes (networks), and bring it up.

    The kernel sends nothing on it by itself.  Returns the interface's index.  Raises OSError with the errno of the step
    that failed.
    """
    _set_ipv6(name, _IPV6_SILENCE)
    if any(ipaddress.ip_interface(address).version == 6 for address in addresses):
        _set_ipv6(name, {"disable_ipv6": "0"})
    with _kernels_refusal(name), IPRoute() as kernel:
        index = _index(kernel, name)
        kernel.link("set", index=index, mtu=mtu, txqlen=_QUEUE_FRAMES)
        for address in addresses:
            _add_address(kernel, index, address)
        kernel.link("set", index=index, state="up")
        for route in routes:
            _add_route(kernel, index, route)
        for address in addresses:
            _await_local(kernel, str(ipaddress.ip_interface(address).ip))
        return index


def bring_up_loopback() -> None:
    """Bring `lo` up, which a new namespace has down."""
    with _kernels_refusal("lo"), IPRoute() as kernel:
        kernel.link("set", index=_index(kernel, "lo"), state="up")


def forward() -> None:
    """Let the kernel forward packets between the interfaces, where /proc/sys is writable."""
    for switch in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
        with contextlib.suppress(OSError):
            Path(f"/proc/sys/net/{switch}").write_text("1")


def remove_interfaces(indices: Iterable[int]) -> None:
    """Delete interfaces; one that is not there is fine."""
    with IPRoute() as kernel:
        for index in indices:
            with contextlib.suppress(NetlinkError):
                kernel.link("del", index=index)


def open_tun_here(
    name: str,
    mtu: int = 1500,
    kernel_addresses: Collection[str] = ("10.9.0.1/24",),
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
    indices: list[int] = kernel.link_lookup(ifname=name)
    if not indices:
        raise errors.error(errno.ENODEV, name)
    return indices[0]


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


def _await_local(kernel: Any, address: str) -> None:
    """Wait until packets to an address are the kernel's own: for IPv6 a worker of the kernel makes them so later."""
    deadline = time.monotonic() + _LOCAL_SECONDS
    while not any(route["type"] == _RTN_LOCAL for route in kernel.route("get", dst=address)):
        if time.monotonic() > deadline:
            raise errors.error(errno.ETIMEDOUT, f"{address} to become local")
        time.sleep(0.001)


def _add_route(kernel: Any, index: int, text: str) -> None:
    network = ipaddress.ip_network(text)
    kernel.route("add", dst=str(network), oif=index, family=AF_INET if network.version == 4 else AF_INET6)


def _set_ipv6(name: str, settings: dict[str, str]) -> None:
    """Set what an interface does with IPv6, where the kernel has it and /proc/sys is writable."""
    for key, value in settings.items():
        with contextlib.suppress(OSError):
            Path(f"/proc/sys/net/ipv6/conf/{name}/{key}").write_text(value)


@contextlib.contextmanager
def _kernels_refusal(name: str) -> Iterator[None]:
    """Turn pyroute2's error into an OSError with its errno."""
    try:
        yield
    except NetlinkError as refusal:
        raise errors.error(refusal.code, f"configuring {name}") from refusal
