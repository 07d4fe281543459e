/* count.c - a plugin of QEMU that counts the instructions of regions, exactly and the same at every run, and estimates their cycles.
 *
 *     cc -O2 -shared -fPIC count.c -o libcount.so
 *     qemu-system-arm ... -plugin ./libcount.so,core=m4 -d plugin -kernel program.elf
 *
 * A region lasts from a call of an empty function region_NAME to one of region_end. For each a line "count NAME INSTRUCTIONS
 * CYCLES" comes out; with functions=on, at the end, also what each function of the program took by itself.
 *
 * Cycles are an estimate, from what a block of instructions is, not from what it does: no wait states, no data dependencies,
 * every branch at the end of a block taken. What each core is taken to do is written at cycles_of(). Nothing but counts is ever
 * a bound.
 *
 * Distributions ship QEMU's plugin interface, version 1, without its header, so what is used of it is declared here. */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, struct qemu_plugin_tb *));
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, void *), void *);
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, int op /* 0: add */, void *to, uint64_t what);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *, void (*)(unsigned cpu, void *), int registers /* 0: none */, void *);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *);
const char *qemu_plugin_insn_symbol(const struct qemu_plugin_insn *);
void qemu_plugin_outs(const char *);

EXPORT int qemu_plugin_version = 1;

enum core { M4, M7, M55, RV32 };
static enum core core;
static int functions;

/* One virtual processor executes, so plain additions are exact. */
static uint64_t instructions, cycles;

/* ---- what an instruction is ---- */

enum kind { OTHER, LOAD, STORE, BRANCH, MULTIPLY, DIVIDE, VECTOR_LOAD, VECTOR };

struct instruction {
    enum kind kind;
    unsigned words;                  /* moved to or from memory */
};

static unsigned bits(unsigned x)
{
    unsigned n = 0;
    for (; x; x &= x - 1)
        n++;
    return n;
}

static struct instruction thumb(unsigned a, unsigned b, size_t size)
{
    struct instruction none = { OTHER, 0 }, i = { OTHER, 1 };
    if (size == 2) {
        if (a >> 11 == 9 || a >> 12 == 5 || (a >= 0x6000 && a < 0xa000)) {
            const int load = a >> 11 == 9 || (a >> 12 == 5 ? (a >> 9 & 7) > 2 : (a >> 11 & 1) != 0);
            i.kind = load ? LOAD : STORE;
            return i;
        }
        if ((a & 0xf600) == 0xb400 || a >> 12 == 12) {           /* push, pop, stm, ldm */
            i.kind = a & 0x0800 ? LOAD : STORE;
            i.words = bits(a & (a >> 12 == 12 ? 0xff : 0x1ff));
            return i;
        }
        if ((a >> 12 == 13 && (a >> 8 & 15) < 14) || a >> 11 == 28 || (a & 0xff00) == 0x4700 || (a & 0xf500) == 0xb100)
            none.kind = BRANCH;
        if ((a & 0xffc0) == 0x4340)
            none.kind = MULTIPLY;
        return none;
    }
    if (a >> 9 == 0x74) {                                        /* 1110 100x: several words */
        i.kind = a & 0x10 ? LOAD : STORE;
        if (a & 0x40) {
            i.words = (a & 0x1f0) == 0xd0 && (b & 0xfff0) == 0xf000 ? 1 : 2;      /* a table branch, or two words */
            return i;
        }
        i.words = bits(b);
        return i;
    }
    if (a >> 9 == 0x7c) {                                        /* 1111 100x: one word or less */
        i.kind = a & 0x10 ? LOAD : STORE;
        return i;
    }
    if (a >> 11 == 0x1e && b >> 15) {
        none.kind = (a & 0xfff0) == 0xf040 && core == M55 ? OTHER : BRANCH;
        return none;
    }
    if (a >> 7 == 0x1f6) {                                       /* 1111 1011 0: multiply */
        none.kind = MULTIPLY;
        return none;
    }
    if (a >> 7 == 0x1f7) {
        none.kind = (a & 0x50) == 0x10 ? DIVIDE : MULTIPLY;
        return none;
    }
    if ((a & 0xec00) == 0xec00) {                                /* coprocessors: floats and vectors */
        none.kind = (a & 0xfe00) == 0xec00 && a & 0x10 && (b & 0x1e00) == 0x1e00 ? VECTOR_LOAD : VECTOR;
        return none;
    }
    return none;
}

static struct instruction riscv(unsigned a, size_t size)
{
    struct instruction i = { OTHER, 1 };
    if (size == 4)
        switch (a & 127) {
        case 0x03: i.kind = LOAD; break;
        case 0x23: i.kind = STORE; break;
        case 0x63: case 0x67: case 0x6f: i.kind = BRANCH; break;
        case 0x33: i.kind = a >> 25 == 1 ? a & 0x4000 ? DIVIDE : MULTIPLY : OTHER; break;
        default: ;
        }
    else if ((a & 3) == 1)
        i.kind = (a >> 13 & 7) == 1 || a >> 13 >= 5 ? BRANCH : OTHER;
    else if (a >> 13 == 2)
        i.kind = LOAD;
    else if (a >> 13 == 6)
        i.kind = STORE;
    else if ((a & 3) == 2 && a >> 13 == 4 && !(a & 0x7c) && a & 0xf80)
        i.kind = BRANCH;
    return i;
}

