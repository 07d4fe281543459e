/* torch.c - what torch.save writes: a pickle of some dictionary, and the storages that its tensors are views of.
 *
 * Since PyTorch 1.6 a zip archive: NAME/data.pkl, NAME/data/KEY. Before: one stream of pickles (a magic number, the protocol,
 * facts about the machine, the object, the keys of its storages), then each storage after its length. */
#include "archive.h"
#include "pickle.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef struct storage {              /* of a stream */
    const char *key;
    uint32_t key_bytes, item_bytes;
    uint64_t count;                   /* elements */
    const uint8_t *data;
    int found;
} storage;

typedef struct torch_file {
    checkpoint *cp;
    shard *s;
    pickle p;                         /* the object */
    archive *zip;                     /* NULL: a stream */
    char folder[256];                 /* of the archive, with its slash */
    storage *storages;
    size_t storage_count;
    uint64_t looks;                   /* pairs of dictionaries looked at: what is shared must not be looked at for ever */
    int swapped;
} torch_file;

static uint64_t place(const torch_file *f, uint32_t v) { return f->p.from + f->p.values[v].at; }

static int whole(const pickle *p, uint32_t v, uint64_t *n)
{
    const value *x = pickle_value(p, v);
    *n = x->kind == VALUE_INT ? (uint64_t)x->as.number : 0;
    return x->kind == VALUE_INT && x->as.number >= 0;
}

/* ---- dictionaries ---- */

/* A walk over the pairs of a dictionary: those it was made from, as Python 2 does, then those it was given. */
typedef struct walk {
    uint32_t pair, item;
} walk;

static int is_call_of(const pickle *p, uint32_t v, const char *name)
{
    const value *x = pickle_value(p, v);
    return x->kind == VALUE_CALL && pickle_is_global(p, x->as.made.called, name);
}

static int is_dictionary(const pickle *p, uint32_t v)
{
    const value *x = pickle_value(p, v);
    if (x->kind == VALUE_DICT || is_call_of(p, v, "collections.OrderedDict") || is_call_of(p, v, "collections.defaultdict"))
        return 1;
    return x->kind == VALUE_CALL && x->as.made.first && p->items[x->as.made.first].key;
}

/* Of what is no dictionary: none. */
static walk pairs_of(const pickle *p, uint32_t v)
{
    const value *x = pickle_value(p, v);
    walk w = { 0, 0 };
    if (!is_dictionary(p, v))
        return w;
    w.item = x->as.made.first;
    uint32_t list = x->kind == VALUE_CALL ? pickle_item(p, x->as.made.arguments, 0) : 0;
    if (is_call_of(p, v, "collections.OrderedDict") && pickle_value(p, list)->kind == VALUE_LIST)
        w.pair = pickle_value(p, list)->as.made.first;
    return w;
}

static int is_tired(const torch_file *f) { return f->looks > 64 * (uint64_t)f->p.item_count + 65536; }

static int next_pair(torch_file *f, walk *w, uint32_t *key, uint32_t *v)
{
    const pickle *p = &f->p;
    f->looks++;
    if (is_tired(f))
        return 0;
    while (w->pair) {
        const item *at = &p->items[w->pair];
        w->pair = at->next;
        *key = pickle_item(p, at->value, 0);
        *v = pickle_item(p, at->value, 1);
        if (*key && *v)
            return 1;
    }
    while (w->item) {
        const item *at = &p->items[w->item];
        w->item = at->next;
        *key = at->key;
        *v = at->value;
        if (*key)
            return 1;
    }
    return 0;
}

/* The value under this key; 0: none. The last one counts, as in Python. */
static uint32_t find_key(torch_file *f, uint32_t dictionary, const char *name)
{
    uint32_t key, v, found = 0;
    for (walk w = pairs_of(&f->p, dictionary); next_pair(f, &w, &key, &v);)
        if (pickle_is(&f->p, key, name))
            found = v;
    return found;
}

/* ---- tensors ---- */

static const char rebuild[] = "torch._utils._rebuild_tensor", rebuild2[] = "torch._utils._rebuild_tensor_v2",
                  rebuild3[] = "torch._utils._rebuild_tensor_v3", parameter[] = "torch._utils._rebuild_parameter",
                  parameter_state[] = "torch._utils._rebuild_parameter_with_state",
                  from_type[] = "torch._tensor._rebuild_from_type_v2";

static int is_tensor(const pickle *p, uint32_t v)
{
    return is_call_of(p, v, rebuild2) || is_call_of(p, v, parameter) || is_call_of(p, v, rebuild3) || is_call_of(p, v, rebuild) ||
           is_call_of(p, v, parameter_state) || is_call_of(p, v, from_type);
}

