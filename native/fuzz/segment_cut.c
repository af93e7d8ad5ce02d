/* segment_cut over any bytes: the segments hold the payload once and in order, and their checksums
 * are right. The first two bytes of the input are the size of the segments. */

#include "fuzz.h"
#include "ustack/checksum.h"
#include "ustack/segment.h"

enum {
    PREFIX = 2,
    TCP = 6,
};

/* What is the same in all segments of a frame. */
struct shape {
    uint32_t ip_length;
    uint32_t header_length;
    uint8_t protocol;
};

static struct shape shape_of(const uint8_t *frame)
{
    struct shape shape = {40, 0, frame[6]};

    if (frame[0] >> 4 == 4) {
        shape.ip_length = (frame[0] & 0x0FU) * 4;
        shape.protocol = frame[9];
    }
    shape.header_length = shape.ip_length + 8;
    if (shape.protocol == TCP) {
        shape.header_length = shape.ip_length + (frame[shape.ip_length + 12] >> 4) * 4U;
    }
    return shape;
}

static void check_checksums(const uint8_t *segment, uint32_t length, const struct shape *shape)
{
    uint32_t address_length = segment[0] >> 4 == 4 ? 4 : 16;
    const uint8_t *source = segment + (address_length == 4 ? 12 : 8);
    uint32_t transport_length = length - shape->ip_length;
    uint16_t pseudo = checksum_pseudo(source, source + address_length, address_length,
                                      shape->protocol, transport_length);

    require(checksum_add(segment + shape->ip_length, transport_length, pseudo) == 0xFFFF,
            "the transport checksum is right");
    require(address_length == 16 || checksum_add(segment, shape->ip_length, 0) == 0xFFFF,
            "the header checksum is right");
}

static void check(const struct burst *burst, const uint8_t *frame, size_t length, uint16_t gso_size)
{
    struct shape shape = shape_of(frame);
    uint32_t offset = shape.header_length;

    for (uint32_t i = 0; i < burst->count; i++) {
        const struct frame *segment = &burst->frames[i];
        const uint8_t *data = burst->data + segment->offset;
        uint32_t payload = segment->length - shape.header_length;
        require(payload <= gso_size, "no segment is longer than asked for");
        require(payload == gso_size || i + 1 == burst->count, "only the last segment is shorter");
        require(offset + payload <= length, "the payload is the frame's");
        require(memcmp(data + shape.header_length, frame + offset, payload) == 0,
                "the payload is in order");
        check_checksums(data, segment->length, &shape);
        offset += payload;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint16_t gso_size;
    struct burst *burst;
    uint8_t *frame;
    int result;

    if (size < PREFIX) {
        return 0;
    }
    gso_size = (uint16_t)(data[0] << 8 | data[1]);
    frame = guarded_copy(data + PREFIX, size - PREFIX);
    burst = burst_new(0);
    require(burst != NULL, "memory for a burst");
    result = segment_cut(burst, frame, (uint32_t)(size - PREFIX), gso_size);
    require(result == 0 || burst->count == 0, "all segments or none");
    if (result == 0) {
        check(burst, frame, size - PREFIX, gso_size);
    }
    burst_free(burst);
    free(frame);
    return 0;
}
