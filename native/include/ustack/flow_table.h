#ifndef USTACK_FLOW_TABLE_H
#define USTACK_FLOW_TABLE_H

#include <stdint.h>

enum {
    FLOW_NONE = 0,
    FLOW_TCP = 1,   /* target is a struct tcb */
    FLOW_UDP = 2,   /* target is a struct datagram_queue */
    FLOW_OTHER = 3, /* target is NULL: Python only (TIME-WAIT, SYN-RECEIVED) */
};

/* One flow, by its addresses, ports and protocol as seen from this host. */
struct flow_key {
    uint8_t local[16]; /* IPv4 in the first 4 bytes, the rest zero */
    uint8_t remote[16];
    uint16_t local_port; /* host order */
    uint16_t remote_port;
    uint8_t protocol;
    uint8_t version; /* 4 or 6 */
    uint16_t zero;   /* always 0: the key is compared as bytes */
};

struct flow {
    struct flow_key key;
    void *target; /* by kind */
    uint64_t hash;
    uint32_t handle; /* Python's name of the endpoint */
    uint32_t kind;   /* FLOW_; FLOW_NONE is an empty place */
};

/* Open addressing under a keyed SipHash, so that a peer cannot choose colliding flows. Grows and
 * shrinks by itself. */
struct flow_table {
    struct flow *items;
    uint32_t capacity;
    uint32_t count;
    uint8_t key[16];
};

/* A table under a key of 16 random bytes, or NULL without memory. Freed by flow_table_free. */
struct flow_table *flow_table_new(const uint8_t *key16);
void flow_table_free(struct flow_table *table);

/* Fill all of a key; addresses are of 4 bytes with version 4, else of 16. */
void flow_key_fill(struct flow_key *key, uint8_t protocol, uint8_t version, const uint8_t *local,
                   uint16_t local_port, const uint8_t *remote, uint16_t remote_port);

/* The flow, or NULL. Valid until the table is next changed. */
struct flow *flow_table_find(struct flow_table *table, const struct flow_key *key);

/* Insert or replace a flow, `kind` not FLOW_NONE; 0, or -1 without memory (nothing changes). */
int flow_table_insert(struct flow_table *table, const struct flow_key *key, uint32_t kind,
                      uint32_t handle, void *target);

/* Remove; 1 if it was there, else 0. */
int flow_table_remove(struct flow_table *table, const struct flow_key *key);

#endif
