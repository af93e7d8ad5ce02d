#include <string.h>

#include "sent_entry.h"
#include "sequence.h"
#include "ustack/sent_queue.h"

/* What acknowledgments, loss detection and retransmission mark in the queue of sent segments: the
 * scoreboard of RFC 6675 §3, and RACK's walk over it in the order of time (RFC 8985 §6.2). */

enum {
    SACK_SPLITS_UNTIL = 1 << 15, /* entries; beyond it SACK blocks split none */
    TICK_NS = 1000000,           /* of the timestamps clock: tcp/timestamps.py */
};

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
static void add_delivered(struct sent_acknowledged *result, const struct sent_segment *segment,
                          uint32_t end, uint32_t segments)
{
    result->bytes += end - segment->seq;
    result->segments += segments;
    if (is_newer(segment, end, result)) {
        result->newest_xmit_ns = segment->xmit_ns;
        result->newest_end = end;
        result->newest_retransmitted = (segment->flags & SENT_RETRANSMITTED) != 0;
        result->delivered = segment->delivered;
        result->delivered_ns = segment->delivered_ns;
        result->first_sent_ns = segment->first_sent_ns;
        result->tx_in_flight = segment->tx_in_flight;
        result->lost = segment->lost;
        result->delivered_ce = segment->delivered_ce;
        result->newest_app_limited = (segment->flags & SENT_APP_LIMITED) != 0;
    }
}

/* Whether the echoed timestamp tells that an earlier copy has arrived: RFC 3522 §3.2. */
static int is_spurious(const struct sent_segment *segment, const struct sent_context *context)
{
    uint32_t sent = (uint32_t)(segment->xmit_ns / TICK_NS) + context->ts_offset;

    return context->echoed && (segment->flags & SENT_RETRANSMITTED) &&
           seq_before(context->ts_echo, sent);
}

/* An entry that was sent once has arrived for the first time, cumulatively acknowledged. */
static void add_original(struct sent_acknowledged *result, const struct sent_segment *segment,
                         const struct sent_context *context, uint64_t *first_ns)
{
    *first_ns = *first_ns ? *first_ns : segment->xmit_ns;
    result->last_xmit_ns = segment->xmit_ns;
    if (!result->has_hole_filled || seq_before(segment->seq, result->hole_filled)) {
        result->has_hole_filled = 1;
        result->hole_filled = segment->seq;
    }
    if (!seq_after(segment->end, context->high_seq)) {
        result->original = 1;
    }
}

/* One entry before `end` has left the queue: so many segments of it. */
static void acknowledge_entry(const struct sent_segment *segment, uint32_t end, uint32_t segments,
                              const struct sent_context *context, struct rack *rack,
                              struct sent_acknowledged *result, uint64_t *first_ns)
{
    int retransmitted = (segment->flags & SENT_RETRANSMITTED) != 0;

    result->acked_segments += segments;
    if (retransmitted) {
        result->retransmitted += end - segment->seq;
    }
    if (segment->flags & SENT_SACKED) {
        return;
    }
    if (segments == 0) {
        result->bytes += end - segment->seq;
        return;
    }
    if (!retransmitted) {
        add_original(result, segment, context, first_ns);
    }
    add_delivered(result, segment, end, segments);
    if (context->sack && !is_spurious(segment, context)) {
        rack_advance(rack, segment->xmit_ns, segment->end, retransmitted, context->min_rtt_ns,
                     context->now_ns);
    }
}

void sent_queue_acknowledge(struct sent_queue *queue, uint32_t una,
                            const struct sent_context *context, struct rack *rack,
                            struct sent_acknowledged *result)
{
    uint64_t first_ns = 0;

    while (queue->count > 0) {
        struct sent_segment first = *sent_entry(queue, 0);
        uint32_t before = queue->segments;
        uint32_t end = seq_before(una, first.end) ? una : first.end;
        if (!seq_after(end, first.seq)) {
            break;
        }
        sent_trim_first(queue, end);
        acknowledge_entry(&first, end, before - queue->segments, context, rack, result, &first_ns);
    }
    if (first_ns != 0) {
        result->first_xmit_ns = first_ns;
    }
    if (seq_before(queue->lost_from, una)) {
        queue->lost_from = una;
    }
}

