#ifndef USTACK_SENT_QUEUE_H
#define USTACK_SENT_QUEUE_H

#include <stdint.h>

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
};

/* One transmission of a run of sequence numbers, up to a super-segment long. */
struct sent_segment {
    uint32_t seq;
    uint32_t end;           /* sequence number after it */
    uint64_t xmit_ns;       /* when last sent */
    uint64_t first_sent_ns; /* for delivery rate: when the first segment of its flight was sent */
    uint64_t delivered;     /* segments delivered on the connection when it was sent */
    uint64_t delivered_ns;  /* when that was so */
    uint32_t lost;          /* segments ever deemed lost on the connection by then */
    uint32_t delivered_ce;  /* segments ever delivered with CE by then */
    uint32_t tx_in_flight;  /* segments in flight with this one */
    uint16_t flags;         /* SENT_ */
    uint16_t transmissions;
    uint32_t mss; /* how it was cut on the wire, from `seq` on; 0 if that is not known */
};

/* The sent and not cumulatively acknowledged segments, in order and without gaps. Bytes are
 * sequence numbers everywhere here: SYN and FIN count one each. Segments are those on the wire: an
 * entry has as many as its payload was cut into by its `mss`, and at least one. */
struct sent_queue {
    struct sent_segment *items; /* circular; up to 4 entries stay allocated while empty */
    uint32_t capacity;          /* 0 or a power of two */
    uint32_t first;
    uint32_t count;
    uint32_t segments; /* sums over the queue in segments, kept up to date by every call */
    uint32_t sacked_segments;
    uint32_t lost_segments;
    uint32_t retransmitted_segments; /* RESENT */
};

/* What an acknowledgment did. */
struct sent_acknowledged {
    uint32_t bytes;          /* newly acknowledged (cumulatively, or by SACK), not counted before */
    uint32_t segments;       /* the same in segments */
    uint32_t retransmitted;  /* of the bytes, those that were sent more than once */
    uint64_t xmit_ns;        /* the latest xmit_ns among the never retransmitted ones; 0 if none */
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
                            struct sent_acknowledged *result);

/* The entry with index 0 … count-1, or NULL. It stays valid until the queue is next changed. */
struct sent_segment *sent_queue_at(struct sent_queue *queue, uint32_t index);

/* The index of the entry that holds `seq`, or -1. Logarithmic. */
int32_t sent_queue_find(const struct sent_queue *queue, uint32_t seq);

/* Split the entry that `seq` lies strictly within into two at `seq`; 0 also if there is none, -1
 * without memory. */
int sent_queue_split(struct sent_queue *queue, uint32_t seq);

/* Mark [start, end) as SACKed as far as the queue holds it, splitting at its edges; adds to
 * `result` as acknowledge does. Only bytes not marked before count. Clears LOST on them, and RESENT
 * where they were LOST. Of a
 * segment that the edge cuts (as they went on the wire, by `mss`) nothing is marked, and a queue of
 * 2^15 entries is not split further: so a peer's blocks cannot chop the queue to pieces. 0, or -1
 * without memory (nothing is marked). */
int sent_queue_mark_sacked(struct sent_queue *queue, uint32_t start, uint32_t end,
                           struct sent_acknowledged *result);

/* Mark [start, end) as LOST where not SACKed, as far as the queue holds it, splitting at its edges.
 * Where LOST already the copy sent again is lost too: clears RESENT. Returns the segments newly
 * marked or cleared, or -1 without memory (nothing is marked). */
int64_t sent_queue_mark_lost(struct sent_queue *queue, uint32_t start, uint32_t end);

/* Mark everything LOST that is not SACKed: what a retransmission time-out does. With
 * `forget_sacked` the SACKed marks are forgotten first (reneging, RFC 2018 §8). Returns the
 * segments as mark_lost does. */
uint32_t sent_queue_mark_all_lost(struct sent_queue *queue, int forget_sacked);

/* The index of the first entry at or after index `from` that is LOST and not RESENT, or -1. */
int32_t sent_queue_next_lost(const struct sent_queue *queue, uint32_t from);

/* Entry `index` has been sent again now: sets RESENT, RETRANSMITTED and xmit_ns, counts a
 * transmission. */
void sent_queue_retransmitted(struct sent_queue *queue, uint32_t index, uint64_t now_ns);

/* Remove all and free the memory. */
void sent_queue_release(struct sent_queue *queue);

#endif
