#include "replica/protocol/message.h"

#include "base/error.h"

namespace chronovisor::replica {
namespace {

template <class Id>
void put_id(const Id& id, ByteWriter& out) {
  out.integer(id.low);
  out.integer(id.high);
}

template <class Id>
Id take_id(ByteReader& in) {
  Id id;
  id.low = in.integer<std::uint64_t>();
  id.high = in.integer<std::uint64_t>();
  return id;
}

bool take_bool(ByteReader& in) {
  const auto value = in.integer<std::uint8_t>();
  if (value > 1) in.fail("neither yes nor no");
  return value == 1;
}

Position take_position(ByteReader& in) { return {in.integer<std::uint64_t>()}; }

void put_mark(const Mark& mark, ByteWriter& out) {
  out.integer(mark.number);
  out.integer(mark.position.steps);
  out.integer(mark.idle_ns);
  out.integer(mark.outputs);
  out.integer(mark.log_bytes);
}

Mark take_mark(ByteReader& in) {
  Mark mark;
  mark.number = in.integer<std::uint64_t>();
  mark.position = take_position(in);
  mark.idle_ns = in.integer<std::uint64_t>();
  mark.outputs = in.integer<std::uint64_t>();
  mark.log_bytes = in.integer<std::uint64_t>();
  return mark;
}

struct Encoder {
  ByteWriter& out;

  void operator()(const Hello& hello) const {
    out.integer(hello.version);
    out.integer(static_cast<std::uint8_t>(hello.role));
    put_id(hello.end.node, out);
    put_id(hello.end.nonce, out);
    out.integer(hello.behaviour);
  }
  void operator()(const Past& past) const { out.bytes(past.bytes); }
  void operator()(const PastEnd& end) const { put_mark(end.mark, out); }
  void operator()(const Log& log) const { out.bytes(log.bytes); }
  void operator()(const Marked& marked) const {
    put_mark(marked.mark, out);
    out.integer(marked.released);
  }
  void operator()(const Protect& protect) const {
    out.integer(static_cast<std::uint8_t>(protect.has_arbiter));
    out.integer(protect.released);
  }
  void operator()(const Acknowledge& ack) const {
    out.integer(ack.held);
    out.integer(ack.executed);
    out.integer(ack.position.steps);
    out.integer(ack.compared.steps);
  }
  void operator()(const Alive& alive) const { out.integer(alive.released); }
  void operator()(const Diverged& diverged) const {
    out.integer(diverged.position.steps);
    put_id(diverged.expected, out);
    put_id(diverged.found, out);
  }
  void operator()(const Yield& /*yield*/) const {}
  void operator()(const Over& over) const {
    out.integer(static_cast<std::uint8_t>(over.guest_ended));
  }
  void operator()(const Live& /*live*/) const {}
  void operator()(const Claim& claim) const {
    put_id(claim.session, out);
    put_id(claim.node, out);
  }
  void operator()(const Verdict& verdict) const {
    put_id(verdict.session, out);
    put_id(verdict.holder, out);
  }
};

Hello take_hello(ByteReader& in) {
  Hello hello;
  hello.version = in.integer<std::uint32_t>();
  if (hello.version != kProtocolVersion) {
    in.fail("the other end speaks version " + std::to_string(hello.version) +
            " of the protocol, this program version " + std::to_string(kProtocolVersion));
  }
  const auto role = in.integer<std::uint8_t>();
  if (role != 1 && role != 2) in.fail("a role that there is not");
  hello.role = static_cast<Role>(role);
  hello.end.node = take_id<NodeId>(in);
  hello.end.nonce = take_id<Nonce>(in);
  hello.behaviour = in.integer<std::uint32_t>();
  return hello;
}

/// Braces evaluate from left to right, in the order of the bytes.
Message take_message(std::uint16_t type, ByteView payload, ByteReader& in) {
  const auto rest = [&] {
    if (payload.size() > kMostPiece) in.fail("more bytes than a piece may have");
    const ByteView bytes = in.bytes(payload.size());
    return Bytes(bytes.begin(), bytes.end());
  };
  const auto u64 = [&] { return in.integer<std::uint64_t>(); };
  switch (type) {
    case 1:
      return take_hello(in);
    case 2:
      return Past{rest()};
    case 3:
      return PastEnd{take_mark(in)};
    case 4:
      return Log{rest()};
    case 5:
      return Marked{take_mark(in), u64()};
    case 6:
      return Protect{take_bool(in), u64()};
    case 7:
      return Acknowledge{u64(), u64(), take_position(in), take_position(in)};
    case 8:
      return Alive{u64()};
    case 9:
      return Diverged{take_position(in), take_id<Hash128>(in), take_id<Hash128>(in)};
    case 10:
      return Yield{};
    case 11:
      return Over{take_bool(in)};
    case 12:
      return Live{};
    case 20:
      return Claim{take_id<SessionId>(in), take_id<NodeId>(in)};
    case 21:
      return Verdict{take_id<SessionId>(in), take_id<NodeId>(in)};
    default:
      in.fail("a message of type " + std::to_string(type) + ", which there is not");
  }
}

/// By their place in Message.
constexpr std::uint16_t kTypes[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 20, 21};
constexpr const char* kNames[] = {"hello",   "past",        "past end", "log",      "mark",
                                  "protect", "acknowledge", "alive",    "diverged", "yield",
                                  "over",    "live",        "claim",    "verdict"};
static_assert(std::size(kTypes) == std::variant_size_v<Message>);
static_assert(std::size(kNames) == std::variant_size_v<Message>);

}  // namespace

std::uint16_t message_type(const Message& message) { return kTypes[message.index()]; }

const char* message_name(const Message& message) { return kNames[message.index()]; }

Bytes encode_payload(const Message& message) {
  ByteWriter out;
  std::visit(Encoder{out}, message);
  return out.take();
}

Message decode_message(std::uint16_t type, ByteView payload) {
  ByteReader in(payload, "replication");
  Message message = take_message(type, payload, in);
  if (!in.at_end()) in.fail("bytes behind the end of a message");
  return message;
}

}  // namespace chronovisor::replica
