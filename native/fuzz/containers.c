/* The containers under any sequence of calls, with allocations that fail: they stay consistent, and
 * where a call says so, nothing has changed. Each call takes four bytes of the input: which one,
 * two small numbers, and after how many allocations one fails (0x80 and more: none). */

#include "fuzz.h"
#include "ustack/datagram_queue.h"
#include "ustack/flow_table.h"
#include "ustack/ranges.h"
#include "ustack/ring.h"
#include "ustack/sent_queue.h"

enum {
    CALL = 4,
    ENTRY = 10, /* sequence numbers of one sent segment */
    RANGES_LIMIT = 8,
    CHUNK = 4096,
};

struct containers {
    struct ring ring;
    struct ranges ranges;
    struct sent_queue sent;
    struct rack rack;
    struct datagram_queue datagrams;
    struct flow_table *flows;
    uint32_t seq; /* after the last sent segment */
    uint32_t una;
    uint32_t flow_count;
};

/* One call's numbers: which of its kind, and two arguments. */
struct numbers {
    uint32_t a, b, c;
};

static const uint8_t CHUNK_OF_ZEROS[CHUNK];

static void call_ring(struct containers *all, struct numbers n)
{
    uint8_t out[CHUNK];
    struct ring before = all->ring;

    switch (n.a % 6) {
    case 0:
        require(ring_reserve(&all->ring, n.b * n.c, n.c) == 0 ||
                    memcmp(&before, &all->ring, sizeof before) == 0,
                "without memory a ring is unchanged");
        break;
    case 1:
        ring_write(&all->ring, CHUNK_OF_ZEROS, n.b * 16);
        break;
    case 2:
        ring_read(&all->ring, out, n.b * 16);
        break;
    case 3:
        ring_place(&all->ring, n.b, CHUNK_OF_ZEROS, n.c * 16);
        break;
    case 4:
        ring_extend(&all->ring, n.b);
        break;
    default:
        ring_peek(&all->ring, n.b, out, n.c * 16);
        break;
    }
}

static void check_ring(const struct ring *ring)
{
    require(ring->length <= ring->capacity, "a ring holds its length");
    require((ring->capacity & (ring->capacity - 1)) == 0, "a ring's capacity is a power of two");
    require(ring->capacity == 0 || ring->head < ring->capacity, "a ring's head is in it");
}

static void call_ranges(struct containers *all, struct numbers n)
{
    uint32_t count = all->ranges.count;
    uint32_t start = all->una + n.b;

    if (n.a % 4 == 0) {
        ranges_advance(&all->ranges, start);
    } else if (ranges_add(&all->ranges, start, start + n.c % 16, 40 + n.c, RANGES_LIMIT) < 0) {
        require(all->ranges.count == count, "a refused range changes nothing");
    }
}

static void check_ranges(const struct ranges *ranges)
{
    require(ranges->count <= RANGES_LIMIT, "ranges are limited");
    for (uint32_t i = 0; i < ranges->count; i++) {
        const struct range *range = &ranges->items[i];
        require((int32_t)(range->end - range->start) > 0, "no range is empty");
        require(i == 0 || (int32_t)(range->start - range[-1].end) > 0,
                "ranges ascend and are apart");
    }
}

static void push_sent(struct containers *all, struct numbers n)
{
    struct sent_segment segment = {.seq = all->seq, .end = all->seq + ENTRY, .xmit_ns = n.b};

    segment.mss = n.c % ENTRY;
    segment.flags = (uint16_t)(n.b & (SENT_RETRANSMITTED | SENT_PUSH));
    if (sent_queue_push(&all->sent, &segment) == 0) {
        all->seq = segment.end;
    }
}

static void acknowledge_sent(struct containers *all, uint32_t bytes)
{
    struct sent_acknowledged result = {0};
    struct sent_context context = {.una = all->una + bytes, .sack = 1};

    bytes = bytes < all->seq - all->una ? bytes : all->seq - all->una;
    all->una += bytes;
    sent_queue_acknowledge(&all->sent, all->una, &context, &all->rack, &result);
    require(result.bytes <= bytes, "no more is acknowledged than there was");
}

static void mark_sent(struct containers *all, struct numbers n)
{
    struct sent_context context = {.una = all->una, .now_ns = n.b};
    struct sent_acknowledged result = {0};
    struct sack_block blocks[2] = {{all->una + n.b, all->una + n.b + n.c},
                                   {all->una + n.c, all->una + n.c + n.b}};
    uint32_t sacked = all->sent.sacked_segments;

    require(sent_queue_take_blocks(&all->sent, blocks, 1 + n.b % 2, (int32_t)(n.c % 3) - 1,
                                   &context, &all->rack, &result) == 0 ||
                all->sent.sacked_segments >= sacked,
            "without memory nothing is forgotten");
}

