#include "ustack/sent_queue.h"

#include <stdlib.h>
#include <string.h>

#include "sent_entry.h"
#include "sequence.h"

enum {
    LEAST_CAPACITY = 4, /* kept while the queue is empty: request and response need no allocation */
    MOST_CAPACITY = 1 << 24,
};

struct sent_segment *sent_entry(const struct sent_queue *queue, uint32_t index)
{
    return &queue->items[queue->order[(queue->first + index) & (queue->capacity - 1)]];
}

static uint32_t length_of(const struct sent_segment *segment)
{
    return segment->end - segment->seq;
}

uint32_t sent_segment_count(const struct sent_segment *segment)
{
    uint32_t controls =
        ((segment->flags & SENT_SYN) != 0) + (uint32_t)((segment->flags & SENT_FIN) != 0);
    uint32_t length = length_of(segment);

    if (segment->mss == 0 || length <= segment->mss + controls) {
        return 1;
    }
    return (length - controls - 1) / segment->mss + 1;
}

uint32_t sent_queue_in_flight(const struct sent_queue *queue)
{
    return queue->segments - queue->sacked_segments - queue->lost_segments +
           queue->retransmitted_segments;
}

void sent_count_in(struct sent_queue *queue, const struct sent_segment *segment)
{
    uint32_t count = sent_segment_count(segment);

    queue->segments += count;
    queue->sacked_segments += segment->flags & SENT_SACKED ? count : 0;
    queue->lost_segments += segment->flags & SENT_LOST ? count : 0;
    queue->retransmitted_segments += segment->flags & SENT_RESENT ? count : 0;
}

void sent_count_out(struct sent_queue *queue, const struct sent_segment *segment)
{
    uint32_t count = sent_segment_count(segment);

    queue->segments -= count;
    queue->sacked_segments -= segment->flags & SENT_SACKED ? count : 0;
    queue->lost_segments -= segment->flags & SENT_LOST ? count : 0;
    queue->retransmitted_segments -= segment->flags & SENT_RESENT ? count : 0;
}

void sent_change_flags(struct sent_queue *queue, struct sent_segment *segment, int set, int clear)
{
    sent_count_out(queue, segment);
    segment->flags = (uint16_t)((segment->flags | set) & ~clear);
    sent_count_in(queue, segment);
}

static struct sent_list *list_of(struct sent_queue *queue, uint8_t list)
{
    return list == LIST_PARKED ? &queue->parked : &queue->timed;
}

void sent_unlist(struct sent_queue *queue, struct sent_segment *segment)
{
    struct sent_list *list = list_of(queue, segment->list);

    if (segment->list == LIST_NONE) {
        return;
    }
    *(segment->earlier ? &queue->items[segment->earlier - 1].later : &list->earliest) =
        segment->later;
    *(segment->later ? &queue->items[segment->later - 1].earlier : &list->latest) =
        segment->earlier;
    segment->list = LIST_NONE;
    segment->later = segment->earlier = 0;
}

/* Put an entry on a list, behind another one of it (a handle + 1) or, with 0, at its beginning. */
static void list_behind(struct sent_queue *queue, struct sent_segment *segment, uint8_t name,
                        uint32_t behind)
{
    struct sent_list *list = list_of(queue, name);
    uint32_t self = (uint32_t)(segment - queue->items) + 1;
    uint32_t *next = behind ? &queue->items[behind - 1].later : &list->earliest;

    segment->list = name;
    segment->earlier = behind;
    segment->later = *next;
    *(segment->later ? &queue->items[segment->later - 1].earlier : &list->latest) = self;
    *next = self;
}

void sent_list_last(struct sent_queue *queue, struct sent_segment *segment, uint8_t name)
{
    sent_unlist(queue, segment);
    list_behind(queue, segment, name, list_of(queue, name)->latest);
}

