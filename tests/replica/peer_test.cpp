#include <doctest/doctest.h>

#include <poll.h>
#include <sys/socket.h>

#include <atomic>
#include <chrono>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "recorder/format/chunk.h"
#include "replica/primary/backup_peer.h"
#include "tests/temporary_folder.h"
#include "vmm/machine/behaviour.h"

namespace chronovisor::replica {
namespace {

using testing::TemporaryFolder;

/// A recording with nothing in it but its header.
std::string empty_recording(const TemporaryFolder& folder) {
  const Bytes header = encode_file_header({kFormatVersion, FileId{}});
  std::ofstream(folder.file("r"), std::ios::binary)
      .write(reinterpret_cast<const char*>(header.data()),
             static_cast<std::streamsize>(header.size()));
  return folder.file("r");
}

/// A backup that says what a test makes it say.
class ScriptedBackup {
 public:
  explicit ScriptedBackup(const Address& address)
      : address_(address), listener_(listen_at(address)) {}

  /// Joins whoever comes, and holds what it is sent until it is protecting.
  void join() {
    link_ = std::make_unique<Link>(
        make_channel(address_, accepted(), ChannelEnd::accepts, PresharedKey{}));
    const End self{random_node(), random_nonce()};
    link_->send(Hello{kProtocolVersion, Role::backup, self, kMachineBehaviourVersion});
    link_->write();
    for (bool protects = false; !protects;) {
      const Message message = next();
      if (const auto* hello = std::get_if<Hello>(&message)) {
        link_->set_session(session_of(hello->end, self));
      } else if (const auto* end = std::get_if<PastEnd>(&message)) {
        say(Acknowledge{1, 1, end->mark.position, {}});
      } else {
        protects = std::holds_alternative<Protect>(message);
      }
    }
  }
  void say(const Message& message) {
    link_->send(message);
    link_->write();
  }
  void go() { link_.reset(); }

 private:
  static void wait_for(int descriptor) {
    pollfd wait{descriptor, POLLIN, 0};
    REQUIRE(poll(&wait, 1, 10'000) == 1);
  }
  [[nodiscard]] Descriptor accepted() const {
    wait_for(listener_.get());
    return Descriptor(accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  }
  [[nodiscard]] Message next() {
    for (;;) {
      if (auto message = link_->next()) return *message;
      wait_for(link_->descriptor());
      link_->read();
    }
  }

  Address address_;
  Descriptor listener_;
  std::unique_ptr<Link> link_;
};

bool becomes_true(const std::function<bool()>& condition) {
  for (int turn = 0; turn < 10'000; ++turn) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return false;
}

}  // namespace

TEST_CASE("what a backup said last is heard although marks are sent to it meanwhile") {
  const TemporaryFolder folder;
  const Address address{Address::Kind::unix_socket, folder.file("s"), 0};
  OutputGate gate(OutputGate::Begins::open);
  BackupPeer::Sharing sharing(gate);
  sharing.settle = [] {};
  sharing.segment = std::make_shared<LogSegment>(empty_recording(folder), 0);
  sharing.marked_bytes = kFileHeaderSize;
  ScriptedBackup backup(address);
  BackupPeer peer({address, {}, nullptr, random_node()}, sharing);
  std::uint64_t position = 0;
  const auto mark = [&] {
    {
      const std::lock_guard lock(sharing.mutex);
      position += 10;
      peer.protocol().marked({0, {position}, 0, 0, kFileHeaderSize});
    }
    peer.send_marked();
  };
  for (int round = 0; round < 10; ++round) {
    std::atomic<bool> ended{false};
    std::thread machine([&] {
      while (!ended) {
        mark();
        std::this_thread::sleep_for(std::chrono::microseconds(50));
      }
    });
    backup.join();
    backup.say(Diverged{{1}, {1, 2}, {3, 4}});
    backup.go();
    std::string reason;
    const bool is_alone = becomes_true([&] {
      const std::lock_guard lock(sharing.mutex);
      reason = peer.protocol().reason();
      return peer.protocol().state() == PrimaryState::alone;
    });
    ended = true;
    machine.join();
    CHECK(is_alone);
    CHECK(reason.find("the backup's machine differs") == 0);
  }
}

}  // namespace chronovisor::replica
