// Owns the log of a primary as a backup has it: chunks that come are taken apart into inputs,
// digests and blocks, which count as far as the last mark; and what the machine is to do at
// its end. The connection's thread puts in, the machine's thread takes out and waits. What
// comes was made elsewhere and is checked like a recording.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <optional>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/units.h"
#include "recorder/format/chunk.h"
#include "recorder/format/input_log.h"
#include "replica/backup/block_store.h"
#include "replica/protocol/message.h"
#include "vmm/machine/input.h"

namespace chronovisor::replica {

class ReceivedLog {
 public:
  /// What the machine does when it has come to the last mark.
  enum class Then : std::uint8_t {
    wait,     ///< for the next one
    live,     ///< take inputs from outside
    run_on,   ///< without inputs, until the guest ends by itself
    stop,     ///< there: the run is over
    give_up,  ///< at once: it can never go live
  };
  /// What a look at the log says of a stamp.
  struct Look {
    enum class Kind : std::uint8_t {
      input,    ///< is due here
      nothing,  ///< is due here, and the log goes on
      end,      ///< nothing more is known; see `then`
    };
    Kind kind = Kind::nothing;
    InputEvent event{};
    Then then = Then::wait;
    std::uint64_t last_mark = 0;  ///< that was known
  };

  /// @param blocks where contents of disks' blocks are kept; it must outlive this
  explicit ReceivedLog(BlockStore& blocks) : blocks_(blocks) {}

  // ---- the connection's thread -----------------------------------------------------------
  /// Chunks of another file are refused.
  void set_file(const FileId& id) { id_ = id; }
  /// The next bytes of the log: chunks, and the header of each further file that it goes on
  /// in. Throws Error{bad_input}.
  void append(ByteView bytes);
  /// What came so far leads to this mark.
  void mark(const Mark& mark);
  void then(Then then);

  // ---- the machine's thread --------------------------------------------------------------
  /// What the recording has of inputs before the log begins. Once, before any look.
  void begin_with(std::deque<InputEvent> events);
  void add_digest(Position position, const Hash128& digest);
  /// Looks what is due at `here`; `of_wakeup`: whether an idle wait asks. An input is taken.
  /// Throws Error{divergence} when one that was due before `here` is still there.
  [[nodiscard]] Look look(InputStamp here, bool of_wakeup);
  /// Waits until there is more to see than `seen` says, so long at most.
  void wait(const Look& seen, std::chrono::milliseconds most);
  /// The next position after `now` at which look() has something new to say.
  [[nodiscard]] Position next_look(Position now) const;
  /// As far as the machine may run in one go on its way, so that it passes no digest.
  [[nodiscard]] Position limit(Position here) const;
  /// The digest of a position, once.
  [[nodiscard]] std::optional<Hash128> take_digest(Position position);
  /// The number of the last mark that was reached, and the outputs that had been made when
  /// the first one was.
  [[nodiscard]] std::uint64_t executed() const;
  [[nodiscard]] std::optional<std::uint64_t> take_first_outputs();
  [[nodiscard]] Then what_then() const;

 private:
  struct Passed {
    Mark mark;
    std::uint64_t events = 0;  ///< before it
  };
  void take_chunk(const ChunkHeader& header, ByteView stored);
  void pass_marks(InputStamp here);

  BlockStore& blocks_;
  FileId id_;
  Bytes incoming_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<InputEvent> unmarked_;  ///< of a log whose mark has not come
  std::deque<InputEvent> events_;
  std::uint64_t events_added_ = 0;
  std::uint64_t events_taken_ = 0;
  std::map<Position, Hash128> digests_;
  std::deque<Passed> marks_;  ///< not reached yet
  Mark last_;
  std::uint64_t executed_ = 0;
  std::optional<std::uint64_t> first_outputs_;
  Then then_ = Then::wait;
};

}  // namespace chronovisor::replica
