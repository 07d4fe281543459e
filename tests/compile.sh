#!/bin/sh
# compile.sh [COMPILER...] - mim.h as C and C++, at every level and with every macro, without a warning; what it asks of a linker;
# and that no compiler's options change a bit of a quantized result. By default gcc, clang, g++ and clang++.
set -u
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
status=0
WARN="-Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wundef -Wdouble-promotion -Wcast-qual -Wcast-align -Wvla -Werror"
[ $# -gt 0 ] || set -- gcc clang g++ clang++

begin() { name=$1 why=; }
end() { if [ -z "$why" ]; then echo "ok $name"; else echo "FAIL $name: $why"; status=1; fi; }
need() { command -v "$1" >/dev/null && return; echo "skip $2: $1 is not installed"; return 1; }

# run COMMAND...: the group fails with its first message if it does
run() { "$@" >"$work/log" 2>&1 || [ -n "$why" ] || why="$1: $(grep -m 1 -E 'error|undefined|warning' "$work/log" || head -n 1 "$work/log")"; }
expect() { [ "$1" = "$2" ] || [ -n "$why" ] || why="$3: $1"; }

cat >"$work/impl.c" <<'END'
#define MIM_IMPLEMENTATION
#include "mim.h"
END
cat >"$work/decl.c" <<'END'
#include "mim.h"
#include "mim.h"
#ifdef __cplusplus
extern "C"
#endif
const char *text(void);
const char *text(void) { return mim_status_string(MIM_OK); }
END
cat >"$work/main.c" <<'END'
#include "mim.h"
#ifdef __cplusplus
extern "C"
#endif
const char *text(void);
int main(void)
{
    static mim_session_desc desc;
    static mim_model model;
    mim_memory need;
    return !(mim_plan(&model, &desc, &need) == MIM_ERR_ARGUMENT && text() && mim_cpu_name(MIM_CPU_SCALAR));
}
END
cat >"$work/static.c" <<'END'
#define MIM_STATIC
#define MIM_IMPLEMENTATION
#include "mim.h"
const char *text(void);
const char *text(void) { return mim_status_string(MIM_OK); }
END
{ sed -n '1,3p' "$work/static.c"; sed -n '2,$p' "$work/main.c"; } >"$work/static_main.c"
cat >"$work/hash.c" <<'END'
#include "check.h"
#define MIM_IMPLEMENTATION
#include "mim.h"
#include "blob_builder.h"

/* Hashes of what sixty quantized models give, once for every kernel of the machine. */
int main(void)
{
    static float planes[4 * 36 * 36];
    static results r;
    static guard arena;
    const setting how = { 0, 0, 0 };
    size_t i, j, k;
    for (i = 0; i < sizeof planes / sizeof *planes; i++)
        planes[i] = uniform(-2, 2);
    for (i = 0; i < MIMP_TABLE; i++)
        for (check_state = 77, j = 0; j < 60 && mimp_available(mimp_table[i]->cpu); j++) {
            const spec p = j % 2 ? spec_random_block(MIM_Q8) : spec_random(MIM_Q8);
            const uint64_t state = check_state;
            size_t bytes;
            uint8_t *blob = blob_build(&p, &bytes);
            uint64_t hash = 14695981039346656037u;
            mim_session_desc desc;
            mim_image image;
            mim_model model;
            memset(&desc, 0, sizeof desc);
            memset(&image, 0, sizeof image);
            check_state = state;
            desc.cpu = mimp_table[i]->cpu;
            desc.decoder = p.decoder_dim != 0;
            image.format = MIM_PLANES;
            image.width = p.grid_width * p.patch_width;
            image.height = p.grid_height * p.patch_height;
            image.pixels = planes;
            if (mim_open(&model, blob, bytes) || run_model(&r, &arena, &model, &desc, &image, how))
                return 1;
            for (k = 0; k < r.count * 4; k++)
                hash = (hash ^ ((const uint8_t *)r.values)[k]) * 1099511628211u;
            printf("%d %08x%08x\n", (int)j, (unsigned)(hash >> 32), (unsigned)hash);
            free(blob);
        }
    return 0;
}
END

# ---- languages, levels, macros ----
for cc; do
    need "$cc" "$cc" || continue
    case $cc in *++*) x=c++ stds="c++11 c++17 c++20" ;; *) x=c stds="c99 c11 c17" ;; esac
    std=${stds%% *}
    begin "$cc: declarations and implementation in $stds"
    for s in $stds; do
        run "$cc" -x $x -std=$s $WARN -I"$here/.." -fsyntax-only "$work/decl.c"
        run "$cc" -x $x -std=$s $WARN -I"$here/.." -fsyntax-only "$work/impl.c"
    done
    end
    begin "$cc: two files of one program"
    case $x in c) level=-O2 ;; *) level=-O0 ;; esac
    for file in impl decl main; do
        run "$cc" -x $x -std=$std $WARN $level -I"$here/.." -c "$work/$file.c" -o "$work/$file.$x.o"
    done
    run "$cc" "$work/impl.$x.o" "$work/decl.$x.o" "$work/main.$x.o" -o "$work/two"
    run "$work/two"
    if [ $x = c++ ] && [ -f "$work/impl.c.o" ]; then        # C++ calling C: the names must be those of C
        run "$cc" "$work/impl.c.o" "$work/decl.c.o" "$work/main.c++.o" -o "$work/two"
        run "$work/two"
    fi
    end
    begin "$cc: MIM_STATIC in two files"
    for file in static static_main; do
        case $x in
        c) run "$cc" -x c -std=$std $WARN -O0 -I"$here/.." -c "$work/$file.c" -o "$work/$file.o" ;;
        *) run "$cc" -x c++ -std=$std $WARN -fsyntax-only -I"$here/.." "$work/$file.c" ;;
        esac
    done
    if [ $x = c ]; then
        run "$cc" "$work/static.o" "$work/static_main.o" -o "$work/two"
        run "$work/two"
    fi
    end
    begin "$cc: without stdio, floats, resize, decoder, x86, AVX-512, NEON, 4 bits, string.h"
    for macro in -DMIM_NO_STDIO -DMIM_NO_FLOAT -DMIM_NO_RESIZE -DMIM_NO_DECODER -DMIM_NO_PAIRS16 \
        "-DMIM_NO_FLOAT -DMIM_NO_RESIZE -DMIM_NO_DECODER -DMIM_NO_Q4 -DMIM_NO_PAIRS16 -DMIM_NO_SCALAR -Os" -DMIM_NO_X86 -DMIM_NO_AVX512 -DMIM_NO_NEON -DMIM_NO_Q4 \
        "-DMIM_MEMCPY=__builtin_memcpy -DMIM_MEMSET=__builtin_memset -DMIM_MEMCMP=__builtin_memcmp"; do
        run "$cc" -x $x -std=$std $WARN $macro -I"$here/.." -fsyntax-only "$work/impl.c"
    done
    end
