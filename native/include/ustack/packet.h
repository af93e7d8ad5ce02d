#ifndef USTACK_PACKET_H
#define USTACK_PACKET_H

#include <stdint.h>

/* A TCP segment or UDP datagram as the fast path sees it: all checks made, all fields in host
 * order. */
struct packet {
    uint8_t version;  /* 4 or 6 */
    uint8_t protocol; /* 6 or 17 */
    uint8_t ttl;      /* or hop limit */
    uint8_t traffic_class;
    uint8_t address_length; /* 4 or 16 */
    uint8_t flags;          /* TCP: the flags byte, CWR ECE URG ACK PSH RST SYN FIN */
    uint8_t has_timestamps;
    uint8_t reserved; /* TCP: the four reserved bits */
    uint16_t source_port;
    uint16_t destination_port;
    const uint8_t *source; /* in the frame */
    const uint8_t *destination;
    const uint8_t *payload;
    uint32_t payload_length;
    uint32_t seq;
    uint32_t ack;
    uint32_t ts_value;
    uint32_t ts_echo;
    uint16_t window;        /* as on the wire, not scaled */
    uint16_t header_length; /* IP and transport headers */
    uint16_t gso_size;      /* 0: one segment; else the payload is longer than it */
    uint16_t other_options; /* TCP: 1 if there is any option but NOP, EOL and one timestamp */
};

enum {
    PACKET_OK = 0,
    PACKET_NOT_SIMPLE = 1, /* valid or not, it is not for the fast path */
    PACKET_BAD = 2,        /* lengths or checksums are wrong; Python finds the reason */
};

/* Validate a whole frame and describe it: IPv4 without options and not a fragment, or IPv6 without
 * extension headers, TTL not zero, carrying TCP or UDP that fills it, lengths consistent, checksums
 * right (not computed where FRAME_NEEDS_CHECKSUM or FRAME_DATA_VALID in `frame_flags` vouch). A
 * frame longer than the IP length says is fine (the rest is ignored). Never reads beyond `length`.
 * Returns PACKET_; only with PACKET_OK does `packet` mean anything. */
int packet_describe(const uint8_t *frame, uint32_t length, uint8_t frame_flags, uint16_t gso_size,
                    struct packet *packet);

#endif
