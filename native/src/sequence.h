#ifndef USTACK_SEQUENCE_H
#define USTACK_SEQUENCE_H

#include <stdint.h>

/* Comparison of sequence numbers modulo 2^32, of numbers within 2^31 of each other. RFC 9293 §3.4.
 */

static inline int seq_before(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b) < 0;
}

static inline int seq_after(uint32_t a, uint32_t b)
{
    return (int32_t)(a - b) > 0;
}

#endif
