#!/usr/bin/python3
"""A Debian kernel with its debug information: crash and drgn open a vmcore of it,
and the kernel's own lx- commands work through the stub, in both directions of
time, with KASLR. Skipped where the debug information (scripts/fetch-kernel
--debug, some 430 MB) or the tool is not there; nothing is downloaded here."""
import glob
import json
import lzma
import os
import re
import shutil
import subprocess

from gdb_session import Gdb
from harness import ROOT, Test, skip


def options(parser):
    parser.add_argument("--tool", choices=("crash", "drgn", "lx"), required=True)


test = Test(__doc__, needs_kernel=True, extra=options)
tool = test.arguments.tool
if tool != "lx" and shutil.which(tool) is None:
    skip(f"{tool} is not installed (packages crash, python3-drgn)")
package = test.package()
DEBUG = os.path.join(package, "debug")
VMLINUX = os.path.join(DEBUG, "vmlinux")
if not os.path.exists(VMLINUX):
    skip(f"no debug information in the cache; scripts/fetch-kernel --debug {test.arguments.kernel} fetches it")

# A guest with a module and a process that sleeps, which panics by itself.
recording, console, core = test.path("panic.cvr"), test.path("console.txt"), test.path("core")
modules = glob.glob(os.path.join(package, "lib/modules/*/kernel/drivers/net/dummy.ko*"))
test.check(modules, "the kernel's package has no module dummy")
opener = lzma.open if modules[0].endswith(".xz") else open
os.mkdir(test.path("modules"))
with opener(modules[0], "rb") as packed, open(test.path("modules/dummy.ko"), "wb") as file:
    file.write(packed.read())
with open(test.path("init"), "w", encoding="utf-8") as file:
    file.write("#!/bin/sh\nmount -t proc proc /proc\nbusybox insmod /dummy.ko\nsleep 100 &\nsleep 1\n"
               "cat /proc/modules\necho 1 > /proc/sys/kernel/sysrq\necho c > /proc/sysrq-trigger\n")
image = test.initramfs("--init", test.path("init"), "--add", "dummy.ko=" + test.path("modules/dummy.ko"))
test.run("record", "-o", recording, "--kernel", test.kernel(), "--initrd", image, "--append", "console=ttyS0 panic=-1",
         "--memory", "256M", "--serial", f"file:{console}", expect=None)
test.check("panic" in str(test.json_of(test.run("info", recording, "--json"))["bookmarks"]), "the guest did not panic")

# What they must find, as chronovisor itself has it.
AT = ("--at", "panic")
tasks = {task["pid"]: task["name"] for task in json.loads(test.run("linux-tasks", recording, "--json", *AT).stdout)}
log = test.run("linux-log", recording, *AT).stdout.decode().splitlines()
module = json.loads(test.run("linux-modules", recording, "--json", *AT).stdout)[0]
test.check(len(tasks) > 30 and tasks[1] == "init" and "sleep" in tasks.values(), f"tasks: {tasks}")
test.check(len(log) > 200 and module["name"] == "dummy", f"log of {len(log)} lines, module {module}")
RELEASE = re.search(r"Linux version (\S+)", log[0])[1]
# Who calls whom at the panic, whatever the compiler did to the names.
CALLS = ("panic", "sysrq_handle_crash", "__handle_sysrq", "write_sysrq_trigger", "vfs_write", "ksys_write", "do_syscall_64")


def check_calls(text, what):
    places = [text.find(name) for name in CALLS]
    test.check(min(places) >= 0 and places == sorted(places), f"{what}: not {CALLS} in\n{text}")


def same_log(text, what):
    lines = set(line.strip() for line in text.splitlines())
    absent = [line for line in log if line.strip() and line.strip() not in lines]
    test.check(not absent, f"{what}: {len(absent)} of {len(log)} lines of the log are missing: {absent[:3]}")


