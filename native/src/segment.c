#include "ustack/segment.h"

#include <string.h>

#include "bytes.h"
#include "headers.h"
#include "least.h"
#include "ustack/checksum.h"

/* What all frames of one segment_build have in common. */
struct plan {
    struct burst *burst;
    const struct tcb *tcb;
    uint32_t seq;
    uint32_t ack;
    const uint8_t *options;
    uint32_t options_length;
    uint32_t ip_length;     /* bytes of the IP header */
    uint32_t header_length; /* bytes of all headers */
    uint32_t length;        /* payload bytes in all */
    uint32_t ring_offset;   /* of the payload in the send ring */
    uint32_t mss;           /* payload bytes of one segment on the wire, at most */
    uint32_t piece;         /* payload bytes of one frame, at most */
    uint16_t window;
    uint16_t urgent;
    uint16_t flags;
};

/* One frame: `length` payload bytes, `offset` after the first of the plan. */
struct piece {
    uint32_t offset;
    uint32_t length;
    uint16_t ip_id;
};

/* In how many parts of at most `part` bytes `length` bytes go; an empty payload is one part. */
static uint32_t parts(uint32_t length, uint32_t part)
{
    return length <= part ? 1 : (length + part - 1) / part;
}

/* Whether the device cuts super-segments of this family itself. A frame with urgent data is cut
 * here: the pointer differs by segment; one with CWR as a bit of a counter: devices leave that on
 * the first segment only; and one with a source route: its checksum covers another address. */
static int device_cuts(const struct plan *plan)
{
    uint32_t needed = OFFLOAD_CHECKSUM | (plan->tcb->version == 4 ? OFFLOAD_TSO4 : OFFLOAD_TSO6);
    int counter = plan->tcb->ecn_mode == ECN_ACCURATE && (plan->flags & TCP_FLAG_CWR) != 0;

    return (plan->burst->offload & needed) == needed && (plan->flags & TCP_FLAG_URG) == 0 &&
           !counter && plan->tcb->ip_options_length == 0 && !plan->tcb->no_offload;
}

/* Choose the sizes of segments and frames. */
static void plan_pieces(struct plan *plan)
{
    uint32_t room = FRAME_MAX - plan->header_length;

    plan->mss = least(plan->tcb->snd_mss > 0 ? plan->tcb->snd_mss : room, room);
    plan->piece = device_cuts(plan) ? room - room % plan->mss : plan->mss;
}

static int plan_fits(const struct plan *plan)
{
    uint32_t frames = parts(plan->length, plan->piece);

    return burst_fits_all(plan->burst, frames,
                          plan->length + (uint64_t)frames * plan->header_length);
}

static int payload_is_there(const struct plan *plan)
{
    uint32_t held = plan->tcb->snd_ring.length;

    return plan->length == 0 ||
           (plan->ring_offset <= held && plan->length <= held - plan->ring_offset);
}

static void write_ipv4(const struct plan *plan, const struct piece *piece, uint8_t *header)
{
    const struct tcb *tcb = plan->tcb;
    uint32_t options = tcb->ip_options_length;

    header[0] = (uint8_t)(0x40 | plan->ip_length / 4);
    header[IPV4_TRAFFIC_CLASS] = tcb->traffic_class | tcb->ecn_codepoint;
    store16(header + IPV4_TOTAL_LENGTH, (uint16_t)(plan->header_length + piece->length));
    store16(header + IPV4_IDENTIFICATION, piece->ip_id);
    store16(header + IPV4_FRAGMENT, tcb->dont_fragment ? IPV4_DONT_FRAGMENT : 0);
    header[IPV4_TTL] = tcb->ttl;
    header[IPV4_PROTOCOL] = PROTOCOL_TCP;
    store16(header + IPV4_CHECKSUM, 0);
    memcpy(header + IPV4_SOURCE, tcb->local_address, 4);
    memcpy(header + IPV4_DESTINATION, options > 0 ? tcb->first_hop : tcb->remote_address, 4);
    memcpy(header + IPV4_HEADER, tcb->ip_options, options);
    store16(header + IPV4_CHECKSUM, checksum_compute(header, plan->ip_length, 0));
}

