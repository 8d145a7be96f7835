#!/usr/bin/python3
"""Who may drive the debugger's port, and what of the host's files it may name: raw
bytes of many kinds and a real browser against the TCP port, and --allow-files."""
import http.server
import os
import re
import shutil
import subprocess
import threading
import time

from gdb_session import serve, serve_tcp, travel_guest
from harness import PATIENCE, Test, skip
from raw_client import RawClient, framed, monitor_packet

test = Test(__doc__)
recording, symbols = travel_guest(test, 64)
outside = test.path("outside")
os.mkdir(outside)
taken = os.path.join(outside, "written.cvr")
ATTACK = framed("QStartNoAckMode") + monitor_packet(f"go-live {taken} --force") + framed("c")


def served(client):
    """The position at which a debugger finds the machine, and whether on a branch."""
    text, result = client.monitor("when")
    test.check(result == "OK", f"when: {text} {result}")
    return int(re.search(r"position ([\d,]+)", text)[1].replace(",", "")), "branch" in text or "live" in text


def untouched(address, what):
    client = RawClient(address)
    test.check(served(client) == (0, False), f"{what} was obeyed")
    client.close()
    test.check(not os.path.exists(taken), f"{what} wrote a file")


def end(server):
    server.terminate()
    _, text = server.communicate(timeout=20)
    test.check(server.returncode == 0, f"the server ended with {server.returncode}: {text}")
    return text


# ---- raw bytes ---------------------------------------------------------------------------

