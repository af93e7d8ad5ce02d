#ifndef USTACK_SENT_QUEUE_H
#define USTACK_SENT_QUEUE_H

#include <stdint.h>

#include "ustack/rack.h"

enum {
    SENT_SACKED = 1,        /* a SACK block covers it */
    SENT_LOST = 2,          /* deemed lost, whether sent again or not; never with SACKED */
    SENT_RETRANSMITTED = 4, /* sent more than once: no RTT sample (Karn) */
    SENT_FIN = 8,           /* its last sequence number is the FIN */
    SENT_SYN = 16,          /* its first sequence number is the SYN */
    SENT_PROBE = 32,        /* sent as a loss or window probe */
    SENT_APP_LIMITED = 64,  /* the connection was limited by the application when it was sent */
    SENT_PUSH = 128,        /* its last byte ended a write */
    SENT_RESENT = 256,      /* sent again, and that copy is thought to be in the network */
    SENT_RECORD_END =
        512, /* its last byte ends a record (MSG_EOR): it is not joined with the next */
};

enum {
    SACK_CACHE = 4, /* blocks of the last ACK that are remembered */
};

/* One transmission of a run of sequence numbers, up to a super-segment long. */
struct sent_segment {
    uint32_t seq;
    uint32_t end;           /* sequence number after it */
    uint64_t xmit_ns;       /* when last sent */
    uint64_t first_sent_ns; /* for delivery rate: when the first segment of its flight was sent */
    uint64_t delivered;     /* segments delivered on the connection when it was sent */
    uint64_t delivered_ns;  /* when that was so */
    uint32_t delivered_ce;  /* segments ever delivered with CE by then */
    uint32_t tx_in_flight;  /* segments in flight when it was sent, itself included */
    uint32_t lost;          /* segments ever deemed lost on the connection when it was sent */
    uint16_t flags;         /* SENT_ */
    uint16_t transmissions;
    uint32_t mss;   /* how it was cut on the wire, from `seq` on; 0 if that is not known */
    uint32_t later; /* links of the list below, a handle + 1 each, 0 for none */
    uint32_t earlier;
    uint8_t list; /* which of the lists it is on, 0 for none */
};

/* Entries in the order of their last transmission. */
struct sent_list {
    uint32_t earliest; /* a handle + 1, 0 for none */
    uint32_t latest;
};

struct sack_block {
    uint32_t start;
    uint32_t end;
};

/* The sent and not cumulatively acknowledged segments, in order and without gaps. Bytes are
 * sequence numbers everywhere here: SYN and FIN count one each. Segments are those on the wire: an
 * entry has as many as its payload was cut into by its `mss`, and at least one. */
struct sent_queue {
    struct sent_segment *items; /* by handle; up to 4 entries stay allocated while empty */
    uint32_t *order;            /* handles by sequence number, circular */
    uint32_t capacity;          /* of both: 0 or a power of two */
    uint32_t first;
    uint32_t count;
    uint32_t unused;         /* first of the free handles, + 1; linked by `later` */
    struct sent_list timed;  /* what RACK may yet deem lost: neither SACKed nor found lost by it */
    struct sent_list parked; /* what a time-out has marked: waits to be sent again */
    uint32_t segments;       /* sums over the queue in segments, kept up to date by every call */
    uint32_t sacked_segments;
    uint32_t lost_segments;
    uint32_t retransmitted_segments; /* RESENT */
    uint32_t highest_sacked; /* end of the highest SACKed entry, while sacked_segments > 0 */
    uint32_t lost_from;      /* nothing before it is LOST and not RESENT */
    struct sack_block sacked_blocks[4]; /* what the last ACK's blocks have marked; empty: 0, 0 */
};

/* What the queue must know of the connection to judge what an acknowledgment tells. */
struct sent_context {
    uint64_t now_ns;
    uint64_t min_rtt_ns;
    uint32_t una;         /* the acknowledgment number: what is before it is about to leave */
    uint32_t high_seq;    /* recovery_point: end of what was out when the loss episode began */
    uint32_t undo_marker; /* SND.UNA when the episode began that could be undone */
    uint32_t ts_offset;
    uint32_t ts_echo; /* TSecr */
    uint8_t echoed;   /* there is one */
    uint8_t sack;     /* SACK was agreed: RACK watches */
};

/* What an acknowledgment did. */
struct sent_acknowledged {
    uint32_t bytes;          /* newly acknowledged (cumulatively, or by SACK), not counted before */
    uint32_t segments;       /* the same in segments */
    uint32_t acked_segments; /* taken off the queue, whether SACKed before or not */
    uint32_t sacked_segments;    /* newly SACKed */
    uint32_t retransmitted;      /* bytes taken off the queue that were sent more than once */
    uint32_t duplicate_segments; /* sent more than once, and a DSACK covers them */
    uint64_t first_xmit_ns;      /* of the last ACK's segments taken off that were sent once and not
                                  * SACKed before: when the first was sent, 0 if there is none */
    uint64_t last_xmit_ns;       /* when the last was */
    uint64_t first_sacked_ns;    /* the same of the newly SACKed */
    uint64_t last_sacked_ns;
    uint64_t newest_xmit_ns; /* the latest xmit_ns among all of them */
    uint32_t newest_end;     /* the acknowledged end of that newest one; of equals, the highest */
    uint32_t newest_retransmitted;
    uint64_t delivered; /* the rate fields of that newest one */
    uint64_t delivered_ns;
    uint64_t first_sent_ns;
    uint32_t lost;
    uint32_t delivered_ce;
    uint32_t tx_in_flight;
    uint32_t newest_app_limited;
    uint32_t hole_filled;    /* start of the lowest that was sent once and arrived */
    uint32_t hole_sacked;    /* start of the lowest, sent once, that was SACKed below others */
    uint8_t has_hole_filled; /* whether those two are set */
    uint8_t has_hole_sacked;
    uint8_t original; /* something sent once, before high_seq, has arrived */
};

