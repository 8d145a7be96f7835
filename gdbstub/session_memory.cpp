// The packets that read and write registers and memory.
#include <algorithm>
#include <array>
#include <vector>

#include "base/error.h"
#include "gdbstub/session.h"
#include "gdbstub/wire.h"

namespace chronovisor::gdb {

namespace {

constexpr std::size_t kMaxRegisterBytes = 256;
constexpr std::size_t kSearchBlockBytes = 65536;

// gdb takes an error for `m` only in this form.
Answer memory_error() { return Answer::of("E0e"); }

std::uint64_t take_length(PacketReader& packet, std::uint64_t& address) {
  address = packet.hex();
  packet.expect(',');
  return packet.hex();
}

/// gdb's own CRC-32: polynomial 0x04c11db7, most significant bit first, start
/// value all ones, no final inversion. Source: GDB manual, `compare-sections`.
class Crc32 {
 public:
  Crc32() {
    for (std::uint32_t i = 0; i < table_.size(); ++i) {
      std::uint32_t crc = i << 24;
      for (int bit = 0; bit < 8; ++bit) {
        crc = (crc & 0x80000000U) != 0 ? crc << 1 ^ 0x04c11db7U : crc << 1;
      }
      table_[i] = crc;
    }
  }
  void add(ByteView data) {
    for (const std::uint8_t byte : data)
      value_ = value_ << 8 ^ table_[(value_ >> 24 ^ byte) & 0xff];
  }
  [[nodiscard]] std::uint32_t value() const { return value_; }

 private:
  std::array<std::uint32_t, 256> table_{};
  std::uint32_t value_ = 0xffffffffU;
};

}  // namespace

const RegisterDescription& Session::register_row(std::uint64_t number) const {
  const auto& registers = target_.description().registers;
  if (number >= registers.size()) {
    throw Error(ErrorCode::bad_input, "there is no register " + std::to_string(number));
  }
  return registers[number];
}

void Session::append_register(std::string& out, std::size_t index) const {
  std::array<std::uint8_t, kMaxRegisterBytes> raw{};
  const std::size_t size = register_bytes(register_row(index));
  if (target_.read_register(index, {raw.data(), size})) {
    append_hex(out, {raw.data(), size});
  } else {
    out.append(2 * size, 'x');
  }
}

void Session::store_register(std::size_t index, ByteView value) {
  std::array<std::uint8_t, kMaxRegisterBytes> now{};
  if (target_.read_register(index, {now.data(), value.size()}) &&
      std::equal(value.begin(), value.end(), now.begin())) {
    return;
  }
  if (index == target_.description().program_counter) stopped_at_breakpoint_ = false;
  target_.write_register(index, value);
}

void Session::set_program_counter(std::uint64_t address) {
  const std::size_t index = target_.description().program_counter;
  Bytes value(register_bytes(register_row(index)));
  for (std::uint8_t& byte : value) {
    byte = static_cast<std::uint8_t>(address);
    address >>= 8;
  }
  store_register(index, value);
}

std::uint64_t Session::program_counter() const {
  const std::size_t index = target_.description().program_counter;
  std::array<std::uint8_t, kMaxRegisterBytes> raw{};
  const std::size_t size = std::min<std::size_t>(8, register_bytes(register_row(index)));
  std::uint64_t value = 0;
  if (!target_.read_register(index, {raw.data(), size})) return 0;
  for (std::size_t i = size; i-- > 0;) value = value << 8 | raw[i];
  return value;
}

Answer Session::read_registers(PacketReader& packet) {
  skip_thread_suffix(packet);
  std::string out;
  for (std::size_t i = 0; i < target_.description().registers.size(); ++i) append_register(out, i);
  return Answer::of(std::move(out));
}

Answer Session::write_registers(PacketReader& packet) {
  const std::string_view digits = packet.until(';');
  if (!packet.at_end()) {
    if (!packet.take("thread:") || !names_our_thread(packet)) packet.fail("no such thread");
  }
  const auto& registers = target_.description().registers;
  std::size_t total = 0;
  for (const RegisterDescription& row : registers) total += 2 * register_bytes(row);
  if (digits.size() != total) {
    packet.fail("expected " + std::to_string(total) + " digits for all registers");
  }
  std::vector<std::optional<Bytes>> values;
  std::size_t at = 0;
  for (const RegisterDescription& row : registers) {
    const std::string_view field = digits.substr(at, 2 * register_bytes(row));
    at += field.size();
    // 'x' means that the client has no value for it.
    const bool unknown = field.find_first_not_of('x') == std::string_view::npos;
    values.push_back(unknown ? std::nullopt : decode_hex(field));
    if (!unknown && !values.back()) packet.fail("expected hexadecimal digits");
  }
  try {
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (values[i]) store_register(i, *values[i]);
    }
  } catch (const Error& failure) {
    return register_refused(failure.what());
  }
  return Answer::of("OK");
}

Answer Session::read_register(PacketReader& packet) {
  const std::uint64_t number = packet.hex();
  skip_thread_suffix(packet);
  static_cast<void>(register_row(number));  // bounds it
  std::string out;
  append_register(out, number);
  return Answer::of(std::move(out));
}

