#!/bin/sh
# damaged.sh BUILD - damaged models in the flash of microcontrollers: the same refusal as on a PC, or the same nonsense, never a fault;
# and models that are not aligned, which are refused with a status of their own before anything of them is read.
set -u
here=$(cd "$(dirname "$0")" && pwd)
firmware=$here/../../examples/firmware
model=$here/../golden/trained_tiny/integer.mim
out=$(mkdir -p "$1/damaged" && cd "$1/damaged" && pwd)
board="sh $firmware/board.sh"
status=0
fail() { echo "FAIL $*"; status=1; }

if ! ${CC:-cc} -std=c99 -O2 -DMIM_NO_FLOAT "$here/bits.c" -o "$out/bits"; then
    fail "damaged models: bits.c does not build"
    exit 1
fi
bytes=$(wc -c <"$model")

# set NAME AT OCTAL: the model with the byte at AT replaced
set_byte() {
    cp "$model" "$out/$1.mim"
    chmod u+w "$out/$1.mim"
    printf "\\$3" | dd of="$out/$1.mim" bs=1 seek="$2" conv=notrunc 2>/dev/null
}

# Fields of the header, of the first steps and of the directory (22 steps of 128 bytes follow the header's 512), then weights.
steps=$(od -An -tu4 -j32 -N4 "$model" | tr -d ' ')
directory=$((512 + steps * 128))
names=
add() { set_byte "$@"; names="$names $1"; }
add magic 0 0; add version 8 7; add header_bytes 13 0; add bytes 17 0; add checksum 24 1; add step_count 32 2; add tensor_count 37 377
add decoder_step 40 1; add type 44 4; add numerics 48 1; add channels 52 0; add image 56 37; add patch 64 3; add groups 80 2; add dim 97 1
add registers 108 1; add pooled 112 100; add name 280 1; add reserved 500 1
add step_kind 512 2; add step_flags 514 377; add step_slot 516 377; add step_again 644 1; add step_heads 676 3; add step_variance 752 0
add step_key 709 200
add tensor_at $((directory)) 100; add tensor_rows $((directory + 9)) 1; add tensor_columns $((directory + 32 + 12)) 1
add tensor_type $((directory + 16)) 7; add tensor_reserved $((directory + 31)) 1; add tensor_shift $((directory + 64 + 21)) 37
add range 20002 200
for at in 6000 9001 20002 31003 41000 52001 63002 74003 85000 91001; do add weight$at $at 21; done
head -c 511 "$model" >"$out/short511.mim"; head -c 8192 "$model" >"$out/short8192.mim"; head -c $((bytes - 1)) "$model" >"$out/short1.mim"
{ cat "$model"; printf x; } >"$out/long.mim"
: >"$out/empty.mim"
head -c "$bytes" /dev/zero >"$out/zeros.mim"
head -c "$bytes" /dev/zero | tr '\0' '\377' >"$out/erased.mim"
names="$names short511 short8192 short1 long empty zeros erased"

# image BOARD NAME OPTION...: links bits.c and a model, runs it, leaves what it says
image() {
    on=$1 name=$2
    shift 2
    $board build "$on" "$out/$on.elf" "$out/$on.o" "$firmware/data.S" "$@" && { $board run "$on" "$out/$on.elf" >"$out/said" 2>&1; true; }
}

for on in m0 m4 rv32; do
    if ! missing=$($board tools $on); then
        echo "skip damaged models, $on: $missing"
        continue
    fi
    $board compile $on "$out/$on.o" -DBLOB_IN_IMAGE -DMIM_NO_FLOAT "$here/bits.c" || { fail "damaged models, $on: does not compile"; continue; }
    refused=0 ran=0 bad=0
    for name in $names; do
        case $on-$name in m0-*) ;; *-tensor_* | *-weight*) ;; *) continue ;; esac      # all of them on one board
        expected=$("$out/bits" "$out/$name.mim")
        image $on $name -DMODEL="\"$out/$name.mim\"" || { fail "damaged models, $on: $name does not link"; continue; }
        if [ "$(cat "$out/said")" != "$expected" ]; then
            fail "damaged models, $on: $name says '$(cat "$out/said")', on a PC '$expected'"
            bad=1
        fi
        case $expected in *[0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f]) ran=$((ran + 1)) ;; *) refused=$((refused + 1)) ;; esac
    done
    if [ $bad = 0 ] && [ $refused -ge 6 ] && [ $ran -ge 8 ]; then
        echo "ok damaged models, $on: $refused refused, $ran run to the same nonsense as on a PC"
    else
        fail "damaged models, $on: $refused refused, $ran run"
    fi

    for shift in 1 2 4 8; do
        image $on shifted -DMODEL="\"$model\"" -DSHIFT=$shift
        case $(cat "$out/said") in
        *"not 16-byte aligned"*) echo "ok model $shift bytes off, $on: refused" ;;
        *) fail "model $shift bytes off, $on: $(cat "$out/said")" ;;
        esac
    done
    image $on shifted -DMODEL="\"$model\"" -DSHIFT=16
    if [ "$(cat "$out/said")" = "$(sed -n 's/^bits-tiny.integer //p' "$here/../expected/hashes.txt")" ]; then
        echo "ok model 16 bytes off 64, $on"
    else
        fail "model 16 bytes off 64, $on: $(cat "$out/said")"
    fi
done

for on in m0 m3 m4 m7 m33 m55; do
    $board tools $on >/dev/null || continue
    $board build $on "$out/trap.elf" "$here/trap.c" && $board run $on "$out/trap.elf" >"$out/said" 2>&1
    if [ $? = 99 ] && grep -q '^fault' "$out/said"; then
        echo "ok unaligned load, $on: $(cat "$out/said")"
    else
        fail "unaligned load, $on: no fault"
    fi
done
exit $status