/* What is not a tensor and made by PyTorch or NumPy may be one that this reader does not know. */
static int may_be_tensor(const pickle *p, uint32_t v)
{
    static const char *const harmless[] = { "torch.Size", "torch.device", "torch.dtype", "torch.Generator",
                                            "torch.storage._load_from_bytes",
                                            "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar", "numpy.dtype" };
    const value *x = pickle_value(p, v), *called = pickle_value(p, x->kind == VALUE_CALL ? x->as.made.called : 0);
    if (x->kind != VALUE_CALL || called->kind != VALUE_GLOBAL)
        return x->kind == VALUE_CALL || x->kind == VALUE_PERSISTENT;
    for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++)
        if (pickle_is_global(p, x->as.made.called, harmless[i]))
            return 0;
    const char *module = pickle_text(p, called->as.global.module);
    size_t n = called->as.global.module_bytes;
    return (n >= 5 && memcmp(module, "torch", 5) == 0 && (n == 5 || module[5] == '.')) ||
           (n >= 5 && memcmp(module, "numpy", 5) == 0 && (n == 5 || module[5] == '.'));
}

/* A tensor, though this reader may not know how to make it. */
static int is_any_tensor(const pickle *p, uint32_t v)
{
    static const char any[] = "_rebuild";
    const value *x = pickle_value(p, v), *called = pickle_value(p, x->kind == VALUE_CALL ? x->as.made.called : 0);
    return is_tensor(p, v) || (called->kind == VALUE_GLOBAL && may_be_tensor(p, v) &&
                               called->as.global.name_bytes >= sizeof any - 1 &&
                               memcmp(pickle_text(p, called->as.global.name), any, sizeof any - 1) == 0);
}

static int unsound(const torch_file *f, const tensor *t, uint32_t v, const char *what)
{
    return fail("%s: tensor '%s' is not sound: %s (byte %" PRIu64 ")", f->s->path, t->name, what, place(f, v));
}

/* torch.FloatStorage and the like, or torch.float32 and the like. 1 and the type; of UntypedStorage, that of bytes. */
static int type_of(const pickle *p, uint32_t v, int is_storage, uint32_t *dtype, int *untyped)
{
    static const char *const names[][3] = {
        { "float32", "Float", "F32" }, { "float16", "Half", "F16" }, { "bfloat16", "BFloat16", "BF16" },
        { "float64", "Double", "F64" },
        { "int64", "Long", "I64" }, { "int32", "Int", "I32" }, { "int16", "Short", "I16" }, { "int8", "Char", "I8" },
        { "uint8", "Byte", "U8" }, { "bool", "Bool", "BOOL" }, { "complex64", "ComplexFloat", "C64" },
        { "complex128", "ComplexDouble", "C128" }, { "uint16", NULL, "U16" }, { "uint32", NULL, "U32" },
        { "uint64", NULL, "U64" },
        { "float8_e5m2", NULL, "F8_E5M2" }, { "float8_e4m3fn", NULL, "F8_E4M3" }, { "float8_e5m2fnuz", NULL, "F8_E5M2FNUZ" },
        { "float8_e4m3fnuz", NULL, "F8_E4M3FNUZ" }, { "float8_e8m0fnu", NULL, "F8_E8M0" },
    };
    *untyped = is_storage && (pickle_is_global(p, v, "torch.storage.UntypedStorage") ||
                              pickle_is_global(p, v, "torch.UntypedStorage"));
    for (size_t i = 0; i < sizeof names / sizeof *names && !*untyped; i++) {
        char name[64], cuda[64];
        if (is_storage && !names[i][1])
            continue;
        snprintf(name, sizeof name, "torch.%s%s", names[i][is_storage], is_storage ? "Storage" : "");
        snprintf(cuda, sizeof cuda, "torch.cuda.%sStorage", is_storage ? names[i][1] : "");
        if (pickle_is_global(p, v, name) || (is_storage && pickle_is_global(p, v, cuda)))
            return dtype_named(names[i][2], dtype);
    }
    return *untyped && dtype_named("U8", dtype);
}

/* What a storage says of itself: ('storage', class, key, location, elements), in a stream with a view, or None, behind. */
typedef struct storage_id {
    uint32_t key, dtype, item_bytes, view;
    int untyped;
    uint64_t count;
} storage_id;

/* 0, or the reason. */
static const char *read_storage_id(const pickle *p, uint32_t v, storage_id *id)
{
    uint64_t bytes = 0;
    uint32_t of = pickle_value(p, v)->as.made.arguments;
    memset(id, 0, sizeof *id);
    if (pickle_value(p, v)->kind != VALUE_PERSISTENT || pickle_value(p, of)->kind != VALUE_TUPLE ||
        !pickle_is(p, pickle_item(p, of, 0), "storage"))
        return "its storage is none";
    id->key = pickle_item(p, of, 2);
    id->view = pickle_item(p, of, 5);
    if (pickle_value(p, of)->as.made.count < 5 || pickle_value(p, id->key)->kind != VALUE_TEXT ||
        !whole(p, pickle_item(p, of, 4), &id->count))
        return "its storage is malformed";
    if (!type_of(p, pickle_item(p, of, 1), 1, &id->dtype, &id->untyped))
        return "its storage is of an unknown type";
    if (!dtype_bytes(id->dtype, 1, &bytes))
        return "its storage is of an unknown type";
    id->item_bytes = (uint32_t)bytes;
    return NULL;
}

