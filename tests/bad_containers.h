/* bad_containers.h - hostile PyTorch, NumPy and GGUF files, made byte by byte. Part of make_bad_checkpoints.c.
 *
 * Pickles that run a program are made to leave a file called `executed` where they run. What is expected of each file is a
 * phrase of its refusal; of one that is harmless because its payload is never looked at, that the model is not known. */
#ifndef BAD_CONTAINERS_H
#define BAD_CONTAINERS_H

#define COMMAND "touch executed"
#define HARMLESS "no vision transformer that this version knows"

typedef struct bytes {
    uint8_t *data;
    size_t count, room;
} bytes;

static void put(bytes *b, const void *data, size_t n)
{
    if (n > b->room - b->count) {
        b->room = 2 * (b->count + n);
        b->data = realloc(b->data, b->room);
        if (!b->data)
            die("no memory", "bytes");
    }
    if (n)
        memcpy(b->data + b->count, data, n);
    b->count += n;
}

static void put_u(bytes *b, uint64_t value, int width)
{
    for (int i = 0; i < width; i++, value >>= 8)
        put(b, &(uint8_t){ (uint8_t)value }, 1);
}

static void put_text(bytes *b, const char *text) { put(b, text, strlen(text)); }

static uint32_t crc(const uint8_t *data, size_t n)
{
    uint32_t sum = UINT32_MAX;
    for (size_t i = 0; i < n; i++) {
        sum ^= data[i];
        for (int k = 0; k < 8; k++)
            sum = sum >> 1 ^ (sum & 1 ? 0xEDB88320u : 0);
    }
    return ~sum;
}

/* ---- pickles ---- */

static bytes pk;                      /* the pickle being made */

#define OP(text) put(&pk, text, sizeof text - 1)

static void name_(const char *text)   /* BINUNICODE */
{
    OP("X");
    put_u(&pk, strlen(text), 4);
    put_text(&pk, text);
}

static void global(const char *module, const char *name)
{
    OP("c");
    put_text(&pk, module);
    OP("\n");
    put_text(&pk, name);
    OP("\n");
}

static void number(int64_t n)         /* LONG1 */
{
    OP("\x8a\x08");
    put_u(&pk, (uint64_t)n, 8);
}

static void storage(const char *class_name, const char *key, int64_t count)
{
    OP("(");
    name_("storage");
    global("torch", class_name);
    name_(key);
    name_("cpu");
    number(count);
    OP("tQ");
}

/* The arguments of a tensor after its storage, and the call. */
static void view(int64_t first, int rank, const int64_t *sizes, const int64_t *strides)
{
    number(first);
    OP("(");
    for (int i = 0; i < rank; i++)
        number(sizes[i]);
    OP("t(");
    for (int i = 0; i < rank; i++)
        number(strides[i]);
    OP("t\x89");
    global("collections", "OrderedDict");
    OP(")RtR");
}

static void tensor_2x3(void)
{
    global("torch._utils", "_rebuild_tensor_v2");
    OP("(");
    storage("FloatStorage", "0", 6);
    view(0, 2, (int64_t[]){ 2, 3 }, (int64_t[]){ 3, 1 });
}

static void begin(void)
{
    pk.count = 0;
    OP("\x80\2");
}

/* {'w': a tensor, and what follows under 'x': */
static void begin_dict(void)
{
    begin();
    OP("}(");
    name_("w");
    tensor_2x3();
    name_("x");
}

/* {'w': the tensor that follows */
static void begin_tensor(void)
{
    begin();
    OP("}(");
    name_("w");
    global("torch._utils", "_rebuild_tensor_v2");
    OP("(");
}

static void end_dict(void) { OP("u."); }

/* ---- zip archives ---- */

typedef struct zip_item {
    char name[64], local_name[64];
    bytes data;
    uint64_t local_bytes, central_bytes, central_unpacked, at;  /* as claimed; at: of the local header, UINT64_MAX: the truth */
    uint32_t crc;
    int method, local_method, flags, skip_local;
    char signature[5];
} zip_item;

typedef struct zip_end {
    int64_t count, bytes, at;         /* -1: the truth */
    int disk, zip64, zip64_lie;
    const char *comment, *trail;
} zip_end;

static zip_item entries[16];
static int entry_count;
static zip_end zip_tail;
static bytes file;                    /* the file being made */

static zip_item *entry(const char *name, const void *data, size_t n)
{
    zip_item *e = &entries[entry_count++];
    e->data.count = 0;
    put(&e->data, data, n);
    snprintf(e->name, sizeof e->name, "%s", name);
    snprintf(e->local_name, sizeof e->local_name, "%s", name);
    strcpy(e->signature, "PK\3\4");
    e->local_bytes = e->central_bytes = e->central_unpacked = n;
    e->crc = crc(e->data.data, n);
    e->at = UINT64_MAX;
    e->method = e->local_method = e->flags = e->skip_local = 0;
    return e;
}

/* An archive as torch.save writes it, around the pickle that was made. */
static void torch_entries(void)
{
    static const float numbers[6] = { 1, 2, 3, 4, 5, 6 };
    entry_count = 0;
    memset(&zip_tail, 0, sizeof zip_tail);
    zip_tail.count = zip_tail.bytes = zip_tail.at = -1;
    entry("a/data.pkl", pk.data, pk.count);
    entry("a/data/0", numbers, sizeof numbers);
    entry("a/version", "3\n", 2);
}

