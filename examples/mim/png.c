/* png.c - a PNG writer: one IDAT chunk, filter 0, deflate with the fixed Huffman code.
 * Matches are looked for through one table of the last place where four bytes were seen; pictures that repeat pixels and
 * rows (what the tool draws) become small, photographs about as large as they are. */
#include "picture.h"

#include <stdlib.h>
#include <string.h>

uint32_t png_crc(uint32_t crc, const uint8_t *data, size_t bytes)
{
    crc = ~crc;
    for (size_t i = 0; i < bytes; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (0xedb88320u & (0u - (crc & 1)));
    }
    return ~crc;
}

static void put_u32(uint8_t *to, uint32_t value)
{
    for (int i = 0; i < 4; i++) to[i] = (uint8_t)(value >> (24 - 8 * i));
}

/* Bits in deflate's order: the first one is the lowest of its byte. */
typedef struct bit_writer {
    uint8_t *to;
    uint32_t held, count;
} bit_writer;

static void put_bits(bit_writer *w, uint32_t bits, uint32_t count)
{
    w->held |= bits << w->count;     /* at most 7 held and 16 new */
    w->count += count;
    for (; w->count >= 8; w->count -= 8, w->held >>= 8) *w->to++ = (uint8_t)w->held;
}

/* Huffman codes go in from their highest bit. */
static void put_code(bit_writer *w, uint32_t code, uint32_t count)
{
    uint32_t turned = 0;
    for (uint32_t i = 0; i < count; i++) turned |= (code >> i & 1) << (count - 1 - i);
    put_bits(w, turned, count);
}

/* Literal or length symbol, RFC 1951 section 3.2.6. */
static void put_symbol(bit_writer *w, uint32_t symbol)
{
    if (symbol < 144) put_code(w, 0x30 + symbol, 8);
    else if (symbol < 256) put_code(w, 0x190 + symbol - 144, 9);
    else if (symbol < 280) put_code(w, symbol - 256, 7);
    else put_code(w, 0xc0 + symbol - 280, 8);
}

/* Lengths and distances are a symbol and extra bits: each class of 2^extra values begins where the last one ended. */
static void put_match(bit_writer *w, uint32_t length, uint32_t distance)
{
    uint32_t symbol = 257, extra = 0, base = 3;
    if (length == 258) {
        put_symbol(w, 285);
    } else {
        for (; length >= base + (1u << extra); symbol++) {
            base += 1u << extra;
            extra = symbol + 1 < 265 ? 0 : (symbol + 1 - 261) / 4;
        }
        put_symbol(w, symbol);
        put_bits(w, length - base, extra);
    }
    for (symbol = 0, extra = 0, base = 1; distance >= base + (1u << extra); symbol++) {
        base += 1u << extra;
        extra = symbol + 1 < 4 ? 0 : (symbol + 1) / 2 - 1;
    }
    put_code(w, symbol, 5);
    put_bits(w, distance - base, extra);
}

enum { HASH_BITS = 15 };

static size_t hash4(const uint8_t *p)
{
    uint32_t four;
    memcpy(&four, p, 4);
    return (four * 2654435761u) >> (32 - HASH_BITS);
}

/* zlib stream of data[0, bytes) into to, which has room for 9 bits a byte and 16 more bytes. Returns its length. */
static size_t compress(uint8_t *to, const uint8_t *data, size_t bytes, size_t *seen)
{
    bit_writer w = { to, 0, 0 };
    put_bits(&w, 0x0178, 16);                          /* 0x78 0x01 */
    put_bits(&w, 3, 3);                                /* last block, fixed code */
    memset(seen, 0, sizeof *seen << HASH_BITS);        /* place + 1; 0: none */
    for (size_t at = 0; at < bytes;) {
        size_t length = 0, distance = 0;
        if (bytes - at >= 4) {
            size_t *entry = &seen[hash4(data + at)];
            size_t from = *entry;
            *entry = at + 1;
            if (from && at + 1 - from <= 32768) {
                distance = at + 1 - from;
                while (length < 258 && length < bytes - at && data[at + length] == data[at - distance + length]) length++;
            }
        }
        if (length >= 4) {
            put_match(&w, (uint32_t)length, (uint32_t)distance);
            at += length;
        } else {
            put_symbol(&w, data[at++]);
        }
    }
    put_symbol(&w, 256);
    put_bits(&w, 0, (8 - w.count) & 7);
    uint32_t a = 1, b = 0;
    for (size_t i = 0; i < bytes; i++) {
        a = (a + data[i]) % 65521;
        b = (b + a) % 65521;
    }
    put_u32(w.to, b << 16 | a);
    return (size_t)(w.to + 4 - to);
}

static int put_chunk(out_file *out, const char *name, const uint8_t *data, size_t bytes)
{
    uint8_t head[8], tail[4];
    put_u32(head, (uint32_t)bytes);
    memcpy(head + 4, name, 4);
    put_u32(tail, png_crc(png_crc(0, head + 4, 4), data, bytes));
    return out_write(out, head, 8) || out_write(out, data, bytes) || out_write(out, tail, 4);
}

int png_write(out_file *out, const uint8_t *rgb, uint32_t width, uint32_t height)
{
    static const uint8_t magic[8] = { 0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n' };
    uint8_t header[13] = { 0 };
    if (width == 0 || height == 0 || width > 65535 || height > 65535 || (uint64_t)width * height > 1u << 29)
        return fail("%s: a PNG of %ux%u pixels is not written", out->path, (unsigned)width, (unsigned)height);

    size_t row = (size_t)width * 3, raw_bytes = (row + 1) * height;
    uint8_t *raw = malloc(raw_bytes), *packed = malloc(raw_bytes + raw_bytes / 8 + 32);
    size_t *seen = malloc(sizeof *seen << HASH_BITS);
    int failed = 1;
    if (!raw || !packed || !seen) {
        fail("%s: not enough memory", out->path);
        goto end;
    }
    for (uint32_t y = 0; y < height; y++) {
        raw[y * (row + 1)] = 0;                        /* filter: none */
        memcpy(raw + y * (row + 1) + 1, rgb + y * row, row);
    }
    put_u32(header, width);
    put_u32(header + 4, height);
    header[8] = 8;                                     /* bits a sample */
    header[9] = 2;                                     /* RGB */
    failed = out_write(out, magic, sizeof magic) || put_chunk(out, "IHDR", header, sizeof header)
          || put_chunk(out, "IDAT", packed, compress(packed, raw, raw_bytes, seen)) || put_chunk(out, "IEND", header, 0);
end:
    free(raw);
    free(packed);
    free(seen);
    return failed;
}
