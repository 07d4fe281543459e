#!/bin/sh
# cross.sh BUILD - the tests of kernels, the shipped model and the golden models on other machines, emulated: the same bits where
# they are quantized. Targets whose compiler or emulator is not installed are skipped by name.
set -u
here=$(cd "$(dirname "$0")" && pwd)
build=$(mkdir -p "$1" && cd "$1" && pwd)
examples=$(dirname "$here")/examples
model=$examples/models/mae-cifar10-d128l6.q8.mim
integer=$examples/models/mae-cifar10-d128l6.integer.mim
status=0

# target NAME LEVELS TYPES COMPILER RUNNER FLAGS...: builds the tests for a machine and, with `on`, runs them there
target() {
    name=$1 levels=$2 types=$3 cc=$4 runner=$5 folder=$build/$(echo "$1" | tr ' ' -)
    shift 5
    programs=
    for tool in "$cc" ${runner%% *}; do
        if ! command -v "$tool" >/dev/null; then
            echo "skip $name: $tool is not installed"
            return
        fi
    done
    mkdir -p "$folder"
    cat >"$folder/empty.c" <<'END'
#include <stdio.h>
#if defined(__riscv_v) && !defined(__riscv_v_intrinsic)
#error "no intrinsics"
#endif
int main(void) { return 0; }
END
    cat >"$folder/levels.c" <<'END'
#include <stdio.h>
#define MIM_IMPLEMENTATION
#include "mim.h"
int main(int argc, char **argv)
{
    mim_session_desc desc = { 0 };
    mim_memory need;
    mim_model model;
    void *blob;
    size_t bytes;
    if (argc < 2 || mim_load(argv[1], &blob, &bytes) || mim_open(&model, blob, bytes))
        return 1;
    for (desc.cpu = 1; desc.cpu < MIM_CPU_COUNT + 2; desc.cpu++) {
        const mim_status status = mim_plan(&model, &desc, &need);
        if (status == MIM_OK)
            printf("%s ", mim_cpu_name(desc.cpu));
        else if (status != MIM_ERR_CPU)
            return 1;
    }
    printf("\n");
    return 0;
}
END
    if ! "$cc" -O2 "$@" "$folder/empty.c" -o "$folder/empty" 2>/dev/null; then
        echo "skip $name: $cc $* cannot link here, or is too old"
        return
    fi
    for test in test_accuracy test_kernels test_golden levels; do
        source=$here/$test.c
        case $test in
        test_accuracy) [ "$accuracy" = yes ] || continue ;;
        levels) source=$folder/levels.c ;;
        esac
        if ! "$cc" -std=c99 -D_DEFAULT_SOURCE -D_FILE_OFFSET_BITS=64 -O2 "$@" -I"$(dirname "$here")" "$source" -o "$folder/$test" -lm $threads; then
            echo "FAIL $name: $test does not build"
            status=1
            return
        fi
    done
    programs=$folder
    on "$name" "$levels" "$types" "$runner"
}

# on NAME LEVELS TYPES RUNNER: the programs of the last target on a machine that has LEVELS (empty: whatever this one has), and
# those golden models of TYPES whose names fit $golden
on() {
    [ -n "$programs" ] || return
    {
        has=$($4 "$programs/levels" "$model" 2>&1 | sed 's/ $//')
        if [ -z "$2" ] || [ "$has" = "$2" ]; then echo "ok levels: $has; the others are refused"; else echo "FAIL levels: $has, not $2"; fi
        [ "$accuracy" = no ] || for one in "$model" "$integer"; do
            $4 "$programs/test_accuracy" "$one" "$examples/images/small" "$here/expected/shipped-tokens.npy" "$here/expected/hashes.txt" 2
        done
        $4 "$programs/test_kernels" brief
        # shellcheck disable=SC2086 -- words
        [ -z "$3" ] || GOLDEN=$golden sh "$here/golden.sh" "$build" "$3" ${4:-env} "$programs/test_golden" || echo "FAIL golden models"
    } >"$programs/log" 2>&1
    grep -v -e '\.pth' -e 'this machine has no such instructions' "$programs/log" | sed "s/^\(ok\|FAIL\|skip\) /\1 $1: /"
    if grep -q '^FAIL' "$programs/log" || [ "$(grep -c '^ok' "$programs/log")" -lt 15 ]; then
        grep -q '^FAIL' "$programs/log" || echo "FAIL $1: $(tail -n 1 "$programs/log")"
        status=1
    fi
}

