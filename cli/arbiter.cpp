// arbiter: decides which node has a session.
#include <cstdio>
#include <memory>
#include <string>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/exit_status.h"
#include "cli/parser.h"
#include "host/host.h"
#include "replica/transport/arbiter_server.h"

namespace chronovisor::cli {
namespace {

struct ArbiterOptions {
  std::string listen;
  std::string claims;
  std::string psk_file;
};

int run_arbiter(const ArbiterOptions& options) {
  const replica::PresharedKey key = options.psk_file.empty()
                                        ? replica::PresharedKey{}
                                        : replica::read_preshared_key(options.psk_file);
  const replica::Address address = replica::parse_address(options.listen, "--listen");
  replica::require_secure(address, key, "--listen");
  replica::ArbiterServer server(address, key,
                                std::make_unique<replica::FileArbiter>(options.claims));
  watch_stop_signals();
  server.run(stop_signal());
  if (address.kind == replica::Address::Kind::unix_socket) std::remove(address.place.c_str());
  std::fprintf(stderr, "chronovisor: arbiter: %llu claims were answered\n",
               static_cast<unsigned long long>(server.decided()));
  return kDone;
}

}  // namespace

void add_arbiter(Command& app, Action& action) {
  auto options = std::make_shared<ArbiterOptions>();
  Command command = app.add_subcommand(
      "arbiter", "Decide which of a primary and its backup goes on when they lose each other");
  command.add_option("--listen", options->listen, "Where they ask")
      .type_name("unix:PATH|tcp:HOST:PORT")
      .required();
  command
      .add_option("--claims", options->claims,
                  "What was decided, for ever: files whose names begin so")
      .type_name("PATH")
      .required();
  command
      .add_option("--psk-file", options->psk_file,
                  "A key of 16 to 64 bytes that all ends have, which TCP takes")
      .type_name("FILE");
  command.callback([options, &action] { action = [options] { return run_arbiter(*options); }; });
}

}  // namespace chronovisor::cli
