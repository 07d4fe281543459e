#!/bin/sh
# board.sh build BOARD IMAGE ARGUMENT...   compiles the arguments (sources, objects, options) and the start-up to an image for a board
# board.sh compile BOARD OBJECT ARGUMENT...  one source to an object
# board.sh run BOARD IMAGE OPTION...       runs an image under QEMU (with its options); the status is the program's
# board.sh tools BOARD                     says which tool is not installed, if one is not
#
# Where it is not, the others print the same and their status is 77. -icount makes an instruction take 32 ns on Arm, so that
# COUNT_TIMES / COUNT_BY instructions are one tick of the board's clock, and 1 ns on RISC-V, whose counter counts instructions.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
what=$1 board=$2 out=${3:-}
shift $(($# < 3 ? $# : 3))

arm="arm-none-eabi-gcc -mthumb --specs=nano.specs"
riscv="riscv64-unknown-elf-gcc -mcmodel=medany --specs=picolibc.specs"
case $board in
m0)  cc="$arm -mcpu=cortex-m0"                                 memory=microbit machine=microbit     ticks=125/64 ;;
m0-an385) cc="$arm -mcpu=cortex-m0"                            memory=mps2     machine=mps2-an385   ticks=5/4 ;; # M0's code, more memory
m3)  cc="$arm -mcpu=cortex-m3"                                 memory=mps2     machine=mps2-an385   ticks=5/4 ;;
m4)  cc="$arm -mcpu=cortex-m4 -mfloat-abi=hard -mfpu=fpv4-sp-d16" memory=mps2  machine=mps2-an386   ticks=5/4 ;;
m7)  cc="$arm -mcpu=cortex-m7 -mfloat-abi=hard -mfpu=fpv5-d16" memory=mps2     machine=mps2-an500   ticks=5/4 ;;
m33) cc="$arm -mcpu=cortex-m33 -mfloat-abi=hard"               memory=mps2tz   machine=mps2-an505   ticks=25/16 ;;
m55) cc="$arm -mcpu=cortex-m55 -mfloat-abi=hard"               memory=mps3     machine=mps3-an547   ticks=125/128 ;;
m55-sram) cc="$arm -mcpu=cortex-m55 -mfloat-abi=hard"          memory=mps3-sram machine=mps3-an547 ticks=125/128 ;; # 4 MB of RAM
rv32) cc="$riscv -march=rv32imac -mabi=ilp32"                  memory=virt     machine="virt -bios none" ticks=1/1 ;;
rv32f | rv32v) cc="$riscv -march=rv32imafc -mabi=ilp32f"       memory=virt     machine="virt -bios none" ticks=1/1 ;;
*)   echo "board.sh: no board $board; there are m0 m0-an385 m3 m4 m7 m33 m55 m55-sram rv32 rv32f rv32v" >&2; exit 1 ;;
esac
case $board in
m0)  load="-device loader,file=$out" ;;
*)   load="-kernel $out" ;;
esac
case $board in
rv*) core=riscv.c    qemu="qemu-system-riscv32 -icount shift=0" ;;
*)   core=cortex-m.c qemu="qemu-system-arm -icount shift=5" ;;
esac
options="-std=c99 -O2 -ffunction-sections -fdata-sections -I$here -I$here/../.."
one="$cc $options"                  # what compiles a single source
cc="$cc $options"
if [ $board = rv32v ]; then         # which gcc 12 cannot; the start-up, where vectors are still off, stays gcc's
    machine="$machine -cpu rv32,v=true,vext_spec=v1.0,vlen=128"
    headers=$(echo '#include <string.h>' | ${cc%% -mcmodel*} --specs=picolibc.specs -xc -M - 2>/dev/null | tr ' ' '\n' | sed -n 's|/string\.h$||p' | head -n 1)
    one="clang-19 --target=riscv32-unknown-elf -march=rv32imafcv -mabi=ilp32f -mcmodel=medany -fno-vectorize -fno-slp-vectorize \
        -isystem $headers $options"
fi

installed() { command -v "$1" >/dev/null || { echo "$1 is not installed"; exit 77; }; }

# shellcheck disable=SC2086 -- words
case $what in
tools)
    installed "${cc%% *}"
    installed "${one%% *}"
    installed "${qemu%% *}" ;;
compile)
    installed "${one%% *}"
    exec $one "$@" -c -o "$out" ;;
build)
    installed "${cc%% *}"
    exec $cc -nostartfiles -Wl,--gc-sections,-z,noexecstack -L"$here" -T"$here/boards/$memory.ld" -DCOUNT_TIMES="${ticks%/*}" -DCOUNT_BY="${ticks#*/}" \
        "$here/board.c" "$here/$core" "$here/print.c" "$@" -lm -o "$out" ;;
run)
    installed "${qemu%% *}"
    exec timeout 300 $qemu -M $machine -display none -monitor none -serial null -semihosting-config enable=on,target=native $load "$@" ;;
esac