static void write_zip(void)
{
    uint64_t at[16], begin_at, end_at;
    file.count = 0;
    for (int i = 0; i < entry_count; i++) {
        zip_item *e = &entries[i];
        at[i] = e->at != UINT64_MAX ? e->at : file.count;
        if (e->skip_local)
            continue;
        put(&file, e->signature, 4);
        put_u(&file, 20, 2);
        put_u(&file, (uint64_t)e->flags, 2);
        put_u(&file, (uint64_t)e->local_method, 2);
        put_u(&file, 0, 4);
        put_u(&file, e->crc, 4);
        put_u(&file, e->local_bytes, 4);
        put_u(&file, e->method ? e->central_unpacked : e->local_bytes, 4);
        put_u(&file, strlen(e->local_name), 2);
        put_u(&file, 0, 2);
        put_text(&file, e->local_name);
        put(&file, e->data.data, e->data.count);
    }
    begin_at = file.count;
    for (int i = 0; i < entry_count; i++) {
        zip_item *e = &entries[i];
        put_text(&file, "PK\1\2");
        put_u(&file, 20, 2);
        put_u(&file, 20, 2);
        put_u(&file, (uint64_t)e->flags, 2);
        put_u(&file, (uint64_t)e->method, 2);
        put_u(&file, 0, 4);
        put_u(&file, e->crc, 4);
        put_u(&file, e->central_bytes, 4);
        put_u(&file, e->central_unpacked, 4);
        put_u(&file, strlen(e->name), 2);
        put_u(&file, 0, 2 + 2 + 2 + 2 + 4);
        put_u(&file, at[i], 4);
        put_text(&file, e->name);
    }
    end_at = file.count;
    if (zip_tail.zip64) {
        put_text(&file, "PK\6\6");
        put_u(&file, 44, 8);
        put_u(&file, 45, 2);
        put_u(&file, 45, 2);
        put_u(&file, 0, 8);
        put_u(&file, (uint64_t)entry_count, 8);
        put_u(&file, (uint64_t)(entry_count + zip_tail.zip64_lie), 8);
        put_u(&file, end_at - begin_at, 8);
        put_u(&file, begin_at, 8);
        put_text(&file, "PK\6\7");
        put_u(&file, 0, 4);
        put_u(&file, zip_tail.zip64 == 2 ? (uint64_t)1 << 63 : end_at, 8);
        put_u(&file, 1, 4);
    }
    put_text(&file, "PK\5\6");
    put_u(&file, (uint64_t)zip_tail.disk, 2);
    put_u(&file, 0, 2);
    put_u(&file, zip_tail.count < 0 ? (uint64_t)entry_count : (uint64_t)zip_tail.count, 2);
    put_u(&file, zip_tail.count < 0 ? (uint64_t)entry_count : (uint64_t)zip_tail.count, 2);
    put_u(&file, zip_tail.bytes < 0 ? end_at - begin_at : (uint64_t)zip_tail.bytes, 4);
    put_u(&file, zip_tail.at < 0 ? begin_at : (uint64_t)zip_tail.at, 4);
    put_u(&file, zip_tail.comment ? strlen(zip_tail.comment) : 0, 2);
    put_text(&file, zip_tail.comment ? zip_tail.comment : "");
    put_text(&file, zip_tail.trail ? zip_tail.trail : "");
}

static void bad_file(const char *name, const char *phrase) { bad_bytes(name, (const char *)file.data, file.count, phrase); }

static void bad_zip(const char *name, const char *phrase)
{
    write_zip();
    bad_file(name, phrase);
}

/* The pickle that was made, in an archive. */
static void bad_pickle(const char *name, const char *phrase)
{
    torch_entries();
    bad_zip(name, phrase);
}

/* ---- programs ---- */

static void make_programs(void)
{
    begin_dict();
    global("os", "system");
    OP("(");
    name_(COMMAND);
    OP("tR");
    end_dict();
    bad_pickle("run-os-system", "its pickle names os.system (byte ");
    begin_dict();
    global("posix", "system");
    OP("(");
    name_(COMMAND);
    OP("tR");
    end_dict();
    bad_pickle("run-posix-system", "its pickle names posix.system (byte ");
    static const char *const builtins[][2] = { { "builtins", "eval" }, { "__builtin__", "eval" }, { "builtins", "exec" },
                                               { "builtins", "__import__" }, { "__builtin__", "execfile" } };
    for (int i = 0; i < 5; i++) {
        char file_name[64], phrase[64];
        begin_dict();
        global(builtins[i][0], builtins[i][1]);
        OP("(");
        name_("__import__('os').system('" COMMAND "')");
        OP("tR");
        end_dict();
        snprintf(file_name, sizeof file_name, "run-%s-%s", builtins[i][0], builtins[i][1]);
        snprintf(phrase, sizeof phrase, "its pickle names %s.%s (byte ", builtins[i][0], builtins[i][1]);
        bad_pickle(file_name, phrase);
    }
    begin();
    OP("\x80\4\x95\x40\0\0\0\0\0\0\0\x8c\2os\x8c\6system\x93\x8c\x0e" COMMAND "\x85R0");
    while (pk.count < 128)
        OP("N0");
    OP("}.");
    bad_pickle("run-stack-global", "its pickle names os.system (byte ");
    begin_dict();
    OP("(");
    name_(COMMAND);
    OP("ios\nsystem\n");
    end_dict();
    bad_pickle("run-inst", "its pickle names os.system (byte ");
    begin_dict();
    OP("(");
    global("os", "system");
    name_(COMMAND);
    OP("o");
    end_dict();
    bad_pickle("run-obj", "its pickle names os.system (byte ");
    begin_dict();
    global("subprocess", "Popen");
    OP("((");
    name_("touch");
    name_("executed");
    OP("lt\x81");
    end_dict();
    bad_pickle("run-newobj", "its pickle names subprocess.Popen (byte ");
    begin_dict();
    global("subprocess", "run");
    name_(COMMAND);
    OP("\x85}");
    name_("shell");
    OP("\x88s\x92");
    end_dict();
    bad_pickle("run-newobj-ex", "its pickle names subprocess.run (byte ");
    begin_dict();
    global("functools", "partial");
    global("os", "popen");
    OP("\x85R)R");
    end_dict();
    bad_pickle("run-partial", "its pickle names os.popen (byte ");
    begin_dict();
    global("importlib", "import_module");
    OP("0N");
    end_dict();
    bad_pickle("run-importlib", "its pickle names importlib.import_module (byte ");
    begin_dict();
    global("torch.hub", "load");
    OP("0N");
    end_dict();
    bad_pickle("run-hub", "its pickle names torch.hub.load (byte ");

    /* classes of anybody's, whatever they would do, are names */
    begin_dict();
    global("evil", "Thing");
    OP(")\x81}");
    name_("command");
    name_(COMMAND);
    OP("sb");
    end_dict();
    bad_pickle("opaque-setstate", HARMLESS);
    for (int inside = 0; inside < 2; inside++) {
        begin_dict();
        OP("]");
        pk.count -= !inside;
        global("builtins", "getattr");
        OP("(");
        global("evil", "Thing");
        name_("run");
        OP("tR(");
        name_(COMMAND);
        OP("tRa");
        pk.count -= !inside;
        end_dict();
        bad_pickle(inside ? "opaque-getattr" : "getattr", inside ? HARMLESS : "'x' is made by an object");
    }
    begin_dict();
    OP("(ievil\nThing\n}b");
    end_dict();
    bad_pickle("opaque-inst", HARMLESS);
    begin_dict();
    OP("(");
    global("evil", "Thing");
    OP("K\1K\2o");
    end_dict();
    bad_pickle("opaque-obj", HARMLESS);
    begin_dict();
    global("evil", "Thing");
    OP(")}\x92(K\1K\2u(K\3e");
    end_dict();
    bad_pickle("opaque-newobj-ex", HARMLESS);
    begin_dict();
    OP("(K\1)\x82\1");
    end_dict();
    bad_pickle("opcode-ext1", "the opcode EXT1 (byte ");
    begin_dict();
    OP("\x83\1\1");
    end_dict();
    bad_pickle("opcode-ext2", "the opcode EXT2 (byte ");
    begin_dict();
    OP("\x84\1\1\1\1");
    end_dict();
    bad_pickle("opcode-ext4", "the opcode EXT4 (byte ");
    begin_dict();
    OP("P0\n");
    end_dict();
    bad_pickle("opcode-persid", "the opcode PERSID (byte ");
    begin_dict();
    OP("\x97");
    end_dict();
    bad_pickle("opcode-next-buffer", "the opcode NEXT_BUFFER (byte ");
    begin_dict();
    OP("\xff");
    end_dict();
    bad_pickle("opcode-unknown", "the unknown opcode 0xff (byte ");
    begin();
    OP("\x80\6}.");
    bad_pickle("protocol-6", "its protocol is unknown");
}

