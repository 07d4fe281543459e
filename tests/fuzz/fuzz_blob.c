/* fuzz_blob.c - hostile blobs: opened, planned and encoded in exactly the planned memory, on every kernel of the machine, which
 * must agree to the bit on quantized ones.
 *
 * Alone: `fuzz_blob [ROUNDS [SEED]]` mutates random models, the same way every time; `fuzz_blob FILE...` replays files. With
 * clang -fsanitize=fuzzer -DFUZZ_LIBFUZZER it is a libFuzzer target. Build it with the address and undefined behaviour sanitizers. */
#include "../check.h"
#define MIM_IMPLEMENTATION
#include "../../mim.h"
#include "../blob_builder.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

#define MOST_STEPS 64
#define MOST_TENSORS 256
#define MOST_BYTES (1u << 20)               /* of one tensor */

/* A blob in pieces: what mutations work on, and what is put together again in the right layout. */
typedef struct parts {
    mim_blob_header header;
    mim_blob_step step[MOST_STEPS];
    mim_blob_tensor tensor[MOST_TENSORS];
    const uint8_t *data[MOST_TENSORS];      /* of the blob it was taken from; zeros follow where a tensor grew */
    size_t had[MOST_TENSORS];
} parts;

/* Takes apart what may be no valid blob at all; 0 if it is too short or too large for that. */
static int take_apart(parts *p, const uint8_t *blob, size_t bytes)
{
    size_t at = sizeof p->header;
    uint32_t i;
    if (bytes < sizeof p->header)
        return 0;
    memcpy(&p->header, blob, sizeof p->header);
    if (p->header.step_count > MOST_STEPS || p->header.tensor_count > MOST_TENSORS
        || bytes - at < p->header.step_count * sizeof *p->step + p->header.tensor_count * sizeof *p->tensor)
        return 0;
    memcpy(p->step, blob + at, p->header.step_count * sizeof *p->step);
    at += p->header.step_count * sizeof *p->step;
    memcpy(p->tensor, blob + at, p->header.tensor_count * sizeof *p->tensor);
    for (i = 0; i < p->header.tensor_count; i++) {
        const uint64_t place = p->tensor[i].at < bytes ? p->tensor[i].at : bytes, size = mim_tensor_bytes(&p->tensor[i]);
        p->data[i] = blob + place;
        p->had[i] = (size_t)(size < bytes - place ? size : bytes - place);
    }
    return 1;
}

/* The blob of these parts: places, sizes and checksum repaired. free() it; NULL if it would be too large. */
static uint8_t *put_together(parts *p, size_t *bytes)
{
    uint64_t end = sizeof p->header + p->header.step_count * sizeof *p->step + p->header.tensor_count * sizeof *p->tensor, size;
    void *memory;
    uint8_t *blob;
    uint32_t i;
    for (i = 0; i < p->header.tensor_count; i++) {
        size = mim_tensor_bytes(&p->tensor[i]);
        if (size > MOST_BYTES)
            return NULL;
        p->tensor[i].at = (end + 63) / 64 * 64;
        end = p->tensor[i].at + size;
    }
    p->header.bytes = end;
    if (posix_memalign(&memory, 64, (size_t)end))
        perror("posix_memalign"), exit(2);
    blob = (uint8_t *)memset(memory, 0, (size_t)end);
    memcpy(blob, &p->header, sizeof p->header);
    memcpy(blob + sizeof p->header, p->step, p->header.step_count * sizeof *p->step);
    memcpy(blob + sizeof p->header + p->header.step_count * sizeof *p->step, p->tensor, p->header.tensor_count * sizeof *p->tensor);
    for (i = 0; i < p->header.tensor_count; i++) {
        size = mim_tensor_bytes(&p->tensor[i]);
        memcpy(blob + p->tensor[i].at, p->data[i], size < p->had[i] ? (size_t)size : p->had[i]);
    }
    p->header.checksum = mim_checksum(blob, (size_t)end);
    memcpy(blob + offsetof(mim_blob_header, checksum), &p->header.checksum, 8);
    *bytes = (size_t)end;
    return blob;
}

/* ---- running ---- */

static guard arena;
static results one, other;
static float planes[1 << 16];
static unsigned long opened, encoded;

