#include "sequence.h"
#include "ustack/tcb.h"

/* What an acknowledgment does to a TCB, for the fast path and tcp/acknowledgment.py alike. */

static struct sent_context context_of(const struct tcb *tcb, uint32_t una, int echoed,
                                      uint32_t ts_echo, uint64_t now_ns)
{
    return (struct sent_context){
        .now_ns = now_ns,
        .min_rtt_ns = tcb->min_rtt_ns,
        .una = una,
        .high_seq = tcb->recovery_point,
        .undo_marker = tcb->undo_marker,
        .ts_offset = tcb->ts_offset,
        .ts_echo = ts_echo,
        .echoed = echoed && tcb->timestamps && ts_echo != 0,
        .sack = tcb->sack_permitted,
    };
}

/* The first acknowledgment since the last flush. */
static void begin(struct tcb *tcb, uint64_t now_ns)
{
    if (tcb->acked_at_ns == 0) {
        uint32_t in_flight = sent_queue_in_flight(&tcb->sent);
        tcb->prior_in_flight = in_flight > tcb->dup_acks ? in_flight - tcb->dup_acks : 0;
    }
    tcb->acked_at_ns = now_ns;
}

void tcb_acknowledge(struct tcb *tcb, uint32_t ack, int echoed, uint32_t ts_echo, uint64_t now_ns)
{
    struct sent_context context = context_of(tcb, ack, echoed, ts_echo, now_ns);
    uint32_t before = tcb->acked.segments;
    uint32_t dropped;

    begin(tcb, now_ns);
    sent_queue_acknowledge(&tcb->sent, ack, &context, &tcb->rack, &tcb->acked);
    tcb->delivered += tcb->acked.segments - before;
    tcb->delivered_ns = now_ns;
    tcb->bytes_acked += ack - tcb->snd_una;
    dropped = ring_drop(&tcb->snd_ring, ack - tcb->snd_ring_seq);
    tcb->snd_ring_seq += dropped;
    tcb->snd_una = ack;
    if (!seq_after(tcb->snd_up, ack)) {
        tcb->snd_up = ack;
    }
}

int tcb_take_sack(struct tcb *tcb, uint32_t ack, const struct sack_block *blocks, uint32_t count,
                  int32_t duplicate, int echoed, uint32_t ts_echo, uint64_t now_ns)
{
    struct sent_context context = context_of(tcb, ack, echoed, ts_echo, now_ns);
    uint32_t before = tcb->acked.segments;
    int result;

    begin(tcb, now_ns);
    result = sent_queue_take_blocks(&tcb->sent, blocks, count, duplicate, &context, &tcb->rack,
                                    &tcb->acked);
    tcb->delivered += tcb->acked.segments - before;
    if (tcb->acked.segments != before) {
        tcb->delivered_ns = now_ns;
    }
    return result;
}
