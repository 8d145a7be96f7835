#include "replica/transport/arbiter.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "host/host.h"
#include "replica/transport/link.h"

namespace chronovisor::replica {
namespace {

constexpr std::uint64_t kAnswerNs = 300'000'000;
constexpr std::size_t kHolderBytes = 16;

Bytes holder_bytes(const NodeId& node) {
  ByteWriter out;
  out.integer(node.low);
  out.integer(node.high);
  return out.take();
}

/// The node in a claim's file; nothing when it cannot be read.
std::optional<NodeId> read_holder(const std::string& path) {
  const Descriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::array<std::uint8_t, kHolderBytes + 1> bytes{};
  if (!file.open() || read(file.get(), bytes.data(), bytes.size()) != kHolderBytes) {
    return std::nullopt;
  }
  ByteReader in(ByteView(bytes).first(kHolderBytes), path);
  NodeId node;
  node.low = in.integer<std::uint64_t>();
  node.high = in.integer<std::uint64_t>();
  return node;
}

/// Writes the claim beside its place, whole and on the medium.
bool write_claim(const std::string& path, const NodeId& node) {
  const Descriptor file(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  const Bytes bytes = holder_bytes(node);
  return file.open() && write(file.get(), bytes.data(), bytes.size()) == kHolderBytes &&
         fsync(file.get()) == 0;
}

}  // namespace

std::optional<Verdict> FileArbiter::claim(const Claim& claim) {
  const std::string place = prefix_ + "." + claim.session.hex();
  if (const auto holder = read_holder(place)) return Verdict{claim.session, *holder};
  const std::string own = place + "." + Hash128{claim.node.low, claim.node.high}.hex();
  if (!write_claim(own, claim.node)) return std::nullopt;
  // Over NFS the answer to a link that was made may be lost: the file says whose it is.
  (void)link(own.c_str(), place.c_str());
  unlink(own.c_str());
  const auto holder = read_holder(place);
  if (!holder) return std::nullopt;
  return Verdict{claim.session, *holder};
}

std::optional<Verdict> RemoteArbiter::claim(const Claim& claim) {
  const std::uint64_t until_ns = monotonic_ns() + kAnswerNs;
  try {
    Link link(make_channel(address_, connect_to(address_), ChannelEnd::connects, key_));
    link.send(claim);
    while (monotonic_ns() < until_ns) {
      link.write();
      pollfd wait{link.descriptor(), link.events(), 0};
      if (poll(&wait, 1, 20) < 0 && errno != EINTR) return std::nullopt;
      link.read();
      while (const auto message = link.next()) {
        const auto* verdict = std::get_if<Verdict>(&*message);
        if (verdict != nullptr && verdict->session == claim.session) return *verdict;
      }
    }
  } catch (const Error&) {
    // It is not there, or is none: no verdict.
  }
  return std::nullopt;
}

std::unique_ptr<Arbiter> make_arbiter(const std::string& text, const PresharedKey& key) {
  constexpr std::string_view kFile = "file:";
  if (text.empty()) return nullptr;
  if (text.starts_with(kFile) && text.size() > kFile.size()) {
    return std::make_unique<FileArbiter>(text.substr(kFile.size()));
  }
  const Address address = parse_address(text, "--arbiter");
  require_secure(address, key, "--arbiter");
  return std::make_unique<RemoteArbiter>(address, key);
}

}  // namespace chronovisor::replica
