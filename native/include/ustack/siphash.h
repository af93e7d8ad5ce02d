#ifndef USTACK_SIPHASH_H
#define USTACK_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

/* SipHash-2-4 of `data` under a key of 16 bytes. Aumasson and Bernstein 2012. */
uint64_t siphash(const uint8_t *key, const uint8_t *data, size_t length);

/* SipHash-1-3, for hash tables. */
uint64_t siphash13(const uint8_t *key, const uint8_t *data, size_t length);

#endif
