/* An IDE disk that is read by bus-master DMA, one request at a time. */
#pragma once

#include <stdint.h>

enum { SECTOR_BYTES = 512 };

struct disk_request {
  uint32_t sector;
  uint32_t sectors;
  void* buffer;
};

/* Finds the bus master. */
void disk_open(void);
/* Sets a request up. It begins with the next disk_poll(). */
void disk_submit(const struct disk_request* request);
/* Begins what was set up, and notices what is done. Returns whether the disk is at rest. */
int disk_poll(void);