static int compare_storages(const void *a, const void *b)
{
    const storage *x = a, *y = b;
    int order = memcmp(x->key, y->key, x->key_bytes < y->key_bytes ? x->key_bytes : y->key_bytes);
    return order ? order : x->key_bytes < y->key_bytes ? -1 : x->key_bytes > y->key_bytes;
}

static storage *find_storage(const torch_file *f, const pickle *p, uint32_t key)
{
    const value *x = pickle_value(p, key);
    const storage wanted = { .key = pickle_text(p, x->as.text.at), .key_bytes = x->as.text.bytes };
    return f->storage_count ? bsearch(&wanted, f->storages, f->storage_count, sizeof wanted, compare_storages) : NULL;
}

static int is_compressed(const torch_file *f, const zip_entry *e)
{
    if (e->method == ZIP_STORED)
        return 0;
    return fail("%s: '%s' is compressed, as torch.save does not: load it in Python and torch.save it", f->s->path,
                shown(e->name, e->name_bytes));
}

/* Where the numbers of a storage lie, and how many there are. */
static int open_storage(const torch_file *f, const tensor *t, uint32_t v, storage_id *id, const uint8_t **data)
{
    const char *fault = read_storage_id(&f->p, v, id);
    uint64_t needed = 0, first = 0, count = 0;
    *data = NULL;
    if (fault)
        return unsound(f, t, v, fault);
    if (!dtype_bytes(id->dtype, id->count, &needed))
        return unsound(f, t, v, "its storage has an impossible size");
    const value *key = pickle_value(&f->p, id->key);
    const char *name = pickle_text(&f->p, key->as.text.at);
    if (!f->zip) {
        const storage *s = find_storage(f, &f->p, id->key);
        if (!s || !s->found)
            return unsound(f, t, v, "its storage is not in the file");
        *data = s->data;
        if (pickle_value(&f->p, id->view)->kind == VALUE_NONE)
            return 0;
        if (!whole(&f->p, pickle_item(&f->p, id->view, 1), &first) || !whole(&f->p, pickle_item(&f->p, id->view, 2), &count) ||
            first > id->count || count > id->count - first)
            return unsound(f, t, v, "its view of a storage is malformed");
        *data += first * id->item_bytes;
        id->count = count;
        return 0;
    }
    char path[400];
    if (!printable(name, key->as.text.bytes) || key->as.text.bytes > 100)
        return unsound(f, t, v, "the name of its storage is malformed");
    int bytes = snprintf(path, sizeof path, "%sdata/%.*s", f->folder, (int)key->as.text.bytes, name);
    const zip_entry *e = archive_find(f->zip, path, (size_t)bytes);
    if (!e)
        return fail("%s: tensor '%s' is in '%s' of the archive, which is not there", f->s->path, t->name, path);
    if (is_compressed(f, e))
        return 1;
    if (e->bytes < needed)
        return fail("%s: tensor '%s' needs %" PRIu64 " bytes of '%s', which has %" PRIu64, f->s->path, t->name, needed, path,
                    e->bytes);
    *data = e->data;
    return 0;
}

/* sizes or strides: a tuple, or a torch.Size of one. */
static uint32_t numbers_of(const pickle *p, uint32_t v)
{
    return is_call_of(p, v, "torch.Size") ? pickle_item(p, pickle_value(p, v)->as.made.arguments, 0) : v;
}

/* The call that makes the tensor itself, inside of a parameter and of a tensor with attributes. */
static int innermost(const torch_file *f, const tensor *t, uint32_t v, uint32_t *called, uint32_t *arguments)
{
    const pickle *p = &f->p;
    *called = pickle_value(p, v)->as.made.called;
    *arguments = pickle_value(p, v)->as.made.arguments;
    for (int depth = 0; depth < 8; depth++) {
        if (pickle_is_global(p, *called, parameter) || pickle_is_global(p, *called, parameter_state)) {
            uint32_t inner = pickle_item(p, *arguments, 0);
            if (pickle_value(p, inner)->kind != VALUE_CALL)
                return unsound(f, t, v, "a parameter holds no tensor");
            *called = pickle_value(p, inner)->as.made.called;
            *arguments = pickle_value(p, inner)->as.made.arguments;
        } else if (pickle_is_global(p, *called, from_type)) {
            uint32_t type = pickle_item(p, *arguments, 1);
            if (!pickle_is_global(p, type, "torch.Tensor") && !pickle_is_global(p, type, "torch.nn.parameter.Parameter") &&
                !pickle_is_global(p, type, "torch.nn.parameter.Buffer"))
                return fail("%s: tensor '%s' is of the class %s (byte %" PRIu64 "), which this reader does not know",
                            f->s->path, t->name, pickle_names(p, type), place(f, v));
            *called = pickle_item(p, *arguments, 0);
            *arguments = pickle_item(p, *arguments, 2);
        } else {
            break;
        }
    }
    if (pickle_is_global(p, *called, rebuild) || pickle_is_global(p, *called, rebuild2) || pickle_is_global(p, *called, rebuild3))
        return 0;
    return fail("%s: tensor '%s' is made by %s (byte %" PRIu64 "), which this reader does not know", f->s->path, t->name,
                pickle_names(p, *called), place(f, v));
}

