#ifndef USTACK_FUZZ_H
#define USTACK_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Every target has libFuzzer's interface, so that clang -fsanitize=fuzzer runs it as it is;
 * elsewhere standalone.c does. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Let one allocation fail: the one after `count` more; none with a negative count. */
void fail_allocation_after(int count);

/* A finding: the invariant that does not hold. */
static inline void require(int holds, const char *invariant)
{
    if (!holds) {
        fprintf(stderr, "invariant violated: %s\n", invariant);
        abort();
    }
}

/* A copy with guarded ends, to be freed by the caller. */
static inline uint8_t *guarded_copy(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size);

    require(copy != NULL || size == 0, "memory for the input");
    if (size > 0) {
        memcpy(copy, data, size);
    }
    return copy;
}

#endif