/* The edge of a SACK block moved inwards (forward from its start, back from its end) to where the
 * entry that it lies in was cut into segments. */
static uint32_t segment_edge(const struct sent_queue *queue, uint32_t edge, int forward)
{
    int32_t index = sent_queue_find(queue, edge);
    const struct sent_segment *segment;
    uint32_t length;
    uint32_t mss;
    uint32_t beyond;

    if (index < 0) {
        return edge;
    }
    segment = sent_entry(queue, (uint32_t)index);
    length = segment->end - segment->seq;
    mss = segment->mss != 0 && queue->count < SACK_SPLITS_UNTIL ? segment->mss : length;
    beyond = (edge - segment->seq) % mss;
    if (beyond == 0 || !forward) {
        return edge - beyond;
    }
    return segment->end - edge > mss - beyond ? edge + (mss - beyond) : segment->end;
}

/* Lowest of the starts of what was displaced: RFC 4653 calls it the extent of reordering. */
static void note_displaced(struct sent_acknowledged *result, uint32_t seq)
{
    if (!result->has_hole_sacked || seq_before(seq, result->hole_sacked)) {
        result->has_hole_sacked = 1;
        result->hole_sacked = seq;
    }
}

/* An entry that was sent once is newly SACKed. */
static void add_sacked_original(struct sent_queue *queue, const struct sent_segment *segment,
                                const struct sent_context *context,
                                struct sent_acknowledged *result)
{
    if (queue->sacked_segments > 0 && seq_before(segment->seq, queue->highest_sacked)) {
        note_displaced(result, segment->seq);
    }
    if (!seq_after(segment->end, context->high_seq)) {
        result->original = 1;
    }
    result->first_sacked_ns = result->first_sacked_ns ? result->first_sacked_ns : segment->xmit_ns;
    result->last_sacked_ns = segment->xmit_ns;
}

static void sack_entry(struct sent_queue *queue, struct sent_segment *segment,
                       const struct sent_context *context, struct rack *rack,
                       struct sent_acknowledged *result)
{
    uint32_t segments = sent_segment_count(segment);
    int resent = segment->flags & SENT_LOST ? SENT_RESENT : 0;
    int first = queue->sacked_segments == 0;

    rack_advance(rack, segment->xmit_ns, segment->end, segment->flags & SENT_RETRANSMITTED,
                 context->min_rtt_ns, context->now_ns);
    if (!(segment->flags & SENT_RETRANSMITTED)) {
        add_sacked_original(queue, segment, context, result);
    }
    add_delivered(result, segment, segment->end, segments);
    result->sacked_segments += segments;
    sent_change_flags(queue, segment, SENT_SACKED, SENT_LOST | resent);
    sent_unlist(queue, segment);
    if (first || seq_after(segment->end, queue->highest_sacked)) {
        queue->highest_sacked = segment->end;
    }
}

/* A DSACK tells that the entry arrived twice. RFC 2883 §4. */
static void duplicate_entry(struct sent_queue *queue, struct sent_segment *segment,
                            const struct sent_context *context, struct sent_acknowledged *result)
{
    if (!(segment->flags & SENT_RETRANSMITTED)) {
        return;
    }
    if (seq_after(segment->end, context->undo_marker)) {
        result->duplicate_segments += sent_segment_count(segment);
    }
    if (segment->flags & SENT_SACKED) {
        note_displaced(result, segment->seq);
    }
    sent_change_flags(queue, segment, 0, SENT_RESENT);
}

int sent_queue_mark_sacked(struct sent_queue *queue, struct sack_block block, int duplicate,
                           const struct sent_context *context, struct rack *rack,
                           struct sent_acknowledged *result, struct sack_block *marked)
{
    struct sent_span span;
    uint32_t start = segment_edge(queue, block.start, 1);
    uint32_t end = segment_edge(queue, block.end, 0);

