#include "recorder/format/interval_groups.h"

#include <utility>

#include "base/error.h"
#include "recorder/format/interval_index.h"

namespace chronovisor {
namespace {

AccessFilter filter_of(ByteView data) {
  AccessFilter filter;
  try {
    filter.add(IntervalAccesses::decode(data, "interval index"));
  } catch (const Error& error) {
    if (error.code() != ErrorCode::bad_input) throw;
    filter.add_everything();
  }
  return filter;
}

}  // namespace

std::vector<IntervalGroups::Full> IntervalGroups::add(Position from, Position to, ByteView data) {
  if (from != to_) open_ = {};
  to_ = to;
  std::vector<Full> full;
  AccessFilter part = filter_of(data);
  for (unsigned level = 0; level < kFilterLevels; ++level) {
    Open& open = open_[level];
    if (open.count == 0) open.from = from;
    open.filter.add(part);
    if (++open.count < kFilterGroup) break;
    full.push_back({level, open.from, to, open.filter.encode()});
    from = open.from;
    part = std::exchange(open, {}).filter;
  }
  return full;
}

}  // namespace chronovisor