done

cat >"$work/no_q4.c" <<'END'
#define MIM_IMPLEMENTATION
#include "mim.h"
#include "tests/check.h"
#include "tests/blob_builder.h"
int main(void)
{
    uint32_t type;
    for (type = MIM_F32; type <= MIM_Q4; type++) {
        const spec p = spec_small(type);
        size_t bytes;
        uint8_t *blob = blob_build(&p, &bytes);
        mim_model model;
        const mim_status status = mim_open(&model, blob, bytes);
        if (status != (type == MIM_Q4 ? MIM_ERR_UNSUPPORTED : MIM_OK) || (status && !strstr(model.fault, "MIM_NO_Q4")))
            return 1;
        free(blob);
    }
    return 0;
}
END
begin "MIM_NO_Q4 refuses 4-bit blobs by name"
cc=$1
if need "$cc" "MIM_NO_Q4 refuses 4-bit blobs by name"; then
    run "$cc" -std=c99 -D_DEFAULT_SOURCE -O1 -DMIM_NO_Q4 -I"$here/.." "$work/no_q4.c" -o "$work/no_q4" -lm
    run "$work/no_q4"
    end
fi

cat >"$work/without.c" <<'END'
#define MIM_IMPLEMENTATION
#include "mim.h"
#include <string.h>

