#!/usr/bin/python3
"""A stock kernel's boot, recorded by simulated counters that know no positions, gets
its positions from the first replay and verifies from then on."""
import os

from harness import CMDLINE, Test

test = Test(__doc__, needs_kernel=True, extra=lambda parser: parser.add_argument("--record-counted", required=True))
recording = test.path("boot.cvr")
made = test.run(test.kernel(), recording, 5, 1_000_000, test.initramfs(), CMDLINE,
                program=os.path.abspath(test.arguments.record_counted), seconds=600)
end, events = (int(word) for word in made.stdout.split())
test.check(events > 1000, f"only {events} events", made)
first = test.run("replay", recording, seconds=900)
test.check(f"{events:,} events have positions now, up to {end:,}" in first.stderr.decode(),
           "other positions than the true ones", first)
# What comes in on the serial line at random is echoed in between.
for line in (b"init: counted 20000", b"reboot: Power down"):
    test.check(line in first.stdout, f"the console lacks {line.decode()}", first)
facts = test.json_of(test.run("info", recording, "--json"))
test.check(facts["end"] == end and facts["checkpoints"] > 10, "no ordinary recording", first)
test.check(facts["summary"]["exit"]["reason"] == "poweroff", f"it ended by {facts['summary']}", first)
test.run("verify", recording, "--jobs", "2", seconds=900)
print(f"{events:,} events in {end:,} steps")
