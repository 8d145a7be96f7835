// Owns how much clients may send, ask for and leave waiting: each number once. The schema
// publishes them, and docs/API.md has the table that scripts/make-api-docs makes of that.
// Values; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace chronovisor::api {

// A message, and what it asks.
inline constexpr std::size_t kMostMessageBytes = 1U << 20;
inline constexpr std::size_t kMostDepth = 32;        ///< of what is nested
inline constexpr std::size_t kMostValues = 100'000;  ///< in a message
inline constexpr std::size_t kMostBatch = 64;
inline constexpr std::size_t kMostWaitingCalls = 256;

// An answer.
inline constexpr std::size_t kMostAnswerBytes = 32U << 20;
inline constexpr std::size_t kMostMonitorBytes = 1U << 20;
inline constexpr std::size_t kMostToolBytes = 100'000;

// Clients at a Unix socket.
inline constexpr std::size_t kMostClients = 32;
inline constexpr std::size_t kMostUnsentBytes = 128U << 20;

// Whoever comes by HTTP.
inline constexpr std::size_t kMostConnections = 64;
inline constexpr std::uint32_t kMostHeaderBytes = 8192;
inline constexpr std::size_t kMostPages = 32;
inline constexpr std::size_t kMostUnsentPageBytes = 4U << 20;
inline constexpr std::size_t kMostUnsentPagesBytes = 40U << 20;
/// So much of a page's own is not refused because of what others leave waiting.
inline constexpr std::size_t kOwnUnsentPageBytes = 1U << 20;
inline constexpr std::size_t kMostAgents = 16;
static_assert(kMostUnsentPagesBytes > kMostAnswerBytes);

struct Limit {
  const char* what;
  std::uint64_t most;
  const char* beyond;  ///< what becomes of what is more
};
[[nodiscard]] std::span<const Limit> limits();

}  // namespace chronovisor::api
