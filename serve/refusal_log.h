// Owns the telling of refusals: what strangers send is made harmless, and of many of a kind
// only some are told, with how many were not. One thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>

namespace chronovisor::serve {

class RefusalLog {
 public:
  explicit RefusalLog(std::function<void(std::string_view line)> out) : out_(std::move(out)) {}

  /// @param why one of our own sentences
  /// @param about what the peer said, of which some is told
  void tell(std::uint64_t now_ns, std::string_view peer, const std::string& why,
            std::string_view about);
  /// Says how many were left out, where that was a while ago. Called now and then.
  void tell_left_out(std::uint64_t now_ns);
  /// The same, whenever that was.
  void finish();

 private:
  struct Kind {
    std::uint64_t since_ns = 0;
    std::uint64_t told = 0;
    std::uint64_t left_out = 0;
  };
  void close(const std::string& why, Kind& kind) const;

  std::function<void(std::string_view line)> out_;
  std::map<std::string, Kind> kinds_;
};

}  // namespace chronovisor::serve