static void write_ipv6(const struct plan *plan, const struct piece *piece, uint8_t *header)
{
    const struct tcb *tcb = plan->tcb;
    uint32_t payload_length = plan->header_length - IPV6_HEADER + piece->length;
    uint32_t traffic_class = tcb->traffic_class | tcb->ecn_codepoint;

    store32(header, 6U << 28 | traffic_class << 20 | (tcb->flow_label & 0xFFFFF));
    store16(header + IPV6_PAYLOAD_LENGTH, (uint16_t)payload_length);
    header[IPV6_NEXT_HEADER] = PROTOCOL_TCP;
    header[IPV6_HOP_LIMIT] = tcb->ttl;
    memcpy(header + IPV6_SOURCE, tcb->local_address, 16);
    memcpy(header + IPV6_DESTINATION, tcb->remote_address, 16);
}

/* The flags of one frame: SYN and the classic CWR on the first, PSH and FIN on the last, URG as far
 * as the urgent data goes. */
static uint16_t piece_flags(const struct plan *plan, const struct piece *piece)
{
    int flags = plan->flags;

    if (piece->offset > 0) {
        flags &=
            plan->tcb->ecn_mode == ECN_ACCURATE ? ~TCP_FLAG_SYN : ~(TCP_FLAG_SYN | TCP_FLAG_CWR);
        if (plan->urgent <= piece->offset) {
            flags &= ~TCP_FLAG_URG;
        }
    }
    if (piece->offset + piece->length < plan->length) {
        flags &= ~(TCP_FLAG_PSH | TCP_FLAG_FIN);
    }
    return (uint16_t)flags;
}

/* The sequence number of a frame's first payload byte is behind the SYN, that of the frame with the
 * SYN is the SYN's. */
static uint32_t piece_seq(const struct plan *plan, const struct piece *piece)
{
    uint32_t syn = piece->offset > 0 && (plan->flags & TCP_FLAG_SYN);

    return plan->seq + syn + piece->offset;
}

static void write_tcp(const struct plan *plan, const struct piece *piece, uint8_t *header)
{
    uint32_t header_length = TCP_HEADER + plan->options_length;
    uint16_t flags = piece_flags(plan, piece);

    store16(header, plan->tcb->local_port);
    store16(header + 2, plan->tcb->remote_port);
    store32(header + TCP_SEQ, piece_seq(plan, piece));
    store32(header + TCP_ACK, plan->ack);
    store16(header + TCP_DATA_OFFSET, (uint16_t)(header_length / 4 << 12 | flags));
    store16(header + TCP_WINDOW, plan->window);
    store16(header + TCP_CHECKSUM, 0);
    store16(header + TCP_URGENT_POINTER,
            flags & TCP_FLAG_URG ? (uint16_t)(plan->urgent - piece->offset) : 0);
    if (plan->options_length > 0) {
        memcpy(header + TCP_HEADER, plan->options, plan->options_length);
    }
}

/* Copy bytes of a ring and add them to `sum`; they are there. */
static uint16_t copy_and_sum(const struct ring *ring, uint32_t offset, uint8_t *to, uint32_t length,
                             uint16_t sum)
{
    uint32_t place = (ring->head + offset) & (ring->capacity - 1);
    uint32_t straight = least(length, ring->capacity - place);
    uint16_t rest;

    sum = checksum_copy(to, ring->data + place, straight, sum);
    if (straight == length) {
        return sum;
    }
    rest = checksum_copy(to + straight, ring->data, length - straight, 0);
    if (straight % 2 != 0) {
        rest = (uint16_t)(rest << 8 | rest >> 8);
    }
    return (uint16_t)~checksum_update((uint16_t)~sum, 0, rest);
}

