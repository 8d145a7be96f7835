#!/usr/bin/python3
"""How a guest ended is in the exit status and in the report; a guest that polls for ever
is named as such, with what it polls; a recorder that was killed leaves a recording
whose every digest is compared; equal runs are equal wherever their kernel lay."""
import json
import os
import shutil
import signal
import subprocess
import time

from harness import Test

test = Test(__doc__)


def flat(name, code):
    path = test.path(name)
    with open(path, "wb") as file:
        file.write(bytes.fromhex(code))
    return path


def record(image, *options, expect=0, kind="--flat"):
    out = image + ".cvr"
    done = test.run("record", "-f", "-o", out, kind, image, "--serial", "none", "--json", *options, expect=expect, seconds=120)
    return json.loads(done.stdout), done, out


# Halted for good, with interrupts off and on
facts, done, dead = record(flat("dead", "b041 e680 b042 ba0004 66ef fa f4"), expect=1)
test.check(facts["exit"]["reason"] == "halted" and facts["interrupts_enabled"] is False, "cli; hlt", done)
test.check([(p["port"], p["width"], p["value"] & 0xff) for p in facts["last_ports"]] == [(0x400, 4, 0x42), (0x80, 1, 0x41)], f"ports {facts['last_ports']}", done)
for said in (b"IF=0", b"0x80 <- 0x41 at position", b"0x400 <- 0x"):
    test.check(said in done.stderr, f"{said} is not said", done)
facts, done, _ = record(flat("idle", "fb f4 ebfd"))
test.check(facts["exit"]["reason"] == "halted" and b"IF=1" in done.stderr, "sti; hlt", done)
# A shutdown, the same on a branch
facts, done, crash = record(test.guest("triple_fault"), kind="--multiboot", expect=1)
test.check(facts["exit"]["reason"] == "triple-fault", "a triple fault", done)
test.run("live", crash, "-o", test.path("branch.cvr"), "--at", "start", "--serial", "none", expect=1)
test.run("replay", crash, "--serial", "none")
test.run("verify", crash)


def verified_as_reported(facts, out, what):
    """The state in which a recorder stopped is come to again, also within a position."""
    for jobs in ("1", "2"):
        done = test.run("verify", out, "--json", "--jobs", jobs, seconds=120)
        test.check(json.loads(done.stdout)["digest"] == facts["digest"], f"{what}: verified to another state", done)


verified_as_reported(facts, crash, "a triple fault")
# Runs that end while the guest waits: by a script, with a timer running and without one, woken on
# the way or not; and for good
# Interrupts 8 and 9 read port 60H and return; the timer at its slowest; the keyboard's interrupt
HANDLER = ("c706000650e4 c706020660b0 c706040620e6 c70606062058 c6060806cf" "c70620000006 c70622000000 c70624000006 c70626000000"
           "b011e620 b008e621 b004e621 b001e621")
TIMER, KEYBOARD = "b036e643 b000e640e640", "b060e664 b041e660"
WAITS = {"for nothing": "", "for the timer": HANDLER + TIMER + "b0fee621", "for keys": HANDLER + KEYBOARD + "b0fde621",
         "for the timer and keys": HANDLER + TIMER + KEYBOARD + "b0fce621", "for a masked timer": TIMER}
for name, code in WAITS.items():
    for script in ("wait 1500ms\nend\n", "wait 10ms\nkeys a\nwait 0s\nend\n", "wait 7ms\nkeys ab\nend\n", "end\n"):
        with open(test.path("script"), "w", encoding="ascii") as file:
            file.write(script)
        what = f"a wait {name}, {script.encode()}"
        facts, done, out = record(flat("waits", code + " fb f4 ebfd"), "--machine", "pc-2", "--script", test.path("script"))
        verified_as_reported(facts, out, what)
        test.run("pack", "-f", out, test.path("packed.cvr"))
        verified_as_reported(facts, test.path("packed.cvr"), what + ", packed")
        test.run("trim", "-f", out, test.path("packed.cvr"), "--to", "1")
        test.run("verify", test.path("packed.cvr"))
# A reset by itself is none
facts, done, _ = record(flat("reset", "b0fe e664 f4"))
test.check(facts["exit"]["reason"] == "reset", "a reset", done)
# A kernel that says that it panics is one, however it goes on
panic = b"Kernel panic - not syncing: test\n"
says_panic = b"".join(bytes((0xb0, letter, 0xe6, 0xe9)) for letter in panic).hex()
facts, done, _ = record(flat("panic", says_panic + "b0fe e664 f4"), expect=1)
test.check(facts["exit"]["reason"] == "reset" and facts["panicked"], "a panic with a reboot", done)

