#!/bin/sh
# count.sh BUILD - the speed of microcontrollers in instructions, counted by QEMU with the plugin count.c: exact, and the same at every
# run, so what is more than its bound has failed. Estimated cycles stand beside them. Boards whose compiler or emulator is not
# installed are skipped by name.
set -u
here=$(cd "$(dirname "$0")" && pwd)
build=$(mkdir -p "$1/count" && cd "$1/count" && pwd)
status=0
common="-std=c99 -O2 -ffreestanding -ffunction-sections"
link="-nostdlib -Wl,--gc-sections -T $here/board.ld"

if ! ${CC:-cc} -O2 -shared -fPIC "$here/count.c" -o "$build/libcount.so" 2>"$build/log"; then
    echo "skip instruction counts: ${CC:-cc} makes no shared objects here"
    exit 0
fi

have() {
    name=$1
    shift
    for tool; do
        if ! command -v "$tool" >/dev/null; then
            echo "skip counts on $name: $tool is not installed"
            return 1
        fi
    done
}

# bound NAME COUNT CYCLES UNITS BOUND UNIT
bound() {
    awk -v name="$1" -v count="$2" -v cycles="$3" -v units="$4" -v bound="$5" -v unit="$6" 'BEGIN {
        each = count / units
        printf "%s %s: %.4g instructions %s, at most %s; estimated cycles %.4g\n", each <= bound ? "ok" : "FAIL", name, each, unit, bound, cycles / units
        exit each > bound }' || status=1
}

# counts NAME CORE FLASH RAM EMULATOR LINKER OBJECTS...: runs a program; what it counted is in NAME.log
counts() {
    name=$1 file=$(echo "$1" | tr / -) core=$2 flash=$3 ram=$4 emulator=$5 linker=$6
    shift 6
    if ! $linker $link -Wl,--defsym=_flash="$flash" -Wl,--defsym=_ram="$ram" -Wl,--defsym=_ram_bytes=0x200000 "$@" -o "$build/$file.elf" -lgcc; then
        echo "FAIL counts on $name: does not link"
        status=1
        return 1
    fi
    if ! timeout 300 $emulator -display none -monitor none -serial null -semihosting-config enable=on,target=native \
        -plugin "$build/libcount.so,core=$core" -d plugin -kernel "$build/$file.elf" >"$build/$file.log" 2>&1; then
        echo "FAIL counts on $name: $(grep -m 1 FAIL "$build/$file.log" || tail -n 1 "$build/$file.log")"
        status=1
        return 1
    fi
}

# speed NAME CORE FLASH RAM EMULATOR LINKER COMPILER INT8_197 INT8_65 INT4_197 INT4_65 SOFTMAX ACTIVATION NORM
speed() {
    board=$1 compiler=$7
    have "$board" "${compiler%% *}" "${6%% *}" "${5%% *}" || return
    for file in board speed; do
        if ! $compiler $common -c "$here/$file.c" -o "$build/$file.o" 2>"$build/log"; then
            echo "skip counts on $board: ${compiler%% *} cannot compile for it: $(grep -m 1 error "$build/log")"
            return
        fi
    done
    counts "$1" "$2" "$3" "$4" "$5" "$6" "$build/board.o" "$build/speed.o" || return
    echo "ok $board: leaves equal to products written out: $(sed -n 's/^leaf //p' "$build/$file.log" | tr '\n' ' ')"
    shift 7
    while read -r region count cycles; do
        case $region in
        int8_197) bound "$board int8 197x192x576" "$count" "$cycles" 21786624 "$1" "per MAC" ;;
        int8_65)  bound "$board int8 65x128x384" "$count" "$cycles" 3194880 "$2" "per MAC" ;;
        int4_197) bound "$board int4 197x192x576" "$count" "$cycles" 21786624 "$3" "per MAC" ;;
        int4_65)  bound "$board int4 65x128x384" "$count" "$cycles" 3194880 "$4" "per MAC" ;;
        softmax)  bound "$board softmax" "$count" "$cycles" 591 "$5" "per element" ;;
        bytes)    bytes=$count bytes_cycles=$cycles ;;
        gelu)     bound "$board GELU, more than bytes without it" $((count - bytes)) $((cycles - bytes_cycles)) 2304 "$6" "per element" ;;
        norm)     bound "$board norm" "$count" "$cycles" 192 "$7" "per element" ;;
        esac
    done <<END
