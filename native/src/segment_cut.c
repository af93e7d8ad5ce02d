#include <string.h>

#include "bytes.h"
#include "headers.h"
#include "ustack/checksum.h"
#include "ustack/segment.h"

/* A super-segment whose lengths have been checked. */
struct super_segment {
    const uint8_t *frame;
    uint32_t ip_length;     /* bytes of the IP header */
    uint32_t header_length; /* bytes of all headers */
    uint32_t payload_length;
    uint32_t address_length;
    uint16_t gso_size;
    uint8_t protocol;
};

static int parse_ipv4(const uint8_t *frame, uint32_t length, struct super_segment *super,
                      uint32_t *end)
{
    if (length < IPV4_HEADER) {
        return -2;
    }
    super->ip_length = (uint32_t)(frame[0] & 0x0F) * 4;
    super->address_length = 4;
    super->protocol = frame[IPV4_PROTOCOL];
    *end = load16(frame + IPV4_TOTAL_LENGTH);
    if (super->ip_length < IPV4_HEADER || *end < super->ip_length || *end > length ||
        (load16(frame + IPV4_FRAGMENT) & ~IPV4_DONT_FRAGMENT) != 0) {
        return -2;
    }
    return 0;
}

static int parse_ipv6(const uint8_t *frame, uint32_t length, struct super_segment *super,
                      uint32_t *end)
{
    if (length < IPV6_HEADER) {
        return -2;
    }
    super->ip_length = IPV6_HEADER;
    super->address_length = 16;
    super->protocol = frame[IPV6_NEXT_HEADER];
    *end = IPV6_HEADER + (uint32_t)load16(frame + IPV6_PAYLOAD_LENGTH);
    return *end > length ? -2 : 0;
}

/* The bytes of the transport header at `header`, with `room` bytes there; 0 if it is malformed. */
static uint32_t transport_header_length(uint8_t protocol, const uint8_t *header, uint32_t room)
{
    uint32_t length = 0;

    if (protocol == PROTOCOL_UDP) {
        return room >= UDP_HEADER ? UDP_HEADER : 0;
    }
    if (protocol == PROTOCOL_TCP && room >= TCP_HEADER) {
        length = (uint32_t)(header[TCP_DATA_OFFSET] >> 4) * 4;
    }
    return length >= TCP_HEADER && length <= room ? length : 0;
}

static int parse(const uint8_t *frame, uint32_t length, struct super_segment *super)
{
    uint32_t end = 0;
    uint32_t transport_length;
    int result = -2;

    if (length > 0 && frame[0] >> 4 == 4) {
        result = parse_ipv4(frame, length, super, &end);
    } else if (length > 0 && frame[0] >> 4 == 6) {
        result = parse_ipv6(frame, length, super, &end);
    }
    if (result < 0) {
        return result;
    }
    transport_length =
        transport_header_length(super->protocol, frame + super->ip_length, end - super->ip_length);
    if (transport_length == 0) {
        return -2;
    }
    super->frame = frame;
    super->header_length = super->ip_length + transport_length;
    super->payload_length = end - super->header_length;
    return 0;
}

static uint32_t count_segments(const struct super_segment *super)
{
    if (super->payload_length == 0) {
        return 1;
    }
    return (super->payload_length + super->gso_size - 1) / super->gso_size;
}

/* Adapt the IP header of segment `index`, `length` bytes long in all. */
static void adapt_ip(const struct super_segment *super, uint8_t *header, uint32_t index,
                     uint32_t length)
{
    uint32_t identification;

    if (super->address_length == 16) {
        store16(header + IPV6_PAYLOAD_LENGTH, (uint16_t)(length - IPV6_HEADER));
        return;
    }
    identification = load16(header + IPV4_IDENTIFICATION) + index;
    store16(header + IPV4_TOTAL_LENGTH, (uint16_t)length);
    store16(header + IPV4_IDENTIFICATION, (uint16_t)identification);
    store16(header + IPV4_CHECKSUM, 0);
    store16(header + IPV4_CHECKSUM, checksum_compute(header, super->ip_length, 0));
}