# refusal NAME COMPILER RUNNER: a big-endian machine must say so
refusal() {
    if ! command -v "$2" >/dev/null || ! command -v "$3" >/dev/null; then
        echo "skip $1: needs $2 and $3"
        return
    fi
    mkdir -p "$build/$1"
    cat >"$build/$1/open.c" <<'END'
#define MIM_IMPLEMENTATION
#include "mim.h"
int main(int argc, char **argv)
{
    mim_model model;
    void *blob;
    size_t bytes;
    (void)argc;
    return mim_load(argv[1], &blob, &bytes) || mim_open(&model, blob, bytes) != MIM_ERR_ENDIAN;
}
END
    if "$2" -static -O2 -I"$here/.." "$build/$1/open.c" -o "$build/$1/open" && "$3" "$build/$1/open" "$model"; then
        echo "ok $1: a big-endian machine refuses the blob by its own status"
    else
        echo "FAIL $1: a big-endian machine must answer MIM_ERR_ENDIAN"
        status=1
    fi
}

clang=clang
for newer in clang-16 clang-17 clang-18 clang-19; do
    if command -v $newer >/dev/null; then clang=$newer; fi
done

accuracy=yes threads=-lpthread golden='*'
target aarch64 "scalar neon dotprod i8mm" "f32 f16 q8" aarch64-linux-gnu-gcc "qemu-aarch64 -cpu max" -static
on "aarch64 with dotprod" "scalar neon dotprod" "" "qemu-aarch64 -cpu cortex-a76"
on "aarch64 with neon" "scalar neon" "" "qemu-aarch64 -cpu cortex-a53"
target i386 "" "f32 f16 q8" gcc "" -m32 -msse2 -mfpmath=sse -static
golden='[c-e]*'
target armv7 "scalar" "q8" arm-linux-gnueabihf-gcc qemu-arm -static
target "armv7 with neon" "scalar neon" "f32 q8" arm-linux-gnueabihf-gcc "qemu-arm -cpu cortex-a9" -static -march=armv7-a -mfpu=neon
target rv64 "scalar" "q8" riscv64-linux-gnu-gcc qemu-riscv64 -static
# QEMU 7.2 stops at a conversion that clang's own vectors use, so only the library's are in these
rvv="qemu-riscv64 -cpu rv64,v=true,vext_spec=v1.0,vlen"
target "rv64 with 128-bit V" "scalar rvv128" "f32 q8" $clang "$rvv=128" --target=riscv64-linux-gnu -march=rv64gcv -fno-vectorize -fno-slp-vectorize -static
on "rv64 with 256-bit V" "scalar rvv128 rvv256" "" "$rvv=256"
on "rv64 with 512-bit V" "scalar rvv128 rvv256 rvv512" "" "$rvv=512"
threads= golden='*'
target wasm32 "scalar simd128" "f32 f16 q8" $clang "node --no-warnings $here/bare/wasi.mjs" --target=wasm32-wasi -msimd128 -I"$here/bare" -Wl,-z,stack-size=1048576
target "wasm32 without SIMD" "scalar" "" $clang "node --no-warnings $here/bare/wasi.mjs" --target=wasm32-wasi -I"$here/bare" -Wl,-z,stack-size=1048576
accuracy=no golden='mae*'    # bare metal has no folders
if command -v qemu-system-riscv32 >/dev/null; then
    target rv32 "scalar" "q8" riscv64-unknown-elf-gcc "sh $here/bare/semihost.sh" -march=rv32imafc -mabi=ilp32f \
        -mcmodel=medany --specs=picolibc.specs --crt0=semihost --oslib=semihost -Tpicolibc.ld -Wl,--defsym=__flash=0x80000000 \
        -Wl,--defsym=__flash_size=0x200000 -Wl,--defsym=__ram=0x80200000 -Wl,--defsym=__ram_size=0x7000000 \
        -Wl,--defsym=__stack_size=0x20000 -I"$here/bare"
else
    echo "skip rv32: qemu-system-riscv32 is not installed"
fi
refusal s390x s390x-linux-gnu-gcc qemu-s390x
exit $status
