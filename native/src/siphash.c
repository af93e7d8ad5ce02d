#include "ustack/siphash.h"

#include <string.h>

struct state {
    uint64_t v0, v1, v2, v3;
};

static uint64_t rotate(uint64_t value, int bits)
{
    return value << bits | value >> (64 - bits);
}

static uint64_t load_le64(const uint8_t *at)
{
    uint64_t value = 0;

    for (int i = 7; i >= 0; i--) {
        value = value << 8 | at[i];
    }
    return value;
}

static inline void rounds(struct state *state, int count)
{
    for (int i = 0; i < count; i++) {
        state->v0 += state->v1;
        state->v2 += state->v3;
        state->v1 = rotate(state->v1, 13) ^ state->v0;
        state->v3 = rotate(state->v3, 16) ^ state->v2;
        state->v0 = rotate(state->v0, 32);
        state->v2 += state->v1;
        state->v0 += state->v3;
        state->v1 = rotate(state->v1, 17) ^ state->v2;
        state->v3 = rotate(state->v3, 21) ^ state->v0;
        state->v2 = rotate(state->v2, 32);
    }
}

static inline void absorb(struct state *state, uint64_t word, int compression)
{
    state->v3 ^= word;
    rounds(state, compression);
    state->v0 ^= word;
}

static inline uint64_t hash(const uint8_t *key, const uint8_t *data, size_t length, int compression,
                            int finalization)
{
    uint64_t k0 = load_le64(key);
    uint64_t k1 = load_le64(key + 8);
    struct state state = {k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d, k0 ^ 0x6c7967656e657261,
                          k1 ^ 0x7465646279746573};
    uint8_t last[8] = {0};
    size_t whole = length & ~(size_t)7;

    for (size_t i = 0; i < whole; i += 8) {
        absorb(&state, load_le64(data + i), compression);
    }
    if (length > whole) {
        memcpy(last, data + whole, length - whole);
    }
    last[7] = (uint8_t)length;
    absorb(&state, load_le64(last), compression);
    state.v2 ^= 0xFF;
    rounds(&state, finalization);
    return state.v0 ^ state.v1 ^ state.v2 ^ state.v3;
}

uint64_t siphash(const uint8_t *key, const uint8_t *data, size_t length)
{
    return hash(key, data, length, 2, 4);
}

uint64_t siphash13(const uint8_t *key, const uint8_t *data, size_t length)
{
    return hash(key, data, length, 1, 3);
}
