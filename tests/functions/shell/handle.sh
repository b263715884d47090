#!/bin/sh
case "$KAON_PATH" in
  /environment) env ;;
  /descriptors) ls -l /proc/self/fd ;;
  /status) cat /proc/self/status ;;
  /never-reads) echo unread ;;
  /never-ends) sleep 60 ;;
  /background) sleep 61 & echo started ;;
  /writes-for-ever) exec yes ;;
  /signal) kill -SEGV $$ ;;
  /closes-early) echo partial; exec 1>&-; exit 3 ;;
  /fails-late) head -c 300000 /dev/zero; exit 3 ;;
  /exit/*) echo "some words" >&2; exit "${KAON_PATH#/exit/}" ;;
  /log) echo '{"level":"warning","message":"structured","size":3}' >&2; echo plain >&2; echo logged ;;
  *) cat ;;
esac