    *marked = (struct sack_block){start, end};
    if (sent_cut_out(queue, start, end, &span) < 0) {
        return -1;
    }
    for (uint32_t i = span.from; i < span.to; i++) {
        struct sent_segment *segment = sent_entry(queue, i);
        if (duplicate) {
            duplicate_entry(queue, segment, context, result);
        }
        if (!(segment->flags & SENT_SACKED) && seq_after(segment->end, context->una)) {
            sack_entry(queue, segment, context, rack, result);
        }
    }
    return 0;
}

/* The part of [block->start, block->end) before the first cached block that it meets, cut off from
 * `block`, which begins behind that one then. Empty if it begins within one. */
static struct sack_block next_uncached(const struct sack_block *cache, struct sack_block *block)
{
    struct sack_block part = *block;
    uint32_t behind = block->end;

    for (uint32_t i = 0; i < SACK_CACHE; i++) {
        if (seq_before(cache[i].start, part.end) && seq_before(part.start, cache[i].end)) {
            part.end = seq_after(cache[i].start, part.start) ? cache[i].start : part.start;
            behind = cache[i].end;
        }
    }
    block->start = seq_before(behind, block->end) ? behind : block->end;
    return part;
}

/* Mark one block, but for what the last ACK's blocks have marked. */
static int take_block(struct sent_queue *queue, struct sack_block block, int duplicate,
                      const struct sent_context *context, struct rack *rack,
                      struct sent_acknowledged *result, struct sack_block *marked)
{
    struct sack_block start = block;
    struct sack_block part;

    marked->start = segment_edge(queue, block.start, 1);
    if (duplicate || queue->sacked_segments == 0) {
        return sent_queue_mark_sacked(queue, block, duplicate, context, rack, result, marked);
    }
    while (seq_before(block.start, block.end)) {
        part = next_uncached(queue->sacked_blocks, &block);
        if (seq_before(part.start, part.end) &&
            sent_queue_mark_sacked(queue, part, 0, context, rack, result, &part) < 0) {
            return -1;
        }
    }
    marked->end = segment_edge(queue, start.end, 0);
    return 0;
}

int sent_queue_take_blocks(struct sent_queue *queue, const struct sack_block *blocks,
                           uint32_t count, int32_t duplicate, const struct sent_context *context,
                           struct rack *rack, struct sent_acknowledged *result)
{
    struct sack_block marked[SACK_CACHE] = {{0, 0}};
    int failed = 0;

    for (uint32_t i = 0; i < count && i < SACK_CACHE; i++) {
        int is_duplicate = (int32_t)i == duplicate;
        failed |= take_block(queue, blocks[i], is_duplicate, context, rack, result, &marked[i]) < 0;
        if (failed) {
            marked[i] = (struct sack_block){0, 0};
        }
    }
    memcpy(queue->sacked_blocks, marked, sizeof marked);
    return failed ? -1 : 0;
}

/* Mark one entry LOST, and its copy that was sent again. Returns the segments that this changes. */
static uint32_t lose_entry(struct sent_queue *queue, struct sent_segment *segment)
{
    int set = segment->flags & SENT_LOST ? 0 : SENT_LOST;
    int clear = set ? 0 : segment->flags & SENT_RESENT;

    if (segment->flags & SENT_SACKED) {
        return 0;
    }
    sent_change_flags(queue, segment, set, clear);
    if (!(segment->flags & SENT_RESENT) && seq_before(segment->seq, queue->lost_from)) {
        queue->lost_from = segment->seq;
    }
    return set || clear ? sent_segment_count(segment) : 0;
}

int64_t sent_queue_mark_lost(struct sent_queue *queue, uint32_t start, uint32_t end)
{
    struct sent_span span;
    uint32_t marked = 0;

    if (sent_cut_out(queue, start, end, &span) < 0) {
        return -1;
    }
    for (uint32_t i = span.from; i < span.to; i++) {
        marked += lose_entry(queue, sent_entry(queue, i));
    }
    return marked;
}

