// Owns the comparison of two whole machine states, live or recorded: every
// differing field by its name, every differing page with the first bytes that
// differ. Knows no positions and no terminal. One thread a comparison.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/state.h"
#include "base/units.h"
#include "checkpoint/page_map.h"
#include "recorder/format/recording_reader.h"
#include "vmm/machine/machine.h"

namespace chronovisor {

/// A complete state that can be compared: sections and pages of memory.
class StateView {
 public:
  virtual ~StateView() = default;
  [[nodiscard]] virtual std::vector<Section> sections() = 0;
  /// The contents of all pages, by hash.
  [[nodiscard]] virtual const PageMap& pages() = 0;
  virtual void read_page(std::uint64_t page, PageBytes out) = 0;
};

/// A machine as it stands; it must not run while this is in use.
class LiveState final : public StateView {
 public:
  explicit LiveState(Machine& machine);
  [[nodiscard]] std::vector<Section> sections() override;
  [[nodiscard]] const PageMap& pages() override { return pages_; }
  void read_page(std::uint64_t page, PageBytes out) override;

 private:
  Machine& machine_;
  PageMap pages_;
};

/// A checkpoint in a recording; the reader must outlive it. Damage throws
/// Error{bad_input}.
class RecordedState final : public StateView {
 public:
  RecordedState(const RecordingReader& reader, std::size_t checkpoint);
  [[nodiscard]] std::vector<Section> sections() override;
  [[nodiscard]] const PageMap& pages() override { return pages_; }
  void read_page(std::uint64_t page, PageBytes out) override;
  /// Another checkpoint; cheap when it is a child of the present one.
  void move_to(std::size_t checkpoint);

 private:
  void apply_delta(std::size_t checkpoint);

  const RecordingReader& reader_;
  std::size_t checkpoint_;
  PageMap pages_;
};

struct StateFieldDifference {
  std::string section;
  std::string field;
  Bytes left;  ///< empty: this side has no such field
  Bytes right;
};

struct PageDifference {
  /// Physical address of the page; in a region, where it begins there.
  GuestPhysical page;
  std::string region;        ///< of the machine's memory; empty: RAM
  std::uint32_t offset = 0;  ///< of the first differing byte in the page
  std::uint32_t differing_bytes = 0;
  Bytes left;  ///< the bytes from `offset`, at most 16
  Bytes right;
};

struct StateDifference {
  std::vector<StateFieldDifference> fields;
  std::vector<PageDifference> pages;  ///< the first ones, ascending
  std::uint64_t differing_pages = 0;  ///< all of them
  [[nodiscard]] bool empty() const { return fields.empty() && differing_pages == 0; }
};

/// Most pages that are compared byte by byte for a report.
inline constexpr std::size_t kMostPagesReported = 64;

/// Throws Error{bad_input} when a recorded state is damaged.
[[nodiscard]] StateDifference compare_states(StateView& left, StateView& right);

}  // namespace chronovisor
