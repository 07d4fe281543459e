/* pickle.c - see pickle.h. */
#include "pickle.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Limits on what a checkpoint needs; each keeps memory in proportion to the stream. */
enum {
    STREAM_MAX = 1 << 30, VALUES_MAX = 1 << 22, STACK_MAX = 1 << 20, MARKS_MAX = 1 << 12, MEMO_MAX = 1 << 22,
    LINE_MAX_BYTES = 1 << 16
};

/* Globals that no checkpoint needs and that make a pickle a program: the mere name is refused. NULL: the whole module. */
static const struct { const char *module, *name; } programs[] = {
    { "os", NULL }, { "posix", NULL }, { "nt", NULL }, { "sys", NULL }, { "subprocess", NULL }, { "pty", NULL },
    { "runpy", NULL },
    { "importlib", NULL }, { "socket", NULL }, { "shutil", NULL }, { "ctypes", NULL }, { "webbrowser", NULL }, { "pdb", NULL },
    { "timeit", NULL }, { "pickle", NULL }, { "_pickle", NULL }, { "marshal", NULL }, { "torch.hub", NULL },
    { "builtins", "eval" }, { "builtins", "exec" }, { "builtins", "compile" }, { "builtins", "open" },
    { "builtins", "__import__" },
    { "builtins", "breakpoint" }, { "builtins", "globals" }, { "builtins", "apply" }, { "builtins", "execfile" },
    { "types", "FunctionType" }, { "types", "CodeType" }, { "operator", "attrgetter" }, { "operator", "methodcaller" },
    { "code", "interact" }, { "code", "InteractiveInterpreter" }, { "commands", "getoutput" }, { "commands", "getstatusoutput" },
    { "torch", "load" }, { "torch.serialization", "load" }, { "numpy", "load" }, { "numpy.testing._private.utils", "runstring" },
};

/* ---- the machine ---- */

typedef struct machine {
    pickle *p;
    size_t at;                        /* next byte */
    size_t begin;                     /* of the opcode at work */
    uint32_t *stack, *memo;
    uint32_t depth, stack_room, memo_room, memoized;
    uint32_t marks[MARKS_MAX], mark_count;
} machine;

static int wrong(const machine *m, const char *what)
{
    return fail("%s: a pickle that is not sound: %s (byte %" PRIu64 "); the file is damaged or was not written by torch.save",
                m->p->path, what, m->p->from + m->begin);
}

static int too_large(const machine *m)
{
    return fail("%s: its pickle makes more than %d values, or memory is short (byte %" PRIu64 ")", m->p->path, VALUES_MAX,
                m->p->from + m->begin);
}

static int no_memory(const machine *m) { return fail("%s: not enough memory for its pickle", m->p->path); }

/* Room for one more in an array of at most `most`. */
static int grow(void **array, uint32_t count, uint32_t *room, uint32_t most, size_t size)
{
    if (count < *room)
        return 0;
    uint32_t wanted = *room ? 2 * *room : 256;
    void *grown = wanted <= most ? realloc(*array, wanted * size) : NULL;
    if (!grown)
        return 1;
    *array = grown;
    *room = wanted;
    return 0;
}

/* 0: none was made, after fail(). */
static uint32_t make(machine *m, uint8_t kind)
{
    pickle *p = m->p;
    void *values = p->values;
    if (grow(&values, p->count, &p->room, VALUES_MAX, sizeof *p->values)) {
        too_large(m);
        return 0;
    }
    p->values = values;
    memset(&p->values[p->count], 0, sizeof *p->values);
    p->values[p->count].kind = kind;
    p->values[p->count].at = (uint32_t)m->begin;
    return p->count++;
}

