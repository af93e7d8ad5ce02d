#include "ustack/device.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* The header of virtio 1.2 §5.1.6 in its legacy form of 10 bytes, as a TUN device with IFF_VNET_HDR
 * has it: fields in the byte order of the machine. */
enum {
    VNET_HEADER = FRAME_HEADROOM,
    VNET_FLAGS = 0,
    VNET_GSO_TYPE = 1,
    VNET_HEADER_LENGTH = 2,
    VNET_GSO_SIZE = 4,
    VNET_CHECKSUM_START = 6,
    VNET_CHECKSUM_OFFSET = 8,
};
enum {
    VNET_NEEDS_CHECKSUM = 1,
    VNET_DATA_VALID = 2,
    VNET_GSO_ECN = 0x80,
};

static uint16_t load_native16(const uint8_t *at)
{
    uint16_t value;

    memcpy(&value, at, sizeof value);
    return value;
}

static void store_native16(uint8_t *at, uint16_t value)
{
    memcpy(at, &value, sizeof value);
}

static int gso_is_sound(const struct frame *frame)
{
    switch (frame->gso_type) {
    case GSO_TCPV4:
    case GSO_TCPV6:
    case GSO_UDP_L4:
        return frame->gso_size > 0;
    default:
        return 0;
    }
}

/* Whether the checksum field lies within the frame. */
static int checksum_is_sound(const struct frame *frame)
{
    return (uint32_t)frame->checksum_start + frame->checksum_offset + 2 <= frame->length;
}

/* Fill the frame's offload fields from the header; what does not fit the frame is left out, and the
 * frame judged as plain bytes. */
static void frame_describe(struct frame *frame, const uint8_t *header)
{
    frame->gso_type = header[VNET_GSO_TYPE] & (uint8_t)~VNET_GSO_ECN;
    frame->gso_size = load_native16(header + VNET_GSO_SIZE);
    frame->header_length = load_native16(header + VNET_HEADER_LENGTH);
    if (frame->header_length > frame->length) {
        frame->header_length = 0;
    }
    if (!gso_is_sound(frame)) {
        frame->gso_type = GSO_NONE;
        frame->gso_size = 0;
        frame->header_length = 0;
    }
    if (header[VNET_FLAGS] & VNET_NEEDS_CHECKSUM) {
        frame->checksum_start = load_native16(header + VNET_CHECKSUM_START);
        frame->checksum_offset = load_native16(header + VNET_CHECKSUM_OFFSET);
        if (checksum_is_sound(frame)) {
            frame->flags = FRAME_NEEDS_CHECKSUM;
        } else {
            frame->checksum_start = 0;
            frame->checksum_offset = 0;
        }
    } else if (header[VNET_FLAGS] & VNET_DATA_VALID) {
        frame->flags = FRAME_DATA_VALID;
    }
}

static void header_fill(uint8_t *header, const struct frame *frame)
{
    memset(header, 0, VNET_HEADER);
    if (frame->flags & FRAME_NEEDS_CHECKSUM) {
        header[VNET_FLAGS] = VNET_NEEDS_CHECKSUM;
        store_native16(header + VNET_CHECKSUM_START, frame->checksum_start);
        store_native16(header + VNET_CHECKSUM_OFFSET, frame->checksum_offset);
    }
    if (frame->gso_type != GSO_NONE) {
        header[VNET_GSO_TYPE] = frame->gso_type;
        store_native16(header + VNET_HEADER_LENGTH, frame->header_length);
        store_native16(header + VNET_GSO_SIZE, frame->gso_size);
    }
}

static ssize_t read_some(int descriptor, uint8_t *data, size_t length)
{
    ssize_t result;

    do {
        result = read(descriptor, data, length);
    } while (result < 0 && errno == EINTR);
    if (result == 0) {
        return -ENODEV;
    }
    return result < 0 ? -errno : result;
}

/* Read one frame behind the last one, for which there is room. 0, or -errno. */
static int read_frame(int descriptor, struct burst *burst, uint32_t header_length)
{
    uint32_t offset = burst->used + FRAME_HEADROOM;
    uint8_t *header = burst->data + offset - header_length;
    ssize_t result = read_some(descriptor, header, header_length + (size_t)FRAME_MAX);
    struct frame *frame;

    if (result < (ssize_t)header_length) {
        return result < 0 ? (int)result : 0;
    }
    frame = &burst->frames[burst->count++];
    *frame = (struct frame){.offset = offset, .length = (uint32_t)result - header_length};
    burst->used = offset + frame->length;
    if (header_length > 0) {
        frame_describe(frame, header);
    }
    return 0;
}

int device_read(int descriptor, struct burst *burst, int vnet_header, uint32_t frames)
{
    uint32_t before = burst->count;

    for (uint32_t i = 0; i < frames && burst_fits(burst, FRAME_MAX); i++) {
        int error = read_frame(descriptor, burst, vnet_header ? VNET_HEADER : 0);
        if (error < 0) {
            return burst->count > before ? (int)(burst->count - before) : error;
        }
    }
    return (int)(burst->count - before);
}

static int write_some(int descriptor, const uint8_t *data, size_t length)
{
    ssize_t result;

    do {
        result = write(descriptor, data, length);
    } while (result < 0 && errno == EINTR);
    return result < 0 ? -errno : 0;
}

/* The OFFLOAD_ bits without which a device cannot take the frame. */
static uint32_t offload_needed(const struct frame *frame)
{
    uint32_t needed = frame->flags & FRAME_NEEDS_CHECKSUM ? OFFLOAD_CHECKSUM : 0;

    switch (frame->gso_type) {
    case GSO_NONE:
        return needed;
    case GSO_TCPV4:
        return needed | OFFLOAD_TSO4;
    case GSO_TCPV6:
        return needed | OFFLOAD_TSO6;
    default:
        return needed | OFFLOAD_USO;
    }
}

static int write_frame(int descriptor, const struct burst *burst, int vnet_header, uint32_t index)
{
    const struct frame *frame = &burst->frames[index];
    uint8_t *data = burst->data + frame->offset;
    uint32_t granted = vnet_header ? burst->offload : 0;

    if (offload_needed(frame) & ~granted) {
        return -EINVAL;
    }
    if (!vnet_header) {
        return write_some(descriptor, data, frame->length);
    }
    header_fill(data - VNET_HEADER, frame);
    return write_some(descriptor, data - VNET_HEADER, VNET_HEADER + (size_t)frame->length);
}

int device_write(int descriptor, struct burst *burst, int vnet_header, uint32_t first)
{
    for (uint32_t i = first; i < burst->count; i++) {
        int error = write_frame(descriptor, burst, vnet_header, i);
        if (error < 0) {
            return i > first ? (int)(i - first) : error;
        }
    }
    return first < burst->count ? (int)(burst->count - first) : 0;
}