/* ---- the machine ---- */

static void bad_op(const char *name, const char *op, size_t n, const char *phrase)
{
    begin_dict();
    put(&pk, op, n);
    end_dict();
    bad_pickle(name, phrase);
}

#define BAD_OP(name, op, phrase) bad_op(name, op, sizeof op - 1, phrase)

static void make_machines(void)
{
    BAD_OP("memo-unset", "h\7", "recalls a value that it did not remember");
    BAD_OP("memo-unset-long", "j\0\0\0\1", "recalls a value that it did not remember");
    BAD_OP("memo-unset-huge", "j\xff\xff\xff\xff", "recalls a value that it did not remember");
    BAD_OP("memo-unset-line", "g99999999999999999999\n", "an impossible number");
    BAD_OP("memo-put-huge", "Nr\xff\xff\xff\xff", "an impossible number");
    BAD_OP("memo-put-negative", "Np-1\n", "an impossible number");
    BAD_OP("memo-put-text", "Npx\n", "an impossible number");
    BAD_OP("memo-put-large", "Nr\xff\xff\x3f\0", HARMLESS);
    BAD_OP("memo-overwritten", "Nq\0K\1q\0h\0", HARMLESS);
    BAD_OP("memo-put-nothing", "0000000000q\0", "takes from an empty stack");
    BAD_OP("length-binunicode", "X\xff\xff\xff\xff", "ends in the middle of a value");
    BAD_OP("length-binunicode8", "\x8d\xff\xff\xff\xff\xff\xff\xff\x7f", "ends in the middle of a value");
    BAD_OP("length-binunicode8-all", "\x8d\xff\xff\xff\xff\xff\xff\xff\xff", "ends in the middle of a value");
    BAD_OP("length-short-text", "\x8c\xff", "ends in the middle of a value");
    BAD_OP("length-short-string", "U\xff", "ends in the middle of a value");
    BAD_OP("length-string-negative", "T\xff\xff\xff\xff", "ends in the middle of a value");
    BAD_OP("length-bytes", "B\xff\xff\xff\x7f", "ends in the middle of a value");
    BAD_OP("length-bytes8", "\x8e\0\0\0\0\1\0\0\0", "ends in the middle of a value");
    BAD_OP("length-bytearray", "\x96\0\0\0\0\1\0\0\0", "ends in the middle of a value");
    BAD_OP("length-long1", "\x8a\xff", "ends in the middle of a value");
    BAD_OP("length-long4", "\x8b\xff\xff\xff\xff", "ends in the middle of a value");
    BAD_OP("length-frame", "\x95\0\0\0\0\0\0\0\1", "a frame ends beyond the file");
    BAD_OP("line-without-end", "cos", "a line does not end");
    BAD_OP("number-malformed", "I1x\n", "a number is malformed");
    BAD_OP("number-huge", "L99999999999999999999999999999999L\n", "a number is malformed or too large");
    BAD_OP("string-unquoted", "Sabc\n", "a string has no quotes");
    begin();
    OP("Nt.");
    bad_pickle("mark-unset", "a mark that was not set");
    BAD_OP("pop-too-much", "0000000000", "takes from an empty stack");
    BAD_OP("append-to-number", "K\1Na", "adds items to what is no container");
    BAD_OP("setitem-to-list", "]NNs", "adds items to what is no container");
    BAD_OP("additems-to-list", "](N\x90", "adds items to what is no container");
    BAD_OP("setitems-odd", "}(Nu", "adds to nothing");
    BAD_OP("dict-odd", "(Nd", "a key without a value");
    BAD_OP("reduce-number", "NK\1R", "the arguments of a call are no tuple");
    BAD_OP("build-number", "K\1}b", "gives a state to what is no object");
    BAD_OP("obj-nothing", "(o", "it calls nothing");
    BAD_OP("stack-global-number", "K\1K\2\x93", "a global's name is not text");
    BAD_OP("call-a-number", "K\1)R", "'x' is made by an object");

    begin_dict();
    for (int i = 0; i < 5000; i++)
        OP("(");
    end_dict();
    bad_pickle("deep-marks", "nested too deep");
    begin_dict();
    for (int i = 0; i < 1100000; i++)
        OP("]");
    end_dict();
    bad_pickle("deep-lists", "its stack grows without end");
    begin_dict();
    OP(")");
    for (int i = 0; i < 1000000; i++)
        OP("\x85");
    end_dict();
    bad_pickle("deep-tuples", HARMLESS);
    begin_dict();
    for (int i = 0; i < 4200000; i++)
        OP(")0");
    end_dict();
    bad_pickle("many-values", "more than 4194304 values");
    begin_dict();
    OP("N");
    pk.count--;
    bad_pickle("ends-without-stop", "its pickle does not end");
    begin();
    OP("NN.");
    bad_pickle("two-roots", "too much or nothing on its stack");
    begin();
    OP(".");
    bad_pickle("no-root", "too much or nothing on its stack");
    begin();
    OP("(N.");
    bad_pickle("open-mark", "too much or nothing on its stack");

    /* what contains itself */
    begin();
    OP("]q\0h\0a.");
    bad_pickle("list-in-itself", "holds a list, not a state dict");
    begin();
    OP("}q\0(");
    name_("model");
    OP("h\0u.");
    bad_pickle("dict-in-itself", "holds no tensors");
    begin();
    OP("}q\0(");
    name_("model");
    OP("h\0");
    name_("w");
    tensor_2x3();
    OP("u.");
    bad_pickle("dict-of-tensors-in-itself", HARMLESS);
    begin();
    global("collections", "OrderedDict");
    OP("]q\0(h\0h\0e\x85R.");
    bad_pickle("pairs-in-themselves", "holds no tensors");
    begin();
    OP("}(");
    name_("w");
    global("torch._utils", "_rebuild_parameter");
    OP("(]q\0h\0atRu.");
    bad_pickle("parameter-of-list", "a parameter holds no tensor");
    begin();
    OP("}(");
    name_("w");
    for (int i = 0; i < 20; i++) {
        global("torch._utils", "_rebuild_parameter");
        OP("(");
    }
    tensor_2x3();
    for (int i = 0; i < 20; i++)
        OP("tR");
    OP("u.");
    bad_pickle("parameter-of-parameters", "is made by torch._utils._rebuild_parameter");

    /* dictionaries of one list of pairs, many times: a square of work */
    begin();
    OP("](");
    for (int i = 0; i < 30000; i++)
        OP("NN\x86");
    OP("e\x85q\1");
    global("collections", "OrderedDict");
    OP("q\00000}(");
    for (int i = 0; i < 30000; i++) {
        OP("X\4\0\0\0");
        put_u(&pk, (uint64_t)(0x30303030 + i), 4);
        OP("h\0h\1R");
    }
    OP("u.");
    bad_pickle("dictionaries-squared", "its dictionaries share their items again and again");
}

