#ifndef USTACK_SENT_ENTRY_H
#define USTACK_SENT_ENTRY_H

#include "ustack/sent_queue.h"

/* What sent_queue.c, which stores, and scoreboard.c, which marks, share. */

enum {
    LIST_NONE = 0,
    LIST_TIMED = 1,
    LIST_PARKED = 2,
};

/* Entries [from, to) by index. */
struct sent_span {
    uint32_t from;
    uint32_t to;
};

struct sent_segment *sent_entry(const struct sent_queue *queue, uint32_t index);

/* Add an entry's segments to the sums, or take them out: around every change of its flags. */
void sent_count_in(struct sent_queue *queue, const struct sent_segment *segment);
void sent_count_out(struct sent_queue *queue, const struct sent_segment *segment);
void sent_change_flags(struct sent_queue *queue, struct sent_segment *segment, int set, int clear);

/* Take an entry off its list, or put it at the end of one. */
void sent_unlist(struct sent_queue *queue, struct sent_segment *segment);
void sent_list_last(struct sent_queue *queue, struct sent_segment *segment, uint8_t name);

/* Drop the first entry's bytes before `end`, and the entry with its last byte. */
void sent_trim_first(struct sent_queue *queue, uint32_t end);

/* Split at the edges of [start, end), as far as the queue holds it, and name the entries between.
 * 0, or -1 without memory (nothing changes). */
int sent_cut_out(struct sent_queue *queue, uint32_t start, uint32_t end, struct sent_span *span);

#endif
