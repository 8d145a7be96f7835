#include "gdbstub/agent_format.h"

#include <algorithm>
#include <cstdio>

namespace chronovisor::gdb {

namespace {

constexpr int kMaxField = 512;  // width and precision
constexpr std::size_t kMaxString = 4096;

struct Conversion {
  std::string flags;
  int width = 0;
  int precision = -1;
  unsigned bits = 32;
  char letter = 0;
};

int take_number(std::string_view format, std::size_t& at) {
  int value = 0;
  while (at < format.size() && format[at] >= '0' && format[at] <= '9') {
    value = std::min(kMaxField, value * 10 + (format[at++] - '0'));
  }
  return value;
}

std::optional<Conversion> take_conversion(std::string_view format, std::size_t& at) {
  Conversion out;
  while (at < format.size() &&
         std::string_view("-+ #0").find(format[at]) != std::string_view::npos) {
    if (out.flags.size() < 5) out.flags.push_back(format[at]);
    ++at;
  }
  out.width = take_number(format, at);
  if (at < format.size() && format[at] == '.') {
    ++at;
    out.precision = take_number(format, at);
  }
  const auto take = [&](std::string_view text) {
    if (!format.substr(at).starts_with(text)) return false;
    at += text.size();
    return true;
  };
  if (take("hh"))
    out.bits = 8;
  else if (take("h"))
    out.bits = 16;
  else if (take("ll") || take("l") || take("z") || take("j") || take("t"))
    out.bits = 64;
  if (at >= format.size()) return std::nullopt;
  out.letter = format[at++];
  return out;
}

std::string pattern(const Conversion& conversion, std::string_view ending) {
  std::string out = "%" + conversion.flags;
  if (conversion.width > 0) out += std::to_string(conversion.width);
  if (conversion.precision >= 0) out.append(".").append(std::to_string(conversion.precision));
  return out.append(ending);
}

// The pattern is rebuilt from checked parts; it is never the client's text.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
template <class T>
std::string print(const std::string& checked_pattern, T value) {
  const int size = std::snprintf(nullptr, 0, checked_pattern.c_str(), value);
  std::string out(size > 0 ? static_cast<std::size_t>(size) + 1 : 1, '\0');
  std::snprintf(out.data(), out.size(), checked_pattern.c_str(), value);
  out.pop_back();
  return out;
}
#pragma GCC diagnostic pop

std::optional<std::string> read_string(const RegisterMemoryReader& reader, std::uint64_t address) {
  std::string out;
  while (out.size() < kMaxString) {
    char block[64];
    const std::size_t got =
        reader.read_memory(address, {reinterpret_cast<std::uint8_t*>(block), sizeof(block)});
    const std::string_view text(block, got);
    const std::size_t end = text.find('\0');
    out.append(text.substr(0, end));
    if (end != std::string_view::npos) return out;
    if (got < sizeof(block)) return std::nullopt;
    address += sizeof(block);
  }
  return out;
}

/// gdb sends the format as the user typed it, escapes and all.
char take_escape(std::string_view format, std::size_t& at) {
  const char c = format[at++];
  if (c >= '0' && c <= '7') {
    int value = c - '0';
    for (int digits = 1; digits < 3 && at < format.size() && format[at] >= '0' && format[at] <= '7';
         ++digits) {
      value = value * 8 + (format[at++] - '0');
    }
    return static_cast<char>(value);
  }
  switch (c) {
    case 'a':
      return '\a';
    case 'b':
      return '\b';
    case 'e':
      return '\x1b';
    case 'f':
      return '\f';
    case 'n':
      return '\n';
    case 'r':
      return '\r';
    case 't':
      return '\t';
    case 'v':
      return '\v';
    default:
      return c;
  }
}

std::uint64_t truncated(std::uint64_t value, unsigned bits) {
  return bits == 64 ? value : value & ((std::uint64_t{1} << bits) - 1);
}

long long sign_extended(std::uint64_t value, unsigned bits) {
  const unsigned unused = 64 - bits;
  return static_cast<long long>(value << unused) >> unused;
}

std::optional<std::string> convert(const Conversion& conversion, std::uint64_t value,
                                   const RegisterMemoryReader& reader) {
  switch (conversion.letter) {
    case 'd':
    case 'i':
      return print(pattern(conversion, "lld"), sign_extended(value, conversion.bits));
    case 'u':
    case 'o':
    case 'x':
    case 'X': {
      const std::string ending = std::string("ll") + conversion.letter;
      return print(pattern(conversion, ending),
                   static_cast<unsigned long long>(truncated(value, conversion.bits)));
    }
    case 'c':
      return print(pattern(conversion, "c"), static_cast<int>(value & 0xff));
    case 'p':
      return print(std::string("0x%llx"), static_cast<unsigned long long>(value));
    case 's': {
      const std::optional<std::string> text = read_string(reader, value);
      if (!text) return std::nullopt;
      return print(pattern(conversion, "s"), text->c_str());
    }
    default:
      return std::nullopt;
  }
}

}  // namespace

std::optional<std::string> format_agent_text(std::string_view format,
                                             std::span<const std::uint64_t> arguments,
                                             const RegisterMemoryReader& reader,
                                             std::size_t limit) {
  std::string out;
  std::size_t next = 0;
  for (std::size_t at = 0; at < format.size() && out.size() < limit;) {
    const char c = format[at++];
    if (c == '\\' && at < format.size()) {
      out.push_back(take_escape(format, at));
      continue;
    }
    if (c != '%') {
      out.push_back(c);
      continue;
    }
    if (at < format.size() && format[at] == '%') {
      out.push_back('%');
      ++at;
      continue;
    }
    const std::optional<Conversion> conversion = take_conversion(format, at);
    if (!conversion || next >= arguments.size()) return std::nullopt;
    const std::optional<std::string> text = convert(*conversion, arguments[next++], reader);
    if (!text) return std::nullopt;
    out += *text;
  }
  if (out.size() > limit) out.resize(limit);
  return out;
}

}  // namespace chronovisor::gdb
