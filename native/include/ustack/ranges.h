#ifndef USTACK_RANGES_H
#define USTACK_RANGES_H

#include <stdint.h>

/* Disjoint, ascending ranges [start, end) of sequence numbers beyond RCV.NXT, all within 2^31 of
 * each other. */
struct range {
    uint32_t start;
    uint32_t end;
    uint32_t stamp; /* grows with each ranges_add: the largest is the latest (RFC 2018 §4) */
};

struct ranges {
    struct range *items; /* NULL while there are none */
    uint32_t count;
    uint32_t capacity;
    uint32_t stamp;
};

/* Add [start, end), joining what overlaps or touches; 1 if anything in it was new, 0 if nothing was
 * (its range is the latest all the same), -1 if there would be more than `limit` ranges, -2 without
 * memory (nothing changes). */
int ranges_add(struct ranges *ranges, uint32_t start, uint32_t end, uint32_t limit);

/* Remove everything up to the end of the range that begins at or before `next`, and return that
 * end; `next` if there is none. Memory is freed when none is left. */
uint32_t ranges_advance(struct ranges *ranges, uint32_t next);

/* The bytes from `from` to the end of the last range; 0 if there is none. */
uint32_t ranges_span(const struct ranges *ranges, uint32_t from);

/* Remove all and free the memory. */
void ranges_release(struct ranges *ranges);

#endif
