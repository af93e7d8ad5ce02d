#include "ustack/held_segments.h"

#include <stdlib.h>

#include "least.h"

/* Sizes of a 64-bit Linux 6.18 with pages of 4 KiB. */
enum {
    PAGE = 4096,
    HEADROOM = 64,     /* NET_SKB_PAD */
    BUFFER_END = 320,  /* struct skb_shared_info, behind the data */
    BUFFER_HEAD = 256, /* struct sk_buff, apart from the data */
    ALIGNMENT = 64,
    SMALL_HEAD = 576, /* least allocation for data: by the longest headers of the build */
    LINEAR_MOST = PAGE - HEADROOM - BUFFER_END, /* in front of the pages of a long packet */
    LEAST_CAPACITY = 8,
};

static uint32_t round_up(uint32_t value, uint32_t unit)
{
    return (value + unit - 1) / unit * unit;
}

/* What is allocated for the data of a packet that is not longer than a page. */
static uint32_t linear_size(uint32_t length)
{
    uint32_t needed = round_up(HEADROOM + length, ALIGNMENT) + BUFFER_END;
    uint32_t size = 1024;

    if (needed <= SMALL_HEAD) {
        return SMALL_HEAD;
    }
    while (size < needed) {
        size *= 2;
    }
    return size;
}

static int is_linear(uint32_t length)
{
    return HEADROOM + length < PAGE;
}

uint32_t segment_memory(uint32_t length)
{
    if (is_linear(length)) {
        return BUFFER_HEAD + linear_size(length);
    }
    return BUFFER_HEAD + PAGE + round_up(length - LINEAR_MOST, PAGE);
}

uint32_t segment_tailroom(uint32_t length)
{
    return is_linear(length) ? linear_size(length) - BUFFER_END - HEADROOM - length : 0;
}

static struct held_segment *at(struct held_segments *held, uint32_t index)
{
    return &held->items[(held->head + index) & (held->capacity - 1)];
}

int held_segments_reserve(struct held_segments *held, uint32_t more)
{
    uint32_t capacity = held->capacity == 0 ? LEAST_CAPACITY : held->capacity;
    struct held_segment *items;

    if (more <= held->capacity - held->count) {
        return 0;
    }
    while (capacity < held->count + more) {
        capacity *= 2;
    }
    items = malloc(capacity * sizeof *items);
    if (items == NULL) {
        return -1;
    }
    for (uint32_t i = 0; i < held->count; i++) {
        items[i] = *at(held, i);
    }
    free(held->items);
    held->items = items;
    held->capacity = capacity;
    held->head = 0;
    return 0;
}

static void append(struct held_segments *held, uint32_t length, uint32_t memory)
{
    *at(held, held->count) = (struct held_segment){length, memory};
    held->count++;
    held->memory += memory;
}

int held_segments_add(struct held_segments *held, uint32_t length, uint32_t packet_length)
{
    if (held->count > 0 && length <= held->tailroom) {
        at(held, held->count - 1)->length += length;
        held->tailroom -= length;
        return 0;
    }
    if (held_segments_reserve(held, 1) < 0) {
        return -1;
    }
    append(held, length, segment_memory(packet_length));
    held->tailroom = segment_tailroom(packet_length);
    return 0;
}

int held_segments_join(struct held_segments *held, uint32_t length, uint32_t memory,
                       uint32_t segments)
{
    uint32_t parts = least(segments, length);

    if (parts == 0) {
        return 0;
    }
    if (held_segments_reserve(held, parts) < 0) {
        return -1;
    }
    for (uint32_t left = parts; left > 0; left--) {
        append(held, length / left, memory / left);
        length -= length / left;
        memory -= memory / left;
    }
    held->tailroom = 0;
    return 0;
}

void held_segments_drop(struct held_segments *held, uint32_t length)
{
    while (held->count > 0 && at(held, 0)->length <= length) {
        length -= at(held, 0)->length;
        held->memory -= at(held, 0)->memory;
        held->head = (held->head + 1) & (held->capacity - 1);
        held->count--;
    }
    if (held->count > 0) {
        at(held, 0)->length -= length;
    } else {
        held->tailroom = 0;
    }
}

uint32_t collapsed_memory(uint32_t length)
{
    uint32_t payload = PAGE - BUFFER_END;

    return length / payload * (PAGE + BUFFER_HEAD) +
           (length % payload > 0 ? BUFFER_HEAD + linear_size(length % payload) : 0);
}

void held_segments_collapse(struct held_segments *held)
{
    uint32_t length = 0;
    uint32_t memory;

    for (uint32_t i = 0; i < held->count; i++) {
        length += at(held, i)->length;
    }
    memory = collapsed_memory(length);
    if (memory < held->memory) {
        held->count = held->memory = 0;
        held_segments_join(held, length, memory, length / (PAGE - BUFFER_END) + 1);
    }
}

void held_segments_release(struct held_segments *held)
{
    free(held->items);
    *held = (struct held_segments){0};
}
