// Owns what a method is: its name, what it takes and answers, what it does to the
// session, and the function that does it. Parameters are bound to the members of a typed
// request, which also say what holds when one is not given; the published schema, the
// check of what a client sends, and the request come from the same row. Knows no protocol.
// Rows are made once and then only looked at; any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "api/call_error.h"
#include "api/value.h"
#include "base/cancel.h"

namespace chronovisor::api {

class Context;

/// What a method does to the session that others share.
enum class Effect : std::uint8_t {
  looks,    ///< nothing
  travels,  ///< it may stand elsewhere afterwards
  sets,     ///< what is set for this session: a breakpoint
  changes,  ///< the recording's file, or the guest, on a branch: needs --allow-changes
};
[[nodiscard]] const char* effect_word(Effect effect);

/// Where a method is answered, if there is such a place: see api/desks.h.
enum class Desk : std::uint8_t {
  session,  ///< by the session itself, one after the other
  search,   ///< beside it, from where it stands; where the answer leads, it goes
  strip,    ///< beside it, and wherever it stands
};

/// One call that is being answered.
struct Call {
  CancelToken cancel{};
  /// Told how much of how much is done. From the thread of the call.
  std::function<void(std::uint64_t done, std::uint64_t total)> progress;
  /// Told of a position that a search has found, seen at `seen_ns` of the host's clock, before
  /// its answer has it. From any thread; may be empty.
  std::function<void(std::uint64_t position, std::uint64_t seen_ns)> found{};
};

/// Gives the address of a name. Throws CallError.
using AddressNames = std::function<std::uint64_t(const std::string& name)>;

/// The names that a session knows: see api/context.h.
[[nodiscard]] AddressNames names_of(Context& context, const Call& call);

struct Parameter {
  std::string name;
  std::string description;
  Value shape;
  bool required = false;
  Value standard{};  ///< what holds when it is not given; null: nothing does
};

struct Method {
  std::string name;
  std::string description;
  Effect effect = Effect::looks;
  std::vector<Parameter> parameters;
  Value answer;  ///< its shape; always an object
  Desk desk = Desk::session;
  bool tool = true;  ///< shown to agents, of whom attention is asked for each
  /// Checks what a client sends, without a session. Throws CallError.
  std::function<void(const Value& parameters, const AddressNames& names)> check;
  /// Checks, and answers. Throws Error. On the session's thread.
  std::function<Value(Context& context, const Value& parameters, const Call& call)> run;

  /// An object with the parameters as properties.
  [[nodiscard]] Value parameters_shape() const;
};

enum class Presence : std::uint8_t { optional, required };

struct Range {
  std::uint64_t least = 0;
  std::uint64_t most = ~std::uint64_t{0};
};

/// Reads one value. Each throws CallError{wrong_parameters} that names `name`.
namespace read {
[[nodiscard]] std::uint64_t count(const Value& value, const std::string& name, Range range);
[[nodiscard]] std::uint64_t address(const Value& value, const std::string& name,
                                    const AddressNames& names);
[[nodiscard]] bool flag(const Value& value, const std::string& name);
[[nodiscard]] std::string text(const Value& value, const std::string& name);
/// A place may be a number, too.
[[nodiscard]] std::string place(const Value& value, const std::string& name);
[[nodiscard]] std::size_t choice(const Value& value, const std::string& name,
                                 std::span<const std::string> words);
}  // namespace read

namespace shape {
[[nodiscard]] Value count_within(Range range);
/// A number, or a text with one, or with the name of a symbol.
[[nodiscard]] Value address();
[[nodiscard]] Value place();
[[nodiscard]] Value choice_of(std::span<const std::string> words);
}  // namespace shape

/// A row in the making. `Request` is the typed request; each parameter names a member of
/// it, or is a function that gives a reference to one.
template <typename Request>
class Row {
 public:
  Row(const char* name, Effect effect, const char* description) {
    method_.name = name;
    method_.effect = effect;
    method_.description = description;
  }

