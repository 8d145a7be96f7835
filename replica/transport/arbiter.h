// Owns who decides which node has a session, as nodes see it: files on storage that all share,
// or a process that has such files. Knows no primary and no backup.
//
// The first to claim a session has it for ever: its claim is a file that can be made once.
// A claim that cannot be made or asked for is no verdict, and is repeated.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "replica/protocol/message.h"
#include "replica/transport/address.h"
#include "replica/transport/channel.h"

namespace chronovisor::replica {

class Arbiter {
 public:
  virtual ~Arbiter() = default;
  /// From any thread. May take some tenths of a second. @return nothing: it cannot be reached now
  [[nodiscard]] virtual std::optional<Verdict> claim(const Claim& claim) = 0;
};

/// Claims as files PREFIX.SESSION, made by a hard link, of which one can succeed, on a local
/// disk and over NFS.
class FileArbiter final : public Arbiter {
 public:
  explicit FileArbiter(std::string prefix) : prefix_(std::move(prefix)) {}
  [[nodiscard]] std::optional<Verdict> claim(const Claim& claim) override;

 private:
  std::string prefix_;
};

/// Asks `chronovisor arbiter`.
class RemoteArbiter final : public Arbiter {
 public:
  RemoteArbiter(Address address, PresharedKey key)
      : address_(std::move(address)), key_(std::move(key)) {}
  [[nodiscard]] std::optional<Verdict> claim(const Claim& claim) override;

 private:
  Address address_;
  PresharedKey key_;
};

/// "file:PREFIX", "unix:PATH" or "tcp:HOST:PORT"; empty: null. Throws Error{usage}.
[[nodiscard]] std::unique_ptr<Arbiter> make_arbiter(const std::string& text,
                                                    const PresharedKey& key);

}  // namespace chronovisor::replica
