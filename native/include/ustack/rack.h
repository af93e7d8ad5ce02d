#ifndef USTACK_RACK_H
#define USTACK_RACK_H

#include <stdint.h>

/* What RACK knows: RFC 8985 §5.2, §6.2. The reordering window adapts as in Linux, by steps of a
 * quarter of the least RTT. */
struct rack {
    uint64_t xmit_ns; /* RACK.xmit_ts: when the most recently sent of all delivered was sent */
    uint64_t rtt_ns;  /* RACK.rtt */
    uint32_t end;     /* RACK.end_seq */
    uint8_t advanced; /* something was delivered since losses were last looked for */
    uint8_t dsack_seen;
    uint8_t reo_wnd_steps;   /* RACK.reo_wnd_mult */
    uint8_t reo_wnd_persist; /* recoveries without DSACK until the window is the least again */
    uint64_t last_delivered; /* tcb.delivered when the window was last made larger */
};

/* Whether what was sent at `a` and ends with `a_end` was sent after `b`. RFC 8985 §6.1. */
int rack_sent_after(uint64_t a_ns, uint32_t a_end, uint64_t b_ns, uint32_t b_end);

/* RFC 8985 §6.2, step 2: a segment was delivered. One sent again is not counted if it comes sooner
 * than the least round trip: then its first copy has arrived. */
void rack_advance(struct rack *rack, uint64_t xmit_ns, uint32_t end, int retransmitted,
                  uint64_t min_rtt_ns, uint64_t now_ns);

#endif