static int add_item(machine *m, uint32_t to, uint32_t key, uint32_t v)
{
    pickle *p = m->p;
    void *items = p->items;
    if (grow(&items, p->item_count, &p->item_room, 2 * VALUES_MAX, sizeof *p->items))
        return too_large(m);
    p->items = items;
    p->items[p->item_count] = (item){ key, v, 0 };
    value *made = &p->values[to];
    if (made->as.made.last)
        p->items[made->as.made.last].next = p->item_count;
    else
        made->as.made.first = p->item_count;
    made->as.made.last = p->item_count++;
    made->as.made.count++;
    return 0;
}

static int push(machine *m, uint32_t v)
{
    void *stack = m->stack;
    if (!v)
        return 1;
    if (grow(&stack, m->depth, &m->stack_room, STACK_MAX, sizeof *m->stack))
        return wrong(m, "its stack grows without end");
    m->stack = stack;
    m->stack[m->depth++] = v;
    return 0;
}

/* The lowest position of the stack that may be taken now. */
static uint32_t mark_of(const machine *m) { return m->mark_count ? m->marks[m->mark_count - 1] : 0; }

static int needs(const machine *m, uint32_t n)
{
    return m->depth - mark_of(m) < n ? wrong(m, "it takes from an empty stack") : 0;
}

/* *first: position of what was pushed since the last mark, which is taken away. */
static int pop_mark(machine *m, uint32_t *first)
{
    *first = 0;
    if (m->mark_count == 0)
        return wrong(m, "it takes a mark that was not set");
    *first = m->marks[--m->mark_count];
    return 0;
}

static uint32_t top(const machine *m) { return m->stack[m->depth - 1]; }

/* ---- operands ---- */

/* *data: the next n bytes. */
static int take(machine *m, uint64_t n, const uint8_t **data)
{
    *data = m->p->stream + m->at;
    if (n > m->p->bytes - m->at)
        return wrong(m, "it ends in the middle of a value");
    m->at += (size_t)n;
    return 0;
}

/* A length or index of `width` bytes. */
static int take_number(machine *m, uint32_t width, uint64_t *n)
{
    const uint8_t *data;
    *n = 0;
    if (take(m, width, &data))
        return 1;
    *n = read_le(data, width);
    return 0;
}

/* The rest of the line, without its end; a carriage return before it goes too. */
static int take_line(machine *m, uint32_t *at, uint32_t *bytes)
{
    size_t room = m->p->bytes - m->at;
    const uint8_t *from = m->p->stream + m->at, *end = memchr(from, '\n', room < LINE_MAX_BYTES ? room : LINE_MAX_BYTES);
    *at = (uint32_t)m->at;
    *bytes = end ? (uint32_t)(end - from) : 0;
    if (!end)
        return wrong(m, "a line does not end");
    m->at += *bytes + 1;
    *bytes -= *bytes && end[-1] == '\r';
    return 0;
}

/* A whole number in digits: 1, or 0 where it is not one of 64 bits. */
static int decimal(const uint8_t *text, uint32_t bytes, int64_t *n)
{
    uint64_t magnitude = 0;
    uint32_t i = bytes && text[0] == '-', negative = i;
    if (i == bytes)
        return 0;
    for (; i < bytes; i++) {
        if (text[i] < '0' || text[i] > '9' || magnitude > (uint64_t)(INT64_MAX - 9) / 10)
            return 0;
        magnitude = magnitude * 10 + (uint64_t)(text[i] - '0');
    }
    *n = negative ? -(int64_t)magnitude : (int64_t)magnitude;
    return 1;
}

/* ---- opcodes ---- */

static int push_number(machine *m, uint8_t kind, int64_t n)
{
    uint32_t v = make(m, kind);
    if (v)
        m->p->values[v].as.number = n;
    return push(m, v);
}

static int push_text(machine *m, uint8_t kind, uint32_t at, uint32_t bytes)
{
    uint32_t v = make(m, kind);
    if (v) {
        m->p->values[v].as.text.at = at;
        m->p->values[v].as.text.bytes = bytes;
    }
    return push(m, v);
}