server, address = serve_tcp(test, recording, "--keep")
http_head = f" / HTTP/1.1\r\nHost: {address}\r\nContent-Type: text/plain\r\nContent-Length: {len(ATTACK)}\r\n\r\n".encode()
beginnings = [method.encode() + http_head for method in
              ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE", "PRI", "get", "\r\nPOST")]
beginnings += [b"\x16\x03\x01\x00\xf4\x01\x00\x00\xf0\x03\x03", b"\x00\x01\x00\x00\x21\x12\xa4\x42", b"SSH-2.0-x\r\n",
               b"EHLO x\r\n", b"\r\n", b"\n", b" ", b"\0", b"\x7f", b"\xff", b"#", b"%", b"}", b"*", b"c#63", b"+-\x03 ",
               b"$vCont;c#00", b"$c#zz", b"$c}#e0", b"<html>", b"{\"a\":\"", b"--boundary\r\n"]
for beginning in beginnings:
    client = RawClient(address)
    client.send(beginning)
    try:
        client.send(ATTACK)
    except OSError:
        pass  # it has closed already
    answer = client.rest()
    test.check(answer == b"", f"{beginning!r} got the answer {answer!r}")
    client.close()
untouched(address, "a connection that begins with no packet")
print(f"{len(beginnings)} beginnings, none obeyed")

# ---- a browser ---------------------------------------------------------------------------

PAGE = """<!doctype html><title>page</title><body><iframe name=sink></iframe><script>
const attack = %(attack)s, port = "http://%(address)s/", tls = "https://%(address)s/";
const settle = promise => Promise.resolve(promise).catch(() => {});
async function all() {
  for (const type of ["text/plain", "application/x-www-form-urlencoded"])
    await settle(fetch(port, {method: "POST", mode: "no-cors", body: new Blob([attack], {type})}));
  await settle(fetch(port + "?" + encodeURIComponent(attack), {mode: "no-cors"}));
  await settle(fetch(tls, {mode: "no-cors", method: "POST", body: attack}));
  await settle(fetch(port, {method: "PUT", body: attack}));
  await new Promise(done => { const socket = new WebSocket("ws://%(address)s/", []);
    socket.onopen = () => { socket.send(attack); done(); }; socket.onerror = socket.onclose = done; });
  navigator.sendBeacon(port, attack);
  await new Promise(done => { const image = new Image(); image.onload = image.onerror = done; image.src = port + "x.png"; });
  for (const enctype of ["text/plain", "multipart/form-data"]) {
    const form = Object.assign(document.createElement("form"), {method: "POST", action: port, target: "sink", enctype});
    form.append(Object.assign(document.createElement("textarea"), {name: attack, value: attack}));
    document.body.append(form); form.submit();
    await new Promise(done => setTimeout(done, 500));
  }
  await fetch("/done");
}
all();
</script>"""
finished = threading.Event()


class Pages(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/done":
            finished.set()
        body = (PAGE % {"attack": repr(ATTACK.decode()), "address": address}).encode() if self.path == "/" else b""
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
if browser:
    pages = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    threading.Thread(target=pages.serve_forever, daemon=True).start()
    process = subprocess.Popen(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
         "--disable-background-networking", f"--user-data-dir={test.path('profile')}", "--remote-debugging-port=0",
         f"http://127.0.0.1:{pages.server_port}/"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=open(test.path("browser.log"), "wb"))
    came = finished.wait(120 * PATIENCE)
    time.sleep(0.5)
    process.kill()
    process.wait()
    pages.shutdown()
    if not came:
        with open(test.path("browser.log"), encoding="utf-8", errors="replace") as file:
            test.fail("the page did not run to its end in the browser: " + file.read()[-2000:])
    untouched(address, "a web page")
    print("the web page came to nothing")
text = end(server)
cut_off = len(re.findall("does not speak the debuggers' protocol", text))
test.check(cut_off >= len(beginnings) + (6 if browser else 0), f"the log names {cut_off} that were cut off: {text}")

# One that speaks no packets does not use up a server that serves once.
server, address = serve_tcp(test, recording)
for beginning in (b"GET / HTTP/1.1\r\n\r\n", b""):
    client = RawClient(address)
    client.send(beginning)
    client.socket.shutdown(1)
    client.rest()
    client.close()
client = RawClient(address)
test.check(served(client) == (0, False), "a debugger after that")
test.check(client.ask("D") == "OK", "it detaches")
test.check(server.wait(timeout=20) == 0, "and the server ends")

# ---- files of the host -------------------------------------------------------------------


def go_live(address, name):
    """What go-live with that file is told, and its result."""
    client = RawClient(address)
    answer = client.monitor(f"go-live {name}")
    if answer[1] == "OK":
        client.monitor("discard")
    client.close()
    return answer


server, address = serve_tcp(test, recording, "--keep")
text, result = go_live(address, taken)
test.check(result == "E01" and "--allow-files" in text, f"go-live over TCP: {text} {result}")
end(server)
test.check(not os.path.exists(taken), "go-live over TCP wrote a file")

allowed = test.path("allowed")
os.mkdir(allowed)
os.symlink("../outside", os.path.join(allowed, "way-out"))
os.symlink("../outside/written.cvr", os.path.join(allowed, "link.cvr"))
server, address = serve_tcp(test, recording, "--keep", "--allow-files", allowed)
for name in (taken, "../outside/written.cvr", f"{allowed}/../outside/written.cvr", "way-out/written.cvr", "link.cvr",
             f"inside.cvr --serial file:{taken}", "inside.cvr --serial file:way-out/written.cvr"):
    text, result = go_live(address, name)
    test.check(result == "E01" and "only files in" in text, f"go-live {name}: {text} {result}")
    test.check(os.listdir(outside) == [], f"go-live {name} wrote there")
text, result = go_live(address, "inside.cvr --serial file:console.txt")
test.check(result == "OK" and os.path.exists(os.path.join(allowed, "inside.cvr")), f"go-live inside: {text} {result}")
end(server)

server, path = serve(test, recording)
text, result = go_live(path, taken)
test.check(result == "OK" and os.path.exists(taken), f"go-live over a Unix socket: {text} {result}")
server.communicate(timeout=20)

# The line that says where to connect names the more private way, too.
server = subprocess.Popen([test.program, "debug", recording, "--listen", "tcp:127.0.0.1:0"], stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
line = server.stderr.readline()
test.check(re.search(r"target remote 127\.0\.0\.1:\d+ ", line) and "--listen unix:" in line, "where it listens: " + line)
server.kill()
server.wait()

# A debugger that is not there is trouble of the host's.
done = test.run("debug", recording, "--gdb=no-such-debugger", expect=5)
test.check(b"no-such-debugger cannot be started" in done.stderr, "a debugger that is not there", done)
# One that ends before it connects, badly or not, and one that ends badly later, too.
for debugger, word in (("/bin/false", b"ended with status 1, without having connected"), ("/bin/true", b"status 0, without having connected")):
    done = test.run("debug", recording, f"--gdb={debugger}", expect=5)
    test.check(word in done.stderr, f"{debugger}: {done.stderr}", done)
if not browser:
    skip("no browser is installed (Debian: chromium); the rest passed")
print("all doors are shut")