def with_crash():
    test.run("export", recording, "--format", "vmcore", *AT, "-o", core)
    commands = test.path("commands")
    base = f"{module['base']:x}"
    asked = ("sys", "bt", "bt 2", "ps", "mod", f"vtop {base}", "sym linux_banner", "rd -a linux_banner", "log")
    with open(commands, "w", encoding="utf-8") as file:
        file.write("".join(f"!echo === {command}\n{command}\n" for command in asked) + "quit\n")
    done = test.run("-s", "--no_scroll", VMLINUX, core, "-i", commands, program="crash")
    text = done.stdout.decode(errors="replace")
    pieces = re.split(r"=== (.*)\n", text)
    parts = dict(zip(pieces[1::2], pieces[2::2]))
    test.check(set(parts) == set(asked), "crash did not answer every command", done)
    test.check(re.search(rf"RELEASE: {re.escape(RELEASE)}\n", parts["sys"]) and "MEMORY: 255" in parts["sys"], "sys", done)
    check_calls(parts["bt"], "bt")
    test.check(f"{base}  dummy" in re.sub(r"dummy +(\w+)", r"\1  dummy", parts["mod"]), "mod", done)
    test.check("Linux version" in parts["rd -a linux_banner"], "rd", done)
    walk = re.search(rf"{base} +([0-9a-f]+)", parts[f"vtop {base}"])
    translated = Gdb(test, recording)("translate", f"print(run('monitor translate {module['base']:#x}'))", at="panic")
    test.check(walk and re.search(rf"\b0x0*{walk[1]}\b", translated), f"vtop: {parts[f'vtop {base}']} and {translated}", done)
    same_log(parts["log"], "crash's log")
    version = subprocess.run(["crash", "--version"], capture_output=True, check=False).stdout.split(b"\n")[1].decode()
    if "not found in PID hash" in text:
        print(f"{version} does not know this kernel's struct pid: ps was not compared")
        return
    listed = {int(pid): name for pid, name in re.findall(r"^>? +(\d+) +\d+ +\d+ +[0-9a-f]{16} .* \[?([^\s\]]+)\]?$", parts["ps"], re.M)}
    test.check({pid: name.split()[0] for pid, name in tasks.items()} == listed, f"ps: {listed} is not {tasks}", done)
    test.check("kthreadd" in parts["bt 2"] and "ret_from_fork" in parts["bt 2"], "bt of a task that sleeps", done)
    print(f"{version}: {len(listed)} tasks")


def with_drgn():
    script = test.path("script.py")
    with open(script, "w", encoding="utf-8") as file:
        file.write("""import json
from drgn.helpers.linux.list import list_for_each_entry
from drgn.helpers.linux.pid import find_task, for_each_task
crashed = prog.crashed_thread()
print(json.dumps({
    "release": prog["init_uts_ns"].name.release.string_().decode(),
    "tasks": {task.pid.value_(): task.comm.string_().decode() for task in for_each_task(prog)},
    "modules": [module.name.string_().decode()
                for module in list_for_each_entry("struct module", prog["modules"].address_of_(), "list")],
    "running": crashed.tid,
    "calls": str(crashed.stack_trace()),
    "sleeps": str(prog.stack_trace(find_task(prog, 2)))}))
""")
    test.run("export", recording, "--format", "vmcore", *AT, "-o", core)
    found = json.loads(test.run("-q", "-c", core, "-s", VMLINUX, script, program="drgn").stdout)
    test.check(found["release"] == RELEASE, f"release {found['release']}")
    listed = {int(pid): name for pid, name in found["tasks"].items()}
    test.check(listed == {pid: name for pid, name in tasks.items() if pid}, f"tasks: {listed} are not {tasks}")
    test.check(found["modules"] == ["dummy"] and found["running"] == 1, f"modules and thread: {found}")
    check_calls(found["calls"], "the trace of the running thread")
    test.check("kthreadd (kernel/kthread.c:" in found["sleeps"], "the trace of a thread that sleeps: " + found["sleeps"])
    print(f"drgn: {len(listed)} tasks")


