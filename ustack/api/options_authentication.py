"""The options of IPPROTO_TCP for signed segments: TCP_MD5SIG and TCP_AO_*, in the layout of Linux's tcp.h."""

from __future__ import annotations

import errno
import socket as stdlib
import struct
from dataclasses import replace
from typing import NamedTuple

from ustack import errors
from ustack.address import unmap
from ustack.api.option_kinds import Option, Target
from ustack.api.options_socket import is_listener
from ustack.endpoint import Endpoint
from ustack.tcp.authentication.algorithms import ALGORITHMS, MAC_BYTES
from ustack.tcp.authentication.keys import KeyRing, MasterKey, Peers

TCP_MD5SIG, TCP_MD5SIG_EXT = 14, 32
TCP_AO_ADD_KEY, TCP_AO_DEL_KEY, TCP_AO_INFO = 38, 39, 40
MD5_KEY_MOST = AO_KEY_MOST = 80
_STORAGE = 128
_MD5 = struct.Struct(f"={_STORAGE}sBBHi{MD5_KEY_MOST}s")
_ADD = struct.Struct(f"={_STORAGE}s64siIHBBBBBB{AO_KEY_MOST}s")
_DELETE = struct.Struct(f"={_STORAGE}siIHBBBBBB")
_INFO = struct.Struct("=IHBB5Q")
_PREFIX_FLAG = 1
_SET_CURRENT, _SET_NEXT, _REQUIRED = 1, 2, 4
_EXCLUDE_OPTIONS = 2


class _Address(NamedTuple):
    """What a struct sockaddr_storage holds."""

    packed: bytes
    bits: int


def _address(endpoint: Endpoint, storage: bytes) -> _Address:
    """The address, IPv4-mapped ones unmapped.  Raises EINVAL."""
    family = int.from_bytes(storage[:2], "little")
    if family != endpoint.family:
        raise errors.error(errno.EINVAL)
    if family == stdlib.AF_INET:
        return _Address(storage[4:8], 32)
    packed = unmap(storage[8:24])
    return _Address(packed, 8 * len(packed))


def _ring(target: Target) -> KeyRing:
    """A copy of the socket's keys, to be changed and set."""
    ring = target.endpoint.options.authentication
    return KeyRing() if ring is None else ring.copy()


def _is_open(endpoint: Endpoint) -> bool:
    return not is_listener(endpoint) and bool(getattr(endpoint, "opened", False))


# TCP_MD5SIG: RFC 2385 §4.5.


def _write_md5(target: Target, value: bytes, *, extended: bool) -> None:
    """One key for a peer or, extended, a prefix; an empty key takes it back.  Raises ENOENT, EINVAL."""
    _require(value, _MD5)
    storage, flags, prefix, length, _, key = _MD5.unpack_from(value)
    address = _address(target.endpoint, storage)
    if length > MD5_KEY_MOST:
        raise errors.error(errno.EINVAL)
    bits = prefix if extended and flags & _PREFIX_FLAG else address.bits
    if bits > address.bits:
        raise errors.error(errno.EINVAL)
    ring, peers = _ring(target), Peers(address.packed, bits)
    if length:
        if ring.masters_for(address.packed):
            raise errors.error(errno.EKEYREJECTED)
        ring.md5[peers] = key[:length]
    elif ring.md5.pop(peers, None) is None:
        raise errors.error(errno.ENOENT)
    target.change("authentication", ring)


def _require(value: bytes, form: struct.Struct) -> None:
    if len(value) < form.size:
        raise errors.error(errno.EINVAL)


# TCP_AO: RFC 5925 §3.1 and §7.


