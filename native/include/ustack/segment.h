#ifndef USTACK_SEGMENT_H
#define USTACK_SEGMENT_H

#include <stdint.h>

#include "ustack/burst.h"
#include "ustack/tcb.h"

/* Build the IP and TCP headers of one segment of `tcb`, with `length` payload bytes of its send
 * ring that begin at sequence number `seq` (behind the SYN, where `flags` has it), and append it to
 * `burst`. Up to the MSS it is one frame. Above it (a super-segment) it is one GSO frame if the
 * burst's device has TSO for the family (more, if it does not go into FRAME_MAX), else it is cut to
 * frames of the MSS: PSH and FIN on the last only, SYN and CWR on the first, IPv4 IDs ascending.
 *
 * The checksum is left to the device (FRAME_NEEDS_CHECKSUM) where it has OFFLOAD_CHECKSUM, else
 * computed. `window` is as on the wire; `options` are whole, a multiple of 4 bytes, at most 40.
 * `flags` are nine bits, AE the highest; the ECN codepoint is tcb->ecn_codepoint. With Accurate
 * ECN CWR is a bit of a counter: all segments have it, and as devices clear it on all but the first
 * there is no GSO frame.
 * `urgent` is the urgent pointer from `seq`, used with the flag URG: each frame up to there gets
 * its own, so none of them is a GSO frame. tcb->ip_id and segments_sent are advanced by the
 * segments on the wire, last_ack_sent is set where `flags` has ACK.
 *
 * Returns 0; -1 if it does not fit the burst or the options are too long (nothing is written,
 * nothing changes); -2 if the payload is not in the ring. */
int segment_build(struct burst *burst, struct tcb *tcb, uint32_t seq, uint32_t ack, uint16_t flags,
                  uint16_t window, uint16_t urgent, const uint8_t *options, uint32_t options_length,
                  uint32_t length);

/* Cut a TCP or UDP super-segment frame (IPv4 without fragmentation, or IPv6 without extension
 * headers) of another arena to segments of `gso_size` payload bytes, appended to `to` with complete
 * checksums: flags, IPv4 IDs and the urgent pointer as segment_build has them. 0; -1 if they do not
 * all fit (nothing is appended); -2 if the frame is malformed. */
int segment_cut(struct burst *to, const uint8_t *frame, uint32_t length, uint16_t gso_size);

#endif
