#include "ustack/ranges.h"

#include <stdlib.h>
#include <string.h>

#include "sequence.h"
#include "ustack/held_segments.h"

enum {
    LEAST_CAPACITY = 4,
};

/* The index of the first range that ends at or after `sequence`: with which one that begins there
 * overlaps or touches. */
static uint32_t first_reaching(const struct ranges *ranges, uint32_t sequence)
{
    uint32_t low = 0;
    uint32_t high = ranges->count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (seq_before(ranges->items[middle].end, sequence)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static int make_room(struct ranges *ranges)
{
    uint32_t capacity = ranges->capacity == 0 ? LEAST_CAPACITY : ranges->capacity * 2;
    struct range *items;

    if (ranges->count < ranges->capacity) {
        return 0;
    }
    items = realloc(ranges->items, capacity * sizeof *items);
    if (items == NULL) {
        return -1;
    }
    ranges->items = items;
    ranges->capacity = capacity;
    return 0;
}

static void remove_at(struct ranges *ranges, uint32_t index, uint32_t count)
{
    struct range *at = ranges->items + index;

    ranges->count -= count;
    memmove(at, at + count, (ranges->count - index) * sizeof *at);
}

/* One more buffer for the range, unless the bytes fit into its last one. */
static void charge(struct ranges *ranges, struct range *range, uint32_t packet_length)
{
    uint32_t memory = segment_memory(packet_length);

    range->segments++;
    range->memory += memory;
    range->tailroom = segment_tailroom(packet_length);
    ranges->segments++;
    ranges->memory += memory;
}

static void discharge(struct ranges *ranges, const struct range *range)
{
    ranges->segments -= range->segments;
    ranges->memory -= range->memory;
}

static int insert_at(struct ranges *ranges, uint32_t index, uint32_t start, uint32_t end,
                     uint32_t packet_length, uint32_t limit)
{
    struct range *at;

    if (ranges->count >= limit) {
        return -1;
    }
    if (make_room(ranges) < 0) {
        return -2;
    }
    at = ranges->items + index;
    memmove(at + 1, at, (ranges->count - index) * sizeof *at);
    *at = (struct range){.start = start, .end = end};
    charge(ranges, at, packet_length);
    ranges->count++;
    return 1;
}

/* Join the ranges [index, after) with [start, end). */
static void join(struct ranges *ranges, uint32_t index, uint32_t after, uint32_t start,
                 uint32_t end)
{
    struct range *joined = ranges->items + index;

    for (uint32_t i = index + 1; i < after; i++) {
        joined->segments += ranges->items[i].segments;
        joined->memory += ranges->items[i].memory;
        joined->tailroom = ranges->items[i].tailroom;
    }
    if (seq_before(start, joined->start)) {
        joined->start = start;
    }
    joined->end = ranges->items[after - 1].end;
    if (seq_after(end, joined->end)) {
        joined->end = end;
    }
    remove_at(ranges, index + 1, after - index - 1);
}

int ranges_add(struct ranges *ranges, uint32_t start, uint32_t end, uint32_t packet_length,
               uint32_t limit)
{
    uint32_t index = first_reaching(ranges, start);
    uint32_t after = index;
    struct range *first;

    if (start == end) {
        return 0;
    }
    while (after < ranges->count && !seq_after(ranges->items[after].start, end)) {
        after++;
    }
    if (after == index) {
        return insert_at(ranges, index, start, end, packet_length, limit);
    }
    first = ranges->items + index;
    if (!seq_before(start, first->start) && !seq_after(end, first->end)) {
        return 0;
    }
    if (start == first->end && end - start <= first->tailroom) {
        first->tailroom -= end - start;
    } else {
        charge(ranges, first, packet_length);
    }
    join(ranges, index, after, start, end);
    return 1;
}

uint32_t ranges_advance(struct ranges *ranges, uint32_t next)
{
    uint32_t passed = 0;

    while (passed < ranges->count && !seq_after(ranges->items[passed].start, next)) {
        if (seq_after(ranges->items[passed].end, next)) {
            next = ranges->items[passed].end;
        }
        discharge(ranges, &ranges->items[passed]);
        passed++;
    }
    if (passed > 0 && passed == ranges->count) {
        ranges_release(ranges);
    } else if (passed > 0) {
        remove_at(ranges, 0, passed);
    }
    return next;
}

uint32_t ranges_first_beyond(const struct ranges *ranges, uint32_t sequence)
{
    return first_reaching(ranges, sequence + 1);
}

uint32_t ranges_reach(const struct ranges *ranges, uint32_t sequence)
{
    uint32_t index = ranges_first_beyond(ranges, sequence);

    if (index < ranges->count && seq_before(ranges->items[index].start, sequence)) {
        return ranges->items[index].end;
    }
    return sequence;
}

uint32_t ranges_span(const struct ranges *ranges, uint32_t from)
{
    return ranges->count == 0 ? 0 : ranges->items[ranges->count - 1].end - from;
}

void ranges_collapse(struct ranges *ranges)
{
    for (uint32_t i = 0; i < ranges->count; i++) {
        struct range *range = &ranges->items[i];
        uint32_t memory = collapsed_memory(range->end - range->start);

        if (range->segments > 1 && memory < range->memory) {
            ranges->memory -= range->memory - memory;
            range->memory = memory;
            range->tailroom = 0;
        }
    }
}

uint32_t ranges_cut(struct ranges *ranges, uint32_t memory)
{
    struct range *last = ranges->items + ranges->count - 1;
    uint32_t length = last->end - last->start;
    uint32_t part = last->memory / last->segments;
    uint32_t cut = (memory + part - 1) / part;
    uint32_t start = last->start;

    if (cut >= last->segments) {
        discharge(ranges, last);
        ranges->count--;
        if (ranges->count == 0) {
            ranges_release(ranges);
        }
        return start;
    }
    last->end -= (uint32_t)((uint64_t)length * cut / last->segments);
    last->segments -= cut;
    last->memory -= cut * part;
    last->tailroom = 0;
    ranges->segments -= cut;
    ranges->memory -= cut * part;
    return last->end;
}

void ranges_release(struct ranges *ranges)
{
    free(ranges->items);
    *ranges = (struct ranges){0};
}
