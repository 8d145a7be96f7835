# The recording is open at its end: the kernel is switching the machine off.

# One: go back to where the gateway found the damage.
chronovisor last-reached audit_failed
set $failed = $position

# Two: this channel cannot have had such a reading. Who stored it?
chronovisor last-write channel->readings[slot]

# Another channel did; its pointer leads into memory that is not its own. Three: who changed that?
chronovisor last-write channel->readings

# There it is. The machine stands right before the store; how many instructions before the check that failed?
print $failed - $position
backtrace
print length
print channels[5].label
print channels[5].readings
list

# See it happen.
stepi
print channels[5].readings
