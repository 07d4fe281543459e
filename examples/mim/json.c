/* json.c - see json.h. */
#include "json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct parser {
    json *doc;
    size_t at, bytes;
    struct { uint32_t node, last; } open[JSON_DEPTH];  /* containers not yet closed, and the last child of each */
    uint32_t depth;
} parser;

static int wrong(parser *p, size_t at, const char *what)
{
    p->doc->error = what;
    p->doc->error_at = at;
    return 1;
}

static int peek(const parser *p) { return p->at < p->bytes ? (unsigned char)p->doc->text[p->at] : -1; }

static void skip_space(parser *p)
{
    while (p->at < p->bytes) {
        char c = p->doc->text[p->at];
        if (c != ' ' && c != '\t' && c != '\n' && c != '\r')
            break;
        p->at++;
    }
}

static int hex4(const parser *p, size_t at, uint32_t *code)
{
    *code = 0;
    if (p->bytes - at < 4)
        return 1;
    for (size_t i = at; i < at + 4; i++) {
        char c = p->doc->text[i];
        uint32_t digit;
        if (c >= '0' && c <= '9')
            digit = (uint32_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            digit = (uint32_t)(c - 'a') + 10;
        else if (c >= 'A' && c <= 'F')
            digit = (uint32_t)(c - 'A') + 10;
        else
            return 1;
        *code = *code * 16 + digit;
    }
    return 0;
}

static size_t put_utf8(char *to, uint32_t code)
{
    if (code < 0x80) {
        to[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        to[0] = (char)(0xC0 | code >> 6);
        to[1] = (char)(0x80 | (code & 0x3F));
        return 2;
    }
    if (code < 0x10000) {
        to[0] = (char)(0xE0 | code >> 12);
        to[1] = (char)(0x80 | (code >> 6 & 0x3F));
        to[2] = (char)(0x80 | (code & 0x3F));
        return 3;
    }
    to[0] = (char)(0xF0 | code >> 18);
    to[1] = (char)(0x80 | (code >> 12 & 0x3F));
    to[2] = (char)(0x80 | (code >> 6 & 0x3F));
    to[3] = (char)(0x80 | (code & 0x3F));
    return 4;
}

/* Length of the well-formed UTF-8 sequence at [s, s + left) whose first byte is >= 0x80; 0: malformed. */
static size_t utf8_length(const unsigned char *s, size_t left)
{
    size_t n = s[0] >= 0xC2 && s[0] <= 0xDF ? 2 : s[0] >= 0xE0 && s[0] <= 0xEF ? 3 : s[0] >= 0xF0 && s[0] <= 0xF4 ? 4 : 0;
    if (n == 0 || n > left)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xC0) != 0x80)
            return 0;
    if ((s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xED && s[1] > 0x9F) ||   /* overlong; surrogates */
        (s[0] == 0xF0 && s[1] < 0x90) || (s[0] == 0xF4 && s[1] > 0x8F))     /* overlong; beyond 10FFFF */
        return 0;
    return n;
}

/* Decodes the string whose opening quote is at p->at, in place: no escape is shorter than what it stands for. */
static int parse_string(parser *p, uint32_t *start, uint32_t *length)
{
    char *text = p->doc->text;
    size_t to = ++p->at;
    *start = (uint32_t)to;
    for (;;) {
        int c = peek(p);
        if (c < 0)
            return wrong(p, p->at, "the text ends inside a string");
        if (c == '"')
            break;
        if (c < 0x20)
            return wrong(p, p->at, "a control character inside a string");
        if (c >= 0x80) {
            size_t n = utf8_length((const unsigned char *)text + p->at, p->bytes - p->at);
            if (n == 0)
                return wrong(p, p->at, "a string is not UTF-8");
            memmove(text + to, text + p->at, n);
            to += n;
            p->at += n;
            continue;
        }
        if (c != '\\') {
            text[to++] = (char)c;
            p->at++;
            continue;
        }
        size_t escape = p->at++;
        c = peek(p);
        p->at++;
        static const char from[] = "\"\\/bfnrt", into[] = "\"\\/\b\f\n\r\t";
        const char *found = c > 0 ? strchr(from, c) : NULL;
        if (found) {
            text[to++] = into[found - from];
            continue;
        }
        uint32_t code, low;
        if (c != 'u' || hex4(p, p->at, &code))
            return wrong(p, escape, "an unknown escape in a string");
        p->at += 4;
        if (code >= 0xD800 && code <= 0xDFFF) {
            if (code >= 0xDC00 || p->bytes - p->at < 6 || text[p->at] != '\\' || text[p->at + 1] != 'u' ||
                hex4(p, p->at + 2, &low) || low < 0xDC00 || low > 0xDFFF)
                return wrong(p, escape, "half of a surrogate pair in a string");
            code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
            p->at += 6;
        }
        to += put_utf8(text + to, code);
    }
    p->at++;
    text[to] = 0;
    *length = (uint32_t)(to - *start);
    return 0;
}

