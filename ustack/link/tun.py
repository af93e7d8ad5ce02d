"""`TunDevice`: a Linux TUN device, with the offloads that the kernel grants and without.

Read Documentation/networking/tuntap.rst and virtio 1.2 §5.1.6 first: with IFF_VNET_HDR each frame has a virtio_net_hdr
in front of it, and super-segments and partial checksums may pass in both directions.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import weakref
from collections.abc import Iterable
from dataclasses import dataclass

import pytun

from ustack import errors
from ustack.burst import Burst
from ustack.link.device import ALL_OFFLOADS
from ustack.link.frame import GSO_OFFLOADS, cut
from ustack.native import lib

TUN_PATH = "/dev/net/tun"

_IFREQ = struct.Struct("16sH22x")
_TUNGETIFF = 0x800454D2
_TUNSETOFFLOAD = 0x400454D0
_TUNSETVNETHDRSZ = 0x400454D8
_VNET_HEADER_BYTES = 10
_TUN_FEATURES = (
    (lib.OFFLOAD_CHECKSUM, 0x01),
    (lib.OFFLOAD_TSO4, 0x02),
    (lib.OFFLOAD_TSO6, 0x04),
    (lib.OFFLOAD_USO, 0x20 | 0x40),
)
"""OFFLOAD_ bits and the TUN_F_ bits that ask for them: CSUM, TSO4, TSO6, USO4 with USO6."""

_NO_MEMORY = frozenset({errno.ENOBUFS, errno.ENOMEM})


@dataclass(slots=True)
class TunCounters:
    """What became of frames, and of the offloads."""

    read: int = 0
    written: int = 0
    unreadable: int = 0
    """Frames that the kernel had but could not give."""
    link_down: int = 0
    """Frames that the kernel refused because the interface is down."""
    no_memory: int = 0
    malformed: int = 0
    """Frames that the kernel takes in no form: not IP, or with offload metadata that does not fit."""
    cut: int = 0
    """Super-segments that were cut in software, for want of the offload."""


def create_tun(name: str, *, offload: bool = True) -> int:
    """The descriptor of a new TUN device in the namespace of this process.

    Raises ENOENT or EACCES (no /dev/net/tun for us), EPERM (no CAP_NET_ADMIN), EBUSY (the name is taken).
    """
    flags = pytun.IFF_TUN | pytun.IFF_NO_PI
    try:
        created = _create(name, flags | pytun.IFF_VNET_HDR) if offload else _create(name, flags)
    except OSError as refusal:
        if refusal.errno != errno.EINVAL or not offload:
            raise
        created = _create(name, flags)
    # The object closes its descriptor when it is collected: take a descriptor of our own, which no program inherits.
    try:
        return os.dup(created.fileno())
    finally:
        created.close()


def _create(name: str, flags: int) -> pytun.TunTapDevice:
    try:
        return pytun.TunTapDevice(name, flags)
    except pytun.Error as failure:
        number = failure.args[0] if failure.args and isinstance(failure.args[0], int) else errno.EINVAL
        raise errors.error(number, f"TUN device {name!r} by {TUN_PATH}") from failure


def tun_name(descriptor: int) -> str:
    """The name of a TUN device, which the kernel has chosen if `create_tun` had none, or a pattern such as `tun%d`."""
    return _describe(descriptor)[0]


def _describe(descriptor: int) -> tuple[str, int]:
    """The name and the IFF_ flags of a TUN device.  Raises OSError for anything else."""
    name, flags = _IFREQ.unpack(fcntl.ioctl(descriptor, _TUNGETIFF, bytes(_IFREQ.size)))
    return name.rstrip(b"\0").decode(), flags


class TunDevice:
    """The user's side of a TUN device: a `Device`.

    Takes over `descriptor`, an open TUN device as `create_tun` gives it or another process has passed it.  `mtu` is
    what the kernel's side is set to.  With `offload` every offload is asked for, and those that the kernel refuses are
    left out.
    """

    def __init__(self, descriptor: int, mtu: int = 1500, *, offload: bool = True) -> None:
        self._descriptor = descriptor
        self._close = weakref.finalize(self, os.close, descriptor)
        self.name, flags = _describe(descriptor)
        self.mtu = mtu
        self.counters = TunCounters()
        self._vnet_header = bool(flags & pytun.IFF_VNET_HDR)
        os.set_blocking(descriptor, False)
        self.offload = 0
        if self._vnet_header:
            fcntl.ioctl(descriptor, _TUNSETVNETHDRSZ, struct.pack("i", _VNET_HEADER_BYTES))
            self.offload = _probe_offload(descriptor, _TUN_FEATURES if offload else ())

    def read(self, burst: Burst, now: int) -> int:
        """As `Device.read`.  A frame that the kernel cannot give is counted as `unreadable`."""
        result: int = lib.device_read(self._descriptor, burst.cdata, self._vnet_header, lib.BURST_FRAMES)
        if result >= 0:
            self.counters.read += result
            return result
        if -result == errno.EINVAL:
            self.counters.unreadable += 1
        elif -result != errno.EAGAIN:
            raise errors.error(-result, self.name)
        return 0

    def write(self, burst: Burst, now: int) -> int:
        """As `Device.write`: frames that the kernel takes in no form are counted and dropped, and count as taken.

        The burst is marked with the offloads that are granted now, so that what is built into it next fits.
        """
        burst.cdata.offload = self.offload
        index = 0
        while index < len(burst):
            result: int = lib.device_write(self._descriptor, burst.cdata, self._vnet_header, index)
            if result > 0:
                index += result
                self.counters.written += result
            elif result == -errno.EAGAIN:
                break
            elif self._is_done_with(burst, index, -result):
                index += 1
        burst.cdata.offload = self.offload
        return index

    def _is_done_with(self, burst: Burst, index: int, number: int) -> bool:
        """Whether the frame that the kernel refused with errno `number` needs no other try.  Raises other errors."""
        if number == errno.EINVAL:
            return self._is_done_with_invalid(burst, index)
        if number == errno.EIO:
            self.counters.link_down += 1
        elif number in _NO_MEMORY:
            self.counters.no_memory += 1
        else:
            raise errors.error(number, self.name)
        return True

    def _is_done_with_invalid(self, burst: Burst, index: int) -> bool:
        """Send the frame in a form that needs less of the kernel, if there is one."""
        frame = burst.cdata.frames[index]
        if frame.gso_type:
            self._write_cut(burst, index)
            return True
        if frame.flags & lib.FRAME_NEEDS_CHECKSUM and lib.burst_complete_checksum(burst.cdata, index) == 0:
            self._give_up(burst, ALL_OFFLOADS)
            return False
        self.counters.malformed += 1
        return True

    def _write_cut(self, burst: Burst, index: int) -> None:
        """Write the segments of a super-segment that the kernel refused, and give its kind of offload up."""
        kind = GSO_OFFLOADS.get(burst.cdata.frames[index].gso_type, 0)
        pieces = list(cut(burst, index))
        if not pieces:
            self.counters.malformed += 1
            return
        self._give_up(burst, kind)
        self.counters.cut += 1
        for piece in pieces:
            self.counters.no_memory += len(piece) - self.write(piece, 0)

    def _give_up(self, burst: Burst, offload: int) -> None:
        """Write no more frames that need these OFFLOAD_ bits."""
        self.offload &= ~offload
        burst.cdata.offload = self.offload

    def next_deadline(self) -> int | None:
        """None: only the kernel makes it readable."""
        return None

    def fileno(self) -> int:
        """The descriptor, or -1 after `close`."""
        return self._descriptor

    def close(self) -> None:
        """Close the descriptor: the kernel removes the device unless another process has it too."""
        self._descriptor = -1
        self._close()


def _probe_offload(descriptor: int, wanted: Iterable[tuple[int, int]]) -> int:
    """Ask for each wanted offload beside those already granted; returns the OFFLOAD_ bits that the kernel grants."""
    granted = asked = 0
    for bit, features in wanted:
        if _set_offload(descriptor, asked | features):
            granted |= bit
            asked |= features
    _set_offload(descriptor, asked)
    return granted


def _set_offload(descriptor: int, features: int) -> bool:
    try:
        fcntl.ioctl(descriptor, _TUNSETOFFLOAD, features)
    except OSError as refusal:
        if refusal.errno != errno.EINVAL:
            raise
        return False
    return True
