"""What the code of a script sees of a socket: TCP_INFO, TCP_CC_INFO and SO_MEMINFO, by the names of the suites."""

from __future__ import annotations

import socket
import struct

from ustack.packetdrill.problems import Failed
from ustack.packetdrill.symbols import value_of
from ustack.tcp.info import SIZE, decode

_MOST_BYTES = 1024
_BBR = struct.Struct("=5I")
_DCTCP = struct.Struct("=2H3I")
_VEGAS = struct.Struct("=4I")
_DCTCP_NAMES = ("dctcp_enabled", "dctcp_ce_state", "dctcp_alpha", "dctcp_ab_ecn", "dctcp_ab_tot")
_VEGAS_NAMES = ("tcpv_enabled", "tcpv_rttcnt", "tcp_rtt", "tcp_minrtt")
_BBR_NAMES = ("bbr_bw_lo", "bbr_bw_hi", "bbr_min_rtt", "bbr_pacing_gain", "bbr_cwnd_gain")
_MEMORY_NAMES = (
    "RMEM_ALLOC", "RCVBUF", "WMEM_ALLOC", "SNDBUF", "FWD_ALLOC", "WMEM_QUEUED", "OPTMEM", "BACKLOG", "DROPS",
)  # fmt: skip
_MEMORY = struct.Struct(f"={len(_MEMORY_NAMES)}I")


def values_of(sock: socket.socket) -> dict[str, int]:
    """All names and their values now.  Raises Failed for a socket without TCP_INFO."""
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _MOST_BYTES)
    except OSError as problem:
        raise Failed(f"runtime error in code: can't find getsockopt to get TCP info: {problem}") from None
    values = {f"tcpi_{name}": value for name, value in decode(info[:SIZE].ljust(SIZE, b"\0")).items()}
    return values | _controller(sock) | _memory(sock)


def _controller(sock: socket.socket) -> dict[str, int]:
    """What the congestion controller tells, under the names of each that could have told so much."""
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, value_of("TCP_CC_INFO"), _MOST_BYTES)
    except OSError:
        return {}
    values: dict[str, int] = {}
    for layout, names in ((_BBR, _BBR_NAMES), (_DCTCP, _DCTCP_NAMES), (_VEGAS, _VEGAS_NAMES)):
        if len(info) >= layout.size:
            values |= zip(names, layout.unpack_from(info), strict=True)
    if "bbr_bw_lo" in values:
        values["bbr_bw"] = values["bbr_bw_hi"] << 32 | values["bbr_bw_lo"]
    return values


def _memory(sock: socket.socket) -> dict[str, int]:
    """The sizes of buffers, and of what lies in them where SO_MEMINFO tells."""
    try:
        sizes = _MEMORY.unpack(sock.getsockopt(socket.SOL_SOCKET, value_of("SO_MEMINFO"), _MEMORY.size))
    except (OSError, struct.error):
        limits = {
            "RCVBUF": sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF),
            "SNDBUF": sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF),
        }
        return {f"SK_MEMINFO_{name}": limits.get(name, 0) for name in _MEMORY_NAMES}
    return {f"SK_MEMINFO_{name}": size for name, size in zip(_MEMORY_NAMES, sizes, strict=True)}
