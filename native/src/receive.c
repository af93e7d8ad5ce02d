#include "receive.h"

#include "headers.h"
#include "least.h"
#include "sequence.h"

enum {
    EVENT_READABLE = 1,
    QUICK_ACKS_MOST = 16,
    WORTH_GROWING = 128, /* payload bytes of a segment that may open the window */
    MSS_DEFAULT = 536,
    MSS_LEAST = 88,
    MILLISECOND_NS = 1000000,
    LONGEST_TICKS = INT32_MAX / 1000,
};

#define ACK_TIMEOUT_LEAST_NS ((uint64_t)40 * MILLISECOND_NS)

static uint32_t segment_size(const struct packet *packet)
{
    return packet->gso_size > 0 ? packet->gso_size : packet->payload_length;
}

static uint32_t memory_held(const struct tcb *tcb)
{
    return tcb->held.memory + tcb->out_of_order.memory;
}

/* window.receive_window */
static uint32_t receive_window(const struct tcb *tcb)
{
    uint32_t used = tcb->rcv_nxt - tcb->last_ack_sent;

    return used < tcb->rcv_wnd ? tcb->rcv_wnd - used : 0;
}

int receive_is_ordinary(const struct tcb *tcb, const struct packet *packet)
{
    uint32_t length = packet->payload_length;

    return !tcb->fin_received && !tcb->refuses_data && length <= receive_window(tcb) &&
           length <= tcb->rcv_ring.capacity - tcb->rcv_ring.length &&
           segment_size(packet) <= tcb->rcv_mss && memory_held(tcb) <= tcb->rcv_buffer;
}

int receive_reserve(struct tcb *tcb, const struct packet *packet)
{
    if (packet->payload_length == 0 || packet->payload_length <= tcb->held.tailroom) {
        return 0;
    }
    return held_segments_reserve(&tcb->held, 1);
}

/* receive_buffer._update_round_trip */
static void update_round_trip(struct tcb *tcb, uint64_t sample_ns, int of_a_window)
{
    uint64_t before = tcb->rcv_rtt_ns;

    if (before == 0 || sample_ns * 8 < before) {
        tcb->rcv_rtt_ns = sample_ns * 8;
    } else if (!of_a_window && tcb->rcv_ring.length == 0) {
        tcb->rcv_rtt_ns = before - before / 8 + sample_ns;
    }
}

void receive_measure_echo(struct tcb *tcb, const struct packet *packet, uint64_t now_ns)
{
    uint32_t ticks = (uint32_t)(now_ns / MILLISECOND_NS) + tcb->ts_offset - packet->ts_echo;

    if (packet->ts_echo == tcb->rcv_rtt_echo) {
        return;
    }
    tcb->rcv_rtt_echo = packet->ts_echo;
    if (packet->payload_length >= tcb->rcv_mss && ticks > 0 && ticks < LONGEST_TICKS) {
        update_round_trip(tcb, (uint64_t)ticks * MILLISECOND_NS, 0);
    }
}

/* receive_buffer._measure_window */
static void measure_window(struct tcb *tcb, uint64_t now_ns)
{
    if (tcb->rcv_rtt_since_ns > 0) {
        if (seq_before(tcb->rcv_nxt, tcb->rcv_rtt_seq)) {
            return;
        }
        update_round_trip(tcb, now_ns > tcb->rcv_rtt_since_ns ? now_ns - tcb->rcv_rtt_since_ns : 1,
                          1);
    }
    tcb->rcv_rtt_seq = tcb->rcv_nxt + tcb->rcv_wnd;
    tcb->rcv_rtt_since_ns = now_ns;
}

/* delayed_ack._note_small: whether it is as large as the small one before it. */
static int note_small(struct tcb *tcb, const struct packet *packet, uint32_t before)
{
    uint32_t ip_header = packet->version == 4 ? IPV4_HEADER : IPV6_HEADER;
    uint32_t header = packet->header_length - ip_header;
    uint32_t size = segment_size(packet) + header;
    uint32_t own_header = TCP_HEADER + (tcb->timestamps ? 12 : 0);

    if (size < MSS_DEFAULT + TCP_HEADER &&
        (size < MSS_LEAST + TCP_HEADER || packet->flags & TCP_FLAG_PSH)) {
        return 0;
    }
    tcb->last_segment_size = size - own_header;
    return tcb->last_segment_size == before;
}