/* Of a block. M4 (and M33): one each; a load 2, or 1 after another; n words 1 + n; a branch 3, a division 6. M7: two at once, of
 * which one multiplies and one loads 64 bits; a branch 1. M55: one each; a vector's two beats, of which loads overlap with the
 * rest. RV32 with a short pipeline: one each, a load 2, a branch 3, a division 35. */
static uint64_t cycles_of(const struct instruction *block, size_t n)
{
    uint64_t sum = 0, words = 0, products = 0, loads = 0, vectors = 0;
    for (size_t i = 0; i < n; i++) {
        const struct instruction *x = &block[i];
        const int move = x->kind == LOAD || x->kind == STORE;
        words += move ? (x->words + 1) / 2 : 0;
        products += x->kind == MULTIPLY;
        loads += x->kind == VECTOR_LOAD;
        vectors += x->kind == VECTOR;
        if (core == M7) {
            sum += x->kind == DIVIDE ? 12 : move && x->words > 2 ? x->words : 1;
            continue;
        }
        if (x->kind == VECTOR_LOAD || x->kind == VECTOR)
            continue;
        if (move && x->words > 1)
            sum += core == M55 ? (x->words + 1) / 2 : 1 + x->words;
        else if (x->kind == LOAD)
            sum += core == M55 || (core == M4 && i && block[i - 1].kind == LOAD && block[i - 1].words == 1) ? 1 : 2;
        else
            sum += x->kind == BRANCH ? 3 : x->kind == DIVIDE ? core == RV32 ? 35 : 6 : 1;
    }
    if (core == M7) {
        sum = (sum + 1) / 2;
        sum = words > sum ? words : sum;
        return products > sum ? products : sum;
    }
    return sum + 2 * (loads > vectors ? loads : vectors);
}

/* ---- regions and functions ---- */

static struct function {
    char name[64];
    uint64_t count;
} function[4096];
static int function_count;

static struct function *function_of(const char *name)
{
    for (int i = 0; i < function_count; i++)
        if (strncmp(function[i].name, name, sizeof function[i].name - 1) == 0)
            return &function[i];
    if (function_count == (int)(sizeof function / sizeof *function)) {
        fprintf(stderr, "count.c: the program has too many functions\n");
        exit(1);
    }
    snprintf(function[function_count].name, sizeof function->name, "%s", name);
    return &function[function_count++];
}

static const struct function *region;
static uint64_t instructions_before, cycles_before;

static void mark(unsigned cpu, void *entered)
{
    const struct function *f = entered;
    char line[160];
    (void)cpu;
    if (region) {
        snprintf(line, sizeof line, "count %s %" PRIu64 " %" PRIu64 "\n", region->name + 7, instructions - instructions_before, cycles - cycles_before);
        qemu_plugin_outs(line);
    }
    region = strcmp(f->name, "region_end") ? f : NULL;
    instructions_before = instructions;
    cycles_before = cycles;
}

static void translate(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    enum { MOST = 1024 };
    static struct instruction block[MOST];
    const size_t n = qemu_plugin_tb_n_insns(tb);
    struct qemu_plugin_insn *first = qemu_plugin_tb_get_insn(tb, 0);
    const char *name = qemu_plugin_insn_symbol(first);
    (void)id;
    for (size_t i = 0; i < n && i < MOST; i++) {
        const struct qemu_plugin_insn *x = qemu_plugin_tb_get_insn(tb, i);
        const size_t size = qemu_plugin_insn_size(x);
        uint16_t half[2] = { 0, 0 };
        memcpy(half, qemu_plugin_insn_data(x), size < 4 ? size : 4);
        block[i] = core == RV32 ? riscv(half[0] | (unsigned)half[1] << 16, size) : thumb(half[0], half[1], size);
    }
    qemu_plugin_register_vcpu_tb_exec_inline(tb, 0, &instructions, n);
    qemu_plugin_register_vcpu_tb_exec_inline(tb, 0, &cycles, cycles_of(block, n < MOST ? n : MOST));
    if (!name)
        name = "?";
    if (functions)
        qemu_plugin_register_vcpu_tb_exec_inline(tb, 0, &function_of(name)->count, n);
    if (strncmp(name, "region_", 7) == 0)
        qemu_plugin_register_vcpu_insn_exec_cb(first, mark, 0, function_of(name));
}

static int by_count(const void *a, const void *b)
{
    const struct function *x = a, *y = b;
    return x->count < y->count ? 1 : x->count > y->count ? -1 : 0;
}

static void finish(qemu_plugin_id_t id, void *unused)
{
    char line[160];
    (void)id;
    (void)unused;
    qsort(function, functions ? (size_t)function_count : 0, sizeof *function, by_count);
    for (int i = 0; i < function_count && functions && i < 40; i++) {
        snprintf(line, sizeof line, "function %s %" PRIu64 "\n", function[i].name, function[i].count);
        qemu_plugin_outs(line);
    }
}

EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv)
{
    static const char *const cores[] = { "m4", "m7", "m55", "rv32" };
    (void)info;
    for (int i = 0; i < argc; i++) {
        int known = strcmp(argv[i], "functions=on") == 0;
        functions |= known;
        for (int c = 0; c < 4; c++)
            if (strncmp(argv[i], "core=", 5) == 0 && strcmp(argv[i] + 5, cores[c]) == 0) {
                core = (enum core)c;
                known = 1;
            }
        if (!known) {
            fprintf(stderr, "count.c: '%s' is none of core=m4, m7, m55 or rv32, functions=on\n", argv[i]);
            return 1;
        }
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, translate);
    qemu_plugin_register_atexit_cb(id, finish, NULL);
    return 0;
}
