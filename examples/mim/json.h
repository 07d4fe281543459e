/* json.h - a strict JSON reader for files from strangers.
 *
 * RFC 8259 and nothing more: one value, UTF-8, no trailing commas, no NaN. Duplicate keys, nesting
 * beyond JSON_DEPTH and documents beyond JSON_BYTES or JSON_NODES are refused. No recursion. */
#ifndef JSON_H
#define JSON_H

#include <stddef.h>
#include <stdint.h>

#define JSON_BYTES 100000000u  /* the largest header that safetensors allows */
#define JSON_NODES 2000000u
#define JSON_DEPTH 32u
#define JSON_NUMBER_BYTES 128u

enum { JSON_NULL, JSON_FALSE, JSON_TRUE, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

typedef struct json_node {
    uint32_t type;
    uint32_t next;               /* index of the next sibling; 0: none */
    uint32_t first;              /* ARRAY, OBJECT: index of the first child; 0: none */
    uint32_t count;              /* ARRAY, OBJECT: children */
    uint32_t key, key_bytes;     /* of a member: its key, decoded, NUL-terminated: offset in the text */
    uint32_t text, text_bytes;   /* STRING: decoded, NUL-terminated; NUMBER: as written */
} json_node;

typedef struct json {
    json_node *nodes;            /* [0] is the root */
    uint32_t count, capacity;
    char *text;                  /* a private copy, strings decoded in place */
    const char *error;           /* after a failed json_parse: what is wrong, */
    size_t error_at;             /*   and at which byte */
} json;

/* Parses bytes [text, text + bytes). 0, or 1 with error and error_at set. json_free in either case. */
int  json_parse(json *doc, const void *text, size_t bytes);
void json_free(json *doc);

/* All take NULL for a node and then find nothing, so that look-ups can be chained. */
const json_node *json_root(const json *doc);
const json_node *json_first(const json *doc, const json_node *node);      /* child of an array or object */
const json_node *json_next(const json *doc, const json_node *node);       /* sibling */
const json_node *json_member(const json *doc, const json_node *node, const char *key);
const char *json_key(const json *doc, const json_node *node);

/* Typed values: 1 and the value, or 0 if the node is NULL or of another kind. */
int json_string(const json *doc, const json_node *node, const char **value);   /* without NUL inside */
int json_number(const json *doc, const json_node *node, double *value);
int json_u64(const json *doc, const json_node *node, uint64_t *value);         /* written as digits only */
int json_bool(const json_node *node, int *value);

#endif
