#!/usr/bin/python3
"""A kernel that is started without firmware on pc-2 finds its devices as firmware would
have left them: PCI functions with places of their own, both PS/2 ports, ACPI."""
from harness import CMDLINE, Test

test = Test(__doc__, needs_kernel=True)
recording = test.path("pc2.cvr")
console = test.path("console")
test.run("record", "-o", recording, "--machine", "pc-2", "--kernel", test.kernel(), "--append", CMDLINE.replace("quiet", ""),
         "--serial", "file:" + console, "--limit", "650000000", seconds=200)
with open(console, encoding="ascii", errors="replace") as file:
    said = file.read()
for line in ("pci 0000:00:00.0: [8086:1237]", "pci 0000:00:01.0: [8086:7000]", "pci 0000:00:01.1: [8086:7010]",
             "pci 0000:00:01.3: quirk: [io  0x0600-0x063f] claimed by PIIX4 ACPI", "pci 0000:00:02.0: [1234:1111]",
             "pci 0000:00:02.0: BAR 0 [mem 0xc0000000-0xc0ffffff]: assigned", "pci 0000:00:01.1: BAR 4 [io  0x1000-0x100f]: assigned",
             "serio: i8042 KBD port at 0x60,0x64 irq 1", "serio: i8042 AUX port at 0x60,0x64 irq 12", "ACPI: Interpreter enabled"):
    test.check(line in said, f"the kernel did not say \"{line}\":\n{said[-6000:]}")
for word in ("BUG:", "ACPI Error", "ACPI BIOS Error"):
    test.check(word not in said, f"the kernel said {word}:\n{said[-6000:]}")
test.run("verify", recording, seconds=200)
print("a kernel finds pc-2's devices")
