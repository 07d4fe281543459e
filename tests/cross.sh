#!/bin/sh
# cross.sh BUILD - the shipped model and the golden models on other machines, under qemu: the same bits where they are quantized.
# Targets whose compiler or emulator is not installed are skipped by name.
set -u
here=$(dirname "$0")
build=$1
model=$here/../examples/models/mae-cifar10-d128l6.q8.mim
integer=$here/../examples/models/mae-cifar10-d128l6.integer.mim
status=0

# target NAME COMPILER RUNNER FLAGS...: builds and runs test_accuracy, test_kernels and the golden cases
target() {
    name=$1 cc=$2 run=$3
    shift 3
    if ! command -v "$cc" >/dev/null || { [ -n "$run" ] && ! command -v "$run" >/dev/null; }; then
        echo "skip $name: needs $cc and ${run:-nothing else}"
        return
    fi
    mkdir -p "$build/$name"
    printf '#include <stdio.h>\nint main(void) { return 0; }\n' >"$build/$name/empty.c"
    if ! "$cc" "$@" -static "$build/$name/empty.c" -o "$build/$name/empty" 2>/dev/null; then
        echo "skip $name: $cc $* cannot link here (its C library is missing)"
        return
    fi
    for test in accuracy kernels golden; do
        if ! "$cc" -std=c99 -D_DEFAULT_SOURCE -D_FILE_OFFSET_BITS=64 -O2 -static "$@" "$here/test_$test.c" -o "$build/$name/test_$test" -lm -lpthread; then
            echo "FAIL $name: test_$test.c does not build"
            status=1
            return
        fi
    done
    {
        for one in "$model" "$integer"; do
            $run "$build/$name/test_accuracy" "$one" "$here/../examples/images/small" "$here/expected/shipped-tokens.npy" "$here/expected/hashes.txt" 2
        done
        $run "$build/$name/test_kernels"
        MIM=$build/mim sh "$here/golden.sh" "$build/$name" "${run:-env}"
    } >"$build/$name/log" 2>&1
    grep -v '\.pth' "$build/$name/log" | sed "s/^\(ok\|FAIL\|skip\) /\1 $name: /"
    if grep -q '^FAIL' "$build/$name/log"; then status=1; fi
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

target aarch64 aarch64-linux-gnu-gcc qemu-aarch64
target armv7 arm-linux-gnueabihf-gcc qemu-arm
target i386 gcc "" -m32 -msse2 -mfpmath=sse
refusal s390x s390x-linux-gnu-gcc qemu-s390x
exit $status
