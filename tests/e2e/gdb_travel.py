#!/usr/bin/python3
"""Real gdb on a recorded Linux boot: stepping there and back, reverse-continue
to an early breakpoint, and a reverse watchpoint, over a pipe and over a socket."""
import os
import shutil
import subprocess
import time

from harness import ROOT, Test, skip

test = Test(__doc__, needs_kernel=True)
GDB = shutil.which("gdb") or skip("gdb is not installed")

recording, symbols = test.path("boot.cvr"), test.path("kernel.sym")
test.run("record", "-o", recording, *test.linux(), "--serial", "none")
kallsyms = os.path.join(ROOT, "scripts/kallsyms")
test.run(test.kernel(), "--elf", symbols, program=kallsyms)
names = ("start_kernel", "jiffies_64", "system_state", "kernel_power_off", "__do_sys_reboot")
listed = test.run(test.kernel(), program=kallsyms).stdout.decode()
address = {line.split()[2]: int(line.split()[0], 16) for line in listed.splitlines() if line.split()[2] in names}
print({name: hex(value) for name, value in address.items()})

# gdb's own Python does the looking, so that nothing is guessed from its prose.
SCRIPT = r'''
set confirm off
set pagination off
set height 0
set tcp connect-timeout 60
set remotetimeout 120
symbol-file @SYMBOLS@
@CONNECT@
python
import gdb, sys
NAMES = ("rax rbx rcx rdx rsi rdi rbp rsp r8 r9 r10 r11 r12 r13 r14 r15 rip eflags cs ss ds es fs gs").split()
def state():
    lines = gdb.execute("info registers " + " ".join(NAMES), to_string=True).splitlines()
    return tuple(int(line.split()[1], 16) for line in lines if line)
def pc():
    return state()[16]
def run(command):
    text = gdb.execute(command, to_string=True)
    print("(gdb) " + command + "\n" + text)
    return text
def check(condition, message):
    if not condition:
        print("FAILED: " + message + " at pc " + hex(pc()))
        gdb.execute("quit 1")
try:
@BODY@
except gdb.error as error:
    print("FAILED: gdb says: " + str(error))
    gdb.execute("quit 1")
end
disconnect
quit 0
'''


def gdb(name, at, body, connect="pipe", says=()):
    body = "\n".join("    " + line for line in body.strip().splitlines())
    server = None
    if connect == "pipe":
        target = f"target remote | {test.program} debug {recording} --listen stdio --at {at}"
    else:
        socket = test.path("gdb.socket")
        server = subprocess.Popen([test.program, "debug", recording, "--listen", f"unix:{socket}", "--at", at],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        for _ in range(200):
            if os.path.exists(socket) or server.poll() is not None:
                break
            time.sleep(0.05)
        test.check(os.path.exists(socket), "debug --listen unix: made no socket")
        target = f"target remote {socket}"
    script = test.path(name + ".gdb")
    with open(script, "w", encoding="utf-8") as file:
        file.write(SCRIPT.replace("@SYMBOLS@", symbols).replace("@CONNECT@", target).replace("@BODY@", body))
    begun = time.monotonic()
    done = test.run("-nx", "-q", "-batch", "-x", script, program=GDB, seconds=240)
    test.check(b"ALL CHECKED" in done.stdout, f"{name}: the script did not reach its end", done)
    for words in says:  # of a stop, gdb speaks past to_string, to its own output
        test.check(words.encode() in done.stdout, f"{name}: gdb does not say: {words}", done)
    if server is not None:
        try:
            server.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.communicate()
            test.fail(f"{name}: the server outlives its debugger")
        test.check(server.returncode == 0, f"{name}: debug ended with {server.returncode}")
    print(f"{name}: {time.monotonic() - begun:.1f} s")


STEPS = '''
run("hbreak *%d")
run("continue")
check(pc() == %d, "continue did not stop at start_kernel")
run("delete")
there = [state()]
for number in range(10):
    gdb.execute("stepi", to_string=True)
    there.append(state())
back = [state()]
for number in range(10):
    gdb.execute("reverse-stepi", to_string=True)
    back.append(state())
check(back == there[::-1], "reverse-stepi came by other registers: " + repr([(hex(a[16]), hex(b[16])) for a, b in zip(there, back[::-1])]))
check(len(set(there)) == 11, "ten steps did not give eleven states")
print("ALL CHECKED")
''' % (address["start_kernel"], address["start_kernel"])
gdb("stepping over a pipe", "start", STEPS)
gdb("stepping over a socket", "start", STEPS, connect="unix")

gdb("reverse-continue from the end", "end", '''
end = state()
run("break *%d")
run("reverse-continue")
check(pc() == %d, "reverse-continue did not stop at start_kernel")
run("delete")
run("reverse-continue")
beginning = state()
run("reverse-continue")
check(state() == beginning, "reverse-continue at the beginning moves")
run("continue")
check(state() == end, "continue does not come back to the end")
print("ALL CHECKED")
''' % (address["start_kernel"], address["start_kernel"]), says=["No more reverse-execution history"])

gdb("reverse watchpoint", "end", '''
run("break *%d")
run("reverse-continue")
run("delete")
check(pc() == %d, "did not reach __do_sys_reboot from the end")
place = %d
def value():
    return int.from_bytes(bytes(gdb.selected_inferior().read_memory(place, 4)), "little")
now = value()
run("watch *(unsigned int *)%d")
run("reverse-continue")
before, stopped = value(), pc()
check(before != now, "stopped by the watchpoint with the value unchanged")
run("delete")
gdb.execute("stepi", to_string=True)
check(value() == now, "the instruction stopped on does not store the value: " + hex(stopped))
gdb.execute("reverse-stepi", to_string=True)
check(pc() == stopped and value() == before, "reverse-stepi does not undo the store")
print("store of %%d over %%d found at %%s" %% (now, before, run("info symbol $pc").strip()))
print("ALL CHECKED")
''' % (address["__do_sys_reboot"], address["__do_sys_reboot"], address["system_state"], address["system_state"]))