/* Text or bytes after a length of `width` bytes. */
static int counted_text(machine *m, uint8_t kind, uint32_t width)
{
    uint64_t n;
    const uint8_t *data;
    if (take_number(m, width, &n) || take(m, n, &data))
        return 1;
    return push_text(m, kind, (uint32_t)(data - m->p->stream), (uint32_t)n);
}

/* Protocol 0's numbers: I01 and I00 are booleans; a long ends in L. */
static int number_line(machine *m, int is_long)
{
    uint32_t at, bytes;
    int64_t n = 0;
    if (take_line(m, &at, &bytes))
        return 1;
    const uint8_t *text = m->p->stream + at;
    if (!is_long && bytes == 2 && text[0] == '0' && (text[1] == '0' || text[1] == '1'))
        return push_number(m, VALUE_BOOL, text[1] == '1');
    bytes -= is_long && bytes && text[bytes - 1] == 'L';
    return decimal(text, bytes, &n) ? push_number(m, VALUE_INT, n) : wrong(m, "a number is malformed or too large");
}

/* Protocol 0's strings. One with an escape cannot be a name here; it stays as it is written. */
static int text_line(machine *m, int quoted)
{
    uint32_t at, bytes;
    if (take_line(m, &at, &bytes))
        return 1;
    const uint8_t *text = m->p->stream + at;
    if (!quoted)
        return push_text(m, VALUE_TEXT, at, bytes);
    if (bytes < 2 || (text[0] != '\'' && text[0] != '"') || text[bytes - 1] != text[0])
        return wrong(m, "a string has no quotes");
    return push_text(m, VALUE_TEXT, at + 1, bytes - 2);
}

static int push_long(machine *m, uint32_t width)
{
    uint64_t n;
    const uint8_t *data;
    if (take_number(m, width, &n) || take(m, n, &data))
        return 1;
    if (n > 8)
        return push_text(m, VALUE_LONG, (uint32_t)(data - m->p->stream), (uint32_t)n);
    uint64_t bits = read_le(data, (uint32_t)n);
    if (n && n < 8 && data[n - 1] >> 7)
        bits |= UINT64_MAX << 8 * n;
    return push_number(m, VALUE_INT, bits >> 63 ? -(int64_t)(UINT64_MAX - bits) - 1 : (int64_t)bits);
}

/* What lies above position `first` becomes the items of v, which is pushed in its place. */
static int gather(machine *m, uint8_t kind, uint32_t first)
{
    uint32_t v = make(m, kind), paired = kind == VALUE_DICT;
    if (!v)
        return 1;
    if (paired && (m->depth - first) % 2)
        return wrong(m, "a dictionary has a key without a value");
    for (uint32_t i = first; i < m->depth; i += 1 + paired)
        if (add_item(m, v, paired ? m->stack[i] : 0, m->stack[i + paired]))
            return 1;
    m->depth = first;
    return push(m, v);
}

static int gather_mark(machine *m, uint8_t kind)
{
    uint32_t first;
    return pop_mark(m, &first) || gather(m, kind, first);
}

static int gather_some(machine *m, uint8_t kind, uint32_t n) { return needs(m, n) || gather(m, kind, m->depth - n); }

/* What lies above position `first` is added to the container just below it. */
static int extend(machine *m, uint8_t kind, uint32_t first)
{
    uint32_t paired = kind == VALUE_DICT;
    if (first <= mark_of(m) || (paired && (m->depth - first) % 2))
        return wrong(m, "it adds to nothing");
    uint32_t to = m->stack[first - 1];
    uint8_t is = m->p->values[to].kind;
    if (is != kind && is != VALUE_CALL)                          /* calls make subclasses of containers */
        return wrong(m, "it adds items to what is no container");
    for (uint32_t i = first; i < m->depth; i += 1 + paired)
        if (add_item(m, to, paired ? m->stack[i] : 0, m->stack[i + paired]))
            return 1;
    m->depth = first;
    return 0;
}

static int extend_mark(machine *m, uint8_t kind)
{
    uint32_t first;
    return pop_mark(m, &first) || extend(m, kind, first);
}