/* Shape and strides, and that every element lies within `count` numbers of the storage. */
static int read_view(const torch_file *f, tensor *t, uint32_t v, uint64_t first, uint32_t sizes, uint32_t strides, uint64_t count)
{
    const pickle *p = &f->p;
    sizes = numbers_of(p, sizes);
    strides = numbers_of(p, strides);
    const value *x = pickle_value(p, sizes), *y = pickle_value(p, strides);
    if ((x->kind != VALUE_TUPLE && x->kind != VALUE_LIST) || (y->kind != VALUE_TUPLE && y->kind != VALUE_LIST) ||
        x->as.made.count != y->as.made.count)
        return unsound(f, t, v, "its shape and its strides are malformed");
    if (x->as.made.count > TENSOR_RANK)
        return fail("%s: tensor '%s' has %" PRIu32 " dimensions, more than %u", f->s->path, t->name, x->as.made.count,
                    TENSOR_RANK);
    uint32_t a = x->as.made.first, b = y->as.made.first;
    for (; a && b; a = p->items[a].next, b = p->items[b].next) {
        uint64_t size, stride;
        if (!whole(p, p->items[a].value, &size) || !whole(p, p->items[b].value, &stride))
            return unsound(f, t, v, "its shape and its strides are not all whole numbers");
        t->stride[t->rank] = stride;
        if (!tensor_append(t, size))
            return unsound(f, t, v, "its size is impossible");
    }
    if (t->count == 0)                                           /* it may begin anywhere */
        return 0;
    if (first > count || t->count > count)
        return unsound(f, t, v, t->count > count ? "it has more elements than its storage" : "it begins beyond its storage");
    uint64_t last = first, due = 1;
    for (uint32_t d = t->rank; d-- > 0;) {
        uint64_t steps = t->shape[d] - 1;
        if (steps && t->stride[d] > (UINT64_MAX - last) / steps)
            return unsound(f, t, v, "it ends beyond its storage");
        last += steps * t->stride[d];
        t->strided |= steps && t->stride[d] != due;
        due *= t->shape[d];
    }
    return last >= count ? unsound(f, t, v, "it ends beyond its storage") : 0;
}

static int read_tensor(const torch_file *f, tensor *t, uint32_t v)
{
    const pickle *p = &f->p;
    uint32_t called, arguments;
    uint64_t first, bytes = 0, begin = 0;
    storage_id id;
    if (innermost(f, t, v, &called, &arguments) || open_storage(f, t, pickle_item(p, arguments, 0), &id, &t->data))
        return 1;
    t->dtype = id.dtype;
    if (pickle_is_global(p, called, rebuild3)) {
        int untyped;
        if (!type_of(p, pickle_item(p, arguments, 6), 0, &t->dtype, &untyped))
            return fail("%s: tensor '%s' is of the type %s (byte %" PRIu64 "), which this reader does not know", f->s->path,
                        t->name, pickle_names(p, pickle_item(p, arguments, 6)), place(f, v));
        if (!id.untyped)
            return unsound(f, t, v, "it has two types");
        if (!dtype_bytes(t->dtype, 1, &bytes))
            return unsound(f, t, v, "its type has no whole bytes");
        id.count /= bytes;
        id.item_bytes = (uint32_t)bytes;
    } else if (id.untyped) {
        return unsound(f, t, v, "its storage has no type");
    }
    if (!whole(p, pickle_item(p, arguments, 1), &first))
        return unsound(f, t, v, "its offset is not a whole number");
    if (read_view(f, t, v, first, pickle_item(p, arguments, 2), pickle_item(p, arguments, 3), id.count))
        return 1;
    if (t->count && !dtype_bytes(t->dtype, first, &begin))       /* it is within the storage */
        return unsound(f, t, v, "its offset is impossible");
    t->data += begin;
    t->swapped = f->swapped && id.item_bytes > 1;
    return 0;
}

/* ---- the state dict ---- */

/* What is known of a dictionary is marked, so that one that is shared is looked at once. */
enum { HOLDS = 1, HOLDS_NOT = 2, LEADS = 4, LEADS_NOT = 8 };

