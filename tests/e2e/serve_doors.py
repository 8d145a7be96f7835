#!/usr/bin/python3
"""Who may come in to `chronovisor serve`, and how much each may take: other pages, foreign
names, missing and wrong tokens, malformed and oversized messages, a thousand connections,
clients that never read or never end, and bytes that are no HTTP. Each is refused, bounded
and logged, and the session is served on."""
import json
import re
import subprocess
import threading
import time

from harness import PATIENCE, Test
from serve_client import Page, Server, exchange, parted, request

test = Test(__doc__)
recording = test.path("recording.cvr")
test.run("record", "-o", recording, "--multiboot", test.guest("interrupts64"), "--serial", "none")
server = Server(test, recording)
watcher = Page(server)
watcher.notice("moved")
began = time.monotonic()

# Begun now and looked at below, since the server lets them go after a while: half a request
# for ever, and a page that asks for more than sockets hold and takes nothing.
slow_ended = []


def send_half_a_request():
    with server.line(30 * PATIENCE) as line:
        try:
            line.sendall(b"GET / HTTP/1.1\r\nX: ")
            while line.recv(4096):
                pass
        except OSError:
            pass
        slow_ended.append(time.monotonic() - began)


slow = threading.Thread(target=send_half_a_request)
slow.start()
stalled = Page(server)
for _ in range(44):  # more than its socket takes, and less than may wait behind that
    stalled.begin("read_memory", address=0x100000, length=65536)


def unharmed(what):
    """The session stands where it stood, and answers."""
    test.check(server.process.poll() is None, f"{what} ended the server: {server.said()}")
    test.check(watcher.call("where")["position"] == 0, f"{what} was obeyed")


def logged(pattern, what):
    end = time.monotonic() + 10
    while time.monotonic() < end:
        if re.search(pattern, server.said()):
            return
        time.sleep(0.05)
    test.fail(f"{what} is not logged: {server.said()}")


# ---- names and pages -----------------------------------------------------------------------

for place, status in (("127.0.0.2:0", 2), ("0.0.0.0:0", 2), ("192.0.2.1:0", 2)):
    done = test.run("serve", recording, "--listen", place, expect=status)
    test.check(b"--listen" in done.stderr, f"why {place} is refused", done)
with open("/dev/full", "wb") as full:
    done = subprocess.run([test.program, "serve", recording], stdout=full, stderr=subprocess.PIPE, check=False, timeout=60 * PATIENCE)
test.check(done.returncode == 5 and b"could not be written" in done.stderr, "an address that nobody gets", done)

# A page of somebody's whose name leads to this host (DNS rebinding), and other names.
for host in ("evil.example", f"evil.example:{server.port}", "127.0.0.1.evil.example", "localhost.evil.example:80",
             "127.0.0.1:80evil", "127.0.0.2", "0.0.0.0", "[::]", "localhost:", "127.0.0.1:123456", "", "user@127.0.0.1",
             "2130706433", "0x7f000001", "[::1].evil"):
    for target in ("/", "/build.json", "/mcp"):
        test.check(request(server, target, host=host)[0] in (400, 403), f"the name {host!r} is served")
    test.check(Page(server, host=host or " ", open_it=False).status in (400, 403), f"a WebSocket as {host!r}")
