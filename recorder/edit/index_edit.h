// Owns adding interval indexes to a recording that is finished. Knows nothing
// of what they say. One thread.
#pragma once

#include <span>
#include <string>

#include "base/bytes.h"
#include "base/units.h"

namespace chronovisor {

struct NewInterval {
  Position from;
  Position to;
  Bytes data;  ///< as IntervalAccesses::encode gives it
};

/// Adds `intervals` to the finished recording at `path`, in place: the footer is
/// cut off, they are appended, and a footer is written that knows of them. A
/// kill in between leaves a recording whose footer is rebuilt when it is opened.
/// Others that add to the recording wait meanwhile. Throws Error{bad_input} when
/// the recording is damaged or unfinished, Error{host}.
void append_intervals(const std::string& path, std::span<const NewInterval> intervals);

}  // namespace chronovisor
