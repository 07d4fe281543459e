#!/bin/sh
# count.sh BUILD - the speed of microcontrollers in instructions, counted by QEMU with the plugin count.c: exact, and the same at every
# run, so what is more than its bound has failed. Estimated cycles stand beside them. Boards whose compiler or emulator is not
# installed are skipped by name.
set -u
here=$(cd "$(dirname "$0")" && pwd)
build=$(mkdir -p "$1/count" && cd "$1/count" && pwd)
status=0
board="sh $here/../../examples/firmware/board.sh"

if ! ${CC:-cc} -O2 -shared -fPIC "$here/count.c" -o "$build/libcount.so" 2>"$build/log"; then
    echo "skip instruction counts: ${CC:-cc} makes no shared objects here"
    exit 0
fi

# bound NAME COUNT CYCLES UNITS BOUND UNIT
bound() {
    awk -v name="$1" -v count="$2" -v cycles="$3" -v units="$4" -v bound="$5" -v unit="$6" 'BEGIN {
        each = count / units
        printf "%s %s: %.4g instructions %s, at most %s; estimated cycles %.4g\n", each <= bound ? "ok" : "FAIL", name, each, unit, bound, cycles / units
        exit each > bound }' || status=1
}

# compile BOARD OBJECT COMPILER ARGUMENTS...: with the board's compiler, or another one
compile() {
    with=$3 from=$1 to=$2
    shift 3
    if [ -n "$with" ]; then
        $with -std=c99 -O2 -ffreestanding -ffunction-sections -fdata-sections "$@" -c -o "$to"
    else
        $board compile "$from" "$to" -ffreestanding "$@"
    fi
}

# counts NAME BOARD CORE OBJECT OPTIONS...: runs a program of $compiler's; what it counted is in NAME.log
counts() {
    name=$1 file=$(echo "$1" | tr / -) on=$2 core=$3 object=$4
    shift 4
    if ! compile "$on" "$build/memory.o" "$compiler" "$here/memory.c" || ! $board build "$on" "$build/$file.elf" "$object" "$build/memory.o"; then
        echo "FAIL counts on $name: does not link"
        status=1
        return 1
    fi
    if ! $board run "$on" "$build/$file.elf" -plugin "$build/libcount.so,core=$core" -d plugin "$@" >"$build/$file.log" 2>&1; then
        echo "FAIL counts on $name: $(grep -m 1 FAIL "$build/$file.log" || tail -n 1 "$build/$file.log")"
        status=1
        return 1
    fi
}

# speed NAME BOARD CORE COMPILER INT8_197 INT8_65 INT4_197 INT4_65 SOFTMAX ACTIVATION NORM; COMPILER: empty, or not the board's own
speed() {
    name=$1 on=$2 compiler=$4
    if ! missing=$($board tools "$on"); then
        echo "skip counts on $name: $missing"
        return
    fi
    if [ -n "$compiler" ] && ! command -v "${compiler%% *}" >/dev/null; then
        echo "skip counts on $name: ${compiler%% *} is not installed"
        return
    fi
    if ! compile "$on" "$build/speed.o" "$compiler" "$here/speed.c" 2>"$build/log"; then
        echo "skip counts on $name: cannot compile for it: $(grep -m 1 error "$build/log")"
        return
    fi
    counts "$name" "$on" "$3" "$build/speed.o" || return
    echo "ok $name: leaves equal to products written out: $(sed -n 's/^leaf //p' "$build/$file.log" | tr '\n' ' ')"
    rows=$(sed -n 's/^rows //p' "$build/$file.log")
    shift 4
    while read -r region count cycles; do
        case $region in
        int8_197) bound "$name int8 197x192x576" "$count" "$cycles" 21786624 "$1" "per MAC" ;;
        int8_65)  bound "$name int8 65x128x384" "$count" "$cycles" 3194880 "$2" "per MAC" ;;
        int4_197) bound "$name int4 197x192x576" "$count" "$cycles" 21786624 "$3" "per MAC" ;;
        int4_65)  bound "$name int4 65x128x384" "$count" "$cycles" 3194880 "$4" "per MAC" ;;
        softmax)  bound "$name softmax" "$count" "$cycles" $((rows * 197)) "$5" "per element" ;;
        bytes)    bytes=$count bytes_cycles=$cycles ;;
        gelu)     bound "$name GELU, more than bytes without it" $((count - bytes)) $((cycles - bytes_cycles)) $((rows * 768)) "$6" "per element" ;;
        norm)     bound "$name norm" "$count" "$cycles" 192 "$7" "per element" ;;
        esac
    done <<END
$(sed -n 's/^count //p' "$build/$file.log")
END
    [ "$(grep -c '^count ' "$build/$file.log")" = 8 ] || { echo "FAIL $name: not all was counted"; status=1; }
}

speed m4 m4 m4 "" 1.05 1.15 1.15 1.25 25 8 30
speed m7 m7 m7 "" 1.05 1.15 1.15 1.25 25 8 30
speed m33 m33 m4 "" 1.05 1.15 1.15 1.25 25 8 30
speed m55 m55-sram m55 "" 0.19 0.22 1.15 1.25 25 8 30
speed m55-by-clang m55-sram m55 "clang-19 --target=thumbv8.1m.main-none-eabihf -mcpu=cortex-m55 -mfloat-abi=hard -fshort-enums" 0.19 0.22 1.15 1.25 25 8 30
speed m3 m3 m4 "" 2.5 2.6 2.5 2.7 25 8 30
speed rv32imc rv32 rv32 "riscv64-unknown-elf-gcc -mcmodel=medany --specs=picolibc.specs -march=rv32imc -mabi=ilp32" 2.9 2.9 2.9 3.05 25 8 32

# vit NAME BOUND BOARD CORE LAYOUT BLOB ARENA: all of ViT-Ti/16 at 224, G instructions; the results are those of this machine
vit() {
    name=$1 most=$2 on=$3 compiler=
    if ! missing=$($board tools "$on"); then
        echo "skip counts on $name: $missing"
        return
    fi
    if ! expected=$("$build/vit" "$build/vit.mim" "$5"); then
        echo "FAIL $name: its blob is not made"
        status=1
        return
    fi
    compile "$on" "$build/vit.o" "" -DVIT_BLOB="$6" -DVIT_ARENA="$7" "$here/vit.c" || status=1
    counts "$name" "$on" "$4" "$build/vit.o" -device loader,file="$build/vit.mim",addr="$6",force-raw=on || return
    if [ "$(grep '^result' "$build/$file.log")" = "$expected" ]; then
        echo "ok $name: the results of this machine"
    else
        echo "FAIL $name: $(grep '^result' "$build/$file.log"), here $expected"
        status=1
    fi
    while read -r region count cycles; do
        case $region in
        vit)       bound "$name with all memory that is useful" "$count" "$cycles" 1000000000 "$most" "in G" ;;
        vit_least) bound "$name with the least" "$count" "$cycles" 1000000000 "$most" "in G" ;;
        esac
    done <<END
$(sed -n 's/^count //p' "$build/$file.log")
END
    [ "$(grep -c '^count ' "$build/$file.log")" = 2 ] || { echo "FAIL $name: not all was counted"; status=1; }
}

if ${CC:-cc} -O2 "$here/vit.c" -o "$build/vit" -lm; then
    vit m4-ViT-Ti/16 1.5 m4 m4 panels 0x21000000 0x20200000
    vit m55-ViT-Ti/16 0.42 m55-sram m55 pairs 0x60000000 0x31200000
else
    echo "FAIL ViT-Ti/16: vit.c does not build"
    status=1
fi
exit $status
