// Jobs of several threads, one after the other on one thread.
#include "session/executor.h"

#include <doctest/doctest.h>

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

TEST_CASE("a job sees that nobody wants it any more") {
  Executor executor;
  CancelSource source;
  auto job = executor.submit([token = source.token()] {
    while (!token.flag()) std::this_thread::yield();
    return true;
  });
  source.cancel();
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