uint64_t sent_queue_detect_loss(struct sent_queue *queue, const struct rack *rack,
                                uint64_t reo_wnd_ns, uint64_t now_ns, uint32_t *lost)
{
    uint64_t wait = 0;
    uint64_t limit = rack->rtt_ns + reo_wnd_ns;
    uint32_t next;

    for (uint32_t at = queue->timed.earliest; at != 0; at = next) {
        struct sent_segment *segment = &queue->items[at - 1];
        uint64_t age = now_ns - segment->xmit_ns;
        next = segment->later;
        if ((segment->flags & (SENT_LOST | SENT_RESENT)) == SENT_LOST) {
            continue;
        }
        if (!rack_sent_after(rack->xmit_ns, rack->end, segment->xmit_ns, segment->end)) {
            break;
        }
        if (age >= limit) {
            *lost += lose_entry(queue, segment);
            sent_unlist(queue, segment);
        } else if (limit - age > wait) {
            wait = limit - age;
        }
    }
    return wait;
}

uint32_t sent_queue_time_out(struct sent_queue *queue, uint64_t recent_ns, int reneged,
                             uint64_t now_ns)
{
    uint32_t lost = 0;

    if (reneged) {
        memset(queue->sacked_blocks, 0, sizeof queue->sacked_blocks);
    }
    for (uint32_t i = 0; i < queue->count; i++) {
        struct sent_segment *segment = sent_entry(queue, i);
        if (reneged) {
            sent_change_flags(queue, segment, 0, SENT_SACKED);
        } else if (i > 0 && now_ns - segment->xmit_ns < recent_ns) {
            continue;
        }
        lost += lose_entry(queue, segment);
        if (segment->list == LIST_TIMED && !(segment->flags & SENT_RESENT)) {
            sent_list_last(queue, segment, LIST_PARKED);
        }
    }
    return lost;
}

/* What was parked is watched again; it was sent before all the rest. */
static void unpark(struct sent_queue *queue)
{
    uint32_t last = queue->parked.latest;

    for (uint32_t at = queue->parked.earliest; at != 0; at = queue->items[at - 1].later) {
        queue->items[at - 1].list = LIST_TIMED;
    }
    if (last != 0) {
        queue->items[last - 1].later = queue->timed.earliest;
        *(queue->timed.earliest ? &queue->items[queue->timed.earliest - 1].earlier
                                : &queue->timed.latest) = last;
        queue->timed.earliest = queue->parked.earliest;
        queue->parked = (struct sent_list){0, 0};
    }
}

void sent_queue_unmark_lost(struct sent_queue *queue)
{
    for (uint32_t i = 0; i < queue->count; i++) {
        sent_change_flags(queue, sent_entry(queue, i), 0, SENT_LOST);
    }
    unpark(queue);
}

int32_t sent_queue_next_lost(struct sent_queue *queue)
{
    int32_t from = sent_queue_find(queue, queue->lost_from);

    if (queue->lost_segments == 0) {
        return -1;
    }
    for (uint32_t i = from < 0 ? 0 : (uint32_t)from; i < queue->count; i++) {
        const struct sent_segment *segment = sent_entry(queue, i);
        queue->lost_from = segment->seq;
        if ((segment->flags & (SENT_LOST | SENT_RESENT)) == SENT_LOST) {
            return (int32_t)i;
        }
    }
    return -1;
}

void sent_queue_retransmitted(struct sent_queue *queue, uint32_t index, int probe, uint64_t now_ns)
{
    struct sent_segment *segment = sent_queue_at(queue, index);

    if (segment == NULL) {
        return;
    }
    sent_change_flags(queue, segment, SENT_RETRANSMITTED | (probe ? 0 : SENT_RESENT), 0);
    segment->xmit_ns = now_ns;
    if (!(segment->flags & SENT_SACKED)) {
        sent_list_last(queue, segment, LIST_TIMED);
    }
    if (segment->transmissions < UINT16_MAX) {
        segment->transmissions++;
    }
}
