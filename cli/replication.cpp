#include "cli/replication.h"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/parser.h"
#include "replica/status.h"

namespace chronovisor::cli {
namespace {

constexpr const char* kPeerValues = "unix:PATH|tcp:HOST:PORT";

replica::PresharedKey key_of(const PeerOptions& options) {
  return options.psk_file.empty() ? replica::PresharedKey{}
                                  : replica::read_preshared_key(options.psk_file);
}

replica::PrimarySetup setup_of(const ReplicationOptions& options, const std::string& recording) {
  replica::PrimarySetup setup;
  setup.key = key_of(options.peer);
  for (const std::string& text : options.backups) {
    setup.backups.push_back(replica::parse_address(text, "--replicate"));
    replica::require_secure(setup.backups.back(), setup.key, "--replicate");
  }
  setup.arbiter = replica::make_arbiter(options.peer.arbiter, setup.key);
  setup.recording = recording;
  setup.tell = [](const std::string& words) {
    std::fprintf(stderr, "chronovisor: primary: %s\n", words.c_str());
  };
  return setup;
}

}  // namespace

void add_peer_options(Command& command, PeerOptions& options) {
  command
      .add_option("--psk-file", options.psk_file,
                  "A key of 16 to 64 bytes that all ends have, which TCP takes")
      .type_name("FILE");
  command
      .add_option("--arbiter", options.arbiter,
                  "Who decides which of two machines goes on alone: files on storage that both "
                  "share, or `chronovisor arbiter`. Without one no backup takes over")
      .type_name(std::string("file:PATH|") + kPeerValues);
  command
      .add_option("--control", options.control,
                  "A socket for `chronovisor status` and `chronovisor hand-over`")
      .type_name("PATH");
}

void add_replication_options(Command& command, ReplicationOptions& options) {
  command
      .add_option("--replicate", options.backups,
                  "Keep the `chronovisor backup` there ready to take over "
                  "(docs/FAULT_TOLERANCE.md). Repeatable: all of them")
      .type_name(kPeerValues)
      .allow_extra_args(false);
  add_peer_options(command, options.peer);
}

void require_sound(const ReplicationOptions& options) {
  if (options.wanted()) {
    (void)setup_of(options, "");
    return;
  }
  if (!options.peer.psk_file.empty() || !options.peer.arbiter.empty() ||
      !options.peer.control.empty()) {
    throw Error(ErrorCode::usage, "--psk-file, --arbiter and --control go with --replicate");
  }
}

Replication::Replication(const ReplicationOptions& options, const std::string& recording,
                         replica::OutputGate& gate, InputSource& beside,
                         std::function<RecordingWriter&()> writer, std::atomic<bool>& stop)
    : primary_(setup_of(options, recording), gate),
      input_(beside, primary_, gate, std::move(writer), stop) {}

std::string Replication::status() const { return replica::status_json(primary_.status()); }

std::string Replication::answer(const std::string& word) {
  if (word == "status") return status();
  if (word != "hand-over") return R"({"error": "what is asked for is status or hand-over"})";
  const std::string trouble = primary_.hand_over();
  nlohmann::ordered_json json = {{"handed_over", trouble.empty()}};
  if (!trouble.empty()) json["error"] = trouble;
  return json.dump();
}

}  // namespace chronovisor::cli
