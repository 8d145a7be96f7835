// Jobs of several threads, one after the other on one thread.
#include "session/executor.h"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <thread>
#include <vector>

#include "base/cancel.h"

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

TEST_CASE("an idle job is done once after each job, when nothing is at work") {
  Executor executor;
  std::atomic<int> done{0};
  executor.set_idle_job([&](CancelToken) { ++done; });
  const auto becomes = [&](int number) {
    for (int turn = 0; turn < 2000 && done != number; ++turn) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return done == number;
  };
  CHECK(becomes(1));
  executor.run([] {});
  CHECK(becomes(2));
  (void)executor.submit([] { throw std::runtime_error("no"); });
  CHECK(becomes(3));
  executor.borrow([] {});
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  CHECK(done == 3);
}

TEST_CASE("an idle job is cancelled by whatever is handed in, and begins again after it") {
  Executor executor;
  std::atomic<int> begun{0};
  std::atomic<int> at_work{0};
  executor.set_idle_job([&](CancelToken cancel) {
    ++begun;
    CHECK(++at_work == 1);
    while (!cancel.requested()) std::this_thread::sleep_for(std::chrono::microseconds(100));
    --at_work;
    if (begun == 2) throw std::runtime_error("it comes to nothing");
  });
  const auto waits_for = [&](int number) {
    while (begun != number) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  };
  waits_for(1);
  CHECK(executor.run([&] { return at_work.load(); }) == 0);
  waits_for(2);
  CHECK(executor.borrow([&] { return at_work.load(); }) == 0);
  waits_for(3);
  CHECK(executor.submit([&] { return at_work.load(); }).get() == 0);
  waits_for(4);  // and the end cancels it too
}

}  // namespace chronovisor::session
