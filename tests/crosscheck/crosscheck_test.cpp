// The soft processor against the host's KVM on generated system programs.
//   crosscheck_test [--steps N] [--seed S] [--case SEED] [--most M] [--trace T]
// It ends after M disagreements, of which two of a kind are shown. Traced are
// cases (1) and their steps (2), each before it is taken.
// Exit status: 0 no disagreement, 1 some, 77 no usable KVM (with the reason).
#include <cstdio>
#include <cstring>
#include <map>
#include <string>

#include "base/error.h"
#include "tests/crosscheck/checker.h"
#include "vmm/engine/kvm/kvm_device.h"

namespace {

using namespace chronovisor;

struct Options {
  std::uint64_t steps = 200'000;
  std::uint64_t seed = 1;
  std::uint64_t only = 0;
  std::uint64_t most = 10;
  std::uint64_t trace = 0;
};

Options parse(int argc, char** argv) {
  Options options;
  for (int n = 1; n + 1 < argc; n += 2) {
    const std::uint64_t value = std::strtoull(argv[n + 1], nullptr, 0);
    if (std::strcmp(argv[n], "--steps") == 0) options.steps = value;
    if (std::strcmp(argv[n], "--seed") == 0) options.seed = value;
    if (std::strcmp(argv[n], "--case") == 0) options.only = value;
    if (std::strcmp(argv[n], "--most") == 0) options.most = value;
    if (std::strcmp(argv[n], "--trace") == 0) options.trace = value;
  }
  return options;
}

void report(const crosscheck::Tally& tally, std::uint64_t disagreements) {
  const auto n = [](std::uint64_t value) { return static_cast<unsigned long long>(value); };
  std::printf(
      "%llu steps of %llu cases compared (%llu exceptions, %llu shutdowns); %llu instructions not "
      "emulated "
      "by this KVM; %llu known differences; %llu disagreements\n",
      n(tally.steps), n(tally.cases), n(tally.faults), n(tally.shutdowns), n(tally.unsupported),
      n(tally.known), n(disagreements));
  for (const auto& [mode, steps] : tally.by_mode)
    std::printf("  %-14s %llu\n", mode.c_str(), n(steps));
  for (const auto& [name, count] : tally.unsupported_by_name)
    std::printf("  not emulated: %s: %llu\n", name.c_str(), n(count));
  for (const auto& [cause, count] : tally.known_by_cause)
    std::printf("  known: %s: %llu\n", cause.c_str(), n(count));
  for (const auto& [reason, count] : tally.not_stepped)
    std::printf("  not stepped: %s: %llu\n", reason.c_str(), n(count));
}

int run(const Options& options) {
  const kvm::Capabilities capabilities = kvm::self_test();
  if (!capabilities.engine_possible()) {
    const kvm::Availability device = kvm::availability();
    std::printf("skipped: %s\n",
                device.usable ? capabilities.why_not().c_str() : device.problem.c_str());
    return 77;
  }
  crosscheck::Checker checker(capabilities);
  checker.trace_steps(options.trace > 1);
  if (!checker.virtual8086())
    std::printf("not generated: virtual-8086 mode, which this KVM does not run\n");
  crosscheck::Tally tally;
  std::map<std::string, std::uint64_t> shown;
  std::uint64_t disagreements = 0;
  for (std::uint64_t seed = options.only != 0 ? options.only : options.seed * 1'000'000;; ++seed) {
    if (options.trace != 0) {
      std::printf("T%llu\n", static_cast<unsigned long long>(seed));
      std::fflush(stdout);
    }
    if (const auto d = checker.run_case(seed, tally)) {
      ++disagreements;
      if (shown[d->name + d->kind]++ < 2) {
        std::printf("case %llu, step %u, %s mode:\n%s", static_cast<unsigned long long>(d->seed),
                    d->step, crosscheck::mode_name(d->mode), d->text.c_str());
      }
      if (disagreements >= options.most) break;
    }
    if (options.only != 0 || tally.steps >= options.steps) break;
  }
  report(tally, disagreements);
  return disagreements == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(parse(argc, argv));
  } catch (const Error& error) {
    std::printf("%s\n", error.what());
    return 1;
  }
}
