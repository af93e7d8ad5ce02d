"""The symbols of scripts and their numbers: Linux's, whatever system this runs on."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import socket

from ustack.packetdrill.problems import Unsupported

_MODULES = (
    (errno, ("E",)),
    (socket, ("AF_", "SOCK_", "SO_", "SOL_", "IPPROTO_", "IP_", "IPV6_", "TCP_", "MSG_", "SHUT_", "SCM_", "INADDR_")),
    (select, ("POLL", "EPOLL")),
    (fcntl, ("F_",)),
    (os, ("O_", "SPLICE_")),
)
_OTHERS = {
    "NULL": 0,
    "SOL_IP": 0, "SOL_TCP": 6, "SOL_UDP": 17, "SOL_IPV6": 41, "SOL_ICMPV6": 58,
    "EPOLL_CTL_ADD": 1, "EPOLL_CTL_DEL": 2, "EPOLL_CTL_MOD": 3,
    "SO_ZEROCOPY": 60, "SO_TIMESTAMPING": 37, "SO_TIMESTAMPNS": 35, "SO_TIMESTAMP": 29, "SO_MARK": 36,
    "SO_MAX_PACING_RATE": 47, "SO_INCOMING_CPU": 49, "SO_MEMINFO": 55, "SO_BUSY_POLL": 46, "SO_TXTIME": 61,
    "SO_RCVBUFFORCE": 33, "SO_SNDBUFFORCE": 32, "SO_NO_CHECK": 11, "SO_RXQ_OVFL": 40, "SO_BINDTODEVICE": 25,
    "SCM_TIMESTAMPING": 37, "SCM_TIMESTAMPING_OPT_STATS": 54,
    "IP_MTU_DISCOVER": 10, "IP_RECVERR": 11, "IP_RECVTTL": 12, "IP_MTU": 14, "IP_FREEBIND": 15, "IP_PKTINFO": 8,
    "IP_PMTUDISC_DONT": 0, "IP_PMTUDISC_WANT": 1, "IP_PMTUDISC_DO": 2, "IP_PMTUDISC_PROBE": 3,
    "IP_PMTUDISC_INTERFACE": 4, "IP_PMTUDISC_OMIT": 5, "IP_MINTTL": 21, "IP_NODEFRAG": 22, "IP_CHECKSUM": 23,
    "IP_BIND_ADDRESS_NO_PORT": 24, "IPV6_MTU_DISCOVER": 23, "IPV6_MTU": 24, "IPV6_RECVERR": 25, "IPV6_FREEBIND": 78,
    "IPV6_MINHOPCOUNT": 73, "IPV6_ADDRFORM": 1, "IPV6_AUTOFLOWLABEL": 70, "IPV6_FLOWINFO_SEND": 33,
    "TCP_REPAIR": 19, "TCP_THIN_LINEAR_TIMEOUTS": 16, "TCP_THIN_DUPACK": 17, "TCP_TIMESTAMP": 24, "TCP_CC_INFO": 26,
    "TCP_SAVE_SYN": 27, "TCP_SAVED_SYN": 28, "TCP_FASTOPEN_CONNECT": 30, "TCP_ULP": 31, "TCP_MD5SIG_EXT": 32,
    "TCP_FASTOPEN_KEY": 33, "TCP_FASTOPEN_NO_COOKIE": 34, "TCP_ZEROCOPY_RECEIVE": 35, "TCP_INQ": 36, "TCP_CM_INQ": 36,
    "TCP_TX_DELAY": 37, "TCP_FASTOPEN": 23, "TCP_NOTSENT_LOWAT": 25, "TCP_COOKIE_TRANSACTIONS": 15,
    "TCP_QUEUE_SEQ": 21, "TCP_REPAIR_OPTIONS": 22, "TCP_REPAIR_QUEUE": 20, "TCP_RTO_MAX_MS": 44,
    "TCP_RTO_MIN_US": 45, "TCP_DELACK_MAX_US": 46, "TCP_IS_MPTCP": 43,
    "MSG_FASTOPEN": 0x20000000, "MSG_ZEROCOPY": 0x4000000, "MSG_MORE": 0x8000, "MSG_ERRQUEUE": 0x2000,
    "MSG_EOR": 0x80, "MSG_NOSIGNAL": 0x4000, "MSG_CMSG_CLOEXEC": 0x40000000, "MSG_PROBE": 0x10,
    "SIOCINQ": 0x541B, "FIONREAD": 0x541B, "SIOCOUTQ": 0x5411, "SIOCOUTQNSD": 0x894B, "SIOCATMARK": 0x8905,
    "FIONBIO": 0x5421,
    "ICMP_DEST_UNREACH": 3, "ICMP_UNREACH": 3, "ICMP_FRAG_NEEDED": 4, "ICMP_UNREACH_NEEDFRAG": 4,
    "ICMP6_PACKET_TOO_BIG": 2, "ICMPV6_PKT_TOOBIG": 2,
    "SO_EE_ORIGIN_NONE": 0, "SO_EE_ORIGIN_LOCAL": 1, "SO_EE_ORIGIN_ICMP": 2, "SO_EE_ORIGIN_ICMP6": 3,
    "SO_EE_ORIGIN_TXSTATUS": 4, "SO_EE_ORIGIN_TIMESTAMPING": 4, "SO_EE_ORIGIN_ZEROCOPY": 5,
    "SO_EE_CODE_ZEROCOPY_COPIED": 1,
    "SOF_TIMESTAMPING_TX_HARDWARE": 1, "SOF_TIMESTAMPING_TX_SOFTWARE": 2, "SOF_TIMESTAMPING_RX_HARDWARE": 4,
    "SOF_TIMESTAMPING_RX_SOFTWARE": 8, "SOF_TIMESTAMPING_SOFTWARE": 16, "SOF_TIMESTAMPING_SYS_HARDWARE": 32,
    "SOF_TIMESTAMPING_RAW_HARDWARE": 64, "SOF_TIMESTAMPING_OPT_ID": 128, "SOF_TIMESTAMPING_TX_SCHED": 256,
    "SOF_TIMESTAMPING_TX_ACK": 512, "SOF_TIMESTAMPING_OPT_CMSG": 1024, "SOF_TIMESTAMPING_OPT_TSONLY": 2048,
    "SOF_TIMESTAMPING_OPT_STATS": 4096, "SOF_TIMESTAMPING_OPT_PKTINFO": 8192, "SOF_TIMESTAMPING_OPT_TX_SWHW": 16384,
    "SOF_TIMESTAMPING_OPT_ID_TCP": 65536,
    "SCM_TSTAMP_SND": 0, "SCM_TSTAMP_SCHED": 1, "SCM_TSTAMP_ACK": 2,
    "CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13, "CAP_EFFECTIVE": 0, "CAP_PERMITTED": 1, "CAP_INHERITABLE": 2,
    "CAP_CLEAR": 0, "CAP_SET": 1,
}  # fmt: skip
_ATTRIBUTES = (
    "PAD", "BUSY", "RWND_LIMITED", "SNDBUF_LIMITED", "DATA_SEGS_OUT", "TOTAL_RETRANS", "PACING_RATE", "DELIVERY_RATE",
    "SND_CWND", "REORDERING", "MIN_RTT", "RECUR_RETRANS", "DELIVERY_RATE_APP_LMT", "SNDQ_SIZE", "CA_STATE",
    "SND_SSTHRESH", "DELIVERED", "DELIVERED_CE", "BYTES_SENT", "BYTES_RETRANS", "DSACK_DUPS", "REORD_SEEN", "SRTT",
    "TIMEOUT_REHASH", "BYTES_NOTSENT", "EDT", "TTL", "REHASH",
)  # fmt: skip
"""Of SCM_TIMESTAMPING_OPT_STATS, in the order of their numbers."""


def _collect() -> dict[str, int]:
    symbols = {f"TCP_NLA_{name}": number for number, name in enumerate(_ATTRIBUTES)}
    for module, prefixes in _MODULES:
        for name, value in vars(module).items():
            if name.startswith(prefixes) and isinstance(value, int):
                symbols[name] = int(value)
    symbols.update(_OTHERS)
    return symbols


SYMBOLS = _collect()


def value_of(name: str) -> int:
    """The number of a symbol.  Raises Unsupported."""
    try:
        return SYMBOLS[name]
    except KeyError:
        raise Unsupported(f"the symbol {name} is not known") from None


def errno_name(number: int) -> str:
    """`EAGAIN`, or the number where it has no name."""
    return errno.errorcode.get(number, str(number))
