#ifndef USTACK_DEVICE_H
#define USTACK_DEVICE_H

#include <stdint.h>

#include "ustack/burst.h"

/* Read frames from a non-blocking descriptor until it would block, the burst has no room for one of
 * FRAME_MAX or `frames` were read. With `vnet_header` each read starts with a struct virtio_net_hdr
 * of 10 bytes, which fills the frame's offload fields; what in it does not fit the frame is left
 * out. Returns how many were read, or -errno if the first read failed: -EAGAIN where nothing is
 * there, -ENODEV where the other end is closed. */
int device_read(int descriptor, struct burst *burst, int vnet_header, uint32_t frames);

/* Write the frames from index `first` on, one write each; returns how many were written, or -errno
 * if the first failed. An error of a later one ends the call with those written so far. A frame
 * that needs an offload which burst->offload lacks, or any without `vnet_header`, is refused with
 * -EINVAL before the write, as the kernel itself would: the caller cuts or completes it. */
int device_write(int descriptor, struct burst *burst, int vnet_header, uint32_t first);

#endif
