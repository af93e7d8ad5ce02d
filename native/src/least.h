#ifndef USTACK_LEAST_H
#define USTACK_LEAST_H

#include <stdint.h>

static inline uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

#endif
