#!/usr/bin/python3
"""An installed Debian (scripts/build-disk) gets an address by systemd-networkd, and with
apt its lists and a package from a web server on the host; the installed program runs. The
recording verifies without image and server. Long: not in the suite; see CONTRIBUTING.md."""
import functools
import gzip
import hashlib
import http.server
import os
import subprocess
import threading

from harness import LOGIN, ROOT, Test, skip

test = Test(__doc__, extra=lambda parser: (
    parser.add_argument("--image", default=os.path.join(ROOT, ".cache/disk.img"), help="made by scripts/build-disk"),
    parser.add_argument("--card", default="virtio", choices=("e1000", "virtio"))))
image = test.arguments.image
if not os.path.exists(image):
    skip(f"there is no {image} (scripts/build-disk -o {image})")

# A repository of one package, whose data are no text.
web = test.path("web")
tree = test.path("tree")
os.makedirs(os.path.join(tree, "DEBIAN"))
os.makedirs(os.path.join(tree, "usr/bin"))
os.makedirs(os.path.join(tree, "usr/lib/netnote"))
os.mkdir(web)
with open(os.path.join(tree, "DEBIAN/control"), "w", encoding="ascii") as file:
    file.write("Package: netnote\nVersion: 1.0\nArchitecture: all\nMaintainer: nobody <nobody@localhost>\nDescription: a note\n")
data = os.urandom(4 << 20)
with open(os.path.join(tree, "usr/lib/netnote/data"), "wb") as file:
    file.write(data)
with open(os.path.join(tree, "usr/bin/netnote"), "w", encoding="ascii") as file:
    file.write("#!/bin/sh\nsha256sum /usr/lib/netnote/data | cut -c 1-32\n")
os.chmod(os.path.join(tree, "usr/bin/netnote"), 0o755)
subprocess.run(["dpkg-deb", "--build", "--root-owner-group", tree, os.path.join(web, "netnote.deb")], check=True, stdout=subprocess.DEVNULL)
with open(os.path.join(web, "netnote.deb"), "rb") as file:
    package = file.read()
with open(os.path.join(tree, "DEBIAN/control"), encoding="ascii") as file:
    entry = file.read() + f"Filename: ./netnote.deb\nSize: {len(package)}\nSHA256: {hashlib.sha256(package).hexdigest()}\n"
with gzip.open(os.path.join(web, "Packages.gz"), "wb") as file:
    file.write(entry.encode())
asked_for = []


class Server(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format, *words):
        asked_for.append(self.path)


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Server, directory=web))
threading.Thread(target=server.serve_forever, daemon=True).start()
script = test.path("script")
with open(script, "w", encoding="ascii") as file:
    file.write(LOGIN + f"""keys printf '[Match]\\\\nName=en*\\\\n[Network]\\\\nDHCP=ipv4\\\\n' > /etc/systemd/network/any.network\\n
keys systemctl start systemd-networkd; /lib/systemd/systemd-networkd-wait-online --timeout=60; echo online=$?\\n
wait-screen online=0
keys echo 'deb [trusted=yes] http://10.0.2.2:{server.server_port} ./' > /etc/apt/sources.list\\n
keys clear; apt-get -q update > /dev/ttyS0; echo updated=$?\\n
wait-screen updated=0
keys apt-get -qy install netnote > /dev/ttyS0; echo installed=$?\\n
wait-screen installed=0
keys netnote > /dev/ttyS0; poweroff\\n
""")
recording, serial = test.path("installed.cvr"), test.path("serial")
done = test.run("record", "-o", recording, "--disk", f"{image},if=virtio", "--memory", "512M", "--serial", "file:" + serial, "--script", script,
                "--net", f"user,loopback,model={test.arguments.card}", "--json", seconds=1800)
report = test.json_of(done)
with open(serial, encoding="latin-1") as file:
    said = file.read()
test.check(report["exit"]["reason"] == "poweroff", f"the guest ended by {report['exit']}: {said[-2000:]}", done)
test.check(hashlib.sha256(data).hexdigest()[:32] in said, f"the program did not run: {said[-3000:]}")
test.check("/netnote.deb" in " ".join(asked_for), f"the server was asked for {asked_for}")
server.shutdown()
away = image + ".away"
os.rename(image, away)
try:
    verified = test.json_of(test.run("verify", recording, "--json", seconds=1800))
finally:
    os.rename(away, image)
test.check(verified["digest"] == report["digest"], f"verified to another state: {verified}")
card = test.json_of(test.run("info", recording, "--json"))["cards"][0]
print(f"{report['instructions']:,} steps in {report['seconds']:.0f} s, {card['frames_received']:,} frames received, {card['frames_sent']:,} sent; "
      f"the server was asked for {asked_for}")
