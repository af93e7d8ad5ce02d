#ifndef USTACK_DATAGRAM_QUEUE_H
#define USTACK_DATAGRAM_QUEUE_H

#include <stdint.h>

#include "ustack/ring.h"

/* What is known of a datagram beside its payload. */
struct datagram {
    uint8_t source[16]; /* IPv4 in the first 4 bytes */
    uint8_t destination[16];
    uint16_t source_port;
    uint16_t destination_port;
    uint8_t version; /* 4 or 6 */
    uint8_t ttl;
    uint8_t traffic_class;
    uint8_t interface; /* index of the interface it came by */
    uint32_t length;   /* payload bytes */
    uint16_t gso_size; /* 0: one datagram; else bytes of each, the last may be shorter */
    uint16_t zero;
};

/* A bounded queue of datagrams, oldest first; records lie one after another in a ring that grows up
 * to the limit. */
struct datagram_queue {
    struct ring ring;
    uint32_t limit;   /* bytes of records, at most (SO_RCVBUF) */
    uint32_t count;   /* datagrams */
    uint64_t dropped; /* refused for want of room */
    uint64_t received;
    uint32_t slow_path_reasons; /* not 0: Python takes every datagram; only Python writes it */
    uint32_t handle;            /* Python's name of the endpoint */
    uint32_t touched;           /* already on the touched list of the current burst */
};

/* Append; 0, -1 if the limit is reached (counted in `dropped`), -2 without memory. A datagram
 * longer than the whole limit is still taken when the queue is empty. */
int datagram_queue_push(struct datagram_queue *queue, const struct datagram *datagram,
                        const uint8_t *payload);

/* Describe the first datagram without taking it; 0, or -1 if there is none. */
int datagram_queue_first(const struct datagram_queue *queue, struct datagram *datagram);

/* Copy up to `length` payload bytes of the first datagram; returns how many. */
uint32_t datagram_queue_peek(const struct datagram_queue *queue, uint8_t *payload, uint32_t length);

/* Remove the first datagram; 0, or -1 if there is none. Memory is freed when it was the last and
 * the ring had grown over 64 KiB. */
int datagram_queue_pop(struct datagram_queue *queue);

/* Remove all and free the memory; the counters stay. */
void datagram_queue_release(struct datagram_queue *queue);

#endif