/* A use of the model that takes little time, drawn at random; 0 if there is none. */
static int some_use(const mim_model *m, mim_session_desc *desc, mim_image *image, uint32_t *visible)
{
    const mim_blob_header *h = m->header;
    const mim_blob_step *first = m->steps;
    const int fixed = between(0, 1) && first->stored_height;
    const uint32_t gh = fixed ? first->stored_height : between(1, 4), gw = fixed ? first->stored_width : between(1, 4);
    const uint64_t pixels = (uint64_t)gh * gw * h->patch_height * h->patch_width;
    uint32_t i;
    memset(desc, 0, sizeof *desc);
    memset(image, 0, sizeof *image);
    if ((uint64_t)gh * gw > 64 || pixels * h->channels > sizeof planes / sizeof *planes / h->frames || h->frames > sizeof planes / (40 * 40 * 3))
        return 0;
    desc->height = gh * h->patch_height;
    desc->width = gw * h->patch_width;
    desc->decoder = h->decoder_dim && between(0, 1);
    desc->split = between(0, 1);
    image->format = MIM_PLANES;
    image->height = desc->height;
    image->width = desc->width;
    image->pixels = planes;
    if ((h->channels == 1 || h->channels == 3) && between(0, 1)) {
        image->format = between(MIM_RGB8, MIM_RGB565);
        if (between(0, 1)) {
            desc->source_height = image->height = between(1, 40);
            desc->source_width = image->width = between(1, 40);
        }
    }
    if (between(0, 1)) {
        const uint32_t n = between(1, gh * gw);
        for (i = 0; i < gh * gw; i++)
            visible[i] = i;
        for (i = 0; i < n; i++) {
            const uint32_t j = between(i, gh * gw - 1), swap = visible[i];
            visible[i] = visible[j], visible[j] = swap;
        }
        image->visible = visible;
        image->visible_count = n;
        desc->visible_max = between(n, gh * gw);
    }
    return 1;
}

static void try_blob(const uint8_t *blob, size_t bytes)
{
    uint32_t visible[64];
    mim_session_desc desc;
    mim_image image;
    mim_memory need;
    mim_model model;
    mim_status status, expected = MIM_OK;
    setting how = { 0, 0, 0xff };
    uint32_t i, chosen, runs = 0;
    int q8;
    status = mim_open(&model, blob, bytes);
    CHECK_THAT(status == MIM_OK ? model.header && !model.fault[0] : !model.header && model.fault[0] && model.fault_at <= bytes,
               "mim_open: status %d with fault \"%s\"", (int)status, model.fault);
    if (status)
        return;
    opened++;
    status = mim_verify(&model);
    CHECK(status == MIM_OK || status == MIM_ERR_CHECKSUM || status == MIM_ERR_RANGE);
    if (!some_use(&model, &desc, &image, visible))
        return;
    q8 = model.header->type >= MIM_Q8;
    chosen = between(0, MIMP_TABLE - 1);
    for (i = 0; i < MIMP_TABLE; i++) {          /* floats may differ between kernels, so one of them will do */
        results *r = runs ? &other : &one;
        desc.cpu = mimp_table[i]->cpu;
        if (!mimp_available(desc.cpu) || !(q8 || i == chosen))
            continue;
        status = mim_plan(&model, &desc, &need);
        if (status || need.bytes > 1u << 26)
            return;
        how.low = (int)between(0, 1);
        how.bytes = 0;
        if (between(0, 3) && need.useful < 1u << 26)        /* mostly more than the minimum, which takes time to settle on */
            how.bytes = need.bytes + (need.useful - need.bytes) / between(1, 9);
        status = run_model(r, &arena, &model, &desc, &image, how);
        CHECK_THAT(status == MIM_OK || status == MIM_ERR_SIZE || (status == MIM_ERR_RANGE && q8), "status %d", (int)status);
        CHECK(!runs || status == expected);
        CHECK(status || results_whole(r));
        if (!status && runs)
            CHECK_THAT(memcmp(one.values, other.values, one.count * 4) == 0, "%s differs from the kernel before", mimp_table[i]->name);
        expected = status;
        runs++;
    }
    encoded += runs && expected == MIM_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static parts p;
    uint8_t *repaired;
    void *copy;
    size_t n;
    if (posix_memalign(&copy, 16, bytes + !bytes))
        perror("posix_memalign"), exit(2);
    memcpy(copy, data, bytes);
    try_blob((const uint8_t *)copy, bytes);
    if (take_apart(&p, (const uint8_t *)copy, bytes) && (repaired = put_together(&p, &n)) != NULL) {
        try_blob(repaired, n);
        free(repaired);
    }
    free(copy);
    if (check_now.why[0]) {
        fprintf(stderr, "fuzz_blob: %s\n", check_now.why);
        abort();
    }
    return 0;
}

#ifndef FUZZ_LIBFUZZER

/* ---- mutation ---- */