static int extend_some(machine *m, uint8_t kind, uint32_t n) { return needs(m, n + 1) || extend(m, kind, m->depth - n); }

static int same(const pickle *p, uint32_t at, uint32_t bytes, const char *text)
{
    return strlen(text) == bytes && memcmp(p->stream + at, text, bytes) == 0;
}

static int push_global(machine *m, uint32_t module, uint32_t module_bytes, uint32_t name, uint32_t name_bytes)
{
    const pickle *p = m->p;
    uint32_t package = 0, v = make(m, VALUE_GLOBAL);
    if (!v)
        return 1;
    p->values[v].as.global.module = module;
    p->values[v].as.global.module_bytes = module_bytes;
    p->values[v].as.global.name = name;
    p->values[v].as.global.name_bytes = name_bytes;
    while (package < module_bytes && p->stream[module + package] != '.')
        package++;
    for (size_t i = 0; i < sizeof programs / sizeof *programs; i++) {
        const char *of = programs[i].module;
        int is_module = same(p, module, module_bytes, of) || (!programs[i].name && same(p, module, package, of)) ||
                        (strcmp(of, "builtins") == 0 && same(p, module, module_bytes, "__builtin__"));
        if (is_module && (!programs[i].name || same(p, name, name_bytes, programs[i].name)))
            return fail("%s: its pickle names %s (byte %" PRIu64 "), which no checkpoint needs: it is made to run a program when Python "
                        "loads it; nothing of it was run", p->path, pickle_names(p, v), p->from + m->begin);
    }
    return push(m, v);
}

static int global_lines(machine *m)
{
    uint32_t module, module_bytes, name, name_bytes;
    return take_line(m, &module, &module_bytes) || take_line(m, &name, &name_bytes) ||
           push_global(m, module, module_bytes, name, name_bytes);
}

static int global_from_stack(machine *m)
{
    if (needs(m, 2))
        return 1;
    value module = m->p->values[m->stack[m->depth - 2]], name = m->p->values[top(m)];
    m->depth -= 2;
    if (module.kind != VALUE_TEXT || name.kind != VALUE_TEXT)
        return wrong(m, "a global's name is not text");
    return push_global(m, module.as.text.at, module.as.text.bytes, name.as.text.at, name.as.text.bytes);
}

/* The uppermost value is the tuple of arguments, the one below it is what is called; `more`: keyword arguments above. */
static int call(machine *m, int more)
{
    if (needs(m, 2 + (uint32_t)more))
        return 1;
    uint32_t v = make(m, VALUE_CALL);
    if (!v)
        return 1;
    m->depth -= (uint32_t)more;
    m->p->values[v].as.made.arguments = top(m);
    m->p->values[v].as.made.called = m->stack[m->depth - 2];
    if (m->p->values[top(m)].kind != VALUE_TUPLE)
        return wrong(m, "the arguments of a call are no tuple");
    m->depth -= 2;
    return push(m, v);
}

/* What lies above the mark are arguments; what is called lies below them, or is named in the opcode. */
static int call_mark(machine *m, int named)
{
    uint32_t first;
    if (named && global_lines(m))
        return 1;
    uint32_t called = named ? m->stack[--m->depth] : 0;          /* just pushed */
    if (pop_mark(m, &first))
        return 1;
    if (!named && m->depth == first)
        return wrong(m, "it calls nothing");
    if (!named)
        called = m->stack[first];
    if (gather(m, VALUE_TUPLE, first + !named))
        return 1;
    uint32_t arguments = top(m), v = make(m, VALUE_CALL);
    if (!v)
        return 1;
    m->p->values[v].as.made.called = called;
    m->p->values[v].as.made.arguments = arguments;
    m->depth = first;
    return push(m, v);
}

static int build(machine *m)
{
    if (needs(m, 2))
        return 1;
    value *v = &m->p->values[m->stack[m->depth - 2]];
    if (v->kind != VALUE_CALL)
        return wrong(m, "it gives a state to what is no object");
    v->as.made.state = top(m);
    m->depth--;
    return 0;
}

