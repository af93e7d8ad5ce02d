#ifndef USTACK_HELD_SEGMENTS_H
#define USTACK_HELD_SEGMENTS_H

#include <stdint.h>

/* What received data would cost Linux in memory. The bytes themselves stand in a ring; the window
 * that Linux offers follows from its buffers, headers and all (docs/decisions/0012). */

/* One buffer of the kernel's: payload bytes not yet read, and its memory. */
struct held_segment {
    uint32_t length;
    uint32_t memory;
};

/* The buffers of the receive queue, in order. */
struct held_segments {
    struct held_segment *items; /* NULL while capacity is 0 */
    uint32_t capacity;          /* 0 or a power of two */
    uint32_t head;
    uint32_t count;
    uint32_t memory;   /* of all */
    uint32_t tailroom; /* payload bytes that would still fit into the last one */
};

/* The memory of the buffer that holds an IP packet of `length` bytes as Linux's TUN device makes
 * it, and the bytes that are free behind the packet. */
uint32_t segment_memory(uint32_t length);
uint32_t segment_tailroom(uint32_t length);

/* Make room for `more` entries. 0, or -1 without memory (nothing changes). */
int held_segments_reserve(struct held_segments *held, uint32_t more);

/* Append `length` payload bytes of an IP packet of `packet_length`: to the last buffer if they fit
 * there, else in their own. 0, or -1 without memory (nothing changes). */
int held_segments_add(struct held_segments *held, uint32_t length, uint32_t packet_length);

/* Append `length` bytes that `segments` buffers with `memory` in all hold in equal parts. 0, or -1
 * without memory (nothing changes). */
int held_segments_join(struct held_segments *held, uint32_t length, uint32_t memory,
                       uint32_t segments);

/* The first `length` bytes were read: a buffer is free once all of it was. */
void held_segments_drop(struct held_segments *held, uint32_t length);

/* The memory of `length` bytes copied into as few buffers of a page as can be. */
uint32_t collapsed_memory(uint32_t length);

/* Copy all together, as Linux does short of memory; nothing if that would save none. */
void held_segments_collapse(struct held_segments *held);

/* Remove all and free the memory. */
void held_segments_release(struct held_segments *held);

#endif
