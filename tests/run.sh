#!/bin/sh
# run.sh COMMAND... - runs each test command (one argument each), passes on what failed or was skipped, and sums up. A test
# prints a line per group of checks: `ok NAME`, `FAIL NAME: why` or `skip NAME: why`. VERBOSE=1 shows the ok lines too.
log=$(mktemp)
trap 'rm -f "$log" "$log.one"' EXIT
for command in "$@"; do
    sh -c "$command" >"$log.one" 2>&1
    status=$?
    cat "$log.one" >>"$log"
    if [ -n "${VERBOSE-}" ]; then cat "$log.one"; else grep -v '^ok ' "$log.one"; fi
    if [ $status -ne 0 ] && ! grep -q '^FAIL ' "$log.one"; then
        echo "FAIL $command: ended with status $status" | tee -a "$log"
    elif ! grep -qE '^(ok|FAIL|skip) ' "$log.one"; then
        echo "FAIL $command: reported nothing" | tee -a "$log"
    fi
    echo "$(grep -c '^ok ' "$log.one") ok  $command"
done
failed=$(grep -c '^FAIL ' "$log")
echo "$(grep -c '^ok ' "$log") passed, $failed failed, $(grep -c '^skip ' "$log") skipped"
[ "$failed" -eq 0 ]
