#!/bin/sh
# readme.sh - builds and runs the README's quick start, and checks that the header's manual shows the same program.
set -u
cd "$(dirname "$0")/.." || exit 1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
strip() { sed -e 's,//.*,,' -e 's,/\*.*\*/,,' -e 's/[[:space:]]*$//'; }
awk '/^```c$/ { on = 1; next } /^```$/ { if (on) exit } on' README.md >"$work/readme.c"
awk '/^ \* QUICK START$/ { on = 1; next } on && /^ \*     [^ ]|^ \*      / { print substr($0, 8); next } on && /^ \*$/ { print ""; next } on { exit }' mim.h >"$work/manual.c"
strip <"$work/readme.c" | grep . >"$work/a"
strip <"$work/manual.c" | grep . >"$work/b"
if cmp -s "$work/a" "$work/b" && [ -s "$work/a" ]; then
    echo "ok quick start: README and manual show the same program"
else
    echo "FAIL quick start: README and the manual in mim.h differ"
    exit 1
fi
if ${CC:-cc} -O2 -Wall -Wextra -Werror -I. "$work/readme.c" -o "$work/readme" && "$work/readme" >"$work/out" && grep -q '^[0-9]* features: [-0-9.]' "$work/out"; then
    echo "ok quick start: $(cat "$work/out")"
else
    echo "FAIL quick start: the program of the README does not build or run"
    exit 1
fi