logged('not known by that name: "evil.example', "a foreign name")
test.check(parted(exchange(server, b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n"))[0] == 403, "no name at all")
twice = f"GET /build.json HTTP/1.1\r\nHost: evil.example\r\nHost: {server.name}\r\nConnection: close\r\n\r\n"
test.check(parted(exchange(server, twice.encode()))[0] == 400, "two names")
for host in (f"localhost:{server.port}", "127.0.0.1", "LocalHost:9999"):  # 9999: a port that is forwarded here
    test.check(request(server, "/build.json", host=host)[0] == 200, f"the name {host} is not served")

# Another page asks.
for origin in ("http://evil.example", "null", f"https://{server.name}", "http://127.0.0.1", f"http://localhost:{server.port}",
               f"http://{server.name}.evil.example", f"http://{server.host}:1", "file://", " "):
    test.check(request(server, "/build.json", Origin=origin)[0] == 403, f"{origin} may ask")
    test.check(Page(server, origin=origin, open_it=False).status == 403, f"a WebSocket of {origin}'s")
logged("another page asks", "a foreign page")
for site in ("cross-site", "same-site", "CROSS-SITE", "some-site"):
    test.check(request(server, "/build.json", Sec_Fetch_Site=site, Sec_Fetch_Mode="no-cors")[0] == 403, f"{site}")
status, headers, _ = request(server, "/build.json", method="OPTIONS", Access_Control_Request_Method="GET")
test.check(status == 405 and not [name for name in headers if name.startswith("access-control")], f"CORS: {headers}")
test.check(request(server, "/build.json", Origin=f"http://{server.name}")[0] == 200, "its own page may not ask")

# ---- tokens ----------------------------------------------------------------------------------

wrong = "0" * 64 if server.token[0] != "0" else "1" * 64
for protocols in ([], ["chronovisor.v1"], ["chronovisor.v1", "token."], ["chronovisor.v1", "token." + wrong],
                  ["chronovisor.v1", "token." + server.token[:-1]], ["chronovisor.v1", "token." + server.token + "0"],
                  ["chronovisor.v1", server.token], ["token." + wrong, "token." + server.token]):
    status = Page(server, protocols=protocols, open_it=False).status
    test.check(status == 401, f"{protocols} lead in: {status}")
test.check(Page(server, protocols=["token." + server.token], open_it=False).status == 400, "another protocol")
test.check(Page(server, origin="", open_it=False).status == 101, "a program that is no browser")
test.check(request(server, f"/api?token={server.token}")[0] == 404, "a token in an address")
test.check(request(server, "/mcp", method="POST", body=b"{}", Content_Type="application/json",
                   Cookie=f"token={server.token}")[0] == 401, "a token in a cookie")
for kind, wanted in (("application/jsonx", 415), ("text/plain", 415), ("Application/JSON; charset=utf-8", 200)):
    status = request(server, "/mcp", method="POST", body=b'{"jsonrpc":"2.0","method":"x"}', Content_Type=kind,
                     Accept="application/json, text/event-stream", Authorization=f"bearer   {server.token}")[0]
    test.check((status == 415) == (wanted == 415) and status != 401, f"{kind} is answered with {status}")
logged("the token is missing, or another one", "a wrong token")
test.check(server.token not in server.said(), "the token is in the log")
unharmed("a wrong token")

# ---- what is no HTTP, and too much of it -----------------------------------------------------

own = f"Host: {server.name}\r\n".encode()
for data in (b"\x16\x03\x01\x00\xf4\x01\x00\x00\xf0\x03\x03" + bytes(200), b"\0" * 100, b"\xff" * 100, b"SSH-2.0-x\r\n\r\n",
             b"EHLO x\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n" + own + b"\r\n", b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
             b"GET / HTTP/1.1\r\n" + own + b"Content-Length: -1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
             b"GET / HTTP/1.1\r\n" + own + b"Content-Length: 99999999999999999999\r\n\r\n",
             b"POST /mcp HTTP/1.1\r\n" + own + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
             b'{"jsonrpc":"2.0","id":1,"method":"seek","params":{"place":"end"}}\n' * 2, b"$vCont;c#a8" * 20):
    status = parted(exchange(server, data + b"\r\n\r\n", seconds=3))[0]
    test.check(status in (0, 400, 413), f"{data[:40]} is answered with {status}")
logged("this is no HTTP", "what is no HTTP")
long_header = b"GET / HTTP/1.1\r\n" + own + b"X: " + b"x" * 100_000
test.check(parted(exchange(server, long_header + b"\r\n\r\n"))[0] in (0, 400, 413), "a header of 100 kB")
many = b"GET /build.json HTTP/1.1\r\n" + own + b"".join(b"X%d: 1\r\n" % n for n in range(500)) + b"\r\n"
test.check(parted(exchange(server, many))[0] in (0, 400, 413), "500 headers")
large = f"POST /mcp HTTP/1.1\r\nHost: {server.name}\r\nContent-Length: 2000000\r\n\r\n".encode()
test.check(parted(exchange(server, large + b"x" * 2_000_000))[0] in (0, 413), "a body of 2 MB")
unharmed("what is no HTTP")

# ---- messages ----------------------------------------------------------------------------------

page = Page(server)
for text in ("{", "nonsense", '{"jsonrpc":"2.0"', "[" * 100, "[]", "0", '{"jsonrpc":"1.0","id":1,"method":"where"}',
             '{"a":1,"a":2}', json.dumps([1] * 65), '"' + "\\ud800" * 3 + '"'):
    page.send_frame(text.encode())
    message = page.message()
    while "method" in message:
        message = page.message()
    test.check("error" in (message if isinstance(message, dict) else message[0]), f"{text[:30]} is answered with {message}")
page.send_frame(b"x" * 2_000_000)
test.check(page.closed_with() in (1009, None), "a message of 2 MB")
logged("a message over 1048576 bytes", "a message that is too large")
page = Page(server)
page.send_frame(b"\0\1\2", opcode=2)
test.check(page.closed_with() == 1003, "a binary message")
page = Page(server)
page.send_frame(b"\xff\xfe")
test.check(page.closed_with() in (1007, None), "a text that is no UTF-8")
page = Page(server)
page.line.sendall(b"\x81\x05hello")  # not masked
test.check(page.closed_with() in (1002, None), "a frame without a mask")
page = Page(server)
page.line.sendall(b"\x81\xff" + b"\x7f" + b"\xff" * 7 + b"mask")  # nearly 2^63 bytes
test.check(page.closed_with() in (1002, 1009, None), "a frame that says it is large")
unharmed("a malformed message")

# Of a client's calls, 256 wait; more are refused at once.
page = Page(server)
page.notice("moved")
for _ in range(2000):
    page.begin("seek", place="start")
answers = [page.message() for _ in range(2000)]
busy = [m for m in answers if m.get("error", {}).get("code") == -32007]
test.check(all("result" in m or m in busy for m in answers), "2,000 calls at once")
page.close()
unharmed("2,000 calls")

# ---- many, and slow ones -----------------------------------------------------------------------

slow.join()
test.check(5 < slow_ended[0] < 15 * PATIENCE, f"a request that does not end is waited for {slow_ended[0]} s")
logged("a request that does not end", "a request that does not end")

before = server.memory()
lines = []
for _ in range(1000):
    lines.append(server.line())
time.sleep(0.5)
test.check(server.descriptors() < 64 + 32 + 60, f"{server.descriptors()} descriptors are open")
test.check(request(server, "/build.json")[0] == 200, "with a thousand connections nobody else is served")
for line in lines:
    line.close()
logged("64 connections are open", "a thousand connections")
logged("more were refused", "how many were refused")
unharmed("a thousand connections")

# Pages that never read: the one that began with it goes in time, one that asks for more and
# more goes when too much waits for it.


def let_go(line):
    """Waits until the server has closed the connection, of which nothing is read."""
    end = time.monotonic() + 40 * PATIENCE
    with open("/proc/net/tcp", encoding="ascii") as table:
        port = f":{line.getsockname()[1]:04X}"
        while time.monotonic() < end:
            table.seek(0)
            if not any(fields[2].endswith(port) and fields[3] == "01" for fields in map(str.split, table)):
                return
            time.sleep(0.1)
    test.fail(f"a page that does not read is kept: {server.said()}")


deaf = [Page(server) for _ in range(20)]
for page in deaf:
    page.line.settimeout(2)
asked = time.monotonic()
most = 0
try:
    while time.monotonic() < asked + 15 * PATIENCE:
        for page in list(deaf):
            try:
                for _ in range(20):
                    page.begin("read_memory", address=0x100000, length=65536)
            except OSError:
                deaf.remove(page)
                last = page
        if not deaf:
            break
        most = max(most, server.memory())
        time.sleep(0.02)
finally:
    for page in deaf:
        page.close()
test.check(not deaf, f"{len(deaf)} of 20 pages for which more than 4 MiB wait are kept")
let_go(last.line)
logged("does not read what it asked for", "a page that does not read")
# At most 40 MiB for all of them, and what the calls at work take.
test.check(most - before < 110 << 20, f"{most - before:,} bytes more")
let_go(stalled.line)
test.check(time.monotonic() - began > 15, "a page is given no time")
unharmed("a page that does not read")

# More pages than there may be.
pages = [Page(server, open_it=False) for _ in range(40)]
statuses = [page.status for page in pages]
test.check(statuses.count(101) == 31 and statuses.count(503) == 9, f"40 more pages: {statuses}")
for page in pages:
    page.close()
time.sleep(0.3)
test.check(Page(server).call("where")["position"] == 0, "when pages have gone others may not come")
watcher.close()
server.end()
lines = server.said().splitlines()
test.check(len(lines) < 400 and all(len(line) < 300 for line in lines), f"the log has {len(lines)} lines")
