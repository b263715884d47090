#!/bin/sh
# Usage: top-words.sh -- [COUNT]. Reads a text, prints "COUNT WORD" lines, the most frequent first.
shift
count=${1:-10}
case $count in
  *[!0-9]* | ?????*)
    echo "count must be a number of at most four digits, not '$count'" >&2
    exit 65
    ;;
esac
tr -cs 'A-Za-z' '\n' | tr 'A-Z' 'a-z' | grep . | sort | uniq -c | sort -k1,1nr -k2 | head -n "$count" | awk '{print $1, $2}'
