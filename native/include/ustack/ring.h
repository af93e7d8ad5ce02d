#ifndef USTACK_RING_H
#define USTACK_RING_H

#include <stdint.h>

/* A byte ring: `length` bytes in order, first at `head`; bytes may be placed beyond them, out of
 * order. */
struct ring {
    uint8_t *data;     /* NULL while capacity is 0 */
    uint32_t capacity; /* 0 or a power of two */
    uint32_t head;
    uint32_t length;
};

/* Make the capacity at least `capacity`, keeping all `length` bytes and the `placed` bytes beyond
 * them. 0, or -1 without memory (nothing changes). */
int ring_reserve(struct ring *ring, uint32_t capacity, uint32_t placed);

/* Free the memory; the ring is as new. */
void ring_release(struct ring *ring);

/* Append bytes; returns how many fitted. */
uint32_t ring_write(struct ring *ring, const uint8_t *data, uint32_t length);

/* Take up to `length` bytes from the front. Returns how many. */
uint32_t ring_read(struct ring *ring, uint8_t *data, uint32_t length);

/* Copy up to `length` bytes that begin `offset` after the front, and leave them. Returns how many.
 */
uint32_t ring_peek(const struct ring *ring, uint32_t offset, uint8_t *data, uint32_t length);

/* Drop up to `length` bytes from the front. Returns how many. */
uint32_t ring_drop(struct ring *ring, uint32_t length);

/* Write bytes `offset` beyond the end of the ordered ones without extending them. 0, or -1 if they
 * do not fit the capacity. */
int ring_place(struct ring *ring, uint32_t offset, const uint8_t *data, uint32_t length);

/* Count `length` placed bytes as ordered now. 0, or -1 if they do not fit. */
int ring_extend(struct ring *ring, uint32_t length);

#endif
