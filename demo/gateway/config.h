// Reads the plant's description: one channel a line, as `PERIOD LOW HIGH LABEL`.
#pragma once

#include "channel.h"

/// Opens the channels that the file names. Returns how many; 0 when it cannot be read.
unsigned configure(const char* path, struct channel* channels);
