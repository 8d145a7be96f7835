// The guest's end of the network campaign: serves TCP connections one after the other at
// port 7000 and counts datagrams at port 7001, until it is told to quit. The first byte
// of a connection says what it is for; numbers are of the processor's byte order.
//
//   i LENGTH BYTES  takes them, answers with their CRC-32
//   o LENGTH SEED   gives so many pseudo-random bytes, then their CRC-32
//   e BYTE          gives the byte back
//   u               answers how many datagrams came
//   q               quits
#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

static uint32_t table[4][256];
static uint8_t buffer[1 << 16];
static uint64_t datagrams;

static void make_table(void) {
  for (uint32_t n = 0; n < 256; ++n) {
    uint32_t crc = n;
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    table[0][n] = crc;
  }
  for (int n = 0; n < 256; ++n) {
    for (int k = 1; k < 4; ++k) table[k][n] = table[k - 1][n] >> 8 ^ table[0][table[k - 1][n] & 255];
  }
}

static uint32_t crc_of(uint32_t crc, const uint8_t* bytes, size_t count) {
  crc = ~crc;
  for (; count >= 4; bytes += 4, count -= 4) {
    crc ^= *(const uint32_t*)bytes;
    crc = table[3][crc & 255] ^ table[2][crc >> 8 & 255] ^ table[1][crc >> 16 & 255] ^ table[0][crc >> 24];
  }
  for (; count > 0; ++bytes, --count) crc = crc >> 8 ^ table[0][(crc ^ *bytes) & 255];
  return ~crc;
}

static int read_all(int peer, void* to, size_t count) {
  for (uint8_t* at = to; count > 0;) {
    const ssize_t got = read(peer, at, count);
    if (got <= 0) return 0;
    at += got;
    count -= (size_t)got;
  }
  return 1;
}

static int write_all(int peer, const void* from, size_t count) {
  for (const uint8_t* at = from; count > 0;) {
    const ssize_t done = write(peer, at, count);
    if (done <= 0) return 0;
    at += done;
    count -= (size_t)done;
  }
  return 1;
}

static void take_bytes(int peer) {
  uint64_t left = 0;
  uint32_t crc = 0;
  if (!read_all(peer, &left, sizeof left)) return;
  while (left > 0) {
    const ssize_t got = read(peer, buffer, left < sizeof buffer ? left : sizeof buffer);
    if (got <= 0) return;
    crc = crc_of(crc, buffer, (size_t)got);
    left -= (uint64_t)got;
  }
  write_all(peer, &crc, sizeof crc);
}

static void give_bytes(int peer) {
  uint64_t order[2] = {0, 0};  // how many, and the seed
  uint32_t crc = 0;
  if (!read_all(peer, order, sizeof order)) return;
  for (uint64_t random = order[1] | 1; order[0] > 0;) {
    const size_t count = order[0] < sizeof buffer ? order[0] : sizeof buffer;
    for (size_t n = 0; n < sizeof buffer / 8; ++n) {
      random ^= random << 13;
      random ^= random >> 7;
      random ^= random << 17;
      ((uint64_t*)buffer)[n] = random;
    }
    crc = crc_of(crc, buffer, count);
    if (!write_all(peer, buffer, count)) return;
    order[0] -= count;
  }
  write_all(peer, &crc, sizeof crc);
}

/// @return 0 to quit
static int serve(int peer) {
  uint8_t what[2] = {0, 0};
  if (!read_all(peer, what, 1)) return 1;
  if (what[0] == 'i') take_bytes(peer);
  if (what[0] == 'o') give_bytes(peer);
  if (what[0] == 'e' && read_all(peer, what + 1, 1)) write_all(peer, what + 1, 1);
  if (what[0] == 'u') write_all(peer, &datagrams, sizeof datagrams);
  return what[0] != 'q';
}

int main(void) {
  make_table();
  const int tcp = socket(AF_INET, SOCK_STREAM, 0);
  const int udp = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(7000)};
  const int on = 1;
  setsockopt(tcp, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(tcp, (struct sockaddr*)&address, sizeof address) != 0 || listen(tcp, 64) != 0) return 2;
  address.sin_port = htons(7001);
  if (bind(udp, (struct sockaddr*)&address, sizeof address) != 0) return 2;
  dprintf(1, "LISTENING\n");
  while (1) {
    struct pollfd wait[2] = {{tcp, POLLIN, 0}, {udp, POLLIN, 0}};
    if (poll(wait, 2, -1) < 0) return 3;
    while (recv(udp, buffer, sizeof buffer, 0) >= 0) ++datagrams;
    if ((wait[0].revents & POLLIN) == 0) continue;
    const int peer = accept(tcp, NULL, NULL);
    if (peer < 0) continue;
    const int again = serve(peer);
    close(peer);
    if (!again) break;
  }
  dprintf(1, "QUIT after %llu datagrams\n", (unsigned long long)datagrams);
  return 0;
}
