#include "channel.h"

static _Alignas(256) int32_t pool[kChannels][kReadings];

void channel_open(struct channel* channel, unsigned number, unsigned period, int32_t low,
                  int32_t high) {
  channel->number = number;
  channel->period = period;
  channel->low = low;
  channel->high = high;
  channel->readings = pool[number];
  for (unsigned i = 0; i < kReadings; i++) channel->readings[i] = low;
}

void channel_store(struct channel* channel, int32_t reading) {
  if (reading < channel->low || reading > channel->high) return;
  channel->readings[channel->next] = reading;
  channel->next = (channel->next + 1) % kReadings;
  channel->stored++;
}