static void adapt_urgent(uint8_t *header, uint32_t offset)
{
    uint16_t urgent = load16(header + TCP_URGENT_POINTER);

    if (urgent > offset) {
        store16(header + TCP_URGENT_POINTER, (uint16_t)(urgent - offset));
    } else {
        header[TCP_FLAGS] &= (uint8_t)~TCP_FLAG_URG;
        store16(header + TCP_URGENT_POINTER, 0);
    }
}

/* Adapt the TCP header of the segment whose payload begins `offset` bytes after the first's and is
 * the last one or not. */
static void adapt_tcp(uint8_t *header, uint32_t offset, int last)
{
    uint32_t syn = (header[TCP_FLAGS] & TCP_FLAG_SYN) != 0;

    store16(header + TCP_CHECKSUM, 0);
    if (!last) {
        header[TCP_FLAGS] &= (uint8_t)~(TCP_FLAG_PSH | TCP_FLAG_FIN);
    }
    if (offset > 0) {
        store32(header + TCP_SEQ, load32(header + TCP_SEQ) + offset + syn);
        header[TCP_FLAGS] &= (uint8_t)~(TCP_FLAG_SYN | TCP_FLAG_CWR);
        if (header[TCP_FLAGS] & TCP_FLAG_URG) {
            adapt_urgent(header, offset);
        }
    }
}

static void adapt_udp(uint8_t *header, uint32_t length)
{
    store16(header + UDP_LENGTH, (uint16_t)length);
    store16(header + UDP_CHECKSUM, 0);
}

/* The sum of the pseudo-header of a segment with `length` bytes of transport header and data. */
static uint16_t pseudo_sum(const struct super_segment *super, uint32_t length)
{
    uint32_t source = super->address_length == 4 ? IPV4_SOURCE : IPV6_SOURCE;

    return checksum_pseudo(super->frame + source, super->frame + source + super->address_length,
                           super->address_length, super->protocol, length);
}

/* Append the segment with `index`, for which there is room. */
static void append_segment(struct burst *to, const struct super_segment *super, uint32_t index)
{
    uint32_t offset = index * super->gso_size;
    uint32_t left = super->payload_length - offset;
    uint32_t length = left < super->gso_size ? left : super->gso_size;
    uint8_t *segment = burst_reserve(to, super->header_length + length);
    uint8_t *transport = segment + super->ip_length;
    uint32_t transport_length = super->header_length - super->ip_length + length;
    int is_tcp = super->protocol == PROTOCOL_TCP;
    uint16_t sum = pseudo_sum(super, transport_length);

    memcpy(segment, super->frame, super->header_length);
    adapt_ip(super, segment, index, super->header_length + length);
    if (is_tcp) {
        adapt_tcp(transport, offset, length == left);
    } else {
        adapt_udp(transport, transport_length);
    }
    sum = checksum_add(transport, transport_length - length, sum);
    sum = checksum_copy(segment + super->header_length,
                        super->frame + super->header_length + offset, length, sum);
    if (is_tcp) {
        store16(transport + TCP_CHECKSUM, (uint16_t)~sum);
    } else {
        store16(transport + UDP_CHECKSUM, sum == 0xFFFF ? 0xFFFF : (uint16_t)~sum);
    }
}

int segment_cut(struct burst *to, const uint8_t *frame, uint32_t length, uint16_t gso_size)
{
    struct super_segment super = {.gso_size = gso_size};
    uint32_t segments;

    if (gso_size == 0 || parse(frame, length, &super) < 0) {
        return -2;
    }
    segments = count_segments(&super);
    if (!burst_fits_all(to, segments,
                        super.payload_length + (uint64_t)segments * super.header_length)) {
        return -1;
    }
    for (uint32_t i = 0; i < segments; i++) {
        append_segment(to, &super, i);
    }
    return 0;
}
