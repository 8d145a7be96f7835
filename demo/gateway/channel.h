// A channel is one sensor of the plant: what it measures, how often, and its
// last readings. Readings live in a common pool, a ring for each channel.
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { kChannels = 12, kReadings = 24, kLabelSize = 16 };

struct channel {
  unsigned number;
  unsigned period;    // ticks between two readings
  int32_t low, high;  // what the sensor can say
  char label[kLabelSize];
  int32_t* readings;  // kReadings of them, in the pool
  unsigned next;      // where the next one goes
  uint32_t stored;
};

/// Sets up `channel` with a ring of readings from the pool.
void channel_open(struct channel* channel, unsigned number, unsigned period, int32_t low,
                  int32_t high);

/// Stores a reading, if the sensor can have said it. Nothing else is ever stored.
void channel_store(struct channel* channel, int32_t reading);
