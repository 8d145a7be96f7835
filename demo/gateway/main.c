// A sensor gateway for a boiler room, the only program of its machine. It reads
// its sensors for one shift and then checks everything it has stored.
//
// It has a bug. scripts/demo finds it.
#include <stdio.h>
#include <sys/reboot.h>
#include <time.h>
#include <unistd.h>

#include "channel.h"
#include "config.h"

enum { kTicks = 3000, kTickNs = 20 * 1000 * 1000, kOversampling = 64 };

static struct channel channels[kChannels];

/// What the sensor says now: the mean of many noisy conversions.
static int32_t sensor_read(const struct channel* channel, unsigned tick) {
  uint32_t noise = (channel->number + 1) * 2654435761u ^ tick * 40503u;
  int64_t sum = 0;
  for (int i = 0; i < kOversampling; i++) {
    noise ^= noise << 13;
    noise ^= noise >> 17;
    noise ^= noise << 5;
    sum += noise % (uint32_t)(channel->high - channel->low + 1);
  }
  return channel->low + (int32_t)(sum / kOversampling);
}

static void work(unsigned count) {
  const struct timespec tick_time = {0, kTickNs};
  for (unsigned tick = 0; tick < kTicks; tick++) {
    for (unsigned i = 0; i < count; i++) {
      const int32_t reading = sensor_read(&channels[i], tick);
      if (tick % channels[i].period == 0) channel_store(&channels[i], reading);
    }
    nanosleep(&tick_time, NULL);
  }
}

static void power_off(void) {
  fflush(stdout);
  reboot(RB_POWER_OFF);
}

__attribute__((noinline)) static void audit_failed(const struct channel* channel, unsigned slot) {
  printf("gateway: channel %u (%.*s): reading %u is %d, which its sensor cannot have said\n",
         channel->number, kLabelSize, channel->label, slot, channel->readings[slot]);
  power_off();
}

/// Only possible readings are stored, so an impossible one means lost memory.
static void audit(unsigned count) {
  for (unsigned i = 0; i < count; i++) {
    for (unsigned slot = 0; slot < kReadings; slot++) {
      const int32_t reading = channels[i].readings[slot];
      if (reading < channels[i].low || reading > channels[i].high) audit_failed(&channels[i], slot);
    }
  }
}

int main(void) {
  const unsigned count = configure("/etc/plant.conf", channels);
  printf("gateway: %u channels; the shift begins\n", count);
  work(count);
  printf("gateway: the shift is over; checking what was stored\n");
  audit(count);
  printf("gateway: all is well\n");
  power_off();
}
