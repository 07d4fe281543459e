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
cat >"$build/nofloat-run.c" <<'END'
#define MIM_IMPLEMENTATION
#include "mim.h"
int main(int argc, char **argv)
{
    static uint8_t pixels[32 * 32 * 3];
    static int16_t tokens[65 * 128], prediction[64 * 48];
    unsigned long long hash = 14695981039346656037u;
    uint32_t i, visible[16];
    mim_session_desc use = { 0 };
    mim_integers n = { 0 };
    mim_output out = { 0 };
    mim_image image = { 0 };
    mim_session session;
    mim_memory memory;
    mim_model model;
    mim_status status;
    size_t bytes;
    void *blob;
    if (argc != 2 || mim_load(argv[1], &blob, &bytes))
        return 2;
    status = mim_open(&model, blob, bytes);
    if (status) {
        printf("%s at %s\n", mim_status_string(status), model.fault);
        return 1;
    }
    for (i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)(i * 2654435761u >> 24);
    for (i = 0; i < 16; i++)
        visible[i] = 63 - 3 * i;
    use.decoder = 1;
    if (mim_verify(&model) || mim_plan(&model, &use, &memory) || !(memory.base = malloc(memory.bytes)) || mim_begin(&session, &model, &use, &memory))
        return 3;
    out.integers = &n;
    n.tokens = tokens;
    image.width = image.height = 32;
    image.pixels = pixels;
    if (mim_encode(&session, &image, &out))
        return 4;
    for (i = 0; i < 65 * 128; i++)
        hash = (hash ^ (uint16_t)tokens[i]) * 1099511628211u;
    image.visible = visible;
    image.visible_count = 16;
    n.tokens = NULL;
    n.prediction = prediction;
    if (mim_reconstruct(&session, &image, &out, NULL))
        return 5;
    for (i = 0; i < 64 * 48; i++)
        hash = (hash ^ (uint16_t)prediction[i]) * 1099511628211u;
    printf("%016llx %u\n", hash, n.token_scale > 0 && n.prediction_scale > 0);
    return 0;
}
END
models=$here/../examples/models
run() { "$build/nofloat-run$1" "$models/mae-cifar10-d128l6.$2.mim"; }
if ${CC:-cc} -std=c99 -O2 -I"$here/.." "$build/nofloat-run.c" -o "$build/nofloat-run" && \
   ${CC:-cc} -std=c99 -O2 -I"$here/.." -DMIM_NO_FLOAT "$build/nofloat-run.c" -o "$build/nofloat-run-without"; then
    expected="$(sed -n 's/^shipped-integer-int16 //p' "$here/expected/hashes.txt") 1"
    if [ "$(run '' integer)" = "$expected" ] && [ "$(run -without integer)" = "$expected" ]; then
        echo "ok no floats: the same int16 as with them"
    else
        echo "FAIL no floats: $(run '' integer), without floats $(run -without integer), recorded $expected"
        status=1
    fi
    case $(run -without q8) in
    *MIM_NO_*"at numerics") echo "ok no floats: a blob that needs them is refused by name" ;;
    *) echo "FAIL no floats: $(run -without q8)"; status=1 ;;
    esac
else
    echo "FAIL no floats: does not build"
    status=1
fi
exit $status