/* Allocate `capacity` entries, more than there are. 0, or -1 without memory. */
static int grow(struct sent_queue *queue, uint32_t capacity)
{
    uint32_t *order = malloc(capacity * sizeof *order);
    struct sent_segment *items =
        order == NULL ? NULL : realloc(queue->items, capacity * sizeof *items);

    if (items == NULL) {
        free(order);
        return -1;
    }
    for (uint32_t i = 0; i < queue->count; i++) {
        order[i] = queue->order[(queue->first + i) & (queue->capacity - 1)];
    }
    for (uint32_t handle = capacity; handle > queue->capacity; handle--) {
        items[handle - 1].later = queue->unused;
        queue->unused = handle;
    }
    free(queue->order);
    queue->items = items;
    queue->order = order;
    queue->capacity = capacity;
    queue->first = 0;
    return 0;
}

/* Make room for `more` entries. 0, or -1 without memory. */
static int make_room(struct sent_queue *queue, uint32_t more)
{
    uint32_t capacity = queue->capacity == 0 ? LEAST_CAPACITY : queue->capacity;

    while (capacity < queue->count + more) {
        capacity *= 2;
    }
    if (capacity == queue->capacity) {
        return 0;
    }
    return capacity > MOST_CAPACITY ? -1 : grow(queue, capacity);
}

/* A handle that is free, with room made before, for the entry at `index`. */
static struct sent_segment *take_unused(struct sent_queue *queue, uint32_t index)
{
    uint32_t handle = queue->unused - 1;
    struct sent_segment *segment = &queue->items[handle];

    queue->unused = segment->later;
    queue->order[(queue->first + index) & (queue->capacity - 1)] = handle;
    return segment;
}

static void give_back(struct sent_queue *queue, struct sent_segment *segment)
{
    sent_unlist(queue, segment);
    segment->later = queue->unused;
    queue->unused = (uint32_t)(segment - queue->items) + 1;
}

int sent_queue_push(struct sent_queue *queue, const struct sent_segment *segment)
{
    struct sent_segment *last;

    if (make_room(queue, 1) < 0) {
        return -1;
    }
    if (queue->count == 0) {
        queue->lost_from = segment->seq;
    }
    last = take_unused(queue, queue->count);
    *last = *segment;
    last->list = LIST_NONE;
    sent_list_last(queue, last, LIST_TIMED);
    queue->count++;
    sent_count_in(queue, last);
    return 0;
}

/* Drop the first entry's bytes before `end`, and the entry with its last byte. */
void sent_trim_first(struct sent_queue *queue, uint32_t end)
{
    struct sent_segment *first = sent_entry(queue, 0);

    sent_count_out(queue, first);
    if (end == first->end) {
        give_back(queue, first);
        queue->first = (queue->first + 1) & (queue->capacity - 1);
        queue->count--;
    } else {
        first->seq = end;
        first->flags &= (uint16_t)~SENT_SYN;
        sent_count_in(queue, first);
    }
    if (queue->count == 0 && queue->capacity > LEAST_CAPACITY) {
        sent_queue_release(queue);
    }
}

struct sent_segment *sent_queue_at(struct sent_queue *queue, uint32_t index)
{
    return index < queue->count ? sent_entry(queue, index) : NULL;
}

int32_t sent_queue_find(const struct sent_queue *queue, uint32_t seq)
{
    uint32_t low = 0;
    uint32_t high = queue->count;
    uint32_t base;

    if (queue->count == 0) {
        return -1;
    }
    base = sent_entry(queue, 0)->seq;
    if (seq - base >= sent_entry(queue, queue->count - 1)->end - base) {
        return -1;
    }
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (sent_entry(queue, middle)->seq - base <= seq - base) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return (int32_t)low;
}

/* The place of entry `index` among the handles. */
static uint32_t *place(const struct sent_queue *queue, uint32_t index)
{
    return &queue->order[(queue->first + index) & (queue->capacity - 1)];
}

/* Make a place behind entry `index`, for which there is room, by moving the shorter side. */
static void open_place_behind(struct sent_queue *queue, uint32_t index)
{
    if (index < queue->count / 2) {
        queue->first = (queue->first - 1) & (queue->capacity - 1);
        for (uint32_t i = 0; i <= index; i++) {
            *place(queue, i) = *place(queue, i + 1);
        }
    } else {
        for (uint32_t i = queue->count; i > index + 1; i--) {
            *place(queue, i) = *place(queue, i - 1);
        }
    }
    queue->count++;
}