/* The shipped model has a decoder. */
int main(int argc, char **argv)
{
    mim_session_desc desc;
    mim_memory need;
    mim_model model;
    size_t bytes;
    void *blob;
    mim_status status;
    if (argc != 2 || mim_load(argv[1], &blob, &bytes))
        return 1;
    status = mim_open(&model, blob, bytes);
#ifdef MIM_NO_DECODER
    if (status != MIM_ERR_UNSUPPORTED || !strstr(model.fault, "MIM_NO_DECODER"))
        return 2;
    return 0;
#endif
    memset(&desc, 0, sizeof desc);
    if (status || mim_plan(&model, &desc, &need))
        return 3;
    desc.source_width = desc.source_height = 100;
    return mim_plan(&model, &desc, &need) == MIM_ERR_UNSUPPORTED ? 0 : 4;
}
END
begin "MIM_NO_DECODER and MIM_NO_RESIZE refuse what needs them"
if need "$cc" "MIM_NO_DECODER and MIM_NO_RESIZE refuse what needs them"; then
    for macro in -DMIM_NO_DECODER -DMIM_NO_RESIZE; do
        for type in q8 integer; do
            run "$cc" -std=c99 -O1 $macro -I"$here/.." "$work/without.c" -o "$work/without" -lm
            run "$work/without" "$here/../examples/models/mae-cifar10-d128l6.$type.mim"
        done
    done
    end
fi

# Machines of which this one only has the compiler, with the macros that matter there.
while read -r macros machine; do
    need "${machine%% *}" "$machine" || continue
    if ! echo '#include <stdio.h>' | $machine -E - >/dev/null 2>&1; then
        echo "skip $machine: its C library is missing"
        continue
    fi
    begin "$machine: without a warning, and without each of its instruction sets"
    for macro in "" $(echo "$macros" | tr , ' '); do
        run $machine -std=c99 $WARN ${macro:+-D$macro} -I"$here/.." -fsyntax-only "$work/impl.c"
    done
    end
done <<'END'
MIM_NO_NEON,MIM_NO_DOTPROD,MIM_NO_I8MM aarch64-linux-gnu-gcc
MIM_NO_NEON,MIM_NO_DOTPROD,MIM_NO_I8MM clang --target=aarch64-linux-gnu
MIM_NO_NEON,MIM_NO_DOTPROD,MIM_NO_I8MM clang-19 --target=aarch64-linux-gnu
MIM_NO_NEON arm-linux-gnueabihf-gcc -march=armv7-a -mfpu=neon
MIM_NO_STDIO riscv64-linux-gnu-gcc
MIM_NO_RVV clang-19 --target=riscv64-linux-gnu -march=rv64gcv
MIM_NO_SIMD128 clang-19 --target=wasm32-wasi -msimd128
END

begin "misuse is refused by name"
cc=$1
if command -v "$cc" >/dev/null; then
    for flags in -ffast-math "-DMIM_MEMCPY=memcpy"; do
        "$cc" $flags -I"$here/.." -fsyntax-only "$work/impl.c" 2>&1 | grep -q 'error.*mim\.h: ' || why="$flags is accepted"
    done
fi
end

# ---- what it leaves behind and asks for ----
if [ -f "$work/impl.c.o" ] && need nm "no mutable globals"; then
    begin "no mutable globals"
    expect "$(size -A "$work/impl.c.o" | awk '($1 ~ /^\.(data|bss|tdata|tbss)/ && $1 !~ /^\.data\.rel\.ro/ && $2 > 0) { print $1, $2 }')" "" "sections"
    expect "$(nm "$work/impl.c.o" | awk '$2 ~ /[BbCGgSs]/ { print $3 }')" "" "symbols"
    end
fi

