#include "ustack/checksum.h"

#include <string.h>

#include "bytes.h"

/* The one's complement sum does not depend on the byte order of the words (RFC 1071 §2 B), so data
 * is summed as words of the machine, 32 bits wide into 64-bit accumulators, and only the result is
 * put into network order. */

enum {
    BLOCK = 64, /* bytes summed in one round: 16 words, which the compiler turns into vector
                   additions */
    BLOCK_WORDS = BLOCK / 4,
};

static uint16_t fold(uint64_t sum)
{
    sum = (sum & 0xFFFFFFFF) + (sum >> 32);
    sum = (sum & 0xFFFFFFFF) + (sum >> 32);
    sum = (sum & 0xFFFF) + (sum >> 16);
    sum = (sum & 0xFFFF) + (sum >> 16);
    return (uint16_t)sum;
}

/* A folded sum of machine words as the sum of network words, or back: the bytes of the word in
 * memory, read big-endian. */
static uint16_t swap_order(uint16_t sum)
{
    uint8_t bytes[2];

    memcpy(bytes, &sum, 2);
    return load16(bytes);
}

/* The sum of the words of up to 63 bytes, the last one padded with zeros. */
static uint64_t sum_tail(const uint8_t *data, size_t length)
{
    uint32_t words[BLOCK_WORDS] = {0};
    uint64_t sum = 0;

    memcpy(words, data, length);
    for (int i = 0; i < BLOCK_WORDS; i++) {
        sum += words[i];
    }
    return sum;
}

uint16_t checksum_add(const uint8_t *data, size_t length, uint16_t initial)
{
    uint64_t sum = swap_order(initial);

    while (length >= BLOCK) {
        uint32_t words[BLOCK_WORDS];
        memcpy(words, data, BLOCK);
        for (int i = 0; i < BLOCK_WORDS; i++) {
            sum += words[i];
        }
        data += BLOCK;
        length -= BLOCK;
    }
    if (length > 0) {
        sum += sum_tail(data, length);
    }
    return swap_order(fold(sum));
}

uint16_t checksum_compute(const uint8_t *data, size_t length, uint16_t initial)
{
    return (uint16_t)~checksum_add(data, length, initial);
}

uint16_t checksum_pseudo(const uint8_t *source, const uint8_t *destination, uint32_t address_length,
                         uint8_t protocol, uint32_t length)
{
    uint64_t sum = (uint64_t)protocol + (length >> 16) + (length & 0xFFFF);

    for (uint32_t i = 0; i + 1 < address_length; i += 2) {
        sum += (uint64_t)load16(source + i) + load16(destination + i);
    }
    return fold(sum);
}

uint16_t checksum_update(uint16_t checksum, uint16_t before, uint16_t after)
{
    uint32_t sum = (uint32_t)(uint16_t)~checksum + (uint16_t)~before + after;

    return (uint16_t)~fold(sum);
}

uint16_t checksum_copy(uint8_t *to, const uint8_t *from, size_t length, uint16_t initial)
{
    uint64_t sum = swap_order(initial);

    while (length >= BLOCK) {
        uint32_t words[BLOCK_WORDS];
        memcpy(words, from, BLOCK);
        memcpy(to, words, BLOCK);
        for (int i = 0; i < BLOCK_WORDS; i++) {
            sum += words[i];
        }
        to += BLOCK;
        from += BLOCK;
        length -= BLOCK;
    }
    if (length > 0) {
        memcpy(to, from, length);
        sum += sum_tail(from, length);
    }
    return swap_order(fold(sum));
}
