#include "disk.h"

enum {
  COMMAND_BLOCK = 0x1f0,
  MASTER = 0xc000, /* where we put it */
  READ_DMA = 0xc8,
  TO_MEMORY = 8,
  START = 1,
};

struct region {
  uint32_t address;
  uint16_t bytes;
  uint16_t flags;
};

static struct region table[1] __attribute__((aligned(8)));
static struct disk_request current;
static enum { AT_REST, SET_UP, BUSY } state;

static void out8(uint16_t port, uint8_t value) { __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port)); }
static void out32(uint16_t port, uint32_t value) { __asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port)); }
static uint8_t in8(uint16_t port) {
  uint8_t value;
  __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
  return value;
}

static void configure(uint8_t offset, uint32_t value) {
  out32(0xcf8, 0x80000900U | offset); /* 00:01.1 */
  out32(0xcfc, value);
}

void disk_open(void) {
  configure(0x20, MASTER);
  configure(0x04, 5); /* ports, and bus master */
}

void disk_submit(const struct disk_request* request) {
  current = *request;
  table[0].address = (uint32_t)request->buffer;
  table[0].bytes = (uint16_t)(request->sectors * SECTOR_BYTES);
  table[0].flags = 0x8000; /* the last one */
  state = SET_UP;
}

static void begin(void) {
  out32(MASTER + 4, (uint32_t)table);
  out8(MASTER + 2, 0x66);
  out8(MASTER, TO_MEMORY);
  out8(COMMAND_BLOCK + 6, 0xe0);
  out8(COMMAND_BLOCK + 2, (uint8_t)current.sectors);
  out8(COMMAND_BLOCK + 3, (uint8_t)current.sector);
  out8(COMMAND_BLOCK + 4, (uint8_t)(current.sector >> 8));
  out8(COMMAND_BLOCK + 5, (uint8_t)(current.sector >> 16));
  out8(COMMAND_BLOCK + 7, READ_DMA);
  out8(MASTER, TO_MEMORY | START);
  state = BUSY;
}

int disk_poll(void) {
  if (state == SET_UP) {
    begin();
  } else if (state == BUSY && (in8(MASTER + 2) & 4) != 0) {
    out8(MASTER, 0);
    (void)in8(COMMAND_BLOCK + 7);
    state = AT_REST;
  }
  return state == AT_REST;
}
