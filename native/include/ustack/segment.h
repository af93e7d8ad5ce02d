#ifndef USTACK_SEGMENT_H
#define USTACK_SEGMENT_H

#include <stdint.h>

#include "ustack/burst.h"
#include "ustack/tcb.h"

/* Build the IP and TCP headers of one segment of `tcb`, with `length` payload bytes of its send ring that begin at sequence number
 * `seq` (plus, where `flags` has SYN or FIN, those), and append it to `burst`:
 *  - up to the MSS: one frame;
 *  - above it (a super-segment): one GSO frame if the burst's device has TSO for the family, else cut to frames of the MSS: PSH and FIN on the
 *    last only, IPv4 IDs ascending.
 * The checksum is left to the device (FRAME_NEEDS_CHECKSUM) where it has OFFLOAD_CHECKSUM, else computed. `window` is as on the wire; `options`
 * are whole, a multiple of 4 bytes, at most 40. `urgent` is the urgent pointer field. tcb->ip_id, last_ack_sent and segments_sent are advanced.
 * Returns 0; -1 if it does not fit the burst (nothing is written, nothing changes); -2 if the payload is not in the ring. */
int segment_build(struct burst *burst, struct tcb *tcb, uint32_t seq, uint32_t ack, uint8_t flags, uint16_t window, uint16_t urgent,
                  const uint8_t *options, uint32_t options_length, uint32_t length);

/* Cut a TCP or UDP super-segment frame (IPv4 without fragmentation, or IPv6) to segments of `gso_size` payload bytes, appended to `to` with
 * complete checksums. CWR stays on the first only. 0; -1 if they do not all fit (nothing is appended); -2 if the frame is malformed. */
int segment_cut(struct burst *to, const uint8_t *frame, uint32_t length, uint16_t gso_size);

#endif
