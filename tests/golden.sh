#!/bin/sh
# golden.sh BUILD [TYPES PROGRAM...] - converts every model under tests/golden as f32, f16, q8 and q4, and holds it to its cases.
# PROGRAM (qemu-aarch64 .../test_golden, say) is test_golden on another machine: it gets the blobs of the TYPES that the native
# tool has converted. GOLDEN in the environment: a pattern for the names of the models.
set -u
here=$(dirname "$0")
build=$1
types=${2:-f32 f16 q8 q4}
mim=$build/mim
if [ $# -ge 3 ]; then shift 2; program=$*; else program=; fi
out=$build/golden
mkdir -p "$out"
status=0
for cases in "$here"/golden/${GOLDEN:-*}/cases.txt; do
    dir=$(dirname "$cases")
    name=$(basename "$dir")
    checkpoint=$(sed -n 's/^checkpoint //p' "$cases")
    options=$(sed -n 's/^convert //p' "$cases")
    if grep -q '^optional' "$cases" && [ ! -e "$dir/$checkpoint" ]; then
        echo "skip golden $name: $(basename "$checkpoint") is not here"
        continue
    fi
    for type in $types; do
        blob=$out/$name.$type.mim
        # shellcheck disable=SC2086 -- options are words
        if [ -n "$program" ] && [ "$blob" -nt "$mim" ] && [ "$blob" -nt "$cases" ]; then
            :
        elif ! message=$("$mim" convert "$dir/${checkpoint:-model.safetensors}" -o "$blob" --type $type $options 2>&1); then
            case $message in
            *.pth*) echo "skip golden $name.$type: $(echo "$message" | head -n 1)" ;;
            *) echo "FAIL golden $name.$type: $(echo "$message" | head -n 1)"; status=1 ;;
            esac
            continue
        fi
        # shellcheck disable=SC2086 -- words
        ${program:-$build/test_golden} "$blob" "$dir" "$here/expected/hashes.txt" ${program:+brief} || status=1
        [ $type = f32 ] && [ -z "$program" ] || continue
        # the same through the command line: every case with a picture, and the first with an array
        { grep "^case .*input=\.\./pictures/" "$cases"; grep "^case " "$cases" | grep -v "/pictures/" | head -n 1;
          grep "^case .* frames=" "$cases" | head -n 1; grep "^case .* frames=1" "$cases" | head -n 1; } | sort -u |
        while read -r _ words; do
            input= expect= kind= size= keep= norm= frames= coordinates=
            for word in $words; do
                case $word in
                input=* | embedded=*) input=${word#*=} ;;
                frames=*) frames="--frames ${word#*=}" ;;
                coordinates=*) coordinates="--coordinates $dir/${word#*=}" ;;
                expect=*) expect=${word#*=} ;;
                out=*) kind=${word#*=} ;;
                size=*) size="--size ${word#*=}" ;;
                keep=*) keep="--keep $dir/${word#*=}" ;;
                norm=1) norm=--norm ;;
                esac
            done
            # shellcheck disable=SC2086
            if message=$("$mim" encode "$blob" "$dir/$input" -o "$out/got.npy" --out "$kind" $size $keep $norm $frames $coordinates 2>&1 >/dev/null) &&
               message=$("$build/test_golden" compare "$out/got.npy" "$dir/$expect" 1e-5); then
                echo "ok golden $name command line, $(basename "$input") ($message)"
            else
                echo "FAIL golden $name command line, $(basename "$input"): $message"
            fi
        done
    done
done
exit $status
