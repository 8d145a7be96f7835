#include "api/method_table.h"

#include <algorithm>
#include <iterator>

namespace chronovisor::api {

std::span<const Method> methods() {
  static const std::vector<Method> kAll = [] {
    std::vector<Method> all;
    for (std::vector<Method> group :
         {recording_methods(), strip_methods(), travel_methods(), state_methods(), search_methods(),
          guest_methods(), change_methods()}) {
      std::move(group.begin(), group.end(), std::back_inserter(all));
    }
    return all;
  }();
  return kAll;
}

const Method* find_method(std::string_view name) {
  const auto all = methods();
  const auto found =
      std::find_if(all.begin(), all.end(), [&](const Method& m) { return m.name == name; });
  return found == all.end() ? nullptr : &*found;
}

}  // namespace chronovisor::api
