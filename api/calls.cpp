#include "api/calls.h"

#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <new>

#include "host/host.h"

namespace chronovisor::api {
namespace {

/// Progress is told no more often.
constexpr std::uint64_t kProgressNs = 250'000'000;

Calls::Outcome outcome_of(Context& context, const Method& method, const Value& parameters,
                          const Call& call) {
  try {
    check_cancelled(call);
    if (method.effect == Effect::changes && !context.allow_changes()) {
      throw CallError(CallFault::read_only,
                      method.name + " changes something; it was started without --allow-changes");
    }
    return method.run(context, parameters, call);
  } catch (const Error& error) {
    return call_error(error);
  } catch (const std::bad_alloc&) {
    return CallError(CallFault::host, "the host is out of memory");
  } catch (const std::exception& error) {
    return CallError(CallFault::internal, error.what());
  }
}

}  // namespace

struct Calls::State {
  mutable std::mutex mutex;
  std::condition_variable changed;
  std::map<std::string, std::shared_ptr<std::atomic<bool>>> cancels;
};

Calls::Calls(Context& context, session::Executor& executor)
    : context_(context), executor_(executor), state_(std::make_shared<State>()) {}

Calls::~Calls() {
  cancel_all();
  wait();
}

void Calls::start(const std::string& id, const Method& method, Value parameters, Progress progress,
                  Done done) {
  auto cancel = std::make_shared<std::atomic<bool>>(false);
  {
    const std::lock_guard lock(state_->mutex);
    if (state_->cancels.size() >= kMostWaitingCalls) {
      throw CallError(CallFault::busy, "256 calls are waiting already; wait for an answer");
    }
    if (!state_->cancels.emplace(id, cancel).second) {
      throw CallError(CallFault::no_request, "a call with this id is waiting already", "/id");
    }
  }
  executor_.submit([&context = context_, state = state_, cancel, id, &method,
                    parameters = std::move(parameters), progress = std::move(progress),
                    done = std::move(done)] {
    Call call{*cancel, {}};
    std::uint64_t told_ns = monotonic_ns();
    if (progress) {
      call.progress = [&](std::uint64_t so_far, std::uint64_t total) {
        const std::uint64_t now = monotonic_ns();
        if (now - told_ns < kProgressNs) return;
        told_ns = now;
        progress(so_far, total);
      };
    }
    const Outcome outcome = outcome_of(context, method, parameters, call);
    done(outcome);
    const std::lock_guard lock(state->mutex);
    state->cancels.erase(id);
    state->changed.notify_all();
  });
}

void Calls::cancel(const std::string& id) {
  const std::lock_guard lock(state_->mutex);
  const auto found = state_->cancels.find(id);
  if (found != state_->cancels.end()) found->second->store(true);
}

void Calls::cancel_all() {
  const std::lock_guard lock(state_->mutex);
  for (const auto& [id, cancel] : state_->cancels) cancel->store(true);
}

void Calls::wait() {
  std::unique_lock lock(state_->mutex);
  state_->changed.wait(lock, [this] { return state_->cancels.empty(); });
}

bool Calls::idle() const {
  const std::lock_guard lock(state_->mutex);
  return state_->cancels.empty();
}

}  // namespace chronovisor::api
