#include "vmm/boot/boot.h"

#include <string_view>

#include "vmm/boot/bzimage.h"
#include "vmm/boot/elf.h"
#include "vmm/boot/flat.h"
#include "vmm/boot/image.h"
#include "vmm/boot/memory_plan.h"
#include "vmm/boot/multiboot.h"
#include "vmm/boot/pvh.h"

namespace chronovisor {

namespace {

BootCpuState load_linux(MemoryPlan& plan, const Image& image, const BootRequest& request) {
  if (is_elf(image)) return load_pvh(plan, image, request);
  if (is_bzimage(image)) return load_bzimage(plan, image, request);
  if (const auto mistake = describe_mistaken_file(image)) image.fail(*mistake);
  if (has_multiboot_header(image)) image.fail("is a multiboot kernel; give it with --multiboot");
  image.fail(
      "is neither a bzImage (\"HdrS\" at 0x202) nor an ELF file; give a Linux kernel, or "
      "use --multiboot or --flat");
}

/// Refuses what the chosen kind cannot hand to the guest.
void check_request(const Image& image, const BootRequest& request) {
  if (request.kind != BootKind::linux_kernel && !request.initrd.empty()) {
    image.fail("an initrd goes with a Linux kernel only; give it with --module for multiboot");
  }
  const bool takes_modules = request.kind == BootKind::multiboot ||
                             (request.kind == BootKind::linux_kernel && is_elf(image));
  if (!takes_modules && !request.modules.empty()) {
    image.fail(
        "modules go with a multiboot kernel, or an ELF kernel with a PVH entry, only; give an "
        "initrd with --initrd");
  }
  if (!request.modules.empty() && !request.initrd.empty()) {
    image.fail("takes modules or an initrd; give the initrd as one of the modules, in its place");
  }
  if (request.kind == BootKind::flat && !request.command_line.empty()) {
    image.fail("a flat binary has no command line; leave --append out");
  }
  if (request.command_line.find('\0') != std::string::npos) {
    image.fail("the command line holds a zero byte, where the guest would end it; take it out");
  }
  for (const BootModule& module : request.modules) {
    if (module.arguments.find('\0') != std::string::npos) {
      image.fail("the string of module " + module.name + " holds a zero byte; take it out");
    }
  }
}

}  // namespace

BootCpuState load_guest(Ram& ram, const BootRequest& request) {
  const Image image(request.kernel_name, request.kernel);
  check_request(image, request);
  MemoryPlan plan(ram, request.kernel_name, request.layout);
  switch (request.kind) {
    case BootKind::linux_kernel:
      return load_linux(plan, image, request);
    case BootKind::multiboot:
      return load_multiboot(plan, image, request);
    case BootKind::flat:
      return load_flat(plan, image, request.flat_address);
    case BootKind::firmware:
      break;
  }
  image.fail("the boot kind is unknown");
}

}  // namespace chronovisor
