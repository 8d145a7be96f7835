#!/usr/bin/python3
"""`chronovisor serve`: pages and a debugger on one session see each other's moves, calls
are answered and cancelled over the WebSocket, the page's files are served, and agents
speak to the same session over HTTP."""
import json
import os
import time

from harness import PATIENCE, ROOT, Test
from raw_client import RawClient
from serve_client import Page, Server, request

test = Test(__doc__)
MARK = 15_000
recording = test.path("recording.cvr")
test.run("record", "-o", recording, "--multiboot", test.guest("interrupts64"), "--serial", "none")
test.run("bookmark", recording, "mark", str(MARK))
endless = test.path("endless.bin")
with open(endless, "wb") as file:
    # Counts for ever, at 7C04H, and how often it has come to 65,536, at 600H.
    file.write(bytes.fromhex("31c0 31db 40 75fd 43 891e0006 ebf6"))
long = test.path("long.cvr")
test.run("record", "-o", long, "--flat", endless, "--serial", "none", "--limit", "600000000")
gdb_socket = test.path("gdb")
server = Server(test, recording, "--gdb", "unix:" + gdb_socket, "--allow-changes")

# ---- files -------------------------------------------------------------------------------

status, headers, body = request(server, "/build.json")
build = json.loads(body)
test.check(status == 200 and build["version"] and isinstance(build["xterm"], bool), f"{status} {body}")
test.check(bool(build["lacks"]) == (not build["xterm"]), f"what the build lacks: {build}")
policy = headers["content-security-policy"]
test.check("default-src 'none'" in policy and "script-src 'self';" in policy and "unsafe" not in policy, policy)
test.check("set-cookie" not in headers and "access-control-allow-origin" not in headers, f"{headers}")
status, _, body = request(server, "/licences")
test.check(status == 200 and b"Chronovisor" in body and (b"xterm" in body) == build["xterm"], f"licences: {status}")
for target in ("/vendor/xterm.js", "/vendor/xterm.css", "/vendor/addon-fit.js", "/vendor/addon-canvas.js"):
    status, headers, body = request(server, target)
    test.check((status == 200 and len(body) == int(headers["content-length"])) == build["xterm"], f"{target}: {status}")
page_is_there = os.path.exists(os.path.join(ROOT, "web/index.html"))
status, headers, body = request(server, "/")
test.check((status == 200 and headers["content-type"].startswith("text/html")) == page_is_there, f"/: {status}")
for target in ("/nothing", "/../etc/passwd", "/%2e%2e/etc/passwd", "//etc/passwd", "/api/", "/web/index.html", "*"):
    test.check(request(server, target)[0] in (400, 404), f"{target} is served")
test.check(request(server, "/build.json", method="HEAD")[2] == b"", "HEAD has a body")
test.check(request(server, "/build.json", method="POST")[0] == 405, "POST")

# ---- one session, many views --------------------------------------------------------------

one, two = Page(server), Page(server)
test.check(one.notice("moved")["where"]["position"] == 0, "a page is not told where the machine stands")
two.notice("moved")
answer = one.call("seek", place="mark")
test.check(answer["position"] == MARK, f"it stands at {answer}")
moved = one.notice("moved", seconds=0)
test.check(moved["by"] == "you" and moved["where"]["position"] == MARK, f"the page that moved was told {moved}")
moved = two.notice("moved")
test.check(moved["by"] == "page" and moved["where"]["position"] == MARK, f"the other page was told {moved}")
test.check(two.call("where")["position"] == MARK, "the other page sees another place")
test.check(not [n for n in two.notices if n.get("method") == "moved"] and two.quiet(), "one move is told twice")

set_by_one = one.call("set_breakpoint", address=two.call("where")["pc"])
test.check(two.notice("changed") == {"what": "breakpoints", "by": "page"}, "a breakpoint is not told")
test.check(two.call("breakpoints")["breakpoints"] == [set_by_one], "the other page has other breakpoints")
test.check(one.notice("changed")["by"] == "you", "the one that set it is not told")
two.call("delete_breakpoint", id=set_by_one["id"])
one.notice("changed")
one.call("set_bookmark", name="by-page")
test.check(two.notice("changed")["what"] == "breakpoints" and two.notice("changed")["what"] == "bookmarks",
           "a bookmark is not told")