static uint32_t odd(void)
{
    static const uint32_t values[] = { 0, 1, 2, 3, 4, 15, 16, 17, 32, 63, 64, 127, 128, 255, 256, 257, 8192, 16384, 65535, 65536,
                                       0x7fffffff, 0x80000000, 0xfffffff0, 0xffffffff };
    return between(0, 3) ? between(0, 3) ? between(0, 70) : values[between(0, 23)] : any32();
}

static uint32_t odd_float(void)
{
    static const uint32_t values[] = { 0, 0x80000000, 1, 0x007fffff, 0x00800000, 0x3f800000, 0x7f7fffff, 0xff7fffff, 0x7f800000, 0xff800000,
                                       0x7fc00000, 0xffc12345, 0x7f800001, 0x0da24260, 0x4b400000 };
    return between(0, 1) ? values[between(0, 14)] : any32();
}

static void put32(void *to, uint32_t v) { memcpy(to, &v, 4); }

/* One number of the model's shape becomes another wherever it stands: most such models are still whole. */
static void change_size(parts *p)
{
    const mim_blob_tensor *t = &p->tensor[between(0, p->header.tensor_count - 1)];
    const uint32_t from = between(0, 1) ? t->rows : t->columns, to = between(0, 3) ? between(1, 90) : odd();
    uint32_t i;
    for (i = 0; i < p->header.tensor_count; i++) {
        p->tensor[i].rows = p->tensor[i].rows == from ? to : p->tensor[i].rows;
        p->tensor[i].columns = p->tensor[i].columns == from ? to : p->tensor[i].columns;
    }
    p->header.dim = p->header.dim == from ? to : p->header.dim;
    p->header.pooled_dim = p->header.pooled_dim == from ? to : p->header.pooled_dim;
    p->header.classes = p->header.classes == from ? to : p->header.classes;
    p->header.decoder_dim = p->header.decoder_dim == from ? to : p->header.decoder_dim;
}

/* The whole model in another type. */
static void change_type(parts *p)
{
    const uint32_t type = between(MIM_F32, MIM_Q4);
    uint32_t i;
    p->header.type = type;
    for (i = 0; i < p->header.tensor_count; i++)
        if (p->tensor[i].layout == MIM_PANEL16) {
            const int embed = p->step[0].tensor[0] == i + 1;
            const uint32_t of = embed && type >= MIM_Q8 ? (uint32_t)MIM_Q8 : type == MIM_Q4 ? between(MIM_Q8, MIM_Q4) : type;
            p->tensor[i].type = (uint8_t)of;
            p->tensor[i].weight_max = of == MIM_Q8 ? between(0, 1) ? 63 : 127 : 0;
            p->tensor[i].input_max = of >= MIM_Q8 ? between(0, 1) ? 127 : 255 : 0;
            p->tensor[i].group = (uint8_t)(of == MIM_Q4 ? 32u << between(0, 2) : 0);
        }
    for (i = 0; i < p->header.step_count; i++)
        p->step[i].key_max = p->step[i].value_max = p->step[i].kind == MIM_STEP_ATTENTION && type >= MIM_Q8 ? between(0, 1) ? 63 : 127 : 0;
}

/* Steps taken out, put in twice, or exchanged. */
static void change_steps(parts *p)
{
    const uint32_t n = p->header.step_count, i = between(0, n - 1), j = between(0, n - 1);
    const mim_blob_step s = p->step[i];
    uint32_t k;
    switch (between(0, 2)) {
    case 0:
        p->step[i] = p->step[j], p->step[j] = s;
        break;
    case 1:
        memmove(p->step + i, p->step + i + 1, (n - 1 - i) * sizeof s);
        p->header.step_count--;
        p->header.decoder_step -= i < p->header.decoder_step;
        break;
    default:
        if (n == MOST_STEPS)
            return;
        memmove(p->step + j + 1, p->step + j, (n - j) * sizeof s);
        p->step[j] = s;
        p->header.step_count++;
        p->header.decoder_step += j < p->header.decoder_step;
    }
    for (p->header.depth = 0, k = 0; k < p->header.step_count; k++)
        p->header.depth += p->step[k].flags & 1;
}

static void change_step(parts *p)
{
    mim_blob_step *s = &p->step[between(0, p->header.step_count - 1)];
    switch (between(0, 11)) {
    case 0:  s->kind = (uint16_t)between(0, 9); break;
    case 1:  s->flags = (uint16_t)between(0, 4); break;
    case 2:  s->tensor[between(0, 7)] = (uint16_t)between(0, p->header.tensor_count + 1); break;
    case 3:  s->rule = between(0, 5); break;
    case 4:  s->heads = odd(); break;
    case 5:  s->head_dim = s->head_dim ? (s->head_dim + 15) / 16 * 16 - between(0, 15) : odd(); break;    /* the same, padded */
    case 6:  s->stored_height = odd(); break;
    case 7:  s->stored_width = odd(); break;
    case 8:  put32(between(0, 1) ? &s->eps : &s->scale, odd_float()); break;
    case 9:  s->rotary = (uint8_t)between(0, 3); break;
    case 10: s->rotary_grid = (uint8_t)between(0, 4); break;
    default: put32(&s->position_offset, odd_float());
    }
}

