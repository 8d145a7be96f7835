#!/usr/bin/python3
"""Agents' protocol, spoken with its own client over standard input and output and over HTTP:
every tool is listed, called, and answers as it says, which the client checks."""
import json
import os
import shutil
import subprocess

from harness import ROOT, Test, skip
from serve_client import Server

test = Test(__doc__)
fetched = subprocess.run([os.path.join(ROOT, "scripts/fetch-npm"), "tests/e2e/mcp"], capture_output=True, check=False)
if fetched.returncode != 0:
    skip(f"the protocol's client cannot be fetched: {fetched.stderr.decode(errors='replace').strip()[-300:]}")

recording = test.path("recording.cvr")
test.run("record", "-o", recording, "--multiboot", test.guest("interrupts64"), "--serial", "none")
# Modules are found from where the script lies.
os.symlink(fetched.stdout.decode().strip(), test.path("node_modules"))
script = test.path("client.mjs")
shutil.copy(os.path.join(ROOT, "tests/e2e/mcp/client.mjs"), script)
server = Server(test, recording)
for way in ([test.program, recording], [server.url]):
    done = subprocess.run(["node", script, *way], capture_output=True, check=False, timeout=120)
    test.check(done.returncode == 0, f"the client of {way[0]}", done)
    said = json.loads(done.stdout)
    test.check(said["position"] == said["end"], f"it did not travel: {said}")
server.end()
print(f"{said['tools']} tools, {said['writes']} writes in pages")