def with_lx():
    symbols = test.path("guest.elf")
    test.run("symbols", recording, "-o", symbols, *AT)
    script = os.path.join(ROOT, "scripts/gdb/chronovisor.py")
    # A vmlinux of another build: the same sections, another build ID.
    other = test.path("other")
    cut = subprocess.run(["objcopy", "--strip-all", "--remove-section=.rela*", VMLINUX, other],
                         capture_output=True, check=False)
    notes = subprocess.run(["readelf", "-n", VMLINUX], capture_output=True, check=False).stdout.decode()
    build_id = bytes.fromhex(re.search(r"Build ID: ([0-9a-f]+)", notes)[1])
    with open(other, "r+b") as file:
        content = file.read()
        test.check(content.count(build_id) == 1, "the build ID is not in the copy", cut)
        file.seek(content.index(build_id))
        file.write(bytes(255 - byte for byte in build_id))
    expected = test.path("expected.json")
    with open(expected, "w", encoding="utf-8") as file:
        json.dump({"tasks": sorted(tasks.items()), "log": log, "base": module["base"], "release": RELEASE}, file)
    text = Gdb(test, recording, symbols)("lx commands", f"""
        import json
        expected = json.load(open({expected!r}))
        text = run("source {script}") + run("chronovisor add-vmlinux {VMLINUX}")
        slide = int(re.search("moved by (0x[0-9a-f]+)", text)[1], 16)
        check(slide % 0x200000 == 0, text)
        run("source {DEBUG}/vmlinux-gdb.py")
        check(expected["release"] in run("lx-version"), "lx-version")
        check("console=ttyS0 panic=-1" in run("lx-cmdline"), "lx-cmdline")
        # lx-dmesg rounds microseconds, where the kernel cuts them off.
        text_of = lambda line: line.partition("] ")[2].strip()
        shown = set(text_of(line) for line in run("lx-dmesg").splitlines())
        absent = [line for line in expected["log"] if text_of(line) not in shown]
        check(not absent, "lx-dmesg lacks %r" % absent[:3])
        listed = re.findall(r"^0x[0-9a-f]+ +([0-9]+) +(.*)$", run("lx-ps"), re.M)
        equal([[int(pid), name] for pid, name in listed], expected["tasks"], "lx-ps")
        equal(int(re.search(r"(0x[0-9a-f]+) dummy", run("lx-lsmod"))[1], 16), expected["base"], "lx-lsmod")
        check(gdb.parse_and_eval("$lx_current().comm").string() == "init", "the running task")
        equal(value("$lx_current().pid"), 1, "$lx_current()")
        check(gdb.parse_and_eval("$lx_task_by_pid(2).comm").string() == "kthreadd", "$lx_task_by_pid()")
        try:
            cpu = value("$lx_per_cpu(runqueues).cpu")  # newer kernels' way
        except gdb.error:
            cpu = value("$lx_per_cpu(\\"runqueues\\").cpu")
        equal(cpu, 0, "$lx_per_cpu()")

        # The same, earlier: before the module was loaded.
        late = value("$position")
        run("break load_module"); run("reverse-continue")
        check(value("$position") < late, "no way back")
        check(gdb.selected_frame().name() == "load_module" and gdb.selected_frame().find_sal().line > 0, "source lines")
        check("info" in [symbol.name for symbol in gdb.selected_frame().block()], "arguments")
        check("dummy" not in run("lx-lsmod"), "the module is there before it was loaded")
        check(gdb.parse_and_eval("$lx_current().comm").string() == "busybox", "who loads it: " + run("p $lx_current().comm"))
        check("reboot" not in run("lx-dmesg") and "sysrq: Trigger" not in run("lx-dmesg"), "the log's future is in it")
        run("delete"); run("chronovisor seek %d" % late)
        check("dummy" in run("lx-lsmod"), "and there again")

        # lx-symbols loads the vmlinux again, which must be moved again.
        run("lx-symbols {test.path("modules")}")
        check(gdb.parse_and_eval("$lx_current().comm").string() == "init", "after lx-symbols")
        check("dummy.ko" in run("info symbol dummy_xmit"), "the module's own symbols")
        text = run("backtrace")
        check("sysrq_handle_crash (key=" in text and "signal handler called" in text, text)

        # Another kernel's vmlinux, or none, is refused.
        check("not of the guest kernel's build" in fails("chronovisor add-vmlinux {other}"), "another build")
        check("64-bit ELF" in fails("chronovisor add-vmlinux /etc/passwd"), "no ELF file")
        check("not a kernel's" in fails("chronovisor add-vmlinux /proc/self/exe"), "a program")
    """, at="panic", seconds=600)
    print("lx- commands passed" if text else "")


{"crash": with_crash, "drgn": with_drgn, "lx": with_lx}[tool]()
