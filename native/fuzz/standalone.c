/* Runs a target without libFuzzer: over the seeds, then over random mutations of them.
 *
 * Usage: TARGET SECONDS SEED SEEDS. SEEDS is a file with one input in hexadecimal a line; lines
 * that begin with # are comments. With 0 seconds only the inputs of the file are run: so a finding,
 * which is printed as such a line, is repeated. */

#define _POSIX_C_SOURCE 200809L

#include <ctype.h>
#include <sanitizer/common_interface_defs.h>
#include <time.h>

#include "fuzz.h"

enum {
    SEEDS_MOST = 256,
    INPUT_MOST = 4096,
    LINE_MOST = 2 * INPUT_MOST + 2,
    MUTATIONS_MOST = 8,
    ROUNDS_PER_LOOK_AT_THE_CLOCK = 1024,
};

struct input {
    uint8_t data[INPUT_MOST];
    size_t size;
};

struct corpus {
    struct input inputs[SEEDS_MOST];
    uint32_t count;
};

/* The input under test: the sanitizer's death callback takes no argument. */
static struct input current;

static void print_current(void)
{
    fprintf(stderr, "the input is:\n");
    for (size_t i = 0; i < current.size; i++) {
        fprintf(stderr, "%02x", current.data[i]);
    }
    fprintf(stderr, "\n");
}

static void run_current(void)
{
    uint8_t *copy = guarded_copy(current.data, current.size);

    LLVMFuzzerTestOneInput(copy, current.size);
    free(copy);
}

/* xorshift64*: Marsaglia 2003, Vigna 2016. */
static uint32_t next_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return (uint32_t)((*state * 0x2545F4914F6CDD1D) >> 32);
}

static size_t below(uint64_t *state, size_t limit)
{
    return next_random(state) % limit;
}

static void insert_byte(struct input *input, size_t place, uint8_t value)
{
    if (input->size < INPUT_MOST) {
        memmove(input->data + place + 1, input->data + place, input->size - place);
        input->data[place] = value;
        input->size++;
    }
}

static void remove_bytes(struct input *input, size_t place, size_t count)
{
    size_t left = input->size - place;

    count = count < left ? count : left;
    memmove(input->data + place, input->data + place + count, left - count);
    input->size -= count;
}

static void mutate(struct input *input, uint64_t *state)
{
    static const uint8_t telling[] = {0x00, 0x01, 0x05, 0x08, 0x0A, 0x50, 0x7F, 0x80,
                                      0xFF, 0x40, 0x45, 0x46, 0x60, 0x06, 0x11};
    size_t place;

    if (input->size == 0) {
        insert_byte(input, 0, (uint8_t)next_random(state));
        return;
    }
    place = below(state, input->size);
    switch (below(state, 6)) {
    case 0:
        input->data[place] ^= (uint8_t)(1U << below(state, 8));
        break;
    case 1:
        input->data[place] = (uint8_t)next_random(state);
        break;
    case 2:
        input->data[place] = telling[below(state, sizeof telling)];
        break;
    case 3:
        insert_byte(input, place, (uint8_t)next_random(state));
        break;
    case 4:
        remove_bytes(input, place, 1 + below(state, 8));
        break;
    default:
        remove_bytes(input, place, input->size);
        break;
    }
}

/* One line of hexadecimal digits. */
static void parse_line(const char *line, struct input *input)
{
    unsigned int byte;

    for (; input->size < INPUT_MOST && sscanf(line, "%2x", &byte) == 1; line += 2) {
        input->data[input->size++] = (uint8_t)byte;
    }
}

static void read_corpus(const char *path, struct corpus *corpus)
{
    char line[LINE_MOST];
    FILE *file = fopen(path, "r");

    require(file != NULL, "the file of seeds can be read");
    while (corpus->count < SEEDS_MOST && fgets(line, sizeof line, file) != NULL) {
        if (isxdigit((unsigned char)line[0])) {
            parse_line(line, &corpus->inputs[corpus->count++]);
        }
    }
    fclose(file);
    require(corpus->count > 0, "there is a seed");
}

static void run_mutations(const struct corpus *corpus, time_t seconds, uint64_t state)
{
    time_t end = time(NULL) + seconds;
    uint64_t rounds = 0;

    while (rounds % ROUNDS_PER_LOOK_AT_THE_CLOCK != 0 || time(NULL) < end) {
        size_t mutations = 1 + below(&state, MUTATIONS_MOST);
        current = corpus->inputs[below(&state, corpus->count)];
        for (size_t i = 0; i < mutations; i++) {
            mutate(&current, &state);
        }
        run_current();
        rounds++;
    }
    printf("%llu inputs\n", (unsigned long long)rounds);
}

int main(int count, char **arguments)
{
    struct corpus *corpus = calloc(1, sizeof *corpus);

    require(count == 4, "three arguments: seconds, seed, file of seeds");
    require(corpus != NULL, "memory for the seeds");
    __sanitizer_set_death_callback(print_current);
    read_corpus(arguments[3], corpus);
    for (uint32_t i = 0; i < corpus->count; i++) {
        current = corpus->inputs[i];
        run_current();
    }
    run_mutations(corpus, (time_t)strtol(arguments[1], NULL, 10),
                  strtoull(arguments[2], NULL, 10) * 2 + 1);
    free(corpus);
    return 0;
}
