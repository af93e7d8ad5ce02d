#include "ustack/flow_table.h"

#include <stdlib.h>
#include <string.h>

#include "ustack/siphash.h"

/* Linear probing. A place is searched from the flow's home, its hash modulo the capacity, until the
 * flow or an empty place is met; removal moves followers back, so that no tombstones gather. */

enum {
    LEAST_CAPACITY = 16,
    CACHE_LINE = 64, /* one struct flow */
};

static struct flow *items_new(uint32_t capacity)
{
    size_t size = (size_t)capacity * sizeof(struct flow);
    struct flow *items = aligned_alloc(CACHE_LINE, size);

    if (items != NULL) {
        memset(items, 0, size);
    }
    return items;
}

struct flow_table *flow_table_new(const uint8_t *key16)
{
    struct flow_table *table = calloc(1, sizeof *table);

    if (table == NULL) {
        return NULL;
    }
    table->items = items_new(LEAST_CAPACITY);
    if (table->items == NULL) {
        free(table);
        return NULL;
    }
    table->capacity = LEAST_CAPACITY;
    memcpy(table->key, key16, sizeof table->key);
    return table;
}

void flow_table_free(struct flow_table *table)
{
    if (table != NULL) {
        free(table->items);
        free(table);
    }
}

void flow_key_fill(struct flow_key *key, uint8_t protocol, uint8_t version, const uint8_t *local,
                   uint16_t local_port, const uint8_t *remote, uint16_t remote_port)
{
    size_t address_length = version == 4 ? 4 : 16;

    memset(key, 0, sizeof *key);
    memcpy(key->local, local, address_length);
    memcpy(key->remote, remote, address_length);
    key->local_port = local_port;
    key->remote_port = remote_port;
    key->protocol = protocol;
    key->version = version;
}

static uint64_t hash_of(const struct flow_table *table, const struct flow_key *key)
{
    return siphash13(table->key, (const uint8_t *)key, sizeof *key);
}

static uint32_t next_place(const struct flow_table *table, uint32_t place)
{
    return (place + 1) & (table->capacity - 1);
}

static uint32_t home_of(const struct flow_table *table, uint64_t hash)
{
    return (uint32_t)hash & (table->capacity - 1);
}

/* The flow with this key, or the empty place where it would go: there always is one. */
static struct flow *search(const struct flow_table *table, const struct flow_key *key,
                           uint64_t hash)
{
    uint32_t place = home_of(table, hash);

    for (;;) {
        struct flow *flow = &table->items[place];
        if (flow->kind == FLOW_NONE ||
            (flow->hash == hash && memcmp(&flow->key, key, sizeof *key) == 0)) {
            return flow;
        }
        place = next_place(table, place);
    }
}

/* Move all flows into an array of `capacity` places; 0, or -1 without memory (nothing changes). */
static int resize(struct flow_table *table, uint32_t capacity)
{
    struct flow_table resized = *table;

    resized.capacity = capacity;
    resized.items = items_new(capacity);
    if (resized.items == NULL) {
        return -1;
    }
    for (uint32_t i = 0; i < table->capacity; i++) {
        const struct flow *flow = &table->items[i];
        if (flow->kind != FLOW_NONE) {
            *search(&resized, &flow->key, flow->hash) = *flow;
        }
    }
    free(table->items);
    *table = resized;
    return 0;
}

/* Whether one more flow leaves at least a quarter of the places empty, after growing if need be. */
static int make_room(struct flow_table *table)
{
    uint32_t most = table->capacity - table->capacity / 4;

    if (table->count < most) {
        return 0;
    }
    return table->capacity > UINT32_MAX / 2 ? -1 : resize(table, table->capacity * 2);
}

struct flow *flow_table_find(struct flow_table *table, const struct flow_key *key)
{
    struct flow *flow = search(table, key, hash_of(table, key));

    return flow->kind == FLOW_NONE ? NULL : flow;
}

int flow_table_insert(struct flow_table *table, const struct flow_key *key, uint32_t kind,
                      uint32_t handle, void *target)
{
    uint64_t hash = hash_of(table, key);
    struct flow *flow = search(table, key, hash);

    if (flow->kind == FLOW_NONE) {
        if (make_room(table) < 0) {
            return -1;
        }
        flow = search(table, key, hash);
        table->count++;
    }
    *flow = (struct flow){*key, target, hash, handle, kind};
    return 0;
}

/* Whether a flow may move back from `place` to `hole`: if its home is not in between. */
static int may_fill(const struct flow_table *table, uint32_t hole, uint32_t place, uint32_t home)
{
    uint32_t mask = table->capacity - 1;

    return ((place - home) & mask) >= ((place - hole) & mask);
}

/* Empty a place and move followers back, so that each is reached from its home without a gap. */
static void close_gap(struct flow_table *table, uint32_t hole)
{
    uint32_t place = next_place(table, hole);

    while (table->items[place].kind != FLOW_NONE) {
        const struct flow *flow = &table->items[place];
        if (may_fill(table, hole, place, home_of(table, flow->hash))) {
            table->items[hole] = *flow;
            hole = place;
        }
        place = next_place(table, place);
    }
    memset(&table->items[hole], 0, sizeof table->items[hole]);
}

int flow_table_remove(struct flow_table *table, const struct flow_key *key)
{
    struct flow *flow = search(table, key, hash_of(table, key));

    if (flow->kind == FLOW_NONE) {
        return 0;
    }
    close_gap(table, (uint32_t)(flow - table->items));
    table->count--;
    if (table->capacity > LEAST_CAPACITY && table->count < table->capacity / 8) {
        resize(table, table->capacity / 2);
    }
    return 1;
}
