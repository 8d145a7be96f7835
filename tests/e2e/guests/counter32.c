/* The server of counter.c without a system beneath it, for whoever starts a guest many times:
 * ARP, IPv4 and a TCP of one connection on an e1000, looked at 250 times a second. A request of
 * 4 bytes at port 7000 is an increment, and is answered with the count and a checksum over all
 * counts so far. With bit 31 it is a sector of the first IDE disk to read, answered with the
 * drive's error bits and the sector's first 4 bytes; with bit 30 besides one to write, which
 * then begins with the request; with bit 29 so many turns of a loop to make. */
#include <stdint.h>

__asm__(
    ".section .multiboot, \"a\"\n"
    ".balign 4\n"
    ".long 0x1badb002, 0, -0x1badb002\n"
    ".text\n"
    ".globl start\n"
    "start: mov $stack_top, %esp\n"
    "call c_main\n"
    "1: hlt\n"
    "jmp 1b\n"
    "tick: push %eax\n"
    "mov $0x20, %al\n"
    "out %al, $0x20\n"
    "incl ticks\n"
    "pop %eax\n"
    "iret\n"
    ".bss\n"
    ".balign 16\n"
    ".space 8192\n"
    "stack_top:\n"
    ".text\n");

extern char tick[];
volatile uint32_t ticks __attribute__((section(".data"))) = 1;
/* For whoever looks for this guest in a host's memory; on the page of what always changes. */
volatile char mark[32] = "counter32 is here: ";

enum { TICKS_A_SECOND = 250, AGAIN = TICKS_A_SECOND / 5, PORT = 7000, RECEIVED = 16, SENT = 8, ROOM = 2048 };

static void out8(uint16_t port, uint8_t value) { __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port)); }
static uint8_t in8(uint16_t port) {
  uint8_t value;
  __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
  return value;
}
static void out32(uint16_t port, uint32_t value) { __asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port)); }
static uint32_t in32(uint16_t port) {
  uint32_t value;
  __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
  return value;
}

static void copy(void* to, const void* from, uint32_t size) {
  for (uint32_t n = 0; n < size; ++n) ((uint8_t*)to)[n] = ((const uint8_t*)from)[n];
}
static int same(const void* a, const void* b, uint32_t size) {
  for (uint32_t n = 0; n < size; ++n) {
    if (((const uint8_t*)a)[n] != ((const uint8_t*)b)[n]) return 0;
  }
  return 1;
}
static uint32_t get(const uint8_t* at, int size) {
  uint32_t value = 0;
  while (size-- > 0) value = value << 8 | *at++;
  return value;
}
static void put(uint8_t* at, uint32_t value, int size) {
  while (size-- > 0) at[size] = (uint8_t)value, value >>= 8;
}

/* ---- interrupts and time ---- */

static struct {
  uint16_t low, selector, kind, high;
} gates[48] __attribute__((aligned(8)));

static void begin_time(void) {
  uint16_t code;
  __asm__("mov %%cs, %0" : "=r"(code));
  for (int n = 0; n < 48; ++n) {
    gates[n].low = (uint16_t)(uint32_t)tick;
    gates[n].high = (uint16_t)((uint32_t)tick >> 16);
    gates[n].selector = code;
    gates[n].kind = 0x8e00;
  }
  struct {
    uint16_t size;
    const void* table;
  } __attribute__((packed)) place = {sizeof gates - 1, gates};
  __asm__ volatile("lidt %0" : : "m"(place));
  static const uint8_t both[2][4] = {{0x11, 0x20, 4, 1}, {0x11, 0x28, 2, 1}};
  for (int chip = 0; chip < 2; ++chip) {
    const uint16_t port = chip == 0 ? 0x20 : 0xa0;
    out8(port, both[chip][0]);
    for (int n = 1; n < 4; ++n) out8(port + 1, both[chip][n]);
  }
  out8(0x21, 0xfe);
  out8(0xa1, 0xff);
  const uint32_t divisor = 1193182 / TICKS_A_SECOND;
  out8(0x43, 0x34);
  out8(0x40, (uint8_t)divisor);
  out8(0x40, (uint8_t)(divisor >> 8));
}

/* ---- the card ---- */

struct receive {
  uint32_t address, high;
  uint16_t length, checksum;
  uint8_t status, errors;
  uint16_t special;
};
struct send {
  uint32_t address, high;
  uint16_t length;
  uint8_t offset, command, status, start;
  uint16_t special;
};
static volatile struct receive receives[RECEIVED] __attribute__((aligned(128)));
static volatile struct send sends[SENT] __attribute__((aligned(128)));
static uint8_t received[RECEIVED][ROOM], sent[SENT][ROOM];
static volatile uint32_t* card;
static uint32_t next_received, next_sent;
static uint8_t own[6];

