#ifndef USTACK_DEVICE_H
#define USTACK_DEVICE_H

#include <stdint.h>

#include "ustack/burst.h"

/* Read frames from a non-blocking descriptor until it would block, the burst is full or `frames` were read. With `vnet_header`
 * each read starts with a struct virtio_net_hdr of 10 bytes, which fills the frame's offload fields. Returns how many were
 * read, or -errno if the first read failed (-EAGAIN: nothing there). */
int device_read(int descriptor, struct burst *burst, int vnet_header, uint32_t frames);

/* Write the frames from index `first` on, one write each; returns how many were written, or -errno if the first failed. An
 * EINVAL, EIO or ENOBUFS of a later one ends the call with those written so far. */
int device_write(int descriptor, struct burst *burst, int vnet_header, uint32_t first);

#endif
