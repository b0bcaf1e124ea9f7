#!/bin/sh
# Tell the lobby about file systems that are more than 90% full. Run it from cron.
df -P | awk 'NR > 1 && $5 + 0 > 90 { print $6 " is " $5 " full" }' | chat-client --name disk send
