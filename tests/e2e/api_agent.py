#!/usr/bin/python3
"""An agent of few words finds the demo's culprit by tools alone: it records the demo's guest,
speaks the agents' protocol, and follows what `last_write` says from the failed check back to
the function that destroyed a pointer. The kernel's tools are tried on the way."""
import json
import os
import subprocess

from harness import CMDLINE, ROOT, Test, skip

test = Test(__doc__, needs_kernel=True)
kernel = test.kernel()
gateway, initrd, recording = test.path("gateway"), test.path("initrd.img"), test.path("gateway.cvr")
sources = [os.path.join(ROOT, "demo/gateway", name) for name in ("channel.c", "config.c", "main.c")]
built = subprocess.run(["gcc", "-std=c11", "-D_DEFAULT_SOURCE", "-Og", "-g", "-static", "-no-pie", "-o", gateway, *sources],
                       capture_output=True, check=False)
test.check(built.returncode == 0, "the demo's guest does not build", built)
made = subprocess.run([os.path.join(ROOT, "scripts/build-initramfs"), initrd, "--init", gateway, "--add",
                       f"etc/plant.conf={os.path.join(ROOT, 'demo/gateway/plant.conf')}"], capture_output=True, check=False)
if made.returncode != 0:
    skip(f"no initramfs: {made.stderr.decode(errors='replace').strip()}")
test.run("record", "-o", recording, "--kernel", kernel, "--initrd", initrd, "--append", CMDLINE, "--memory", "128M",
         "--serial", "none", seconds=600)


class Agent:
    """Calls tools, and notes what it called."""

    def __init__(self):
        self.process = subprocess.Popen([test.program, "mcp", recording, "--symbols", gateway],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.calls = []
        self.number = 0
        self.ask("initialize", {"protocolVersion": "2025-06-18", "capabilities": {},
                                "clientInfo": {"name": "agent", "version": "1"}})
        self.send({"method": "notifications/initialized"})
        self.tools = {tool["name"] for tool in self.ask("tools/list", {})["tools"]}

    def send(self, message):
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        self.process.stdin.flush()

    def ask(self, method, parameters):
        self.number += 1
        self.send({"id": self.number, "method": method, "params": parameters})
        answer = json.loads(self.process.stdout.readline())
        test.check(answer.get("id") == self.number and "result" in answer, f"{method}: {answer}")
        return answer["result"]

    def call(self, name, **given):
        test.check(name in self.tools, f"there is no tool {name}")
        self.calls.append(name)
        answer = self.ask("tools/call", {"name": name, "arguments": given})
        test.check(not answer.get("isError"), f"{name} {given}: {answer}")
        test.check(len(answer["content"][-1]["text"]) < 100_000, f"{name}: a long answer")
        return answer["structuredContent"]

    def number_at(self, address, length):
        answer = self.call("read_memory", address=address, length=length)
        return int.from_bytes(bytes.fromhex(answer["bytes"]), "little")

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        return self.process.wait(timeout=60)


agent = Agent()
# What happened?
said = "".join(piece["text"] for piece in agent.call("console")["pieces"])
test.check("cannot have said" in said, f"the console says nothing of it: {said}")
# Where was it found? The check's function was entered once, near the end.
agent.call("seek", place="end")
check = agent.call("find_arrival", address="audit_failed", direction="backward", go=True)
# A function is a place by itself.
agent.call("seek", place="start")
test.check(agent.call("seek", place="audit_failed")["position"] == check["position"], "the function is another place")
registers = agent.call("registers")
channel, slot = int(registers["rdi"], 16), int(registers["rsi"], 16)
READINGS = 32  # of struct channel
ring = agent.number_at(channel + READINGS, 8)
# Who stored that reading? Another channel did.
store = agent.call("last_write", address=ring + 4 * slot, length=4, go=True)["write"]
test.check(store["symbol"].startswith("channel_store"), f"the reading was stored by {store}")
other = int(agent.call("registers")["rdi"], 16)
test.check(other != channel, "it was the channel's own")
# Its ring leads into another's memory: who changed that pointer?
culprit = agent.call("last_write", address=other + READINGS, length=8, go=True)["write"]
test.check(culprit["symbol"].startswith("copy_text"), f"the pointer was destroyed by {culprit}")
here = agent.call("disassemble", count=1)["instructions"][0]
test.check("movb" in here["text"] and here["symbol"] == culprit["symbol"], f"no store of a byte: {here}")
# The demo is built without frame pointers, and a stack says where it ends for that.
stack = agent.call("backtrace")
test.check((len(stack["frames"]), stack["ended"]) == (1, "no-frame-pointer") and "frame pointer" in stack["why"], f"{stack}")
line = agent.call("source", address=here["address"])["lines"][0]
test.check(line["file"].endswith("config.c") and line["line"] == 13, f"it is not in that line: {line}")
found_after = check["position"] - culprit["position"]
test.check(found_after > 1_000_000, f"only {found_after} steps before it was noticed")

# The kernel, at the end.
agent.call("seek", place="end")
test.check(agent.call("linux_log", limit=5)["total"] > 50, "no log")
tasks = agent.call("linux_tasks")["tasks"]
test.check(any(task["pid"] == 1 for task in tasks), f"no init: {tasks}")
agent.call("linux_modules")
stack = agent.call("backtrace")
test.check(stack["ended"] in ("no-frame-pointer", "outermost"), f"the kernel's stack ends with {stack['ended']}")
test.check(agent.call("backtrace", limit=2)["ended"] == "limit", "of two frames")
frames = stack["frames"]
names = [frame["symbol"] or "" for frame in frames]
test.check(any(name.startswith("__do_sys_reboot") for name in names) and "orc" in {f["by"] for f in frames},
           f"no call stack of the kernel: {names}")
test.check(agent.close() == 0, "the program did not end as it should")
done = test.run("api", recording, given=b'{"jsonrpc":"2.0","id":1,"method":"linux_kernel"}\n')
test.check(b"text_address" in done.stdout or b"bad-input" in done.stdout, "no kernel", done)
print(f"{culprit['symbol']}, {found_after:,} steps before it was noticed, in {len(agent.calls)} calls; the kernel: {' < '.join(names[:6])}")
