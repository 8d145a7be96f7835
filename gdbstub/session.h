// Owns the conversation with one client: what it offered, which breakpoints it
// set, how it last stopped. Takes whole packets and gives packets back; must
// know no socket and no framing. Whatever may take long is handed back as Work
// for the caller to run on another thread. A session is used by one thread at
// a time; Work counts as such a use.
// Source: GDB manual, appendix "GDB Remote Serial Protocol"; lldb's
// docs/resources/lldbgdbremote.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "base/cancel.h"
#include "gdbstub/agent_expression.h"
#include "gdbstub/target.h"
#include "gdbstub/text.h"

namespace chronovisor::gdb {

struct Answer;
/// A job that may take long. The flag asks it to end early.
using Work = std::function<Answer(CancelToken)>;

/// What a client hears while it waits for Work. gdb takes two seconds (remotetimeout) of
/// silence for a lost packet, but not while it waits for a stop; lldb gives up.
enum class SignOfLife : std::uint8_t {
  none,             ///< it waits as long as it takes: a resume
  console,          ///< console output of no bytes: both take it before a command's result
  acknowledgement,  ///< a `+` that means nothing, where no other packet may come first: gdb
                    ///< skips it. lldb does not, and never waits for such an answer
};

struct Answer {
  std::vector<std::string> packets;    ///< payloads to send, in order, before `work` begins
  Work work;                           ///< when set, the answer goes on with what it returns
  SignOfLife life = SignOfLife::none;  ///< while `work` runs
  bool enter_no_ack = false;           ///< from the next packet on, no acknowledgements
  bool end = false;                    ///< the client is done: close after sending
  bool uninterrupted_stop = false;     ///< a resume ended, and not by an interrupt

  static Answer of(std::string payload) {
    Answer answer;
    answer.packets.push_back(std::move(payload));
    return answer;
  }
  /// What an unknown packet gets.
  static Answer unsupported() { return of({}); }
};

/// What a client offered in qSupported.
struct ClientOffers {
  bool multiprocess = false;
  bool swbreak = false;
  bool hwbreak = false;
  bool error_messages = false;

  /// @param packet all of the packet
  static ClientOffers parse(std::string_view packet);
};

class Session {
 public:
  /// One row of the command table.
  enum class Match {
    exact,   ///< the packet is the prefix
    token,   ///< the prefix, then the end or one of `:;,`
    prefix,  ///< anything that begins so
  };
  struct Command {
    std::string_view prefix;
    Match match;
    Answer (Session::*handler)(PacketReader& packet);
  };

  /// How long an interrupt waits for a resume that it may still stop.
  static constexpr std::chrono::milliseconds kInterruptHolds{1000};

  explicit Session(DebugTarget& target);
  /// Removes the client's breakpoints from the target.
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  /// Answers one packet. Never throws what a packet can cause.
  Answer handle(std::string_view packet);
  /// The answer to a packet that was too long to read.
  Answer handle_oversized();
  /// An interrupt that came while nothing ran. A client that steps by itself
  /// (a software watchpoint, `stepi 1000`) sends it when the stop it is meant to
  /// prevent is on its way already, and resumes at once: that resume ends before
  /// it begins. It is forgotten after kInterruptHolds, and when the client asks
  /// for the thread list, as gdb does when it shows a stop to its user.
  void interrupt_between_runs() { interrupted_at_ = std::chrono::steady_clock::now(); }

  /// The answer to qSupported, whose features are in `packet`. `note` is a
  /// remark that gdb shows to its user as a feature it does not know; it may not
  /// contain ';' or '='.
  static std::string supported_answer(std::string_view packet, bool reverse, std::string_view note);
  /// Every packet that is answered, most specific first.
  static std::span<const Command> commands();

 private:
  using BreakpointKey = std::tuple<BreakpointKind, std::uint64_t, std::uint64_t>;
  using Expressions = std::vector<AgentExpression>;
  struct Planted {
    BreakpointCondition condition;
    Expressions commands;
  };

  // session.cpp: who is there
  Answer extended_mode(PacketReader& packet);
  Answer supported(PacketReader& packet);
  Answer start_no_ack(PacketReader& packet);
  Answer set_thread(PacketReader& packet);
  Answer thread_alive(PacketReader& packet);
  Answer current_thread(PacketReader& packet);
  Answer first_threads(PacketReader& packet);
  Answer more_threads(PacketReader& packet);
  Answer thread_extra_info(PacketReader& packet);
  Answer was_attached(PacketReader& packet);
  Answer attach(PacketReader& packet);
  Answer detach(PacketReader& packet);
  Answer kill(PacketReader& packet);
  Answer kill_process(PacketReader& packet);
  Answer must_reply_empty(PacketReader& packet);
  Answer symbol(PacketReader& packet);
  Answer transfer(PacketReader& packet);
  Answer monitor(PacketReader& packet);

