#include "ustack/tcb.h"

#include <stdlib.h>

struct tcb *tcb_new(void)
{
    return calloc(1, sizeof(struct tcb));
}

void tcb_free(struct tcb *tcb)
{
    if (tcb != NULL) {
        tcb_release_buffers(tcb);
        free(tcb);
    }
}

void tcb_release_buffers(struct tcb *tcb)
{
    ring_release(&tcb->snd_ring);
    ring_release(&tcb->rcv_ring);
    held_segments_release(&tcb->held);
    ranges_release(&tcb->out_of_order);
    sent_queue_release(&tcb->sent);
}
