#include "host/input_script.h"

#include <charconv>
#include <utility>

#include "base/error.h"
#include "host/key_text.h"
#include "vmm/devices/input/ps2_mouse.h"
#include "vmm/devices/virtio/virtio_tablet.h"

namespace chronovisor {
namespace {

/// How long a key is held, and how long until the next: as a quick typist does.
constexpr std::uint64_t kHeldNs = 10'000'000;
constexpr std::uint64_t kBetweenNs = 20'000'000;
/// Of a virtio console among what takes bytes: it is behind the serial ports.
constexpr std::uint16_t kConsoleNumber = 2;

ScriptStep step_of(InputKind kind, Bytes payload, std::uint64_t wait_ns) {
  ScriptStep step;
  step.input = {kind, 0, std::move(payload)};
  step.wait_ns = wait_ns;
  return step;
}

ScriptStep mouse_step(const Ps2Mouse::Movement& movement) {
  return step_of(InputKind::mouse, Ps2Mouse::payload_of(movement), kBetweenNs);
}

std::string_view next_word(std::string_view& rest) {
  const std::size_t begin = std::min(rest.find_first_not_of(" \t"), rest.size());
  rest.remove_prefix(begin);
  const std::size_t end = std::min(rest.find_first_of(" \t"), rest.size());
  const std::string_view word = rest.substr(0, end);
  rest.remove_prefix(end);
  return word;
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t' || text.back() == '\r')) {
    text.remove_suffix(1);
  }
  return text;
}

std::uint8_t button_of(std::string_view name) {
  if (name == "left") return 1;
  if (name == "right") return 2;
  if (name == "middle") return 4;
  if (name == "none") return 0;
  throw Error(ErrorCode::usage, "\"" + std::string(name) + "\" is no button");
}

int number_of(std::string_view word, int most) {
  int value = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (word.empty() || error != std::errc{} || end != word.data() + word.size() || value > most ||
      value < -most) {
    throw Error(ErrorCode::usage, "\"" + std::string(word) + "\" is no distance from -" +
                                      std::to_string(most) + " to " + std::to_string(most));
  }
  return value;
}

class Parser {
 public:
  void line(std::string_view text) {
    std::string_view rest = trimmed(text);
    if (rest.empty() || rest.front() == '#') return;
    const std::string_view word = next_word(rest);
    const std::string_view argument = trimmed(rest);
    if (word == "wait") {
      ScriptStep step;
      step.kind = ScriptStep::Kind::wait;
      step.wait_ns = wait_of(argument);
      steps.push_back(step);
    } else if (word == "wait-screen" || word == "wait-serial") {
      if (argument.empty()) throw Error(ErrorCode::usage, "what shall be waited for?");
      ScriptStep step;
      step.kind = word == "wait-screen" ? ScriptStep::Kind::screen : ScriptStep::Kind::serial;
      step.text = argument;
      steps.push_back(step);
    } else if (word == "keys") {
      for (ScriptStep& step : steps_of_keys(argument)) steps.push_back(std::move(step));
    } else if (word == "end" && argument.empty()) {
      ScriptStep step;
      step.kind = ScriptStep::Kind::end;
      steps.push_back(step);
    } else if (word == "point") {
      point(rest);
    } else if (word == "console") {
      for (const char letter : std::string(argument) + "\n") {
        steps.push_back(
            step_of(InputKind::serial_byte, {static_cast<std::uint8_t>(letter)}, kHeldNs));
        steps.back().input.device = kConsoleNumber;
      }
    } else if (word == "power-button" && argument.empty()) {
      steps.push_back(step_of(InputKind::power_button, {}, kBetweenNs));
    } else {
      mouse(word, rest);
    }
  }
  std::vector<ScriptStep> steps;

 private:
  void point(std::string_view rest) {
    VirtioTablet::Pointer pointer;
    pointer.buttons = held_;
    for (std::uint16_t* const axis : {&pointer.x, &pointer.y}) {
      const std::string_view word = next_word(rest);
      const int place = number_of(word, VirtioTablet::kMost);
      if (place < 0) throw Error(ErrorCode::usage, "\"" + std::string(word) + "\" is no place");
      *axis = static_cast<std::uint16_t>(place);
    }
    if (!next_word(rest).empty()) throw Error(ErrorCode::usage, "too many words");
    steps.push_back(step_of(InputKind::pointer, VirtioTablet::payload_of(pointer), kBetweenNs));
  }

  void mouse(std::string_view word, std::string_view rest) {
    Ps2Mouse::Movement movement;
    movement.buttons = held_;
    const std::string_view first = next_word(rest);
    if (word == "mouse") {
      movement.right = static_cast<std::int16_t>(number_of(first, 30'000));
      movement.down = static_cast<std::int16_t>(number_of(next_word(rest), 30'000));
      const std::string_view wheel = next_word(rest);
      if (!wheel.empty()) movement.wheel = static_cast<std::int8_t>(number_of(wheel, 100));
      steps.push_back(mouse_step(movement));
    } else if (word == "button" || word == "click") {
      movement.buttons = button_of(first);
      steps.push_back(mouse_step(movement));
      if (word == "button") {
        held_ = movement.buttons;
      } else {
        movement.buttons = held_;
        steps.push_back(mouse_step(movement));
      }
    } else {
      throw Error(ErrorCode::usage, "\"" + std::string(word) + "\" is nothing a script does");
    }
    if (!next_word(rest).empty()) throw Error(ErrorCode::usage, "too many words");
  }

  std::uint8_t held_ = 0;
};

}  // namespace

std::vector<ScriptStep> steps_of_keys(std::string_view text) {
  std::vector<ScriptStep> steps;
  for (TypedKey& key : typed_keys(text)) {
    if (key.wait_ns != 0) {
      ScriptStep wait;
      wait.kind = ScriptStep::Kind::wait;
      wait.wait_ns = key.wait_ns;
      steps.push_back(wait);
      continue;
    }
    steps.push_back(step_of(InputKind::key, std::move(key.press), kHeldNs));
    steps.push_back(step_of(InputKind::key, std::move(key.release), kBetweenNs));
  }
  return steps;
}

std::vector<ScriptStep> parse_input_script(std::string_view script, const std::string& name) {
  Parser parser;
  std::size_t number = 0;
  while (!script.empty()) {
    const std::size_t end = std::min(script.find('\n'), script.size());
    ++number;
    try {
      parser.line(script.substr(0, end));
    } catch (const Error& error) {
      throw Error(ErrorCode::usage,
                  name + ": line " + std::to_string(number) + ": " + error.what());
    }
    script.remove_prefix(std::min(end + 1, script.size()));
  }
  return std::move(parser.steps);
}

}  // namespace chronovisor
