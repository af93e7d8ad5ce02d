#include "ustack/sent_queue.h"

#include <stdlib.h>
#include <string.h>

#include "sequence.h"

enum {
    LEAST_CAPACITY = 4, /* kept while the queue is empty: request and response need no allocation */
    MOST_CAPACITY = 1 << 24,
    SACK_SPLITS_UNTIL = 1 << 15, /* entries; beyond it SACK blocks split none */
};

/* Entries [from, to) by index. */
struct span {
    uint32_t from;
    uint32_t to;
};

static struct sent_segment *entry(const struct sent_queue *queue, uint32_t index)
{
    return &queue->items[(queue->first + index) & (queue->capacity - 1)];
}

static uint32_t length_of(const struct sent_segment *segment)
{
    return segment->end - segment->seq;
}

uint32_t sent_segment_count(const struct sent_segment *segment)
{
    uint32_t controls =
        ((segment->flags & SENT_SYN) != 0) + (uint32_t)((segment->flags & SENT_FIN) != 0);
    uint32_t length = length_of(segment);

    if (segment->mss == 0 || length <= segment->mss + controls) {
        return 1;
    }
    return (length - controls - 1) / segment->mss + 1;
}

uint32_t sent_queue_in_flight(const struct sent_queue *queue)
{
    return queue->segments - queue->sacked_segments - queue->lost_segments +
           queue->retransmitted_segments;
}

static void count_in(struct sent_queue *queue, const struct sent_segment *segment)
{
    uint32_t count = sent_segment_count(segment);

    queue->segments += count;
    queue->sacked_segments += segment->flags & SENT_SACKED ? count : 0;
    queue->lost_segments += segment->flags & SENT_LOST ? count : 0;
    queue->retransmitted_segments += segment->flags & SENT_RESENT ? count : 0;
}

static void count_out(struct sent_queue *queue, const struct sent_segment *segment)
{
    uint32_t count = sent_segment_count(segment);

    queue->segments -= count;
    queue->sacked_segments -= segment->flags & SENT_SACKED ? count : 0;
    queue->lost_segments -= segment->flags & SENT_LOST ? count : 0;
    queue->retransmitted_segments -= segment->flags & SENT_RESENT ? count : 0;
}

static void change_flags(struct sent_queue *queue, struct sent_segment *segment, int set, int clear)
{
    count_out(queue, segment);
    segment->flags = (uint16_t)((segment->flags | set) & ~clear);
    count_in(queue, segment);
}

/* Make room for `more` entries. 0, or -1 without memory. */
static int make_room(struct sent_queue *queue, uint32_t more)
{
    uint32_t capacity = queue->capacity == 0 ? LEAST_CAPACITY : queue->capacity;
    struct sent_segment *items;

    while (capacity < queue->count + more) {
        capacity *= 2;
    }
    if (capacity == queue->capacity) {
        return 0;
    }
    if (capacity > MOST_CAPACITY) {
        return -1;
    }
    items = malloc(capacity * sizeof *items);
    if (items == NULL) {
        return -1;
    }
    for (uint32_t i = 0; i < queue->count; i++) {
        items[i] = *entry(queue, i);
    }
    free(queue->items);
    queue->items = items;
    queue->capacity = capacity;
    queue->first = 0;
    return 0;
}

int sent_queue_push(struct sent_queue *queue, const struct sent_segment *segment)
{
    if (make_room(queue, 1) < 0) {
        return -1;
    }
    *entry(queue, queue->count) = *segment;
    queue->count++;
    count_in(queue, segment);
    return 0;
}

static int is_newer(const struct sent_segment *segment, uint32_t end,
                    const struct sent_acknowledged *result)
{
    if (result->newest_xmit_ns == 0 || segment->xmit_ns > result->newest_xmit_ns) {
        return 1;
    }
    return segment->xmit_ns == result->newest_xmit_ns && seq_after(end, result->newest_end);
}

/* Add to `result` that the entry's bytes before `end`, so many segments, are acknowledged for the
 * first time. */
