#!/usr/bin/python3
"""The interface for programs: every method is called, and answers as the published schema
says; pages, sockets, refusals and bounds; and the Python package on top of it."""
import atexit
import json
import os
import re
import socket
import stat
import subprocess
import sys
import time

from harness import ROOT, Test

sys.path.insert(0, os.path.join(ROOT, "scripts/python"))
import chronovisor  # noqa: E402 pylint: disable=wrong-import-position

test = Test(__doc__)
os.environ["CHRONOVISOR"] = test.program

MARK = 15_000  # in the guest's 64-bit code
guest = test.guest("interrupts64")
recording = test.path("recording.cvr")
test.run("record", "-o", recording, "--multiboot", guest, "--serial", "none")
test.run("bookmark", recording, "mark", str(MARK))
schema = json.loads(test.run("api", "--schema").stdout)
METHODS = {method["name"]: method for method in schema["methods"]}
called = set()


def fits(value, shape, where):
    """Whether a value is as its JSON Schema says; only what shape.h makes is known here."""
    if "anyOf" in shape:
        return any(fits(value, one, where) is True for one in shape["anyOf"]) or f"{where}: {value!r} is none of {shape}"
    kinds = {"integer": int, "string": str, "boolean": bool, "array": list, "object": dict, "null": type(None)}
    kind = shape.get("type")
    if kind and (not isinstance(value, kinds[kind]) or (kind == "integer" and isinstance(value, bool))):
        return f"{where}: {value!r} is no {kind}"
    if "enum" in shape and value not in shape["enum"]:
        return f"{where}: {value!r} is not in {shape['enum']}"
    if "pattern" in shape and not re.search(shape["pattern"], value):
        return f"{where}: {value!r} is not like {shape['pattern']}"
    if kind == "integer" and value < shape.get("minimum", value):
        return f"{where}: {value}"
    if kind == "array" and "items" in shape:
        for number, item in enumerate(value):
            found = fits(item, shape["items"], f"{where}/{number}")
            if found is not True:
                return found
    if kind == "object":
        for name in shape.get("required", []):
            if name not in value:
                return f"{where}: there is no {name}"
        for name, of in shape.get("properties", {}).items():
            if name in value:
                found = fits(value[name], of, f"{where}/{name}")
                if found is not True:
                    return found
    return True


class Checked(chronovisor.Client):
    """A client that compares every answer with the schema."""

    def call(self, method, parameters):
        answer = super().call(method, parameters)
        called.add(method)
        found = fits(answer, METHODS[method]["result"]["schema"], method)
        test.check(found is True, f"an answer is not as published: {found}")
        return answer


def session(*options):
    client = Checked.start([test.program, "api", recording, *options])
    return chronovisor.Timeline(client)


def refused(word, call, *arguments, where=None, **named):
    try:
        call(*arguments, **named)
    except chronovisor.ApiError as error:
        test.check(error.word == word, f"refused as {error.word}, not {word}: {error}")
        test.check(where is None or error.where == where, f"refused for {error.where}, not {where}")
        return
    test.fail(f"{call} {arguments} {named} was not refused")


# The package and the tables of the document are what the program says.
for made in ("make-python-api", "make-api-docs"):
    checked = subprocess.run([os.path.join(ROOT, "scripts", made), "--check", "--chronovisor", test.program],
                             capture_output=True, check=False)
    test.check(checked.returncode == 0, f"{made}: what is published is not what the interface is", checked)

