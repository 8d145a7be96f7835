// Owns the export of a recording's console as asciicast version 2, which
// asciinema and web players show. Nothing is replayed. Any thread.
//
// Source: asciinema documentation, "asciicast v2": a header object in JSON, then
// one array [seconds, code, data] a line; code "o" is output, "m" a marker.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "recorder/format/recording_reader.h"

namespace chronovisor {

/// Receives the exported text, piece by piece, in order.
using TextSink = std::function<void(std::string_view)>;

struct CastOptions {
  unsigned width = 80;
  unsigned height = 24;
};

/// Writes all console output with its virtual times, and the bookmarks as
/// markers. Output that is not UTF-8 is replaced by U+FFFD.
void export_cast(const RecordingReader& reader, const CastOptions& options, const TextSink& out);

}  // namespace chronovisor
