#!/bin/sh
# nofloat.sh BUILD - MIM_NO_FLOAT for cores without a floating-point unit: the object has no floating-point instruction, and calls
# nothing but memcpy, memset, memcmp and the compiler's own integer arithmetic. Compilers that are absent are skipped by name.
set -u
here=$(dirname "$0")
build=$1
status=0
mkdir -p "$build"
printf '#define MIM_IMPLEMENTATION\n#define MIM_NO_FLOAT\n#define MIM_NO_STDIO\n#include "mim.h"\n' >"$build/nofloat.c"
printf '#include <stdint.h>\nint main(void) { return 0; }\n' >"$build/nofloat-empty.c"

# without NAME COMPILER OBJDUMP NM FLAGS...: -O2 and -Os
without() {
    name=$1 cc=$2 dump=$3 nm=$4
    shift 4
    for tool in "$cc" "$dump" "$nm"; do
        if ! command -v "$tool" >/dev/null; then
            echo "skip no floats, $name: needs $tool"
            return
        fi
    done
    if ! "$cc" "$@" -c "$build/nofloat-empty.c" -o "$build/nofloat-empty.o" 2>/dev/null; then
        echo "skip no floats, $name: $cc has no headers for it"
        return
    fi
    for level in -O2 -Os; do
        object=$build/nofloat-$name$level.o
        if ! "$cc" -std=c99 $level "$@" -I"$here/.." -c "$build/nofloat.c" -o "$object"; then
            echo "FAIL no floats, $name $level: does not build"
            status=1
            continue
        fi
        calls=$("$nm" -u "$object" | sed 's/.* //' | grep -vE '^(memcpy|memset|memcmp|__aeabi_(mem(cpy|set|clr)[48]?|u?idiv(mod)?|lmul|ll?s[lr]|lasr)|__gnu_thumb1_case_.*|__(mul|ashl|lshr|ashr)di3|__mulsi3|__udivsi3|__umodsi3)$')
        floats=$("$dump" -d "$object" | awk -F '\t' 'NF > 2 { print $3 }' | grep -E '^(v(add|sub|mul|div|cvt|ldr|str|mov|cmp|sqrt|neg|abs)|f(add|sub|mul|div|ld|lw|sw|sd|mv|cvt|eq|lt|le|sgnj|madd|class)[.a-z]*$|c\.f)' | sort -u | tr '\n' ' ')
        if [ -n "$calls$floats" ]; then
            echo "FAIL no floats, $name $level: calls:" $calls "instructions:" $floats
            status=1
        else
            echo "ok no floats, $name $level ($("${dump%objdump}size" "$object" | awk 'NR == 2 { print $1 }') bytes)"
        fi
    done
}

without cortex-m0 arm-none-eabi-gcc arm-none-eabi-objdump arm-none-eabi-nm -mcpu=cortex-m0 -mthumb
without cortex-m3 arm-none-eabi-gcc arm-none-eabi-objdump arm-none-eabi-nm -mcpu=cortex-m3 -mthumb
without rv32imc riscv64-unknown-elf-gcc riscv64-unknown-elf-objdump riscv64-unknown-elf-nm -march=rv32imc -mabi=ilp32 --specs=picolibc.specs

# the same int16 with and without floats, and a refusal of what needs them
integer=$here/../examples/models/mae-cifar10-d128l6.integer.mim
if ${CC:-cc} -std=c99 -O2 "$here/targets/bits.c" -o "$build/nofloat-with" && \
   ${CC:-cc} -std=c99 -O2 -DMIM_NO_FLOAT "$here/targets/bits.c" -o "$build/nofloat-without"; then
    expected=$(sed -n 's/^bits-shipped.integer //p' "$here/expected/hashes.txt")
    if [ "$("$build/nofloat-with" "$integer")" = "$expected" ] && [ "$("$build/nofloat-without" "$integer")" = "$expected" ]; then
        echo "ok no floats: the same int16 as with them"
    else
        echo "FAIL no floats: $("$build/nofloat-with" "$integer"), without floats $("$build/nofloat-without" "$integer"), recorded $expected"
        status=1
    fi
    refusal=$("$build/nofloat-without" "$here/../examples/models/mae-cifar10-d128l6.q8.mim")
    case $refusal in
    numerics:*MIM_NO_*) echo "ok no floats: a blob that needs them is refused by name" ;;
    *) echo "FAIL no floats: $refusal"; status=1 ;;
    esac
else
    echo "FAIL no floats: does not build"
    status=1
fi

# a camera's picture, larger than the input, row by row
cat >"$build/nofloat-camera.c" <<'END'
#define MIM_IMPLEMENTATION
#include "mim.h"

/* 160x120 RGB565 */
static int row_of(void *user, uint32_t y, void *row)
{
    uint8_t *to = (uint8_t *)row;
    uint32_t i;
    (void)user;
    for (i = 0; i < 320; i++)
        to[i] = (uint8_t)((y * 320 + i) * 2246822519u >> 23);
    return 0;
}

int main(int argc, char **argv)
{
    static int16_t tokens[65 * 128];
    unsigned long long hash = 14695981039346656037u;
    mim_session_desc use = { 0 };
    mim_integers n = { 0 };
    mim_output out = { 0 };
    mim_image image = { 0 };
    mim_session session;
    mim_memory memory;
    mim_model model;
    size_t bytes;
    uint32_t i;
    void *blob;
    use.split = 1;
    use.source_width = image.width = 160;
    use.source_height = image.height = 120;
    image.format = MIM_RGB565;
    image.read_row = row_of;
    out.integers = &n;
    n.tokens = tokens;
    if (argc != 2 || mim_load(argv[1], &blob, &bytes) || mim_open(&model, blob, bytes) || mim_plan(&model, &use, &memory) ||
        !(memory.base = malloc(memory.bytes)) || !(memory.slow = malloc(memory.slow_bytes)) ||
        mim_begin(&session, &model, &use, &memory) || mim_encode(&session, &image, &out))
        return 1;
    for (i = 0; i < 65 * 128; i++)
        hash = (hash ^ (uint16_t)tokens[i]) * 1099511628211u;
    printf("%016llx\n", hash);
    return 0;
}
END
if ${CC:-cc} -std=c99 -O2 -I"$here/.." "$build/nofloat-camera.c" -o "$build/nofloat-camera" && \
   ${CC:-cc} -std=c99 -O2 -I"$here/.." -DMIM_NO_FLOAT "$build/nofloat-camera.c" -o "$build/nofloat-camera-without"; then
    expected=$(sed -n 's/^shipped-integer-camera //p' "$here/expected/hashes.txt")
    if [ "$("$build/nofloat-camera" "$integer")" = "$expected" ] && [ "$("$build/nofloat-camera-without" "$integer")" = "$expected" ]; then
        echo "ok no floats: the same int16 of a camera's rows, resized"
    else
        echo "FAIL no floats: $("$build/nofloat-camera" "$integer"), without floats $("$build/nofloat-camera-without" "$integer"), recorded $expected"
        status=1
    fi
else
    echo "FAIL no floats: a camera: does not build"
    status=1
fi
exit $status