# Who has an answer may use its number again at once.
lines = subprocess.Popen([test.program, "api", recording], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
for _ in range(2000):
    lines.stdin.write(b'{"jsonrpc": "2.0", "id": 1, "method": "where"}\n')
    lines.stdin.flush()
    answer = json.loads(lines.stdout.readline())
    test.check("result" in answer, f"an id that is free again: {answer}")
lines.stdin.close()
test.check(lines.wait(timeout=60) == 0, "the end of the input")

with session("--at", "mark") as t:
    api = t.api
    test.check(api.version()["api"] == schema["info"]["version"], "another version")
    test.check(api.version()["allow_changes"] is False, "changes are allowed")
    end = t.info["end"]
    test.check(t.replication == {"asked": False, "run": None, "trouble": None}, "a run that nobody has named")
    test.check(t.position == MARK and t.bookmarks["mark"] == MARK, f"it stands at {t.position}")
    for wrong in (-50, True):
        try:
            t.seek(wrong)
            test.fail(f"{wrong} is a position")
        except ValueError:
            pass
    test.check(t.seek("end")["position"] == end and t.seek("start")["position"] == 0, "it does not travel")
    t.seek("mark")
    test.check(t.step(10)["where"]["position"] > MARK, "no step")
    t.reverse_step(10)
    test.check(t.position == MARK, "ten steps on and ten back are elsewhere")

    # Names come from the guest's own file.
    names = [symbol["name"] for symbol in api.symbols(limit=1000)["symbols"]]
    test.check(names, "the guest's ELF file has no symbols")
    one = api.symbols(limit=1)["symbols"][0]
    test.check(not api.source(one["address"])["lines"], "lines of source without debug information")
    test.check(t.symbol(one["name"]) == int(one["address"], 16), "a symbol is not where it is")
    test.check(t.where["symbol"] is not None, f"no name for {t.where}")

    # State, as other commands say it.
    rip = t.registers.rip
    test.check(rip == int(t.where["pc"], 16), "rip is elsewhere")
    code = t.memory[rip:rip + 4]
    test.check(len(code) == 4 and t.memory[rip] == code[0], "memory")
    test.check(t.memory.u32(rip) == int.from_bytes(code, "little"), "a number of memory")
    physical = int(api.translate(rip)["physical"], 16)
    test.check(t.physical_memory[physical:physical + 4] == code, "physical memory is another")
    test.check(api.walk(rip)["physical"] == hex(physical), "the walk leads elsewhere")
    test.check(api.disassemble(count=3)["instructions"][0]["here"] is True, "no instruction is here")
    test.check(api.backtrace()["frames"][0]["pc"] == hex(rip), "the first frame is elsewhere")
    test.check(len(api.mappings(limit=1)["ranges"]) == 1, "nothing is mapped")
    lines = api.trace(count=5)["lines"]
    test.check(len(lines) >= 5 and lines[0].split()[0] == str(MARK), f"a trace from here: {lines}")
    refused("bad-input", t.screen)
    refused("bad-input", api.linux_log)
    refused("bad-input", api.linux_tasks)
    refused("bad-input", api.linux_modules)
    refused("bad-input", api.linux_kernel)

    # Searches: pages are what `query` says at once.
    stack = t.registers.rsp - 256
    done = test.run("query", "writes", recording, "-a", hex(stack), "-n", "256", "--json", "--limit", "1000000")
    expected = [entry["position"] for entry in json.loads(done.stdout)["results"]]
    test.check(len(expected) > 20, f"only {len(expected)} writes")
    for limit in (7, 1000):
        found, cursor = [], None
        while True:
            page = api.writes(stack, length=256, limit=limit, cursor=cursor)
            found += [entry["position"] for entry in page["results"]]
            cursor = page["next"]
            if cursor is None:
                break
        test.check(found == expected, f"pages of {limit} give {len(found)} writes, the query {len(expected)}")
    test.check([w.position for w in t.writes(stack, 256)] == expected, "the iterator gives others")
    first = next(t.writes(stack, 256))  # without the rest
    test.check(first.position == expected[0], "the first is another")
    arrivals = list(t.executes(rip))
    test.check(any(a.position == MARK for a in arrivals), "the instruction here was not executed")
    changes = list(t.values(stack + 248, 8, end="mark"))
    test.check(all(c.before != c.after for c in changes), "a change that is none")
    counted = api.query(stack, length=256, kind="writes", select="count")
    test.check(counted["count"] == len(expected), f"counted {counted}")
    t.seek("end")
    wrote = t.last_write(stack, 256)
    test.check(wrote is not None and wrote.position == expected[-1], f"the last write is {wrote}")
    test.check(t.position == end, "a question moved the machine")
    t.last_write(stack, 256, go=True)
    test.check(t.position == expected[-1], "it did not go")
    t.seek("end")
    test.check([s.position for s in t.history(stack, 256, 5)] == expected[:-6:-1], "another history")
    test.check(len(t.reads(rip & ~7, 8, 1)) <= 1, "too many reads")
    test.check(api.find_write(stack, length=256, direction="backward")["position"] == expected[-1], "another write")
    api.find_arrival(rip, direction="backward", go=True)
    test.check(t.registers.rip == rip, "it did not arrive")
    refused("not-found", api.find_arrival, 0x1234567)

    # A function is a place: where it was entered last, unless something else is called so.
    function = next(s["name"] for s in api.symbols(match="print")["symbols"] if s["name"] == "print")
    t.seek("end")
    entered = api.find_arrival(function, direction="backward")["position"]
    for place in (function, f"function:{function}"):
        t.seek("mark")
        test.check(t.seek(place)["position"] == entered and t.where["symbol"] == function, f"{place} is at {t.position}")
    t.seek("mark")
    test.check([w.position for w in t.writes(stack, 256, start=function)] == [at for at in expected if at >= entered],
               "writes from a function on are others")
    test.check(api.monitor(f"seek {function}")["answer"]["destination"] == entered, "the monitor has another place")
    test.check(t.position == MARK, "looking for a function moves the machine")
    asked = test.run("query", "writes", recording, "-a", hex(stack), "-n", "256", "--from", function, "--count").stdout
    test.check(int(asked) == sum(at >= entered for at in expected), "the command line has another place")
    refused("not-found", t.seek, "failed", where="/params/place")  # never entered
    refused("wrong-parameters", t.seek, "function:nowhere", where="/params/place")
    try:
        t.registers.nothing
        test.fail("there is a register called nothing")
    except chronovisor.NoRegister as error:
        test.check(isinstance(error, AttributeError) and "rip" in str(error), f"no register: {error}")
    # A stack says why it has no further frame.
    stack_here = t.backtrace()
    test.check(stack_here.ended in METHODS["backtrace"]["result"]["schema"]["properties"]["ended"]["enum"] and
               (stack_here.why is None) == (stack_here.ended == "outermost"), f"the stack ends {stack_here.ended}: {stack_here.why}")

    # Stops.
    t.seek("start")
    number = t.breakpoint(rip)
    watch = t.watch(stack, 256, "write")
    test.check(len(api.breakpoints()["breakpoints"]) == 2, "two are set")
    stop = t.run()
    test.check(stop["stop"] in ("breakpoint", "watchpoint") and stop["ids"], f"it did not stop: {stop}")
    t.remove(watch)
    stop = t.run()
    test.check(stop["ids"] == [number] and t.registers.rip == rip, f"not at the breakpoint: {stop}")
    t.remove(number)
    test.check(t.run()["stop"] == "end" and t.reverse_run()["stop"] == "start", "it does not run through")
    test.check(api.run(to=500)["where"]["position"] == 500, "it went beyond")

    # What was recorded.
    events = list(t.events(end=end))
    test.check(any(e["kind"] == "delivery" and e["vectors"] for e in events), "no interrupts")
    paged, cursor = [], None
    while True:
        page = api.events(limit=3, cursor=cursor)
        paged += page["events"]
        cursor = page["next"]
        if cursor is None:
            break
    test.check(paged == events, f"pages of events are others: {len(paged)}, {len(events)}")
    pieces = list(t.console())
    test.check(pieces == sorted(pieces, key=lambda p: p.position), "a console out of order")
    test.check(len(api.strip(columns=40)["strip"]) == 40, "no strip")

    # What happened where: the same in lanes, in samples and in the list of events.
    lanes = api.lanes(bins=7)
    test.check(lanes["to"] == end and all(len(lane["counts"]) == 7 and sum(lane["counts"]) == lane["total"]
                                          for lane in lanes["lanes"]), f"lanes: {lanes}")
    test.check([mark for mark in lanes["marks"] if mark["name"] == "mark"] ==
               [{"name": "mark", "position": MARK, "kind": "bookmark"}], f"marks: {lanes['marks']}")
    said = sum(len(piece.text) for piece in pieces)
    test.check(sum(lane["total"] for lane in lanes["lanes"] if lane["kind"] == "console") == said, f"{said} bytes")
    activity = api.activity(bins=5)
    test.check(activity["exact"] and [one["bin"] for one in activity["samples"]] == list(range(5)) and
               sum(one["steps"] for one in activity["samples"]) == end, f"activity: {activity}")
    test.check(sum(vector["count"] for one in activity["samples"] for vector in one["vectors"]) ==
               sum(e["kind"] == "delivery" for e in events), f"other deliveries than events has: {activity}")
    test.check(api.monitor("info pic")["answer"], "no PIC")
    test.check(api.set("skip-interrupts", on=False)["on"] is False, "a setting")

    # Refusals.
    refused("wrong-parameters", api.seek, "nowhere", where="/params/place")
    refused("wrong-parameters", api.read_memory, "no_symbol", where="/params/address")
    refused("wrong-parameters", api.read_memory, 0, length=1 << 30, where="/params/length")
    refused("wrong-parameters", api.set_breakpoint, 0, condition="$nope == 1", where="/params/condition")
    refused("read-only", api.set_bookmark, "other")
    refused("read-only", api.delete_bookmark, "mark")
    refused("read-only", api.branch)
    refused("read-only", api.write_memory, 4096, "00")
    refused("read-only", api.write_register, "rax", 1)
    refused("read-only", api.monitor, "bookmark other", where="/params/line")
    try:
        t.memory[0xdead_beef_0000:0xdead_beef_0010]
        test.fail("memory that is none was read")
    except chronovisor.Unreadable as error:
        test.check(isinstance(error, LookupError), "memory that is none")
with open(recording, "rb") as file:
    before = file.read()

# System calls are known by where the processor enters a kernel: this guest makes one.
calling = test.path("calling.cvr")
test.run("record", "-o", calling, "--multiboot", test.guest("privilege64"), "--serial", "none")
with chronovisor.Timeline(Checked.start([test.program, "api", calling])) as t:
    samples = t.api.activity(bins=3)["samples"]
    made = [call for sample in samples for call in sample["calls"]]
    test.check(sum(sample["all_calls"] for sample in samples) == 1 and len(made) == 1 and made[0]["count"] == 1 and
               made[0]["name"] is None, f"system calls: {made}")

# A screen.
with_screen = test.path("screen.cvr")
test.run("record", "-o", with_screen, "--machine", "pc-2", "--serial", "none", "--limit", "5000000", expect=(0, 1))
with chronovisor.Timeline(Checked.start([test.program, "api", with_screen, "--at", "end"])) as t:
    t.screen().save(test.path("screen.png"))
    with open(test.path("screen.png"), "rb") as file:
        test.check(file.read(8) == b"\x89PNG\r\n\x1a\n", "no picture")
    t.seek("start")
    refused("bad-input", t.screen)  # no mode was set yet
with chronovisor.Timeline(Checked.start([test.program, "api", with_screen, "--allow-changes", "--at", "end"])) as t:
    refused("bad-input", t.api.write_memory, 0xfffffff0, "00", physical=True)  # ROM
    test.check(t.where["whereabouts"] == "timeline", "a write that changed nothing made a branch")

# With changes.
changed = test.path("changed.cvr")
with open(changed, "wb") as file:
    file.write(before)
with chronovisor.Timeline(Checked.start([test.program, "api", changed, "--allow-changes", "--at", "mark"])) as t:
    t.api.set_bookmark("other")
    t.api.delete_bookmark("mark")
    test.check(t.bookmarks["other"] == MARK and "mark" not in t.bookmarks, f"the bookmarks are {t.bookmarks}")
    address = t.registers.rsp - 64
    t.api.write_memory(address, "0102030405060708")
    t.api.write_register("rax", 77)
    test.check(t.memory.u64(address) == 0x0807060504030201 and t.registers.rax == 77, "nothing was changed")
    test.check(t.where["whereabouts"] == "branch", "it is no branch")
    refused("refused", t.api.last_write, address)
    t.api.discard()
    t.api.branch()
    t.api.discard()
    test.check(t.where["whereabouts"] == "timeline" and t.position == MARK, "it is still a branch")
test.check(b"other" in test.run("bookmark", changed).stdout, "the bookmark is not in the file")
with open(recording, "rb") as file:
    test.check(file.read() == before, "a session that may not change anything changed the recording")
linux_only = {"linux_log", "linux_tasks", "linux_modules", "linux_kernel"}  # api_agent.py
test.check(set(METHODS) - called == linux_only, f"not called: {set(METHODS) - called - linux_only}")

# Whatever is sent, the program answers or refuses, and goes on.
ask = b'{"jsonrpc":"2.0","id":1,"method":"where"}\n'
for sent, code in ((b"nope\n", -32700), (b"[" * 5000 + b"\n", -32700), (b"{}\n", -32600), (b"[]\n", -32600),
                   (b'"' + b"x" * (2 << 20) + b'"\n', -32008), (b'{"jsonrpc":"2.0","id":1,"method":"x"}\n', -32601),
                   (b"\xff\xfe\x00\n", -32700)):
    done = test.run("api", recording, given=sent + ask)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    test.check([a.get("error", {}).get("code") for a in answers] == [code, None], f"{sent[:20]}: {answers}", done)
done = test.run("api", recording, given=b"")
test.check(done.stdout == b"", "an answer to nothing", done)
test.run("api", expect=2)
test.run("api", recording, "--listen", "tcp:127.0.0.1:1", expect=2)
test.run("api", recording, "--symbols", recording, expect=3)

# What goes wrong is an error of the package's own, and says what.
def fails(kind, words, call, *arguments, **named):
    try:
        call(*arguments, **named)
    except chronovisor.Error as error:
        test.check(isinstance(error, kind) and words in str(error), f"{type(error).__name__}: {error}, not {words}")
        return
    test.fail(f"{call} {arguments} {named} does not fail")


fails(chronovisor.OpenError, "No such file", chronovisor.open, test.path("nowhere.cvr"))
fails(chronovisor.OpenError, "nowhere", chronovisor.open, recording, at="nowhere")
fails(chronovisor.OpenError, "no such", chronovisor.open, recording, symbols=[test.path("no such")])
fails(chronovisor.OpenError, "cannot be started: No such file", chronovisor.open, recording, program=test.path("no-program"))
fails(chronovisor.OpenError, "without a word", chronovisor.open, recording, program="/bin/true")
fails(chronovisor.OpenError, "No such file", chronovisor.connect, test.path("no-socket"))
fails(chronovisor.OpenError, "Connection refused", chronovisor.connect, recording)  # no socket
with chronovisor.open(recording, at="-100") as ended:
    test.check(ended.position == end - 100, "a distance from the end")
fails(chronovisor.EndedError, "closed", lambda: ended.registers.rip)
fails(chronovisor.EndedError, "closed", ended.seek, "end")

# A socket: its owner's alone, one session for several clients, and clients that go.
path = test.path("socket")
server = subprocess.Popen([test.program, "api", recording, "--listen", "unix:" + path], stderr=subprocess.PIPE)
atexit.register(server.kill)
test.check(b"listening" in server.stderr.readline(), "no server")
test.check(stat.S_IMODE(os.stat(path).st_mode) == 0o600, "others may connect")
with chronovisor.connect(path) as one, chronovisor.connect(path) as other:
    one.seek(1234)
    test.check(other.position == 1234, "the clients are in different sessions")
    # Who follows hears of the others' moves from then on.
    moves = other.moves()
    one.seek(2345)
    move = next(moves)
    test.check((move.where["position"], move.by) == (2345, "program"), f"another's move: {move}")
    one.seek(1234)
    test.check(other.position == 1234 and next(moves).where["position"] == 1234, "a move that came before an answer")
    rude = socket.socket(socket.AF_UNIX)
    rude.connect(path)
    rude.sendall(b'{"jsonrpc":"2.0","id":1,"method":"history","params":{"address":1048576,"count":100}}\n' * 1)
    rude.close()
    deaf = socket.socket(socket.AF_UNIX)
    deaf.connect(path)
    deaf.sendall(ask * 200)
    test.check(other.seek(99)["position"] == 99, "a client that goes, or does not read, stops the others")
    many = []
    for _ in range(40):
        client = socket.socket(socket.AF_UNIX)
        client.connect(path)
        many.append(client)
    test.check(one.position == 99, "many clients stop the others")
    # The ones too many are told so, and the connection is closed.
    last = many[-1].makefile("rb").read().decode()
    test.check(json.loads(last)["error"]["data"]["code"] == "busy" and "32 clients" in last, f"the last one is told {last!r}")
    fails(chronovisor.ApiError, "32 clients", chronovisor.connect, path)
    for client in (*many, deaf):
        client.close()
test.run("api", recording, "--listen", "unix:" + path, expect=5)
began = time.monotonic()
server.terminate()
test.check(server.wait(timeout=30) == 0, "it did not end as it should")
test.check(time.monotonic() - began < 10 and not os.path.exists(path), "it left its socket")
server.stderr.close()

# The example.
done = subprocess.run(["/usr/bin/python3", os.path.join(ROOT, "scripts/python/examples/value_history.py"), recording, hex(stack + 248)],
                      capture_output=True, check=False)
test.check(done.returncode == 0 and done.stdout.count(b"->") >= len(changes), "the example", done)
print(f"{len(called)} methods answer as published; {len(expected)} writes in pages")
