#!/usr/bin/python3
"""A stock Linux kernel in gdb: symbols from its own memory, backtraces from its
own unwind tables, its log, processes and modules; KASLR; a breakpoint set on
memory that happens to hold 0xcc; Ctrl-C in a long reverse search."""
import glob
import json
import lzma
import os
import re
import signal
import subprocess
import time

from gdb_session import GDB, Gdb
from harness import ROOT, Test

test = Test(__doc__, needs_kernel=True)
recording, console = test.path("boot.cvr"), test.path("console.txt")
command = test.linux()
command[command.index("--append") + 1] = "console=ttyS0 panic=-1"  # with KASLR
test.run("record", "-o", recording, *command, "--serial", f"file:{console}")
kallsyms = test.run(test.kernel(), program=os.path.join(ROOT, "scripts/kallsyms")).stdout.decode()
linked = {line.split()[2]: int(line.split()[0], 16) for line in kallsyms.splitlines()}

# Symbols: every one of the image's, moved by one distance.
symbols = test.path("guest.elf")
test.run("symbols", recording, "-o", symbols)
listed = subprocess.run(["nm", symbols], capture_output=True, check=True).stdout.decode()
found = {line.split()[2]: int(line.split()[0], 16) for line in listed.splitlines()}
slide = found["start_kernel"] - linked["start_kernel"]
print(f"{len(found)} symbols, KASLR slide {slide:#x}")
test.check(slide % 0x200000 == 0, f"a slide of {slide:#x}")
missing = [name for name, address in linked.items() if address >= 0xffffffff80000000 and name not in found]
test.check(not missing, f"symbols are missing: {missing[:10]}")
for name in ("start_kernel", "do_sys_openat2", "__do_sys_reboot", "jiffies_64", "init_task", "vfs_read"):
    test.check(found[name] == linked[name] + slide, f"{name} is at {found[name]:#x}")

# The log, as the console had it; the processes.
log = test.run("linux-log", recording, "--at", "end").stdout.decode()
shown = [line.strip() for line in open(console, encoding="utf-8", errors="replace") if line.startswith("[")]
lines = set(line.strip() for line in log.splitlines())
test.check(len(shown) > 100, f"only {len(shown)} kernel lines on the console")
absent = [line for line in shown if line not in lines]
test.check(not absent, f"{len(absent)} console lines are not in linux-log: {absent[:5]}")
test.check("Linux version" in log.splitlines()[0], "the log does not begin with the version: " + log[:200])
tasks = json.loads(test.run("linux-tasks", recording, "--json").stdout)
by_pid = {task["pid"]: task for task in tasks}
test.check(by_pid[0]["name"].startswith("swapper") and by_pid[1]["parent"] == 0, f"first tasks: {tasks[:2]}")
test.check(by_pid[2]["name"] == "kthreadd" and by_pid[2]["kernel_thread"] and not by_pid[1]["kernel_thread"], "kthreadd")
test.check(sum(task["on_cpu"] for task in tasks) == 1, "one task is on the CPU")
test.check(all(task["state"] in "RSDIZTX" for task in tasks), f"states: {[task['state'] for task in tasks]}")
early = test.run("linux-tasks", recording, "--at", "start", expect=3)
test.check(b"later position" in early.stderr, "no advice at the start", early)
test.check(b"no modules" in test.run("linux-modules", recording).stdout, "modules out of nothing")

# A module of the kernel's own package, loaded: it is listed, and its symbols are there.
modules = glob.glob(os.path.join(test.package(), "lib/modules/*/kernel/drivers/net/dummy.ko*"))
if modules and modules[0].endswith((".ko", ".ko.xz")):
    plain, init, loaded = test.path("dummy.ko"), test.path("init"), test.path("module.cvr")
    opener = lzma.open if modules[0].endswith(".xz") else open
    with opener(modules[0], "rb") as packed, open(plain, "wb") as file:
        file.write(packed.read())
    with open(init, "w", encoding="utf-8") as file:
        file.write("#!/bin/sh\nmount -t proc proc /proc\nbusybox insmod /dummy.ko || insmod /dummy.ko\n"
                   "echo LISTED $(cat /proc/modules)\nbusybox ip link set dummy0 up\nsleep 3\npoweroff -f\n")
    image = test.initramfs("--init", init, "--add", "dummy.ko=" + plain)
    test.run("record", "-o", loaded, "--kernel", test.kernel(), "--initrd", image, "--append", "console=ttyS0 panic=-1 quiet",
             "--memory", "128M", "--serial", f"file:{console}")
    listed = re.search(r"LISTED (\w+) (\d+).* (0x[0-9a-f]+)", open(console, encoding="utf-8", errors="replace").read())
    test.check(listed is not None, "the guest did not load its module")
    module = json.loads(test.run("linux-modules", loaded, "--json", "--at", "end").stdout)
    test.check(len(module) == 1 and module[0]["name"] == "dummy" == listed[1], f"linux-modules lists {module}")
    test.check(module[0]["base"] == int(listed[3], 16), f"the module's base is {listed[3]}, not {module[0]['base']:#x}")
    test.run("symbols", loaded, "-o", test.path("module.elf"), "--at", "end")
    names = subprocess.run(["nm", test.path("module.elf")], capture_output=True, check=True).stdout.decode()
    test.check(" set_multicast_list\n" in names, "the module's functions are missing from the symbols")
    frames = subprocess.run(["readelf", "--debug-dump=frames", test.path("module.elf")], capture_output=True, check=True)
    covered = [[int(n, 16) for n in found] for found in re.findall(rb"FDE .*pc=([0-9a-f]+)\.\.([0-9a-f]+)", frames.stdout)]
    base = module[0]["base"]
    test.check(any(base <= start < end <= base + module[0]["size"] for start, end in covered), "no unwind information for the module")
    # The network's first packets go through the module, in a kernel thread.
    Gdb(test, loaded, test.path("module.elf"))("a backtrace through a module", """
        run("break dummy_xmit"); run("reverse-continue")
        equal(gdb.selected_frame().name(), "dummy_xmit", "where the packet goes")
        run("break consume_skb"); run("continue"); text = run("backtrace")
        names = ["consume_skb", "dummy_xmit", "dev_hard_start_xmit", "__dev_queue_xmit", "worker_thread", "kthread", "ret_from_fork"]
        places = [text.find(" " + name + " (") for name in names]
        check(min(places) >= 0 and places == sorted(places), "the backtrace: " + text)
        run("delete"); run("finish"); equal(gdb.selected_frame().name(), "dummy_xmit", "finish")
        run("finish"); equal(gdb.selected_frame().name(), "dev_hard_start_xmit", "finish out of the module")
    """, at="end")
    print("modules passed")