/* Whether a dictionary holds tensors under names. */
static int holds_tensors(torch_file *f, uint32_t v)
{
    pickle *p = &f->p;
    uint32_t key, x;
    if (!(p->values[v].mark & (HOLDS | HOLDS_NOT))) {
        uint8_t found = HOLDS_NOT;
        if (is_dictionary(p, v))
            for (walk w = pairs_of(p, v); found != HOLDS && next_pair(f, &w, &key, &x);)
                if (p->values[key].kind == VALUE_TEXT && is_any_tensor(p, x))
                    found = HOLDS;
        p->values[v].mark |= found;
    }
    return (p->values[v].mark & HOLDS) != 0;
}

/* Whether it, or a dictionary in it, does. */
static int leads_to_tensors(torch_file *f, uint32_t v)
{
    pickle *p = &f->p;
    uint32_t key, x;
    if (!(p->values[v].mark & (LEADS | LEADS_NOT))) {
        uint8_t found = holds_tensors(f, v) ? LEADS : LEADS_NOT;
        if (is_dictionary(p, v))
            for (walk w = pairs_of(p, v); found != LEADS && next_pair(f, &w, &key, &x);)
                if (holds_tensors(f, x))
                    found = LEADS;
        p->values[v].mark |= found;
    }
    return (p->values[v].mark & LEADS) != 0;
}

/* In this order, as the authors and timm unwrap them: averaged weights first, a teacher before its student. */
static const char *const wrappers[] = {
    "state_dict_ema", "ema_state_dict", "model_ema", "model", "module", "state_dict", "model_state", "model_state_dict",
    "teacher", "student", "ema_encoder", "encoder of I-JEPA", "target_encoder", "encoder", "net", "backbone",
};

/* I-JEPA publishes its context encoder, V-JEPA and MSN their targets: one has predictors of images, the others of frames, or
 * prototypes. */
static int is_ijepa(torch_file *f, uint32_t v)
{
    static const char patch[] = "patch_embed.proj.weight";
    const pickle *p = &f->p;
    uint32_t key, x, encoder = find_key(f, v, "encoder");
    if (!encoder || !is_dictionary(p, encoder) || !find_key(f, v, "predictor") || !find_key(f, v, "target_encoder") ||
        find_key(f, v, "prototypes"))
        return 0;
    for (walk w = pairs_of(p, encoder); next_pair(f, &w, &key, &x);) {
        const value *name = pickle_value(p, key);
        uint32_t n = name->kind == VALUE_TEXT ? name->as.text.bytes : 0, m = sizeof patch - 1;
        if (n < m || memcmp(pickle_text(p, name->as.text.at) + n - m, patch, m) != 0 || !is_tensor(p, x))
            continue;
        uint32_t arguments = pickle_value(p, x)->as.made.arguments, inner = pickle_item(p, arguments, 0);
        if (is_call_of(p, x, parameter) && pickle_value(p, inner)->kind == VALUE_CALL)
            arguments = pickle_value(p, inner)->as.made.arguments;
        const value *sizes = pickle_value(p, numbers_of(p, pickle_item(p, arguments, 2)));
        return sizes->kind == VALUE_TUPLE && sizes->as.made.count == 4;
    }
    return 0;
}

static void append(char *into, size_t bytes, const char *text)
{
    size_t used = strlen(into);
    snprintf(into + used, bytes - used, "%s", text);
}

/* The names in a dictionary under which tensors can be found, other than `except`; how many. */
static size_t list_candidates(torch_file *f, uint32_t dictionary, uint32_t except, char *into, size_t bytes, uint32_t *only)
{
    uint32_t key, v;
    size_t count = 0;
    into[0] = 0;
    for (walk w = pairs_of(&f->p, dictionary); next_pair(f, &w, &key, &v);) {
        const value *name = pickle_value(&f->p, key);
        if (v == except || name->kind != VALUE_TEXT || !leads_to_tensors(f, v))
            continue;
        if (count < 8) {
            append(into, bytes, count ? ", '" : "'");
            append(into, bytes, shown(pickle_text(&f->p, name->as.text.at), name->as.text.bytes));
            append(into, bytes, "'");
        }
        count++;
        *only = key;
    }
    if (count > 8)
        append(into, bytes, ", ...");
    return count;
}

/* The next dictionary inwards; 0: there is none that a rule, or the user, names. *name: its key. */
static uint32_t inward(torch_file *f, uint32_t v, int *asked, const char **name)
{
    if (f->cp->wrapper && !*asked) {
        uint32_t x = find_key(f, v, f->cp->wrapper);
        if (leads_to_tensors(f, x)) {
            *asked = 1;
            *name = f->cp->wrapper;
            return x;
        }
    }
    for (size_t i = 0; i < sizeof wrappers / sizeof *wrappers; i++) {
        *name = wrappers[i];
        if (strcmp(*name, "encoder of I-JEPA") == 0) {
            if (!is_ijepa(f, v))
                continue;
            *name = "encoder";
        }
        uint32_t x = find_key(f, v, *name);
        if (leads_to_tensors(f, x))
            return x;
    }
    return 0;
}

