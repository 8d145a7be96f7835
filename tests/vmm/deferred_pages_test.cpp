// Pages whose contents are read when they are first wanted.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <set>

#include "base/error.h"
#include "tests/vmm/tiny_guest.h"
#include "vmm/machine/machine.h"

namespace chronovisor {
namespace {

using test::boot_tiny;
using test::random_guest;
using test::ScriptedInput;

/// Contents of pages as they were in a machine.
class Kept final : public PageSource {
 public:
  explicit Kept(Machine& machine) : sections_(machine.save_sections()) {
    (void)machine.close_epoch();
    for (std::uint64_t page = 0; page < machine.ram().page_count(); ++page) {
      const ByteView bytes = machine.pages().bytes(page);
      hashes_.push_back(machine.page_hash(page));
      bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    }
  }
  void read_deferred_page(std::uint64_t page, std::span<std::uint8_t, kPageSize> out) override {
    if (damaged.contains(page)) throw Error(ErrorCode::bad_input, "damaged");
    ++reads;
    std::memcpy(out.data(), bytes_.data() + page * kPageSize, kPageSize);
  }
  /// Puts a machine that has this as its source where the other one was.
  void restore(Machine& machine) const {
    (void)machine.close_epoch();
    for (std::uint64_t page = 0; page < hashes_.size(); ++page) {
      if (machine.page_hash(page) != hashes_[page]) {
        machine.defer_page(page, hashes_[page]);
      }
    }
    machine.load_sections(sections_);
  }
  [[nodiscard]] std::vector<std::uint64_t> pages() const {
    std::vector<std::uint64_t> numbers;
    for (std::uint64_t page = 0; page < hashes_.size(); ++page) {
      if (hashes_[page] != Machine::zero_page_hash()) numbers.push_back(page);
    }
    return numbers;
  }

  std::set<std::uint64_t> damaged;
  std::uint64_t reads = 0;

 private:
  std::vector<Section> sections_;
  std::vector<Hash128> hashes_;
  Bytes bytes_;
};

class Letters final : public PageSource {
 public:
  void read_deferred_page(std::uint64_t page, std::span<std::uint8_t, kPageSize> out) override {
    if (fails) throw Error(ErrorCode::bad_input, "cannot be read");
    std::fill(out.begin(), out.end(), static_cast<std::uint8_t>('a' + page));
  }
  bool fails = false;
};

}  // namespace

TEST_CASE("a deferred page is read once, whoever wants it first") {
  Ram ram(1 << 20);
  Letters letters;
  ram.set_source(letters);
  for (std::uint64_t page = 0; page < 6; ++page) ram.defer(page);
  CHECK(*ram.host(5) == 'a');
  CHECK_FALSE(ram.is_deferred(0));
  std::array<std::uint8_t, 4> read{};
  CHECK(ram.read({2 * kPageSize - 2}, read) == 4);
  CHECK(read == std::array<std::uint8_t, 4>{'b', 'b', 'c', 'c'});
  CHECK(ram.write({3 * kPageSize + 1}, Bytes{1, 2}) == 2);
  CHECK(*ram.host(3 * kPageSize) == 'd');
  CHECK(*ram.host(3 * kPageSize + 2) == 2);
  CHECK(*ram.host(3 * kPageSize + 3) == 'd');
  const auto whole = ram.replaced(4);
  std::fill(whole.begin(), whole.end(), std::uint8_t{7});
  CHECK(*ram.host(4 * kPageSize) == 7);
  CHECK(ram.view(4 * kPageSize + 1, kPageSize).back() == 'f');
  CHECK(ram.dirty_pages() == std::vector<std::uint32_t>{3});
}

TEST_CASE("a page that cannot be read stays deferred, and is not written") {
  Ram ram(1 << 20);
  Letters letters;
  ram.set_source(letters);
  ram.defer(1);
  letters.fails = true;
  CHECK_THROWS_AS((void)ram.host(kPageSize), Error);
  CHECK_THROWS_AS((void)ram.write({kPageSize}, Bytes{1}), Error);
  CHECK(ram.is_deferred(1));
  CHECK(ram.dirty_pages().empty());
  letters.fails = false;
  CHECK(*ram.host(kPageSize) == 'b');
}

TEST_CASE("a machine that was put somewhere with its memory deferred runs as the other does") {
  for (std::uint64_t seed = 1; seed <= 8; ++seed) {
    CAPTURE(seed);
    const auto guest = random_guest(seed, 60);
    const std::vector<std::uint64_t> inputs{3'000, 9'000, 15'000};
    ScriptedInput input(inputs, seed);
    const auto machine = boot_tiny(guest.image);
    machine->set_input(&input);
    if (machine->run({{2'000}, 0}) != MachineStop::reached) continue;
    Kept kept(*machine);
    const auto other = boot_tiny(guest.image);
    other->ram().set_source(kept);
    // As a machine that has run elsewhere, with code and translations of other contents.
    (void)other->run({{1'500 + 700 * seed}, 0});
    kept.restore(*other);
    CHECK(other->digest() == machine->digest());
    CHECK(kept.reads == 0);
    ScriptedInput again(inputs, seed);
    other->set_input(&again);
    for (std::uint64_t at = 2'500; at < 20'000; at += 1'500) {
      const MachineStop stop = machine->run({{at}, 0});
      CHECK(other->run({{at}, 0}) == stop);
      CHECK(other->digest() == machine->digest());
      if (stop != MachineStop::reached) break;
    }
    CHECK(kept.reads > 0);
    CHECK(kept.reads < machine->ram().page_count());
  }
}

TEST_CASE("a page that cannot be read ends a run, and the machine can be put elsewhere") {
  const auto guest = random_guest(3, 60);
  const auto reference = boot_tiny(guest.image);
  REQUIRE(reference->run({{1'000}, 0}) == MachineStop::reached);
  Kept kept(*reference);
  REQUIRE(reference->run({{2'500}, 0}) == MachineStop::reached);
  const Hash128 digest = reference->digest();
  const auto machine = boot_tiny(guest.image);
  machine->ram().set_source(kept);
  unsigned failed = 0;
  for (const std::uint64_t page : kept.pages()) {
    CAPTURE(page);
    (void)machine->run({{machine->position().steps + 900}, 0});
    kept.damaged = {page};
    kept.restore(*machine);
    try {
      const MachineStop stop = machine->run({{2'500}, 0});
      CHECK(stop == MachineStop::reached);
      CHECK(machine->digest() == digest);
    } catch (const Error& error) {
      CHECK(std::string(error.what()) == "damaged");
      ++failed;
    }
    kept.damaged.clear();
    kept.restore(*machine);
    REQUIRE(machine->run({{2'500}, 0}) == MachineStop::reached);
    CHECK(machine->digest() == digest);
  }
  CHECK(failed > 0);
}

}  // namespace chronovisor
