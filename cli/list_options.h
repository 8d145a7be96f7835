// Owns the options of the questions that list what a recording has: which recording, which
// stretch of it, how many, and how they are written. Main thread.
#pragma once

#include <string>

#include "cli/parser.h"

namespace chronovisor::cli {

struct ListOptions {
  std::string file;
  std::string from = "start";
  std::string to = "end";
  std::string limit = "100000";
  bool json = false;
};

/// Adds a question with its recording; what is asked for comes next, then add_list_options().
/// The options must outlive the parser.
Command add_list_question(Command& query, const char* name, const char* help, ListOptions& options);
void add_list_options(Command& command, ListOptions& options);

}  // namespace chronovisor::cli