/* Copy the payload behind the header and complete the checksum, or leave it to the device. */
static void finish_frame(const struct plan *plan, const struct piece *piece, struct frame *frame)
{
    const struct tcb *tcb = plan->tcb;
    uint8_t *tcp = plan->burst->data + frame->offset + plan->ip_length;
    uint32_t header_length = plan->header_length - plan->ip_length;
    uint32_t ring_offset = plan->ring_offset + piece->offset;
    uint16_t sum =
        checksum_pseudo(tcb->local_address, tcb->remote_address, tcb->version == 4 ? 4 : 16,
                        PROTOCOL_TCP, header_length + piece->length);

    if (plan->burst->offload & OFFLOAD_CHECKSUM) {
        ring_peek(&tcb->snd_ring, ring_offset, tcp + header_length, piece->length);
        store16(tcp + TCP_CHECKSUM, sum);
        frame->flags = FRAME_NEEDS_CHECKSUM;
        frame->checksum_start = (uint16_t)plan->ip_length;
        frame->checksum_offset = TCP_CHECKSUM;
        return;
    }
    sum = checksum_add(tcp, header_length, sum);
    if (piece->length > 0) {
        sum = copy_and_sum(&tcb->snd_ring, ring_offset, tcp + header_length, piece->length, sum);
    }
    store16(tcp + TCP_CHECKSUM, (uint16_t)~sum);
}

/* Build one frame, for which there is room. */
static void build_frame(const struct plan *plan, const struct piece *piece)
{
    uint8_t *header = burst_reserve(plan->burst, plan->header_length + piece->length);
    struct frame *frame = &plan->burst->frames[plan->burst->count - 1];

    if (plan->tcb->version == 4) {
        write_ipv4(plan, piece, header);
    } else {
        write_ipv6(plan, piece, header);
    }
    write_tcp(plan, piece, header + plan->ip_length);
    finish_frame(plan, piece, frame);
    if (piece->length > plan->mss) {
        frame->gso_type = plan->tcb->version == 4 ? GSO_TCPV4 : GSO_TCPV6;
        frame->gso_size = (uint16_t)plan->mss;
        frame->header_length = (uint16_t)plan->header_length;
    }
}

static void build_frames(const struct plan *plan)
{
    struct piece piece = {0, 0, plan->tcb->ip_id};

    do {
        piece.length = least(plan->length - piece.offset, plan->piece);
        build_frame(plan, &piece);
        piece.offset += piece.length;
        piece.ip_id = (uint16_t)(piece.ip_id + parts(piece.length, plan->mss));
    } while (piece.offset < plan->length);
}

int segment_build(struct burst *burst, struct tcb *tcb, uint32_t seq, uint32_t ack, uint16_t flags,
                  uint16_t window, uint16_t urgent, const uint8_t *options, uint32_t options_length,
                  uint32_t length)
{
    uint32_t ip_length = tcb->version == 4 ? IPV4_HEADER + tcb->ip_options_length : IPV6_HEADER;
    struct plan plan = {
        .burst = burst,
        .tcb = tcb,
        .seq = seq,
        .ack = ack,
        .options = options,
        .options_length = options_length,
        .ip_length = ip_length,
        .header_length = ip_length + TCP_HEADER + options_length,
        .length = length,
        .ring_offset = seq + (flags & TCP_FLAG_SYN ? 1 : 0) - tcb->snd_ring_seq,
        .window = window,
        .urgent = urgent,
        .flags = flags,
    };
    uint32_t segments;

    if (options_length > TCP_OPTIONS_MOST || options_length % 4 != 0) {
        return -1;
    }
    if (!payload_is_there(&plan)) {
        return -2;
    }
    plan_pieces(&plan);
    if (!plan_fits(&plan)) {
        return -1;
    }
    build_frames(&plan);
    segments = parts(length, plan.mss);
    tcb->ip_id = (uint16_t)(tcb->ip_id + segments);
    tcb->segments_sent += segments;
    if (length > 0) {
        tcb->data_segments_sent += segments;
        tcb->bytes_sent += length;
    }
    if (flags & TCP_FLAG_ACK) {
        tcb->last_ack_sent = ack;
    }
    return 0;
}