$(sed -n 's/^count //p' "$build/$file.log")
END
    [ "$(grep -c '^count ' "$build/$file.log")" = 8 ] || { echo "FAIL $board: not all was counted"; status=1; }
}

arm="arm-none-eabi-gcc -mthumb" m55="-mcpu=cortex-m55 -mfloat-abi=hard"
rv32="riscv64-unknown-elf-gcc -march=rv32imc_zicsr -mabi=ilp32 -mcmodel=medany"
speed m4 m4 0 0x20000000 "qemu-system-arm -M mps2-an386" "$arm -mcpu=cortex-m4" "$arm -mcpu=cortex-m4" 1.05 1.15 1.15 1.25 25 8 30
speed m7 m7 0 0x20000000 "qemu-system-arm -M mps2-an500" "$arm -mcpu=cortex-m7" "$arm -mcpu=cortex-m7" 1.05 1.15 1.15 1.25 25 8 30
speed m33 m4 0x10000000 0x38000000 "qemu-system-arm -M mps2-an505" "$arm -mcpu=cortex-m33" "$arm -mcpu=cortex-m33" 1.05 1.15 1.15 1.25 25 8 30
speed m55 m55 0x10000000 0x31000000 "qemu-system-arm -M mps3-an547" "$arm $m55" "$arm $m55" 0.19 0.22 1.15 1.25 25 8 30
speed "m55-by-clang" m55 0x10000000 0x31000000 "qemu-system-arm -M mps3-an547" "$arm $m55" "clang-19 --target=thumbv8.1m.main-none-eabihf $m55" \
    0.19 0.22 1.15 1.25 25 8 30
speed m3 m4 0 0x20000000 "qemu-system-arm -M mps2-an385" "$arm -mcpu=cortex-m3" "$arm -mcpu=cortex-m3" 2.5 2.6 2.5 2.7 36 8 30
speed rv32imc rv32 0x80000000 0x80400000 "qemu-system-riscv32 -M virt -m 64M -bios none" "$rv32" "$rv32" 2.9 2.9 2.9 3.05 40 17 32

# vit NAME BOUND CORE FLASH RAM EMULATOR COMPILER LAYOUT BLOB ARENA: all of ViT-Ti/16 at 224, G instructions; the results are those of
# this machine
vit() {
    board=$1 most=$2 compiler=$7
    have "$board" "${compiler%% *}" "${6%% *}" || return
    if ! expected=$("$build/vit" "$build/vit.mim" "$8"); then
        echo "FAIL $board: its blob is not made"
        status=1
        return
    fi
    for file in board vit; do
        $compiler $common -DVIT_BLOB="$9" -DVIT_ARENA="${10}" -c "$here/$file.c" -o "$build/$file.o" || status=1
    done
    counts "$1" "$3" "$4" "$5" "$6 -device loader,file=$build/vit.mim,addr=$9,force-raw=on" "$compiler" "$build/board.o" "$build/vit.o" || return
    if [ "$(grep '^result' "$build/$file.log")" = "$expected" ]; then
        echo "ok $board: the results of this machine"
    else
        echo "FAIL $board: $(grep '^result' "$build/$file.log"), here $expected"
        status=1
    fi
    while read -r region count cycles; do
        case $region in
        vit)       bound "$board with all memory that is useful" "$count" "$cycles" 1000000000 "$most" "in G" ;;
        vit_least) bound "$board with the least" "$count" "$cycles" 1000000000 "$most" "in G" ;;
        esac
    done <<END
$(sed -n 's/^count //p' "$build/$file.log")
END
    [ "$(grep -c '^count ' "$build/$file.log")" = 2 ] || { echo "FAIL $board: not all was counted"; status=1; }
}

if ${CC:-cc} -O2 "$here/vit.c" -o "$build/vit" -lm; then
    vit m4-ViT-Ti/16 1.5 m4 0 0x20000000 "qemu-system-arm -M mps2-an386" "$arm -mcpu=cortex-m4" panels 0x21000000 0x20200000
    vit m55-ViT-Ti/16 0.42 m55 0x10000000 0x31000000 "qemu-system-arm -M mps3-an547" "$arm $m55" pairs 0x60000000 0x31200000
else
    echo "FAIL ViT-Ti/16: vit.c does not build"
    status=1
fi
exit $status