static int no_state_dict(torch_file *f, uint32_t v)
{
    const pickle *p = &f->p;
    const value *x = pickle_value(p, v);
    if (is_tensor(p, v))
        return fail("%s: holds a single tensor, not a state dict", f->s->path);
    if (x->kind == VALUE_CALL && is_dictionary(p, x->as.made.state) && find_key(f, x->as.made.state, "_modules")) {
        const value *called = pickle_value(p, x->as.made.called);      /* in a stream, the class comes with its source code */
        uint32_t type = called->kind == VALUE_PERSISTENT ? pickle_item(p, called->as.made.arguments, 1) : v;
        return fail("%s: holds a whole module, %s, which only its own Python code can load: there, torch.save its "
                    "state_dict()", f->s->path, pickle_names(p, type));
    }
    if (!is_dictionary(p, v))
        return fail("%s: holds %s, not a state dict", f->s->path, pickle_names(p, v));
    char names[300] = "";
    uint32_t key, y;
    size_t count = 0;
    for (walk w = pairs_of(p, v); next_pair(f, &w, &key, &y);) {
        const value *name = pickle_value(p, key);
        if (name->kind == VALUE_TEXT && count++ < 8) {
            append(names, sizeof names, count > 1 ? ", " : ": ");
            append(names, sizeof names, shown(pickle_text(p, name->as.text.at), name->as.text.bytes));
        }
    }
    return fail("%s: holds no tensors where a state dict would be%s%s", f->s->path, names, count > 8 ? ", ..." : "");
}

/* Finds the state dict in the object, and says in cp->origin which it is. 0: none, after fail(). */
static uint32_t find_state_dict(torch_file *f)
{
    uint32_t v = f->p.root, only = 0;
    int asked = 0;
    char path[160] = "", others[300] = "", *origin = f->cp->origin;
    enum { DEPTH_MAX = 8 };
    for (int depth = 0; depth < DEPTH_MAX && is_dictionary(&f->p, v); depth++) {
        const char *name = NULL;
        uint32_t next = inward(f, v, &asked, &name);
        if (!next && !holds_tensors(f, v)) {                     /* no rule; but there may be no choice either */
            size_t count = list_candidates(f, v, 0, others, sizeof others, &only);
            if (count > 1 && f->cp->wrapper && !asked)
                break;
            if (count > 1) {
                fail("%s: holds several state dicts: %s; choose one with --wrapper", f->s->path, others);
                return 0;
            }
            const value *key = pickle_value(&f->p, only);
            name = count ? shown(pickle_text(&f->p, key->as.text.at), key->as.text.bytes) : NULL;
            for (walk w = pairs_of(&f->p, v); count && !next;) {
                uint32_t k, x;
                if (!next_pair(f, &w, &k, &x))
                    break;
                next = k == only ? x : 0;
            }
        }
        if (!next)
            break;
        append(path, sizeof path, path[0] ? "/" : "");
        append(path, sizeof path, shown(name, strlen(name)));
        list_candidates(f, v, next, others, sizeof others, &only);
        v = next;
    }
    if (is_tired(f)) {
        fail("%s: its pickle is not sound: its dictionaries share their items again and again", f->s->path);
        return 0;
    }
    if (f->cp->wrapper && !asked) {
        list_candidates(f, f->p.root, 0, others, sizeof others, &only);
        fail("%s: has no state dict '%s' (--wrapper)%s%s", f->s->path, shown(f->cp->wrapper, strlen(f->cp->wrapper)),
             others[0] ? ", but " : "", others);
        return 0;
    }
    if (!holds_tensors(f, v)) {
        no_state_dict(f, v);
        return 0;
    }
    if (path[0] && !origin[0])
        snprintf(origin, sizeof f->cp->origin, "state dict '%s'%s%s", path, others[0] ? ", not " : "", others);
    return v;
}

/* Every tensor of the object's state dict. */
static int read_object(torch_file *f)
{
    const pickle *p = &f->p;
    uint32_t key, x, v = find_state_dict(f);
    size_t skipped = 0, count = 0;
    if (!v)
        return 1;
    f->looks = 0;
    for (walk w = pairs_of(p, v); next_pair(f, &w, &key, &x);)
        count += (size_t)is_tensor(p, x);
    if (checkpoint_reserve(f->cp, count))
        return 1;
    for (walk w = pairs_of(p, v); next_pair(f, &w, &key, &x);) {
        const value *name = pickle_value(p, key);
        int is_text = name->kind == VALUE_TEXT;
        const char *text = is_text ? pickle_text(p, name->as.text.at) : NULL;
        if (!is_tensor(p, x)) {
            if (may_be_tensor(p, x) && !is_dictionary(p, x))
                return fail("%s: '%s' is made by %s (byte %" PRIu64 "), which this reader does not know; save it as a tensor or leave it out",
                            f->s->path, is_text ? shown(text, name->as.text.bytes) : "?", pickle_names(p, x), place(f, x));
            skipped++;
            continue;
        }
        if (!is_text)
            return fail("%s: a tensor has %s for a name (byte %" PRIu64 ")", f->s->path, pickle_names(p, key), place(f, key));
        tensor *t = checkpoint_add(f->cp, f->s, text, name->as.text.bytes);
        if (!t || read_tensor(f, t, x))
            return 1;
    }
    if (skipped) {
        char text[64];
        snprintf(text, sizeof text, "%s%zu %s left out", f->cp->origin[0] ? "; " : "", skipped,
                 skipped > 1 ? "values that are no tensors" : "value that is no tensor");
        append(f->cp->origin, sizeof f->cp->origin, text);
    }
    return 0;
}

