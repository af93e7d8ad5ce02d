#include "ustack/ring.h"

#include <stdlib.h>
#include <string.h>

#include "least.h"

enum {
    RING_LEAST = 512,
    RING_MOST = 1 << 30,
};

/* The place of the byte `offset` after the front. */
static uint32_t place_of(const struct ring *ring, uint32_t offset)
{
    return (ring->head + offset) & (ring->capacity - 1);
}

/* Copy bytes out, from `offset` after the front; they are within the capacity. */
static void copy_out(const struct ring *ring, uint32_t offset, uint8_t *data, uint32_t length)
{
    uint32_t place = place_of(ring, offset);
    uint32_t straight = least(length, ring->capacity - place);

    memcpy(data, ring->data + place, straight);
    memcpy(data + straight, ring->data, length - straight);
}

static void copy_in(struct ring *ring, uint32_t offset, const uint8_t *data, uint32_t length)
{
    uint32_t place = place_of(ring, offset);
    uint32_t straight = least(length, ring->capacity - place);

    memcpy(ring->data + place, data, straight);
    memcpy(ring->data, data + straight, length - straight);
}

int ring_reserve(struct ring *ring, uint32_t capacity, uint32_t placed)
{
    uint32_t rounded = RING_LEAST;
    uint8_t *data;

    if (capacity <= ring->capacity) {
        return 0;
    }
    if (capacity > RING_MOST) {
        return -1;
    }
    while (rounded < capacity) {
        rounded *= 2;
    }
    data = malloc(rounded);
    if (data == NULL) {
        return -1;
    }
    if (ring->capacity > 0) {
        copy_out(ring, 0, data, ring->length + least(placed, ring->capacity - ring->length));
    }
    free(ring->data);
    ring->data = data;
    ring->capacity = rounded;
    ring->head = 0;
    return 0;
}

void ring_release(struct ring *ring)
{
    free(ring->data);
    *ring = (struct ring){0};
}

uint32_t ring_write(struct ring *ring, const uint8_t *data, uint32_t length)
{
    uint32_t fitting = least(length, ring->capacity - ring->length);

    if (fitting > 0) {
        copy_in(ring, ring->length, data, fitting);
        ring->length += fitting;
    }
    return fitting;
}

uint32_t ring_read(struct ring *ring, uint8_t *data, uint32_t length)
{
    return ring_drop(ring, ring_peek(ring, 0, data, length));
}

uint32_t ring_peek(const struct ring *ring, uint32_t offset, uint8_t *data, uint32_t length)
{
    uint32_t present;

    if (offset >= ring->length) {
        return 0;
    }
    present = least(length, ring->length - offset);
    copy_out(ring, offset, data, present);
    return present;
}

uint32_t ring_drop(struct ring *ring, uint32_t length)
{
    uint32_t dropped = least(length, ring->length);

    if (dropped > 0) {
        ring->head = place_of(ring, dropped);
        ring->length -= dropped;
    }
    return dropped;
}

int ring_place(struct ring *ring, uint32_t offset, const uint8_t *data, uint32_t length)
{
    uint32_t room = ring->capacity - ring->length;

    if (offset > room || length > room - offset) {
        return -1;
    }
    if (length > 0) {
        copy_in(ring, ring->length + offset, data, length);
    }
    return 0;
}

int ring_extend(struct ring *ring, uint32_t length)
{
    if (length > ring->capacity - ring->length) {
        return -1;
    }
    ring->length += length;
    return 0;
}