/* ---- tensors ---- */

static void bad_view(const char *name, int64_t count, int64_t first, int rank, const int64_t *sizes, const int64_t *strides, const char *phrase)
{
    begin_tensor();
    storage("FloatStorage", "0", count);
    view(first, rank, sizes, strides);
    end_dict();
    bad_pickle(name, phrase);
}

#define N(...) ((int64_t[]){ __VA_ARGS__ })

static void bad_id(const char *name, const char *op, size_t n, const char *phrase)
{
    begin_tensor();
    put(&pk, op, n);
    view(0, 1, N(6), N(1));
    end_dict();
    bad_pickle(name, phrase);
}

#define BAD_ID(name, op, phrase) bad_id(name, op, sizeof op - 1, phrase)

static void make_tensors(void)
{
    const int64_t large = (int64_t)1 << 62;
    bad_view("stride-negative", 6, 5, 1, N(6), N(-1), "not all whole numbers");
    bad_view("size-negative", 6, 0, 1, N(-6), N(1), "not all whole numbers");
    bad_view("stride-overflow", 6, 0, 2, N(2, 3), N(large, large), "ends beyond its storage");
    bad_view("stride-wraps", 6, 1, 2, N(3, 2), N(INT64_MAX, large), "not sound");
    bad_view("stride-too-far", 6, 0, 2, N(2, 3), N(4, 1), "ends beyond its storage");
    bad_view("stride-repeats", 6, 0, 2, N(7, 1), N(0, 0), "more elements than its storage");
    bad_view("size-overflow", 6, 0, 3, N(1 << 30, 1 << 30, 1 << 30), N(1, 1, 1), "its size is impossible");
    bad_view("size-large", 6, 0, 2, N(1 << 30, 1 << 30), N(0, 0), "more elements than its storage");
    bad_view("offset-beyond", 6, 7, 1, N(1), N(1), "begins beyond its storage");
    bad_view("offset-of-nothing", 6, 7, 1, N(0), N(1), HARMLESS);
    bad_view("offset-last", 6, 6, 1, N(1), N(1), "ends beyond its storage");
    bad_view("offset-negative", 6, -1, 1, N(1), N(1), "its offset is not a whole number");
    bad_view("offset-huge", 6, INT64_MAX, 1, N(1), N(1), "begins beyond its storage");
    bad_view("tensor-rank-9", 6, 0, 9, N(1, 1, 1, 1, 1, 1, 1, 1, 1), N(1, 1, 1, 1, 1, 1, 1, 1, 1), "9 dimensions, more than 8");
    bad_view("storage-too-small", 7, 0, 1, N(7), N(1), "needs 28 bytes of 'a/data/0', which has 24");
    bad_view("storage-huge", (int64_t)1 << 62, 0, 1, N(7), N(1), "has an impossible size");
    bad_view("storage-negative", -6, 0, 1, N(6), N(1), "its storage is malformed");
    bad_view("view-empty", 6, 6, 2, N(0, 5), N(1, large), HARMLESS);
    BAD_ID("id-number", "K\1Q", "its storage is none");
    BAD_ID("id-text", "U\1xQ", "its storage is none");
    BAD_ID("id-not-persistent", "N", "its storage is none");
    BAD_ID("id-short", "(U\7storagectorch\nFloatStorage\nU\0010U\3cput Q", "the unknown opcode 0x20");
    BAD_ID("id-four", "(U\7storagectorch\nFloatStorage\nU\0010U\3cputQ", "its storage is malformed");
    BAD_ID("id-module", "(U\6modulectorch\nFloatStorage\nU\0010U\3cpuK\6tQ", "its storage is none");
    BAD_ID("id-key-number", "(U\7storagectorch\nFloatStorage\nK\0U\3cpuK\6tQ", "its storage is malformed");
    BAD_ID("id-count-text", "(U\7storagectorch\nFloatStorage\nU\0010U\3cpuU\0016tQ", "its storage is malformed");
    BAD_ID("id-class-unknown", "(U\7storagectorch\nQInt8Storage\nU\0010U\3cpuK\6tQ", "its storage is of an unknown type");
    BAD_ID("id-class-text", "(U\7storageU\014FloatStorageU\0010U\3cpuK\6tQ", "its storage is of an unknown type");
    BAD_ID("id-class-untyped", "(U\7storagectorch.storage\nUntypedStorage\nU\0010U\3cpuK\6tQ", "its storage has no type");
    BAD_ID("id-key-missing", "(U\7storagectorch\nFloatStorage\nU\0019U\3cpuK\6tQ", "is in 'a/data/9' of the archive, which is not there");
    BAD_ID("id-key-upwards", "(U\7storagectorch\nFloatStorage\nU\013../data.pklU\3cpuK\6tQ", "which is not there");
    BAD_ID("id-key-newline", "(U\7storagectorch\nFloatStorage\nU\1\nU\3cpuK\6tQ", "the name of its storage is malformed");
    BAD_ID("id-key-empty", "(U\7storagectorch\nFloatStorage\nU\0U\3cpuK\6tQ", "the name of its storage is malformed");

    static const char *const makers[][2] = { { "torch._utils", "_rebuild_qtensor" }, { "torch._utils", "_rebuild_sparse_tensor" },
                                             { "torch", "anything" }, { "numpy.core.multiarray", "_reconstruct" } };
    for (int i = 0; i < 4; i++) {
        char name[64], phrase[96];
        begin_dict();
        global(makers[i][0], makers[i][1]);
        OP(")R");
        end_dict();
        snprintf(name, sizeof name, "made-by-%s", makers[i][1]);
        snprintf(phrase, sizeof phrase, "'x' is made by %s.%s (byte ", makers[i][0], makers[i][1]);
        bad_pickle(name, phrase);
    }
    begin_dict();
    global("torch._tensor", "_rebuild_from_type_v2");
    OP("(");
    global("torch._utils", "_rebuild_tensor_v2");
    global("evil", "Subclass");
    OP(")Nt");
    OP("R");
    end_dict();
    bad_pickle("tensor-subclass", "is of the class evil.Subclass");
    begin_dict();
    global("torch._tensor", "_rebuild_from_type_v2");
    OP("(");
    global("evil", "rebuild");
    global("torch", "Tensor");
    OP(")NtR");
    end_dict();
    bad_pickle("tensor-made-by-evil", "is made by evil.rebuild");
    begin_dict();
    global("torch._utils", "_rebuild_tensor_v2");
    OP(")R");
    end_dict();
    bad_pickle("tensor-without-arguments", "its storage is none");
    begin_dict();
    global("torch._utils", "_rebuild_tensor_v3");
    OP("(");
    storage("FloatStorage", "0", 6);
    number(0);
    number(6);
    OP("\x85");
    number(1);
    OP("\x85\x89N");
    global("torch", "float32");
    OP("tR");
    end_dict();
    bad_pickle("tensor-two-types", "it has two types");
    begin_tensor();
    storage("FloatStorage", "0", 6);
    OP("K\0K\6K\1\x89NtR");
    end_dict();
    bad_pickle("shape-a-number", "its shape and its strides are malformed");
    begin_tensor();
    storage("FloatStorage", "0", 6);
    OP("K\0(G?\xf0\0\0\0\0\0\0tK\1\x85\x89NtR");
    end_dict();
    bad_pickle("shape-a-float", "not all whole numbers");
    begin_tensor();
    storage("FloatStorage", "0", 6);
    OP("K\0K\6\x85)\x89NtR");
    end_dict();
    bad_pickle("strides-missing", "its shape and its strides are malformed");
    begin_dict();
    pk.count -= 6;
    name_("w");
    tensor_2x3();
    end_dict();
    bad_pickle("key-twice", "holds two tensors named 'w'");
    begin();
    OP("}(K\1");
    tensor_2x3();
    name_("w");
    tensor_2x3();
    end_dict();
    bad_pickle("key-number", "a tensor has a number for a name");
    begin();
    OP("}(");
    name_("w\n");
    tensor_2x3();
    end_dict();
    bad_pickle("key-newline", "not printable ASCII");
    begin();
    tensor_2x3();
    OP(".");
    bad_pickle("root-tensor", "holds a single tensor");
    begin();
    OP("N.");
    bad_pickle("root-none", "holds None, not a state dict");
    begin();
    number(0x7F7F7F7F7F7F7F7F);
    OP(".");
    bad_pickle("root-number", "holds a number, not a state dict");
    begin();
    OP("G\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f.");
    bad_pickle("root-float", "holds a number, not a state dict");
    begin();
    name_("teacher");
    OP(".");
    bad_pickle("root-text", "holds text, not a state dict");
    begin();
    global("evil", "teacher");
    OP(".");
    bad_pickle("root-global", "holds evil.teacher, not a state dict");
    begin();
    storage("FloatStorage", "0", 6);
    OP(".");
    bad_pickle("root-storage", "not a state dict");
    begin();
    OP("(");
    name_("teacher");
    tensor_2x3();
    OP("t.");
    bad_pickle("root-tuple", "holds a tuple, not a state dict");
    begin();
    global("evil", "Model");
    OP(")\x81}(");
    name_("_modules");
    OP("}ub.");
    bad_pickle("root-module", "holds a whole module, evil.Model");
}

