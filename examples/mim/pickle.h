/* pickle.h - Python pickles as data.
 *
 * A pickle is a program for a small stack machine. This one builds a tree that says what the program would have made, and
 * makes nothing: a global is a pair of names, a call is a global with its arguments, and nobody ever looks either up.
 * Protocols 0 to 5. Values may be shared, and contain themselves: whoever walks the tree must bound the walk. */
#ifndef PICKLE_H
#define PICKLE_H

#include "container.h"

enum {
    VALUE_NONE, VALUE_BOOL, VALUE_INT, VALUE_LONG, VALUE_FLOAT, VALUE_TEXT, VALUE_BYTES, VALUE_TUPLE, VALUE_LIST, VALUE_SET,
    VALUE_DICT,
    VALUE_GLOBAL,                     /* a name */
    VALUE_CALL,                       /* what a global would make of arguments; may have items and a state */
    VALUE_PERSISTENT                  /* what lies outside of the pickle: a storage */
};

/* Where values, items and characters are meant, they are given by number; 0: none. */
typedef struct value {
    uint8_t kind;                     /* VALUE_... */
    uint8_t mark;                     /* for whoever walks the tree */
    uint32_t at;                      /* byte of the stream */
    union {
        int64_t number;               /* BOOL, INT */
        struct { uint32_t at, bytes; } text;                      /* TEXT, BYTES; LONG: two's complement, little-endian */
        struct { uint32_t module, module_bytes, name, name_bytes; } global;
        struct {
            uint32_t first, last, count;                          /* items of TUPLE, LIST, SET, DICT, CALL */
            uint32_t called, arguments, state;                    /* CALL; PERSISTENT has arguments */
        } made;
    } as;
} value;

typedef struct item {
    uint32_t key, value, next;        /* key 0: of a list, tuple or set */
} item;

typedef struct pickle {
    const char *path;                 /* for messages */
    uint64_t from;                    /* where the stream begins in the file, */
    const uint8_t *stream;
    size_t bytes;                     /*   and its length, the last byte being STOP */
    value *values;
    item *items;
    uint32_t count, room, item_count, item_room;
    uint32_t root;
} pickle;

/* Reads one pickle from the beginning of [stream, stream + bytes), `from` bytes into the file. 0, or 1 after fail().
 * pickle_free in either case. */
int  pickle_read(pickle *p, const uint8_t *stream, size_t bytes, uint64_t from, const char *path);
void pickle_free(pickle *p);

static inline const value *pickle_value(const pickle *p, uint32_t v) { return &p->values[v]; }
static inline const char *pickle_text(const pickle *p, uint32_t at) { return (const char *)p->stream + at; }

/* Whether v is text and this text. */
int pickle_is(const pickle *p, uint32_t v, const char *text);

/* "module.name" of a global, or of what a call would call, fit for a message; else what kind of value it is. */
const char *pickle_names(const pickle *p, uint32_t v);

/* Whether v is the global of this full name. */
int pickle_is_global(const pickle *p, uint32_t v, const char *name);

/* Item i of a tuple or list; 0: there is none. */
uint32_t pickle_item(const pickle *p, uint32_t v, uint32_t i);

#endif