  // session_memory.cpp: registers and memory
  Answer read_registers(PacketReader& packet);
  Answer write_registers(PacketReader& packet);
  Answer read_register(PacketReader& packet);
  Answer write_register(PacketReader& packet);
  Answer read_memory(PacketReader& packet);
  Answer write_memory(PacketReader& packet);
  Answer read_binary(PacketReader& packet);
  Answer write_binary(PacketReader& packet);
  Answer search_memory(PacketReader& packet);
  Answer checksum_memory(PacketReader& packet);

  // session_run.cpp: going and stopping
  Answer stop_reason(PacketReader& packet);
  Answer resume_forward(PacketReader& packet);
  Answer resume_with_signal(PacketReader& packet);
  Answer resume_step(PacketReader& packet);
  Answer resume_step_with_signal(PacketReader& packet);
  Answer resume_threads(PacketReader& packet);
  Answer resume_threads_list(PacketReader& packet);
  Answer reverse_step(PacketReader& packet);
  Answer reverse_continue(PacketReader& packet);
  Answer run_program(PacketReader& packet);
  Answer restart_program(PacketReader& packet);

  // session_breakpoints.cpp
  Answer insert_breakpoint(PacketReader& packet);
  Answer remove_breakpoint(PacketReader& packet);

  // session_lldb.cpp: what only lldb asks
  Answer thread_suffix(PacketReader& packet);
  Answer list_threads_in_stop(PacketReader& packet);
  Answer error_strings(PacketReader& packet);
  Answer host_info(PacketReader& packet);
  Answer process_info(PacketReader& packet);
  Answer memory_region_info(PacketReader& packet);
  Answer register_info(PacketReader& packet);
  Answer thread_stop_info(PacketReader& packet);
  Answer threads_info(PacketReader& packet);

  // session_qemu.cpp: QEMU's extensions, which kernel debuggers' scripts use
  Answer qemu_supported(PacketReader& packet);
  Answer step_modes(PacketReader& packet);
  Answer step_mode(PacketReader& packet);
  Answer set_step_mode(PacketReader& packet);
  Answer physical_memory_mode(PacketReader& packet);
  Answer set_physical_memory_mode(PacketReader& packet);

  Answer error(std::string_view text) const;
  Answer register_refused(std::string_view text) const;
  [[nodiscard]] static std::string plain_text(std::string_view text);
  [[nodiscard]] std::string thread_id() const;
  /// Reads a thread-id and says whether it names our one thread (0 and -1 do).
  [[nodiscard]] bool names_our_thread(PacketReader& packet) const;
  /// Skips lldb's `;thread:ID;`; throws when the thread is not ours.
  void skip_thread_suffix(PacketReader& packet) const;
  [[nodiscard]] std::string transfer_document(std::string_view object,
                                              std::string_view annex) const;

  [[nodiscard]] const RegisterDescription& register_row(std::uint64_t number) const;
  void append_register(std::string& out, std::size_t index) const;
  /// Writes only what differs, so that handing back what was read is no change.
  void store_register(std::size_t index, ByteView value);
  void set_program_counter(std::uint64_t address);
  [[nodiscard]] std::uint64_t program_counter() const;

  [[nodiscard]] std::string stop_packet() const;
  [[nodiscard]] std::string stop_details() const;
  [[nodiscard]] std::string_view lldb_reason() const;
  Answer resume(ResumeRequest request);
  Answer resume_from(PacketReader& packet, ResumeKind kind);
  Answer run_once(const ResumeRequest& request, CancelToken cancel);
  [[nodiscard]] bool interrupt_waits();
  [[nodiscard]] ResumeRequest parse_action(PacketReader& packet, std::string_view action) const;

  [[nodiscard]] Expressions take_expressions(PacketReader& packet) const;
  [[nodiscard]] BreakpointCondition make_condition(Expressions conditions) const;
  /// Runs the commands of the breakpoints just hit and appends what they print.
  /// @return whether each had some, so that the machine goes on
  bool run_breakpoint_commands(std::vector<std::string>& packets);
  void forget_breakpoints();
  static void append_console(std::vector<std::string>& packets, std::string_view text);

  DebugTarget& target_;
  std::map<BreakpointKey, Planted> breakpoints_;
  StopReason stop_;
  ResumeKind last_resume_ = ResumeKind::forward;
  bool stopped_at_breakpoint_ = false;  ///< and nothing has moved the PC since
  bool ending_told_ = false;            ///< the guest ended here, and the client knows how
  bool process_exists_ = true;
  bool extended_ = false;
  std::optional<std::chrono::steady_clock::time_point> interrupted_at_;
  ClientOffers offers_;
  // What the client asked for.
  bool error_strings_ = false;
  bool list_threads_ = false;
  bool lldb_ = false;
  bool bare_binary_reads_ = false;
  std::string document_;       ///< being fetched piece by piece
  std::string document_name_;  ///< "features:target.xml"
};

}  // namespace chronovisor::gdb