static volatile uint32_t* reg(uint32_t offset) { return card + offset / 4; }

static int find_card(void) {
  for (uint32_t device = 0; device < 32; ++device) {
    const uint32_t place = 0x80000000u | device << 11;
    out32(0xcf8, place);
    if (in32(0xcfc) != 0x100e8086) continue;
    out32(0xcf8, place | 0x10);
    out32(0xcfc, 0xfeb00000);
    out32(0xcf8, place | 4);
    out32(0xcfc, 6);
    card = (volatile uint32_t*)0xfeb00000;
    return 1;
  }
  return 0;
}

static void begin_card(void) {
  put(own, __builtin_bswap32(*reg(0x5400)), 4);
  put(own + 4, __builtin_bswap32(*reg(0x5404)) >> 16, 2);
  for (int n = 0; n < RECEIVED; ++n) receives[n].address = (uint32_t)received[n];
  *reg(0x2800) = (uint32_t)receives;
  *reg(0x2804) = 0;
  *reg(0x2808) = sizeof receives;
  *reg(0x2810) = 0;
  *reg(0x2818) = RECEIVED - 1;
  *reg(0x3800) = (uint32_t)sends;
  *reg(0x3804) = 0;
  *reg(0x3808) = sizeof sends;
  *reg(0x3810) = 0;
  *reg(0x3818) = 0;
  *reg(0) = *reg(0) | 0x40;  /* the link is set up */
  *reg(0x400) = 0x2 | 0x8;   /* transmit, short frames are filled up */
  *reg(0x100) = 0x2 | 0x8000 | 0x4000000;
}

static void put_frame(const uint8_t* frame, uint32_t size) {
  copy(sent[next_sent], frame, size);
  volatile struct send* place = &sends[next_sent];
  place->address = (uint32_t)sent[next_sent];
  place->length = (uint16_t)size;
  place->command = 0xb;
  place->status = 0;
  next_sent = (next_sent + 1) % SENT;
  *reg(0x3818) = next_sent;
  while ((place->status & 1) == 0) {
  }
}

/* ---- the disk ---- */

static uint32_t words[128];

/* @return the error bits of its status; 0: done */
static uint8_t move_sector(uint32_t sector, int writes) {
  out32(0xcf8, 0x80000904);
  out32(0xcfc, 5);
  out8(0x1f6, 0xe0);
  out8(0x1f2, 1);
  for (int n = 0; n < 3; ++n) out8((uint16_t)(0x1f3 + n), (uint8_t)(sector >> 8 * n));
  out8(0x1f7, writes ? 0x30 : 0x20);
  uint8_t status;
  do {
    status = in8(0x1f7);
  } while (status & 0x80);
  if (status & 0x21) return status & 0x21;
  uint32_t left = 128;
  uint32_t* at = words;
  if (writes) {
    __asm__ volatile("rep outsl" : "+S"(at), "+c"(left) : "d"(0x1f0) : "memory");
  } else {
    __asm__ volatile("rep insl" : "+D"(at), "+c"(left) : "d"(0x1f0) : "memory");
  }
  do {
    status = in8(0x1f7);
  } while (status & 0x80);
  return status & 0x21;
}

/* ---- the network ---- */

static const uint8_t kOwn[4] = {10, 1, 0, 1};
enum { SYN = 2, RST = 4, PSH = 8, ACK = 16 };

/* The connection. */
static uint8_t peer[6], peer_ip[4];
static uint16_t peer_port;
static int is_open;
static uint32_t wanted, next, acknowledged, sent_at;
static uint8_t answer[8];
static uint32_t count, sum;

static uint32_t add(uint32_t total, const uint8_t* bytes, uint32_t size) {
  for (uint32_t n = 0; n < size; ++n) total += (uint32_t)bytes[n] << (n % 2 == 0 ? 8 : 0);
  return total;
}
static uint16_t fold(uint32_t total) {
  while (total >> 16) total = (total & 0xffff) + (total >> 16);
  return (uint16_t)~total;
}
static uint32_t pseudo(const uint8_t* ip, uint32_t size) { return add(6 + size, ip + 12, 8); }