/* ---- the zip form ---- */

static int ends_with(const zip_entry *e, const char *tail)
{
    size_t n = strlen(tail);
    return e->name_bytes >= n && memcmp(e->name + e->name_bytes - n, tail, n) == 0;
}

/* An entry beside data.pkl; NULL: none. */
static const zip_entry *beside(const torch_file *f, const char *name)
{
    char path[400];
    int bytes = snprintf(path, sizeof path, "%s%s", f->folder, name);
    return archive_find(f->zip, path, (size_t)bytes);
}

static int read_torch_zip(torch_file *f, const zip_entry *pickled)
{
    size_t folder = pickled->name_bytes - strlen("data.pkl");
    if (!printable(pickled->name, pickled->name_bytes) || folder >= sizeof f->folder)
        return fail("%s: a PyTorch archive whose folder has an impossible name", f->s->path);
    memcpy(f->folder, pickled->name, folder);
    char code[400];
    size_t bytes = (size_t)snprintf(code, sizeof code, "%scode/", f->folder);
    int is_script = beside(f, "constants.pkl") != NULL;
    for (size_t i = 0; i < f->zip->count; i++)
        is_script |= f->zip->entries[i].name_bytes >= bytes && memcmp(f->zip->entries[i].name, code, bytes) == 0;
    if (is_script)
        return fail("%s: this is TorchScript (torch.jit.save), a program with its weights: load it with torch.jit.load and "
                    "torch.save its state_dict()", f->s->path);
    const zip_entry *order = beside(f, "byteorder");
    if (is_compressed(f, pickled) || (order && is_compressed(f, order)))
        return 1;
    f->swapped = order && order->bytes == 3 && memcmp(order->data, "big", 3) == 0;
    if (order && !f->swapped && !(order->bytes == 6 && memcmp(order->data, "little", 6) == 0))
        return fail("%s: its byte order, '%s', is unknown", f->s->path, shown(order->data, (size_t)order->bytes));
    uint64_t from = (uint64_t)(pickled->data - f->s->file.data);
    return pickle_read(&f->p, pickled->data, (size_t)pickled->bytes, from, f->s->path) || read_object(f);
}

int read_zip(checkpoint *cp, shard *s)
{
    archive zip;
    int failed = archive_open(&zip, &s->file, s->path);
    const zip_entry *pickled = NULL, *array = NULL;
    torch_file *f = failed ? NULL : calloc(1, sizeof *f);
    if (!failed && !f)
        failed = fail("%s: not enough memory", s->path);
    for (size_t i = 0; i < zip.count && !failed; i++) {
        const zip_entry *e = &zip.entries[i];
        const char *slash = memchr(e->name, '/', e->name_bytes);
        if (ends_with(e, ".npy"))
            array = e;
        if (!ends_with(e, "/data.pkl") || slash != e->name + e->name_bytes - strlen("/data.pkl"))
            continue;
        if (pickled)
            failed = fail("%s: a zip archive with several data.pkl, as torch.save does not write", s->path);
        pickled = e;
    }
    if (!failed && pickled) {
        f->cp = cp;
        f->s = s;
        f->zip = &zip;
        failed = read_torch_zip(f, pickled);
    } else if (!failed && array) {
        failed = read_npz(cp, s, &zip);
    } else if (!failed) {
        failed = fail("%s: a zip archive, but neither PyTorch's (no data.pkl) nor NumPy's (no .npy)", s->path);
    }
    if (f)
        pickle_free(&f->p);
    free(f);
    archive_close(&zip);
    return failed;
}

/* ---- the stream ---- */

