#!/bin/sh
# The event's body is STDIN, its attributes are in CE_*, the result is STDOUT and the log is STDERR.
name=$(head -c 200)
echo "greeting ${#name} characters" >&2
printf 'Hello, %s! This is event %s.\n' "${name:-world}" "$CE_ID"
