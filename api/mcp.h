// Owns the Model Context Protocol: the rows of the table as tools of an agent, over
// whatever carries its messages. Knows no socket.
// Source: Model Context Protocol, specification of 2025-11-25 and those before.
#pragma once

#include <string>
#include <string_view>

#include "api/calls.h"
#include "api/rpc.h"

namespace chronovisor::api {

class McpClient final : public Client {
 public:
  /// Both must outlive this.
  McpClient(Context& context, session::Executor& executor, Send send);

 private:
  void ask(const Incoming& request, std::size_t number, Replies replies) override;
  void notice(const Incoming& notification);
  [[nodiscard]] Value initialize(const Value& parameters);
  [[nodiscard]] Value tools() const;
  void call_tool(const Incoming& request, std::size_t number, Replies replies);

  Context& context_;
  bool initialized_ = false;
};

}  // namespace chronovisor::api