/* Close the place of entry `index`, which is not the first, by moving the shorter side. */
static void close_place(struct sent_queue *queue, uint32_t index)
{
    if (index < queue->count / 2) {
        for (uint32_t i = index; i > 0; i--) {
            *place(queue, i) = *place(queue, i - 1);
        }
        queue->first = (queue->first + 1) & (queue->capacity - 1);
    } else {
        for (uint32_t i = index; i + 1 < queue->count; i++) {
            *place(queue, i) = *place(queue, i + 1);
        }
    }
    queue->count--;
}

int sent_queue_split(struct sent_queue *queue, uint32_t seq)
{
    int32_t index = sent_queue_find(queue, seq);
    struct sent_segment *before;
    struct sent_segment *behind;
    uint8_t list;

    if (index < 0 || sent_entry(queue, (uint32_t)index)->seq == seq) {
        return 0;
    }
    if (make_room(queue, 1) < 0) {
        return -1;
    }
    open_place_behind(queue, (uint32_t)index);
    before = sent_entry(queue, (uint32_t)index);
    behind = take_unused(queue, (uint32_t)index + 1);
    sent_count_out(queue, before);
    list = before->list;
    *behind = *before;
    behind->list = LIST_NONE;
    behind->later = behind->earlier = 0;
    if (list != LIST_NONE) {
        list_behind(queue, behind, list, (uint32_t)(before - queue->items) + 1);
    }
    before->end = seq;
    before->flags &= (uint16_t)~(SENT_FIN | SENT_PUSH | SENT_RECORD_END);
    behind->seq = seq;
    behind->flags &= (uint16_t)~SENT_SYN;
    sent_count_in(queue, before);
    sent_count_in(queue, behind);
    return 0;
}

void sent_queue_join(struct sent_queue *queue, uint32_t index)
{
    struct sent_segment *first = sent_queue_at(queue, index);
    struct sent_segment *next = sent_queue_at(queue, index + 1);

    if (first == NULL || next == NULL) {
        return;
    }
    sent_count_out(queue, first);
    sent_count_out(queue, next);
    first->end = next->end;
    first->flags |= next->flags & (SENT_RETRANSMITTED | SENT_FIN | SENT_PUSH | SENT_RECORD_END);
    sent_count_in(queue, first);
    give_back(queue, next);
    close_place(queue, index + 1);
}

void sent_queue_recut(struct sent_queue *queue, uint32_t index, uint32_t mss)
{
    struct sent_segment *segment = sent_queue_at(queue, index);

    if (segment != NULL && segment->mss != mss) {
        sent_count_out(queue, segment);
        segment->mss = mss;
        sent_count_in(queue, segment);
    }
}

/* Split at the edges of [start, end), as far as the queue holds it, and name the entries between.
 * 0, or -1 without memory (nothing changes). */
int sent_cut_out(struct sent_queue *queue, uint32_t start, uint32_t end, struct sent_span *span)
{
    uint32_t last_end;
    int32_t index;

    *span = (struct sent_span){0, 0};
    if (queue->count == 0) {
        return 0;
    }
    last_end = sent_entry(queue, queue->count - 1)->end;
    start = seq_before(start, sent_entry(queue, 0)->seq) ? sent_entry(queue, 0)->seq : start;
    end = seq_after(end, last_end) ? last_end : end;
    if (!seq_before(start, end)) {
        return 0;
    }
    if (make_room(queue, 2) < 0) {
        return -1;
    }
    sent_queue_split(queue, start);
    sent_queue_split(queue, end);
    index = sent_queue_find(queue, end);
    span->from = (uint32_t)sent_queue_find(queue, start);
    span->to = index < 0 ? queue->count : (uint32_t)index;
    return 0;
}

void sent_queue_release(struct sent_queue *queue)
{
    free(queue->items);
    free(queue->order);
    *queue = (struct sent_queue){0};
}
