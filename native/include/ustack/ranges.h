#ifndef USTACK_RANGES_H
#define USTACK_RANGES_H

#include <stdint.h>

/* Disjoint, ascending ranges [start, end) of sequence numbers beyond RCV.NXT, all within 2^31 of
 * each other. */
struct range {
    uint32_t start;
    uint32_t end;
    uint32_t segments; /* buffers that hold it, and their memory, as held_segments.h counts them */
    uint32_t memory;
    uint32_t tailroom; /* payload bytes that would still fit into the last one */
};

struct ranges {
    struct range *items; /* NULL while there are none */
    uint32_t count;
    uint32_t capacity;
    uint32_t segments; /* of all */
    uint32_t memory;   /* of all */
};

/* Add [start, end), the payload of an IP packet of `packet_length`, joining what overlaps or
 * touches; 1 if anything in it was new, 0 if nothing was, -1 if there would be more than `limit`
 * ranges, -2 without memory (nothing changes). */
int ranges_add(struct ranges *ranges, uint32_t start, uint32_t end, uint32_t packet_length,
               uint32_t limit);

/* Remove everything up to the end of the range that begins at or before `next`, and return that
 * end; `next` if there is none. Memory is freed when none is left. */
uint32_t ranges_advance(struct ranges *ranges, uint32_t next);

/* The index of the first range that ends beyond `sequence`; the count if there is none. */
uint32_t ranges_first_beyond(const struct ranges *ranges, uint32_t sequence);

/* The end of the range that begins before `sequence` and reaches beyond it; else `sequence`. */
uint32_t ranges_reach(const struct ranges *ranges, uint32_t sequence);

/* The bytes from `from` to the end of the last range; 0 if there is none. */
uint32_t ranges_span(const struct ranges *ranges, uint32_t from);

/* Copy together what a range's buffers hold, as Linux does short of memory: those with more than
 * one buffer. */
void ranges_collapse(struct ranges *ranges);

/* Forget data from the end of the last range on, for at least `memory` bytes of memory or all of
 * that range. Returns where that range ends now (where it began, if nothing is left of it). */
uint32_t ranges_cut(struct ranges *ranges, uint32_t memory);

/* Remove all and free the memory. */
void ranges_release(struct ranges *ranges);

#endif
