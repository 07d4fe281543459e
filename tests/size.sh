#!/bin/sh
# size.sh BUILD - code size (text and rodata of the library, -Os, what a linker cannot leave out for mim_open, mim_plan, mim_begin and
# mim_encode) and stack (the deepest path of the call graph below one of them) of builds for small cores, held to the budgets below.
# A call through a pointer may be to any function whose address is taken; from such a function, to one that calls through none: tasks
# call leaves. A resize asks for rows alone, and the embedding and UNMASK have but one task. Stack is that of -Os or -O2, whichever takes more.
set -u
here=$(dirname "$0")
build=$1
status=0
mkdir -p "$build"
printf '#define MIM_IMPLEMENTATION\n#define MIM_NO_STDIO\n#include "mim.h"\n' >"$build/size.c"

# stack_of CALLGRAPH
stack_of() {
    awk -F '"' '
    /^node:/ { split($4, part, "\\\\n"); for (i in part) if (part[i] ~ /bytes/) { sub(/ .*/, "", part[i]); frame[$2] = part[i] + 0; defined[$2] = 1 }
               if ($2 ~ /mimp_(dsp|mve)_/ && !frame[$2]) frame[$2] = 64 }           # assembly: what it pushes is not counted
    /^edge:/ { if ($4 == "__indirect_call") indirect[$2] = 1; else { callee[$2, ++calls[$2]] = $4; called[$4] = 1 } }
    function pointed(f,   i) {
        if (!(f in points)) {
            points[f] = f in indirect
            for (i = 1; i <= calls[f]; i++) if (pointed(callee[f, i])) points[f] = 1
        }
        return points[f]
    }
    function able(f, inside, g) {                          # whether f calls g through a pointer
        if (f ~ /_pull_/) return 0                          # that is the callback of the caller
        if (f ~ /resize_row/) return g ~ /_pull_/
        if (inside == 3) return g ~ /_linear_task$/
        if (inside == 2 && g ~ /_(keys|queries|outputs|mlp_task|linear_task)$/) return 0
        return inside != 1 || !pointed(g)
    }
    function depth(f, inside,   i, d, most, g) {           # inside: 1 what is called through a pointer, 2 the embedding, 3 UNMASK
        if (f ~ /_integer_embed_run/) inside = 2
        if (f ~ /_integer_unmask/) inside = 3
        if ((f, inside) in known) return known[f, inside]
        most = 0
        for (i = 1; i <= calls[f]; i++) { d = depth(callee[f, i], inside); if (d > most) most = d }
        if (f in indirect)
            for (g in taken) if (able(f, inside, g)) { d = depth(g, 1); if (d > most) most = d }
        return known[f, inside] = frame[f] + most
    }
    END {
        for (f in defined) if (!(f in called) && f !~ /(^|:)mim_/) taken[f] = 1
        for (f in defined) if (f ~ /(^|:)mim_(open|plan|begin|encode)$/) { d = depth(f, 0); if (d > most) most = d }
        print most
    }' "$1"
}

# measure NAME BYTES STACK PREFIX FLAGS...
measure() {
    name=$1 most=$2 deepest=$3 prefix=$4
    shift 4
    object=$build/size
    if ! "${prefix}gcc" -std=c99 -Os "$@" -ffunction-sections -fdata-sections -fcallgraph-info=su -I"$here/.." -c "$build/size.c" -o "$object.o"; then
        echo "FAIL size, $name: does not build"
        status=1
        return
    fi
    roots="-Wl,-u,mim_open -Wl,-u,mim_plan -Wl,-u,mim_begin -Wl,-u,mim_encode"
    machine=$(printf '%s\n' "$@" | grep '^-m')              # a C library has no part in this
    # shellcheck disable=SC2086 -- options are words
    if ! "${prefix}gcc" $machine -r -nostdlib -Wl,--gc-sections -Wl,-e,mim_open $roots "$object.o" -o "$object-linked.o"; then
        echo "FAIL size, $name: does not link"
        status=1
        return
    fi
    bytes=$("${prefix}size" -A "$object-linked.o" | awk '/^\.(text|rodata|srodata|data|sdata|bss|sbss)/ { n += $2 } END { print n }')
    "${prefix}gcc" -std=c99 -O2 "$@" -fcallgraph-info=su -I"$here/.." -c "$build/size.c" -o "$object-fast.o" || status=1
    stack=$(stack_of "$object.ci") fast=$(stack_of "$object-fast.ci")
    [ "$fast" -le "$stack" ] || stack=$fast
    line=$(printf '%-42s %6d bytes (at most %d), stack %4d (at most %d)' "$name" "$bytes" "$most" "$stack" "$deepest")
    if [ "$bytes" -gt "$most" ] || [ "$stack" -gt "$deepest" ] || [ "$bytes" -lt 4096 ] || [ "$stack" -lt 256 ]; then
        echo "FAIL size, $line"
        status=1
    else
        echo "ok size, $line"
    fi
}

integer="-DMIM_NO_FLOAT" q8="-DMIM_NO_Q4 -DMIM_NO_RESIZE -DMIM_NO_DECODER -DMIM_NO_PAIRS16 -DMIM_NO_SCALAR"
# shellcheck disable=SC2086 -- options are words
if command -v arm-none-eabi-gcc >/dev/null && echo '#include <string.h>' | arm-none-eabi-gcc -E - >/dev/null 2>&1; then
    measure "Cortex-M0, integer numerics, q8" 17664 1536 arm-none-eabi- -mcpu=cortex-m0 -mthumb $integer $q8
    m4="-mcpu=cortex-m4 -mthumb -mfloat-abi=hard -mfpu=fpv4-sp-d16"
    measure "Cortex-M4, integer numerics, q8" 16384 1536 arm-none-eabi- $m4 $integer $q8
    measure "Cortex-M4, the same with 4 bits, resize" 24576 1536 arm-none-eabi- $m4 $integer -DMIM_NO_DECODER
    measure "Cortex-M4, the same with a decoder, too" 24576 1536 arm-none-eabi- $m4 $integer
    measure "Cortex-M4, float numerics, too, q8" 80896 12800 arm-none-eabi- $m4 $q8
    measure "Cortex-M4, everything" 86528 13824 arm-none-eabi- $m4
else
    echo "skip size of Cortex-M builds: needs arm-none-eabi-gcc with a C library"
fi
# shellcheck disable=SC2086 -- options are words
if command -v riscv64-unknown-elf-gcc >/dev/null && echo '#include <string.h>' | riscv64-unknown-elf-gcc --specs=picolibc.specs -E - >/dev/null 2>&1; then
    measure "rv32imc, integer numerics, q8" 20480 1536 riscv64-unknown-elf- -march=rv32imc -mabi=ilp32 --specs=picolibc.specs $integer $q8
else
    echo "skip size of RV32 builds: needs riscv64-unknown-elf-gcc with picolibc"
fi
exit $status