static int persistent(machine *m)
{
    if (needs(m, 1))
        return 1;
    uint32_t v = make(m, VALUE_PERSISTENT);
    if (!v)
        return 1;
    m->p->values[v].as.made.arguments = top(m);
    m->depth--;
    return push(m, v);
}

static int put(machine *m, uint64_t index)
{
    if (needs(m, 1))
        return 1;
    if (index >= MEMO_MAX)
        return wrong(m, "it remembers a value under an impossible number");
    if (index >= m->memo_room) {
        uint32_t room = m->memo_room ? m->memo_room : 256;
        while (room <= index)
            room *= 2;
        uint32_t *grown = realloc(m->memo, room * sizeof *grown);
        if (!grown)
            return no_memory(m);
        memset(grown + m->memo_room, 0, (room - m->memo_room) * sizeof *grown);
        m->memo = grown;
        m->memo_room = room;
    }
    m->memoized += m->memo[index] == 0;
    m->memo[index] = top(m);
    return 0;
}

static int get(machine *m, uint64_t index)
{
    if (index >= m->memo_room || !m->memo[index])
        return wrong(m, "it recalls a value that it did not remember");
    return push(m, m->memo[index]);
}

static int memo_line(machine *m, int putting)
{
    uint32_t at, bytes;
    int64_t n;
    if (take_line(m, &at, &bytes))
        return 1;
    if (!decimal(m->p->stream + at, bytes, &n) || n < 0)
        return wrong(m, "it remembers a value under an impossible number");
    return putting ? put(m, (uint64_t)n) : get(m, (uint64_t)n);
}

/* put or get, with an index of `width` bytes. */
static int memo(machine *m, uint32_t width, int putting)
{
    uint64_t n;
    return take_number(m, width, &n) || (putting ? put(m, n) : get(m, n));
}

static int mark(machine *m)
{
    if (m->mark_count == MARKS_MAX)
        return wrong(m, "it is nested too deep");
    m->marks[m->mark_count++] = m->depth;
    return 0;
}

