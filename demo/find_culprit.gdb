# The recording is open at its end: the machine is off, and its kernel was the last to run.
info symbol $pc
print $position

# Go back to where the gateway found the damage.
break audit_failed
reverse-continue
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
print $position

# The machine stands before the store, a minute of its time before the check that failed.
print length
print channels[5].readings
list
# See it happen.
stepi
print channels[5].readings
