#!/bin/sh
# run.sh FOLDER BOARD... - runs the images, shows what they print and compares it: a board's features and prediction must be the PC's
# and those recorded, to the bit. A line for each, as in all tests: ok, skip or FAIL.
here=$(dirname "$0")
out=$1
status=0
shift
recorded="hash $(sed -n 's/^firmware //p' "$here/../../tests/expected/hashes.txt")"
for board in pc "$@"; do
    if [ $board = pc ]; then
        "$out/pc" >"$out/$board.log" 2>&1
    elif [ -e "$out/$board.elf" ]; then
        sh "$here/board.sh" run $board "$out/$board.elf" >"$out/$board.log" 2>&1
    else
        continue                        # its compiler is not installed: make has said so
    fi
    case $? in
    0)  if grep -q "^$recorded$" "$out/$board.log"; then
            sed 's/^/    /' "$out/$board.log"
            echo "ok firmware $board"
            continue
        fi
        why="$(tail -n 1 "$out/$board.log"), recorded $recorded" ;;
    77) echo "skip firmware $board: $(cat "$out/$board.log")"; continue ;;
    *)  why=$(tail -n 1 "$out/$board.log") ;;
    esac
    echo "FAIL firmware $board: $why"
    status=1
done
exit $status