/* ---- archives ---- */

static zip_item *good_zip(void)
{
    begin_dict();
    OP("N");
    end_dict();
    torch_entries();
    return &entries[1];
}

static void make_archives(void)
{
    zip_item *e;
    good_zip();
    bad_zip("zip-good", HARMLESS);
    good_zip();
    zip_tail.zip64 = 1;
    bad_zip("zip64-good", HARMLESS);
    good_zip();
    zip_tail.comment = "a comment, which is allowed";
    bad_zip("zip-comment", HARMLESS);
    good_zip();
    zip_tail.trail = "x";
    bad_zip("zip-trailing-byte", "without a directory at its end");
    good_zip();
    zip_tail.count = 2;
    bad_zip("zip-count-low", "bytes more than its entries");
    good_zip();
    zip_tail.count = 4;
    bad_zip("zip-count-high", "does not lie before its end record");
    good_zip();
    zip_tail.count = 60000;
    bad_zip("zip-count-huge", "does not lie before its end record");
    good_zip();
    zip_tail.at = 0x7FFFFFFF;
    bad_zip("zip-directory-beyond", "does not lie before its end record");
    good_zip();
    zip_tail.bytes = 10;
    bad_zip("zip-directory-short", "does not lie before its end record");
    good_zip();
    zip_tail.disk = 1;
    bad_zip("zip-disks", "in several parts");
    good_zip();
    zip_tail.zip64 = 1;
    zip_tail.zip64_lie = 1;
    bad_zip("zip64-contradicts", "two directories contradict");
    good_zip();
    zip_tail.zip64 = 2;
    bad_zip("zip64-beyond", "its zip64 record is not at byte 9223372036854775808");
    good_zip()->flags = 1;
    bad_zip("zip-encrypted", "entry 'a/data/0' of the zip archive is encrypted");
    good_zip()->method = 99;
    bad_zip("zip-method", "compressed with method 99");
    good_zip()->method = 8;
    entries[1].local_method = 8;
    bad_zip("zip-deflated-storage", "is compressed, as torch.save does not");
    good_zip()->central_bytes = 23;
    bad_zip("zip-two-sizes", "stored with two different sizes");
    good_zip()->at = 0x7FFFFFFF;
    bad_zip("zip-local-beyond", "does not begin at byte 2147483647");
    good_zip()->at = 1;
    bad_zip("zip-local-elsewhere", "does not begin at byte 1");
    good_zip();
    strcpy(entries[1].signature, "PK\3\5");
    bad_zip("zip-local-signature", "does not begin at byte");
    good_zip();
    strcpy(entries[1].local_name, "a/data/1");
    bad_zip("zip-local-name", "contradicts its directory");
    good_zip();
    strcpy(entries[1].local_name, "a/data/00");
    bad_zip("zip-local-name-longer", "contradicts its directory");
    good_zip()->local_bytes = 20;
    bad_zip("zip-local-size", "contradicts its directory");
    good_zip()->local_method = 8;
    bad_zip("zip-local-method", "contradicts its directory");
    e = good_zip();
    e->central_bytes = e->central_unpacked = e->local_bytes = 1 << 30;
    bad_zip("zip-entry-beyond", "ends beyond the file");
    e = good_zip();
    e->central_bytes = e->central_unpacked = e->local_bytes = 60;
    bad_zip("zip-overlap-next", "entries of the zip archive overlap");
    good_zip();
    entry("a/data/0", "", 0)->skip_local = 1;
    entries[3] = entries[1];
    memset(&entries[3].data, 0, sizeof entries[3].data);
    entries[3].skip_local = 1;
    entries[3].at = 30 + 10 + entries[0].data.count;
    bad_zip("zip-overlap-same", "entries of the zip archive overlap");
    good_zip();
    entry("a/data/0", "second", 6);
    bad_zip("zip-name-twice", "is in the zip archive twice");
    good_zip();
    entry("b/data.pkl", "N.", 2);
    bad_zip("zip-two-pickles", "several data.pkl");
    good_zip();
    entry("a/code/__torch__.py", "x", 1);
    bad_zip("zip-torchscript-code", "this is TorchScript");
    good_zip();
    entry("a/constants.pkl", "N.", 2);
    bad_zip("zip-torchscript", "this is TorchScript");
    good_zip();
    entry("a/byteorder", "middle", 6);
    bad_zip("zip-byteorder", "its byte order, 'middle', is unknown");
    good_zip();
    entry("a/byteorder", "big", 3);
    bad_zip("zip-big-endian", HARMLESS);
    good_zip();
    strcpy(entries[0].name, "a\n/data.pkl");
    strcpy(entries[0].local_name, "a\n/data.pkl");
    bad_zip("zip-folder-newline", "whose folder has an impossible name");
    good_zip();
    entry_count = 0;
    entry("readme", "hello", 5);
    bad_zip("zip-of-something", "neither PyTorch's (no data.pkl) nor NumPy's (no .npy)");
    file.count = 0;
    for (int i = 0; i < 600; i++)
        put(&file, "", 1);
    memcpy(file.data + 257, "ustar", 5);
    file.data[0] = 's';
    bad_file("tar", "a tar archive");
    bad_bytes("old-ggml", "lmgg\0\3\0\0\0\14\0\0", 12, "a file of ggml from before GGUF");
    bad_bytes("gzip", "\x1f\x8b\x08\0\0\1\2\3\4\5\6\7", 12, "compressed with gzip");
}

