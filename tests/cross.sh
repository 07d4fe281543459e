#!/bin/sh
# cross.sh BUILD [bits] - the tests of kernels, the shipped model and the golden models on other machines, emulated: the same bits
# where they are quantized. `bits`: only targets/bits.c, the short form of that, on this machine and every other; it is the one that
# runs on microcontrollers. Targets whose compiler or emulator is not installed are skipped by name.
set -u
here=$(cd "$(dirname "$0")" && pwd)
build=$(mkdir -p "$1" && cd "$1" && pwd)
only=${2:-}
examples=$(dirname "$here")/examples
model=$examples/models/mae-cifar10-d128l6.q8.mim
integer=$examples/models/mae-cifar10-d128l6.integer.mim
tiny=$build/trained_tiny
tiny_integer=$here/golden/trained_tiny/integer.mim
status=0

# The models of targets/bits.c: of both numerics, and small ones of both for machines that are small.
model_of() {
    case $1 in
    shipped.q8) echo "$model" ;;
    shipped.integer) echo "$integer" ;;
    tiny.integer) echo "$tiny_integer" ;;
    tiny.*) echo "$tiny.${1#tiny.}.mim" ;;
    esac
}
for type in q8 q4; do
    "$build/mim" convert "$here/golden/trained_tiny" -o "$tiny.$type.mim" --type $type >/dev/null || exit 1
done
"$build/mim" convert "$tiny_integer" -o "$tiny.pairs.mim" --layout pairs >/dev/null || exit 1

# same MODEL COMMAND...: what the command prints is the hash that is recorded for the model
same() {
    recorded=$(sed -n "s/^bits-$1 //p" "$here/expected/hashes.txt") of=$1
    shift
    got=$("$@" 2>&1)
    if [ "$got" = "$recorded" ] && [ -n "$got" ]; then echo "ok bits of $of"; else echo "FAIL bits of $of: $got, recorded $recorded"; fi
}

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
    for test in bits test_accuracy test_kernels test_golden levels; do
        source=$here/$test.c
        case $test in
        bits) source=$here/targets/bits.c ;;
        *) [ -z "$only" ] || continue ;;
        esac
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
        # shellcheck disable=SC2086 -- words
        for one in $models; do same "$one" $4 "$programs/bits" "$(model_of "$one")"; done
        [ -n "$only" ] || tests_on "$@"
    } >"$programs/log" 2>&1
    report "$1" "$programs/log" $least
}

tests_on() {
    has=$($4 "$programs/levels" "$model" 2>&1 | sed 's/ $//')
    if [ -z "$2" ] || [ "$has" = "$2" ]; then echo "ok levels: $has; the others are refused"; else echo "FAIL levels: $has, not $2"; fi
    [ "$accuracy" = no ] || for one in "$model" "$integer"; do
        $4 "$programs/test_accuracy" "$one" "$examples/images/small" "$here/expected/shipped-tokens.npy" "$here/expected/hashes.txt" 2
    done
    $4 "$programs/test_kernels" brief
    # shellcheck disable=SC2086 -- words
    [ -z "$3" ] || GOLDEN=$golden sh "$here/golden.sh" "$build" "$3" ${4:-env} "$programs/test_golden" || echo "FAIL golden models"
}

# report NAME LOG LEAST: passes on what the log says of a machine, which must be LEAST oks
report() {
    grep -v -e '\.pth' -e 'this machine has no such instructions' "$2" | sed "s/^\(ok\|FAIL\|skip\) /\1 $1: /"
    if grep -q '^FAIL' "$2" || [ "$(grep -c '^ok' "$2")" -lt "$3" ]; then
        grep -q '^FAIL' "$2" || echo "FAIL $1: $(tail -n 1 "$2")"
        status=1
    fi
}

# board NAME BOARD MODELS BUILDS: targets/bits.c on a microcontroller of examples/firmware, with each model in its flash; BUILDS are
# `whole`, `integers`, which is without floats, and `small`, without all else that the models do not need, for size
board() {
    name=$1 board=$2 which=$3 builds=$4 folder=$build/bare-$2
    run="sh $examples/firmware/board.sh"
    if ! missing=$($run tools "$board"); then
        echo "skip $name: $missing"
        return
    fi
    mkdir -p "$folder"
    oks=0
    for how in $builds; do
        case $how in
        integers) without=-DMIM_NO_FLOAT ;;
        small) without="-DMIM_NO_FLOAT -DMIM_NO_Q4 -DMIM_NO_RESIZE -DMIM_NO_PAIRS16 -DMIM_NO_SCALAR -Os" ;;
        *) without=-UMIM_NO_FLOAT ;;
        esac
        # shellcheck disable=SC2086 -- options are words
        $run compile "$board" "$folder/$how.o" -DBLOB_IN_IMAGE $without "$here/targets/bits.c" || echo "FAIL $how: bits.c does not compile"
        for one in $which; do
            case $how-$one in integers-*.q? | small-*.q? | small-*.pairs) continue ;; esac
            oks=$((oks + 1))
            if $run build "$board" "$folder/$one.elf" "$folder/$how.o" "$examples/firmware/data.S" -DMODEL="\"$(model_of "$one")\""; then
                same "$one" $run run "$board" "$folder/$one.elf" | sed "s/$/ ($how)/"
            else
                echo "FAIL bits of $one: the image does not link"
            fi
        done
    done >"$folder/log" 2>&1
    report "$name" "$folder/log" $oks
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

models="tiny.integer tiny.pairs tiny.q8 tiny.q4 shipped.integer shipped.q8"
least=21
if [ -n "$only" ]; then least=6; fi
accuracy=yes threads=-lpthread golden='*'
[ -z "$only" ] || target x86-64 "" "" ${CC:-cc} ""
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
board cortex-m0 m0 "tiny.integer tiny.pairs" integers
board "cortex-m0 with memory" m0-an385 "$models" "whole integers small"
for core in m3 m4 m7 m33 m55; do board cortex-$core $core "$models" "whole integers small"; done
board rv32imac rv32 "$models" "whole integers small"
board "rv32 with 128-bit V" rv32v "$models" "whole integers"
refusal s390x s390x-linux-gnu-gcc qemu-s390x
exit $status
