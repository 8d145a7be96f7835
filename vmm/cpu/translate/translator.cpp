#include "vmm/cpu/translate/translator.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "vmm/cpu/access_observer.h"
#include "vmm/cpu/code/block_cache.h"
#include "vmm/cpu/code/decoder.h"
#include "vmm/cpu/code/instruction_table.h"
#include "vmm/cpu/translate/assembler.h"
#include "vmm/cpu/translate/block_emitter.h"
#include "vmm/cpu/translate/perf_map.h"

namespace chronovisor::translate {
namespace {

constexpr std::uint32_t kHeatToTranslate = 24;
/// Emitted code in segments is left after each block, which costs what the interpreter
/// takes for about as many instructions.
constexpr std::size_t kLeastStepsInSegments = 24;
constexpr std::int64_t kMostBudget = std::int64_t{1} << 40;
/// More than any instruction needs, its ways out included.
constexpr std::size_t kRoomForInstruction = 1024;
/// Room for a few of the longest blocks, whatever was asked for.
constexpr std::size_t kLeastCache = std::size_t{1} << 18;

/// RFLAGS bits to Context::raw_flags and back.
std::uint64_t pack(std::uint32_t flags) {
  return (std::uint64_t{flags & (kSf | kZf | kAf | kPf | kCf)} << 8) | ((flags & kOf) != 0 ? 1 : 0);
}
std::uint32_t unpack(std::uint64_t raw) {
  return (static_cast<std::uint32_t>(raw >> 8) & (kSf | kZf | kAf | kPf | kCf)) |
         ((raw & 1) != 0 ? kOf : 0U);
}

// MXCSR: exception flags; everything else; the latter after a reset.
constexpr std::uint32_t kMxcsrFlags = 0x3f, kMxcsrControl = 0xffc0, kMxcsrInitial = 0x1f80;

constexpr std::array<std::uint8_t, 5> kNop5{0x0f, 0x1f, 0x44, 0x00, 0x00};

}  // namespace

Translator::Translator(Cpu& cpu, const Settings& settings) : cpu_(cpu), settings_(settings) {
  began_at_ = cpu.run_.steps;
}

Translator::~Translator() {
  if (!settings_.report) return;
  statistics_.all_steps = cpu_.run_.steps - began_at_;
  const Mmu::Counters& mmu = cpu_.mmu_.counters();
  statistics_.slow_accesses = mmu.slow_accesses;
  statistics_.page_walks = mmu.page_walks;
  const Mmu::SpaceCounters spaces = cpu_.mmu_.space_counters();
  statistics_.tlb_flushes = spaces.flushes;
  statistics_.user_half_drops = spaces.user_half_drops;
  statistics_.spaces_entered = spaces.entered;
  statistics_.spaces_known = spaces.known;
  add_to_total(statistics_);
}

void Translator::make_thunks() {
  buffer_ = std::make_unique<CodeBuffer>(
      std::clamp(settings_.cache_bytes, kLeastCache, std::size_t{1} << 30));
  // Zeros from the host: what no jump has gone through is no memory yet.
  jumps_.reset(static_cast<JumpEntry*>(std::calloc(kJumpEntries, sizeof(JumpEntry))));
  if (jumps_ == nullptr) throw Error(ErrorCode::host, "no memory for a table of jumps");
  Context& context = cpu_.translation_;
  context.jumps = jumps_.get();
  context.execute = reinterpret_cast<const void*>(&Translator::execute_entry);
  context.tell = reinterpret_cast<const void*>(&Translator::tell_entry);
  context.translator = this;
  const auto from_state = [&](const void* field) {
    return static_cast<std::int32_t>(static_cast<const char*>(field) -
                                     reinterpret_cast<const char*>(&cpu_.state.gpr));
  };
  Layout layout{};
  layout.budget = from_state(&context.budget);
  layout.rip_base = from_state(&context.rip_base);
  layout.raw_flags = from_state(&context.raw_flags);
  layout.tag = from_state(&context.tag);
  layout.jumps = from_state(&context.jumps);
  layout.exit_value = from_state(&context.exit_value);
  layout.scratch = from_state(&context.scratch);
  layout.execute = from_state(&context.execute);
  layout.tell = from_state(&context.tell);
  layout.translator = from_state(&context.translator);
  layout.tlb = from_state(&cpu_.mmu_.current_tlb());
  for (unsigned s = 0; s < kSegmentCount; ++s) {
    layout.segment_base[s] = from_state(&cpu_.mode_.segment_base(s));
    layout.segment_limit[s] = from_state(&cpu_.state.segment[s].limit);
    layout.segment_shortcut[s] = from_state(&cpu_.mode_.shortcut(s));
  }
  layout.xmm = from_state(&cpu_.state.xmm);
  layout.mxcsr = from_state(&cpu_.state.mxcsr);
  layout.float_used = from_state(&context.scratch[3]);
  layout.kept_mxcsr = layout.float_used + 4;
  layout.cr0 = from_state(&cpu_.state.cr0);
  layout.cr4 = from_state(&cpu_.state.cr4);
  assembler_ = std::make_unique<Assembler>(*buffer_, layout);

  Assembler& a = *assembler_;
  using namespace Xbyak::util;
  const auto leave = [&] {
    a.add(rsp, 8);
    for (const auto& r : {r15, r14, r13, r12, rbx, rbp}) a.pop(r);
    a.ret();
  };
  // What the host's MXCSR has gathered goes to the guest's.
  const auto end_float = [&] {
    a.cmp(a.at(layout.float_used, 1), 0);
    const std::uint32_t unused = a.jump_if(4);
    a.stmxcsr(a.at(layout.scratch, 4));
    a.mov(r10d, a.at(layout.scratch, 4));
    a.and_(r10d, kMxcsrFlags);
    a.or_(a.at(layout.mxcsr, 4), r10d);
    a.mov(a.at(layout.float_used, 1), 0);
    a.land(unused);
  };
  const auto call_back = [&](std::int32_t function) {
    end_float();
    a.store_pinned();
    a.mov(rdi, a.at(layout.translator, 8));
    a.mov(esi, eax);
    a.call(a.at(function, 8));
  };
  a.align(16);
  enter_ = a.here();
  for (const auto& r : {rbp, rbx, r12, r13, r14, r15}) a.push(r);
  a.sub(rsp, 8);
  a.mov(rbp, rsi);
  a.mov(rax, rdi);
  a.load_pinned();
  a.jmp(rax);

  a.align(16);
  exit_ = a.here();
  end_float();
  a.store_pinned();
  const std::uint32_t restore = a.here();
  leave();

  a.align(16);
  execute_ = a.here();
  end_float();
  a.store_pinned();
  a.mov(rdi, a.at(layout.translator, 8));
  a.mov(esi, eax);
  a.sub(rsp, 8);
  a.call(a.at(layout.execute, 8));
  a.add(rsp, 8);
  a.test(eax, eax);
  const std::uint32_t out = a.jump_if(5);
  a.load_pinned();
  a.ret();
  a.land(out);
  a.add(rsp, 8);  // nobody returns there
  a.jump_to(restore);

  a.align(16);
  execute_last_ = a.here();
  call_back(layout.execute);
  a.test(eax, eax);
  a.set_distance(a.jump_if(5), restore);
  a.load_pinned();
  a.jmp(a.at(layout.scratch + 16, 8));  // as go_on() left it

  a.align(16);
  tell_ = a.here();
  end_float();
  a.store_pinned();
  a.mov(rdi, a.at(layout.translator, 8));
  a.mov(esi, eax);
  a.sub(rsp, 8);
  a.call(a.at(layout.tell, 8));
  a.add(rsp, 8);
  a.load_pinned();
  a.ret();

  // RAX: a linear address, which stays; R10D: what for. ZF clear: the TLB has it now.
  a.align(16);
  refill_ = a.here();
  const std::array<Xbyak::Reg64, 7> kept{rcx, rdx, rsi, rdi, r8, r9, rax};
  for (const auto& r : kept) a.push(r);
  const auto around_float = [&](auto&& instruction) {
    a.cmp(a.at(layout.float_used, 1), 0);
    const std::uint32_t unused = a.jump_if(4);
    instruction();
    a.land(unused);
  };
  around_float([&] { a.stmxcsr(a.at(layout.kept_mxcsr, 4)); });
  a.mov(rdi, a.at(layout.translator, 8));
  a.mov(rsi, rax);
  a.mov(edx, r10d);
  a.mov(rax, reinterpret_cast<std::uintptr_t>(&Translator::refill_entry));
  a.call(rax);
  around_float([&] { a.ldmxcsr(a.at(layout.kept_mxcsr, 4)); });
  a.test(eax, eax);
  for (auto r = kept.rbegin(); r != kept.rend(); ++r) a.pop(*r);
  a.ret();

  // ZF: the host's unit may work for the guest, and its flags are clear.
  a.align(16);
  begin_float_ = a.here();
  a.mov(r10d, a.at(layout.mxcsr, 4));
  a.and_(r10d, kMxcsrControl);
  a.cmp(r10d, kMxcsrInitial);
  const std::uint32_t differs = a.jump_if(5);
  a.mov(a.at(layout.scratch, 4), kMxcsrInitial);
  a.ldmxcsr(a.at(layout.scratch, 4));
  a.mov(a.at(layout.float_used, 1), 1);
  a.land(differs);
  a.ret();

  a.align(16);
  first_free_ = a.here();
  cold_begin_ = cold_next_ = static_cast<std::uint32_t>(buffer_->size() / 2);
  statistics_.handler_calls_by_row.assign(instruction_table().size() + 1, 0);
}

// ---- the cache --------------------------------------------------------------------

bool Translator::flat() const {
  if (cpu_.long64()) return true;
  for (const unsigned s : {kEs, kCs, kSs, kDs}) {
    const SegmentRegister& segment = cpu_.state.segment[s];
    if (cpu_.mode_.segment_base(s) != 0 || segment.limit != 0xffffffffU) return false;
    if (s != kCs && cpu_.mode_.shortcut(s) != 3) return false;
  }
  return cpu_.mode_.plainly_readable(kCs);
}

std::uint8_t Translator::key() const {
  return static_cast<std::uint8_t>(cpu_.mode_.key().bits() | (flat() ? unsigned{kKeyFlat} : 0U) |
                                   (cpu_.stack_width() == 8   ? unsigned{kKeyStack8}
                                    : cpu_.stack_width() == 4 ? unsigned{kKeyStack4}
                                                              : 0U));
}

Translation* Translator::translate(const Block& block) {
  Assembler& a = *assembler_;
  const std::size_t room = (block.instructions.size() + 4) * kRoomForInstruction;
  if (a.getSize() + room > cold_begin_ || cold_next_ + room > buffer_->size()) flush();
  a.align(16);
  Translation& t = translations_.emplace_back();
  t.block = &block;
  t.number = static_cast<std::uint32_t>(translations_.size() - 1);
  t.page_offset = static_cast<std::uint32_t>(block.ram_offset & ~kPageMask);
  t.steps = static_cast<std::uint32_t>(block.instructions.size());
  t.key = key();
  if (observed_) {
    t.page = &pages_[block.ram_offset / kPageSize];
    t.page->translations.push_back(t.number);
  }
  const std::uint32_t start = a.here();
  const std::uint32_t cold_start = cold_next_;
  t.code = buffer_->executable(start);
  BlockEmitter(*this, a, t).emit();
  t.told = false;
  block.translation = &t;
  ++statistics_.blocks;
  statistics_.instructions += t.steps;
  statistics_.code_bytes += (a.here() - start) + (cold_next_ - cold_start);
  if (settings_.perf_map) {
    std::array<char, 32> name{};
    std::snprintf(name.data(), name.size(), "guest-physical:%llx",
                  static_cast<unsigned long long>(cpu_.ram_.physical_of(block.ram_offset).value));
    note_in_perf_map(t.code, a.here() - start, name.data());
    note_in_perf_map(buffer_->executable(cold_start), cold_next_ - cold_start, name.data());
  }
  return &t;
}

void Translator::flush() {
  for (Translation& t : translations_) {
    if (t.alive) t.block->translation = nullptr;
  }
  translations_.clear();
  edges_.clear();
  sites_.clear();
  pages_.clear();
  forget_jumps();
  pending_edge_ = kNoEdge;
  assembler_->setSize(first_free_);
  cold_next_ = cold_begin_;
  ++statistics_.flushes;
}

void Translator::unlink_incoming(Translation& target) {
  for (const std::uint32_t number : target.incoming) {
    Edge& edge = edges_[number];
    assembler_->set_distance(edge.patch_at, edge.stub);
    edge.linked = false;
    ++statistics_.unlinks;
  }
  target.incoming.clear();
}

void Translator::block_removed(const Block& block) {
  Translation& t = *block.translation;
  t.alive = false;
  unlink_incoming(t);
  block.translation = nullptr;
}

/// Joins the jump that led here to `target`, if that is where it always leads.
void Translator::link_pending(Translation& target) {
  if (pending_edge_ == kNoEdge) return;
  Edge& edge = edges_[pending_edge_];
  const Translation& from = translations_[edge.from];
  if (from.alive && !edge.linked && edge.page_offset == target.page_offset &&
      from.key == target.key && target.block->second_page == Block::kNoPage &&
      from.block->ram_offset / kPageSize == target.block->ram_offset / kPageSize) {
    edge.linked = true;
    target.incoming.push_back(pending_edge_);
    assembler_->set_distance(edge.patch_at,
                             static_cast<std::uint32_t>(target.code - buffer_->executable(0)));
    ++statistics_.links;
  }
  pending_edge_ = kNoEdge;
}

JumpEntry& Translator::jump_entry(std::uint64_t rip) {
  return jumps_[((rip >> kJumpHashShift) ^ rip) & (kJumpEntries - 1)];
}

void Translator::fill_jump(const Translation& target) {
  const std::uint64_t rip = cpu_.rip();
  ++statistics_.jumps_filled;
  jump_entry(rip) = {rip, static_cast<std::uint32_t>(cpu_.translation_.tag),
                     static_cast<std::uint32_t>(target.code - buffer_->executable(0))};
}

void Translator::forget_jumps() { std::fill_n(jumps_.get(), kJumpEntries, JumpEntry{}); }

// ---- telling an observer -----------------------------------------------------------

void Translator::set_told(Translation& t, bool told) {
  if (t.tell_at == 0 || t.told == told) return;
  t.told = told;
  std::uint8_t* code = buffer_->writable() + t.tell_at;
  if (told) {
    std::memcpy(code, kNop5.data(), kNop5.size());
  } else {
    *code = 0xe9;
    assembler_->set_distance(t.tell_at + 1, t.tell_stub);
  }
}

std::uint64_t Translator::refill_entry(Translator* self, std::uint64_t linear, std::uint32_t what) {
  ++self->statistics_.refills;
  const Access access = (what & kRefillForWrite) != 0 ? Access::write : Access::read;
  return self->cpu_.mmu_.refill(linear, what & (kRefillForWrite - 1), access) ? 1 : 0;
}

void Translator::tell_entry(Translator* self, std::uint32_t translation) {
  self->tell(self->translations_[translation]);
}

/// As Cpu::find_block_observed.
void Translator::tell(Translation& t) {
  set_told(t, true);
  t.page->told.push_back(t.number);
  if (cpu_.watch_.observer() == nullptr) return;
  std::uint64_t linear = cpu_.translation_.rip_base + t.page_offset;
  if (!cpu_.long64()) linear = static_cast<std::uint32_t>(linear + cpu_.state.segment[kCs].base);
  const Block& block = *t.block;
  if (block.told_interval == cpu_.watch_.interval() && block.told_linear_rip == linear) return;
  block.told_interval = cpu_.watch_.interval();
  block.told_linear_rip = linear;
  cpu_.watch_.observer()->executes(linear, block.length_bytes);
}

void Translator::observer_changed() {
  if (buffer_ == nullptr) {
    observed_ = cpu_.watch_.observer() != nullptr;
    return;
  }
  if (cpu_.watch_.observer() != nullptr && !observed_) {
    observed_ = true;
    flush();  // what was emitted has no place to tell from
    return;
  }
  for (auto& [page, told] : pages_) forget_told(told);
}

void Translator::forget_told(ToldPage& page) {
  for (const std::uint32_t number : page.told) set_told(translations_[number], false);
  page.told.clear();
}

/// Code is told by linear address: what was told of a page where it lay before says
/// nothing about where it lies now, and no jump leads to where it lay before but by here.
void Translator::look_at_alias(const Translation& t, std::uint64_t rip_base) {
  ToldPage& page = *t.page;
  if (page.rip_base == rip_base) return;
  const std::uint64_t before = std::exchange(page.rip_base, rip_base);
  if (before == ~std::uint64_t{0}) return;
  ++statistics_.aliases;
  forget_told(page);
  std::erase_if(page.translations, [&](std::uint32_t number) {
    const Translation& there = translations_[number];
    JumpEntry& entry = jump_entry(before + there.page_offset);
    if (entry.rip == before + there.page_offset) entry = {};
    return !there.alive;
  });
}

// ---- execution ----------------------------------------------------------------------

/// Generation and key, never 0. Of generations that differ only in what a tag has no room
/// for, one is forgotten before the other is looked up.
std::uint32_t Translator::tag() {
  constexpr unsigned kKeyBits = 7, kGenerationBits = 24;
  constexpr std::uint32_t kUsed = 1U << (kKeyBits + kGenerationBits);
  const std::uint64_t generation = cpu_.code_.generation(cpu_.mode_.key());
  if (const std::uint64_t epoch = generation >> kGenerationBits; epoch != tag_epoch_) {
    tag_epoch_ = epoch;
    forget_jumps();
  }
  return kUsed | static_cast<std::uint32_t>(generation << kKeyBits) | key();
}

bool Translator::run(const Block& block, std::uint64_t budget, std::optional<GuestFault>& faulted) {
  Translation* t = block.translation;
  if (t == nullptr) {
    if (!available_ || block.mode_key > 7 ||  // decoded once, not kept
        (settings_.mode == Mode::on &&
         (++block.heat < kHeatToTranslate ||
          (block.instructions.size() < kLeastStepsInSegments && !flat())))) {
      pending_edge_ = kNoEdge;
      return false;
    }
    const std::uint32_t pending = pending_edge_;
    const std::uint64_t flushes = statistics_.flushes;
    if (buffer_ == nullptr) {
      try {
        make_thunks();
      } catch (const Error&) {
        // The host gives no memory for code (a limit on files, say): the interpreter
        // does without. Who asked for translated code alone is told.
        if (settings_.mode == Mode::always) throw;
        buffer_.reset();
        available_ = false;
        pending_edge_ = kNoEdge;
        return false;
      }
    }
    t = translate(block);
    pending_edge_ = flushes == statistics_.flushes ? pending : kNoEdge;
  }
  const std::uint8_t present_key = key();
  if (t->key != present_key) {
    pending_edge_ = kNoEdge;
    return false;
  }
  Context& context = cpu_.translation_;
  const std::uint64_t rip_base = cpu_.rip() - t->page_offset;
  if (observed_) look_at_alias(*t, rip_base);
  context.tag = tag();
  link_pending(*t);
  if ((present_key & kKeyFlat) != 0) fill_jump(*t);
  if (budget < t->steps) return false;

  budget = std::min<std::uint64_t>(budget, kMostBudget);
  const std::uint64_t begin = cpu_.run_.steps;
  limit_ = begin + budget;
  context.budget = static_cast<std::int64_t>(budget);
  context.rip_base = rip_base;
  context.raw_flags = pack(cpu_.flags.arithmetic());
  fault_.reset();
  using Enter = std::uint64_t (*)(const void*, void*);
  const auto enter =
      reinterpret_cast<Enter>(reinterpret_cast<std::uintptr_t>(buffer_->executable(enter_)));
  const auto reason = static_cast<Exit>(enter(t->code, cpu_.state.gpr.data()));
  cpu_.flags.set_arithmetic(unpack(context.raw_flags));

  const auto leave_at = [&](std::uint64_t rip) {
    cpu_.rip() = cpu_.long64() ? rip : static_cast<std::uint32_t>(rip);
  };
  ++statistics_.entries;
  ++statistics_.exits[static_cast<std::size_t>(reason)];
  const auto number = static_cast<std::uint32_t>(context.exit_value);
  switch (reason) {
    case Exit::edge:
      leave_at(context.rip_base + edges_[number].page_offset);
      pending_edge_ = number;
      break;
    case Exit::budget:
      leave_at(context.rip_base + translations_[number].page_offset);
      break;
    case Exit::miss:
      break;
    case Exit::left:
      if (!std::exchange(books_done_, false)) finish_handler_steps();
      statistics_.steps += cpu_.run_.steps - begin;
      return true;
    case Exit::fault:
      faulted = fault_;
      statistics_.steps += cpu_.position().steps - begin;
      return true;
    case Exit::error:
      std::rethrow_exception(std::exchange(error_, nullptr));
    case Exit::none:
      break;
  }
  cpu_.run_.steps = limit_ - static_cast<std::uint64_t>(context.budget);
  cpu_.inside_repeat_ = false;
  statistics_.steps += cpu_.run_.steps - begin;
  cpu_.run_.become_idle();
  return true;
}

/// The books after an instruction that a handler executed, as the interpreter keeps them.
void Translator::finish_handler_steps() { cpu_.finish_block(cpu_.run_.current + 1); }

std::uint64_t Translator::execute_entry(Translator* self, std::uint32_t site) {
  return static_cast<std::uint64_t>(self->execute(self->sites_[site]));
}

Exit Translator::execute(const Site& site) {
  Context& context = cpu_.translation_;
  const Instruction* i = site.instruction;
  const Instruction* const begin = i - site.index;
  const Instruction* const end = begin + site.steps;
  ++statistics_.handler_calls;
  ++statistics_.handler_calls_by_row[std::min<std::size_t>(
      i->row, statistics_.handler_calls_by_row.size() - 1)];
  cpu_.run_.steps = limit_ - static_cast<std::uint64_t>(context.budget) - site.steps;
  if (cpu_.run_.steps != cpu_.entered_at_) cpu_.deliveries_ = 0;
  cpu_.run_.begin = begin;
  cpu_.run_.end = end;
  cpu_.run_.rip = context.rip_base + site.page_offset;
  cpu_.run_.pause = false;
  cpu_.run_.repeat_budget = static_cast<std::uint64_t>(context.budget) + 1;
  if (site.flags_in) cpu_.flags.set_arithmetic(unpack(context.raw_flags));
  try {
    while (true) {
      cpu_.run_.current = i;
      cpu_.state.gpr[kGprRip] = cpu_.run_.rip + i->next_offset;
      i->handler(cpu_, *i);
      if (site.flags_out || i != site.instruction) {
        context.raw_flags = pack(cpu_.flags.arithmetic());
      }
      if (cpu_.run_.pause || i + 1 == end) break;
      if (cpu_.long64() || key() == site.key) break;
      // Segments are no longer what the emitted code takes them for.
      ++i;
      cpu_.flags.set_arithmetic(unpack(context.raw_flags));
    }
  } catch (const GuestFault& fault) {
    fault_ = fault;
    // Only iterations of a string instruction change flags before a fault.
    if (site.flags_in) context.raw_flags = pack(cpu_.flags.arithmetic());
    return Exit::fault;
  } catch (...) {
    error_ = std::current_exception();
    return Exit::error;
  }
  context.tag = tag();
  if (site.last) {
    finish_handler_steps();
    books_done_ = !go_on();
    return books_done_ ? Exit::left : Exit::none;
  }
  if (cpu_.run_.pause || i != site.instruction) return Exit::left;
  if (cpu_.run_.iterations != 0) {
    if (cpu_.state.gpr[kGprRip] == cpu_.instruction_rip()) return Exit::left;
    // A repeated string instruction is done; the block goes on.
    context.budget -= static_cast<std::int64_t>(cpu_.run_.iterations - 1);
    cpu_.run_.iterations = 0;
  }
  return Exit::none;
}

/// Fills the entry for RIP, as the run loop would have it done, if the block there is
/// translated. Fetches that fault, or read devices, are left to the run loop alone.
bool Translator::find_next() noexcept try {
  constexpr std::uint64_t kCrossesPage = kPageSize - kLongestInstruction;
  const std::uint64_t linear = cpu_.linear_rip();
  if ((key() & kKeyFlat) == 0 || (linear & ~kPageMask) > kCrossesPage ||
      cpu_.watch_.code_page_watched(linear)) {
    return false;
  }
  const auto page = cpu_.mmu_.fetch_page(linear);
  if (!page || *page == kNever) return false;
  const Block* const block = cpu_.find_block();
  if (block == nullptr || block->translation == nullptr) return false;
  const Translation& t = *block->translation;
  if (t.key != key()) return false;
  if (observed_) look_at_alias(t, cpu_.rip() - t.page_offset);
  cpu_.translation_.tag = tag();
  fill_jump(t);
  return true;
} catch (...) {
  return false;  // the run loop comes to the same, where it may be thrown
}

/// After the last instruction of a block: whether emitted code may go on at RIP, where
/// the run loop would have nothing to do but to find the block. Sets the way.
bool Translator::go_on() {
  const CpuState& s = cpu_.state;
  if (cpu_.inside_repeat_ || cpu_.recheck_ || cpu_.watch_.hit() || cpu_.interrupt_request_ ||
      s.shutdown || s.halted || s.nmi_pending || s.shadow != kNoShadow || s.pending_debug != 0 ||
      (s.dr7 & 0xff) != 0 || cpu_.flags.test(kTf | kRf) || cpu_.run_.steps >= limit_) {
    return false;
  }
  Context& context = cpu_.translation_;
  const std::uint64_t rip =
      cpu_.long64() ? cpu_.rip() : std::uint64_t{static_cast<std::uint32_t>(cpu_.rip())};
  const JumpEntry& entry = jump_entry(rip);
  if ((entry.rip != rip || entry.tag != context.tag) && !find_next()) return false;
  context.budget = static_cast<std::int64_t>(limit_ - cpu_.run_.steps);
  context.rip_base = rip & kPageMask;  // flat
  context.scratch[2] = reinterpret_cast<std::uint64_t>(buffer_->executable(entry.code));
  return true;
}

}  // namespace chronovisor::translate
