#include "api/limits.h"

#include <array>

namespace chronovisor::api {

std::span<const Limit> limits() {
  static constexpr auto kAll = std::to_array<Limit>({
      {"bytes of a message, or of a request's body", kMostMessageBytes,
       "too-large; a page that sends it is let go"},
      {"nesting of a message", kMostDepth, "not-json"},
      {"values in a message", kMostValues, "not-json"},
      {"messages in a batch", kMostBatch, "too-large"},
      {"calls of a client that wait", kMostWaitingCalls, "busy"},
      {"bytes of an answer", kMostAnswerBytes, "too-large"},
      {"bytes of an answer of `monitor`", kMostMonitorBytes, "too-large"},
      {"bytes of a tool's answer, but for pictures", kMostToolBytes,
       "a failure that asks for less"},
      {"clients of a Unix socket", kMostClients, "busy, and the connection is closed"},
      {"bytes that wait to be sent to one of them", kMostUnsentBytes, "it is let go"},
      {"connections by HTTP", kMostConnections, "the longest silent one goes"},
      {"bytes of the headers of a request", kMostHeaderBytes, "413"},
      {"pages", kMostPages, "503"},
      {"bytes that wait to be sent to a page, behind one message", kMostUnsentPageBytes,
       "it is let go"},
      {"bytes that wait to be sent to all pages, where it is more than 1 MiB for the one page",
       kMostUnsentPagesBytes, "the page that would get more is let go"},
      {"conversations of agents by HTTP", kMostAgents, "the longest silent one ends"},
  });
  return kAll;
}

}  // namespace chronovisor::api
