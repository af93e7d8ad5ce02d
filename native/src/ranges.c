#include "ustack/ranges.h"

#include <stdlib.h>
#include <string.h>

#include "sequence.h"

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

static int insert_at(struct ranges *ranges, uint32_t index, uint32_t start, uint32_t end,
                     uint32_t limit)
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
    *at = (struct range){start, end, ++ranges->stamp};
    ranges->count++;
    return 1;
}

int ranges_add(struct ranges *ranges, uint32_t start, uint32_t end, uint32_t limit)
{
    uint32_t index = first_reaching(ranges, start);
    uint32_t after = index;
    struct range *joined;

    if (start == end) {
        return 0;
    }
    while (after < ranges->count && !seq_after(ranges->items[after].start, end)) {
        after++;
    }
    if (after == index) {
        return insert_at(ranges, index, start, end, limit);
    }
    joined = ranges->items + index;
    joined->stamp = ++ranges->stamp;
    if (!seq_before(start, joined->start) && !seq_after(end, joined->end)) {
        return 0;
    }
    if (seq_before(start, joined->start)) {
        joined->start = start;
    }
    joined->end = ranges->items[after - 1].end;
    if (seq_after(end, joined->end)) {
        joined->end = end;
    }
    remove_at(ranges, index + 1, after - index - 1);
    return 1;
}

uint32_t ranges_advance(struct ranges *ranges, uint32_t next)
{
    uint32_t passed = 0;

    while (passed < ranges->count && !seq_after(ranges->items[passed].start, next)) {
        if (seq_after(ranges->items[passed].end, next)) {
            next = ranges->items[passed].end;
        }
        passed++;
    }
    if (passed > 0 && passed == ranges->count) {
        ranges_release(ranges);
    } else if (passed > 0) {
        remove_at(ranges, 0, passed);
    }
    return next;
}

uint32_t ranges_span(const struct ranges *ranges, uint32_t from)
{
    return ranges->count == 0 ? 0 : ranges->items[ranges->count - 1].end - from;
}

void ranges_release(struct ranges *ranges)
{
    uint32_t stamp = ranges->stamp;

    free(ranges->items);
    *ranges = (struct ranges){.stamp = stamp};
}
