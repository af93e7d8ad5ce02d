#ifndef USTACK_HEADERS_H
#define USTACK_HEADERS_H

/* Offsets, lengths and bits of the headers that C reads and writes. RFC 791 §3.1, 8200 §3, 768,
 * 9293 §3.1. */

enum {
    PROTOCOL_TCP = 6,
    PROTOCOL_UDP = 17,
};

enum {
    IPV4_HEADER = 20,
    IPV4_TRAFFIC_CLASS = 1,
    IPV4_TOTAL_LENGTH = 2,
    IPV4_IDENTIFICATION = 4,
    IPV4_FRAGMENT = 6, /* three flags and the offset */
    IPV4_TTL = 8,
    IPV4_PROTOCOL = 9,
    IPV4_CHECKSUM = 10,
    IPV4_SOURCE = 12,
    IPV4_DESTINATION = 16,
    IPV4_DONT_FRAGMENT = 0x4000,
};

enum {
    IPV6_HEADER = 40,
    IPV6_PAYLOAD_LENGTH = 4,
    IPV6_NEXT_HEADER = 6,
    IPV6_HOP_LIMIT = 7,
    IPV6_SOURCE = 8,
    IPV6_DESTINATION = 24,
};

enum {
    UDP_HEADER = 8,
    UDP_LENGTH = 4,
    UDP_CHECKSUM = 6,
};

enum {
    TCP_HEADER = 20,
    TCP_SEQ = 4,
    TCP_ACK = 8,
    TCP_DATA_OFFSET = 12, /* upper half: header length in words; lower half: reserved */
    TCP_FLAGS = 13,
    TCP_WINDOW = 14,
    TCP_CHECKSUM = 16,
    TCP_URGENT_POINTER = 18,
    TCP_OPTIONS_MOST = 40,
};

enum {
    TCP_FLAG_FIN = 0x01,
    TCP_FLAG_SYN = 0x02,
    TCP_FLAG_PSH = 0x08,
    TCP_FLAG_ACK = 0x10,
    TCP_FLAG_URG = 0x20,
    TCP_FLAG_CWR = 0x80,
};

#endif
