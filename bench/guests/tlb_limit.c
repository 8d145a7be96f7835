/* The limit that a translator with a TLB in software has: the memory loop of engine.c on
 * the host, each access behind the comparison that emitted code makes. No C library's
 * part in it; the argument says how often. */
#include <stdint.h>
#include <stdlib.h>

typedef uint64_t word;

enum { kEntries = 1024 };
static struct Entry {
  word read_tag, write_tag, host_minus_linear, spare;
} tlb[kEntries] __attribute__((aligned(32)));
static char area[1 << 20] __attribute__((aligned(4096)));
/* Where the guest believes its area to be. */
static const word kLinear = 0x403020;

static inline volatile word* place(word linear, int write) {
  const struct Entry* entry = &tlb[(linear >> 12) & (kEntries - 1)];
  const word tag = write ? *(volatile const word*)&entry->write_tag : *(volatile const word*)&entry->read_tag;
  if (__builtin_expect(tag != ((linear + 7) & ~(word)4095), 0)) abort();
  return (volatile word*)(linear + *(volatile const word*)&entry->host_minus_linear);
}

int main(int argc, char** argv) {
  const word times = argc > 1 ? strtoull(argv[1], 0, 10) : 0;
  for (word page = kLinear >> 12; page <= (kLinear + sizeof area - 1) >> 12; ++page) {
    struct Entry* entry = &tlb[page & (kEntries - 1)];
    entry->read_tag = entry->write_tag = page << 12;
    entry->host_minus_linear = (word)area - (kLinear & ~(word)4095);
  }
  word at = 0;
  for (word n = 0; n < times; ++n) {
    const word base = kLinear + at * 8;
    const word sum = *place(base, 0) + n;
    *place(base, 1) = sum;
    const word moved = *place(base + 16, 0);
    *place(base + 8, 1) = moved;
    at = (at + 8) & 0xffff;
  }
  return 0;
}
