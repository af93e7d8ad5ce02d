#include "ustack/rack.h"

#include "sequence.h"

int rack_sent_after(uint64_t a_ns, uint32_t a_end, uint64_t b_ns, uint32_t b_end)
{
    return a_ns > b_ns || (a_ns == b_ns && seq_after(a_end, b_end));
}

void rack_advance(struct rack *rack, uint64_t xmit_ns, uint32_t end, int retransmitted,
                  uint64_t min_rtt_ns, uint64_t now_ns)
{
    uint64_t rtt_ns = now_ns - xmit_ns;

    if (retransmitted && (rtt_ns < min_rtt_ns || min_rtt_ns == 0)) {
        return;
    }
    rack->advanced = 1;
    rack->rtt_ns = rtt_ns;
    if (rack_sent_after(xmit_ns, end, rack->xmit_ns, rack->end)) {
        rack->xmit_ns = xmit_ns;
        rack->end = end;
    }
}
