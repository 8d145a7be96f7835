# The recording is open at its end: the kernel is switching the machine off.

# Go back to where the gateway found the damage.
break audit_failed
reverse-continue
set $failed = $position
backtrace
print *channel
print *channel->readings@24

# Some of these readings cannot be of this channel. Who stored the first? Watch its memory, and
# go back to the store.
delete
watch -l channel->readings[slot]
reverse-continue
backtrace
print channel->number
print channel->label
print channel->readings
print &pool[channel->number]

# Another channel stored it: its pointer leads into memory that is not its own. It was right once;
# who changed it? The same question again.
delete
watch -l channel->readings
reverse-continue
backtrace

# The machine stands right before the store. How many instructions before the check that failed?
print $failed - $position
print length
print channels[5].readings
list

# See it happen.
stepi
print channels[5].readings