/* The storages that the object's tensors are views of, each once, by key. */
static int list_storages(torch_file *f)
{
    const pickle *p = &f->p;
    size_t count = 0, kept = 0;
    for (uint32_t i = 1; i < p->count; i++)
        count += p->values[i].kind == VALUE_PERSISTENT;
    if (!(f->storages = calloc(count + 1, sizeof *f->storages)))
        return fail("%s: not enough memory", f->s->path);
    for (uint32_t i = 1; i < p->count; i++) {
        storage_id id;
        if (p->values[i].kind != VALUE_PERSISTENT || pickle_is(p, pickle_item(p, p->values[i].as.made.arguments, 0), "module"))
            continue;
        const char *fault = read_storage_id(p, i, &id);
        if (fault)
            return fail("%s: its pickle has a storage that is not sound: %s (byte %" PRIu64 ")", f->s->path, fault, place(f, i));
        const value *key = pickle_value(p, id.key);
        f->storages[f->storage_count++] = (storage){ .key = pickle_text(p, key->as.text.at), .key_bytes = key->as.text.bytes,
                                                     .item_bytes = id.item_bytes, .count = id.count };
    }
    qsort(f->storages, f->storage_count, sizeof *f->storages, compare_storages);
    for (size_t i = 0; i < f->storage_count; i++) {
        storage *last = kept ? &f->storages[kept - 1] : NULL, *here = &f->storages[i];
        if (!last || compare_storages(last, here) != 0)
            f->storages[kept++] = *here;
        else if (last->count != here->count || last->item_bytes != here->item_bytes)
            return fail("%s: its pickle has storage '%s' in two sizes", f->s->path, shown(here->key, here->key_bytes));
    }
    f->storage_count = kept;
    return 0;
}

/* Each storage in the order of the keys: its length in elements, then its numbers. */
static int place_storages(torch_file *f, const pickle *keys, size_t at)
{
    const uint8_t *data = f->s->file.data;
    size_t bytes = f->s->file.bytes;
    const value *list = pickle_value(keys, keys->root);
    if (list->kind != VALUE_LIST)
        return fail("%s: after its pickle, the list of storages is missing (byte %" PRIu64 ")", f->s->path, keys->from);
    for (uint32_t i = list->as.made.first; i; i = keys->items[i].next) {
        uint32_t key = keys->items[i].value;
        storage *s = pickle_value(keys, key)->kind == VALUE_TEXT ? find_storage(f, keys, key) : NULL;
        if (!s || s->found)
            return fail("%s: its list of storages names one that no tensor has, or one twice (byte %" PRIu64 ")", f->s->path,
                        keys->from + pickle_value(keys, key)->at);
        uint64_t count = f->swapped ? 0 : bytes - at >= 8 ? read_le(data + at, 8) : 0;
        for (uint32_t k = 0; k < 8 && f->swapped && bytes - at >= 8; k++)
            count = count << 8 | data[at + k];
        if (bytes - at < 8 || count != s->count || count > (bytes - at - 8) / s->item_bytes)
            return fail("%s: a storage of %" PRIu64 " numbers should be at byte %zu, of %zu in the file; the file is truncated or damaged",
                        f->s->path, s->count, at, bytes);
        s->data = data + at + 8;
        s->found = 1;
        at += 8 + (size_t)count * s->item_bytes;
    }
    return 0;
}

static int read_stream(torch_file *f, pickle *p, size_t *at)
{
    int failed = pickle_read(p, f->s->file.data + *at, f->s->file.bytes - *at, *at, f->s->path);
    *at += failed ? 0 : p->bytes;
    return failed;
}

/* The three pickles before the object: which format this is, and the byte order. */
static int read_preamble(torch_file *f, size_t *at)
{
    static const uint8_t magic[10] = { 0x6C, 0xFC, 0x9C, 0x46, 0xF9, 0x20, 0x6A, 0xA8, 0x50, 0x19 };
    int failed = 0;
    for (int i = 0; i < 3 && !failed; i++) {
        pickle *p = &f->p;
        failed = read_stream(f, p, at);
        const value *x = failed ? NULL : pickle_value(p, p->root);
        uint64_t n = 0;
        if (failed) {
            ;
        } else if (i == 0) {
            if (x->kind != VALUE_LONG || x->as.text.bytes != sizeof magic ||
                memcmp(pickle_text(p, x->as.text.at), magic, sizeof magic) != 0)
                failed = fail("%s: a Python pickle, but not one that torch.save wrote", f->s->path);
        } else if (i == 1) {
            if (!whole(p, p->root, &n) || n != 1001)
                failed = fail("%s: PyTorch's stream of a protocol that is unknown (byte %" PRIu64 ")", f->s->path, p->from);
        } else {
            uint32_t little = is_dictionary(p, p->root) ? find_key(f, p->root, "little_endian") : 0;
            if (pickle_value(p, little)->kind != VALUE_BOOL)
                failed = fail("%s: PyTorch's stream does not say its byte order (byte %" PRIu64 ")", f->s->path, p->from);
            else
                f->swapped = !pickle_value(p, little)->as.number;
        }
        pickle_free(p);
    }
    return failed;
}

int read_torch_stream(checkpoint *cp, shard *s)
{
    torch_file *f = calloc(1, sizeof *f);
    pickle keys = {0};
    size_t at = 0;
    if (!f)
        return fail("%s: not enough memory", s->path);
    f->cp = cp;
    f->s = s;
    int failed = read_preamble(f, &at) || read_stream(f, &f->p, &at) || list_storages(f) || read_stream(f, &keys, &at) ||
                 place_storages(f, &keys, at) || read_object(f);
    pickle_free(&keys);
    pickle_free(&f->p);
    free(f->storages);
    free(f);
    return failed;
}