# What polls for ever
STUCK = ["--stuck-after", "16_000_000", "--stop-when-stuck", "--limit", "80_000_000"]
for name, code, port, memory, words in (
        ("jump", "ebfe", None, [], b"waits for nothing"),
        ("port", "e464 a802 74fa", 0x64, [], b"polls port 0x64"),
        ("counted-port", "6641 e464 a802 74f8", 0x64, [], b"polls port 0x64"),
        ("word", "a10005 85c0 74f9", None, [(0x500, 2, 0)], b"polls memory at 0x500 (2 bytes: 0x0)"),
        ("interrupted", "fb 803e000501 75f9", None, [(0x500, 1, 0)], b"polls memory at 0x500 (1 bytes: 0x0)"),
        ("panicked", says_panic + "0f31 6689c6 0f31 6629f0 663d00ca9a3b 72f3 ebec", None, [], b"has panicked and waits")):
    facts, done, out = record(flat(name, code), *STUCK, expect=1)
    test.check(facts["exit"]["reason"] == "stuck", f"{name}: ended by {facts['exit']}", done)
    stuck = facts["stuck"]
    test.check(stuck["port"] == port, f"{name}: port {stuck['port']}", done)
    if memory or port is None and name != "panicked":
        test.check([(m["address"], m["bytes"], m["value"]) for m in stuck["memory"]] == memory, f"{name}: memory {stuck['memory']}", done)
    test.check(words in done.stderr and words.decode() in stuck["text"], f"{name}: {stuck['text']}", done)
    test.check(16_000_000 <= stuck["position"] - stuck["since"] <= 32_000_000, f"{name}: {stuck['since']} to {stuck['position']}", done)
    test.run("verify", out)
    test.check("stuck" in {mark["name"] for mark in json.loads(test.run("info", out, "--json").stdout)["bookmarks"]}, f"{name}: no bookmark")
# Without --stop-when-stuck it is said, and the run goes on
facts, done, _ = record(test.path("jump"), "--stuck-after", "16_000_000", "--limit", "64_000_000")
test.check(facts["exit"]["reason"] == "limit" and facts["stuck"]["since"] < 10 and done.stderr.count(b"no progress") == 1, "told once", done)
# It changes nothing for the guest
alone, _, _ = record(test.path("jump"), "--stuck-after", "0", "--limit", "64_000_000")
test.check(alone["digest"] == facts["digest"] and "stuck" not in alone, "looking changes the guest")
# What counts, or says something, is not stuck
facts, done, _ = record(flat("counting", "6640 ebfc"), "--stuck-after", "16_000_000", "--stop-when-stuck", "--limit", "64_000_000")
test.check(facts["exit"]["reason"] == "limit" and "stuck" not in facts, "a loop that counts", done)
facts, done, _ = record(flat("talking", "ff060006 75fa ff060206 f60602060f 75ef b041 e6e9 ebe9"), "--stuck-after", "16_000_000",
                        "--stop-when-stuck", "--limit", "80_000_000")
test.check(facts["exit"]["reason"] == "limit", "a guest that talks now and then", done)

# Killed
killed = test.path("killed.cvr")
recorder = subprocess.Popen([test.program, "record", "-o", killed, "--flat", test.path("counting"), "--serial", "none",
                             "--checkpoint-every", "4000000", "--stuck-after", "0"], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
until = time.monotonic() + 60
while time.monotonic() < until and (not os.path.exists(killed) or len(json.loads(
        subprocess.run([test.program, "info", killed, "--json"], capture_output=True, check=False).stdout or b"{}").get("checkpoint_positions", [])) < 3):
    time.sleep(0.2)
recorder.send_signal(signal.SIGKILL)
recorder.wait()
usable = json.loads(test.run("info", killed, "--json").stdout)["end"]
for jobs in ("1", "2"):
    done = test.run("verify", killed, "--json", "--jobs", jobs, expect=3, seconds=300)
    facts = json.loads(done.stdout)
    test.check(facts["result"] == "identical, cut" and facts["digests_checked"] >= 3 and facts["position"] == usable, f"killed: {facts}", done)
done = test.run("verify", killed, expect=3, seconds=300)
test.check(f"the recorder was killed; verified up to position {usable:,}".encode() in done.stdout, "killed", done)
test.run("verify", killed, "--bytes-only", expect=3)
# Made whole, it is as any other
test.run("pack", killed, test.path("whole.cvr"))
test.run("verify", test.path("whole.cvr"), seconds=300)
# Damage is something else, and is not replayed
with open(killed, "rb") as file:
    bytes_of = bytearray(file.read())
bytes_of[len(bytes_of) // 2] ^= 4
with open(killed, "wb") as file:
    file.write(bytes_of)
done = test.run("verify", killed, "--json", expect=3)
test.check(json.loads(done.stdout)["result"] == "damaged", "damage", done)

# The same kernel from two places
image = flat("here", "b041 e680 fa f4")
shutil.copy(image, test.path("there"))
_, _, one = record(image, expect=1)
_, _, two = record(test.path("there"), expect=1)
done = test.run("diff", one, two)
test.check(b"starting conditions: equal" in done.stdout, "a kernel from another path", done)
print("endings are told apart")
