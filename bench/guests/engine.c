/* What bench/engine has the guest do: one kind of work, so often as asked, as
 * /init's child. No C library. */
typedef unsigned long word;

static long call(long n, long a, long b, long c, long d, long e, long f) {
  register long r10 asm("r10") = d;
  register long r8 asm("r8") = e;
  register long r9 asm("r9") = f;
  long result;
  asm volatile("syscall"
               : "=a"(result)
               : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
               : "rcx", "r11", "memory");
  return result;
}

enum { kMmap = 9, kMunmap = 11, kNanosleep = 35, kGetppid = 110, kFork = 57, kExecve = 59, kExit = 60, kWait4 = 61 };

static char area[1 << 20];
static volatile word sink;

static void integers(word times) {
  word a = 1, b = 2, c = 3;
  for (word n = 0; n < times; ++n) {
    a += b ^ (c << 3);
    b -= a >> 5;
    c = c * 5 + n;
    asm volatile("" : "+r"(a), "+r"(b), "+r"(c));
  }
  sink = a + b + c;
}

static void memory(word times) {
  volatile word* words = (volatile word*)area;
  word at = 0;
  for (word n = 0; n < times; ++n) {
    words[at] += n;
    words[at + 1] = words[at + 2];
    at = (at + 8) & 0xffff;
  }
}

static void calls(word times) {
  for (word n = 0; n < times; ++n) call(kGetppid, 0, 0, 0, 0, 0, 0);
}

static void faults(word times) {
  for (word n = 0; n < times; n += 64) {
    char* pages = (char*)call(kMmap, 0, 64 * 4096, 3, 0x22, -1, 0);
    for (word k = 0; k < 64; ++k) pages[k * 4096] = 1;
    call(kMunmap, (long)pages, 64 * 4096, 0, 0, 0, 0);
  }
}

static void forks(word times, char* self) {
  char* const arguments[] = {self, 0};
  for (word n = 0; n < times; ++n) {
    const long child = call(kFork, 0, 0, 0, 0, 0, 0);
    if (child == 0) {
      call(kExecve, (long)self, (long)arguments, 0, 0, 0, 0);
      call(kExit, 1, 0, 0, 0, 0, 0);
    }
    call(kWait4, child, 0, 0, 0, 0, 0);
  }
}

/* mov $imm32, %eax; ret, with a new number each time */
static void new_code(word times) {
  unsigned char* code = (unsigned char*)call(kMmap, 0, 4096, 7, 0x22, -1, 0);
  code[0] = 0xb8;
  code[5] = 0xc3;
  for (word n = 0; n < times; ++n) {
    *(unsigned*)(code + 1) = (unsigned)n;
    sink += ((unsigned (*)(void))code)();
  }
}

/* Each sleep ends with an interrupt of a timer. */
static void timers(word times) {
  const long duration[2] = {0, 50000};
  for (word n = 0; n < times; ++n) call(kNanosleep, (long)duration, 0, 0, 0, 0, 0);
}

/* the first argument's first letter and a number */
__attribute__((used)) static void run(word* stack) {
  char** arguments = (char**)(stack + 1);
  if (stack[0] >= 3) {
    word times = 0;
    for (char* c = arguments[2]; *c != 0; ++c) times = times * 10 + (word)(*c - '0');
    switch (arguments[1][0]) {
      case 'i': integers(times); break;
      case 'm': memory(times); break;
      case 'c': calls(times); break;
      case 'p': faults(times); break;
      case 'f': forks(times, arguments[0]); break;
      case 's': new_code(times); break;
      case 't': timers(times); break;
    }
  }
  call(kExit, 0, 0, 0, 0, 0, 0);
}

asm(".globl _start\n_start: mov %rsp, %rdi\n and $-16, %rsp\n call run\n");