# A debugger's moves, and what it sees of the pages'.
gdb = RawClient(gdb_socket)
text, result = gdb.monitor("when")
test.check(f"position {MARK:,}" in text, f"gdb finds {text} {result}")
test.check(gdb.ask("s").startswith("T05"), "gdb does not step")
stepped = one.notice("moved")
test.check(stepped["by"] == "gdb" and stepped["where"]["position"] > MARK, f"gdb stepped, and a page was told {stepped}")
test.check(two.notice("moved")["where"] == stepped["where"], "the pages were told of different places")
one.call("seek", place="mark")
text, result = gdb.monitor("when")
test.check(f"position {MARK:,}" in text, f"a page has moved, and gdb finds {text} {result}")
two.notice("moved"), one.notice("moved")
# It believes to be elsewhere, so a step shows it where it is, and the next one steps.
test.check(gdb.ask("s").startswith("T02") and one.call("where")["position"] == MARK, "gdb does not follow a page")
test.check(gdb.ask("s").startswith("T05") and one.call("where")["position"] > MARK, "gdb does not step on")
two.notice("moved"), one.notice("moved")
one.call("seek", place="mark")
two.notice("moved"), one.notice("moved")

# Changes are seen, too: a branch, and the way back.
rsp = one.call("registers")["rsp"]
one.call("write_memory", address=rsp, bytes="2a")
moved = two.notice("moved")
test.check(moved["where"]["whereabouts"] == "branch", f"a change is told as {moved}")
one.call("write_memory", address=rsp, bytes="2b")
test.check(two.notice("moved")["where"]["position"] == MARK, "a second change is not told")
test.check(two.call("read_memory", address=rsp, length=1)["bytes"] == "2b", "the other page reads something else")
two.call("discard")
test.check(one.notice("moved")["by"] == "you", "its own change")

# The host's files are nobody's to name.
for line in ("go-live /tmp/x.cvr", "help"):
    refused = "error" in one.answer(one.begin("monitor", line=line))
    test.check(refused == (line != "help"), f"monitor {line}")

# ---- agents over HTTP -----------------------------------------------------------------------


def agent(message, session=None, token=None, expect=200, method="POST", **headers):
    if session:
        headers["Mcp_Session_Id"] = session
    body = json.dumps({"jsonrpc": "2.0", **message}).encode() if message is not None else b""
    status, got, answer = request(server, "/mcp", method=method, body=body, Content_Type="application/json",
                                  Accept="application/json, text/event-stream",
                                  Authorization=f"Bearer {server.token if token is None else token}", **headers)
    test.check(status == expect, f"{message}: {status} {answer}")
    return got, json.loads(answer) if answer and status == 200 else None


hello = {"id": 1, "method": "initialize", "params": {"protocolVersion": "2025-06-18", "capabilities": {},
                                                      "clientInfo": {"name": "test", "version": "1"}}}
agent(hello, token="", expect=401)
agent(hello, token=server.token[:-1] + ("0" if server.token[-1] != "0" else "1"), expect=401)
one.call("where")
one.notices.clear()
headers, answer = agent(hello)
session = headers["mcp-session-id"]
test.check(answer["result"]["serverInfo"]["name"] == "chronovisor" and len(session) == 64, f"{answer}")
agent({"method": "notifications/initialized"}, session, expect=202)
tools = agent({"id": 2, "method": "tools/list"}, session)[1]["result"]["tools"]
test.check("last_write" in [tool["name"] for tool in tools], f"tools: {tools}")
done = agent({"id": 3, "method": "tools/call", "params": {"name": "seek", "arguments": {"place": "end"}}}, session)[1]
test.check(done["result"]["isError"] is False, f"{done}")
moved = one.notice("moved")
test.check(moved["by"] == "agent" and moved["where"]["position"] == done["result"]["structuredContent"]["position"],
           f"an agent has moved, and a page was told {moved}")
