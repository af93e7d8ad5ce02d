/* packet_describe over any bytes: what it says lies within the frame. The first byte of the input
 * holds the frame's flags and whether the IPv4 header checksum is made right, the next two the size
 * of the segments. */

#include "fuzz.h"
#include "ustack/checksum.h"
#include "ustack/packet.h"

enum {
    PREFIX = 3,
    REPAIR = 0x80,
};

static void repair(uint8_t *frame, size_t length)
{
    uint16_t checksum;

    if (length < 20) {
        return;
    }
    frame[10] = 0;
    frame[11] = 0;
    checksum = checksum_compute(frame, 20, 0);
    frame[10] = (uint8_t)(checksum >> 8);
    frame[11] = (uint8_t)checksum;
}

static int lies_within(const uint8_t *frame, size_t length, const uint8_t *part, size_t part_length)
{
    return part >= frame && part <= frame + length &&
           part_length <= (size_t)(frame + length - part);
}

static void check(const uint8_t *frame, size_t length, const struct packet *packet)
{
    uint32_t address_length = packet->version == 4 ? 4 : 16;

    require(packet->version == 4 || packet->version == 6, "version is 4 or 6");
    require(packet->protocol == 6 || packet->protocol == 17, "protocol is TCP or UDP");
    require(packet->address_length == address_length, "addresses are as long as the version says");
    require(packet->ttl > 0, "a dead packet is not simple");
    require(lies_within(frame, length, packet->source, address_length), "source is in the frame");
    require(lies_within(frame, length, packet->destination, address_length),
            "destination is in the frame");
    require(lies_within(frame, length, packet->payload, packet->payload_length),
            "payload is in the frame");
    require(packet->payload == frame + packet->header_length, "payload follows the headers");
    require(packet->gso_size == 0 || packet->gso_size < packet->payload_length,
            "a super-segment is longer than a segment");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct packet packet;
    uint8_t *frame;
    size_t length;

    if (size < PREFIX) {
        return 0;
    }
    length = size - PREFIX;
    frame = guarded_copy(data + PREFIX, length);
    if (data[0] & REPAIR) {
        repair(frame, length);
    }
    if (packet_describe(frame, (uint32_t)length, data[0] & 3, (uint16_t)(data[1] << 8 | data[2]),
                        &packet) == PACKET_OK) {
        check(frame, length, &packet);
    }
    free(frame);
    return 0;
}
