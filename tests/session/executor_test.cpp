// Jobs of several threads, one after the other on one thread.
#include "session/executor.h"

#include <doctest/doctest.h>

#include "base/cancel.h"

#include <stdexcept>
#include <vector>

namespace chronovisor::session {

TEST_CASE("jobs of many threads are done one at a time, and what they throw comes back") {
  Executor executor;
  int at_work = 0;  // guarded by there being one job at a time
  int done = 0;
  std::vector<std::thread> clients;
  for (int n = 0; n < 4; ++n) {
    clients.emplace_back([&] {
      for (int job = 0; job < 50; ++job) {
        executor.run([&] {
          CHECK(++at_work == 1);
          ++done;
          --at_work;
        });
        executor.borrow([&] {
          CHECK(++at_work == 1);
          ++done;
          --at_work;
        });
      }
    });
  }
  for (std::thread& client : clients) client.join();
  CHECK(executor.borrow([&] { return done; }) == 400);
  CHECK_THROWS_AS(executor.run([] { throw std::runtime_error("no"); }), std::runtime_error);
  CHECK(executor.run([] { return 7; }) == 7);
}

TEST_CASE("a job that is waited for comes after those handed in before it") {
  Executor executor;
  for (int n = 0; n < 200; ++n) {
    std::vector<int> order;  // guarded by there being one job at a time
    (void)executor.submit([&] { order.push_back(1); });
    executor.run([&] {
      order.push_back(2);
      executor.borrow([&] { order.push_back(3); });  // of a job, on whatever thread it is
    });
    CHECK(order == std::vector{1, 2, 3});
  }
  // As soon as none is before it, without a change of thread.
  const auto here = std::this_thread::get_id();
  const auto inline_here = [&] {
    return executor.run([] { return std::this_thread::get_id(); }) == here;
  };
  bool at_once = false;
  for (int n = 0; n < 1000 && !at_once; ++n) at_once = inline_here();
  CHECK(at_once);
}

TEST_CASE("a job sees that nobody wants it any more") {
  Executor executor;
  std::atomic<bool> unwanted{false};
  auto job = executor.submit([token = CancelToken(unwanted)] {
    while (!token.requested()) std::this_thread::yield();
    return true;
  });
  unwanted = true;
  CHECK(job.get());
}

TEST_CASE("what was handed in is done before the executor goes") {
  int done = 0;
  {
    Executor executor;
    for (int n = 0; n < 10; ++n) (void)executor.submit([&] { ++done; });
  }
  CHECK(done == 10);
}

}  // namespace chronovisor::session