/* Executes one opcode other than STOP. */
static int step(machine *m, uint8_t opcode)
{
    uint64_t n;
    const uint8_t *data;
    uint32_t at, bytes, first;
    switch (opcode) {
    case 0x80:                                                                               /* PROTO */
        return take_number(m, 1, &n) || (n > 5 ? wrong(m, "its protocol is unknown") : 0);
    case 0x95:                                                                               /* FRAME */
        return take_number(m, 8, &n) || (n > m->p->bytes - m->at ? wrong(m, "a frame ends beyond the file") : 0);

    case 'N': return push(m, make(m, VALUE_NONE));
    case 0x88: return push_number(m, VALUE_BOOL, 1);                                         /* NEWTRUE */
    case 0x89: return push_number(m, VALUE_BOOL, 0);                                         /* NEWFALSE */
    case 'I': return number_line(m, 0);
    case 'L': return number_line(m, 1);
    case 'J': return take(m, 4, &data) || push_number(m, VALUE_INT, (int32_t)(uint32_t)read_le(data, 4));     /* BININT */
    case 'K': return take(m, 1, &data) || push_number(m, VALUE_INT, data[0]);                /* BININT1 */
    case 'M': return take(m, 2, &data) || push_number(m, VALUE_INT, (int64_t)read_le(data, 2));               /* BININT2 */
    case 0x8A: return push_long(m, 1);                                                       /* LONG1 */
    case 0x8B: return push_long(m, 4);                                                       /* LONG4 */
    case 'F': return take_line(m, &at, &bytes) || push(m, make(m, VALUE_FLOAT));
    case 'G': return take(m, 8, &data) || push(m, make(m, VALUE_FLOAT));                     /* BINFLOAT */

    case 'S': return text_line(m, 1);                                                        /* STRING */
    case 'V': return text_line(m, 0);                                                        /* UNICODE */
    case 'U': case 0x8C: return counted_text(m, VALUE_TEXT, 1);                              /* SHORT_BINSTRING, _BINUNICODE */
    case 'T': case 'X': return counted_text(m, VALUE_TEXT, 4);                               /* BINSTRING, BINUNICODE */
    case 0x8D: return counted_text(m, VALUE_TEXT, 8);                                        /* BINUNICODE8 */
    case 'C': return counted_text(m, VALUE_BYTES, 1);                                        /* SHORT_BINBYTES */
    case 'B': return counted_text(m, VALUE_BYTES, 4);                                        /* BINBYTES */
    case 0x8E: case 0x96: return counted_text(m, VALUE_BYTES, 8);                            /* BINBYTES8, BYTEARRAY8 */

    case '(': return mark(m);
    case ')': return push(m, make(m, VALUE_TUPLE));                                          /* EMPTY_TUPLE */
    case ']': return push(m, make(m, VALUE_LIST));                                           /* EMPTY_LIST */
    case '}': return push(m, make(m, VALUE_DICT));                                           /* EMPTY_DICT */
    case 0x8F: return push(m, make(m, VALUE_SET));                                           /* EMPTY_SET */
    case 't': return gather_mark(m, VALUE_TUPLE);
    case 'l': return gather_mark(m, VALUE_LIST);
    case 'd': return gather_mark(m, VALUE_DICT);
    case 0x91: return gather_mark(m, VALUE_SET);                                             /* FROZENSET */
    case 0x85: case 0x86: case 0x87: return gather_some(m, VALUE_TUPLE, opcode - 0x84u);     /* TUPLE1 to TUPLE3 */
    case 'a': return extend_some(m, VALUE_LIST, 1);                                          /* APPEND */
    case 'e': return extend_mark(m, VALUE_LIST);                                             /* APPENDS */
    case 's': return extend_some(m, VALUE_DICT, 2);                                          /* SETITEM */
    case 'u': return extend_mark(m, VALUE_DICT);                                             /* SETITEMS */
    case 0x90: return extend_mark(m, VALUE_SET);                                             /* ADDITEMS */

    case 'c': return global_lines(m);                                                        /* GLOBAL */
    case 0x93: return global_from_stack(m);                                                  /* STACK_GLOBAL */
    case 'R': case 0x81: return call(m, 0);                                                  /* REDUCE, NEWOBJ */
    case 0x92: return call(m, 1);                                                            /* NEWOBJ_EX */
    case 'i': return call_mark(m, 1);                                                        /* INST */
    case 'o': return call_mark(m, 0);                                                        /* OBJ */
    case 'b': return build(m);                                                               /* BUILD */
    case 'Q': return persistent(m);                                                          /* BINPERSID */

    case 'p': return memo_line(m, 1);                                                        /* PUT, GET */
    case 'g': return memo_line(m, 0);
    case 'q': return memo(m, 1, 1);                                                          /* BINPUT, LONG_BINPUT */
    case 'r': return memo(m, 4, 1);
    case 'h': return memo(m, 1, 0);                                                          /* BINGET, LONG_BINGET */
    case 'j': return memo(m, 4, 0);
    case 0x94: return put(m, m->memoized);                                                   /* MEMOIZE */

    case '0':                                                                                /* POP: a value, or a mark */
        if (m->mark_count && m->depth == mark_of(m))
            return pop_mark(m, &first);
        return needs(m, 1) || (m->depth--, 0);
    case '1': return pop_mark(m, &first) || (m->depth = first, 0);                           /* POP_MARK */
    case '2': return needs(m, 1) || push(m, top(m));                                         /* DUP */
    default: break;
    }
    static const struct { uint8_t opcode; const char *name; } known[] = {
        { 0x82, "EXT1" }, { 0x83, "EXT2" }, { 0x84, "EXT4" }, { 'P', "PERSID" }, { 0x97, "NEXT_BUFFER" },
        { 0x98, "READONLY_BUFFER" },
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].opcode == opcode)
            return fail("%s: its pickle has the opcode %s (byte %" PRIu64 "), which no checkpoint needs", m->p->path,
                        known[i].name, m->p->from + m->begin);
    return fail("%s: its pickle has the unknown opcode 0x%02x (byte %" PRIu64 "); the file is damaged or was not written by torch.save",
                m->p->path, opcode, m->p->from + m->begin);
}