static void lose_sent(struct containers *all, struct numbers n)
{
    uint32_t lost = 0;

    sent_queue_mark_lost(&all->sent, all->una + n.b, all->una + n.b + n.c);
    sent_queue_detect_loss(&all->sent, &all->rack, n.b, n.c, &lost);
    if (n.c % 5 == 0) {
        sent_queue_unmark_lost(&all->sent);
    }
    sent_queue_recut(&all->sent, n.b, 1 + n.c);
    sent_queue_join(&all->sent, n.b);
}

static void call_sent(struct containers *all, struct numbers n)
{
    switch (n.a % 8) {
    case 0:
        acknowledge_sent(all, n.b);
        break;
    case 1:
        mark_sent(all, n);
        break;
    case 2:
        lose_sent(all, n);
        break;
    case 3:
        sent_queue_split(&all->sent, all->una + n.b);
        break;
    case 4:
        sent_queue_retransmitted(&all->sent, n.b, n.c % 2, n.c);
        break;
    case 5:
        sent_queue_time_out(&all->sent, n.c, (int)n.b & 1, n.c);
        break;
    default:
        push_sent(all, n);
        break;
    }
}

static void check_sent(struct containers *all)
{
    uint32_t seq = all->una;
    uint32_t sacked = 0;
    uint32_t lost = 0;

    for (uint32_t i = 0; i < all->sent.count; i++) {
        const struct sent_segment *segment = sent_queue_at(&all->sent, i);
        uint32_t bytes = segment->end - segment->seq;
        require(segment->seq == seq && bytes > 0, "sent segments follow one another");
        require(sent_queue_find(&all->sent, seq) == (int32_t)i, "every sent segment is found");
        sacked += segment->flags & SENT_SACKED ? sent_segment_count(segment) : 0;
        lost += segment->flags & SENT_LOST ? sent_segment_count(segment) : 0;
        require((segment->flags & (SENT_LOST | SENT_SACKED)) != (SENT_LOST | SENT_SACKED),
                "what is SACKed is not lost");
        seq = segment->end;
    }
    require(seq == all->seq, "sent segments reach to the end");
    require(sacked == all->sent.sacked_segments && lost == all->sent.lost_segments,
            "sums are right");
}

static void call_datagrams(struct containers *all, struct numbers n)
{
    struct datagram datagram = {.length = n.b * 8};
    uint8_t out[CHUNK];
    uint32_t count = all->datagrams.count;

    all->datagrams.limit = CHUNK;
    if (n.a % 3 == 0) {
        datagram_queue_peek(&all->datagrams, out, n.c * 16);
        datagram_queue_pop(&all->datagrams);
    } else if (datagram_queue_push(&all->datagrams, &datagram, CHUNK_OF_ZEROS) < 0) {
        require(all->datagrams.count == count, "a refused datagram is not counted");
    }
}

static void check_datagrams(const struct datagram_queue *queue)
{
    struct datagram first;

    require((datagram_queue_first(queue, &first) == 0) == (queue->count > 0),
            "there is a first datagram where there is any");
}

static void call_flows(struct containers *all, struct numbers n)
{
    struct flow_key key;
    uint8_t address[4] = {0};

    flow_key_fill(&key, 6, 4, address, (uint16_t)n.b, address, (uint16_t)(n.c % 2));
    if (n.a % 3 == 0) {
        all->flow_count -= (uint32_t)flow_table_remove(all->flows, &key);
    } else if (flow_table_find(all->flows, &key) == NULL) {
        all->flow_count += flow_table_insert(all->flows, &key, FLOW_OTHER, n.b, NULL) == 0;
    }
}

static void check_flows(struct containers *all)
{
    uint32_t found = 0;

    for (uint32_t i = 0; i < all->flows->capacity; i++) {
        struct flow *flow = &all->flows->items[i];
        if (flow->kind != FLOW_NONE) {
            require(flow_table_find(all->flows, &flow->key) == flow, "every flow is found");
            found++;
        }
    }
    require(found == all->flows->count && found == all->flow_count, "flows are counted");
}

static void call_one(struct containers *all, const uint8_t *call)
{
    static void (*const calls[])(struct containers *, struct numbers) = {
        call_ring, call_ranges, call_sent, call_sent, call_datagrams, call_flows};
    struct numbers numbers = {call[0] / 6U, call[1], call[2]};

    fail_allocation_after((int8_t)call[3]);
    calls[call[0] % 6](all, numbers);
    fail_allocation_after(-1);
    check_ring(&all->ring);
    check_ranges(&all->ranges);
    check_sent(all);
    check_datagrams(&all->datagrams);
    check_flows(all);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct containers all = {.una = 0xFFFFFF00, .seq = 0xFFFFFF00};
    static const uint8_t key[16];

    all.flows = flow_table_new(key);
    require(all.flows != NULL, "memory for the flows");
    for (size_t i = 0; i + CALL <= size; i += CALL) {
        call_one(&all, data + i);
    }
    ring_release(&all.ring);
    ranges_release(&all.ranges);
    sent_queue_release(&all.sent);
    datagram_queue_release(&all.datagrams);
    flow_table_free(all.flows);
    return 0;
}