cat >"$work/memory.c" <<'END'
#include <stddef.h>
void *memcpy(void *to, const void *from, size_t n);
void *memmove(void *to, const void *from, size_t n);
void *memset(void *to, int c, size_t n);
int memcmp(const void *a, const void *b, size_t n);
void _start(void);
int main(void);
void *memcpy(void *to, const void *from, size_t n) { return memmove(to, from, n); }
void *memmove(void *to, const void *from, size_t n)
{
    volatile unsigned char *t = (unsigned char *)to;
    const volatile unsigned char *f = (const unsigned char *)from;
    while (n--)
        *t++ = *f++;
    return to;
}
void *memset(void *to, int c, size_t n)
{
    volatile unsigned char *t = (unsigned char *)to;
    while (n--)
        *t++ = (unsigned char)c;
    return to;
}
int memcmp(const void *a, const void *b, size_t n)
{
    const volatile unsigned char *p = (const unsigned char *)a, *q = (const unsigned char *)b;
    for (; n; n--, p++, q++)
        if (*p != *q)
            return *p - *q;
    return 0;
}
void _start(void) { for (;;) main(); }
END
for cc in gcc clang arm-none-eabi-gcc aarch64-linux-gnu-gcc; do
    need $cc "freestanding with $cc" || continue
    begin "freestanding with $cc: nothing but memcpy, memset, memcmp (and libgcc's arithmetic where the core lacks it)"
    lib= allowed='^(memcpy|memmove|memset|memcmp)$'
    [ $cc != arm-none-eabi-gcc ] || lib=-lgcc allowed='^(memcpy|memmove|memset|memcmp|__aeabi_[a-z0-9]*)$'
    for file in impl decl main memory; do
        run $cc -std=c99 -O2 -ffreestanding -DMIM_NO_STDIO -I"$here/.." -c "$work/$file.c" -o "$work/free_$file.o"
    done
    expect "$(nm -u "$work/free_impl.o" | awk '{ print $2 }' | grep -Ev "$allowed" | tr '\n' ' ')" "" "asks for"
    run $cc -nostdlib -static "$work/free_impl.o" "$work/free_decl.o" "$work/free_main.o" "$work/free_memory.o" $lib -o "$work/free"
    end
done

# ---- the same bits ----
# bits NAME COMPILER FLAGS...: with all warnings, too
bits() {
    label=$1 cc=$2
    shift 2
    case $cc in *++*) x=c++ ;; *) x=c ;; esac
    begin "the same bits: $label"
    run "$cc" -x $x "$@" $WARN -I"$here/.." -I"$here" "$work/hash.c" -o "$work/hash" -lm
    if [ -z "$why" ]; then
        "$work/hash" | sort -u >"$work/bits" || why="does not run"
        [ -f "$work/bits.first" ] || cp "$work/bits" "$work/bits.first"
        [ "$(wc -l <"$work/bits")" -eq 60 ] || [ -n "$why" ] || why="kernels differ, or models are missing"
        cmp -s "$work/bits" "$work/bits.first" || [ -n "$why" ] || why="other results than the first build's"
    fi
    end
}
for cc; do
    command -v "$cc" >/dev/null || continue
    case $cc in         # gcc contracts unless told not to; clang with =fast would not listen to the header
    clang++*) ;;
    *++*)   bits "$cc -O2" "$cc" -std=c++11 -O2 ;;
    clang*) bits "$cc -O3 -march=native" "$cc" -std=c99 -O3 -march=native ;;
    *)
        bits "$cc -O0" "$cc" -std=c99 -O0
        bits "$cc -O3 -march=native -ffp-contract=fast" "$cc" -std=c99 -O3 -march=native -ffp-contract=fast
        ;;
    esac
done
if need gcc "the same bits: gcc -m32"; then
    if gcc -m32 "$work/memory.c" -ffreestanding -c -o "$work/m32.o" 2>/dev/null && echo 'int main(void){return 0;}' >"$work/empty.c" && gcc -m32 "$work/empty.c" -o "$work/empty" 2>/dev/null; then
        bits "gcc -m32" gcc -m32 -msse2 -mfpmath=sse -std=c99 -O2
    else
        echo "skip the same bits: gcc -m32: its libraries are not installed"
    fi
fi
exit $status