def _write_add(target: Target, value: bytes) -> None:
    """One more Master Key Tuple.  Raises EEXIST for IDs in use, ENOENT for an unknown algorithm, EINVAL."""
    _require(value, _ADD)
    storage, name, _, bits, rest, prefix, send_id, receive_id, mac_bytes, flags, length, key = _ADD.unpack_from(value)
    address = _address(target.endpoint, storage)
    algorithm = ALGORITHMS.get(name.partition(b"\0")[0].decode("ascii", "replace"))
    if algorithm is None:
        raise errors.error(errno.ENOENT)
    if rest or prefix > address.bits or length > AO_KEY_MOST or not 0 <= mac_bytes <= algorithm.key_bytes:
        raise errors.error(errno.EINVAL)
    ring, peers = _ring(target), Peers(address.packed, prefix)
    if any(_collides(each, peers, send_id, receive_id) for each in ring.masters):
        raise errors.error(errno.EEXIST)
    if ring.md5_key(address.packed) is not None or (_is_open(target.endpoint) and not ring.masters):
        raise errors.error(errno.EKEYREJECTED)
    covers = not flags & _EXCLUDE_OPTIONS
    master = MasterKey(peers, algorithm, key[:length], send_id, receive_id, covers, mac_bytes or MAC_BYTES)
    ring.masters.append(master)
    _choose(ring, bits, send_id, receive_id)
    target.change("authentication", ring)


def _collides(master: MasterKey, peers: Peers, send_id: int, receive_id: int) -> bool:
    """Whether two keys could both be meant by one ID.  RFC 5925 §3.1."""
    overlap = master.peers.include(peers.address) or peers.include(master.peers.address)
    return overlap and (master.send_id == send_id or master.receive_id == receive_id)


def _choose(ring: KeyRing, bits: int, send_id: int, receive_id: int) -> None:
    if bits & _SET_CURRENT:
        ring.current = send_id
    if bits & _SET_NEXT:
        ring.wanted = receive_id


def _write_delete(target: Target, value: bytes) -> None:
    """Take a key back; others may be chosen at once.  Raises ENOENT, EBUSY for the key in use."""
    _require(value, _DELETE)
    storage, _, bits, _, prefix, send_id, receive_id, current, following, _ = _DELETE.unpack_from(value)
    ring, peers = _ring(target), Peers(_address(target.endpoint, storage).packed, prefix)
    found = [
        each for each in ring.masters if (each.peers, each.send_id, each.receive_id) == (peers, send_id, receive_id)
    ]
    if not found:
        raise errors.error(errno.ENOENT)
    _choose(ring, bits, current, following)
    guard = getattr(target.endpoint, "guard", None)
    if guard is not None and not bits & _SET_CURRENT and getattr(guard, "current", None) == found[0]:
        raise errors.error(errno.EBUSY)
    ring.masters.remove(found[0])
    target.change("authentication", ring)


def _write_info(target: Target, value: bytes) -> None:
    """Choose the keys to send and to be sent by, and whether peers without a key are refused."""
    _require(value, _INFO)
    bits, _, current, following, *_ = _INFO.unpack_from(value)
    ring = _ring(target)
    _choose(ring, bits, current, following)
    ring = replace(ring, required=bool(bits & _REQUIRED))
    if bits & _SET_CURRENT and not any(each.send_id == current for each in ring.masters):
        raise errors.error(errno.ENOENT)
    if bits & _SET_NEXT and not any(each.receive_id == following for each in ring.masters):
        raise errors.error(errno.ENOENT)
    target.change("authentication", ring)


def _read_info(target: Target) -> bytes:
    """The keys in use.  Raises ENOENT where there are none."""
    ring = target.endpoint.options.authentication
    if ring is None or not ring.masters:
        raise errors.error(errno.ENOENT)
    guard = getattr(target.endpoint, "guard", None)
    current = getattr(guard, "current", None) or ring.masters[0]
    wanted = getattr(guard, "wanted", None) or current
    bits = _SET_CURRENT | _SET_NEXT | (_REQUIRED if ring.required else 0)
    return _INFO.pack(bits, 0, current.send_id, wanted.receive_id, 0, 0, 0, 0, 0)


def _unreadable(target: Target) -> bytes:
    raise errors.error(errno.ENOPROTOOPT)


TABLE = {
    TCP_MD5SIG: Option(_unreadable, lambda target, value: _write_md5(target, value, extended=False)),
    TCP_MD5SIG_EXT: Option(_unreadable, lambda target, value: _write_md5(target, value, extended=True)),
    TCP_AO_ADD_KEY: Option(_unreadable, _write_add),
    TCP_AO_DEL_KEY: Option(_unreadable, _write_delete),
    TCP_AO_INFO: Option(_read_info, _write_info),
}
