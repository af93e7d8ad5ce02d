#ifndef USTACK_TCB_H
#define USTACK_TCB_H

#include <stdint.h>

#include "ustack/held_segments.h"
#include "ustack/ranges.h"
#include "ustack/ring.h"
#include "ustack/sent_queue.h"

/* The transmission control block: the only home of a connection's state. Python and C read and
 * write the same memory. Names are those of RFC 9293 §3.3.1, 5681, 6298 and 7323. Sequence numbers
 * are absolute, times are monotonic nanoseconds, 0 for never. */

enum {
    TCP_CLOSED = 0,
    TCP_LISTEN = 1,
    TCP_SYN_SENT = 2,
    TCP_SYN_RECEIVED = 3,
    TCP_ESTABLISHED = 4,
    TCP_FIN_WAIT_1 = 5,
    TCP_FIN_WAIT_2 = 6,
    TCP_CLOSE_WAIT = 7,
    TCP_CLOSING = 8,
    TCP_LAST_ACK = 9,
    TCP_TIME_WAIT = 10,
};

/* Why the fast path must hand a connection's packets to Python. */
enum {
    SLOW_STATE = 1,        /* no data flow in this state */
    SLOW_RECOVERY = 2,     /* in loss recovery or after a time-out, or dup ACKs are being counted */
    SLOW_OUT_OF_ORDER = 4, /* out-of-order data is held */
    SLOW_URGENT = 8,       /* urgent data is pending, either way */
    SLOW_WINDOW = 16,      /* zero or shrunk windows, persist timer */
    SLOW_SHUTDOWN = 32,    /* the user reads no more */
    SLOW_ERROR = 64,       /* a soft error or an ICMP message is being weighed */
    SLOW_DISABLED = 128,   /* Stack(fast_path=False), or the user asked */
    SLOW_ECN = 256,        /* Accurate ECN: every ACK carries a counter */
};

/* Deadlines. RTO, persist and (later) TLP and reordering share one slot, told apart by
 * retransmit_kind. */
enum {
    TIMER_RETRANSMIT = 0,
    TIMER_DELAYED_ACK = 1,
    TIMER_KEEPALIVE = 2,
    TIMER_STATE = 3, /* FIN-WAIT-2, TIME-WAIT, linger, user time-out */
    TIMER_PACING = 4,
    TIMER_COMPRESSED_ACK = 5, /* several ACKs with SACK blocks made one */
    TIMER_COUNT = 6,
};
enum {
    RETRANSMIT_NONE = 0,
    RETRANSMIT_RTO = 1,
    RETRANSMIT_PERSIST = 2,
    RETRANSMIT_TLP = 3,
    RETRANSMIT_REORDERING = 4,
};

/* What a connection that has something to send waits for. */
enum {
    WAITS_NOTHING = 0,     /* all is acknowledged */
    WAITS_NETWORK = 1,     /* acknowledgments, or the congestion window */
    WAITS_PEER = 2,        /* the peer's receive window */
    WAITS_APPLICATION = 3, /* more data, which the full send buffer has kept out */
};

/* tcb.ca_state: the state of congestion avoidance, with Linux's values. */
enum {
    CA_OPEN = 0,
    CA_DISORDER = 1, /* duplicate ACKs or SACKs, no loss yet */
    CA_CWR = 2,      /* the window is being reduced after ECN or a full device */
    CA_RECOVERY = 3, /* fast recovery, RFC 6582, 6675, 8985 */
    CA_LOSS = 4,     /* after a retransmission time-out */
};

/* tcb.ecn_mode: which feedback was negotiated. */
enum {
    ECN_NONE = 0,
    ECN_CLASSIC = 1,  /* RFC 3168 */
    ECN_ACCURATE = 2, /* RFC 9768 */
    ECN_PENDING = 3,  /* our SYN has asked for Accurate ECN, or for less */
};
/* tcb.ecn_flags */
enum {
    ECN_QUEUE_CWR = 1,  /* classic: the next new data carries CWR */
    ECN_DEMAND_CWR = 2, /* classic: ECE on everything until the peer sends CWR */
    ECN_SEEN = 4,       /* an ECN-capable codepoint has arrived */
    ECN_REFLECT = 8,    /* accurate: the next ACK tells the codepoint of the peer's SYN */
    ECN_SYN_PLAIN = 16, /* our SYN has lost its ECN flags for being lost again and again */
    ECN_ACK_NEXT = 32,  /* accurate: the next data are acknowledged at once */
};
/* The codepoints of the IP header: RFC 3168 §5. */
enum {
    NOT_ECT = 0,
    ECT_1 = 1,
    ECT_0 = 2,
    ECN_CE = 3,
};
/* tcb.accecn_fail: what of Accurate ECN the path has shown not to carry. */
enum {
    ACCECN_ACE_SEND = 1,
    ACCECN_ACE_RECEIVE = 2,
    ACCECN_OPTION_SEND = 4,
    ACCECN_OPTION_RECEIVE = 8,
};

