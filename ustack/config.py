"""Every tunable of a stack and every option of a socket, with units and defaults.

`StackConfig` belongs to a `Stack` and may be changed while it runs; `SocketOptions` belongs to one endpoint.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

MILLISECOND = 1_000_000
SECOND = 1_000_000_000


@dataclass(slots=True)
class IpConfig:
    """IPv4 and IPv6."""

    ttl: int = 64
    reassembly_timeout_ns: int = 30 * SECOND
    """How long fragments wait for the rest.  RFC 1122 §3.3.2 asks for 60 to 120 s, RFC 8200 §4.5 for 60, Linux 30."""
    reassembly_limit_bytes: int = 4 << 20
    """All fragments held, of all sources."""
    reassembly_limit_source_bytes: int = 1 << 20
    reassembly_limit_fragments: int = 1024
    """Fragments of one packet (64 KiB in pieces of the least size)."""
    extension_headers_limit: int = 8
    options_limit: int = 8
    """Unknown or padding options of one IPv6 header (RFC 8504 §5.3)."""
    icmp_errors_per_second: int = 1000
    """Token bucket for all ICMP errors sent (RFC 4443 §2.4 f)."""
    icmp_errors_burst: int = 50
    icmp_errors_per_destination_per_second: int = 10
    icmp_echo_ignore_broadcasts: bool = True
    accept_source_route: bool = False
    """Take packets that have come by a source route, and answer by it; they are a means of attack (RFC 7126 §4.3)."""
    path_mtu_lifetime_ns: int = 600 * SECOND
    """After this a learned path MTU is forgotten (RFC 1191 §6.3, RFC 8201 §4)."""
    path_mtu_entries: int = 4096
    path_mtu_floor_ipv4: int = 552
    """A smaller next-hop MTU in an ICMP message is taken as this (Linux's min_pmtu)."""


@dataclass(slots=True)
class UdpConfig:
    """UDP."""

    receive_buffer: int = 1 << 20
    """Bytes of queued datagrams of one socket (SO_RCVBUF's default)."""
    send_buffer: int = 1 << 20
    flow_cache_per_socket: int = 256
    """Remote endpoints of one unconnected socket that the fast path knows."""


@dataclass(slots=True)
class TcpConfig:
    """TCP.  Names as in Linux's net.ipv4.tcp_* where there is one."""

    rmem: tuple[int, int, int] = (4096, 131_072, 32 << 20)
    """Memory for what one connection has received: the least, at first, and how far it grows by itself."""
    rmem_max: int = 4 << 20
    """net.core.rmem_max: the most that SO_RCVBUF can ask for; it gets the double."""
    moderate_rcvbuf: bool = True
    """The receive buffer follows what the user takes in a round trip."""
    app_win: int = 31
    """A share of 2^-app_win of the receive buffer is kept from the window."""
    shrink_window: bool = False
    """The right edge of a scaled window may move back when memory is short (RFC 9293 §3.8.6 warns of it, SHLD-14)."""
    workaround_signed_windows: bool = False
    """No unscaled window above 32767, for peers that take the field for a signed number."""
    wmem: tuple[int, int, int] = (4096, 16_384, 4 << 20)
    """Send buffer of a socket: least, at first, and the most it grows to; memory as `tcp.send_buffer` charges it."""
    notsent_lowat: int = 0xFFFF_FFFF
    """Bytes that may wait to be sent for the first time; with more, poll() shows no room (TCP_NOTSENT_LOWAT)."""
    min_tso_segs: int = 2
    """Segments of a super-segment, at least, however slow the connection is."""
    tso_rtt_log: int = 9
    """A super-segment may be larger on short paths: its largest size is halved for every 2^this µs of the least RTT."""
    tso_win_divisor: int = 3
    """A part of the window that is worth sending at once, rather than to wait for an ACK and a larger super-segment."""
    autocorking: bool = True
    """Taken for Linux's sake and without effect: frames never wait here in a queue that small writes could follow."""
    window_scaling: bool = True
    timestamps: bool = True
    sack: bool = True
    dsack: bool = True
    """Tell of data that came twice (RFC 2883)."""
    comp_sack_delay_ns: int = MILLISECOND
    """How long ACKs for data out of order wait for more of their kind, at most; else a twentieth of the round trip."""
    comp_sack_nr: int = 44
    """How many of them one ACK stands for, at most."""
    stdurg: bool = False
    """The urgent pointer points to the last urgent byte (RFC 1122 §4.2.2.4, RFC 9293 §3.8.5), not behind it as in BSD
    and Linux (RFC 6093 §3.1)."""
    congestion_control: str = "cubic"
    """What TCP_CONGESTION gives before it is set: a name of tcp.congestion.CONTROLLERS."""
    hystart: str = "linux"
    """How CUBIC leaves slow start: "linux" (HyStart), "plusplus" (RFC 9406) or "off" (docs/decisions/0011)."""
    cubic_hystart_detect: int = 3
    """What HyStart looks for: 1 trains of ACKs, 2 delay, 3 both (tcp_cubic's hystart_detect)."""
    abe: bool = False
    """Alternative back-off: a mark reduces the window by less than a loss does.  RFC 8511."""
    slow_start_after_idle: bool = True
    """The window shrinks while it is not made use of.  RFC 5681 §4.1, RFC 2861."""
    pacing_ss_ratio: int = 200
    """Per cent of cwnd/SRTT that `pacing_rate` is while the window doubles."""
    pacing_ca_ratio: int = 120
    pace_everything: bool = False
    """Pace every connection, as Linux does behind the fq queue."""
    initial_window_segments: int = 10
    """RFC 6928 §2."""
    rto_initial_ns: int = SECOND
    """RFC 6298 §2.1."""
    rto_after_syn_loss_ns: int = 3 * SECOND
    """The least RTO of a connection whose SYN timed out, until its first sample.  RFC 6298 §5.7."""
    rto_min_ns: int = 200 * MILLISECOND
    rto_max_ns: int = 120 * SECOND
    reordering: int = 3
    """The duplicate threshold, in segments, until reordering is seen.  RFC 5681 §3.2."""
    max_reordering: int = 300
    recovery: int = 1
    """Bits of RACK: 1 on (always), 2 a reordering window that stays, 4 no duplicate threshold.  RFC 8985 §6.2."""
    early_retrans: int = 3
    """3, 4: tail loss probes (RFC 8985 §7); 0 none."""
    frto: int = 2
    """0: no F-RTO.  RFC 5682."""
    thin_linear_timeouts: bool = False
    """A stream of less than four segments in flight is not backed off at its first six time-outs."""
    retrans_collapse: bool = True
    """Small segments are sent again in one."""
    min_rtt_wlen_ns: int = 300 * SECOND
    """How long the least round-trip time is remembered."""
    ecn: int = 2
    """0: no ECN; what an active open asks for and a passive one grants: 1 classic and classic, 2 nothing and classic,
    3 Accurate ECN and that, 4 classic and accurate, 5 nothing and accurate."""
    ecn_fallback: bool = True
    """SYNs that get lost again and again lose their ECN flags, and paths that mangle codepoints get none (RFC 3168
    §6.1.1.1)."""
    ecn_option: int = 2
    """The option of Accurate ECN: 0 never, 1 as seldom as RFC 9768 allows, 2 wherever there is room, 3 even if ACKs
    with it seem to get lost."""
    ecn_option_beacon: int = 3
    """With `ecn_option` 1: the option leaves at least so many times a round trip."""
    syn_retries: int = 7
    """R2 for a SYN: with back-off 247 s.  Linux has 6, 127 s; RFC 9293 §3.8.3 asks for 3 minutes (MUST-23)."""
    syn_linear_timeouts: int = 4
    """So many retransmissions of a SYN come before these, without back-off."""
    synack_retries: int = 5
    """As Linux, 63 s: whoever opens passively should not hold what nobody completes."""
    retries1: int = 3
    """R1 of RFC 9293 §3.8.3: retransmissions before the trouble is reported (SHLD-9, SHLD-10)."""
    retries2: int = 15
    """R2 of RFC 9293 §3.8.3: retransmissions before the connection is aborted; with back-off over 100 s (SHLD-11)."""
    user_timeout_option: bool = False
    """RFC 5482: tell the peer how long data may stay unacknowledged, and adopt what it tells."""
    user_timeout_least_ns: int = 100 * SECOND
    user_timeout_most_ns: int = 24 * 3600 * SECOND
    """L_LIMIT and U_LIMIT of RFC 5482 §3.1.1."""
    orphan_retries: int = 0
    """R2 of connections that no user holds; 0 is 8, and none once the back-off has reached its limit."""
    max_orphans: int = 65_536
    """Connections that no user holds; those beyond are reset."""
    rfc1337: bool = False
    """A RST does not end TIME-WAIT."""
    tw_reuse: int = 2
    """Whether an active open may take the place of a connection in TIME-WAIT (RFC 6191): 0 no, 1 yes, 2 on loopback."""
    tw_reuse_delay_ns: int = SECOND
    """So long it must have been there."""
    msl_ns: int = 30 * SECOND
    """TIME-WAIT lasts twice this.  Linux's 60 s in total, not RFC 9293's 4 minutes."""
    fin_wait_2_timeout_ns: int = 60 * SECOND
    """How long FIN-WAIT-2 may last once no process holds the socket."""
    keepalive_time_ns: int = 7200 * SECOND
    keepalive_interval_ns: int = 75 * SECOND
    keepalive_probes: int = 9
    keepalive_garbage: bool = False
    """Keep-alives carry one octet, for peers that do not answer them else.  RFC 9293 §3.8.4 (MAY-6)."""
    challenge_ack_per_second: int = 1000
    """RFC 5961 §7, for the whole stack."""
    invalid_ratelimit_ns: int = 500 * MILLISECOND
    """At most one duplicate ACK a connection in this time for segments that are out of window."""
    out_of_order_ranges: int = 16_384
    """The most separate ranges of out-of-order data of one connection."""
    listen_backlog_max: int = 4096
    """Linux's somaxconn."""
    syncookies: int = 1
    """SYN cookies (RFC 4987 §3.6): 0 never, 1 while a SYN queue is full, 2 always."""
    max_syn_backlog: int = 2048
    """Without SYN cookies: how many handshakes of one listener go on at once, at most; a quarter of this stays free."""
    abort_on_overflow: bool = False
    """A handshake that ends into a full accept queue is answered with RST, not ignored."""
    fastopen: int = 1
    """RFC 7413, the bits of `tcp.fast_open`: 1 client, 2 server, 4 client without cookie, 0x200 server without cookie,
    0x400 every listener."""
    fastopen_key: str = ""
    """The secret of the cookies, four 32-bit hexadecimal numbers joined by hyphens; after a comma the one before it,
    whose cookies are still taken.  Empty: random."""
    fastopen_blackhole_timeout_ns: int = 0
    """How long no data leave on a SYN after the path has swallowed them; 0: such paths are not looked for."""
    realtime_offset_ns: int = 0
    """What to add to the stack's clock for the time of day in timestamps; 0 where time is virtual."""
    mss_default_ipv4: int = 536
    mss_default_ipv6: int = 1220
    mss_min: int = 48
    """A smaller MSS option is taken as this (Linux's min_snd_mss)."""
    mtu_probing: int = 0
    """Packetization-layer path MTU discovery (RFC 4821): 0 never, 1 once a black hole shows, 2 always."""
    base_mss: int = 1024
    """Where the search begins."""
    mtu_probe_floor: int = 48
    """The least MSS that a black hole leads to."""
    probe_interval_ns: int = 600 * SECOND
    """How long after the search has ended it begins anew."""
    probe_threshold: int = 8
    """The search ends when it has narrowed to so many bytes."""


@dataclass(slots=True)
class StackConfig:
    """All of a stack."""

    ip: IpConfig = field(default_factory=IpConfig)
    udp: UdpConfig = field(default_factory=UdpConfig)
    tcp: TcpConfig = field(default_factory=TcpConfig)
    ephemeral_ports: tuple[int, int] = (1024, 65535)
    """First and last port that the stack picks itself (RFC 6056 §3.2)."""
    endpoints_limit: int = 1 << 20
    """Sockets of one stack; beyond it open() gives EMFILE."""


@dataclass(slots=True)
class SocketOptions:
    """What setsockopt() changes on one endpoint.  Times in nanoseconds; None means the stack's default."""

    reuse_address: bool = False
    reuse_port: bool = False
    ipv6_only: bool = False
    broadcast: bool = False
    ttl: int | None = None
    """IP_TTL and IPV6_UNICAST_HOPS."""
    multicast_ttl: int = 1
    multicast_loop: bool = True
    traffic_class: int = 0
    """IP_TOS and IPV6_TCLASS: DSCP and ECN bits."""
    flow_label: int | None = None
    receive_traffic_class: bool = False
    receive_ttl: bool = False
    receive_packet_info: bool = False
    receive_errors: bool = False
    """IP_RECVERR, IPV6_RECVERR: keep ICMP errors for MSG_ERRQUEUE and report soft ones too."""
    path_mtu_discovery: int = 1
    """IP_MTU_DISCOVER: 0 DONT, 1 WANT, 2 DO, 3 PROBE (DF on all, but no path MTU), 4 INTERFACE and 5 OMIT (no DF and no
    path MTU)."""
    header_included: bool = False
    """IP_HDRINCL and IPV6_HDRINCL."""
    icmp_filter: int = 0
    """ICMP_FILTER: bit t keeps messages of type t from a raw ICMP socket."""
    icmpv6_filter: int = 0
    """ICMPV6_FILTER: the same for ICMPv6, of 256 bits (the 32 bytes of the option are this, little-endian)."""
    checksum_offset: int | None = None
    """IPV6_CHECKSUM: where a raw IPv6 socket has its checksum computed and checked."""
    receive_buffer: int | None = None
    send_buffer: int | None = None
    receive_timeout_ns: int = 0
    """SO_RCVTIMEO: how long a blocking receive or accept may wait; 0 is for ever."""
    send_timeout_ns: int = 0
    """SO_SNDTIMEO: the same for send and connect."""
    no_checksum: bool = False
    """SO_NO_CHECK: IPv4 UDP datagrams leave with checksum zero."""
    linger_ns: int | None = None
    """SO_LINGER: None is off; 0 aborts on close."""
    out_of_band_inline: bool = False
    no_delay: bool = False
    cork: bool = False
    keepalive: bool = False
    keepalive_time_ns: int | None = None
    keepalive_interval_ns: int | None = None
    keepalive_probes: int | None = None
    user_timeout_ns: int = 0
    max_segment: int = 0
    """TCP_MAXSEG: 0 is none."""
    syn_retries: int | None = None
    congestion_control: str | None = None
    quick_ack: int | None = None
    """TCP_QUICKACK, as last set: it acts once."""

    mark: int = 0
    """SO_MARK: kept, and told again."""
    priority: int = 0
    incoming_cpu: int = -1
    dont_route: bool = False
    ip_options: bytes = b""
    """IP_OPTIONS of a stream: the source route that its connections take."""
    free_bind: bool = False
    """IP_FREEBIND: bind() takes addresses that no interface has (yet)."""
    zerocopy: bool = False
    """SO_ZEROCOPY: MSG_ZEROCOPY means something."""
    timestamping: int = 0
    """SO_TIMESTAMPING: the SOF_TIMESTAMPING_ flags."""
    receive_timestamp: str = ""
    """SO_TIMESTAMP ("us") or SO_TIMESTAMPNS ("ns")."""
    max_pacing_rate: int | None = None
    """SO_MAX_PACING_RATE: bytes a second."""
    receive_low_water: int = 1
    """SO_RCVLOWAT: so many bytes make a stream readable."""
    notsent_lowat: int = 0
    """TCP_NOTSENT_LOWAT: bytes not sent yet beyond which the stream is not writable; 0 is the stack's default."""
    window_clamp: int = 0
    """TCP_WINDOW_CLAMP: the largest window to advertise, 0 for no limit."""
    linger2_ns: int | None = None
    """TCP_LINGER2: the longest FIN-WAIT-2 of an orphan; less than 0 is none at all."""
    defer_accept: int = 0
    """TCP_DEFER_ACCEPT: for how many SYN-ACKs sent again a connection without data is kept from accept(); 0 is off."""
    report_queue: bool = False
    """TCP_INQ: recvmsg() tells how much can be read then."""
    adopted_user_timeout_ns: int = 0
    """What the peer's user time-out option has made of it, where the user has set none."""
    authentication: Any = None
    """TCP_MD5SIG and TCP_AO_ADD_KEY: the key ring of `tcp.authentication`."""
    fast_open_queue: int = 0
    """TCP_FASTOPEN: how many connections opened by a cookie may wait for the end of their handshake."""
    fast_open_connect: bool = False
    """TCP_FASTOPEN_CONNECT: connect() waits for the first data, which leave on the SYN."""
    fast_open_no_cookie: bool = False
    """TCP_FASTOPEN_NO_COOKIE: data on a SYN need no cookie, either way."""
    fast_open_key: bytes = b""
    """TCP_FASTOPEN_KEY: this listener's own keys, 16 or 32 bytes; empty is the stack's."""
