// SPDX-License-Identifier: MIT
// The two 8237A DMA controllers of the AT with their page registers.
//
//     if (dma_ready(dma, 2)) n = dma_transfer(dma, 2, sector, 512, true, &end);
#ifndef DEV_DMA_H
#define DEV_DMA_H

#include "bus/bus.h"

typedef struct Dma Dma;

Dma *dma_new(Bus *bus);
void dma_free(Dma *dma);

// Would a request on channel 0-3 or 5-7 be granted now: controller on, channel not masked?
bool dma_ready(const Dma *dma, unsigned channel);

// The device's DREQ line, as the status register shows it. dma_transfer needs no request.
void dma_request(Dma *dma, unsigned channel, bool level);

// Transfers up to `bytes` (even on channels 5-7) between `buf` and memory where the channel points;
// stops at terminal count, which it reports. Returns the bytes transferred: 0 when the channel is
// not ready. `to_memory` is what the device does; a channel that was programmed the other way
// transfers nothing but counts (the device reads zeros), as in verify mode.
u32 dma_transfer(Dma *dma, unsigned channel, void *buf, u32 bytes, bool to_memory,
                 bool *terminal_count);

#endif