static void add_acknowledged(struct sent_acknowledged *result, const struct sent_segment *segment,
                             uint32_t end, uint32_t segments)
{
    int retransmitted = (segment->flags & SENT_RETRANSMITTED) != 0;
    uint32_t bytes = end - segment->seq;

    result->bytes += bytes;
    result->segments += segments;
    if (retransmitted) {
        result->retransmitted += bytes;
    } else if (segment->xmit_ns > result->xmit_ns) {
        result->xmit_ns = segment->xmit_ns;
    }
    if (is_newer(segment, end, result)) {
        result->newest_xmit_ns = segment->xmit_ns;
        result->newest_end = end;
        result->newest_retransmitted = (uint32_t)retransmitted;
        result->delivered = segment->delivered;
        result->delivered_ns = segment->delivered_ns;
        result->first_sent_ns = segment->first_sent_ns;
        result->lost = segment->lost;
        result->delivered_ce = segment->delivered_ce;
        result->tx_in_flight = segment->tx_in_flight;
        result->newest_app_limited = (segment->flags & SENT_APP_LIMITED) != 0;
    }
}

/* Drop the first entry's bytes before `end`, and the entry with its last byte. */
static void trim_first(struct sent_queue *queue, uint32_t end)
{
    struct sent_segment *first = entry(queue, 0);

    count_out(queue, first);
    if (end == first->end) {
        queue->first = (queue->first + 1) & (queue->capacity - 1);
        queue->count--;
    } else {
        first->seq = end;
        first->flags &= (uint16_t)~SENT_SYN;
        count_in(queue, first);
    }
}

void sent_queue_acknowledge(struct sent_queue *queue, uint32_t una,
                            struct sent_acknowledged *result)
{
    while (queue->count > 0) {
        struct sent_segment first = *entry(queue, 0);
        uint32_t before = queue->segments;
        uint32_t end = seq_before(una, first.end) ? una : first.end;
        if (!seq_after(end, first.seq)) {
            return;
        }
        trim_first(queue, end);
        if ((first.flags & SENT_SACKED) == 0) {
            add_acknowledged(result, &first, end, before - queue->segments);
        }
    }
    if (queue->capacity > LEAST_CAPACITY) {
        sent_queue_release(queue);
    }
}

struct sent_segment *sent_queue_at(struct sent_queue *queue, uint32_t index)
{
    return index < queue->count ? entry(queue, index) : NULL;
}

int32_t sent_queue_find(const struct sent_queue *queue, uint32_t seq)
{
    uint32_t low = 0;
    uint32_t high = queue->count;
    uint32_t base;

    if (queue->count == 0) {
        return -1;
    }
    base = entry(queue, 0)->seq;
    if (seq - base >= entry(queue, queue->count - 1)->end - base) {
        return -1;
    }
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (entry(queue, middle)->seq - base <= seq - base) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return (int32_t)low;
}

/* Make a place behind entry `index`, for which there is room, by moving the shorter side. */
static void open_place_behind(struct sent_queue *queue, uint32_t index)
{
    if (index < queue->count / 2) {
        queue->first = (queue->first - 1) & (queue->capacity - 1);
        for (uint32_t i = 0; i <= index; i++) {
            *entry(queue, i) = *entry(queue, i + 1);
        }
    } else {
        for (uint32_t i = queue->count; i > index + 1; i--) {
            *entry(queue, i) = *entry(queue, i - 1);
        }
    }
    queue->count++;
}

int sent_queue_split(struct sent_queue *queue, uint32_t seq)
{
    int32_t index = sent_queue_find(queue, seq);
    struct sent_segment *before;
    struct sent_segment *behind;

    if (index < 0 || entry(queue, (uint32_t)index)->seq == seq) {
        return 0;
    }
    if (make_room(queue, 1) < 0) {
        return -1;
    }
    open_place_behind(queue, (uint32_t)index);
    before = entry(queue, (uint32_t)index);
    behind = entry(queue, (uint32_t)index + 1);
    count_out(queue, before);
    *behind = *before;
    before->end = seq;
    before->flags &= (uint16_t)~(SENT_FIN | SENT_PUSH);
    behind->seq = seq;
    behind->flags &= (uint16_t)~SENT_SYN;
    count_in(queue, before);
    count_in(queue, behind);
    return 0;
}

/* Split at the edges of [start, end), as far as the queue holds it, and name the entries between.
 * 0, or -1 without memory (nothing changes). */