static void put_segment(uint8_t flags, uint32_t sequence, const uint8_t* payload, uint32_t size) {
  uint8_t frame[80] = {0};
  copy(frame, peer, 6);
  copy(frame + 6, own, 6);
  put(frame + 12, 0x0800, 2);
  uint8_t* ip = frame + 14;
  uint8_t* tcp = ip + 20;
  put(ip, 0x4500, 2);
  put(ip + 2, 40 + size, 2);
  put(ip + 8, 0x4006, 2);
  copy(ip + 12, kOwn, 4);
  copy(ip + 16, peer_ip, 4);
  put(ip + 10, fold(add(0, ip, 20)), 2);
  put(tcp, PORT, 2);
  put(tcp + 2, peer_port, 2);
  put(tcp + 4, sequence, 4);
  put(tcp + 8, wanted, 4);
  put(tcp + 12, 0x5000u | flags, 2);
  put(tcp + 14, 1024, 2);
  copy(tcp + 20, payload, size);
  put(tcp + 16, fold(add(pseudo(ip, 20 + size), tcp, 20 + size)), 2);
  put_frame(frame, 54 + size < 60 ? 60 : 54 + size);
}

/* What has not been acknowledged, or just how far all is here. */
static void say(void) {
  if (acknowledged != next) {
    put_segment(PSH | ACK, acknowledged, answer, next - acknowledged);
    sent_at = ticks;
  } else {
    put_segment(ACK, next, answer, 0);
  }
}

static void take_request(uint32_t request) {
  next += sizeof answer;
  if (request >> 31) {
    const int writes = request >> 30 & 1;
    if (request >> 29 & 1) {
      for (volatile uint32_t left = request & 0xffffff; left != 0;) --left;
      put(answer, 0, 4);
      put(answer + 4, 0, 4);
      return;
    }
    words[0] = writes ? request : 0;
    put(answer, move_sector(request & 0xffffff, writes), 4);
    put(answer + 4, words[0], 4);
    return;
  }
  ++count;
  sum = sum * 31 + count;
  put(answer, count, 4);
  put(answer + 4, sum, 4);
}

static void take_segment(const uint8_t* frame, const uint8_t* ip, uint32_t size) {
  const uint8_t* tcp = ip + 20;
  const uint32_t head = (uint32_t)(tcp[12] >> 4) * 4;
  if (size < head || head < 20 || get(tcp + 2, 2) != PORT || fold(add(pseudo(ip, size), tcp, size)) != 0) return;
  const uint32_t sequence = get(tcp + 4, 4), seen = get(tcp + 8, 4), length = size - head;
  if (tcp[13] & SYN) {
    copy(peer, frame + 6, 6);
    copy(peer_ip, ip + 12, 4);
    peer_port = (uint16_t)get(tcp, 2);
    wanted = sequence + 1;
    next = acknowledged = 0x10000;
    is_open = 0;
    count = 0;
    sum = 1;
    put_segment(SYN | ACK, next - 1, answer, 0);
    return;
  }
  if (get(tcp, 2) != peer_port || !same(ip + 12, peer_ip, 4) || (tcp[13] & ACK) == 0) return;
  is_open = 1;
  if (seen == next) acknowledged = next;
  if (length == 0) return;
  if (sequence == wanted && length == 4 && acknowledged == next) {
    wanted += length;
    take_request(get(tcp + head, 4));
  }
  say();
}

static void take_frame(const uint8_t* frame, uint32_t size) {
  const uint32_t kind = get(frame + 12, 2);
  if (kind == 0x0806 && size >= 42 && get(frame + 20, 2) == 1 && same(frame + 38, kOwn, 4)) {
    uint8_t reply[60] = {0};
    copy(reply, frame + 6, 6);
    copy(reply + 6, own, 6);
    copy(reply + 12, frame + 12, 8);
    put(reply + 20, 2, 2);
    copy(reply + 22, own, 6);
    copy(reply + 28, kOwn, 4);
    copy(reply + 32, frame + 22, 10);
    put_frame(reply, sizeof reply);
  } else if (kind == 0x0800 && size >= 54) {
    const uint8_t* ip = frame + 14;
    const uint32_t length = get(ip + 2, 2);
    const int ours = ip[0] == 0x45 && ip[9] == 6 && same(ip + 16, kOwn, 4) && fold(add(0, ip, 20)) == 0;
    if (ours && length >= 40 && length <= size - 14) take_segment(frame, ip, length - 20);
  }
}

void c_main(void) {
  begin_time();
  if (!find_card()) return;
  begin_card();
  for (const char* text = "COUNTING\n"; *text != 0; ++text) out8(0x3f8, (uint8_t)*text);
  for (;;) {
    while (receives[next_received].status & 1) {
      take_frame(received[next_received], receives[next_received].length);
      receives[next_received].status = 0;
      *reg(0x2818) = next_received;
      next_received = (next_received + 1) % RECEIVED;
    }
    if (is_open && acknowledged != next && ticks - sent_at >= AGAIN) say();
    __asm__ volatile("sti; hlt; cli");
  }
}
