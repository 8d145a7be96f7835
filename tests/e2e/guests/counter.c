/* A TCP server that counts: each request of 4 bytes is an increment, and is answered with the
 * count and a checksum over all counts so far. One connection at a time. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

static int read_all(int from, void* data, size_t size) {
  for (size_t done = 0; done < size;) {
    ssize_t got = read(from, (char*)data + done, size - done);
    if (got <= 0) return 0;
    done += (size_t)got;
  }
  return 1;
}

int main(void) {
  const int one = 1;
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in place = {.sin_family = AF_INET, .sin_port = htons(7000)};
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(listener, (struct sockaddr*)&place, sizeof place) != 0 || listen(listener, 4) != 0) {
    perror("counter");
    return 1;
  }
  puts("COUNTING");
  fflush(stdout);
  uint32_t count = 0;
  uint32_t checksum = 1;
  for (;;) {
    int peer = accept(listener, NULL, NULL);
    if (peer < 0) continue;
    setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    uint32_t request;
    while (read_all(peer, &request, sizeof request)) {
      ++count;
      checksum = checksum * 31 + count;
      uint32_t answer[2] = {htonl(count), htonl(checksum)};
      if (write(peer, answer, sizeof answer) != sizeof answer) break;
    }
    close(peer);
  }
}
