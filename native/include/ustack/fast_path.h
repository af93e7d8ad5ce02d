#ifndef USTACK_FAST_PATH_H
#define USTACK_FAST_PATH_H

#include <stdint.h>

#include "ustack/burst.h"
#include "ustack/datagram_queue.h"
#include "ustack/flow_table.h"
#include "ustack/tcb.h"

enum {
    TOUCHED_MAX = 4096,
};

/* What the fast path did in one burst. */
struct fast_path {
    struct flow_table *flows;
    uint32_t touched_count;
    uint32_t touched[4096]; /* handles of the connections and datagram queues that changed, in order
                               of the first change */
    uint64_t tcp_packets;
    uint64_t udp_packets;
    uint64_t handed_back;
};

/* Take the burst's frames from index `first` on, completely, until one is not for the fast path.
 * Returns that one's index, or the burst's count. A frame is taken completely or nothing is written
 * for it. */
uint32_t fast_path_receive(struct fast_path *path, const struct burst *burst, uint32_t first,
                           uint8_t interface, uint64_t now_ns);

#endif