static void change_header(parts *p)
{
    uint8_t *h = (uint8_t *)&p->header;
    const size_t first = offsetof(mim_blob_header, decoder_step), last = offsetof(mim_blob_header, reserved0);
    if (between(0, 3))
        put32(h + first + between(0, (uint32_t)(last - first) / 4) * 4, odd());
    else
        put32(h + offsetof(mim_blob_header, mean) + between(0, 31) * 4, odd_float());
    if (p->header.step_count > MOST_STEPS || p->header.tensor_count > MOST_TENSORS)
        p->header.step_count = 2, p->header.tensor_count = 1;
}

static void change_bytes(uint8_t *blob, size_t bytes)
{
    uint32_t count = between(1, 40), structure = 512 + between(0, 1500);
    const size_t at = between(0, (uint32_t)(bytes < structure ? bytes : between(0, 1) ? bytes : structure) - 1);
    const uint32_t kind = between(0, 4), value = kind < 2 ? odd_float() : any32();
    if (kind == 4)
        blob[at] = (uint8_t)odd();
    for (; kind < 4 && count && at / 4 * 4 + count * 4 <= bytes; count--)
        put32(blob + at / 4 * 4 + count * 4 - 4, kind == 3 ? any32() : value);
}

static void mutant(const uint8_t *base, size_t base_bytes)
{
    static parts p;
    uint32_t n = between(0, 3);
    uint8_t *blob;
    size_t bytes;
    if (!take_apart(&p, base, base_bytes))
        return;
    while (n-- && p.header.tensor_count && p.header.step_count)
        switch (between(0, 6)) {
        case 0:  change_size(&p); break;
        case 1:  change_type(&p); break;
        case 2:  change_steps(&p); break;
        case 3:  change_step(&p); break;
        case 4:  change_header(&p); break;
        case 5:  p.tensor[between(0, p.header.tensor_count - 1)].rows = odd(); break;
        default: p.tensor[between(0, p.header.tensor_count - 1)].columns = odd();
        }
    blob = put_together(&p, &bytes);
    if (!blob)
        return;
    for (n = between(0, 2); n; n--)
        change_bytes(blob, bytes);
    if (between(0, 15) == 0)
        bytes = between(0, (uint32_t)bytes);
    LLVMFuzzerTestOneInput(blob, bytes);
    free(blob);
}

static int replay(const char *path)
{
    static uint8_t data[1 << 24];
    FILE *in = fopen(path, "rb");
    if (!in) {
        fprintf(stderr, "fuzz_blob: cannot read %s\n", path);
        return 1;
    }
    LLVMFuzzerTestOneInput(data, fread(data, 1, sizeof data, in));
    fclose(in);
    return 0;
}

int main(int argc, char **argv)
{
    const unsigned long rounds = argc > 1 ? strtoul(argv[1], NULL, 10) : 20000;
    unsigned long i;
    uint8_t *base = NULL;
    size_t bytes = 0, j;
    int failed = 0;
    for (j = 0; j < sizeof planes / sizeof *planes; j++)
        planes[j] = uniform(-3, 3);
    if (argc > 1 && (argv[1][0] < '0' || argv[1][0] > '9')) {
        for (i = 1; i < (unsigned long)argc; i++)
            failed |= replay(argv[i]);
        return failed;
    }
    check_state = (argc > 2 ? strtoul(argv[2], NULL, 10) : 1) * 2654435761u + 1;
    for (i = 0; i < rounds; i++) {
        if (i % 32 == 0) {
            const spec p = spec_random_block(1 + (uint32_t)(i / 32) % 3);
            const uint64_t state = check_state;
            free(base);
            base = blob_build(&p, &bytes);
            check_state = state;
        }
        mutant(base, bytes);
    }
    free(base);
    if (opened < rounds / 8 || encoded < rounds / 20) {
        printf("FAIL fuzz_blob: of %lu mutants only %lu opened and %lu encoded\n", rounds, opened, encoded);
        return 1;
    }
    printf("ok fuzz_blob: %lu mutants, each also repaired: %lu opened, %lu encoded\n", rounds, opened, encoded);
    return 0;
}

#endif
