#include "api/console_name.h"

namespace chronovisor::api {

const char* console_name(ConsoleChannel channel) {
  switch (channel) {
    case ConsoleChannel::serial0:
      return "serial0";
    case ConsoleChannel::debug_port:
      return "debug-port";
    case ConsoleChannel::serial1:
      return "serial1";
    case ConsoleChannel::firmware:
      return "firmware";
    case ConsoleChannel::console:
      return "console";
    case ConsoleChannel::parallel:
      return "parallel";
  }
  return "unknown";
}

}  // namespace chronovisor::api