static int run(machine *m)
{
    pickle *p = m->p;
    if (!make(m, VALUE_NONE) && !p->values)                      /* value and item 0 stand for none */
        return 1;
    void *items = p->items;
    if (grow(&items, 0, &p->item_room, VALUES_MAX, sizeof *p->items))
        return no_memory(m);
    p->items = items;
    p->items[p->item_count++] = (item){ 0, 0, 0 };
    for (;;) {
        const uint8_t *opcode;
        m->begin = m->at;
        if (m->at == p->bytes)
            return fail("%s: its pickle does not end (byte %" PRIu64 "); the file is truncated or damaged", p->path,
                        p->from + m->at);
        if (take(m, 1, &opcode))
            return 1;
        if (*opcode == '.')
            break;
        if (step(m, *opcode))
            return 1;
    }
    if (m->mark_count || m->depth != 1)
        return wrong(m, "it ends with too much or nothing on its stack");
    p->root = m->stack[0];
    p->bytes = m->at;
    return 0;
}

int pickle_read(pickle *p, const uint8_t *stream, size_t bytes, uint64_t from, const char *path)
{
    memset(p, 0, sizeof *p);
    p->path = path;
    p->from = from;
    p->stream = stream;
    p->bytes = bytes < STREAM_MAX ? bytes : STREAM_MAX;
    machine *m = calloc(1, sizeof *m);
    if (!m)
        return fail("%s: not enough memory for its pickle", path);
    m->p = p;
    int failed = run(m);
    free(m->stack);
    free(m->memo);
    free(m);
    return failed;
}

void pickle_free(pickle *p)
{
    free(p->values);
    free(p->items);
    memset(p, 0, sizeof *p);
}

/* ---- looking ---- */

int pickle_is(const pickle *p, uint32_t v, const char *text)
{
    const value *x = &p->values[v];
    return x->kind == VALUE_TEXT && same(p, x->as.text.at, x->as.text.bytes, text);
}

int pickle_is_global(const pickle *p, uint32_t v, const char *name)
{
    const value *x = &p->values[v];
    size_t n = strlen(name), module = x->as.global.module_bytes;
    return x->kind == VALUE_GLOBAL && n == module + 1 + x->as.global.name_bytes && name[module] == '.' &&
           memcmp(p->stream + x->as.global.module, name, module) == 0 &&
           memcmp(p->stream + x->as.global.name, name + module + 1, n - module - 1) == 0;
}

const char *pickle_names(const pickle *p, uint32_t v)
{
    static const char *const kinds[] = { "None", "a boolean", "a number", "a number", "a number", "text", "bytes", "a tuple",
                                         "a list", "a set", "a dictionary", "a global", "an object", "a storage" };
    static char text[130];
    const value *x = &p->values[v];
    if (x->kind == VALUE_CALL)
        x = &p->values[x->as.made.called];
    if (x->kind != VALUE_GLOBAL)
        return kinds[p->values[v].kind];
    snprintf(text, sizeof text, "%s.%s", shown(p->stream + x->as.global.module, x->as.global.module_bytes),
             shown(p->stream + x->as.global.name, x->as.global.name_bytes));
    return text;
}

uint32_t pickle_item(const pickle *p, uint32_t v, uint32_t i)
{
    const value *x = &p->values[v];
    if ((x->kind != VALUE_TUPLE && x->kind != VALUE_LIST) || i >= x->as.made.count)
        return 0;
    uint32_t at = x->as.made.first;
    while (i--)
        at = p->items[at].next;
    return p->items[at].value;
}