struct tcb {
    /* Identity: the flow, and the IP header's fields. */
    uint8_t local_address[16];
    uint8_t remote_address[16];
    uint16_t local_port;
    uint16_t remote_port;
    uint8_t version;
    uint8_t ttl;
    uint8_t traffic_class;
    uint8_t dont_fragment;
    uint8_t no_offload;        /* segments are signed one by one: devices must not cut them */
    uint8_t interface;         /* index of the interface that the route names */
    uint8_t ip_options_length; /* IPv4: a source route; 0: none */
    uint8_t first_hop[4]; /* with options: where packets are sent to, on their way to the remote */
    uint8_t ip_options[40]; /* whole, padded to 32 bits */
    uint32_t flow_label;
    uint16_t ip_id;             /* of the next IPv4 packet */
    uint8_t state;              /* written by tcp.state.change_state only */
    uint8_t touched;            /* on the touched list of the current burst */
    uint32_t handle;            /* Python's name of the connection */
    uint32_t slow_path_reasons; /* SLOW_ bits; only Python writes them */

    /* Send sequence space. */
    uint32_t iss;
    uint32_t snd_una;
    uint32_t snd_nxt;
    uint32_t snd_wnd; /* scaled: bytes */
    uint32_t snd_wl1;
    uint32_t snd_wl2;
    uint32_t snd_up;
    uint32_t snd_max_wnd;  /* the largest window the peer has ever offered */
    uint32_t snd_ring_seq; /* sequence number of the send ring's first byte */
    uint32_t snd_sml;  /* end of the last segment sent that was smaller than the MSS (Minshall) */
    uint32_t snd_mss;  /* payload bytes of a full segment now, less the options of a data segment */
    uint16_t peer_mss; /* as received, or the default */
    uint8_t snd_wscale;   /* shift of windows that the peer sends */
    uint8_t rcv_wscale;   /* shift of windows that we send */
    uint8_t fin_sent;     /* our FIN is part of the sequence space up to snd_nxt */
    uint8_t fin_received; /* the peer's FIN has been taken in order */
    uint8_t
        refuses_data; /* the user has closed both ways: data that arrive are answered with RST */

    /* Receive sequence space. */
    uint8_t window_scaling; /* negotiated */
    uint8_t timestamps;     /* negotiated */
    uint8_t sack_permitted; /* negotiated */
    uint8_t ack_now;        /* an ACK must leave at the end of the burst */
    uint32_t irs;
    uint32_t rcv_nxt;
    uint32_t rcv_wnd; /* as last advertised: counts from last_ack_sent */
    uint32_t rcv_up;
    uint32_t rcv_mss;           /* the peer's segment size, as seen */
    uint32_t last_segment_size; /* of the last segment if it was a small one, else 0 */
    uint32_t advmss;            /* the MSS that we have announced, less the timestamps */
    uint32_t last_ack_sent;

    /* The receive buffer, in bytes of memory, and the window that it gives, in bytes of data:
     * Linux's sk_rcvbuf, window_clamp, rcv_ssthresh, scaling_ratio (256ths). */
    uint32_t rcv_buffer;
    uint32_t rcv_buffer_most; /* how far rcv_buffer may grow */
    uint32_t rcv_window_clamp;
    uint32_t rcv_ssthresh;
    uint8_t rcv_buffer_locked; /* the user has chosen rcv_buffer */
    uint8_t rcv_scaling_ratio;
    uint32_t rcv_space; /* bytes the user took in a round trip, at most */
    uint32_t rcv_space_seq;
    uint64_t rcv_space_ns; /* when this round trip's count began, at rcv_space_seq */
    uint64_t rcv_rtt_ns;   /* eight times the round trip as the receiver sees it, 0 for none */
    uint32_t rcv_rtt_seq;  /* a window is full when RCV.NXT is there */
    uint32_t rcv_rtt_echo; /* TSecr of the last sample */
    uint64_t rcv_rtt_since_ns;

    /* Delayed ACKs. */
    uint8_t ack_scheduled; /* something was received and not acknowledged */
    uint8_t ack_pushed;    /* small segments among it: 0, 1, 2 for more */
    uint8_t ack_quick;     /* so many ACKs leave at once, unless in ping-pong mode */
    uint8_t ack_pingpong;  /* data answer data: ACKs ride along */
    uint8_t ack_no_memory; /* data was dropped for lack of memory: the window is zero */
    uint8_t ack_compressed;
    uint8_t ack_duplicates;
    uint32_t ack_compressed_at; /* RCV.NXT that these two are for */
    uint64_t ack_timeout_ns;    /* Linux's ato, 0 before data */

