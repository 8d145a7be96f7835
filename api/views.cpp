#include "api/views.h"

#include <utility>
#include <vector>

#include "api/desks.h"

namespace chronovisor::api {

Views::Views(Context& context, session::Executor& executor)
    : context_(context), executor_(executor) {
  context_.set_follower([this](const Caller& caller) { notice(caller); });
  executor_.set_follower([this] { notice(std::nullopt); });
}

Views::~Views() {
  executor_.set_follower({});
  // What was handed in uses this.
  executor_.run([this] { context_.set_follower({}); });
}

void Views::add(const Caller& caller, Send send) {
  if (!seen_) seen_ = look();
  const std::lock_guard lock(mutex_);
  clients_.try_emplace(caller.number, std::move(send));
}

void Views::remove(const Caller& caller) {
  const std::lock_guard lock(mutex_);
  clients_.erase(caller.number);
}

Views::Seen Views::look() {
  Timeline& timeline = context_.timeline();
  const session::Settings& settings = context_.session().settings();
  return {timeline.now(),
          timeline.on_branch(),
          timeline.live() != nullptr,
          context_.changes(),
          context_.breakpoint_changes(),
          context_.session().bookmark_changes(),
          settings.skip_interrupts,
          settings.address_space};
}

void Views::notice(const std::optional<Caller>& caller) {
  try {
    compare(caller);
  } catch (const Error&) {
    seen_.reset();  // a job's end throws nothing; the next one tells
  }
}

void Views::compare(const std::optional<Caller>& caller) {
  {
    const std::lock_guard lock(mutex_);
    if (clients_.empty()) {
      seen_.reset();
      return;
    }
  }
  if (context_.desks() != nullptr) context_.desks()->note();
  const Seen now = look();
  const bool is_first = !seen_;
  const Seen before = seen_.value_or(now);
  seen_ = now;
  if (is_first || now.moment != before.moment || now.on_branch != before.on_branch ||
      now.live != before.live || now.changes != before.changes) {
    tell(caller, "moved", Value::Object{{"where", context_.where(Call{})}});
  }
  const auto changed = [&](const char* what) {
    tell(caller, "changed", Value::Object{{"what", what}});
  };
  if (now.breakpoints != before.breakpoints) changed("breakpoints");
  if (now.bookmarks != before.bookmarks) changed("bookmarks");
  if (now.skip_interrupts != before.skip_interrupts || now.address_space != before.address_space) {
    changed("settings");
  }
}

void Views::tell(const std::optional<Caller>& by, const char* method, Value::Object parameters) {
  const char* whose = by ? by->kind : "gdb";
  parameters.emplace_back("by", "you");
  const std::string own = notification_message(method, parameters).json();
  parameters.back().second = whose;
  const std::string others = notification_message(method, std::move(parameters)).json();
  const std::lock_guard lock(mutex_);
  for (const auto& [number, send] : clients_) {
    send(by && by->number == number ? own : others);
  }
}

}  // namespace chronovisor::api