/* ---- the stream ---- */

static void preamble(int protocol, const char *facts, size_t n)
{
    file.count = 0;
    put(&file, "\x80\2\x8a\nl\xfc\x9c\x46\xf9 j\xa8P\x19.\x80\2M", 18);
    put_u(&file, (uint64_t)protocol, 2);
    put(&file, ".\x80\2", 3);
    put(&file, facts, n);
    put_text(&file, ".");
}

#define LITTLE "}U\15little_endian\x88s"

/* A stream around the dictionary of one tensor: the keys' pickle, then the storages. */
static void bad_stream(const char *name, const char *keys, size_t n, uint64_t count, size_t numbers, const char *phrase)
{
    preamble(1001, LITTLE, sizeof LITTLE - 1);
    begin_dict();
    OP("N");
    end_dict();
    put(&file, pk.data, pk.count);
    put(&file, keys, n);
    put_u(&file, count, 8);
    while (numbers--)
        put_u(&file, 0x3F800000, 4);
    bad_file(name, phrase);
}

#define BAD_STREAM(name, keys, count, numbers, phrase) bad_stream(name, keys, sizeof keys - 1, count, numbers, phrase)

static void make_streams(void)
{
    BAD_STREAM("stream-good", "\x80\2]U\0010a.", 6, 6, HARMLESS);
    BAD_STREAM("stream-count", "\x80\2]U\0010a.", 7, 7, "a storage of 6 numbers should be at byte");
    BAD_STREAM("stream-count-huge", "\x80\2]U\0010a.", UINT64_MAX, 6, "a storage of 6 numbers should be at byte");
    BAD_STREAM("stream-short", "\x80\2]U\0010a.", 6, 5, "truncated or damaged");
    BAD_STREAM("stream-key-unknown", "\x80\2]U\0011a.", 6, 6, "names one that no tensor has");
    BAD_STREAM("stream-key-twice", "\x80\2](U\0010U\0010e.", 6, 60, "or one twice");
    BAD_STREAM("stream-key-number", "\x80\2]K\0a.", 6, 6, "names one that no tensor has");
    BAD_STREAM("stream-key-missing", "\x80\2].", 6, 6, "its storage is not in the file");
    BAD_STREAM("stream-keys-none", "\x80\2N.", 6, 6, "the list of storages is missing");
    BAD_STREAM("stream-keys-program", "\x80\2cos\nsystem\n(U\016" COMMAND "tR.", 6, 6, "its pickle names os.system");
    preamble(1002, LITTLE, sizeof LITTLE - 1);
    bad_file("stream-protocol", "of a protocol that is unknown");
    preamble(1001, "}", 1);
    bad_file("stream-no-order", "does not say its byte order");
    preamble(1001, "cos\nsystem\n(U\016" COMMAND "tR", 32);
    bad_file("stream-facts-program", "its pickle names os.system");
    preamble(1001, LITTLE, sizeof LITTLE - 1);
    bad_file("stream-no-object", "its pickle does not end");
    bad_bytes("stream-other-magic", "\x80\2\x8a\nl\xfc\x9c\x46\xf9 j\xa8P\x18.", 15, "not one that torch.save wrote");
    bad_bytes("stream-program", "\x80\2cos\nsystem\n(U\016" COMMAND "tR.", 34, "its pickle names os.system");
    begin();
    OP("}(");
    name_("w");
    global("torch._utils", "_rebuild_tensor_v2");
    OP("((");
    name_("storage");
    global("torch", "FloatStorage");
    OP("U\0010U\3cpuK\6(U\1vK\4K\3ttQ");
    view(0, 1, N(3), N(1));
    end_dict();
    preamble(1001, LITTLE, sizeof LITTLE - 1);
    put(&file, pk.data, pk.count);
    put(&file, "\x80\2]U\0010a.\6\0\0\0\0\0\0\0", 16);
    for (int i = 0; i < 6; i++)
        put_u(&file, 0, 4);
    bad_file("stream-view-beyond", "its view of a storage is malformed");
}