  template <typename Member>
  Row&& count(const char* name, Member member, Range range, const char* description,
              Presence presence = Presence::optional) && {
    add(name, member, shape::count_within(range), description, presence,
        [range, text = std::string(name)](const Value& value, const AddressNames&) {
          return read::count(value, text, range);
        });
    return std::move(*this);
  }
  template <typename Member>
  Row&& address(const char* name, Member member, const char* description,
                Presence presence = Presence::required) && {
    add(name, member, shape::address(), description, presence,
        [text = std::string(name)](const Value& value, const AddressNames& names) {
          return read::address(value, text, names);
        });
    return std::move(*this);
  }
  template <typename Member>
  Row&& flag(const char* name, Member member, const char* description) && {
    add(name, member, Value(Value::Object{{"type", "boolean"}}), description, Presence::optional,
        [text = std::string(name)](const Value& value, const AddressNames&) {
          return read::flag(value, text);
        });
    return std::move(*this);
  }
  template <typename Member>
  Row&& text(const char* name, Member member, const char* description,
             Presence presence = Presence::optional) && {
    add(name, member, Value(Value::Object{{"type", "string"}, {"maxLength", 4096}}), description,
        presence, [text = std::string(name)](const Value& value, const AddressNames&) {
          return read::text(value, text);
        });
    return std::move(*this);
  }
  template <typename Member>
  Row&& place(const char* name, Member member, const char* description,
              Presence presence = Presence::optional) && {
    add(name, member, shape::place(), description, presence,
        [text = std::string(name)](const Value& value, const AddressNames&) {
          return read::place(value, text);
        });
    return std::move(*this);
  }
  /// `words` are the names of the values 0, 1, 2 ... of the member's enumeration.
  template <typename Member>
  Row&& choice(const char* name, Member member, std::initializer_list<const char*> words,
               const char* description, Presence presence = Presence::optional) && {
    using Choice = std::remove_cvref_t<std::invoke_result_t<Member, Request&>>;
    const std::vector<std::string> all(words.begin(), words.end());
    add(name, member, shape::choice_of(all), description, presence,
        [all, text = std::string(name)](const Value& value, const AddressNames&) {
          return static_cast<Choice>(read::choice(value, text, all));
        });
    if (presence == Presence::optional) {
      Request standard{};
      method_.parameters.back().standard =
          all.at(static_cast<std::size_t>(std::invoke(member, standard)));
    }
    return std::move(*this);
  }

  /// Programs have a use for it, agents hardly.
  Row&& not_for_agents() && {
    method_.tool = false;
    return std::move(*this);
  }

  Row&& beside(Desk desk) && {
    method_.desk = desk;
    return std::move(*this);
  }

  /// Finishes the row: `run` is called as run(context, request, call) and gives a Value
  /// of the shape `answer`.
  template <typename Run>
  Method answers(Value answer, Run run) && {
    method_.answer = std::move(answer);
    const auto request_of = [setters = std::move(setters_), method = method_](
                                const Value& parameters, const AddressNames& names) {
      return made(setters, method, parameters, names);
    };
    method_.check = [request_of](const Value& parameters, const AddressNames& names) {
      static_cast<void>(request_of(parameters, names));
    };
    method_.run = [request_of, run](Context& context, const Value& parameters,
                                    const Call& call) -> Value {
      return run(context, request_of(parameters, names_of(context, call)), call);
    };
    return std::move(method_);
  }

 private:
  using Setter = std::function<void(Request&, const Value&, const AddressNames&)>;

  static Value standard_of(std::uint64_t number) { return number; }
  static Value standard_of(bool flag) { return flag; }
  static Value standard_of(const std::string& text) { return text.empty() ? Value() : Value(text); }
  template <typename Other>
  static Value standard_of(const Other& /*nothing that a client would write*/) {
    return {};
  }

  template <typename Member, typename Reader>
  void add(const char* name, Member member, Value shape, const char* description, Presence presence,
           Reader reader) {
    Request standard{};
    Parameter parameter{name, description, std::move(shape), presence == Presence::required, {}};
    if (!parameter.required) parameter.standard = standard_of(std::invoke(member, standard));
    method_.parameters.push_back(std::move(parameter));
    setters_.push_back(
        [member, reader](Request& request, const Value& value, const AddressNames& names) {
          std::invoke(member, request) = reader(value, names);
        });
  }

  static Request made(const std::vector<Setter>& setters, const Method& method,
                      const Value& parameters, const AddressNames& names);

  Method method_;
  std::vector<Setter> setters_;
};

/// Which parameter of the method each member of `parameters` is, by its number. Throws
/// CallError for what is no object, for an unknown member, and for one that is missing.
[[nodiscard]] std::vector<std::pair<std::size_t, const Value*>> given_parameters(
    const Method& method, const Value& parameters);

template <typename Request>
Request Row<Request>::made(const std::vector<Setter>& setters, const Method& method,
                           const Value& parameters, const AddressNames& names) {
  Request request{};
  for (const auto& [number, value] : given_parameters(method, parameters)) {
    setters[number](request, *value, names);
  }
  return request;
}

}  // namespace chronovisor::api