static int cut_out(struct sent_queue *queue, uint32_t start, uint32_t end, struct span *span)
{
    uint32_t last_end;
    int32_t index;

    *span = (struct span){0, 0};
    if (queue->count == 0) {
        return 0;
    }
    last_end = entry(queue, queue->count - 1)->end;
    start = seq_before(start, entry(queue, 0)->seq) ? entry(queue, 0)->seq : start;
    end = seq_after(end, last_end) ? last_end : end;
    if (!seq_before(start, end)) {
        return 0;
    }
    if (make_room(queue, 2) < 0) {
        return -1;
    }
    sent_queue_split(queue, start);
    sent_queue_split(queue, end);
    index = sent_queue_find(queue, end);
    span->from = (uint32_t)sent_queue_find(queue, start);
    span->to = index < 0 ? queue->count : (uint32_t)index;
    return 0;
}

/* The edge of a SACK block moved inwards (forward from its start, back from its end) to where the
 * entry that it lies in was cut into segments. */
static uint32_t segment_edge(const struct sent_queue *queue, uint32_t edge, int forward)
{
    int32_t index = sent_queue_find(queue, edge);
    const struct sent_segment *segment;
    uint32_t mss;
    uint32_t beyond;

    if (index < 0) {
        return edge;
    }
    segment = entry(queue, (uint32_t)index);
    mss = queue->count < SACK_SPLITS_UNTIL ? segment->mss : length_of(segment);
    beyond = mss > 0 ? (edge - segment->seq) % mss : 0;
    if (beyond == 0 || !forward) {
        return edge - beyond;
    }
    return segment->end - edge > mss - beyond ? edge + (mss - beyond) : segment->end;
}

int sent_queue_mark_sacked(struct sent_queue *queue, uint32_t start, uint32_t end,
                           struct sent_acknowledged *result)
{
    struct span span;

    start = segment_edge(queue, start, 1);
    end = segment_edge(queue, end, 0);
    if (cut_out(queue, start, end, &span) < 0) {
        return -1;
    }
    for (uint32_t i = span.from; i < span.to; i++) {
        struct sent_segment *segment = entry(queue, i);
        if ((segment->flags & SENT_SACKED) == 0) {
            int resent = segment->flags & SENT_LOST ? SENT_RESENT : 0;
            add_acknowledged(result, segment, segment->end, sent_segment_count(segment));
            change_flags(queue, segment, SENT_SACKED, SENT_LOST | resent);
        }
    }
    return 0;
}

static uint32_t mark_lost(struct sent_queue *queue, struct span span)
{
    uint32_t marked = 0;

    for (uint32_t i = span.from; i < span.to; i++) {
        struct sent_segment *segment = entry(queue, i);
        if (segment->flags & SENT_LOST) {
            marked += segment->flags & SENT_RESENT ? sent_segment_count(segment) : 0;
            change_flags(queue, segment, 0, SENT_RESENT);
        } else if ((segment->flags & SENT_SACKED) == 0) {
            marked += sent_segment_count(segment);
            change_flags(queue, segment, SENT_LOST, 0);
        }
    }
    return marked;
}

int64_t sent_queue_mark_lost(struct sent_queue *queue, uint32_t start, uint32_t end)
{
    struct span span;

    if (cut_out(queue, start, end, &span) < 0) {
        return -1;
    }
    return mark_lost(queue, span);
}

uint32_t sent_queue_mark_all_lost(struct sent_queue *queue, int forget_sacked)
{
    if (forget_sacked) {
        for (uint32_t i = 0; i < queue->count; i++) {
            change_flags(queue, entry(queue, i), 0, SENT_SACKED);
        }
    }
    return mark_lost(queue, (struct span){0, queue->count});
}

int32_t sent_queue_next_lost(const struct sent_queue *queue, uint32_t from)
{
    for (uint32_t i = from; i < queue->count && queue->lost_segments > 0; i++) {
        if ((entry(queue, i)->flags & (SENT_LOST | SENT_RESENT)) == SENT_LOST) {
            return (int32_t)i;
        }
    }
    return -1;
}

void sent_queue_retransmitted(struct sent_queue *queue, uint32_t index, uint64_t now_ns)
{
    struct sent_segment *segment = sent_queue_at(queue, index);

    if (segment == NULL) {
        return;
    }
    change_flags(queue, segment, SENT_RETRANSMITTED | SENT_RESENT, 0);
    segment->xmit_ns = now_ns;
    if (segment->transmissions < UINT16_MAX) {
        segment->transmissions++;
    }
}

void sent_queue_release(struct sent_queue *queue)
{
    free(queue->items);
    *queue = (struct sent_queue){0};
}
