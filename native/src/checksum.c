#include "ustack/checksum.h"

#include <string.h>

#include "bytes.h"

/* The one's complement sum does not depend on the byte order of the words, and words may be summed
 * in wider pieces (RFC 1071 §2 B and C). So data is read as the machine's 64-bit words, whose
 * halves are added in 64-bit lanes without a carry to care for, four of each: the compiler turns
 * them into vector additions. Only the folded result is put into network order. */

enum {
    LANES = 4,
    BLOCK = LANES * 8, /* bytes in one round */
};

struct lanes {
    uint64_t low[LANES];
    uint64_t high[LANES];
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

    memcpy(bytes, &sum, sizeof bytes);
    return load16(bytes);
}

static inline void lanes_add(struct lanes *lanes, const uint64_t *words)
{
    for (int i = 0; i < LANES; i++) {
        lanes->low[i] += words[i] & 0xFFFFFFFF;
        lanes->high[i] += words[i] >> 32;
    }
}

/* No lane has carried before 2^32 rounds. */
static inline uint64_t lanes_sum(const struct lanes *lanes)
{
    uint64_t sum = 0;

    for (int i = 0; i < LANES; i++) {
        sum += lanes->low[i] + lanes->high[i];
    }
    return sum;
}

static inline uint64_t load_native(const uint8_t *at, size_t length)
{
    uint64_t word = 0;

    memcpy(&word, at, length);
    return (word & 0xFFFFFFFF) + (word >> 32);
}

/* The sum of fewer than BLOCK bytes, an odd last one padded with zero. */
static inline uint64_t sum_rest(const uint8_t *data, size_t length)
{
    uint64_t sum = 0;

    for (; length >= 8; data += 8, length -= 8) {
        sum += load_native(data, 8);
    }
    if (length & 4) {
        sum += load_native(data, 4);
        data += 4;
    }
    if (length & 2) {
        sum += load_native(data, 2);
        data += 2;
    }
    return length & 1 ? sum + load_native(data, 1) : sum;
}

uint16_t checksum_add(const uint8_t *data, size_t length, uint16_t initial)
{
    uint64_t sum = swap_order(initial);

    if (length >= BLOCK) {
        struct lanes lanes = {{0}, {0}};
        do {
            uint64_t words[LANES];
            memcpy(words, data, BLOCK);
            lanes_add(&lanes, words);
            data += BLOCK;
            length -= BLOCK;
        } while (length >= BLOCK);
        sum += lanes_sum(&lanes);
    }
    return swap_order(fold(sum + sum_rest(data, length)));
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

    if (length >= BLOCK) {
        struct lanes lanes = {{0}, {0}};
        do {
            uint64_t words[LANES];
            memcpy(words, from, BLOCK);
            memcpy(to, words, BLOCK);
            lanes_add(&lanes, words);
            to += BLOCK;
            from += BLOCK;
            length -= BLOCK;
        } while (length >= BLOCK);
        sum += lanes_sum(&lanes);
    }
    if (length > 0) {
        memcpy(to, from, length);
    }
    return swap_order(fold(sum + sum_rest(to, length)));
}
