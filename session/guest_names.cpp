#include "session/guest_names.h"

#include "base/error.h"
#include "inspect/linux/kernel.h"
#include "recorder/format/file.h"
#include "recorder/format/start_condition.h"
#include "timetravel/linear_memory.h"

namespace chronovisor::session {
namespace {

constexpr std::uint64_t kMostFileBytes = 1ULL << 30;
/// More are no numbers of Linux's.
constexpr std::uint32_t kMostSystemCalls = 1024;

/// Of a guest that was booted as an ELF file; none where it cannot be had.
std::vector<Symbol> own_symbols(const RecordingReader& reader) {
  if (start_of(reader).kind != BootKind::multiboot) return {};
  try {
    return elf_symbols(images_of(reader)(kKernelRole), reader.name());
  } catch (const Error&) {
    return {};  // names are of use, but nothing depends on them
  }
}

void append(std::vector<Symbol>& symbols, const std::vector<linux_guest::KernelSymbol>& more) {
  for (const linux_guest::KernelSymbol& symbol : more) {
    if (symbol.type == 'a' || symbol.type == 'A') continue;  // a number, not a place
    symbols.push_back({symbol.address, 0, symbol.name});
  }
}

}  // namespace

GuestNames::GuestNames(Timeline& timeline, const std::vector<std::string>& symbol_files)
    : timeline_(timeline) {
  for (const std::string& path : symbol_files) {
    const Bytes content = read_whole_file(path, kMostFileBytes);
    std::vector<Symbol> symbols = elf_symbols(content, path);
    if (symbols.empty()) throw Error(ErrorCode::bad_input, path + ": has no symbols");
    symbols_.add(std::move(symbols));
    lines_.add(content, path);
  }
  symbols_.add(own_symbols(timeline.reader()));
}

void GuestNames::read_kernel_here() {
  const linux_guest::Kernel kernel(timeline_.machine());
  std::vector<Symbol> symbols;
  append(symbols, kernel.symbols());
  std::vector<linux_guest::Module> modules;
  try {
    modules = kernel.modules();
  } catch (const Error&) {
    modules.clear();  // the kernel's own are worth having without
  }
  for (const linux_guest::Module& module : modules) append(symbols, module.symbols);
  symbols_.add(std::move(symbols));
  try {
    unwinder_ = linux_guest::Unwinder(linux_guest::orc_tables(kernel, modules));
  } catch (const Error&) {
    unwinder_ = linux_guest::Unwinder();  // a kernel without types has none that are understood
  }
}

void GuestNames::read_kernel(CancelToken cancel) {
  if (kernel_looked_for_) return;
  try {
    read_kernel_here();
    kernel_looked_for_ = true;
    return;
  } catch (const Error&) {
    if (timeline_.on_branch()) return;  // perhaps elsewhere, later
  }
  kernel_looked_for_ = true;
  const RecordingReader& reader = timeline_.reader();
  if (reader.checkpoints().empty()) return;
  timeline_.excursion([&] {
    if (timeline_.seek({reader.checkpoints().back().position, 0}, cancel) ==
        TravelStop::interrupted) {
      kernel_looked_for_ = false;
      return;
    }
    try {
      read_kernel_here();
    } catch (const Error&) {
      return;  // this guest is no Linux
    }
  });
}

const SymbolTable& GuestNames::symbols(CancelToken cancel) {
  read_kernel(cancel);
  return symbols_;
}

std::optional<std::string> GuestNames::call_name(const SystemCall& call, CancelToken cancel) {
  if (const auto known = call_names_.find(call); known != call_names_.end()) return known->second;
  if (call.number >= kMostSystemCalls) return std::nullopt;
  const SymbolTable& all = symbols(cancel);
  const bool wide = timeline_.machine().cpu().long_mode_active();
  const std::uint64_t word = wide ? 8 : 4;
  const auto table = all.find(wide && call.narrow ? "ia32_sys_call_table" : "sys_call_table");
  if (!table) return std::nullopt;
  const auto function = read_linear_value(timeline_.machine(), *table + word * call.number, word);
  const auto place = function ? all.at(*function) : std::nullopt;
  if (!place || place->offset != 0) return std::nullopt;
  std::string name = place->symbol->name;
  // "__x64_sys_read", "__ia32_compat_sys_ioctl", "sys_read"
  if (const std::size_t prefix = name.find("sys_"); prefix != std::string::npos) {
    name.erase(0, prefix + 4);
  }
  return call_names_.emplace(call, std::move(name)).first->second;
}

const linux_guest::Unwinder& GuestNames::unwinder(CancelToken cancel) {
  read_kernel(cancel);
  return unwinder_;
}

}  // namespace chronovisor::session
