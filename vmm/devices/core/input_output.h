// Owns the one shape of what comes into a machine and of what goes out of it:
// a kind, the number of a device among those of its kind, and bytes. Knows no
// device and nothing of where inputs come from or outputs go. Values; any thread.
#pragma once

#include <cstdint>

#include "base/bytes.h"

namespace chronovisor {

/// What comes from outside. The numbers are those of the input log on disk.
enum class InputKind : std::uint8_t {
  serial_byte = 1,    ///< payload: the byte; device: the port, 0 = COM1
  serial_closed = 2,  ///< the other end of the line went away; nothing is delivered
  wakeup = 3,         ///< an idle wait ended before the next timer; payload: new idle ns, 8 bytes
  key = 4,            ///< payload: scan code bytes
  mouse = 5,          ///< reserved: no such device yet
  network_frame = 6,  ///< payload: the frame without its check sequence; device: the card
  cd_change = 7,      ///< payload: core/media.h; device: the number of the drive
  power_button = 8,   ///< pressed and released
  reset_button = 9,
  clock = 10,  ///< virtual time goes on; payload: new idle ns, 8 bytes, but no further than a timer
  pointer = 11,  ///< payload: x and y of 0..32767, 2 bytes each; buttons; wheel
};

struct Input {
  InputKind kind = InputKind::serial_byte;
  std::uint16_t device = 0;
  Bytes payload;
};

/// A device's side of an input. It registers with Declaration::receives().
class InputReceiver {
 public:
  virtual ~InputReceiver() = default;
  virtual void receive(const Input& input) = 0;
  /// An input of `kind` would not be lost now.
  [[nodiscard]] virtual bool has_room(InputKind /*kind*/) const { return true; }
};

/// What goes out. A kind whose bytes are kept as console text says so in
/// recorder/format (ConsoleChannel).
enum class OutputKind : std::uint8_t {
  serial = 1,    ///< payload: bytes sent by a serial port; device 0 = COM1
  debug = 2,     ///< payload: bytes written to the debug console
  frame = 3,     ///< payload: a frame without its check sequence; device: the card that sent it
  console = 4,   ///< payload: bytes sent by a virtio console
  parallel = 5,  ///< payload: the byte that was printed
};

struct Output {
  OutputKind kind = OutputKind::serial;
  std::uint16_t device = 0;
  ByteView payload;  ///< valid during the call
};

/// Where a device puts its outputs.
class OutputSink {
 public:
  virtual ~OutputSink() = default;
  virtual void put(const Output& output) = 0;
};

}  // namespace chronovisor
