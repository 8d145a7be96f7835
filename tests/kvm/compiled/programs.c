/* Small programs, as a compiler with control-flow protection makes them: PROGRAM
   chooses one. Each returns a value that depends on all it did. */
typedef unsigned int u32;
typedef unsigned long long u64;
typedef unsigned char u8;

static u64 state = 0x9e3779b97f4a7c15ull;
static u64 next(void) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}

static int compare(const void *a, const void *b) {
  const u32 x = *(const u32 *)a, y = *(const u32 *)b;
  return x < y ? -1 : x > y;
}
static void sort(void *base, u64 count, u64 size, int (*order)(const void *, const void *)) {
  u8 *bytes = base;
  for (u64 i = 1; i < count; ++i)
    for (u64 j = i; j > 0 && order(bytes + (j - 1) * size, bytes + j * size) > 0; --j)
      for (u64 k = 0; k < size; ++k) {
        const u8 byte = bytes[(j - 1) * size + k];
        bytes[(j - 1) * size + k] = bytes[j * size + k];
        bytes[j * size + k] = byte;
      }
}
u64 sorted(void) {
  u32 values[40];
  u64 sum = 0;
  for (u32 i = 0; i < 40; ++i) values[i] = (u32)next();
  sort(values, 40, sizeof *values, compare);
  for (u32 i = 0; i < 40; ++i) sum = sum * 31 + values[i];
  return sum;
}

static u64 fibonacci(u32 n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }
u64 recursion(void) { return fibonacci(15); }

u64 checksum(void) {
  u32 crc = ~0u;
  for (u32 i = 0; i < 400; ++i) {
    crc ^= (u8)next();
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) ? 0xedb88320u : 0);
  }
  return ~crc;
}

u64 sieve(void) {
  static u8 composite[2000];
  u64 primes = 0;
  for (u32 n = 2; n < sizeof composite; ++n) {
    if (composite[n]) continue;
    ++primes;
    for (u32 m = n * n; m < sizeof composite; m += n) composite[m] = 1;
  }
  return primes;
}

static u64 add(u64 a, u64 b) { return a + b; }
static u64 mix(u64 a, u64 b) { return (a << 5 | a >> 59) ^ b; }
static u64 scale(u64 a, u64 b) { return a * (b | 1); }
u64 function_table(void) {
  static u64 (*const volatile table[])(u64, u64) = {add, mix, scale};
  u64 value = 1;
  for (u32 i = 0; i < 600; ++i) value = table[next() % 3](value, i);
  return value;
}

static u64 dispatch(u32 code, u64 value) {
  switch (code) {
    case 0: return value + 1;
    case 1: return value * 3;
    case 2: return value ^ 0x5555;
    case 3: return value >> 1;
    case 4: return value - 7;
    case 5: return ~value;
    case 6: return value << 3;
    default: return value | 1;
  }
}
u64 jump_table(void) {
  u64 value = 1;
  for (u32 i = 0; i < 800; ++i) value = dispatch((u32)next() & 7, value);
  return value;
}

u64 matrices(void) {
  static double a[8][8], b[8][8], c[8][8];
  for (u32 i = 0; i < 8; ++i)
    for (u32 j = 0; j < 8; ++j) {
      a[i][j] = (double)(i * 8 + j) / 3;
      b[i][j] = (double)(next() & 0xffff) / 7;
    }
  for (u32 i = 0; i < 8; ++i)
    for (u32 j = 0; j < 8; ++j) {
      double sum = 0;
      for (u32 k = 0; k < 8; ++k) sum += a[i][k] * b[k][j];
      c[i][j] = sum;
    }
  double trace = 0;
  for (u32 i = 0; i < 8; ++i) trace += c[i][i];
  return (u64)trace;
}

u64 strings(void) {
  static char text[600], copy[600];
  for (u32 i = 0; i + 1 < sizeof text; ++i) text[i] = (char)('a' + next() % 26);
  __builtin_memcpy(copy, text, sizeof text);
  u64 length = __builtin_strlen(copy), hash = 5381;
  for (u64 i = 0; i < length; ++i) hash = hash * 33 + (u8)copy[length - 1 - i];
  return hash + (u64)__builtin_memcmp(copy, text, sizeof text);
}

/* What the compiler calls where it does not expand its builtins. */
void *memcpy(void *to, const void *from, unsigned long count) {
  void *start = to;
  __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
  return start;
}
int memcmp(const void *a, const void *b, unsigned long count) {
  for (unsigned long i = 0; i < count; ++i)
    if (((const u8 *)a)[i] != ((const u8 *)b)[i]) return ((const u8 *)a)[i] - ((const u8 *)b)[i];
  return 0;
}
unsigned long strlen(const char *text) {
  unsigned long n = 0;
  while (text[n]) ++n;
  return n;
}

u64 result;
void program(void) { result = PROGRAM(); }
