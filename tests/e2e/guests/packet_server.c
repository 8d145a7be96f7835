// A server that keeps the latest name of each of its clients, by UDP. One packet in a
// hundred thousand says of its name that it is longer than there is room for.
#include <arpa/inet.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct client {
  char name[16];
  uint64_t* count;
};

struct packet {
  uint8_t client;
  uint8_t length;
  char name[62];
};

static uint64_t counts[64];
static struct client clients[64];
static uint64_t served;

__attribute__((noinline)) static void crashed(int signal) {
  (void)signal;
  dprintf(1, "server: crashed after %llu packets\n", (unsigned long long)served);
  _exit(1);
}

__attribute__((noinline)) static void take(const struct packet* packet) {
  struct client* client = &clients[packet->client % 64];
  ++*client->count;
  ++served;
  memcpy(client->name, packet->name, packet->length);
}

int main(void) {
  for (int n = 0; n < 64; ++n) clients[n].count = &counts[n];
  signal(SIGSEGV, crashed);
  signal(SIGBUS, crashed);
  const int server = socket(AF_INET, SOCK_DGRAM, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(9000)};
  if (bind(server, (struct sockaddr*)&address, sizeof address) != 0) return 2;
  int room = 8 << 20;
  setsockopt(server, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
  dprintf(1, "server: ready\n");
  struct packet packet;
  while (recv(server, &packet, sizeof packet, 0) > 0) take(&packet);
  return 0;
}