Answer Session::write_register(PacketReader& packet) {
  const std::uint64_t number = packet.hex();
  packet.expect('=');
  const RegisterDescription& row = register_row(number);
  const std::optional<Bytes> value = decode_hex(packet.characters(2 * register_bytes(row)));
  if (!value) packet.fail("expected hexadecimal digits");
  skip_thread_suffix(packet);
  try {
    store_register(number, *value);
  } catch (const Error& failure) {
    return register_refused(failure.what());
  }
  return Answer::of("OK");
}

// gdb shows the whole reply to a register write, and has always taken "E." for
// an error there, whether or not it offered error-message.
Answer Session::register_refused(std::string_view text) const {
  if (error_strings_) return error(text);
  return Answer::of(join({"E.", plain_text(text)}));
}

Answer Session::read_memory(PacketReader& packet) {
  std::uint64_t address = 0;
  const std::uint64_t length = take_length(packet, address);
  packet.expect_end();
  Bytes data(std::min<std::uint64_t>(length, kMaxPacketBytes / 2));
  const std::size_t got = target_.read_memory(address, data);
  if (got == 0 && length > 0) return memory_error();
  return Answer::of(hex_bytes(ByteView(data).first(got)));
}

Answer Session::read_binary(PacketReader& packet) {
  std::uint64_t address = 0;
  const std::uint64_t length = take_length(packet, address);
  packet.expect_end();
  if (address == 0 && length == 0) {
    // lldb before 21 asks this to learn whether `x` exists; its replies are
    // the bytes alone, where gdb's begin with 'b'.
    bare_binary_reads_ = true;
    return Answer::of("OK");
  }
  Bytes data(std::min<std::uint64_t>(length, kMaxPacketBytes));
  data.resize(target_.read_memory(address, data));
  if (data.empty() && length > 0) return memory_error();
  std::string reply(bare_binary_reads_ ? "" : "b");
  reply.append(data.begin(), data.end());
  // Escapes can double the size; what does not fit is asked for again.
  if (escaped_size(reply) > kMaxPacketBytes) {
    reply.resize(std::min(reply.size(), kMaxPacketBytes / 2));
  }
  return Answer::of(std::move(reply));
}

Answer Session::write_memory(PacketReader& packet) {
  std::uint64_t address = 0;
  const std::uint64_t length = take_length(packet, address);
  packet.expect(':');
  const std::optional<Bytes> data = decode_hex(packet.rest());
  if (!data || data->size() != length) packet.fail("data do not have the length given");
  if (target_.write_memory(address, *data) != data->size()) return memory_error();
  return Answer::of("OK");
}

Answer Session::write_binary(PacketReader& packet) {
  std::uint64_t address = 0;
  const std::uint64_t length = take_length(packet, address);
  packet.expect(':');
  const ByteView data = as_bytes(packet.rest());
  if (data.size() != length) packet.fail("data do not have the length given");
  if (target_.write_memory(address, data) != data.size()) return memory_error();
  return Answer::of("OK");
}

Answer Session::search_memory(PacketReader& packet) {
  packet.expect(':');
  const std::uint64_t start = packet.hex();
  packet.expect(';');
  const std::uint64_t length = packet.hex();
  packet.expect(';');
  const ByteView raw = as_bytes(packet.rest());
  if (raw.empty()) packet.fail("the pattern is empty");
  if (raw.size() > length) return Answer::of("0");
  Answer answer;
  answer.life = SignOfLife::acknowledgement;
  answer.work = [this, start, length, pattern = Bytes(raw.begin(), raw.end())](CancelToken cancel) {
    // A window of one block plus what a pattern across its end needs.
    Bytes window;
    std::uint64_t window_offset = 0;
    std::uint64_t fetched = 0;
    while (fetched < length && !cancel.requested()) {
      const std::size_t want = std::min<std::uint64_t>(kSearchBlockBytes, length - fetched);
      const std::size_t kept = window.size();
      window.resize(kept + want);
      const std::size_t got = target_.read_memory(start + fetched, std::span(window).subspan(kept));
      window.resize(kept + got);
      const auto hit = std::search(window.begin(), window.end(), pattern.begin(), pattern.end());
      if (hit != window.end()) {
        const auto at = static_cast<std::uint64_t>(hit - window.begin());
        return Answer::of(join({"1,", hex_number(start + window_offset + at)}));
      }
      if (got < want) return memory_error();
      fetched += got;
      const std::size_t keep = std::min(window.size(), pattern.size() - 1);
      window_offset += window.size() - keep;
      window.erase(window.begin(), window.end() - static_cast<std::ptrdiff_t>(keep));
    }
    return fetched < length ? memory_error() : Answer::of("0");
  };
  return answer;
}

Answer Session::checksum_memory(PacketReader& packet) {
  packet.expect(':');
  std::uint64_t address = 0;
  const std::uint64_t length = take_length(packet, address);
  packet.expect_end();
  Answer answer;
  answer.life = SignOfLife::acknowledgement;
  answer.work = [this, address, length](CancelToken cancel) {
    Crc32 crc;
    Bytes block(kSearchBlockBytes);
    for (std::uint64_t done = 0; done < length;) {
      const std::size_t want = std::min<std::uint64_t>(block.size(), length - done);
      if (cancel.requested() || target_.read_memory(address + done, {block.data(), want}) != want) {
        return memory_error();
      }
      crc.add(ByteView(block).first(want));
      done += want;
    }
    return Answer::of(join({"C", hex_number(crc.value())}));
  };
  return answer;
}

}  // namespace chronovisor::gdb
