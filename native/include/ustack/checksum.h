#ifndef USTACK_CHECKSUM_H
#define USTACK_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* The one's complement sum of big-endian 16-bit words, folded to 16 bits; an odd last byte is
 * padded with zero. `initial` is an earlier sum to go on from. Not complemented. RFC 1071 §1. */
uint16_t checksum_add(const uint8_t *data, size_t length, uint16_t initial);

/* The Internet checksum to put into a header whose checksum field is zero: the complement of
 * checksum_add. RFC 1071. */
uint16_t checksum_compute(const uint8_t *data, size_t length, uint16_t initial);

/* The sum of the pseudo-header: addresses of 4 or 16 bytes, protocol, length. Not complemented. RFC
 * 9293 §3.1, RFC 8200 §8.1. */
uint16_t checksum_pseudo(const uint8_t *source, const uint8_t *destination, uint32_t address_length,
                         uint8_t protocol, uint32_t length);

/* The checksum after a 16-bit word of the data changed from `before` to `after`. RFC 1624 §3,
 * eqn. 3. */
uint16_t checksum_update(uint16_t checksum, uint16_t before, uint16_t after);

/* Copy and sum in one pass; the result as of checksum_add. */
uint16_t checksum_copy(uint8_t *to, const uint8_t *from, size_t length, uint16_t initial);

#endif
