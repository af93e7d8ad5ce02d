"""`Sysctl`: a stack's configuration under Linux's names, such as `net.ipv4.tcp_timestamps`.

A name `net.ipv4.tcp_X` is the field X of `TcpConfig` unless `_ROWS` says otherwise: there stand the names whose unit or
shape is another one than the field's.  Names that Linux has and this stack has no mechanism for are remembered and
change nothing; their values are read back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ustack.config import MILLISECOND, SECOND, StackConfig

_TCP = "net.ipv4.tcp_"
MICROSECOND = 1000


@dataclass(frozen=True, slots=True)
class Row:
    """How one name is read and written, as the text that Linux shows."""

    read: Callable[[StackConfig], str]
    write: Callable[[StackConfig, str], None]


def number(text: str) -> int:
    """A number as the kernel takes it: decimal, or with 0x or 0 in front hexadecimal or octal.  Raises ValueError."""
    text = text.strip()
    if len(text) > 1 and text[0] == "0" and text[1:].isdigit():
        return int(text, 8)
    return int(text, 0)


def _field(section: str, name: str, unit: int = 1) -> Row:
    """A number in units of `unit`, or a truth value."""

    def read(config: StackConfig) -> str:
        value = getattr(getattr(config, section), name)
        return str(int(value) // unit)

    def write(config: StackConfig, text: str) -> None:
        target = getattr(config, section)
        before = getattr(target, name)
        value = number(text)
        setattr(target, name, bool(value) if isinstance(before, bool) else value * unit)

    return Row(read, write)


def _text_of(value: Any) -> str:
    """A value of the configuration as Linux shows it."""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, tuple):
        return "\t".join(str(item) for item in value)
    return value.decode() if isinstance(value, bytes) else str(value)


def _parsed(text: str, before: Any) -> Any:
    """The text as a value of the type that stood there before.  Raises ValueError."""
    if isinstance(before, bool):
        return bool(number(text))
    if isinstance(before, tuple):
        values = tuple(number(word) for word in text.replace(",", " ").split())
        if not before or len(values) == len(before):
            return values
        raise ValueError(f"{len(before)} numbers are wanted, not {text!r}")
    return number(text) if isinstance(before, int) else text.strip()


def _plain(section: str, name: str) -> Row:
    """A field that holds what Linux's name says, in Linux's unit."""

    def write(config: StackConfig, text: str) -> None:
        target = getattr(config, section)
        setattr(target, name, _parsed(text, getattr(target, name)))

    return Row(lambda config: _text_of(getattr(getattr(config, section), name)), write)


def _ports() -> Row:
    def write(config: StackConfig, text: str) -> None:
        first, last = (number(word) for word in text.split())
        config.ephemeral_ports = first, last

    return Row(lambda config: "\t".join(str(port) for port in config.ephemeral_ports), write)


_ROWS: dict[str, Row] = {
    _TCP + "keepalive_time": _field("tcp", "keepalive_time_ns", SECOND),
    _TCP + "keepalive_intvl": _field("tcp", "keepalive_interval_ns", SECOND),
    _TCP + "keepalive_probes": _field("tcp", "keepalive_probes"),
    _TCP + "fin_timeout": _field("tcp", "fin_wait_2_timeout_ns", SECOND),
    _TCP + "challenge_ack_limit": _field("tcp", "challenge_ack_per_second"),
    _TCP + "invalid_ratelimit": _field("tcp", "invalid_ratelimit_ns", MILLISECOND),
    _TCP + "fastopen_blackhole_timeout_sec": _field("tcp", "fastopen_blackhole_timeout_ns", SECOND),
    _TCP + "tw_reuse_delay": _field("tcp", "tw_reuse_delay_ns", MILLISECOND),
    _TCP + "min_snd_mss": _field("tcp", "mss_min"),
    _TCP + "min_rtt_wlen": _field("tcp", "min_rtt_wlen_ns", SECOND),
    _TCP + "rto_min_us": _field("tcp", "rto_min_ns", MICROSECOND),
    _TCP + "rto_max_ms": _field("tcp", "rto_max_ns", MILLISECOND),
    _TCP + "comp_sack_delay_ns": _field("tcp", "comp_sack_delay_ns"),
    "net.core.rmem_max": _field("tcp", "rmem_max"),
    "net.core.somaxconn": _field("tcp", "listen_backlog_max"),
    "net.ipv4.ip_default_ttl": _field("ip", "ttl"),
    "net.ipv4.ip_local_port_range": _ports(),
    "net.ipv4.icmp_msgs_per_sec": _field("ip", "icmp_errors_per_second"),
    "net.ipv4.icmp_msgs_burst": _field("ip", "icmp_errors_burst"),
    "net.ipv4.icmp_echo_ignore_broadcasts": _plain("ip", "icmp_echo_ignore_broadcasts"),
}

_KNOWN_TCP = {
    "abort_on_overflow": "0", "adv_win_scale": "1", "allowed_congestion_control": "reno cubic", "app_win": "31",
    "available_congestion_control": "reno cubic bbr dctcp prague",
    "autocorking": "1", "backlog_ack_defer": "1", "base_mss": "1024", "comp_sack_delay_ns": "1000000",
    "comp_sack_nr": "44", "comp_sack_slack_ns": "100000", "child_ehash_entries": "0", "dsack": "1",
    "early_demux": "1", "early_retrans": "3", "ecn": "2", "ecn_fallback": "1", "ecn_option": "2",
    "ecn_option_beacon": "3", "fack": "0", "fastopen": "1", "fastopen_blackhole_timeout_sec": "0",
    "fastopen_key": "00000000-00000000-00000000-00000000", "frto": "2", "fwmark_accept": "0", "l3mdev_accept": "0",
    "limit_output_bytes": "4194304", "linger2": "60", "low_latency": "0", "max_orphans": "65536",
    "max_reordering": "300", "max_syn_backlog": "4096", "max_tw_buckets": "65536", "mem": "0\t0\t0",
    "migrate_req": "0", "min_rtt_wlen": "300", "min_tso_segs": "2", "moderate_rcvbuf": "1", "mtu_probe_floor": "48",
    "mtu_probing": "0", "no_metrics_save": "0", "no_ssthresh_metrics_save": "1", "notsent_lowat": "4294967295",
    "orphan_retries": "0", "pacing_ca_ratio": "120", "pacing_ss_ratio": "200", "pingpong_thresh": "1",
    "plb_enabled": "0", "probe_interval": "600", "probe_threshold": "8", "rcvbuf_low_rtt": "1000", "recovery": "1",
    "reflect_tos": "0", "reordering": "3", "retrans_collapse": "1", "rfc1337": "0", "shrink_window": "0",
    "slow_start_after_idle": "1", "stdurg": "0", "syncookies": "1", "syn_linear_timeouts": "4",
    "thin_linear_timeouts": "0", "tso_rtt_log": "9", "tso_win_divisor": "3", "tw_reuse": "2", "tw_reuse_delay": "1000",
    "workaround_signed_windows": "0",
}  # fmt: skip
_KNOWN_OTHERS = {
    "net.core.rmem_default": "212992", "net.core.rmem_max": "4194304", "net.core.wmem_default": "212992",
    "net.core.wmem_max": "4194304", "net.core.optmem_max": "131072", "net.core.default_qdisc": "pfifo_fast",
    "net.core.netdev_max_backlog": "1000", "net.core.busy_poll": "0", "net.core.busy_read": "0",
    "net.ipv4.conf.all.rp_filter": "0", "net.ipv4.conf.default.rp_filter": "0", "net.ipv4.ip_forward": "0",
    "net.ipv4.ip_no_pmtu_disc": "0", "net.ipv4.ip_nonlocal_bind": "0", "net.ipv4.icmp_ratelimit": "1000",
    "net.ipv4.route.min_pmtu": "552", "net.ipv4.route.mtu_expires": "600", "net.ipv6.auto_flowlabels": "1",
    "net.ipv6.conf.all.disable_ipv6": "0", "net.ipv6.conf.default.disable_ipv6": "0",
    "net.ipv6.flowlabel_consistency": "1",
    "net.ipv6.flowlabel_reflect": "0", "net.ipv6.ip_nonlocal_bind": "0",
}  # fmt: skip
_MODULES = "/sys/module/"
_PROC = "/proc/sys/"


def canonical(name: str) -> str:
    """A name as `net.ipv4.tcp_sack`, from that, `net/ipv4/tcp_sack` or a path under /proc/sys."""
    name = name.removeprefix(_PROC)
    return name if name.startswith(_MODULES) else name.strip("/").replace("/", ".")


class Sysctl:
    """Reads and writes a configuration.  Unknown names raise KeyError, wrong values ValueError."""

    def __init__(self, config: StackConfig) -> None:
        self._config = config
        self._remembered: dict[str, str] = {}

    def get(self, name: str) -> str:
        """The value of a name, as Linux shows it."""
        name = canonical(name)
        row = self._row(name)
        if row is not None:
            return row.read(self._config)
        return self._remembered.get(name) or _default(name)

    def set(self, name: str, value: str) -> None:
        """Change the value of a name."""
        name = canonical(name)
        row = self._row(name)
        if row is not None:
            row.write(self._config, value)
        else:
            _default(name)
            self._remembered[name] = value.strip()

    def is_acted_upon(self, name: str) -> bool:
        """Whether the stack has the mechanism that a name tunes."""
        return self._row(canonical(name)) is not None

    def _row(self, name: str) -> Row | None:
        if name.startswith(_TCP) and hasattr(self._config.tcp, name.removeprefix(_TCP)):
            return _plain("tcp", name.removeprefix(_TCP))
        if name.startswith(_MODULES):
            return self._module_row(name)
        return _ROWS.get(name)

    def _module_row(self, name: str) -> Row | None:
        """`/sys/module/tcp_cubic/parameters/hystart` is the field `cubic_hystart`."""
        module, _, parameter = name.removeprefix(_MODULES).partition("/parameters/")
        field = f"{module.removeprefix('tcp_')}_{parameter}"
        return _plain("tcp", field) if hasattr(self._config.tcp, field) else None


def _default(name: str) -> str:
    """What Linux has for a name that this stack has no mechanism for.  Raises KeyError."""
    if name.startswith(_MODULES):
        return "0"
    return _KNOWN_TCP[name.removeprefix(_TCP)] if name.startswith(_TCP) else _KNOWN_OTHERS[name]