/* ---- arrays ---- */

/* An array's header of this text, padded to `header` bytes in all, and data. */
static void npy(bytes *b, int version, const char *text, size_t numbers)
{
    b->count = 0;
    put(b, "\x93NUMPY", 6);
    put_u(b, (uint64_t)version, 1);
    put_u(b, 0, 1);
    put_u(b, strlen(text), version == 1 ? 2 : 4);
    put_text(b, text);
    for (size_t i = 0; i < numbers; i++)
        put_u(b, 0x3F800000, 4);
}

static void bad_npy(const char *name, int version, const char *text, size_t numbers, const char *phrase)
{
    static bytes array;
    npy(&array, version, text, numbers);
    entry_count = 0;
    memset(&zip_tail, 0, sizeof zip_tail);
    zip_tail.count = zip_tail.bytes = zip_tail.at = -1;
    entry("w.npy", array.data, array.count);
    bad_zip(name, phrase);
}

/* The array w of two numbers, deflated so; `unpacked` bytes are promised. */
static void bad_deflate(const char *name, const char *data, size_t n, uint64_t unpacked, const char *phrase)
{
    entry_count = 0;
    memset(&zip_tail, 0, sizeof zip_tail);
    zip_tail.count = zip_tail.bytes = zip_tail.at = -1;
    zip_item *e = entry("w.npy", data, n);
    e->method = e->local_method = 8;
    e->central_unpacked = unpacked;
    bad_zip(name, phrase);
}

