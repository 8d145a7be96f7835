/* A ledger on a disk. Sectors are read ahead; what nobody wants after all gives its buffer
 * back. */
#include <stddef.h>

#include "disk.h"

enum { BLOCKS = 4, BLOCK_BYTES = 4096, ACCOUNTS = 16, OPENING_BALANCE = 1200 };

struct account {
  uint32_t number;
  int32_t balance;
};

static uint8_t pool[BLOCKS][BLOCK_BYTES] __attribute__((aligned(4096)));
static uint8_t taken[BLOCKS];

static void* take_block(void) {
  for (int n = 0; n < BLOCKS; n++) {
    if (!taken[n]) {
      taken[n] = 1;
      return pool[n];
    }
  }
  return NULL;
}

static void give_block(void* block) { taken[((uint8_t(*)[BLOCK_BYTES])block) - pool] = 0; }

static struct disk_request ahead;

static void read_ahead(uint32_t sector) {
  ahead = (struct disk_request){.sector = sector, .sectors = BLOCK_BYTES / SECTOR_BYTES, .buffer = take_block()};
  disk_submit(&ahead);
}

/* The buffer goes back, and the disk still has its address. */
static void forget_ahead(void) {
  give_block(ahead.buffer);
  ahead.buffer = NULL;
}

static struct account* open_accounts(void) {
  struct account* accounts = take_block();
  for (uint32_t n = 0; n < ACCOUNTS; n++) {
    accounts[n] = (struct account){.number = 1000 + n, .balance = OPENING_BALANCE};
  }
  return accounts;
}

static int32_t transfers;

static void transfer(struct account* from, struct account* to, int32_t amount) {
  from->balance -= amount;
  to->balance += amount;
  transfers++;
}

__attribute__((noinline)) static int audit_failed(const struct account* accounts, int32_t sum) {
  (void)accounts;
  return sum == 0 ? 2 : 1;
}

static int audit(const struct account* accounts) {
  int32_t sum = 0;
  for (int n = 0; n < ACCOUNTS; n++) sum += accounts[n].balance;
  return sum == ACCOUNTS * OPENING_BALANCE ? 0 : audit_failed(accounts, sum);
}

int main(void) {
  disk_open();
  read_ahead(64);
  forget_ahead();
  struct account* accounts = open_accounts();
  for (int32_t n = 0; n < 3000000; n++) {
    transfer(&accounts[n % ACCOUNTS], &accounts[(n * 7 + 3) % ACCOUNTS], n % 50);
    if (n % 64 == 0) disk_poll();
  }
  return audit(accounts);
}