/* delayed_ack.measure_segment_size, for sizes up to the present one */
static void measure_segment_size(struct tcb *tcb, const struct packet *packet)
{
    uint32_t before = tcb->last_segment_size;

    tcb->last_segment_size = 0;
    if (segment_size(packet) >= tcb->rcv_mss) {
        if (packet->flags & TCP_FLAG_PSH && tcb->ack_pushed == 0) {
            tcb->ack_pushed = 1;
        }
    } else if (note_small(tcb, packet, before)) {
        tcb->rcv_mss = before;
    } else {
        tcb->ack_pushed = tcb->ack_pushed == 0 ? 1 : 2;
    }
}

/* delayed_ack._raise_quick */
static void raise_quick(struct tcb *tcb)
{
    uint32_t quick = tcb->rcv_wnd / (2 * tcb->rcv_mss);

    quick = least(quick > 0 ? quick : 2, QUICK_ACKS_MOST);
    if (quick > tcb->ack_quick) {
        tcb->ack_quick = (uint8_t)quick;
    }
}

/* delayed_ack._follow_rhythm */
static void follow_rhythm(struct tcb *tcb, uint64_t now_ns)
{
    uint64_t gap = now_ns - tcb->last_data_received_ns;

    if (tcb->ack_timeout_ns == 0) {
        raise_quick(tcb);
        tcb->ack_timeout_ns = ACK_TIMEOUT_LEAST_NS;
    } else if (gap <= ACK_TIMEOUT_LEAST_NS / 2) {
        tcb->ack_timeout_ns = tcb->ack_timeout_ns / 2 + ACK_TIMEOUT_LEAST_NS / 2;
    } else if (gap < tcb->ack_timeout_ns) {
        tcb->ack_timeout_ns = tcb->ack_timeout_ns / 2 + gap;
        if (tcb->ack_timeout_ns > tcb->rto_ns) {
            tcb->ack_timeout_ns = tcb->rto_ns;
        }
    } else if (gap > tcb->rto_ns) {
        raise_quick(tcb);
    }
    tcb->last_data_received_ns = now_ns;
}

static int64_t window_from_memory(const struct tcb *tcb, int64_t memory)
{
    return memory * tcb->rcv_scaling_ratio >> 8;
}

/* receive_buffer._slow_increment */
static int64_t slow_increment(const struct tcb *tcb, uint32_t length, uint32_t memory)
{
    int64_t cost = window_from_memory(tcb, memory) >> 1;
    int64_t window = window_from_memory(tcb, tcb->rcv_buffer_most) >> 1;

    while (tcb->rcv_ssthresh <= window) {
        if (cost <= length) {
            return 2 * (int64_t)tcb->rcv_mss;
        }
        cost >>= 1;
        window >>= 1;
    }
    return 0;
}

/* receive_buffer.grow_window */
static void grow_window(struct tcb *tcb, uint32_t length, uint32_t memory)
{
    int64_t space = window_from_memory(tcb, (int64_t)tcb->rcv_buffer - memory_held(tcb));
    int64_t room = (space < tcb->rcv_window_clamp ? space : tcb->rcv_window_clamp) -
                   (int64_t)tcb->rcv_ssthresh;
    int64_t more;

    if (room <= 0) {
        return;
    }
    more = window_from_memory(tcb, memory) <= length ? 2 * (int64_t)tcb->advmss
                                                     : slow_increment(tcb, length, memory);
    if (more > 0) {
        more = more > 2 * (int64_t)length ? more : 2 * (int64_t)length;
        tcb->rcv_ssthresh += (uint32_t)(more < room ? more : room);
        tcb->ack_quick |= 1;
    }
}

void receive_data(struct tcb *tcb, const struct packet *packet, uint64_t now_ns)
{
    uint32_t length = packet->payload_length;
    uint32_t packet_length = packet->header_length + length;

    held_segments_add(&tcb->held, length, packet_length);
    ring_write(&tcb->rcv_ring, packet->payload, length);
    tcb->rcv_nxt += length;
    tcb->bytes_received += length;
    tcb->ack_scheduled = 1;
    measure_segment_size(tcb, packet);
    measure_window(tcb, now_ns);
    follow_rhythm(tcb, now_ns);
    if (length >= WORTH_GROWING) {
        grow_window(tcb, length, segment_memory(packet_length));
    }
    tcb->has_duplicate_sack = 0;
    tcb->events |= EVENT_READABLE;
}