/* The segments on the wire of one entry. */
uint32_t sent_segment_count(const struct sent_segment *segment);

/* Segments in the network: sent, neither SACKed nor deemed lost, and what was sent again. RFC 6675
 * §4's pipe. */
uint32_t sent_queue_in_flight(const struct sent_queue *queue);

/* Append a segment sent now: not empty, beginning where the last one ends. 0, or -1 without memory
 * (2^24 entries at most). */
int sent_queue_push(struct sent_queue *queue, const struct sent_segment *segment);

/* Remove what is before `una`; an entry that `una` lies within keeps its rest. `result` is added
 * to: the caller clears it. */
void sent_queue_acknowledge(struct sent_queue *queue, uint32_t una,
                            const struct sent_context *context, struct rack *rack,
                            struct sent_acknowledged *result);

/* The entry with index 0 … count-1, or NULL. It stays valid until the queue is next changed. */
struct sent_segment *sent_queue_at(struct sent_queue *queue, uint32_t index);

/* The index of the entry that holds `seq`, or -1. Logarithmic. */
int32_t sent_queue_find(const struct sent_queue *queue, uint32_t seq);

/* Split the entry that `seq` lies strictly within into two at `seq`; 0 also if there is none, -1
 * without memory. */
int sent_queue_split(struct sent_queue *queue, uint32_t seq);

/* Join entry `index` and the next into one. The first's segment size stays. */
void sent_queue_join(struct sent_queue *queue, uint32_t index);

/* Entry `index` will be cut into segments of `mss` bytes when it is sent again. */
void sent_queue_recut(struct sent_queue *queue, uint32_t index, uint32_t mss);

/* Mark [start, end) as SACKed as far as the queue holds it, splitting at its edges; adds to
 * `result` as acknowledge does. Only bytes not marked before count. Clears LOST on them, and RESENT
 * where they were LOST. Of a segment that the edge cuts (as they went on the wire, by `mss`)
 * nothing is marked, and a queue of 2^15 entries is not split further: so a peer's blocks cannot
 * chop the queue to pieces. With `duplicate` the block is a DSACK's. The marked block is written
 * to `marked`. 0, or -1 without memory (nothing is marked). */
int sent_queue_mark_sacked(struct sent_queue *queue, struct sack_block block, int duplicate,
                           const struct sent_context *context, struct rack *rack,
                           struct sent_acknowledged *result, struct sack_block *marked);

/* Mark `count` ascending blocks of one ACK, at most 4, of which `duplicate` (or none: -1) is a
 * DSACK. What the last ACK's blocks covered is not walked over again. 0, or -1 without memory. */
int sent_queue_take_blocks(struct sent_queue *queue, const struct sack_block *blocks,
                           uint32_t count, int32_t duplicate, const struct sent_context *context,
                           struct rack *rack, struct sent_acknowledged *result);

/* Mark [start, end) as LOST where not SACKed, as far as the queue holds it, splitting at its edges.
 * Where LOST already the copy sent again is lost too: clears RESENT. Returns the segments newly
 * marked or cleared, or -1 without memory (nothing is marked). */
int64_t sent_queue_mark_lost(struct sent_queue *queue, uint32_t start, uint32_t end);

/* Mark LOST what RACK deems so: sent before what was delivered, more than RACK.rtt + `reo_wnd_ns`
 * ago. Adds the segments to `lost`; returns the nanoseconds until the last of the rest would be, 0
 * if there is none. RFC 8985 §6.2, step 5. */
uint64_t sent_queue_detect_loss(struct sent_queue *queue, const struct rack *rack,
                                uint64_t reo_wnd_ns, uint64_t now_ns, uint32_t *lost);

/* A retransmission time-out: mark LOST the first entry and all that were sent more than
 * `recent_ns` ago. With `reneged` all is, and the SACKed marks are forgotten first (RFC 2018 §8).
 * Returns the segments as mark_lost does. */
uint32_t sent_queue_time_out(struct sent_queue *queue, uint64_t recent_ns, int reneged,
                             uint64_t now_ns);

/* Nothing is deemed lost any more: what was marked is taken back. */
void sent_queue_unmark_lost(struct sent_queue *queue);

/* The index of the first entry that is LOST and not RESENT, or -1. */
int32_t sent_queue_next_lost(struct sent_queue *queue);

/* Entry `index` has been sent again now: sets RETRANSMITTED and xmit_ns, counts a transmission;
 * sets RESENT unless it was a loss probe. */
void sent_queue_retransmitted(struct sent_queue *queue, uint32_t index, int probe, uint64_t now_ns);

/* Remove all and free the memory. */
void sent_queue_release(struct sent_queue *queue);

#endif
