#!/usr/bin/python3
"""Agents' protocol, spoken with its own client: every tool is listed, called, and answers as
it says, which the client checks."""
import json
import os
import shutil
import subprocess

from harness import ROOT, Test, skip

test = Test(__doc__)
fetched = subprocess.run([os.path.join(ROOT, "scripts/fetch-mcp-client")], capture_output=True, check=False)
if fetched.returncode != 0:
    skip(f"the protocol's client cannot be fetched: {fetched.stderr.decode(errors='replace').strip()[-300:]}")
folder = fetched.stdout.decode().strip()

recording = test.path("recording.cvr")
test.run("record", "-o", recording, "--multiboot", test.guest("interrupts64"), "--serial", "none")
# Modules are found from where the script lies.
script = os.path.join(folder, "client.mjs")
shutil.copy(os.path.join(ROOT, "tests/e2e/mcp/client.mjs"), script)
done = subprocess.run(["node", script, test.program, recording], capture_output=True, check=False, timeout=120)
test.check(done.returncode == 0, "the client", done)
said = json.loads(done.stdout)
test.check(said["position"] == said["end"], f"it did not travel: {said}")
print(f"{said['tools']} tools, {said['writes']} writes in pages")