agent({"id": 4, "method": "tools/list"}, expect=400)
agent({"id": 5, "method": "tools/list"}, "0" * 64, expect=404)
agent(None, session, method="GET", expect=405)
agent(None, session, method="DELETE", expect=204)
agent({"id": 6, "method": "tools/list"}, session, expect=404)
one.close(), two.close(), gdb.close()
server.end()

# ---- --open -----------------------------------------------------------------------------------

# What is started with the address is told a file's name alone, which only its owner can read.
programs = test.path("programs")
os.mkdir(programs)
opened = test.path("opened")
with open(os.path.join(programs, "xdg-open"), "w", encoding="ascii") as file:
    file.write(f'#!/bin/sh\nstat -c %a "$1" > {opened}.new\ncat "$1" >> {opened}.new\nmv {opened}.new {opened}\n')
os.chmod(os.path.join(programs, "xdg-open"), 0o755)
path = os.environ["PATH"]
os.environ.update(PATH=programs + ":" + path, XDG_RUNTIME_DIR=test.folder)
server = Server(test, recording, "--open")
os.environ["PATH"] = path
end = time.monotonic() + 20
while not os.path.exists(opened) and time.monotonic() < end:
    time.sleep(0.05)
with open(opened, encoding="ascii") as file:
    mode, page = file.read().split("\n", 1)
test.check(mode == "600" and server.url in page, f"the browser is given {mode} {page}")
server.end()
test.check(not [name for name in os.listdir(test.folder) if name.endswith(".html")], "the file is left behind")

# ---- long calls, and read-only --------------------------------------------------------------

server = Server(test, long)
page, other = Page(server), Page(server)
page.call("set_breakpoint", address=0x7c04, condition="$rax == 0xffffffffffff")
began = time.monotonic()
run = page.begin("run")
shown = page.begin("version")
time.sleep(0.5)
page.notify("$/cancelRequest", id=run)
asked = time.monotonic()
answer = page.answer(run)
took = time.monotonic() - asked
test.check(answer.get("error", {}).get("code") == -32800, f"cancelled after {asked - began} s: {answer}")
test.check(took < 0.1 * int(os.environ.get("CHRONOVISOR_TEST_PATIENCE", "1")) + 0.2, f"cancelling took {took} s")
test.check(page.answer(shown)["result"]["allow_changes"] is False, "changes are allowed")
test.check(page.call("where")["position"] == 0, "a cancelled run has moved the machine")
refused = page.answer(page.begin("write_memory", address=0x7c00, bytes="00"))
test.check(refused["error"]["code"] == -32006, f"a change without --allow-changes: {refused}")
# What a search finds is told before its answer, and whoever cancels does not wait for it.
search = page.begin("values", address=0x600, length=2, limit=1000)
told = page.notice("progress")
while "found" not in told:
    told = page.notice("progress")
test.check(told["id"] == search and 0 < min(told["found"]) < 600_000_000 and told["seen_ms_ago"] < 1000 * PATIENCE,
           f"found: {told}")
asked = time.monotonic()
page.notify("$/cancelRequest", id=search)
answer = page.answer(search)
took = time.monotonic() - asked
test.check(answer.get("error", {}).get("code") == -32800 and took < 0.1 * PATIENCE, f"cancelled in {took} s: {answer}")
changes = [change["position"] for change in page.call("values", address=0x600, length=2, limit=1000)["results"]]
test.check(changes and {at for at in told["found"] if at <= changes[-1]} <= set(changes),
           f"told of {told['found'][:3]}, found {changes[:3]}")
# What a page that goes away has asked is cancelled.
page.begin("run")
page.close()
began = time.monotonic()
test.check(other.call("where")["position"] == 0 and time.monotonic() - began < 5, "a page that is gone is still served")
other.line.settimeout(20)
server.process.terminate()
test.check(other.closed_with() == 1001, "a page is not told that the server ends")
server.has_ended()
