#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Prints where one of the patterns on standard input is found on this machine: in files that others
# can read, on command lines, in the journal. The patterns are secrets: they stay out of command
# lines and readable files themselves, and only names of files and units are printed. Folders may be
# given as arguments; without any, all where services and people keep files are searched.
set -u
umask 077
patterns=$(mktemp /root/.seek.XXXXXX)
trap 'rm -f "$patterns"' EXIT
cat >"$patterns"
if [ $# -eq 0 ]; then set -- /etc /home /opt /run /srv /tmp /usr/local /var; fi

# A file is open to others when it is and every folder above it lets them in.
is_open() {
  local folder
  folder=$(dirname "$1")
  while [ "$folder" != / ]; do
    [ -n "$(find "$folder" -maxdepth 0 -perm -o+x)" ] || return 1
    folder=$(dirname "$folder")
  done
}

find "$@" -xdev -type f -perm -o+r -size -4M -print0 2>/dev/null |
  xargs -0 -r grep -lFf "$patterns" 2>/dev/null |
  while read -r file; do
    if is_open "$file"; then echo "file $file"; fi
  done

for process in /proc/[0-9]*; do
  if tr '\0' ' ' 2>/dev/null <"$process/cmdline" | grep -qFf "$patterns"; then
    echo "command line of $(cat "$process/comm")"
  fi
done

journalctl --no-pager --output short 2>/dev/null | grep -Ff "$patterns" | awk '{print "journal of " $5}' | sort -u
exit 0