    /* SACK, RFC 2018: the blocks to tell, latest first; and RFC 2883's duplicate. */
    struct sack_block selective_acks[4];
    struct sack_block duplicate_sack;
    uint8_t selective_ack_count;
    uint8_t has_duplicate_sack;

    /* Timestamps: RFC 7323. */
    uint32_t ts_recent;
    uint32_t ts_offset;    /* added to the clock in milliseconds to give TSval */
    uint64_t ts_recent_ns; /* when ts_recent was set */

    /* Retransmission: RFC 6298. */
    uint64_t srtt_ns;   /* 0 before the first sample */
    uint64_t rttvar_ns; /* the mean deviation */
    uint64_t
        rto_variation_ns; /* what RTO is above SRTT: four times the largest deviation of late */
    uint64_t rto_variation_max_ns; /* the largest in the present flight */
    uint32_t rtt_seq;              /* SND.UNA beyond it ends that flight */
    uint64_t min_rtt_ns;           /* the least of some minutes, 0 before the first sample */
    uint64_t rto_ns;
    uint64_t deadline_ns[6]; /* by TIMER_, 0 where not armed */
    uint8_t retransmit_kind; /* RETRANSMIT_: what deadline_ns[TIMER_RETRANSMIT] is for */
    uint8_t backoff;         /* doublings of the time-out since the last sample */
    uint8_t retransmits;     /* time-outs since new data was last acknowledged: R1, R2 */
    uint8_t probes_sent;     /* keep-alives and window probes since the last segment arrived */
    uint8_t ca_state;        /* CA_ */
    uint32_t dup_acks;       /* segments that duplicate ACKs say have arrived, without SACK */
    uint32_t recovery_point; /* SND.NXT when the state was entered, Linux's high_seq */

    /* Loss recovery. */
    uint8_t undo_marked;        /* undo_marker is set: the reduction may yet turn out spurious */
    uint8_t frto;               /* F-RTO weighs whether the time-out was spurious: RFC 5682 */
    uint8_t tlp_outstanding;    /* a loss probe is out: tlp_high_seq is set */
    uint8_t tlp_retransmission; /* it was no new data */
    uint8_t sack_reneging;      /* the peer has reneged in this loss episode */
    uint32_t undo_marker;       /* SND.UNA when the episode began */
    int32_t undo_retrans;       /* retransmissions of it not told of by DSACK; -1: none was made */
    uint32_t tlp_high_seq;      /* TLP.end_seq: RFC 8985 §7.1 */
    uint32_t prior_cwnd_packets;
    uint32_t prior_ssthresh_packets; /* 0: not to be restored */
    uint32_t prr_delivered;          /* RFC 6937 §3.1, in segments */
    uint32_t prr_out;
    uint32_t reordering;       /* the largest distance seen, in segments: the duplicate threshold */
    uint32_t reordering_seen;  /* how often */
    uint32_t dsack_dups;       /* segments that DSACKs have told of */
    uint64_t retrans_stamp_ns; /* when the first retransmission of the episode was made, or 0 */
    struct rack rack;
    uint64_t first_retransmit_ns; /* when what had to be sent again was first sent, 0 for none */

    /* Congestion: the controller's numbers, RFC 5681, in segments. */
    uint32_t cwnd_packets;
    uint32_t ssthresh_packets; /* 0x7fffffff: none yet */
    uint64_t pacing_rate;      /* bytes a second that segments leave at, or would if paced */
    uint64_t paced_until_ns;   /* when the next segment may leave, where segments are paced */

    /* Whether cwnd is made use of: tcp.cwnd_validation, RFC 7661, RFC 2861. */
    uint8_t is_cwnd_limited; /* in the window of data that ends at cwnd_usage_seq */
    uint32_t cwnd_usage_seq;
    uint32_t max_packets_out; /* the most outstanding in that window of data */
    uint32_t cwnd_used;       /* the most outstanding since cwnd was last the limit */
    uint64_t cwnd_checked_ns; /* when it last was, or was last reduced for want of use */

    /* Delivery rate: tcp.rate_sampling. */
    uint64_t first_sent_ns; /* when the newest segment delivered was sent, or the flight began */
    uint64_t app_limited;   /* until so many are delivered samples show the application's rate; 0 */
    uint64_t rate_delivered;   /* the latest sample that says most: segments */
    uint64_t rate_interval_ns; /* over so long a time */
    uint8_t rate_app_limited;
    uint32_t lost;      /* segments ever deemed lost */
    uint32_t lost_told; /* of `lost` and `delivered_ce`, what the controller has heard of */
    uint32_t delivered_ce_told;