gdb = Gdb(test, recording, symbols)
gdb("backtraces", """
    run("break do_sys_openat2"); run("reverse-continue")
    equal(gdb.selected_frame().name(), "do_sys_openat2", "the breakpoint by name")
    text = run("backtrace")
    # gdb calls a frame of which all registers were saved a signal handler's.
    names = [name for name in ("do_sys_openat2", "do_syscall_64", "signal handler called") if name in text]
    check(len(names) == 3, "the backtrace from a system call: " + text)
    check(len(text.splitlines()) < 12 and "corrupt" not in text, "ends in the caller's program: " + text)
    run("delete"); here = (pc(), value("$position"))
    run("finish"); check(value("$position") > here[1], "finish by the kernel's unwind tables")
    run("reverse-stepi"); run("reverse-finish"); run("stepi")
    equal((pc(), value("$position")), here, "and reverse-finish goes back to the call")
    run("delete"); run("hbreak *update_process_times")
    run("reverse-continue"); text = run("backtrace")
    check("tick" in text and "signal handler called" in text, "the backtrace through an interrupt: " + text)
    tail = text.split("signal handler called")[-1].strip().splitlines()
    check(len(tail) >= 2, "goes on to what was interrupted: " + text)
    check("start_kernel" in run("info symbol start_kernel"), "info symbol")
""", at="end")

gdb("memory that holds 0xcc", """
    byte = bytes(gdb.selected_inferior().read_memory(value("(unsigned long) &start_kernel"), 1))
    check(byte == b"\\xcc", "freed init memory is not poisoned here: %r" % byte)
    run("break *start_kernel"); run("reverse-continue")
    start = value("(unsigned long) &start_kernel")
    equal(pc(), start, "the breakpoint works")
    check("start_kernel" in run("backtrace"), "a backtrace that ends where the kernel begins")
    text = fails("stepi")
    check("delete" in text and "0xcc" in text, "the reason is told: " + text)
    equal(pc(), start, "nothing has moved")
    check("branch" not in run("monitor when"), "and no branch was started")
    place = value("$position"); run("delete"); run("break *start_kernel"); run("stepi")
    equal(value("$position"), place + 1, "after setting it again stepping works")
    run("reverse-stepi"); equal(pc(), start, "both ways")
    check("branch" not in run("monitor when"), "still on the timeline")
""", at="end")

gdb("physical memory", """
    text = run("monitor translate %#x" % value("(unsigned long) &linux_banner"))
    physical = int(text.split()[-1], 16)
    run("monitor phys on")
    check(bytes(gdb.selected_inferior().read_memory(physical, 13)) == b"Linux version", "the banner by physical address")
    run("monitor phys off")
    check(bytes(gdb.selected_inferior().read_memory(value("(unsigned long) &linux_banner"), 13)) == b"Linux version", "and by linear")
""", at="end")

# Ctrl-C in a search that finds nothing, as a user at a terminal does it.
script = test.path("interrupt.gdb")
with open(script, "w", encoding="utf-8") as file:
    file.write(f"""set pagination off
set confirm off
target remote | {test.program} debug {recording} --listen stdio --at end
printf "before %lu\\n", $position
break *{found["__x86_return_thunk"]:#x} if $rax == 0x123456789
echo searching\\n
reverse-continue
printf "after %lu\\n", $position
stepi
printf "alive\\n"
disconnect
quit
""")
begun = time.monotonic()
process = subprocess.Popen([GDB, "-nx", "-q", "-x", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, start_new_session=True)
seen = b""
while b"searching" not in seen:
    seen += os.read(process.stdout.fileno(), 65536)
time.sleep(1.0)
process.send_signal(signal.SIGINT)
sent = time.monotonic()
output, _ = process.communicate(timeout=60)
output = (seen + output).decode(errors="replace")
took = time.monotonic() - sent
numbers = dict(re.findall(r"(before|after) (\d+)", output))
test.check("alive" in output, "gdb did not go on after Ctrl-C: " + output)
test.check("SIGINT" in output or "history" in output, "no interrupt and no end: " + output)
test.check("SIGINT" not in output or numbers["before"] == numbers["after"], f"interrupted, but elsewhere: {numbers}")
test.check(took < 15, f"the answer to Ctrl-C took {took:.1f} s")
print(f"Ctrl-C: {took:.2f} s; {'interrupted' if 'SIGINT' in output else 'finished first'}")