static size_t digits(parser *p)
{
    size_t from = p->at;
    while (peek(p) >= '0' && peek(p) <= '9')
        p->at++;
    return p->at - from;
}

static int parse_number(parser *p, json_node *node)
{
    size_t from = p->at;
    if (peek(p) == '-')
        p->at++;
    int zero = peek(p) == '0';
    size_t whole = digits(p);
    int ok = whole > 0 && !(zero && whole > 1);
    if (ok && peek(p) == '.') {
        p->at++;
        ok = digits(p) > 0;
    }
    if (ok && (peek(p) == 'e' || peek(p) == 'E')) {
        p->at++;
        if (peek(p) == '+' || peek(p) == '-')
            p->at++;
        ok = digits(p) > 0;
    }
    if (!ok)
        return wrong(p, from, "a malformed number");
    if (p->at - from > JSON_NUMBER_BYTES)
        return wrong(p, from, "a number is too long");
    node->type = JSON_NUMBER;
    node->text = (uint32_t)from;
    node->text_bytes = (uint32_t)(p->at - from);
    if (!isfinite(strtod(p->doc->text + from, NULL)))
        return wrong(p, from, "a number is out of range");
    return 0;
}

static int parse_word(parser *p, const char *word)
{
    size_t n = strlen(word);
    if (p->bytes - p->at < n || memcmp(p->doc->text + p->at, word, n) != 0)
        return wrong(p, p->at, "not a JSON value");
    p->at += n;
    return 0;
}

/* Adds a node to the open container (or as the root); parser->doc->nodes may move. */
static int add_node(parser *p, uint32_t *index)
{
    json *doc = p->doc;
    if (doc->count == JSON_NODES)
        return wrong(p, p->at, "more values than this reader allows");
    if (doc->count == doc->capacity) {
        uint32_t capacity = doc->capacity ? doc->capacity * 2 : 64;
        json_node *grown = realloc(doc->nodes, capacity * sizeof *grown);
        if (!grown)
            return wrong(p, p->at, "not enough memory");
        doc->nodes = grown;
        doc->capacity = capacity;
    }
    *index = doc->count++;
    memset(&doc->nodes[*index], 0, sizeof *doc->nodes);
    if (p->depth) {
        uint32_t parent = p->open[p->depth - 1].node, last = p->open[p->depth - 1].last;
        if (last)
            doc->nodes[last].next = *index;
        else
            doc->nodes[parent].first = *index;
        doc->nodes[parent].count++;
        p->open[p->depth - 1].last = *index;
    }
    return 0;
}

typedef struct key_ref { const char *key; uint32_t bytes, at; } key_ref;

static int compare_keys(const void *a, const void *b)
{
    const key_ref *x = a, *y = b;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? -1 : 1;
    return memcmp(x->key, y->key, x->bytes);
}

static int check_keys(parser *p, const json_node *object)
{
    key_ref few[8], *keys = few;
    const json *doc = p->doc;
    uint32_t n = 0;
    if (object->count > 8 && !(keys = malloc(object->count * sizeof *keys)))
        return wrong(p, p->at, "not enough memory");
    for (uint32_t i = object->first; i; i = doc->nodes[i].next, n++) {
        keys[n].key = doc->text + doc->nodes[i].key;
        keys[n].bytes = doc->nodes[i].key_bytes;
        keys[n].at = doc->nodes[i].key;
    }
    qsort(keys, n, sizeof *keys, compare_keys);
    int failed = 0;
    for (uint32_t i = 1; i < n && !failed; i++)
        if (compare_keys(&keys[i - 1], &keys[i]) == 0)
            failed = wrong(p, keys[i].at > keys[i - 1].at ? keys[i].at : keys[i - 1].at, "a duplicate key");
    if (keys != few)
        free(keys);
    return failed;
}

