// Numbers and layouts: gdb's features/i386/64bit-{core,sse,segments}.xml as
// described in the manual's "i386 Features"; DWARF numbers: System V psABI,
// AMD64 supplement, figure 3.36; flag bits: Intel SDM vol. 3A, 2.3, 2.5, 2.2.1.
#include "gdbstub/x86_registers.h"

#include <array>

namespace chronovisor::gdb {

namespace {

constexpr std::string_view kCore = "org.gnu.gdb.i386.core";
constexpr std::string_view kSse = "org.gnu.gdb.i386.sse";
constexpr std::string_view kSegments = "org.gnu.gdb.i386.segments";
constexpr std::string_view kSystem = "org.chronovisor.system";
constexpr std::string_view kTime = "org.chronovisor.time";

constexpr RegisterDescription general(std::string_view name, int dwarf,
                                      std::string_view generic = {},
                                      std::string_view type = "int64") {
  return {name, 64, type, kCore, "general", generic, dwarf};
}
constexpr RegisterDescription segment(std::string_view name, int dwarf) {
  return {name, 32, "int32", kCore, "general", {}, dwarf};
}
constexpr RegisterDescription x87(std::string_view name, int dwarf) {
  return {name, 80, "i387_ext", kCore, "float", {}, dwarf};
}
constexpr RegisterDescription x87_control(std::string_view name, int dwarf = -1) {
  return {name, 32, "int", kCore, "float", {}, dwarf};
}
constexpr RegisterDescription xmm(std::string_view name, int dwarf) {
  return {name, 128, "vec128", kSse, "vector", {}, dwarf};
}
constexpr RegisterDescription system64(std::string_view name, std::string_view type = "uint64") {
  return {name, 64, type, kSystem, "system", {}, -1};
}
/// Time goes on during a call in the guest, and cannot be put back.
constexpr RegisterDescription clock(std::string_view name, std::string_view feature) {
  return {name, 64, "uint64", feature, "system", {}, -1, false};
}
constexpr RegisterDescription system32(std::string_view name, int dwarf = -1) {
  return {name, 32, "uint32", kSystem, "system", {}, dwarf};
}

constexpr std::size_t kCount = static_cast<std::size_t>(X86Register::count);

constexpr std::array<RegisterDescription, kCount> kRegisters = {{
    general("rax", 0),
    general("rbx", 3),
    general("rcx", 2, "arg4"),
    general("rdx", 1, "arg3"),
    general("rsi", 4, "arg2"),
    general("rdi", 5, "arg1"),
    general("rbp", 6, "fp", "data_ptr"),
    general("rsp", 7, "sp", "data_ptr"),
    general("r8", 8, "arg5"),
    general("r9", 9, "arg6"),
    general("r10", 10),
    general("r11", 11),
    general("r12", 12),
    general("r13", 13),
    general("r14", 14),
    general("r15", 15),
    general("rip", 16, "pc", "code_ptr"),
    {"eflags", 32, "i386_eflags", kCore, "general", "flags", 49},
    segment("cs", 51),
    segment("ss", 52),
    segment("ds", 53),
    segment("es", 50),
    segment("fs", 54),
    segment("gs", 55),
    x87("st0", 33),
    x87("st1", 34),
    x87("st2", 35),
    x87("st3", 36),
    x87("st4", 37),
    x87("st5", 38),
    x87("st6", 39),
    x87("st7", 40),
    x87_control("fctrl", 65),
    x87_control("fstat", 66),
    x87_control("ftag"),
    x87_control("fiseg"),
    x87_control("fioff"),
    x87_control("foseg"),
    x87_control("fooff"),
    x87_control("fop"),
    xmm("xmm0", 17),
    xmm("xmm1", 18),
    xmm("xmm2", 19),
    xmm("xmm3", 20),
    xmm("xmm4", 21),
    xmm("xmm5", 22),
    xmm("xmm6", 23),
    xmm("xmm7", 24),
    xmm("xmm8", 25),
    xmm("xmm9", 26),
    xmm("xmm10", 27),
    xmm("xmm11", 28),
    xmm("xmm12", 29),
    xmm("xmm13", 30),
    xmm("xmm14", 31),
    xmm("xmm15", 32),
    {"mxcsr", 32, "i386_mxcsr", kSse, "vector", {}, 64},
    {"fs_base", 64, "int", kSegments, "general", {}, 58},
    {"gs_base", 64, "int", kSegments, "general", {}, 59},
    system64("cr0", "x86_cr0"),
    system64("cr2"),
    system64("cr3"),
    system64("cr4", "x86_cr4"),
    system64("cr8"),
    system64("efer", "x86_efer"),
    system64("k_gs_base"),
    system64("gdtr_base"),
    system32("gdtr_limit"),
    system64("idtr_base"),
    system32("idtr_limit"),
    system32("ldtr", 63),
    system64("ldtr_base"),
    system32("ldtr_limit"),
    system32("tr", 62),
    system64("tr_base"),
    system32("tr_limit"),
    system64("cs_base"),
    system64("ss_base"),
    system64("ds_base"),
    system64("es_base"),
    system64("dr0"),
    system64("dr1"),
    system64("dr2"),
    system64("dr3"),
    system64("dr6"),
    system64("dr7"),
    system64("star"),
    system64("lstar"),
    system64("cstar"),
    system64("sfmask"),
    system64("sysenter_cs"),
    system64("sysenter_esp"),
    system64("sysenter_eip"),
    system64("apic_base"),
    system64("pat"),
    clock("tsc", kSystem),
    system64("tsc_aux"),
    clock("position", kTime),
    clock("virtual_time_ns", kTime),
}};

constexpr std::array<FeatureTypes, 3> kTypes = {{
    {kCore, R"(<flags id="i386_eflags" size="4">
<field name="CF" start="0" end="0"/>
<field name="" start="1" end="1"/>
<field name="PF" start="2" end="2"/>
<field name="AF" start="4" end="4"/>
<field name="ZF" start="6" end="6"/>
<field name="SF" start="7" end="7"/>
<field name="TF" start="8" end="8"/>
<field name="IF" start="9" end="9"/>
<field name="DF" start="10" end="10"/>
<field name="OF" start="11" end="11"/>
<field name="NT" start="14" end="14"/>
<field name="RF" start="16" end="16"/>
<field name="VM" start="17" end="17"/>
<field name="AC" start="18" end="18"/>
<field name="VIF" start="19" end="19"/>
<field name="VIP" start="20" end="20"/>
<field name="ID" start="21" end="21"/>
</flags>
)"},
    {kSse, R"(<vector id="v4f" type="ieee_single" count="4"/>
<vector id="v2d" type="ieee_double" count="2"/>
<vector id="v16i8" type="int8" count="16"/>
<vector id="v8i16" type="int16" count="8"/>
<vector id="v4i32" type="int32" count="4"/>
<vector id="v2i64" type="int64" count="2"/>
<union id="vec128">
<field name="v4_float" type="v4f"/>
<field name="v2_double" type="v2d"/>
<field name="v16_int8" type="v16i8"/>
<field name="v8_int16" type="v8i16"/>
<field name="v4_int32" type="v4i32"/>
<field name="v2_int64" type="v2i64"/>
<field name="uint128" type="uint128"/>
</union>
<flags id="i386_mxcsr" size="4">
<field name="IE" start="0" end="0"/>
<field name="DE" start="1" end="1"/>
<field name="ZE" start="2" end="2"/>
<field name="OE" start="3" end="3"/>
<field name="UE" start="4" end="4"/>
<field name="PE" start="5" end="5"/>
<field name="DAZ" start="6" end="6"/>
<field name="IM" start="7" end="7"/>
<field name="DM" start="8" end="8"/>
<field name="ZM" start="9" end="9"/>
<field name="OM" start="10" end="10"/>
<field name="UM" start="11" end="11"/>
<field name="PM" start="12" end="12"/>
<field name="FZ" start="15" end="15"/>
</flags>
)"},
    {kSystem, R"(<flags id="x86_cr0" size="8">
<field name="PE" start="0" end="0"/>
<field name="MP" start="1" end="1"/>
<field name="EM" start="2" end="2"/>
<field name="TS" start="3" end="3"/>
<field name="ET" start="4" end="4"/>
<field name="NE" start="5" end="5"/>
<field name="WP" start="16" end="16"/>
<field name="AM" start="18" end="18"/>
<field name="NW" start="29" end="29"/>
<field name="CD" start="30" end="30"/>
<field name="PG" start="31" end="31"/>
</flags>
<flags id="x86_cr4" size="8">
<field name="VME" start="0" end="0"/>
<field name="PVI" start="1" end="1"/>
<field name="TSD" start="2" end="2"/>
<field name="DE" start="3" end="3"/>
<field name="PSE" start="4" end="4"/>
<field name="PAE" start="5" end="5"/>
<field name="MCE" start="6" end="6"/>
<field name="PGE" start="7" end="7"/>
<field name="PCE" start="8" end="8"/>
<field name="OSFXSR" start="9" end="9"/>
<field name="OSXMMEXCPT" start="10" end="10"/>
<field name="UMIP" start="11" end="11"/>
<field name="LA57" start="12" end="12"/>
<field name="VMXE" start="13" end="13"/>
<field name="SMXE" start="14" end="14"/>
<field name="FSGSBASE" start="16" end="16"/>
<field name="PCIDE" start="17" end="17"/>
<field name="OSXSAVE" start="18" end="18"/>
<field name="SMEP" start="20" end="20"/>
<field name="SMAP" start="21" end="21"/>
<field name="PKE" start="22" end="22"/>
</flags>
<flags id="x86_efer" size="8">
<field name="SCE" start="0" end="0"/>
<field name="LME" start="8" end="8"/>
<field name="LMA" start="10" end="10"/>
<field name="NXE" start="11" end="11"/>
<field name="SVME" start="12" end="12"/>
<field name="FFXSR" start="14" end="14"/>
</flags>
)"},
}};

// What every stop carries, so that a step needs no register packet: frame,
// stack, program counter, flags and the code segment that tells the mode.
constexpr std::array<std::size_t, 5> kExpedited = {
    static_cast<std::size_t>(X86Register::rbp), static_cast<std::size_t>(X86Register::rsp),
    static_cast<std::size_t>(X86Register::rip), static_cast<std::size_t>(X86Register::eflags),
    static_cast<std::size_t>(X86Register::cs)};

constexpr bool is_at(X86Register number, std::string_view name) {
  return kRegisters[static_cast<std::size_t>(number)].name == name;
}
// A row too many or too few anywhere above moves one of these.
static_assert(is_at(X86Register::rip, "rip") && is_at(X86Register::st0, "st0") &&
              is_at(X86Register::fop, "fop") && is_at(X86Register::xmm0, "xmm0") &&
              is_at(X86Register::mxcsr, "mxcsr") && is_at(X86Register::cr0, "cr0") &&
              is_at(X86Register::tr, "tr") && is_at(X86Register::dr7, "dr7") &&
              is_at(X86Register::star, "star") && is_at(X86Register::tsc_aux, "tsc_aux") &&
              is_at(X86Register::virtual_time_ns, "virtual_time_ns"));

}  // namespace

const TargetDescription& x86_target_description() {
  static const TargetDescription description = {"i386:x86-64",
                                                "x86_64-unknown-none",
                                                kRegisters,
                                                kTypes,
                                                static_cast<std::size_t>(X86Register::rip),
                                                kExpedited};
  return description;
}

}  // namespace chronovisor::gdb