    /* What the ACKs of this burst have done and the controller has not been told: cleared by
     * tcp.acknowledgment.flush. */
    struct sent_acknowledged acked;
    uint32_t prior_in_flight; /* segments in flight before the first of them */
    uint64_t acked_at_ns;

    /* Explicit congestion notification: RFC 3168, 9768. Byte counts have the index codepoint - 1.
     */
    uint8_t ecn_mode;          /* ECN_NONE, … */
    uint8_t ecn_flags;         /* ECN_QUEUE_CWR, … */
    uint8_t ecn_codepoint;     /* of the next packet that is built */
    uint8_t ecn_last_received; /* the codepoint of the latest segment */
    uint8_t syn_ecn_sent;      /* the codepoints of our SYN … */
    uint8_t syn_ecn_received;  /* … and of the peer's */
    uint8_t accecn_fail;       /* ACCECN_ */
    uint8_t accecn_seen;       /* the peer's option: 0 never, 1 empty, 2 with counters, 3 mangled */
    uint8_t accecn_demand;     /* ACKs that still have to carry the option */
    uint8_t accecn_least_fields; /* counters that the next option must at least have */
    uint8_t accecn_guess;        /* the codepoint that ACKs without the option are counted as */
    uint8_t accecn_sent_dsack;   /* the latest option left with a DSACK */
    uint8_t received_ce_pending; /* CE marks that no ACK has told yet, up to 15 */
    uint32_t received_ce;        /* segments that arrived with CE */
    uint32_t delivered_ce;       /* segments of ours that arrived with CE, as the peer tells */
    uint32_t received_ecn_bytes[3];
    uint32_t delivered_ecn_bytes[3];
    uint32_t acked_packets_mean; /* packets an ACK delivers, a moving average in 1/64 */
    uint64_t accecn_sent_ns;     /* when the option was last sent */

    /* Times and counts. */
    uint64_t last_received_ns;
    uint64_t last_sent_ns;          /* data; the connection's establishment before any */
    uint64_t last_data_received_ns; /* the same for data taken in order */
    uint64_t last_ack_received_ns;
    uint64_t last_departure_ns; /* any segment */
    uint64_t delivered;         /* segments acknowledged on this connection, or SACKed */
    uint64_t delivered_ns;
    uint64_t bytes_acked;    /* how far SND.UNA has come: SYN and FIN count one each */
    uint64_t bytes_received; /* how far RCV.NXT has come since the peer's SYN */
    uint64_t bytes_sent;     /* payload, however often it was sent */
    uint64_t bytes_retransmitted;
    uint32_t segments_received; /* as they were on the wire, not super-segments */
    uint32_t segments_sent;
    uint32_t data_segments_received;
    uint32_t data_segments_sent;
    uint32_t out_of_order_segments; /* received */
    uint8_t received_traffic_class; /* of the latest segment, with its codepoint */
    uint32_t retransmissions;
    uint16_t timeouts;            /* expiries of the retransmission timer in all, of SYNs too */
    uint16_t timeout_episodes;    /* uninterrupted rows of them */
    uint64_t episode_ns;          /* when the present row began, 0 outside of one */
    uint64_t time_in_timeouts_ns; /* of the rows before it */
    uint32_t
        events; /* readiness bits that C has raised in this burst: endpoint.READABLE, WRITABLE */

    /* What the connection waits for, and since when: RFC 4898 §3.1's tcpEStatsPerf…Time. */
    uint8_t waits_for; /* WAITS_ */
    uint64_t waits_since_ns;
    uint64_t waited_ns[4]; /* by WAITS_, what is over */

    /* Buffers. */
    struct ring snd_ring;
    struct ring rcv_ring;
    struct held_segments held; /* what is in rcv_ring */
    struct ranges out_of_order;
    struct sent_queue sent;
};

/* A zeroed TCB, or NULL without memory; freed with all its buffers. */
struct tcb *tcb_new(void);
void tcb_free(struct tcb *tcb);

/* SND.UNA = `ack`, which is beyond it: what is acknowledged leaves the queue and the ring, and is
 * summed in `acked`. `ts_echo` is TSecr if `echoed`. */
void tcb_acknowledge(struct tcb *tcb, uint32_t ack, int echoed, uint32_t ts_echo, uint64_t now_ns);

/* Mark the ascending `blocks` of the ACK with number `ack` as SACKed, before that is taken; of them
 * `duplicate` (-1: none) is a DSACK. Summed in `acked`. 0, or -1 without memory. */
int tcb_take_sack(struct tcb *tcb, uint32_t ack, const struct sack_block *blocks, uint32_t count,
                  int32_t duplicate, int echoed, uint32_t ts_echo, uint64_t now_ns);

/* Free the buffers but not the TCB. */
void tcb_release_buffers(struct tcb *tcb);

#endif
