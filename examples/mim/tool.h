/* tool.h - what the parts of the command-line tool share. */
#ifndef TOOL_H
#define TOOL_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "../../mim.h"

#if defined(__GNUC__)
#define PRINTF_LIKE(text, first) __attribute__((format(printf, text, first)))
#else
#define PRINTF_LIKE(text, first)
#endif

/* Commands: argv[0] is the command's own name. They return the exit status. */
int cmd_convert(int argc, char **argv);
int cmd_info(int argc, char **argv);
int cmd_encode(int argc, char **argv);
int cmd_reconstruct(int argc, char **argv);
int cmd_bench(int argc, char **argv);

/* ---- util.c: saying what went wrong ---- */

/* Prints "mim: " and one line to stderr: what, where, and what to do. Returns 1, so that callers can `return fail(...)`. */
int fail(const char *format, ...) PRINTF_LIKE(1, 2);

/* The same line kept for a caller who decides whether it is fatal. because() returns 1. */
typedef struct reason {
    char text[512];
} reason;

int because(reason *why, const char *format, ...) PRINTF_LIKE(2, 3);

/* ---- util.c: files ---- */

/* A file that appears complete or not at all: written as PATH.part beside it, renamed by out_commit; the part also goes
 * when a signal ends the program. A path that names a device or a pipe is written directly.
 * All return 0, or 1 after fail(). out_discard after any failure removes the part. Up to 64 at a time. */
typedef struct out_file {
    FILE *file;
    char *path, *part;
} out_file;

int  out_open(out_file *out, const char *path);
int  out_write(out_file *out, const void *data, size_t bytes);
int  out_commit(out_file *out);   /* flush, check, rename */
void out_discard(out_file *out);

/* A whole file in memory, 64-byte aligned or better; it is never empty. */
typedef struct in_file {
    const uint8_t *data;
    size_t bytes;
    int mapped;
} in_file;

/* Mapped read-only (or read where mapping is not possible): for models and checkpoints, which nobody may change in use.
 * 0, or 1 after fail(). */
int  in_open(in_file *in, const char *path);

/* Read, up to 2 GiB, so that it does not matter if the file changes or is cut short: for pictures. 0, or 1 with the
 * reason (without the path). */
int  in_read(in_file *in, const char *path, reason *why);
void in_close(in_file *in);

/* ---- util.c: models and sessions ---- */

/* Opens and verifies a blob; 1 after fail() naming path, offset and what to do. */
int  model_open(mim_model *model, in_file *file, const char *path);

/* A session with its arena, of the useful size. Starting one that is already started gives its arena back first. */
typedef struct engine {
    mim_session session;
    void *arena;
} engine;

int  engine_start(engine *e, const mim_model *model, const mim_session_desc *desc, reason *why);
void engine_stop(engine *e);

int model_takes_tokens(const mim_model *model);     /* its caller embeds; it has no use for pictures */

/* The grid of patches of an input of this size. */
mim_grid model_grid(const mim_model *model, uint32_t height, uint32_t width, uint32_t frames);

/* Multiply-accumulates of one encode of such a grid, without the head: the linear layers, convolutions and products of
 * attention at the true token count, from the model's steps and the true sizes of its tensors; windows that the grid does not
 * fill count for the tokens they have. */
uint64_t model_macs(const mim_model *model, mim_grid grid);

const mim_blob_step *model_step(const mim_model *model, uint16_t kind);            /* the encoder's last of its kind, or NULL */
const mim_blob_tensor *step_tensor(const mim_model *model, const mim_blob_step *step, unsigned slot);  /* or NULL */
uint64_t model_prefix(const mim_model *model);                                     /* CLS and registers */
const char *type_name(uint32_t type);

/* ---- library.c ---- */

/* Called with each stage (MIM_STAGE_...) that an encode comes to; NULL: none. One thread's encodes only. */
extern void (*stage_hook)(int stage);

/* The positions of an EMBED or UNMASK step whose stored ones are `table`, on a grid of height x width: (height*width, dim). */
void positions_at(const mim_blob_step *step, const float *table, uint32_t height, uint32_t width, uint32_t dim, float *to);

/* ---- util.c: command lines ---- */

/* `--name VALUE`, `--name=VALUE`, or a switch; "--" ends them. value and given start as NULL and 0. */
typedef struct option {
    const char *name;
    const char **value;               /* where the value goes; NULL: a switch */
    int *given;                       /* set to 1 by a switch */
} option;

enum { PARSED = 0, PARSE_FAILED = 1, PARSE_HELP = 2 };

/* Moves what is not an option to the front of argv from 1 on, and counts it. --help prints usage. */
int parse_options(int argc, char **argv, const option *options, size_t count, const char *usage, int *positional);

/* Each 0, or 1 after fail() naming the option. A NULL text leaves the result as it is. */
int parse_number(const char *name, const char *text, uint32_t least, uint32_t most, uint32_t *result);
int parse_real(const char *name, const char *text, double least, double most, double *result);
int parse_cpu(const char *text, uint32_t *cpu);
int parse_size(const mim_model *model, const char *text, uint32_t *height, uint32_t *width);  /* HxW, multiples of the patch */

/* ---- inputs.c: what `mim encode` is given ---- */

enum { SOURCE_PICTURE = 0, SOURCE_ARRAY = 1 };

typedef struct source {
    uint64_t first;                   /* number of its first image among all images */
    size_t name;                      /* its path: offset in names */
    int kind;                         /* SOURCE_... */
} source;

/* Every image in order, or every video: as many pictures one after the other as it has frames. Paths lie in one string, so that a million pictures cost little more than their names. */
typedef struct inputs {
    source *sources;
    size_t count, room;
    char *names;
    size_t names_used, names_room;
    uint64_t images;
    int tolerant;                     /* 1: a picture that cannot be opened is found when its turn comes */
    uint32_t frames;                  /* given for an input; set before the first is added */
    uint32_t pending;                 /* pictures of a video that is not complete */
    uint64_t tokens;                  /* in every input, where the caller embeds; 0: none seen yet */
} inputs;

/* Resolves pictures, folders, @lists and arrays for this model and input size: float32 of (C,H,W) or (N,C,H,W), of videos
 * (T,C,H,W) or (N,T,C,H,W), of tokens (T,D) or (N,T,D). 0, or 1 after fail(). */
int  inputs_add(inputs *all, const char *argument, const mim_model *model, uint32_t height, uint32_t width);
int  inputs_end(const inputs *all);   /* 0, or 1 after fail(): a video is not complete */
void inputs_free(inputs *all);
size_t inputs_find(const inputs *all, uint64_t image);  /* the source that holds it, of a video's pictures the first */

/* ---- util.c: the clock ---- */
double seconds_now(void);             /* monotonic */
double processor_seconds_now(void);   /* that the processor has spent on this thread */

#endif