static void make_arrays(void)
{
    static const char head[] = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n";
    static bytes array, packed;
    bad_npy("npz-good", 1, head, 2, HARMLESS);
    bad_npy("npz-version-2", 2, head, 2, HARMLESS);
    bad_npy("npz-version-9", 9, head, 2, "does not begin as NumPy's arrays do");
    bad_npy("npz-short", 1, head, 1, "has 4 bytes, which does not fit its shape and type");
    bad_npy("npz-long", 1, head, 3, "has 12 bytes, which does not fit");
    bad_npy("npz-no-order", 1, "{'descr': '<f4', 'shape': (2,), }", 2, "a header that cannot be read");
    bad_npy("npz-twice", 1, "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", 2, "a header that cannot be read");
    bad_npy("npz-unknown-key", 1, "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'x': 1}", 2, "a header that cannot be read");
    bad_npy("npz-call", 1, "{'descr': __import__('os').system('" COMMAND "'), 'fortran_order': False, 'shape': (2,), }", 2,
            "a header that cannot be read");
    bad_npy("npz-shape-negative", 1, "{'descr': '<f4', 'fortran_order': False, 'shape': (-2,), }", 2, "a header that cannot be read");
    bad_npy("npz-shape-huge", 1, "{'descr': '<f4', 'fortran_order': False, 'shape': (18446744073709551616,), }", 2, "a header that cannot be read");
    bad_npy("npz-shape-overflow", 1, "{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296, 2), }", 2,
            "a header that cannot be read");
    bad_npy("npz-shape-wraps", 1, "{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387906,), }", 2, "does not fit its shape");
    bad_npy("npz-rank-9", 1, "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1, 1, 1, 1, 1, 1, 1, 2), }", 2, "a header that cannot be read");
    bad_npy("npz-objects", 1, "{'descr': '|O', 'fortran_order': False, 'shape': (2,), }", 2, "holds no tensors");
    bad_npy("npz-records", 1, "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }", 2, "holds no tensors");
    npy(&array, 1, head, 2);
    array.data[8] = 0xFF;
    array.data[9] = 0xFF;
    entry_count = 0;
    entry("w.npy", array.data, array.count);
    bad_zip("npz-header-beyond", "does not begin as NumPy's arrays do");
    array.data[8] = (uint8_t)strlen(head);
    array.data[9] = 0;
    entry_count = 0;
    entry("w.npy", array.data, array.count);
    entry("notes.txt", "x", 1);
    bad_zip("npz-stranger", "entry 'notes.txt' of the archive is no array");
    entry_count = 0;
    entry("w.npy", "\x93NUM", 4);
    bad_zip("npz-tiny", "array 'w' is too short");

    packed.count = 0;                                            /* one stored block */
    put_u(&packed, 1, 1);
    put_u(&packed, array.count, 2);
    put_u(&packed, array.count ^ 0xFFFF, 2);
    put(&packed, array.data, array.count);
    bad_deflate("deflate-crc", (const char *)packed.data, packed.count, array.count, "cannot be unpacked");
    packed.data[3] ^= 1;
    bad_deflate("deflate-stored-length", (const char *)packed.data, packed.count, array.count, "cannot be unpacked");
    bad_deflate("deflate-short", (const char *)packed.data, 20, array.count, "cannot be unpacked");
    bad_deflate("deflate-type-3", "\7\0\0\0\0\0\0\0", 8, array.count, "cannot be unpacked");
    bad_deflate("deflate-empty", "", 0, array.count, "cannot be unpacked");
    bad_deflate("deflate-far", "\x03\x02\0\0\0\0", 6, array.count, "cannot be unpacked");
    bad_deflate("deflate-codes", "\x05\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 16, array.count, "cannot be unpacked");
    bad_deflate("deflate-bomb", (const char *)packed.data, packed.count, 300000000, "would unpack to more than 64 times its size");
}

/* ---- GGUF ---- */

static void gguf_string(const char *text)
{
    put_u(&file, strlen(text), 8);
    put_text(&file, text);
}

static void gguf(uint32_t version, uint64_t tensors, uint64_t pairs)
{
    file.count = 0;
    put_text(&file, "GGUF");
    put_u(&file, version, 4);
    put_u(&file, tensors, 8);
    put_u(&file, pairs, 8);
}

static void gguf_info(const char *name, uint32_t rank, uint64_t first, uint64_t second, uint32_t type, uint64_t at)
{
    gguf_string(name);
    put_u(&file, rank, 4);
    for (uint32_t i = 0; i < rank && i < 6; i++)
        put_u(&file, i == 0 ? first : i == 1 ? second : 1, 8);
    put_u(&file, type, 4);
    put_u(&file, at, 8);
}

static void gguf_data(size_t numbers)
{
    while (file.count % 32)
        put_u(&file, 0, 1);
    while (numbers--)
        put_u(&file, 0x3F800000, 4);
}

static void bad_info(const char *name, uint32_t rank, uint64_t first, uint64_t second, uint32_t type, uint64_t at, const char *phrase)
{
    gguf(3, 1, 0);
    gguf_info("w", rank, first, second, type, at);
    gguf_data(64);
    bad_file(name, phrase);
}

static void bad_pair(const char *name, const char *key, uint32_t type, const char *value, size_t n, const char *phrase)
{
    gguf(3, 1, 1);
    gguf_string(key);
    put_u(&file, type, 4);
    put(&file, value, n);
    gguf_info("w", 1, 64, 1, 0, 0);
    gguf_data(64);
    bad_file(name, phrase);
}

static void make_ggufs(void)
{
    bad_info("gguf-good", 2, 8, 8, 0, 0, HARMLESS);
    bad_info("gguf-type-unknown", 1, 8, 1, 99, 0, "is of the type ? (99)");
    bad_info("gguf-type-k", 1, 8, 1, 12, 0, "is of the type Q4_K (12)");
    bad_info("gguf-rank-5", 5, 8, 8, 0, 0, "has 5 dimensions, more than 4");
    bad_info("gguf-rank-huge", 0xFFFFFFFF, 8, 8, 0, 0, "has 4294967295 dimensions");
    bad_info("gguf-overflow", 3, (uint64_t)1 << 40, (uint64_t)1 << 40, 0, 0, "has an impossible size");
    bad_info("gguf-bits-overflow", 1, (uint64_t)1 << 62, 1, 0, 0, "has a size that its type cannot have");
    bad_info("gguf-half-block", 2, 16, 2, 8, 0, "has a size that its type cannot have");
    bad_info("gguf-beyond", 1, 65, 1, 0, 0, "ends at byte 260 of the data, which has 256");
    bad_info("gguf-offset", 1, 8, 1, 0, 1, "is not aligned");
    bad_info("gguf-offset-huge", 1, 8, 1, 0, UINT64_MAX - 63, "ends at byte");
    bad_info("gguf-offset-wraps", 1, 64, 1, 0, UINT64_MAX - 31, "has a size that its type cannot have");
    gguf(3, 2, 0);
    gguf_info("a", 1, 32, 1, 0, 0);
    gguf_info("b", 1, 32, 1, 0, 32);
    gguf_data(64);
    bad_file("gguf-overlap", "tensors 'a' and 'b' overlap");
    gguf(3, 2, 0);
    gguf_info("a", 1, 8, 1, 0, 0);
    gguf_info("a", 1, 8, 1, 0, 32);
    gguf_data(64);
    bad_file("gguf-name-twice", "holds two tensors named 'a'");
    gguf(3, 1, 0);
    gguf_info("a\n", 1, 8, 1, 0, 0);
    gguf_data(64);
    bad_file("gguf-name", "not printable ASCII");
    gguf(3, 1, 0);
    put_u(&file, UINT64_MAX, 8);
    gguf_data(64);
    bad_file("gguf-name-huge", "a string is longer than the file");
    gguf(3, 0, 0);
    bad_file("gguf-empty", "holds no tensors");
    gguf(1, 0, 0);
    bad_file("gguf-version-1", "GGUF of version 1; 2 and 3 are read");
    gguf(3 << 24, 0, 0);
    bad_file("gguf-big-endian", "it looks big-endian");
    gguf(3, UINT64_MAX, 0);
    bad_file("gguf-tensors-huge", "promises more tensors");
    gguf(3, 0, UINT64_MAX);
    bad_file("gguf-pairs-huge", "promises more tensors");
    bad_pair("gguf-pair-good", "a", 4, "\1\0\0\0", 4, HARMLESS);
    bad_pair("gguf-pair-type", "a", 13, "\1\0\0\0", 4, "its metadata is malformed");
    bad_pair("gguf-pair-no-key", "", 4, "\1\0\0\0", 4, "its metadata is malformed");
    bad_pair("gguf-pair-text-huge", "a", 8, "\xff\xff\xff\xff\xff\xff\xff\xff", 8, "a string is longer than the file");
    bad_pair("gguf-array-huge", "a", 9, "\4\0\0\0\xff\xff\xff\xff\xff\xff\xff\x3f", 12, "an array is longer than the file");
    bad_pair("gguf-array-texts", "a", 9, "\x8\0\0\0\xff\xff\xff\xff\xff\xff\xff\x3f", 12, "the file is truncated or damaged");
    bad_pair("gguf-array-nested", "a", 9, "\x9\0\0\0\1\0\0\0\0\0\0\0", 12, "an array is of an unknown type");
    bad_pair("gguf-array-numbers", "a", 9, "\6\0\0\0\3\0\0\0\0\0\0\0\0\0\xc0\x7f\0\0\x80\xff\xff\xff\x7f\x7f", 24, HARMLESS);
    bad_pair("gguf-array-none", "a", 9, "\6\0\0\0\0\0\0\0\0\0\0\0", 12, HARMLESS);
    bad_pair("gguf-array-longest", "a", 9, "\xb\0\0\0\2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x80\0\0\0\0\0\0\0\x80", 28, HARMLESS);
    bad_pair("gguf-array-of-17", "a", 9, "\7\0\0\0\x11\0\0\0\0\0\0\0\1\2\3\4\5\6\7\x8\x9\xa\xb\xc\xd\xe\xf\x10\x11", 29, HARMLESS);
    bad_pair("gguf-alignment-0", "general.alignment", 4, "\0\0\0\0", 4, "its alignment is not a power of two");
    bad_pair("gguf-alignment-3", "general.alignment", 4, "\3\0\0\0", 4, "its alignment is not a power of two");
    bad_pair("gguf-alignment-text", "general.alignment", 8, "\1\0\0\0\0\0\0\0x", 9, "its alignment is not a power of two");
    bad_pair("gguf-alignment-huge", "general.alignment", 4, "\0\0\0\x80", 4, "ends at byte 256 of the data, which has 0");
}

static void make_bad_pickles(void)
{
    make_programs();
    make_machines();
    make_tensors();
    make_archives();
    make_streams();
    make_arrays();
    make_ggufs();
}

#endif
