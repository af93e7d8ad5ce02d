#ifndef USTACK_RECEIVE_H
#define USTACK_RECEIVE_H

#include "ustack/packet.h"
#include "ustack/tcb.h"

/* Data in order, as tcp/receive_queue.py, tcp/receive_buffer.py and tcp/delayed_ack.py take it. */

/* Whether the payload fits the window and the buffers, and tells nothing new about the size of the
 * peer's segments. */
int receive_is_ordinary(const struct tcb *tcb, const struct packet *packet);

/* Make sure that receive_data() needs no memory. 0, or -1. */
int receive_reserve(struct tcb *tcb, const struct packet *packet);

/* receive_buffer.measure_echo: the round trip that the timestamps of any segment tell. */
void receive_measure_echo(struct tcb *tcb, const struct packet *packet, uint64_t now_ns);

/* Take a payload that is ordinary. */
void receive_data(struct tcb *tcb, const struct packet *packet, uint64_t now_ns);

#endif
