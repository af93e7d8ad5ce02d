#ifndef USTACK_BURST_H
#define USTACK_BURST_H

#include <stdint.h>

/* A burst is an arena of frames on their way between a device and the stack. A frame starts at the
 * IP header. */

enum {
    BURST_FRAMES = 256,    /* frames in one burst, at most */
    FRAME_MAX = 65535,     /* bytes in one frame, at most */
    FRAME_HEADROOM = 10,   /* bytes kept free before each frame, for a struct virtio_net_hdr */
    BURST_BYTES = 1 << 20, /* default arena */
};

/* What the device vouches for, or asks for: the fields of struct virtio_net_hdr that matter
 * (virtio 1.2 §5.1.6). With NEEDS_CHECKSUM the transport checksum holds the pseudo-header's sum
 * only, with the length of the whole super-segment, and the payload is trusted. */
enum {
    FRAME_NEEDS_CHECKSUM = 1,
    FRAME_DATA_VALID = 2, /* the device has verified the checksum */
};
enum {
    GSO_NONE = 0,
    GSO_TCPV4 = 1,
    GSO_TCPV6 = 4,
    GSO_UDP_L4 = 5,
};
/* Offloads that a device grants. */
enum {
    OFFLOAD_CHECKSUM = 1,
    OFFLOAD_TSO4 = 2,
    OFFLOAD_TSO6 = 4,
    OFFLOAD_USO = 8,
};

struct frame {
    uint32_t offset; /* in the arena */
    uint32_t length;
    uint8_t flags;          /* FRAME_ */
    uint8_t gso_type;       /* GSO_ */
    uint16_t gso_size;      /* payload bytes of each segment */
    uint16_t header_length; /* with GSO: bytes of all headers; as read, the device's hint of them */
    uint16_t checksum_start;  /* where the checksum's cover begins, with FRAME_NEEDS_CHECKSUM */
    uint16_t checksum_offset; /* of the checksum field from there */
};

struct burst {
    uint8_t *data;
    uint32_t capacity; /* bytes of the arena */
    uint32_t used;     /* bytes taken */
    uint32_t count;    /* frames */
    uint32_t offload;  /* OFFLOAD_ bits of the device that this burst goes to */
    uint32_t mtu;      /* of that device */
    uint32_t refused;  /* frames that did not fit since the burst was made */
    struct frame frames[256];
};

/* A burst with an arena of `capacity` bytes (at least FRAME_HEADROOM + FRAME_MAX), or NULL without
 * memory. Freed by burst_free. */
struct burst *burst_new(uint32_t capacity);
void burst_free(struct burst *burst);

/* Forget all frames. */
void burst_clear(struct burst *burst);

/* Forget the first `count` frames; the others move to the front, the arena's room is regained when
 * none is left. */
void burst_drop(struct burst *burst, uint32_t count);

/* Room for a frame of `length` bytes: its bytes, to be written by the caller; NULL if it does not
 * fit (then `refused` counts one). The frame's offload fields are zero. */
uint8_t *burst_reserve(struct burst *burst, uint32_t length);

/* Append a copy of a frame; 0, or -1 if it does not fit. */
int burst_append(struct burst *burst, const uint8_t *data, uint32_t length);

/* Append a frame of another burst with its offload fields; 0, or -1 if it does not fit. */
int burst_append_frame(struct burst *burst, const struct burst *from, uint32_t index);

/* Whether a frame of `length` bytes would fit. */
int burst_fits(const struct burst *burst, uint32_t length);

/* Whether `frames` frames, none over FRAME_MAX and of `bytes` bytes together, would fit. */
int burst_fits_all(const struct burst *burst, uint32_t frames, uint64_t bytes);

/* Complete the transport checksum of a frame with FRAME_NEEDS_CHECKSUM and clear the flag; 0, or -1
 * if its offsets do not fit the frame. A frame without the flag is left as it is. GSO frames get
 * the checksum over the whole frame. */
int burst_complete_checksum(struct burst *burst, uint32_t index);

#endif