int json_parse(json *doc, const void *text, size_t bytes)
{
    memset(doc, 0, sizeof *doc);
    parser state = {0}, *p = &state;
    p->doc = doc;
    if (bytes > JSON_BYTES)
        return wrong(p, 0, "the text is larger than this reader allows");
    if (!(doc->text = malloc(bytes + 1)))
        return wrong(p, 0, "not enough memory");
    if (bytes)
        memcpy(doc->text, text, bytes);
    doc->text[bytes] = 0;
    p->bytes = bytes;

    int may_close = 0;      /* a container was just opened and may be empty */
    for (;;) {
        uint32_t key = 0, key_bytes = 0, index;
        skip_space(p);
        int in_object = p->depth && doc->nodes[p->open[p->depth - 1].node].type == JSON_OBJECT;
        if (!(may_close && peek(p) == (in_object ? '}' : ']'))) {
            if (in_object) {
                if (peek(p) != '"')
                    return wrong(p, p->at, "a key in quotes was expected");
                if (parse_string(p, &key, &key_bytes))
                    return 1;
                skip_space(p);
                if (peek(p) != ':')
                    return wrong(p, p->at, "a colon was expected");
                p->at++;
                skip_space(p);
            }
            if (add_node(p, &index))
                return 1;
            json_node *node = &doc->nodes[index];
            node->key = key;
            node->key_bytes = key_bytes;
            may_close = 0;
            int c = peek(p), failed = 0;
            if (c == '{' || c == '[') {
                if (p->depth == JSON_DEPTH)
                    return wrong(p, p->at, "nested too deep");
                node->type = c == '{' ? JSON_OBJECT : JSON_ARRAY;
                p->open[p->depth].node = index;
                p->open[p->depth++].last = 0;
                p->at++;
                may_close = 1;
                continue;
            }
            if (c == '"') {
                node->type = JSON_STRING;
                failed = parse_string(p, &node->text, &node->text_bytes);
            } else if (c == '-' || (c >= '0' && c <= '9')) {
                failed = parse_number(p, node);
            } else {
                node->type = c == 't' ? JSON_TRUE : c == 'f' ? JSON_FALSE : JSON_NULL;
                failed = parse_word(p, c == 't' ? "true" : c == 'f' ? "false" : "null");
            }
            if (failed)
                return 1;
        }
        /* a value is complete; close what ends here */
        for (;;) {
            skip_space(p);
            if (!p->depth)
                return p->at == p->bytes ? 0 : wrong(p, p->at, "text after the end of the value");
            const json_node *open = &doc->nodes[p->open[p->depth - 1].node];
            int c = peek(p);
            if (c == ',' && !may_close) {
                p->at++;
                break;
            }
            if (c != (open->type == JSON_OBJECT ? '}' : ']'))
                return wrong(p, p->at, "a comma or a closing bracket was expected");
            if (open->type == JSON_OBJECT && check_keys(p, open))
                return 1;
            p->at++;
            p->depth--;
            may_close = 0;
        }
    }
}

void json_free(json *doc)
{
    free(doc->nodes);
    free(doc->text);
    memset(doc, 0, sizeof *doc);
}

const json_node *json_root(const json *doc) { return doc->count ? doc->nodes : NULL; }

const json_node *json_first(const json *doc, const json_node *node)
{
    return node && node->first ? doc->nodes + node->first : NULL;
}

const json_node *json_next(const json *doc, const json_node *node)
{
    return node && node->next ? doc->nodes + node->next : NULL;
}

const json_node *json_member(const json *doc, const json_node *node, const char *key)
{
    size_t bytes = strlen(key);
    if (!node || node->type != JSON_OBJECT)
        return NULL;
    for (const json_node *child = json_first(doc, node); child; child = json_next(doc, child))
        if (child->key_bytes == bytes && memcmp(doc->text + child->key, key, bytes) == 0)
            return child;
    return NULL;
}

const char *json_key(const json *doc, const json_node *node) { return doc->text + node->key; }

int json_string(const json *doc, const json_node *node, const char **value)
{
    if (!node || node->type != JSON_STRING || strlen(doc->text + node->text) != node->text_bytes)
        return 0;
    *value = doc->text + node->text;
    return 1;
}

int json_number(const json *doc, const json_node *node, double *value)
{
    if (!node || node->type != JSON_NUMBER)
        return 0;
    *value = strtod(doc->text + node->text, NULL);
    return 1;
}

int json_u64(const json *doc, const json_node *node, uint64_t *value)
{
    if (!node || node->type != JSON_NUMBER)
        return 0;
    *value = 0;
    for (uint32_t i = 0; i < node->text_bytes; i++) {
        char c = doc->text[node->text + i];
        if (c < '0' || c > '9')
            return 0;
        uint64_t digit = (uint64_t)(c - '0');
        if (*value > (UINT64_MAX - digit) / 10)
            return 0;
        *value = *value * 10 + digit;
    }
    return 1;
}

int json_bool(const json_node *node, int *value)
{
    if (!node || (node->type != JSON_TRUE && node->type != JSON_FALSE))
        return 0;
    *value = node->type == JSON_TRUE;
    return 1;
}
