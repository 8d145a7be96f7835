#include "inspect/linux/orc.h"

#include <algorithm>
#include <array>
#include <optional>

namespace chronovisor::linux_guest {
namespace {

using enum OrcEntry::Register;

/// DWARF's numbers, System V psABI.
enum DwarfRegister : std::uint8_t { kDwarfRbp = 6, kDwarfRsp = 7, kDwarfRip = 16 };

constexpr std::uint8_t kAdvance = 0x40;
constexpr std::uint8_t kAdvance1 = 0x02, kAdvance2 = 0x03, kAdvance4 = 0x04;
constexpr std::uint8_t kUndefinedRule = 0x07, kSameValue = 0x08, kDefineCfa = 0x0c;
constexpr std::uint8_t kDefineCfaExpression = 0x0f, kExpression = 0x10, kOffsetSigned = 0x11;
constexpr std::uint8_t kDefineCfaSigned = 0x12;
constexpr std::uint8_t kOpDeref = 0x06, kOpPlusConstant = 0x23, kOpBreg0 = 0x70;
constexpr std::int64_t kDataAlignment = -8;
constexpr std::size_t kMostEntriesInFrame = 128;
constexpr std::size_t kMostOrcEntries = 1U << 23;

/// Where struct pt_regs keeps each register, by DWARF number from 0 to 16.
constexpr std::array<std::uint16_t, 17> kSavedRegisters{80, 96, 88, 40, 104, 112, 32, 152, 72,
                                                        64, 56, 48, 24, 16,  8,   0,  128};
constexpr std::int64_t kInterruptRip = 0, kInterruptRsp = 24;

void signed_leb(ByteWriter& out, std::int64_t value) {
  while (true) {
    const auto low = static_cast<std::uint8_t>(value & 0x7f);
    value >>= 7;
    const bool last = (value == 0 && (low & 0x40) == 0) || (value == -1 && (low & 0x40) != 0);
    out.integer(static_cast<std::uint8_t>(last ? low : low | 0x80));
    if (last) return;
  }
}

void expression(ByteWriter& out, const ByteWriter& code) {
  out.varint(code.size());
  out.bytes(code.data());
}

std::optional<std::uint8_t> dwarf_register(std::uint8_t orc) {
  switch (orc) {
    case kSp:
      return kDwarfRsp;
    case kBp:
      return kDwarfRbp;
    case kDx:
      return 1;
    case kDi:
      return 5;
    case kR10:
      return 10;
    case kR13:
      return 13;
    default:
      return std::nullopt;
  }
}

void saved_at_cfa(ByteWriter& out, std::uint8_t reg, std::int64_t offset) {
  out.integer(kOffsetSigned);
  out.varint(reg);
  signed_leb(out, offset / kDataAlignment);
}

/// The caller's stack pointer as the canonical frame address.
void frame_address(ByteWriter& out, const OrcEntry& entry) {
  if (const auto reg = dwarf_register(entry.sp_register)) {
    const bool offset = *reg == kDwarfRsp || *reg == kDwarfRbp;
    const std::int64_t distance = offset ? entry.sp_offset : 0;
    if (distance >= 0) {
      out.integer(kDefineCfa);
      out.varint(*reg);
      out.varint(static_cast<std::uint64_t>(distance));
    } else {
      out.integer(kDefineCfaSigned);
      out.varint(*reg);
      // Signed offsets are factored; kernel offsets that are not are not used.
      signed_leb(out, distance / kDataAlignment);
    }
    return;
  }
  ByteWriter code;
  if (entry.sp_register == kBpIndirect) {
    code.integer(static_cast<std::uint8_t>(kOpBreg0 + kDwarfRbp));
    signed_leb(code, entry.sp_offset);
    code.integer(kOpDeref);
  } else {  // kSpIndirect
    code.integer(static_cast<std::uint8_t>(kOpBreg0 + kDwarfRsp));
    signed_leb(code, 0);
    code.integer(kOpDeref);
    code.integer(kOpPlusConstant);
    code.varint(static_cast<std::uint64_t>(std::max<std::int64_t>(entry.sp_offset, 0)));
  }
  out.integer(kDefineCfaExpression);
  expression(out, code);
}

void frame_pointer(ByteWriter& out, const OrcEntry& entry) {
  if (entry.bp_register == kPreviousSp && entry.bp_offset % 8 == 0) {
    saved_at_cfa(out, kDwarfRbp, entry.bp_offset);
  } else if (entry.bp_register == kBp) {
    ByteWriter code;
    code.integer(static_cast<std::uint8_t>(kOpBreg0 + kDwarfRbp));
    signed_leb(code, entry.bp_offset);
    out.integer(kExpression);
    out.varint(kDwarfRbp);
    expression(out, code);
  } else {
    out.integer(kSameValue);
    out.varint(kDwarfRbp);
  }
}

/// All rules of one entry.
void rules(ByteWriter& out, const OrcEntry& entry) {
  switch (entry.kind) {
    case OrcEntry::Kind::end:
      // gdb gives up on a frame without a frame address before it looks at more.
      out.integer(kDefineCfa);
      out.varint(kDwarfRsp);
      out.varint(8);
      out.integer(kUndefinedRule);
      out.varint(kDwarfRip);
      return;
    case OrcEntry::Kind::call:
      frame_address(out, entry);
      frame_pointer(out, entry);
      saved_at_cfa(out, kDwarfRip, -8);
      return;
    case OrcEntry::Kind::registers:
      frame_address(out, entry);
      for (std::uint8_t reg = 0; reg < kSavedRegisters.size(); ++reg) {
        saved_at_cfa(out, reg, kSavedRegisters[reg]);
      }
      return;
    case OrcEntry::Kind::interrupt:
      frame_address(out, entry);
      frame_pointer(out, entry);
      saved_at_cfa(out, kDwarfRip, kInterruptRip);
      saved_at_cfa(out, kDwarfRsp, kInterruptRsp);
      return;
  }
}

void advance(ByteWriter& out, std::uint64_t distance) {
  if (distance < 0x40) {
    out.integer(static_cast<std::uint8_t>(kAdvance + distance));
  } else if (distance < 0x100) {
    out.integer(kAdvance1);
    out.integer(static_cast<std::uint8_t>(distance));
  } else if (distance < 0x10000) {
    out.integer(kAdvance2);
    out.integer(static_cast<std::uint16_t>(distance));
  } else {
    out.integer(kAdvance4);
    out.integer(static_cast<std::uint32_t>(distance));
  }
}

/// Appends a length and `record`, padded so that the next one is aligned.
void put_record(ByteWriter& out, ByteWriter& record) {
  while ((record.size() + 4) % 8 != 0) record.integer(std::uint8_t{0});
  out.integer(static_cast<std::uint32_t>(record.size()));
  out.bytes(record.data());
}

void put_common(ByteWriter& out, bool signal) {
  ByteWriter record;
  record.integer(std::uint32_t{0xffffffff});
  record.integer(std::uint8_t{1});
  // 'S': the caller was interrupted; its address is not behind a call.
  if (signal) record.bytes(as_bytes("S"));
  record.integer(std::uint8_t{0});
  record.varint(1);
  signed_leb(record, kDataAlignment);
  record.integer(std::uint8_t{kDwarfRip});
  put_record(out, record);
}

bool is_signal(const OrcEntry& entry) {
  return entry.kind == OrcEntry::Kind::registers || entry.kind == OrcEntry::Kind::interrupt;
}

void put_frames(ByteWriter& out, const OrcTable& entries, std::size_t call_frames,
                std::size_t signal_frames) {
  for (std::size_t n = 0; n + 1 < entries.size();) {
    const OrcEntry& first = entries[n];
    const bool signal = is_signal(first);
    std::size_t end = n + 1;
    while (!signal && end + 1 < entries.size() && !is_signal(entries[end]) &&
           end - n < kMostEntriesInFrame) {
      ++end;
    }
    ByteWriter record;
    record.integer(static_cast<std::uint32_t>(signal ? signal_frames : call_frames));
    record.integer(first.address);
    record.integer(entries[end].address - first.address);
    for (std::size_t i = n; i < end; ++i) {
      if (i > n) advance(record, entries[i].address - entries[i - 1].address);
      rules(record, entries[i]);
    }
    put_record(out, record);
    n = end;
  }
}

/// Where struct orc_entry of this kernel has what.
struct OrcLayout {
  Field sp_offset, bp_offset, sp_register, bp_register, type;
  /// From 6.4 on "no caller" is a type of its own and the types have three bits.
  [[nodiscard]] bool ends_are_types() const { return type.bit_size == 3; }
};
constexpr std::size_t kOrcEntryBytes = 6;

std::optional<OrcLayout> layout_of(const Btf& btf) {
  const auto sp_offset = btf.field("orc_entry", "sp_offset");
  const auto bp_offset = btf.field("orc_entry", "bp_offset");
  const auto sp_register = btf.field("orc_entry", "sp_reg");
  const auto bp_register = btf.field("orc_entry", "bp_reg");
  const auto type = btf.field("orc_entry", "type");
  if (!sp_offset || !bp_offset || !sp_register || !bp_register || !type ||
      btf.size_of("orc_entry") != kOrcEntryBytes) {
    return std::nullopt;
  }
  return OrcLayout{*sp_offset, *bp_offset, *sp_register, *bp_register, *type};
}

OrcEntry decode_entry(const OrcLayout& layout, ByteView raw) {
  const auto bits = [&](const Field& field) {
    std::uint64_t value = 0;
    for (std::size_t n = kOrcEntryBytes; n-- > 0;) value = value << 8 | raw[n];
    return value >> field.bit_offset & ((1ULL << field.bit_size) - 1);
  };
  OrcEntry entry;
  entry.sp_offset = static_cast<std::int16_t>(bits(layout.sp_offset));
  entry.bp_offset = static_cast<std::int16_t>(bits(layout.bp_offset));
  entry.sp_register = static_cast<std::uint8_t>(bits(layout.sp_register));
  entry.bp_register = static_cast<std::uint8_t>(bits(layout.bp_register));
  const std::uint64_t kind = bits(layout.type) + (layout.ends_are_types() ? 0 : 2);
  const bool known = dwarf_register(entry.sp_register) || entry.sp_register == kBpIndirect ||
                     entry.sp_register == kSpIndirect;
  if (known && kind == 2) entry.kind = OrcEntry::Kind::call;
  if (known && kind == 3) entry.kind = OrcEntry::Kind::registers;
  if (known && kind == 4) entry.kind = OrcEntry::Kind::interrupt;
  return entry;
}

/// The entries for code at [from, to); empty when they are not sorted, and so
/// not understood.
OrcTable decode(const OrcLayout& layout, std::uint64_t ips_address, ByteView ips, ByteView raw,
                std::uint64_t from, std::uint64_t to) {
  OrcTable entries;
  entries.reserve(ips.size() / 4);
  for (std::size_t n = 0; n < ips.size() / 4; ++n) {
    std::uint32_t distance = 0;
    for (std::size_t i = 4; i-- > 0;) distance = distance << 8 | ips[4 * n + i];
    OrcEntry entry = decode_entry(layout, raw.subspan(kOrcEntryBytes * n, kOrcEntryBytes));
    entry.address = ips_address + 4 * n +
                    static_cast<std::uint64_t>(std::int64_t{static_cast<std::int32_t>(distance)});
    if (entry.address < from || entry.address >= to) continue;
    if (!entries.empty() && entry.address <= entries.back().address) {
      if (entry.address < entries.back().address) return {};
      entries.back() = entry;
      continue;
    }
    entries.push_back(entry);
  }
  return entries;
}

OrcTable kernel_table(const Kernel& kernel, const OrcLayout& layout) {
  const auto ips = kernel.find("__start_orc_unwind_ip");
  const auto ips_end = kernel.find("__stop_orc_unwind_ip");
  const auto table = kernel.find("__start_orc_unwind");
  if (!ips || !ips_end || !table || *ips_end < *ips) return {};
  const KernelImage& image = kernel.image();
  const std::size_t count = static_cast<std::size_t>(*ips_end - *ips) / 4;
  const std::uint64_t ips_at = *ips - image.base;
  const std::uint64_t table_at = *table - image.base;
  if (count > kMostOrcEntries || *ips < image.base || *table < image.base ||
      ips_at + 4 * count > image.bytes.size() ||
      table_at + kOrcEntryBytes * count > image.bytes.size()) {
    return {};
  }
  const ByteView bytes(image.bytes);
  return decode(layout, *ips, bytes.subspan(ips_at, 4 * count),
                bytes.subspan(table_at, kOrcEntryBytes * count), 0, kNever);
}

OrcTable module_table(const Module& module, const OrcLayout& layout) {
  const UnwindTable& table = module.unwind;
  if (table.entries.size() != table.ips.size() / 4 * kOrcEntryBytes) return {};
  const std::uint64_t end = module.base + module.code_bytes;
  OrcTable entries = decode(layout, table.ips_address, table.ips, table.entries, module.base, end);
  // The last one holds to the end of the module's code.
  if (!entries.empty()) entries.push_back({end, OrcEntry::Kind::end, 0, 0, 0, 0});
  return entries;
}

}  // namespace

Bytes make_debug_frame(const std::vector<OrcTable>& tables) {
  ByteWriter out;
  const std::size_t call_frames = out.size();
  put_common(out, false);
  const std::size_t signal_frames = out.size();
  put_common(out, true);
  for (const OrcTable& table : tables) put_frames(out, table, call_frames, signal_frames);
  return out.take();
}

std::vector<OrcTable> orc_tables(const Kernel& kernel, const std::vector<Module>& modules) {
  const auto layout = layout_of(kernel.types());
  if (!layout) return {};
  std::vector<OrcTable> tables{kernel_table(kernel, *layout)};
  if (tables[0].empty()) return {};
  for (const Module& module : modules) tables.push_back(module_table(module, *layout));
  return tables;
}

Bytes frames_from_orc(const Kernel& kernel, const std::vector<Module>& modules) {
  const std::vector<OrcTable> tables = orc_tables(kernel, modules);
  return tables.empty() ? Bytes{} : make_debug_frame(tables);
}

}  // namespace chronovisor::linux_guest
