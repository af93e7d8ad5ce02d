#include "ustack/packet.h"

#include <stddef.h>

#include "bytes.h"
#include "headers.h"
#include "ustack/burst.h"
#include "ustack/checksum.h"

enum {
    OPTION_END = 0,
    OPTION_NOP = 1,
    OPTION_TIMESTAMPS = 8,
    OPTION_TIMESTAMPS_LENGTH = 10,
};

/* A transport header and its data, with what vouches for the checksum. */
struct transport {
    const uint8_t *data;
    uint32_t length;
    int trusted;
};

static int checksum_is_right(const struct packet *packet, const struct transport *transport)
{
    uint16_t pseudo;

    if (transport->trusted) {
        return 1;
    }
    pseudo = checksum_pseudo(packet->source, packet->destination, packet->address_length,
                             packet->protocol, transport->length);
    return checksum_add(transport->data, transport->length, pseudo) == 0xFFFF;
}

static int describe_ipv4(const uint8_t *frame, uint32_t length, struct packet *packet,
                         struct transport *transport)
{
    uint32_t total_length;

    if (length < IPV4_HEADER) {
        return PACKET_BAD;
    }
    total_length = load16(frame + IPV4_TOTAL_LENGTH);
    if (frame[0] != 0x45 || (load16(frame + IPV4_FRAGMENT) & ~IPV4_DONT_FRAGMENT) != 0) {
        return PACKET_NOT_SIMPLE;
    }
    if (total_length < IPV4_HEADER || total_length > length ||
        checksum_add(frame, IPV4_HEADER, 0) != 0xFFFF) {
        return PACKET_BAD;
    }
    packet->version = 4;
    packet->protocol = frame[IPV4_PROTOCOL];
    packet->ttl = frame[IPV4_TTL];
    packet->traffic_class = frame[IPV4_TRAFFIC_CLASS];
    packet->address_length = 4;
    packet->source = frame + IPV4_SOURCE;
    packet->destination = frame + IPV4_DESTINATION;
    transport->data = frame + IPV4_HEADER;
    transport->length = total_length - IPV4_HEADER;
    return PACKET_OK;
}

static int describe_ipv6(const uint8_t *frame, uint32_t length, struct packet *packet,
                         struct transport *transport)
{
    uint32_t payload_length;

    if (length < IPV6_HEADER) {
        return PACKET_BAD;
    }
    payload_length = load16(frame + IPV6_PAYLOAD_LENGTH);
    if (payload_length > length - IPV6_HEADER) {
        return PACKET_BAD;
    }
    packet->version = 6;
    packet->protocol = frame[IPV6_NEXT_HEADER];
    packet->ttl = frame[IPV6_HOP_LIMIT];
    packet->traffic_class = (uint8_t)(load16(frame) >> 4);
    packet->address_length = 16;
    packet->source = frame + IPV6_SOURCE;
    packet->destination = frame + IPV6_DESTINATION;
    transport->data = frame + IPV6_HEADER;
    transport->length = payload_length;
    return PACKET_OK;
}

/* The length of the option at `at`, with `room` bytes left, or 0 if it is malformed. */
static uint32_t option_length(const uint8_t *at, uint32_t room)
{
    if (at[0] == OPTION_NOP) {
        return 1;
    }
    return room >= 2 && at[1] >= 2 && at[1] <= room ? at[1] : 0;
}

static int describe_option(const uint8_t *at, uint32_t length, struct packet *packet)
{
    if (at[0] == OPTION_NOP) {
        return PACKET_OK;
    }
    if (at[0] != OPTION_TIMESTAMPS || packet->has_timestamps) {
        packet->other_options = 1;
        return PACKET_OK;
    }
    if (length != OPTION_TIMESTAMPS_LENGTH) {
        return PACKET_BAD;
    }
    packet->has_timestamps = 1;
    packet->ts_value = load32(at + 2);
    packet->ts_echo = load32(at + 6);
    return PACKET_OK;
}

static int describe_options(const uint8_t *options, uint32_t length, struct packet *packet)
{
    uint32_t offset = 0;

    while (offset < length && options[offset] != OPTION_END) {
        uint32_t one = option_length(options + offset, length - offset);
        if (one == 0 || describe_option(options + offset, one, packet) != PACKET_OK) {
            return PACKET_BAD;
        }
        offset += one;
    }
    return PACKET_OK;
}

static int describe_tcp(const struct transport *transport, struct packet *packet)
{
    const uint8_t *header = transport->data;
    uint32_t header_length;

    if (transport->length < TCP_HEADER) {
        return PACKET_BAD;
    }
    header_length = (uint32_t)(header[TCP_DATA_OFFSET] >> 4) * 4;
    if (header_length < TCP_HEADER || header_length > transport->length ||
        !checksum_is_right(packet, transport)) {
        return PACKET_BAD;
    }
    packet->seq = load32(header + TCP_SEQ);
    packet->ack = load32(header + TCP_ACK);
    packet->reserved = header[TCP_DATA_OFFSET] & 0x0F;
    packet->flags = header[TCP_FLAGS];
    packet->window = load16(header + TCP_WINDOW);
    packet->payload = header + header_length;
    packet->payload_length = transport->length - header_length;
    return describe_options(header + TCP_HEADER, header_length - TCP_HEADER, packet);
}

static int describe_udp(const struct transport *transport, struct packet *packet)
{
    const uint8_t *header = transport->data;
    uint32_t length;

    if (transport->length < UDP_HEADER) {
        return PACKET_BAD;
    }
    length = load16(header + UDP_LENGTH);
    if (length < UDP_HEADER || length > transport->length) {
        return PACKET_BAD;
    }
    if (length < transport->length) {
        return PACKET_NOT_SIMPLE;
    }
    if (load16(header + UDP_CHECKSUM) == 0 ? packet->version == 6
                                           : !checksum_is_right(packet, transport)) {
        return PACKET_BAD;
    }
    packet->payload = header + UDP_HEADER;
    packet->payload_length = length - UDP_HEADER;
    return PACKET_OK;
}

static int describe_transport(const struct transport *transport, struct packet *packet)
{
    int verdict = PACKET_NOT_SIMPLE;

    if (packet->ttl == 0) {
        return PACKET_NOT_SIMPLE;
    }
    if (packet->protocol == PROTOCOL_TCP) {
        verdict = describe_tcp(transport, packet);
    } else if (packet->protocol == PROTOCOL_UDP) {
        verdict = describe_udp(transport, packet);
    }
    if (verdict == PACKET_OK) {
        packet->source_port = load16(transport->data);
        packet->destination_port = load16(transport->data + 2);
    }
    return verdict;
}

int packet_describe(const uint8_t *frame, uint32_t length, uint8_t frame_flags, uint16_t gso_size,
                    struct packet *packet)
{
    struct transport transport = {NULL, 0, 0};
    int verdict = PACKET_BAD;

    *packet = (struct packet){0};
    if (length > 0 && frame[0] >> 4 == 4) {
        verdict = describe_ipv4(frame, length, packet, &transport);
    } else if (length > 0 && frame[0] >> 4 == 6) {
        verdict = describe_ipv6(frame, length, packet, &transport);
    }
    if (verdict != PACKET_OK) {
        return verdict;
    }
    transport.trusted = (frame_flags & (FRAME_NEEDS_CHECKSUM | FRAME_DATA_VALID)) != 0;
    verdict = describe_transport(&transport, packet);
    if (verdict == PACKET_OK) {
        packet->header_length = (uint16_t)(packet->payload - frame);
        packet->gso_size = packet->payload_length > gso_size ? gso_size : 0;
    }
    return verdict;
}
