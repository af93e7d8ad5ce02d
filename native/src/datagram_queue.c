#include "ustack/datagram_queue.h"

#include <string.h>

enum {
    KEPT_CAPACITY = 64 << 10, /* an empty queue gives back a larger ring */
    RECORD = sizeof(struct datagram),
};

int datagram_queue_push(struct datagram_queue *queue, const struct datagram *datagram,
                        const uint8_t *payload)
{
    uint64_t length = (uint64_t)queue->ring.length + RECORD + datagram->length;

    if (length > queue->limit && queue->count > 0) {
        queue->dropped++;
        return -1;
    }
    if (length > UINT32_MAX || ring_reserve(&queue->ring, (uint32_t)length, 0) < 0) {
        return -2;
    }
    ring_write(&queue->ring, (const uint8_t *)datagram, RECORD);
    ring_write(&queue->ring, payload, datagram->length);
    queue->count++;
    queue->received++;
    return 0;
}

int datagram_queue_first(const struct datagram_queue *queue, struct datagram *datagram)
{
    return ring_peek(&queue->ring, 0, (uint8_t *)datagram, RECORD) == RECORD ? 0 : -1;
}

uint32_t datagram_queue_peek(const struct datagram_queue *queue, uint8_t *payload, uint32_t length)
{
    struct datagram first;

    if (datagram_queue_first(queue, &first) < 0) {
        return 0;
    }
    return ring_peek(&queue->ring, RECORD, payload, length < first.length ? length : first.length);
}

int datagram_queue_pop(struct datagram_queue *queue)
{
    struct datagram first;

    if (datagram_queue_first(queue, &first) < 0) {
        return -1;
    }
    ring_drop(&queue->ring, RECORD + first.length);
    queue->count--;
    if (queue->count == 0 && queue->ring.capacity > KEPT_CAPACITY) {
        ring_release(&queue->ring);
    }
    return 0;
}

void datagram_queue_release(struct datagram_queue *queue)
{
    ring_release(&queue->ring);
    queue->count = 0;
}
