// {fmt} as an archive, which Debian does not have: what the program calls of it, from
// the header-only form. Only for chronovisor_static.
#define FMT_HEADER_ONLY
#include <fmt/format.h>

namespace chronovisor {

/// Makes the compiler emit what formatted text goes through.
[[gnu::used]] extern std::string (*const kept_format)(fmt::string_view, fmt::format_args);
std::string (*const kept_format)(fmt::string_view, fmt::format_args) = &fmt::vformat;

}  // namespace chronovisor
