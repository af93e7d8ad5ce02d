#include "ustack/burst.h"

#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "ustack/checksum.h"

enum {
    LEAST_CAPACITY = FRAME_HEADROOM + FRAME_MAX,
};

struct burst *burst_new(uint32_t capacity)
{
    struct burst *burst = calloc(1, sizeof *burst);

    if (burst == NULL) {
        return NULL;
    }
    burst->capacity = capacity < LEAST_CAPACITY ? LEAST_CAPACITY : capacity;
    burst->data = malloc(burst->capacity);
    if (burst->data == NULL) {
        free(burst);
        return NULL;
    }
    return burst;
}

void burst_free(struct burst *burst)
{
    if (burst != NULL) {
        free(burst->data);
        free(burst);
    }
}

void burst_clear(struct burst *burst)
{
    burst->count = 0;
    burst->used = 0;
}

void burst_drop(struct burst *burst, uint32_t count)
{
    if (count >= burst->count) {
        burst_clear(burst);
        return;
    }
    burst->count -= count;
    memmove(burst->frames, burst->frames + count, burst->count * sizeof burst->frames[0]);
}

int burst_fits_all(const struct burst *burst, uint32_t frames, uint64_t bytes)
{
    uint64_t room = burst->capacity - burst->used;

    return frames <= BURST_FRAMES - burst->count &&
           bytes + (uint64_t)frames * FRAME_HEADROOM <= room;
}

int burst_fits(const struct burst *burst, uint32_t length)
{
    return length <= FRAME_MAX && burst_fits_all(burst, 1, length);
}

uint8_t *burst_reserve(struct burst *burst, uint32_t length)
{
    struct frame *frame;

    if (!burst_fits(burst, length)) {
        burst->refused++;
        return NULL;
    }
    frame = &burst->frames[burst->count++];
    *frame = (struct frame){.offset = burst->used + FRAME_HEADROOM, .length = length};
    burst->used = frame->offset + length;
    return burst->data + frame->offset;
}

int burst_append(struct burst *burst, const uint8_t *data, uint32_t length)
{
    uint8_t *room = burst_reserve(burst, length);

    if (room == NULL) {
        return -1;
    }
    if (length > 0) {
        memcpy(room, data, length);
    }
    return 0;
}

int burst_append_frame(struct burst *burst, const struct burst *from, uint32_t index)
{
    struct frame frame;
    struct frame *copy;

    if (index >= from->count) {
        return -1;
    }
    frame = from->frames[index];
    if (burst_append(burst, from->data + frame.offset, frame.length) < 0) {
        return -1;
    }
    copy = &burst->frames[burst->count - 1];
    frame.offset = copy->offset;
    *copy = frame;
    return 0;
}

int burst_complete_checksum(struct burst *burst, uint32_t index)
{
    struct frame *frame;
    uint8_t *start;
    uint8_t *field;
    uint16_t checksum;

    if (index >= burst->count) {
        return -1;
    }
    frame = &burst->frames[index];
    if ((frame->flags & FRAME_NEEDS_CHECKSUM) == 0) {
        return 0;
    }
    if ((uint32_t)frame->checksum_start + frame->checksum_offset + 2 > frame->length) {
        return -1;
    }
    start = burst->data + frame->offset + frame->checksum_start;
    field = start + frame->checksum_offset;
    checksum = checksum_compute(start, frame->length - frame->checksum_start, 0);
    store16(field, checksum != 0 ? checksum : 0xFFFF);
    frame->flags &= (uint8_t)~FRAME_NEEDS_CHECKSUM;
    return 0;
}
