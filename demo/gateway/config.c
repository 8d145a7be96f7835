#include "config.h"

#include <stdio.h>
#include <string.h>

/// Copies `from` into `to`, which has room for `size` characters, and ends it with a NUL.
static void copy_text(char* to, const char* from, size_t size) {
  size_t length = 0;
  while (length < size && from[length] != '\0') {
    to[length] = from[length];
    length++;
  }
  to[length] = '\0';
}

static void set_label(struct channel* channel, const char* label) {
  copy_text(channel->label, label, sizeof channel->label);
}

unsigned configure(const char* path, struct channel* channels) {
  FILE* file = fopen(path, "r");
  if (file == NULL) return 0;
  char line[128];
  unsigned count = 0;
  while (count < kChannels && fgets(line, sizeof line, file) != NULL) {
    unsigned period;
    int low, high, label;
    if (sscanf(line, "%u %d %d %n", &period, &low, &high, &label) != 3) continue;
    line[strcspn(line, "\n")] = '\0';
    channel_open(&channels[count], count, period, low, high);
    set_label(&channels[count], line + label);
    count++;
  }
  fclose(file);
  return count;
}
