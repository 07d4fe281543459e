/* mim.h - Vision Transformers pretrained by masked image modelling, in one C header.
 *
 * Version 0.1.0. MIT licence; the text is at the end of the file.
 *
 * Turns pictures into features on whatever computer there is: backbones such as MAE, DINOv2,
 * I-JEPA and MSN, converted once into a blob, run from memory or flash in one buffer of a size
 * that is stated beforehand. C99 or C++11, libc only, no allocation, no globals.
 *
 * CONTENTS
 *     QUICK START     WHAT IT DOES     BUILDING     CONFIGURATION     INPUT     OUTPUT     BLOB
 *     MEMORY     THREADS     INSTRUCTION SETS     ACCURACY AND DETERMINISM     ERRORS     SECURITY
 *     FIRMWARE     PORTING     READING THIS FILE     REVISIONS
 *
 * QUICK START
 *
 *     #define MIM_IMPLEMENTATION
 *     #include "mim.h"
 *
 *     int main(void)
 *     {
 *         static uint8_t pixels[288 * 384 * 3];                       // a picture: RGB, row by row
 *         FILE *photo = fopen("examples/images/photo.ppm", "rb");
 *         mim_session_desc use = { 0 };
 *         mim_image image = { 0 };
 *         mim_output out = { 0 };
 *         mim_memory memory;
 *         mim_session session;
 *         mim_model model;
 *         size_t bytes;
 *         void *blob;
 *
 *         if (!photo || fseek(photo, 15, SEEK_SET) || fread(pixels, sizeof pixels, 1, photo) != 1)
 *             return 1;
 *         if (mim_load("examples/models/mae-cifar10-d128l6.q8.mim", &blob, &bytes) || mim_open(&model, blob, bytes))
 *             return 1;
 *         image.width = use.source_width = 384;
 *         image.height = use.source_height = 288;
 *         image.pixels = pixels;
 *         if (mim_plan(&model, &use, &memory))                        // how much memory will it take?
 *             return 1;
 *         memory.base = malloc(memory.bytes);
 *         out.pooled = (float *)malloc(model.header->pooled_dim * sizeof(float));
 *         if (mim_begin(&session, &model, &use, &memory) || mim_encode(&session, &image, &out))
 *             return 1;
 *         printf("%u features: %g %g %g ...\n", model.header->pooled_dim, out.pooled[0], out.pooled[1], out.pooled[2]);
 *         return 0;
 *     }
 *
 * A blob comes from a published checkpoint by the tool in examples/mim: `mim convert CHECKPOINT -o model.mim`.
 *
 * WHAT IT DOES
 *
 * Encoders of the plain ViT kind: any patch size, grid, depth, width and head dimension up to
 * the limits below, 1 to 16 channels, with or without CLS and register tokens, layer scale and
 * qkv biases; LayerNorm with the family's eps; GELU by erf, tanh or logistic; positions
 * interpolated to other image sizes by the family's own rule; only some of the patches, as a
 * masked autoencoder sees them; that autoencoder's decoder. Weights as f32, f16, 8 or 4 bits.
 *
 * Besides: relative position bias (BEiT, data2vec, SimMIM), rotary embedding (EVA-02, DINOv3), gated
 * MLPs, norms inside the blocks and before them (CLIP).
 *
 * Windows, shifted or not, with tables of relative positions or one along each axis (Swin, ViTDet); pyramids that merge or
 * thin out their tokens (Swin, Hiera, HiViT, MViTv2), keys of a coarser grid (PVT, Twins), necks, convolutions inside blocks
 * (ConvMAE); videos in tubelets, overlapping or not (VideoMAE, V-JEPA 2, MViTv2, Hiera), groups of channels, metadata of
 * satellite pictures (SatMAE, Prithvi); and tokens that the caller embeds.
 *
 * It does not train, decode picture files, or allocate.
 *
 * BUILDING
 *
 * Define MIM_IMPLEMENTATION in one file before including this header. No compiler flag is needed
 * for speed but -O2: functions carry their instruction set, and the best is chosen at mim_begin.
 * -ffast-math is refused (see ACCURACY); 32-bit x86 needs -msse2 -mfpmath=sse. Do not give clang
 * -ffp-contract=fast, which overrides the pragma here and changes bits; gcc's is harmless.
 *
 * CONFIGURATION (define before the include; all default to off)
 *
 *     MIM_IMPLEMENTATION   the code, in one file of the program
 *     MIM_STATIC           all functions static: a private copy in this file
 *     MIM_API              what precedes public declarations (dllexport and the like)
 *     MIM_NO_FLOAT         without a floating-point instruction: for integer blobs alone (others are refused), with mim_output.integers
 *                          as the only results, u8 pictures, and portable code
 *     MIM_NO_RESIZE        without mim_resize, and pictures come in the input's size
 *     MIM_NO_DECODER       without mim_reconstruct, and blobs that carry a decoder, which mim_open then refuses
 *     MIM_NO_STDIO         without mim_load and mim_unload, stdio.h and stdlib.h
 *     MIM_NO_X86           without AVX2 and AVX-512
 *     MIM_NO_AVX512        without AVX-512 and AMX
 *     MIM_NO_NEON          without NEON
 *     MIM_NO_DOTPROD       without its dot products
 *     MIM_NO_I8MM          without its matrix products
 *     MIM_NO_Q4            without 4-bit blobs, which mim_open then refuses
 *     MIM_NO_DSP           without the DSP extension of Cortex-M, and without MVE
 *     MIM_NO_MVE           without MVE (Helium)
 *     MIM_NO_PAIRS16       without the layout of weights for MVE, and blobs that have it, which mim_open then refuses
 *     MIM_NO_SCALAR        without the portable products where the build has DSP's
 *     MIM_NO_RVV           without RISC-V's vectors
 *     MIM_NO_SIMD128       without those of wasm
 *     MIM_MEMCPY, MIM_MEMSET, MIM_MEMCMP   all three, in place of string.h's
 *     MIM_STAGE(stage)     what to do where an encode comes to one of the stages MIM_STAGE_...: a
 *                          profiler's clock (as in `mim bench --profile`); with desc.parallel, in
 *                          every thread. Without it there is no code at all
 *
 * None changes a struct or a result. libm is never used: square root, exp and erf are here. What they leave of the code, and of the
 * stack, `make size` measures: on a Cortex-M4 (gcc 12, -Os, which has short loops where there are also fast ones) 16 KB with q8 of
 * integer numerics alone, 20 KB without floats, 86 KB of everything.
 * Freestanding: -ffreestanding -DMIM_NO_STDIO, and memcpy, memset, memcmp from anywhere.
 *
 * INPUT
 *
 * Pictures are u8 in sRGB (RGB8, RGBA8, BGR8, GRAY8, RGB565) or float planes. A u8 picture goes
 * through the model's own preprocessing: resized so that it just covers the blob's short edge (or
 * squashed, or fitted in and padded), filtered like Pillow 13's Image.resize to the bit, cropped in the middle as
 * torchvision does, divided by 255, less the mean, by the deviation. With image.exact, or in a
 * session planned without a source size, the picture must have the input's size and is not
 * resized. Float planes are taken as they are. Rows may come from a callback, one at a time, or lie
 * anywhere, a camera's buffer for one: of a picture the arena holds as many rows as a patch has, and where it is
 * resized as many as the filter reaches over, never the whole of it.
 *
 * OUTPUT
 *
 * Tokens come in the order CLS, registers, patches; patches in raster order, or in the order of
 * the list of visible patches. `tokens`, `cls`, `registers` and `patches` are what the model's
 * last norm emits. Layers count from 1: layer n is the stream after block n, before the last norm
 * unless asked otherwise. `pooled` is what a head would see. All is float, rows end to end; integer
 * blobs also give it as the int16 that they compute, with a scale: see mim_integers.
 * Nothing is computed that no output needs.
 *
 * BLOB
 *
 * See mim_blob_header and what follows it. A blob is read in place; its base must be 16-byte
 * aligned (64 is faster). It holds everything from pixels to features: preprocessing, a list of
 * steps, weights packed as the kernels read them, and where it all came from. Families of models
 * differ in the list of steps and in numbers, never in code.
 *
 * MEMORY
 *
 * The caller owns everything. A model borrows the blob, a session borrows the arena. mim_plan
 * states the arena's minimum, exact to the byte, and the size beyond which more is not used; any
 * size between works, and more makes tiles larger. With T tokens of width D, heads of width h
 * and H hidden units, in bytes, about
 *
 *     q8:   4 T D  +  the greater of  T (5 D + 3 h) + T h 4   and  rows (D + 4 H)
 *     f32:  4 T D  +  the greater of  4 T (2 D + 3 h) + T h 4  and  4 rows (D + H)
 *
 *     integer:  3 T D  +  2 T h  +  28 T                          (scalar: ViT-Ti/16 at 224 in 145 KiB, ViT-S 258, ViT-B 483)
 *
 * at the minimum, where rows are those of one kernel tile (3 to 16) for each thread; it grows linearly with T. With several
 * threads and float numerics both count, not the greater: what one core wrote for attention the other should not have to fetch for
 * the MLP. Integers with q4 need a panel more, 16 times the longest row of weights. With all that is useful, up to 256 rows (q8 with float
 * numerics on one thread: 80, or a fourth of the tokens) are worked on at a time, and of an integer blob's weights each is read once.
 *
 * Where memory is of two kinds (TCM and SRAM, SRAM and PSRAM), desc.split plans for two regions. The slow one holds what a step goes
 * through from end to end, the stream of tokens and the output of attention (integer: 3 T D and a little); the fast one keys,
 * values, tiles and scratch (integer: 32 KB at least for ViT-Ti/16 at 224, 34 KB for ViT-B). Both sizes are exact, results the same.
 *
 * The stack needs up to 14 KB, and 1.5 KB where there are no floats.
 *
 * THREADS
 *
 * A model may be shared by any number of threads; a session serves one at a time. Inside an
 * encode, work is handed to desc.parallel as desc.threads tasks, which may run at once. The library
 * has no locks, no atomics and no thread of its own. Results do not depend on the number of tasks.
 *
 * INSTRUCTION SETS
 *
 * scalar (portable C); avx2 (with FMA and F16C), avxvnni (that and AVX-VNNI), avx512bw (without VNNI),
 * avx512 (with VNNI), amx (that and AMX-INT8; Linux only, where the process asks the system for the
 * use of it); on AArch64 neon, dotprod and i8mm; on 32-bit Arm neon, in builds with -mfpu=neon or
 * better, for the products alone; in RISC-V builds with -march=rv64gcv or the like (clang 16 and 19
 * are tried) rvv128, rvv256 and rvv512, for vector registers of so many bits or more; in wasm builds
 * with -msimd128 simd128; in builds for a Cortex-M with the DSP extension (M4, M7, M33...) dsp, and with Helium (M55, M85)
 * mve as well, for the products alone. mve reads integer blobs of another layout (`mim convert --layout pairs`), which other
 * machines run by portable code, and those of the usual one are dsp's there. The machine is asked where it must be: by CPUID
 * and XCR0, by getauxval on Linux, by sysctlbyname on Apple's systems; elsewhere, and freestanding, dotprod and i8mm need a
 * -march that has them. desc.cpu names one; one that the machine lacks is an error, not a fallback.
 * session.cpu says which is in use.
 *
 * ACCURACY AND DETERMINISM
 *
 * A quantized blob gives the same bits on every machine, for any number of threads and any arena:
 * products of bytes are summed exactly in integers and never saturate; all else is IEEE single
 * precision in one written order, without contraction, with the functions of this file. So the
 * portable code is the oracle of every kernel, and features indexed on a server match those of a
 * device. (It needs subnormals as IEEE has them: do not run it with flush-to-zero set.)
 * f32 and f16 blobs give the same bits for any number of threads and any arena, and differ between
 * instruction sets by rounding; against float64 references the golden models of the tests stay
 * within 1e-5 of the largest value.
 * Numerics are a field of the blob. Those with integer numerics (`mim convert --numerics integer`) compute nothing in floats, from
 * pixels to features: scales that the converter found on pictures, a stream of int16, tables for exponential and activation. They
 * are plain transformers of one input size, need a third of the memory, and run on every build. What it costs, on the shipped
 * model and 1,000 pictures: mean token cosine to f32 0.99972, with float numerics 0.99978.
 * q8 with float numerics quantizes activations per token to 8 bits with a zero point, weights per output channel, and
 * the products inside attention as well; pixels become two bytes. Where that leaves the smaller error, weights have 8 bits of which
 * fours that are added together are held to +-128, so that four products fit 16 bits (AVX2); else 7 bits each. q4 does the same with
 * weights of 4 bits, whose groups have small whole multipliers: its sums too are of integers.
 *
 * ERRORS
 *
 * Every function that can fail returns a mim_status: MIM_OK is 0, mim_status_string says what is
 * wrong and what to do. mim_open and mim_verify also leave the offset of the fault in the blob and
 * its name in the model. Nothing aborts, prints or asserts. After an error the outputs' contents
 * are unspecified and everything may be used again.
 *
 * SECURITY
 *
 * A blob from a stranger is expected. mim_open checks all of the structure before anything is
 * used: hostile weights can give nonsense, but no read or write outside the blob, the arena and the
 * caller's buffers, and no undefined behaviour. It does not read the weights; mim_begin checks the
 * ranges that kernels rely on, mim_verify everything. We do not defend against a blob that is
 * changed while in use, or against wrong sizes of the caller's own buffers.
 *
 * FIRMWARE
 *
 * examples/firmware has images for Cortex-M and RISC-V, complete with start-up and linker scripts; examples/packaging is for
 * ESP-IDF, Zephyr, Arduino, PlatformIO and CMSIS. `mim convert --numerics integer` makes the blobs for small cores.
 *
 * Memory map. Flash holds the code and the blob, which is neither copied nor written: let the linker script place it (.incbin)
 * or map a partition, at a multiple of 64; mim_open refuses less than 16 before it reads a word. RAM holds the arena, whose
 * least size mim_plan states (and `mim info`, on the PC), the results asked for, mim_model and mim_session (150 bytes on 32 bits)
 * and the stack. A picture need not be there as a whole: image.read_row is asked for its rows in order, each once, and may
 * wait for the camera; RGB565 is taken as it comes. Where a DMA fills a frame buffer behind a data cache, invalidate it first.
 *     After an update of a blob, mim_verify reads all of it and its checksum. At each start mim_open is enough: it reads the
 * directory, some 45,000 instructions for the shipped model. mim_begin reads the weights once.
 *
 * Flash. Within a tile of tokens every weight is read once, panel after panel, in the order in which they lie. So an encode reads
 * all of them tokens / tile times: with the arena at its minimum a tile has a few tokens, at mim_memory.useful up to 256, and
 * what serial flash gives then counts for more than the core. ViT-Ti/16 at 224 pixels (197 tokens, 5.3 MB of weights) reads
 * 265 MB in tiles of 4, 5.3 MB in one. A token more in the tile takes about D + H bytes of arena. For Helium, whose leaf wants
 * weights in another order: `mim convert MODEL.mim --layout pairs`.
 *
 * Fast and slow memory. With desc.split (see MEMORY) the larger part of the arena may lie in the slower memory: SRAM beside tightly
 * coupled memory, or PSRAM beside SRAM. What is read again and again stays in the faster one.
 *
 * Watchdogs and deadlines. desc.progress is called after every step, twice a layer, and read_row for every row: feed the watchdog
 * there, and look at the clock. A value other than 0 ends the encode with MIM_ERR_ABORTED, and the session can be used again at
 * once. The longest step is an MLP, a little more than half of a layer. Interrupts may come at any time; the library has no critical
 * sections. The instructions of an encode hardly depend on the picture: between black, white and noise by less than 1 in 10,000.
 *
 * Power. The work is a number of multiplications that is known beforehand, so run fast and sleep, also inside read_row. Nothing is
 * computed that no output needs: asked for layer 3 of 6, an encode ends there. image.visible with a quarter of the patches takes a
 * quarter of the work, and masked autoencoders were trained on no more.
 *
 * Without an FPU: MIM_NO_FLOAT and an integer blob: its int16 results are the same bits as in any other build. Blobs with float
 * numerics run there, too, on the compiler's floats: the same bits, on Cortex-M0 and M3 for nearly five times the instructions
 * and three times the arena.
 *
 * PORTING
 *
 * Needs: 8-bit bytes, two's complement, arithmetic shifts of negative numbers, IEEE float and double, little-endian. A big-endian machine
 * gets a status from mim_open. MSVC: written for it, not yet tried. Unaligned floats inside the
 * caller's planes and outputs are not supported; the blob and the arena are checked.
 *
 * READING THIS FILE
 *
 * Search for ">>". In order: config, small things, blob, lanes, row operations, kernels, arena,
 * resize, input, products, steps, integer, sessions, stdio. The computation itself is in >>steps,
 * and once more, without floats, in >>integer.
 *
 * REVISIONS
 *
 *     0.1.0   ViT encoders with absolute, relative and rotary positions; windows, pyramids, video,
 *             tokens of the caller; f32, f16, q8, q4; integer numerics; scalar, AVX2, AVX-VNNI,
 *             AVX-512, AMX, NEON with dotprod and i8mm, RVV 1.0, wasm SIMD128, Cortex-M's DSP and
 *             Helium; resize; MAE decoder
 */
#ifndef MIM_H
#define MIM_H

#include <stddef.h>
#include <stdint.h>

#define MIM_VERSION_MAJOR 0
#define MIM_VERSION_MINOR 1
#define MIM_VERSION_PATCH 0

#ifndef MIM_API
#if defined(MIM_STATIC) && defined(__GNUC__)
#define MIM_API static __attribute__((unused))
#elif defined(MIM_STATIC)
#define MIM_API static
#else
#define MIM_API extern
#endif
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---------------------------------------------------------------------------------------
 * Status
 * ------------------------------------------------------------------------------------- */

/* Every way a call can end: X(name, text). Distinct causes stay distinct. */
#define MIM_STATUS_LIST(X) \
    X(MIM_OK, "ok") \
    X(MIM_ERR_ARGUMENT, "an argument is NULL or out of its range; see the function's comment") \
    X(MIM_ERR_ALIGNMENT, "a buffer is not 16-byte aligned; align the blob or the arena") \
    X(MIM_ERR_ENDIAN, "this machine is big-endian; blobs are little-endian and read in place") \
    X(MIM_ERR_TRUNCATED, "the blob ends before its header says; copy the whole file") \
    X(MIM_ERR_MAGIC, "not a mim blob; make one with `mim convert`") \
    X(MIM_ERR_VERSION, "the blob is of another format version; convert the checkpoint again") \
    X(MIM_ERR_HEADER, "a field of the blob's header is out of its range") \
    X(MIM_ERR_STEP, "a step of the blob is malformed or out of place") \
    X(MIM_ERR_TENSOR, "a tensor of the blob has the wrong shape, type or layout for its step") \
    X(MIM_ERR_LAYOUT, "the blob's tensors overlap, leave gaps or have non-zero padding") \
    X(MIM_ERR_RESERVED, "a reserved field of the blob is not zero; use a newer mim.h") \
    X(MIM_ERR_LIMIT, "a size in the blob is beyond the limits of this library") \
    X(MIM_ERR_CHECKSUM, "the blob's checksum does not match its contents; copy it again") \
    X(MIM_ERR_RANGE, "a weight is outside the range its tensor records, or not finite") \
    X(MIM_ERR_UNSUPPORTED, "this needs what the build leaves out (MIM_NO_...), or what an integer blob cannot do") \
    X(MIM_ERR_CPU, "the CPU level asked for is not available on this machine, or does not read the blob's layout") \
    X(MIM_ERR_SIZE, "the image size does not fit the model: use a multiple of the patch size, " \
                    "within the limits, that the model's positions can be interpolated to") \
    X(MIM_ERR_FORMAT, "this pixel format does not fit the model's channels") \
    X(MIM_ERR_MEMORY, "the memory given is smaller than mim_plan's minimum for this use") \
    X(MIM_ERR_VISIBLE, "the list of visible patches is too long, repeats an index or leaves the grid, " \
                       "or the model cannot do with some of its patches") \
    X(MIM_ERR_MISSING, "the model has no such output (no CLS token, registers, head or decoder)") \
    X(MIM_ERR_ABORTED, "the progress or row callback stopped the work") \
    X(MIM_ERR_IO, "the file cannot be opened or read") \
    X(MIM_ERR_ALLOCATION, "not enough memory to load the file")

typedef enum mim_status {
#define MIM_X(name, text) name,
    MIM_STATUS_LIST(MIM_X)
#undef MIM_X
    MIM_STATUS_COUNT
} mim_status;

/* ---------------------------------------------------------------------------------------
 * The blob
 *
 *     header (512 bytes) | steps (128 bytes each) | tensor directory (32 bytes each) | data
 *
 * All little-endian. A tensor's data begins at the first multiple of 64 after what precedes
 * it (the directory, or the tensor before), in directory order; the bytes between are zero;
 * the last tensor's last byte is the blob's last byte. Numbers are IEEE 754.
 * ------------------------------------------------------------------------------------- */

#define MIM_BLOB_MAGIC "\x89MIM\r\n\x1a\n"  /* 8 bytes; damaged by any text-mode copy */
#define MIM_BLOB_VERSION 1u
#define MIM_BLOB_ALIGN 64u

/* Limits: a blob beyond them is refused. k = columns of a matrix, so 255 * 128 * k fits int32. */
#define MIM_MAX_CHANNELS 16u
#define MIM_MAX_PATCH 256u
#define MIM_MAX_IMAGE 16384u     /* height, width */
#define MIM_MAX_TOKENS 32768u    /* prefix tokens and patches */
#define MIM_MAX_PREFIX 64u       /* CLS and registers */
#define MIM_MAX_DIM 8192u
#define MIM_MAX_HIDDEN 16384u
#define MIM_MAX_HEADS 256u
#define MIM_MAX_HEAD_DIM 256u
#define MIM_MAX_DEPTH 64u
#define MIM_MAX_FRAMES 256u
#define MIM_MAX_PATCH_FRAMES 8u
#define MIM_MAX_GROUPS 16u       /* of channels */
#define MIM_MAX_COORDINATES 16u
#define MIM_MAX_KERNEL 16u
#define MIM_MAX_CLASSES 65536u
#define MIM_MAX_COLUMNS 65536u
#define MIM_MAX_ROWS 262144u     /* 512 x 512 stored positions */
#define MIM_MAX_STEPS 1024u
#define MIM_MAX_TENSORS 8192u
#define MIM_MAX_THREADS 64u

/* Kind of numbers of a matrix; of a model, that of its matrices. */
enum { MIM_F32 = 1, MIM_F16 = 2, MIM_Q8 = 3, MIM_Q4 = 4,
       MIM_I32 = 5, MIM_I16 = 6 };      /* tables of integer blobs; I16 also unsigned, where it is said so */

/* How a quantized blob computes between the products. INTEGER: with scales that the converter found on pictures, in integers of
 * 32 bits and products of 64; see MIM_STEP_... for what its steps hold instead. */
enum { MIM_NUMERICS_FLOAT = 1, MIM_NUMERICS_INTEGER = 2 };

/* Resampling filters: Pillow's, antialiased. */
enum { MIM_BILINEAR = 1, MIM_BICUBIC = 2 };

/* How a picture becomes the model's input: see mim_blob_header.resize_edge. PAD: it fits into the input, its sides rounded to whole
 * pixels, at the top and left; what is left over are zeros in place of normalised pixels (SAM). Not of integer blobs. */
enum { MIM_RESIZE_SHORT_EDGE = 1, MIM_RESIZE_SQUASH = 2, MIM_RESIZE_PAD = 3 };

/* Interpolation of stored positions to another grid.
 * CUBIC and LINEAR take the samples around the point, clamped at the border (cubic a = -0.75);
 * the ANTIALIAS kinds widen the filter when shrinking (cubic a = -0.5). Source coordinate of
 * target i: (i + 0.5) * scale - 0.5, scale = stored / (target + position_offset), where the
 * offset is DINOv2's 0.1 or 0 (ANTIALIAS takes 0 only). CORNERS: CUBIC, from corner to corner, i * (stored - 1) / (target - 1).
 * FIXED: no other grid is allowed. */
enum { MIM_POSITIONS_NONE = 0, MIM_POSITIONS_FIXED = 1, MIM_POSITIONS_CUBIC = 2,
       MIM_POSITIONS_CUBIC_ANTIALIAS = 3, MIM_POSITIONS_LINEAR = 4, MIM_POSITIONS_CORNERS = 5 };

enum { MIM_GELU_ERF = 1, MIM_GELU_TANH = 2, MIM_GELU_QUICK = 3, MIM_SILU = 4 };

/* Relative position bias. FIXED, LINEAR and GEOMETRIC: a table of all distances, by grid or window; they differ on another
 * grid. FIXED: none is allowed. LINEAR: the part of the table that belongs to patches is
 * taken as an image of (2 height - 1) x (2 width - 1) and resized, two samples an axis, clamped at the border. GEOMETRIC:
 * the stored distances are laid out from the middle in steps of 1, q, q^2..., q such that they span the new grid (BEiT's
 * rule, with timm's linear interpolation between them). AXES: the query itself times a vector for the distance along y, one for
 * that along x (ViTDet, MViTv2), and in videos one for that in time; on another grid or window each table is resized as a line,
 * like LINEAR. CROP: a table whose distances stay what they are; a smaller window reads its middle (Swin V2). DISTANCES: they are relative to the window; for another one an MLP makes its table, 16 sigmoid(MLP(y, x)). */
enum { MIM_BIAS_NONE = 0, MIM_BIAS_FIXED = 1, MIM_BIAS_LINEAR = 2, MIM_BIAS_GEOMETRIC = 3, MIM_BIAS_AXES = 4, MIM_BIAS_CROP = 5,
       MIM_BIAS_DISTANCES = 6 };

/* Windows in which tokens attend to each other, of a size fixed in tokens. Where the grid is no multiple of it, zeros in place of
 * normalised tokens fill it up at the bottom and right and take part like others. FIT: along an axis where the grid is not
 * larger than the window, the window is the grid and nothing is shifted. SQUARE: where that is so along one axis, both sides
 * of the window are the shorter side of the grid, and nothing is shifted. With a shift the grid is rolled up and left by it,
 * before the zeros come or after (roll_padded), and what were not neighbours before get `mask` less (Swin). */
enum { MIM_WINDOW_NONE = 0, MIM_WINDOW_FIXED = 1, MIM_WINDOW_FIT = 2, MIM_WINDOW_SQUARE = 3 };

/* What is done to each head's queries and keys: LAYER_NORM over the head; UNIT length, times a factor for each head. */
enum { MIM_QK_NONE = 0, MIM_QK_LAYER_NORM = 1, MIM_QK_UNIT = 2 };

/* How attention thins out its queries (and keys and values): the largest of each cell (Hiera), or a convolution of each channel and a
 * norm (MViTv2); never in time. */
enum { MIM_THIN_NONE = 0, MIM_THIN_MAX = 1, MIM_THIN_CONV = 2 };

/* Rotary embedding: what is rotated against what (channels 2i and 2i + 1, or c and c + head_dim / 2), and the coordinates
 * of patch (t, y, x) on a grid of height x width: (t, y, x); (t, y, x) with y and x scaled to the stored grid, y * stored_height / height; or the
 * patch's centre in -1..1, (2 y + 1) / height - 1. */
enum { MIM_ROTARY_NONE = 0, MIM_ROTARY_PAIRS = 1, MIM_ROTARY_HALVES = 2 };
enum { MIM_GRID_INDEX = 1, MIM_GRID_SCALED = 2, MIM_GRID_CENTERED = 3 };

/* Which tokens make the pooled feature. CLS_MEAN: CLS, then the mean of the patches (2 dim). */
enum { MIM_POOL_CLS = 1, MIM_POOL_MEAN_PATCHES = 2, MIM_POOL_MEAN_ALL = 3, MIM_POOL_CLS_MEAN = 4 };

typedef struct mim_blob_header {     /* 512 bytes */
    uint8_t  magic[8];
    uint32_t version;                /* MIM_BLOB_VERSION */
    uint32_t header_bytes;           /* 512 */
    uint64_t bytes;                  /* of the whole blob */
    uint64_t checksum;               /* mim_checksum of the blob with this field zero */
    uint32_t step_count;
    uint32_t tensor_count;
    uint32_t decoder_step;           /* the decoder's first step; step_count: no decoder */
    uint32_t type;                   /* MIM_F32, MIM_F16, MIM_Q8, MIM_Q4: of its matrices; those of a q4 blob may be q8 as well */
    uint32_t numerics;               /* MIM_NUMERICS_...; INTEGER with MIM_Q8 and MIM_Q4 only */
    uint32_t channels;               /* 1..16 */
    uint32_t image_height;           /* pixels, as trained: a multiple of patch_height */
    uint32_t image_width;
    uint32_t patch_height;           /* pixels from patch to patch */
    uint32_t patch_width;
    uint32_t frames;                 /* pictures to an input, as trained: 1, or of a video a multiple of patch_frames */
    uint32_t patch_frames;           /* frames to a patch (tubelet) */
    uint32_t groups;                 /* tokens made of each patch, one for each group of channels; 1 */
    uint32_t coordinates;            /* numbers that the caller knows of each frame (dates, places); 0 */
    uint32_t unit_height;            /* patches to a mask unit: what a list of visible patches lists; usually 1, */
    uint32_t unit_width;             /*   0: the model cannot do without some of its patches */
    uint32_t dim;                    /* width of a token at the encoder's end */
    uint32_t depth;                  /* number of layers, that is of steps with MIM_STEP_TAP */
    uint32_t has_cls;                /* 0 or 1: the first prefix token is CLS */
    uint32_t registers;              /* prefix tokens after CLS */
    uint32_t pooled_dim;             /* length of the pooled feature */
    uint32_t classes;                /* length of the logits; 0: no head */
    uint32_t decoder_dim;            /* width of a decoder token; 0: no decoder */
    uint32_t norm_pix;               /* 1: the decoder predicts per-patch normalised pixels */
    uint32_t resize;                 /* MIM_RESIZE_... */
    uint32_t resize_filter;          /* MIM_BILINEAR, MIM_BICUBIC */
    uint32_t resize_edge;            /* SHORT_EDGE: what the short edge becomes before the centre crop,
                                        for the image size as trained (>= its short edge); else 0 */
    uint32_t reserved0;
    float    mean[16];               /* per channel, of pixels in 0..1; where channels are not colours, of the data as published */
    float    std[16];                /* > 0 */
    uint64_t parameters;             /* of the encoder as published, for information */
    char     name[64];               /* NUL-padded ASCII: what the file calls itself */
    char     family[16];             /* whose naming and rules: "mae", "timm", "dinov2"... */
    char     method[16];             /* how it was pretrained, where known: "MAE"... */
    char     source[48];             /* file or data set it came from */
    char     licence[24];            /* of the weights, where known */
    uint8_t  reserved[64];
} mim_blob_header;

/* Kinds of steps, in the order in which a blob may hold them:
 *     EMBED (ATTENTION | MLP | CONV | NORM)... [NORM] POOL [NORM] [HEAD] (one NORM beside POOL) and then, for a decoder,
 *     UNMASK (ATTENTION | MLP)... NORM PREDICT
 * The tensors of each are listed as: slot name (rows x columns). [x] may be absent. D = the width of a token before the
 * step; only CONV, attention and MLPs with a shortcut, and attention that thins by MAX change it. */
enum {
    MIM_STEP_EMBED = 1,     /* x = act(norm(w patch)) + positions + metadata
                               0 [patch projection (groups*G x channels*frames*height*width of the kernel, columns in that order)],
                                 G = dim rounded up to 16 where there are groups, else dim; in a quantized blob it is q8, and pixels go
                                 through it as two bytes. Absent: tokens come from mim_encode_tokens
                               1 [prefix tokens (prefix x dim): CLS and registers, positions already added]
                               2 [positions (stored_frames*stored_height*stored_width x dim), raster order]
                               3 [norm (2 x dim): weight, bias]
                               4 [metadata (5 n x dim)]: n times what is added to each channel, scale * sin(value * frequency), or the
                                 cosine where phase is 1: rows which, frequency, what that float lacks of it, phase, scale.
                                 which: the value is one of the caller's coordinates (from 1); -1: the patch's own raster index
                                 (frame, y, x); -2: its frame; 0: none
                               5 [a table for the caller (any x dim): see mim_table]
                               6 [positions (unit_height*unit_width x dim) that repeat from mask unit to mask unit] */
    MIM_STEP_ATTENTION = 2, /* x += proj(norm2(softmax(scale * q k^T + bias) v)), of norm(x), q and k rotated
                               0 norm (2 x D)
                               1 qkv (heads*3*P x D), P = head_dim rounded up to 16: per head the rows of q,
                                 then k, then v, each padded to P with zero rows
                               2 proj (dim x heads*head_dim), layer scale folded in
                               3 [relative position bias (heads x M)], M = (2 stored_height - 1)(2 stored_width - 1), and 3
                                 more with CLS: row (yq - yk + stored_height - 1) (2 stored_width - 1) + (xq - xk +
                                 stored_width - 1) for patches, then CLS to patch, patch to CLS, CLS to CLS; AXES:
                                 ((2 stored_height - 1) + (2 stored_width - 1) [+ (2 stored_frames - 1)] x P), rows y, x, then
                                 time, at distance + stored - 1
                               4 [rotary (2 x head_dim)]: per channel the angle of one unit of its coordinate, and which
                                 coordinate that is: 1 y, 2 x, 3 frame, 0 none. Patches only; prefix tokens are not rotated
                               5 [norm2 (2 x heads*head_dim)]
                               6 [norm of q and k: LAYER_NORM (4 x head_dim): q's weight, bias, k's; UNIT (1 x heads) in place of scale]
                               7 [shortcut (dim x D)]: x becomes the largest of each cell of shortcut(norm(x)), without it of x, before
                                 += proj (MAX with twice the width and no shortcut: then the mean of each cell of x); MAX: cells
                                 of the stride's size; CONV: one larger, around the token, if the stride is not 1
                               8 [thinning by CONV (3*frames*kernel*kernel x P)]: q's, k's and v's kernels, 9 [their norms (6 x head_dim)]
                               10 [DISTANCES: MLP (3 + heads x hidden)]: weights of y, of x, biases, and of relu each head's; hidden is a
                                 multiple of 16; 11 [its inputs (W x 2 W - 1)], W the larger side of window_height and _width: row n - 1
                                 for a window of n, at distance + n - 1
                               MIM_STEP_POST_NORM: norm(proj(...)) of x itself is added
                               MIM_STEP_ADD_QUERY: to each head's output its query is added, thinned and normed; prefix
                               tokens' with MIM_STEP_ADD_PREFIX_QUERY
                               MIM_STEP_JOIN: keys and values are of the branch's tokens, as they are */
    MIM_STEP_MLP = 3,       /* x += fc2(norm2(act(fc1(norm(x)))))
                               0 norm (2 x D)   1 fc1 (hidden x D)
                               2 fc2 (D x hidden), layer scale folded in   3 [norm2 (2 x hidden)]
                               4 [depthwise convolution (kernel*kernel + 1 x hidden): weights of each place, bias] of fc1's output,
                                 tokens that are not there being zeros; before act
                               5 [shortcut (dim x D)]: x becomes shortcut(norm(x)), before += fc2, which then is (dim x hidden)
                               MIM_STEP_GATED: act(gate) * value in place of act; fc1 is (2 G x D), G = hidden rounded
                               up to 16: the gate's rows, zero rows up to G, the value's, zero rows up to 2 G
                               MIM_STEP_POST_NORM as in attention */
    MIM_STEP_NORM = 4,      /* x = norm(x), all tokens   0 norm (2 x D)   MIM_STEP_JOIN: of x + the branch. It may follow POOL:
                               then the pooled feature is of tokens before it. That beside POOL is the final norm */
    MIM_STEP_POOL = 5,      /* the pooled feature, by rule   0 [norm of it (2 x pooled_dim): fc_norm] */
    MIM_STEP_HEAD = 6,      /* logits of the pooled feature   0 linear (classes x pooled_dim) */
    MIM_STEP_UNMASK = 7,    /* decoder tokens: embedded tokens where seen, the mask token elsewhere, + positions
                               0 decoder embedding (decoder_dim x D)   1 mask token (1 x decoder_dim)
                               2 [prefix positions (prefix x decoder_dim)]   3 positions (as in EMBED) */
    MIM_STEP_PREDICT = 8,   /* pixels of each patch   0 linear (frames*ph*pw*channels x decoder_dim, rows in the order frame, y, x,
                               channel) */
    MIM_STEP_CONV = 9       /* x = act(norm2(w norm(cell))) + positions: a convolution over the grid of tokens, as a product with
                               the tokens of each cell end to end, raster order. Cells that do not overlap cover the grid, over zeros beyond
                               it (patch merging; MIM_STEP_WHOLE: no more than fit); those that do, as kernel, stride and padding say
                               0 [norm (2 x kernel*D), or (2 x D): of each token]   1 w (dim x kernel*D)   2 [norm2 (2 x dim)]
                               3 [positions]   MIM_STEP_BRANCH: x stays, the result is added to the branch
                               4 [as in MLP, of D]: x = act(that convolution) + positions; no slot but it and 3, and the grid stays */
};

/* Steps of an integer blob: EMBED (ATTENTION | MLP)... [NORM] POOL [HEAD], and for a decoder UNMASK (ATTENTION | MLP)... NORM PREDICT,
 * of plain transformers alone, on one grid. Slots that are not named here mean what they do above; there are no others, and no
 * flags but TAP. A stream of tokens is int16 of one scale. "channels" is an I32 table (2 x columns), gain and offset: what comes in,
 * less mean and by deviation where the step normalizes, in units of 2^-q, times gain, plus offset, is shifted right by
 * tensor.shift and clamped: to bytes, or at the end of NORM and POOL to int16. Tables of I16 are of the stream's scale.
 * Matrices are q8, or of a q4 blob q4, but EMBED's; their layout is one.
 *     EMBED      0 q8 (2 N x pixels, N = dim rounded up to 16): of weights of 14 bits, 127 high + low, first all of high; rate and
 *                bias are those of high   1 [I16]   2 I16
 *     ATTENTION  0 channels   1 qkv   2 proj   6 I32 (2 x heads): 255 / 9 octaves of the softmax that a step of the scores
 *                is, in 2^-32; and what a head's output is multiplied by, unsigned, in 2^-30
 *     MLP        0 channels   1 fc1   2 fc2   4 I16, unsigned (1 x 1024): the activation of fc1's output, clamped to 0..1023
 *                5 I32, not negative (1 x hidden rounded up to 16): a factor for each hidden unit, in 2^-16
 *     NORM       0 channels      POOL   0 [channels]      HEAD, PREDICT   0 matrix   1 channels
 *     UNMASK     0 matrix   1 I16   2 [I16]   3 I16   4 channels */

enum {                      /* flags */
    MIM_STEP_TAP = 1,       /* ATTENTION, MLP, CONV: the tokens after this step are the next layer's output */
    MIM_STEP_GATED = 2,     /* MLP */
    MIM_STEP_POST_NORM = 4, /* ATTENTION, MLP */
    MIM_STEP_ADD_QUERY = 8, MIM_STEP_ADD_PREFIX_QUERY = 16,     /* ATTENTION */
    MIM_STEP_BRANCH = 32,   /* CONV */
    MIM_STEP_JOIN = 64,     /* NORM, ATTENTION */
    MIM_STEP_WHOLE = 128    /* CONV */
};

typedef struct mim_blob_step {       /* 128 bytes */
    uint16_t kind;                   /* MIM_STEP_... */
    uint16_t flags;                  /* MIM_STEP_TAP... */
    uint16_t tensor[12];             /* 1 + index in the directory, by slot; 0: absent */
    uint32_t rule;                   /* EMBED, CONV, UNMASK: MIM_POSITIONS_...; ATTENTION: MIM_BIAS_...; POOL: MIM_POOL_... */
    uint32_t activation;             /* MLP: MIM_GELU_..., MIM_SILU; EMBED, CONV and MLP with a convolution: 0, too: none */
    uint32_t heads;                  /* ATTENTION */
    uint32_t head_dim;               /* ATTENTION: before padding */
    uint32_t stored_frames;          /* EMBED: 1, or as many as there are positions for; AXES: of the table in time, 0: none */
    uint32_t stored_height;          /* grid in patches of the stored positions, of the relative bias or of MIM_GRID_SCALED */
    uint32_t stored_width;
    float    eps;                    /* of the layer norms, > 0 where it has one */
    float    scale;                  /* ATTENTION: usually 1/sqrt(head_dim); 0 with MIM_QK_UNIT. Integer blobs: what 1 in int16 is worth in
                                        the stream (EMBED, UNMASK) or the output (NORM, POOL, HEAD, PREDICT); else 0 */
    float    position_offset;        /* EMBED, CONV, UNMASK: see MIM_POSITIONS_... */
    float    mask;                   /* ATTENTION with a shift: see MIM_WINDOW_...; > 0 */
    uint8_t  key_max, value_max;     /* ATTENTION of quantized blobs: largest magnitude of quantized keys and values */
    uint8_t  rotary;                 /* ATTENTION: MIM_ROTARY_... */
    uint8_t  rotary_grid;            /* ATTENTION: MIM_GRID_..., 0 without rotary */
    uint8_t  qk_norm;                /* ATTENTION: MIM_QK_... */
    uint8_t  window;                 /* ATTENTION: MIM_WINDOW_... */
    uint8_t  roll_padded;            /* ATTENTION with a shift: 0, 1 */
    uint8_t  thin;                   /* ATTENTION: MIM_THIN_... */
    uint8_t  key_stride;             /* ATTENTION, MIM_THIN_CONV: tokens from key to key; else 0 */
    uint8_t  kernel_frames;          /* ATTENTION, MIM_THIN_CONV: of the kernels, in tokens; else 0 */
    uint16_t window_height, window_width;      /* ATTENTION: tokens; 0 without windows */
    uint16_t shift_height, shift_width;        /* ATTENTION: tokens, less than the window */
    uint16_t kernel_height, kernel_width;      /* EMBED: pixels; CONV, MLP with a convolution, ATTENTION that thins: tokens */
    uint16_t stride_height, stride_width;      /* CONV, ATTENTION that thins: tokens */
    uint16_t padding_height, padding_width;    /* EMBED, CONV: zeros before the first; otherwise half the kernel is understood */
    uint8_t  padding_frames;         /* EMBED: frames before its own that a tubelet takes, too, zeros before the first */
    uint8_t  reserved1;
    uint64_t variance;               /* integer blobs: eps of the norm, times (dim / scale)^2; at least 2^(4 + 2q - 2a), at most 2^60,
                                        where dim 2^a < 2^16 is the most that is, and q = 15 - (15 - a + 1) / 2 */
    uint8_t  reserved[16];
} mim_blob_step;

enum { MIM_PLAIN = 0, MIM_PANEL16 = 1, MIM_PAIRS16 = 2 };

/* A tensor. rows and columns are the true ones; N = rows rounded up to 16, K = columns rounded up
 * to 32, and what is padded is zero. Its data, one part after the other:
 *     PLAIN              float, int32 or int16 [rows][columns], by type
 *     PANEL16, f32       float [N/16][K][16], float bias[N]
 *     PANEL16, f16       half  [N/16][K][16], float scale[N], float bias[N]
 *     PANEL16, q8        int8  [N/16][K/4][16][4], float scale[N], int32 sum[N], float bias[N]
 *     PAIRS16, q8        uint8 [N/2][K/16][2][16], each weight plus 128; the rest as PANEL16. Integer blobs alone
 *     PANEL16, q4        [N/16]{ uint8 [K/8][16][4], uint8 [G][8] }, float scale[N], int32 sum[N], float bias[N]
 * Row n of a matrix times x is scale[n] * sum_k w[n][k] x[k] + bias[n]; sum[n] is the sum of the
 * integers of row n, for zero points. In an integer blob scale and bias are int32: the row is
 * (sum_k w[n][k] x[k] + bias[n]) * scale[n] / 2^32, rounded half up; x are bytes, zero points and all.
 * q4: each byte holds two weights plus 8, in the low half that of k = 8 i + j, in the high half that of 8 i + 4 + j. A group
 * of 32, 64 or 128 k of one row shares a multiplier of 0..15, by which its weights count; G = K / group, rounded up. The
 * multipliers of rows 0..7 of a panel are the low halves of eight bytes, those of rows 8..15 the high halves. So
 * w[n][k] = (half - 8) * multiplier lies in -120..105, whatever the blob holds. */
typedef struct mim_blob_tensor {     /* 32 bytes */
    uint64_t at;                     /* bytes from the blob's start */
    uint32_t rows, columns;
    uint8_t  type;                   /* MIM_F32, MIM_F16, MIM_Q8, MIM_Q4; PLAIN: MIM_F32, MIM_I32, MIM_I16 */
    uint8_t  layout;                 /* MIM_PLAIN, MIM_PANEL16, MIM_PAIRS16 */
    uint8_t  weight_max;             /* q8: every weight lies in -weight_max..weight_max; 63 or 127; else 0 */
    uint8_t  input_max;              /* q8, q4: its input is quantized to 0..input_max; 127 or 255; else 0 */
    uint8_t  group;                  /* q4: k that share a multiplier: 32, 64, 128; else 0 */
    uint8_t  shift;                  /* I32 channels of integer blobs: 0..18; else 0 */
    uint8_t  fours;                  /* q8 in PANEL16: 1 if of weights k, k + 1, k + 4 and k + 5 of a row, k = 8 i or 8 i + 2, those
                                        above 0 add up to at most 128 and those below to at least -128; else 0 */
    uint8_t  reserved[9];
} mim_blob_tensor;

/* Bytes of a tensor's data, from its type, layout, rows and columns; 0 if they are not valid. */
MIM_API uint64_t mim_tensor_bytes(const mim_blob_tensor *tensor);

/* FNV-1a over 64-bit little-endian words (the last one zero-filled), the header's checksum field
 * taken as zero. blob: bytes [0, bytes), at least a header. */
MIM_API uint64_t mim_checksum(const void *blob, size_t bytes);

/* ---------------------------------------------------------------------------------------
 * Models
 * ------------------------------------------------------------------------------------- */

/* A verified blob. Borrows it: the blob must outlive the model, unchanged. Immutable after
 * mim_open, so any number of threads may share it. */
typedef struct mim_model {
    const mim_blob_header *header;   /* the blob's own; what the model is. NULL before mim_open succeeded */
    const mim_blob_step   *steps;
    const mim_blob_tensor *tensors;
    uint64_t    fault_at;            /* after a failed mim_open or mim_verify: byte offset of the fault */
    const char *fault;               /* and the name of what is wrong there; "" after success */
} mim_model;

/* Verifies the whole structure of the blob in bytes [blob, blob + bytes) and borrows it. The blob
 * must be 16-byte aligned (64 is faster). Time is linear in the number of tensors, not in the
 * weights. No later call reads a length that was not verified here.
 * Errors: all of ARGUMENT to LIMIT, UNSUPPORTED; the model then holds only fault_at and fault. */
MIM_API mim_status mim_open(mim_model *model, const void *blob, size_t bytes);

/* Reads every byte: checksum, finite scales and floats, weights within their recorded range.
 * Optional: a blob that mim_open accepts is safe to run without it.
 * Errors: CHECKSUM, RANGE. */
MIM_API mim_status mim_verify(mim_model *model);

/* ---------------------------------------------------------------------------------------
 * Sessions
 * ------------------------------------------------------------------------------------- */

/* Work to be done count times, with index 0..count-1, in any order and at the same time. */
typedef void (*mim_task)(void *arg, uint32_t index);

/* Instruction sets. A session uses the best one that the machine has, or the one asked for. */
enum { MIM_CPU_BEST = 0, MIM_CPU_SCALAR = 1, MIM_CPU_AVX2 = 2, MIM_CPU_AVX512 = 3, MIM_CPU_NEON = 4, MIM_CPU_DOTPROD = 5,
       MIM_CPU_I8MM = 6, MIM_CPU_SIMD128 = 7, MIM_CPU_RVV128 = 8, MIM_CPU_RVV256 = 9, MIM_CPU_RVV512 = 10,
       MIM_CPU_AVXVNNI = 11, MIM_CPU_AVX512BW = 12, MIM_CPU_AMX = 13,
       MIM_CPU_DSP = 14, MIM_CPU_MVE = 15, MIM_CPU_COUNT };

typedef struct mim_session_desc {    /* all zero: the size as trained, one thread, everything default */
    uint32_t height, width;          /* input in pixels, multiples of the patch; 0: as trained */
    uint32_t frames;                 /* of a video, a multiple of the tubelet's; 0: as trained */
    uint32_t source_height;          /* largest picture that will have to be resized; 0, 0: none, */
    uint32_t source_width;           /*   pictures come in the input's size */
    uint32_t visible_max;            /* longest list of visible patches (mask units); 0: all patches */
    uint32_t decoder;                /* 1: room for mim_reconstruct */
    uint32_t split;                  /* 1: memory in two regions, see mim_memory */
    uint32_t threads;                /* tasks that parallel runs at once, 1..64; 0: 1 */
    uint32_t cpu;                    /* MIM_CPU_...; one that the machine lacks is an error */
    void (*parallel)(void *user, mim_task task, void *arg, uint32_t count);
                                     /* runs task(arg, i) for i in 0..count-1 (count <= threads) and returns when all
                                        are done; NULL: one thread */
    int  (*progress)(void *user, uint32_t done, uint32_t total);
                                     /* called between steps; non-zero aborts the encode; NULL: none */
    void *user;                      /* handed to both */
} mim_session_desc;

typedef struct mim_memory {
    void  *base;                     /* mim_begin: the arena, 16-byte aligned, owned by the caller */
    size_t bytes;                    /* mim_plan: the exact minimum; mim_begin: what base points to */
    size_t useful;                   /* mim_plan: more than this makes nothing faster */
    void  *slow;                     /* with desc.split: a second region, 16-byte aligned, for what is gone through once a step: the */
    size_t slow_bytes;               /*   stream of tokens and what attention gives. mim_plan: exactly what it takes, no less and no
                                          more; all else is in base, which is then to be the faster memory */
} mim_memory;

/* One encoder at work: a model, an input size and an arena. For one thread at a time. */
typedef struct mim_session {
    uint32_t height, width;          /* input, pixels */
    uint32_t frames;
    uint32_t grid_frames;            /* patches along time, or groups of channels; 1 */
    uint32_t grid_height, grid_width;/* patches */
    uint32_t prefix;                 /* CLS and registers */
    uint32_t tokens;                 /* prefix + all patches, as embedded; mim_shape says what becomes of them */
    const char *cpu;                 /* name of the instruction set in use */
    size_t arena_bytes;              /* of the arena in use; slow memory not counted */
    /* private */
    const mim_model *model;
    const struct mimp_kernels *kernels;
    mim_session_desc desc;
    uint8_t *arena, *slow;
    uint32_t tile_rows;              /* token rows worked on at a time */
    uint32_t group_heads;            /* heads whose keys and values are held at a time */
} mim_session;

/* States the memory that mim_begin will need for this use. Errors: ARGUMENT, CPU, SIZE, VISIBLE, MISSING, and LIMIT where it
 * is more than the machine can address. */
MIM_API mim_status mim_plan(const mim_model *model, const mim_session_desc *desc, mim_memory *need);

/* Starts a session in the caller's memory, which stays the caller's and may be reused after the
 * last call with the session; there is nothing to close. desc may be NULL (all zero). Reads the
 * weights once where a kernel depends on their range. Errors: as mim_plan, ALIGNMENT, MEMORY, RANGE. */
MIM_API mim_status mim_begin(mim_session *session, const mim_model *model, const mim_session_desc *desc,
                             const mim_memory *given);

/* Pixel formats. The u8 kinds are sRGB as decoders and cameras give them and go through the
 * model's mean and std. GRAY8 into a 3-channel model is repeated; colour into a 1-channel model
 * becomes Pillow's luma. RGB565: 16-bit little-endian words, red in the high bits.
 * PLANES: float (channels, height, width), already normalised, which go straight in.
 * A video is as many pictures of one format and size, frame_stride apart. */
enum { MIM_RGB8 = 0, MIM_RGBA8 = 1, MIM_BGR8 = 2, MIM_GRAY8 = 3, MIM_RGB565 = 4, MIM_PLANES = 5 };

typedef struct mim_image {
    uint32_t format;                 /* MIM_RGB8... */
    uint32_t width, height;          /* pixels */
    uint32_t exact;                  /* 1: width and height are the session's, do not resize. PLANES always are exact */
    size_t   stride;                 /* bytes from row to row; 0: rows lie end to end */
    size_t   plane_stride;           /* PLANES: bytes from plane to plane; 0: planes lie end to end */
    size_t   frame_stride;           /* bytes from frame to frame; 0: frames lie end to end */
    const void *pixels;              /* the first row; NULL: rows come from read_row */
    int    (*read_row)(void *user, uint32_t y, void *row);
                                     /* writes row y, tight (PLANES: of every channel, one after the other); rows are asked
                                        for in ascending order; non-zero aborts. Frame n's rows begin at n * height; those
                                        of the frames of one tubelet are asked for by turns; all again for each group of channels,
                                        and those of a frame that two tubelets share for each */
    void    *user;                   /* handed to read_row */
    const uint32_t *visible;         /* patches (mask units) to encode, raster indices (frame, y, x) without duplicates; NULL: all */
    uint32_t visible_count;
    const float *coordinates;        /* (grid_frames, header.coordinates): what the caller knows of each; NaN: unknown, which adds
                                        nothing. Needed where header.coordinates is not 0 */
} mim_image;

/* The results of an integer blob as it computes them; a value is its int16 times the scale beside it. As in mim_output, and as well as
 * there: what is NULL is not wanted. */
typedef struct mim_integers {
    int16_t *tokens, *cls, *registers, *patches;
    int16_t *pooled, *logits;
    int16_t *layers;                 /* which: mim_output's layer, layer_count and layer_norm say */
    int16_t *prediction;             /* mim_reconstruct */
    float    token_scale;            /* these are filled in: of tokens, cls, registers and patches */
    float    pooled_scale, logits_scale, layer_scale, prediction_scale;
} mim_integers;

/* Where results go: whatever is not NULL is filled; the memory is the caller's. T = tokens encoded (prefix, then patches
 * in raster order or in that of the visible list; inside a mask unit in raster order), N = T - prefix. Where a pyramid merges
 * tokens, mim_shape has the numbers. tokens, cls, registers and patches are what the model's
 * final norm emits (without one: the last layer). On an error the contents are unspecified. */
typedef struct mim_output {
    float *tokens;                   /* (T, dim) */
    float *cls;                      /* (dim) */
    float *registers;                /* (registers, dim) */
    float *patches;                  /* (N, dim) */
    float *pooled;                   /* (pooled_dim) */
    float *logits;                   /* (classes) */
    float *attention;                /* (heads, T, T): of the encoder's last attention, after softmax; not from windows or thinned */
    float *layers;                   /* (layer_count, T, dim): after the layers named in layer[]; a pyramid's, each of its own
                                        T and dim, lie end to end, too */
    const uint32_t *layer;           /* layer numbers from 1, ascending */
    uint32_t layer_count;
    uint32_t layer_norm;             /* 1: layers go through the final norm (where the model has one) */
    mim_integers *integers;          /* integer blobs; NULL: none are wanted */
} mim_output;

/* Tokens on their grid. */
typedef struct mim_grid {
    uint32_t frames, height, width;
    uint32_t tokens;                 /* prefix + frames*height*width */
    uint32_t dim;
} mim_grid;

/* The grid after layer 1..depth of a session that sees all patches; layer 0: what the encoder emits. Errors: ARGUMENT. */
MIM_API mim_status mim_shape(const mim_session *session, uint32_t layer, mim_grid *grid);

/* Encodes one image, or one video. Errors: ARGUMENT, SIZE, FORMAT, MEMORY, VISIBLE, MISSING, ABORTED. */
MIM_API mim_status mim_encode(mim_session *session, const mim_image *image, const mim_output *output);

/* Encodes tokens that the caller has embedded, positions and all: (prefix + count, dim), prefix tokens first; what EMBED would
 * have made. visible: the patch of each of the count tokens, as in mim_image; NULL: patches 0..count-1 (where a mask unit is more
 * than a patch, count units). Token models (no patch projection) have a grid of 1 x N; count may be anything from 1 to N.
 * Errors: as mim_encode, and UNSUPPORTED: integer blobs embed their pictures themselves. */
MIM_API mim_status mim_encode_tokens(mim_session *session, const float *tokens, const uint32_t *visible, uint32_t count,
                                     const mim_output *output);

/* The vectors that a token model's blob carries for its caller to embed with, (rows, dim); NULL: none. Their order is the
 * family's: see examples/. */
MIM_API const float *mim_table(const mim_model *model, uint32_t *rows);

#ifndef MIM_NO_DECODER
/* Encodes the visible patches and predicts all (masked autoencoders that kept their decoder).
 * prediction: (patches, frames*ph*pw*channels), per patch in the order frame, y, x, channel; in the model's normalised
 * pixels, or per patch normalised where header.norm_pix says so; NULL if output->integers has one. output may be NULL. The
 * session needs desc.decoder.
 * Errors: as mim_encode. */
MIM_API mim_status mim_reconstruct(mim_session *session, const mim_image *image, const mim_output *output,
                                   float *prediction);
#endif

/* Text for a status: what is wrong and what to do. Never NULL. */
MIM_API const char *mim_status_string(mim_status status);

/* Name of a CPU level ("scalar", "avx2"...), or NULL if this build does not know it. Available or not: mim_plan says. */
MIM_API const char *mim_cpu_name(uint32_t cpu);

#ifndef MIM_NO_RESIZE
/* The preprocessing's resize, by itself: u8 pixels, 1 or 3 channels interleaved, bit-identical to Pillow's
 * Image.resize(filter), but that weights are exact before they are rounded (of 364 million, one came out 2^-22 apart).
 * scratch: mim_resize_bytes() bytes, 16-byte aligned. dst: (dst_height, dst_width, channels), tight.
 * Errors: ARGUMENT, LIMIT. */
MIM_API size_t mim_resize_bytes(uint32_t dst_width, uint32_t dst_height, uint32_t src_width, uint32_t src_height,
                                uint32_t channels, uint32_t filter);
MIM_API mim_status mim_resize(void *dst, uint32_t dst_width, uint32_t dst_height, const void *src, uint32_t src_width,
                              uint32_t src_height, size_t src_stride, uint32_t channels, uint32_t filter, void *scratch);
#endif

/* What an encode is at from one MIM_STAGE(stage) to the next: see CONFIGURATION. */
enum {
    MIM_STAGE_REST,         /* none of the others: positions, outputs, pooling, heads, decoders */
    MIM_STAGE_EMBED,        /* pixels into tokens; convolutions of tokens */
    MIM_STAGE_PACK,         /* norms, and the packing (quantized: rounding) of what goes into a product */
    MIM_STAGE_QKV, MIM_STAGE_SCORES, MIM_STAGE_SOFTMAX, MIM_STAGE_VALUES, MIM_STAGE_PROJECTION,
    MIM_STAGE_MLP,          /* both products, the activation between them and what is mixed there */
    MIM_STAGE_COUNT
};

#ifndef MIM_NO_STDIO
/* Reads a whole file into 64-byte aligned memory from malloc. Errors: IO, ALLOCATION. Free with mim_unload. */
MIM_API mim_status mim_load(const char *path, void **blob, size_t *bytes);
MIM_API void mim_unload(void *blob);
#endif

#ifdef __cplusplus
}
#endif

#endif /* MIM_H */

#if defined(MIM_IMPLEMENTATION) && !defined(MIMP_ONCE)
#define MIMP_ONCE

/* =======================================================================================
 * >>config
 * ===================================================================================== */

#if defined(__FAST_MATH__)
#error "mim.h: -ffast-math breaks the promise of equal bits; leave it off for this file"
#endif
#include <float.h>                      /* 16: halves, too, in their own precision */
#if !defined(MIM_NO_FLOAT) && defined(FLT_EVAL_METHOD) && FLT_EVAL_METHOD != 0 && FLT_EVAL_METHOD != 16
#error "mim.h: float expressions must be evaluated as float (32-bit x86: -msse2 -mfpmath=sse; s390x: -fexcess-precision=fast)"
#endif

/* What a build leaves out is code that it cannot come to. One for size (-Os) has the short loops where there are also fast ones. */
#if defined(__OPTIMIZE_SIZE__) && !defined(__ARM_FEATURE_MVE)
#define MIMP_SMALL 1
#else
#define MIMP_SMALL 0
#endif
#if MIMP_SMALL
#define MIMP_STEP static
#else
#define MIMP_STEP MIMP_CALLED                           /* what all steps need together would be much stack */
#endif
#ifdef MIM_NO_Q4
#define MIMP_HAS_Q4 0
#else
#define MIMP_HAS_Q4 1
#endif
#ifdef MIM_NO_PAIRS16
#define MIMP_PAIRS 0
#else
#define MIMP_PAIRS 1
#endif
#ifdef MIM_NO_DECODER
#define MIMP_DECODER 0
#else
#define MIMP_DECODER 1
#endif
#if defined(MIM_NO_WINDOWS) || defined(MIM_NO_FLOAT)
#define MIMP_WINDOWS 0
#else
#define MIMP_WINDOWS 1
#endif

/* Whether a blob computes in integers; a build without floats knows no others. */
#ifdef MIM_NO_FLOAT
#define MIMP_INTEGER(header) 1
#else
#define MIMP_INTEGER(header) ((header)->numerics == MIM_NUMERICS_INTEGER)
#endif

/* A product and a sum are two roundings here, on every machine: no contraction into FMA. */
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC push_options
#pragma GCC optimize ("fp-contract=off")
#elif defined(_MSC_VER)
#pragma fp_contract(off)
#endif

#ifdef MIM_STATIC
#define MIMP_PUBLIC MIM_API
#else
#define MIMP_PUBLIC
#endif

#if defined(MIM_MEMCPY) || defined(MIM_MEMSET) || defined(MIM_MEMCMP)
#if !(defined(MIM_MEMCPY) && defined(MIM_MEMSET) && defined(MIM_MEMCMP))
#error "mim.h: define all of MIM_MEMCPY, MIM_MEMSET and MIM_MEMCMP, or none"
#endif
#else
#include <string.h>
#define MIM_MEMCPY memcpy
#define MIM_MEMSET memset
#define MIM_MEMCMP memcmp
#endif

#ifndef MIM_STAGE
#define MIM_STAGE(stage) ((void)0)
#endif

#ifndef MIM_NO_STDIO
#include <stdio.h>
#include <stdlib.h>
#endif

/* Functions for one instruction set carry it as an attribute, so that no -m flag is needed. */
#if defined(__GNUC__)
#define MIMP_TARGET(isa) __attribute__((target(isa)))
#define MIMP_INLINE static inline __attribute__((always_inline))
#define MIMP_CALLED static __attribute__((noinline))    /* from many places that are not often come to */
#define MIMP_LINE __attribute__((aligned(64)))          /* at the beginning of a cache line */
#else
#define MIMP_TARGET(isa)
#define MIMP_INLINE static inline
#define MIMP_CALLED static
#define MIMP_LINE
#endif

#if !defined(MIM_NO_X86) && !defined(MIM_NO_FLOAT) && (defined(__x86_64__) || defined(__i386__) || defined(_M_X64) || defined(_M_IX86))
#define MIMP_X86
#include <immintrin.h>
#ifdef _MSC_VER
#include <intrin.h>
#endif
#if !defined(MIM_NO_AVX512) && defined(__linux__) && defined(__x86_64__)
#define MIMP_AMX
#endif
#endif
#if !defined(MIM_NO_NEON) && !defined(MIM_NO_FLOAT) && defined(__arm__) && defined(__ARM_NEON) && !defined(__ARMEB__)
#define MIMP_NEON32
#include <arm_neon.h>
#endif
#if !defined(MIM_NO_NEON) && !defined(MIM_NO_FLOAT) && (defined(__aarch64__) || defined(_M_ARM64)) && !defined(__AARCH64EB__)
#define MIMP_NEON
#include <arm_neon.h>
/* clang had these instructions' functions only under -march, until 16. */
#if (defined(__GNUC__) && !defined(__clang__)) || (defined(__clang__) && __clang_major__ >= 16)
#define MIMP_ARM_TARGETS
#endif
#if !defined(MIM_NO_DOTPROD) && (defined(MIMP_ARM_TARGETS) || defined(__ARM_FEATURE_DOTPROD))
#define MIMP_DOTPROD
#endif
#if !defined(MIM_NO_I8MM) && (defined(MIMP_ARM_TARGETS) || defined(__ARM_FEATURE_MATMUL_INT8))
#define MIMP_I8MM
#endif
#if defined(__linux__) && __STDC_HOSTED__
#include <sys/auxv.h>
#elif defined(__APPLE__)                /* whose <sys/sysctl.h> does not compile under _POSIX_C_SOURCE */
#ifdef __cplusplus
extern "C"
#endif
int sysctlbyname(const char *name, void *old_value, size_t *old_bytes, void *new_value, size_t new_bytes);
#endif
#endif

#if !defined(MIM_NO_SIMD128) && !defined(MIM_NO_FLOAT) && defined(__wasm_simd128__)
#define MIMP_SIMD128
#include <wasm_simd128.h>
#endif
#if !defined(MIM_NO_RVV) && !defined(MIM_NO_FLOAT) && defined(__riscv_zve32f) && defined(__riscv_v_intrinsic)
#define MIMP_RVV
#include <riscv_vector.h>
#endif

#if !defined(MIM_NO_DSP) && defined(__GNUC__) && defined(__ARM_FEATURE_DSP) && defined(__ARM_ARCH_PROFILE) && !defined(__ARMEB__)
#if __ARM_ARCH_PROFILE == 'M'
#define MIMP_DSP
#if !defined(MIM_NO_MVE) && !defined(MIM_NO_PAIRS16) && defined(__ARM_FEATURE_MVE)
#define MIMP_MVE
#include <arm_mve.h>
#endif
#endif
#endif
#if !defined(MIM_NO_SCALAR) || !defined(MIMP_DSP)
#define MIMP_SCALAR
#endif

/* =======================================================================================
 * >>small things: sizes, bits, scalar functions
 * ===================================================================================== */

MIMP_INLINE uint32_t mimp_min(uint32_t a, uint32_t b) { return a < b ? a : b; }
MIMP_INLINE uint32_t mimp_max(uint32_t a, uint32_t b) { return a > b ? a : b; }

MIMP_INLINE int mimp_in(uint32_t x, uint32_t lo, uint32_t hi) { return x >= lo && x <= hi; }

/* x rounded up to a multiple of n, a power of two. Callers' x is at most 2^31. */
MIMP_INLINE uint32_t mimp_up(uint32_t x, uint32_t n) { return (x + n - 1) & ~(n - 1); }

/* How many tiles of so many rows it takes. */
MIMP_INLINE uint32_t mimp_tiles(uint32_t tile, uint32_t rows) { return (rows + tile - 1) / tile; }

/* Floats by their bits: what reads a blob does no arithmetic with them. */
MIMP_INLINE uint32_t mimp_bits(float x) { uint32_t u; MIM_MEMCPY(&u, &x, 4); return u; }
MIMP_INLINE int mimp_finite(float x) { return (mimp_bits(x) & 0x7f800000u) != 0x7f800000u; }
MIMP_INLINE int mimp_positive(float x) { return mimp_bits(x) - 1 < 0x7f7fffffu; }         /* and finite */

static int mimp_little_endian(void)
{
    const uint32_t one = 1;
    uint8_t byte;
    MIM_MEMCPY(&byte, &one, 1);
    return byte == 1;
}

#ifndef MIM_NO_FLOAT
static float mimp_float(uint32_t u) { float x; MIM_MEMCPY(&x, &u, 4); return x; }

/* Square root, correctly rounded like the machine's. In software: the integer root of the mantissa, bit by bit, with one
 * bit more than a float holds; a root is never exactly half-way between floats, so that bit decides. x >= 0. */
#if defined(MIMP_X86) && defined(__SSE2__)
static float mimp_sqrt(float x) { return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x))); }
#elif defined(MIMP_NEON)
static float mimp_sqrt(float x) { return vget_lane_f32(vsqrt_f32(vdup_n_f32(x)), 0); }
#elif defined(__riscv_flen) && defined(__GNUC__)
static float mimp_sqrt(float x) { __asm__("fsqrt.s %0, %0" : "+f"(x)); return x; }
#elif defined(MIMP_SIMD128)
static float mimp_sqrt(float x) { return wasm_f32x4_extract_lane(wasm_f32x4_sqrt(wasm_f32x4_splat(x)), 0); }
#else
static float mimp_sqrt(float x)
{
    uint32_t bits = mimp_bits(x), root = 0, bit;
    int32_t exponent = (int32_t)(bits >> 23);
    uint64_t m = bits & 0x7fffffu;
    if (bits == 0 || exponent >= 255)
        return x;                                        /* 0, infinity, NaN, negative */
    if (exponent == 0)
        exponent = 1;
    else
        m |= 0x800000u;
    while (m < 0x800000u) {                              /* subnormal */
        m <<= 1;
        exponent--;
    }
    exponent -= 127;
    m <<= (exponent & 1) ? 26 : 25;                      /* x = m * 2^(exponent' - 48), exponent' even */
    exponent = (exponent - (exponent & 1)) / 2;
    for (bit = 1u << 25; bit; bit >>= 1) {
        uint64_t trial = root | bit;
        if (trial * trial <= m)
            root |= bit;
    }                                                    /* 25 bits: 24 and the rounding bit */
    root = (root + 1) >> 1;
    return mimp_float(((uint32_t)(exponent + 126) << 23) + root);
}
#endif

/* A half as a float; exact. */
static float mimp_half(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, magnitude = (uint32_t)(h & 0x7fffu);
    if (magnitude >= 0x7c00u)
        return mimp_float(sign | 0x7f800000u | ((magnitude & 0x3ffu) << 13) | ((magnitude & 0x3ffu) ? 0x400000u : 0u));
    if (magnitude >= 0x400u)
        return mimp_float(sign | ((magnitude << 13) + 0x38000000u));
    {
        float f = (float)magnitude * 5.9604644775390625e-8f;     /* 2^-24 */
        return sign ? -f : f;
    }
}

/* Copies results out; every NaN leaves with the same bits on every machine. */
static void mimp_copy_out(float *to, const float *from, uint32_t n)
{
    uint32_t i;
    for (i = 0; i < n; i++)
        to[i] = (mimp_bits(from[i]) & 0x7fffffffu) > 0x7f800000u ? mimp_float(0x7fc00000u) : from[i];
}
#endif

/* =======================================================================================
 * >>blob: sizes and verification
 * ===================================================================================== */

/* Bytes of one panel of q4: its weights, then its multipliers. */
static size_t mimp_q4_panel_bytes(size_t k, uint32_t group)
{
    return k * 8 + (k + group - 1) / group * 8;
}

MIMP_PUBLIC uint64_t mim_tensor_bytes(const mim_blob_tensor *t)
{
    uint32_t n, k;
    if (!t || !t->rows || !t->columns || t->columns > MIM_MAX_COLUMNS || t->rows > MIM_MAX_ROWS)
        return 0;
    if (t->layout == MIM_PLAIN)
        return (uint64_t)t->rows * (t->columns * (t->type == MIM_F32 || t->type == MIM_I32 ? 4 : t->type == MIM_I16 ? 2 : 0));
    if (t->layout != MIM_PANEL16 && (t->layout != MIM_PAIRS16 || t->type != MIM_Q8))
        return 0;
    n = mimp_up(t->rows, 16);
    k = mimp_up(t->columns, 32);
    switch (t->type) {
    case MIM_F32: return (uint64_t)n * (4 * k + 4);
    case MIM_F16: return (uint64_t)n * (2 * k + 8);
    case MIM_Q8:  return (uint64_t)n * (k + 12);
    case MIM_Q4:  return t->group == 32 || t->group == 64 || t->group == 128
                      ? (uint64_t)(n / 16) * (mimp_q4_panel_bytes(k, t->group) + 16 * 12) : 0;
    default:      return 0;
    }
}

MIMP_PUBLIC uint64_t mim_checksum(const void *blob, size_t bytes)
{
    const uint8_t *p = (const uint8_t *)blob;
    const size_t field = offsetof(mim_blob_header, checksum);
    uint64_t hash = 14695981039346656037u;
    size_t i;
    for (i = 0; i < bytes; i += 8) {
        uint64_t word = 0;
        if (i != field)
            MIM_MEMCPY(&word, p + i, bytes - i < 8 ? bytes - i : 8);
        hash = (hash ^ word) * 1099511628211u;
    }
    return hash;
}

/* The parts of a panelled matrix; the pointers that its type lacks are NULL. */
typedef struct mimp_matrix {
    const uint8_t *panels;      /* [N/16], panel_bytes each */
    const float   *scale;       /* [N] */
    const int32_t *sum;         /* [N] */
    const float   *bias;        /* [N] */
    const int32_t *rate;        /* scale and bias, of an integer blob */
    const int32_t *offset;
    uint32_t n, k;              /* padded */
    uint32_t type;
    uint32_t weight_max;        /* 0: what its fours are held to */
    uint32_t input_max;
    uint32_t group;             /* q4 */
    uint32_t bytes;             /* its input is quantized to bytes */
    size_t   panel_bytes;
} mimp_matrix;

/* The type of a matrix, or of a model: of an integer blob's always. */
#ifdef MIM_NO_FLOAT
static int mimp_is_quantized(uint32_t type) { (void)type; return 1; }
#else
static int mimp_is_quantized(uint32_t type) { return type == MIM_Q8 || type == MIM_Q4; }
#endif

static mimp_matrix mimp_matrix_of(const mim_model *model, uint32_t index)
{
    const mim_blob_tensor *t = &model->tensors[index - 1];
    const uint8_t *at = (const uint8_t *)model->header + t->at;
    mimp_matrix m;
    m.n = mimp_up(t->rows, 16);
    m.k = mimp_up(t->columns, 32);
    m.type = t->type;
    m.weight_max = t->fours ? 0 : t->weight_max;
    m.input_max = t->input_max;
    m.group = t->group;
    m.bytes = (uint32_t)mimp_is_quantized(t->type);
    m.panel_bytes = MIMP_HAS_Q4 && t->type == MIM_Q4 ? mimp_q4_panel_bytes(m.k, m.group)
        : (size_t)m.k * 16 * (m.bytes ? 1 : t->type == MIM_F32 ? 4 : 2);
    m.panels = at;
    at += m.panel_bytes * (m.n / 16);
    m.scale = NULL;
    m.sum = NULL;
    if (m.bytes || t->type != MIM_F32) {
        m.scale = (const float *)(const void *)at;
        at += (size_t)m.n * 4;
    }
    if (m.bytes) {
        m.sum = (const int32_t *)(const void *)at;
        at += (size_t)m.n * 4;
    }
    m.bias = (const float *)(const void *)at;
    m.rate = (const int32_t *)(const void *)m.scale;
    m.offset = (const int32_t *)(const void *)at;
    return m;
}

/* A plain tensor's numbers, NULL where the slot is empty. */
static const void *mimp_numbers(const mim_model *model, uint32_t index)
{
    return index ? (const uint8_t *)model->header + model->tensors[index - 1].at : NULL;
}

static const float *mimp_plain(const mim_model *model, uint32_t index)
{
    return (const float *)mimp_numbers(model, index);
}

MIMP_CALLED mim_status mimp_fault(mim_model *model, mim_status status, size_t at, const char *what)
{
    MIM_MEMSET(model, 0, sizeof *model);
    model->fault_at = at;
    model->fault = what;
    return status;
}

static int mimp_zero(const void *bytes, size_t n)
{
    const uint8_t *p = (const uint8_t *)bytes;
    while (n--)
        if (*p++)
            return 0;
    return 1;
}

/* Text fields: printable ASCII, then zeros to the end. */
static int mimp_text(const char *s, size_t n)
{
    size_t i = 0;
    while (i < n && s[i] >= 32 && s[i] < 127)
        i++;
    return i < n && mimp_zero(s + i, n - i);
}

/* Fields are named by where they are: there are many checks, and this keeps each small. */
static const char *mimp_name(const char *names, uint32_t n)
{
    for (; n; n--)
        while (*names++)
            ;
    return names;
}

#define MIMP_HEADER_FIELDS(X) \
    X(magic) X(version) X(header_bytes) X(bytes) X(step_count) X(tensor_count) X(decoder_step) X(type) X(numerics) X(channels) X(image_height) \
    X(image_width) X(patch_height) X(patch_width) X(frames) X(patch_frames) X(groups) X(coordinates) X(unit_height) X(unit_width) X(dim) \
    X(depth) X(has_cls) X(registers) X(pooled_dim) X(classes) X(decoder_dim) X(norm_pix) X(resize) X(resize_filter) X(resize_edge) X(reserved0) \
    X(mean) X(std) X(name) X(family) X(method) X(source) X(licence) X(reserved)

MIMP_CALLED mim_status mimp_header_fault(mim_model *model, mim_status status, size_t field)
{
#define MIMP_AT(field) (uint16_t)offsetof(mim_blob_header, field),
#define MIMP_NAME(field) #field "\0"
    static const uint16_t at[] = { MIMP_HEADER_FIELDS(MIMP_AT) };
    static const char names[] = MIMP_HEADER_FIELDS(MIMP_NAME);
#undef MIMP_NAME
#undef MIMP_AT
    uint32_t i = 0;
    while (at[i] != field && i + 1 < sizeof at / sizeof *at)
        i++;
    return mimp_fault(model, status, field, mimp_name(names, i));
}

#define MIMP_REQUIRE(condition, status, field) \
    do { if (!(condition)) return mimp_header_fault(model, status, offsetof(mim_blob_header, field)); } while (0)
#define MIMP_REQUIRE_IN(field, lo, hi) MIMP_REQUIRE(mimp_in(h->field, lo, hi), MIM_ERR_HEADER, field)

static mim_status mimp_verify_header(mim_model *model, const mim_blob_header *h, size_t bytes)
{
    uint32_t c, grid;
    if (bytes < sizeof h->magic + 8)
        return mimp_fault(model, MIM_ERR_TRUNCATED, bytes, "header");
    MIMP_REQUIRE(MIM_MEMCMP(h->magic, MIM_BLOB_MAGIC, 8) == 0, MIM_ERR_MAGIC, magic);
    MIMP_REQUIRE(h->version == MIM_BLOB_VERSION, MIM_ERR_VERSION, version);
    if (bytes < sizeof *h)
        return mimp_fault(model, MIM_ERR_TRUNCATED, bytes, "header");
    MIMP_REQUIRE(h->header_bytes == sizeof *h, MIM_ERR_HEADER, header_bytes);
    MIMP_REQUIRE(h->bytes <= bytes, MIM_ERR_TRUNCATED, bytes);
    MIMP_REQUIRE(h->bytes == bytes, MIM_ERR_HEADER, bytes);
    MIMP_REQUIRE(h->reserved0 == 0, MIM_ERR_RESERVED, reserved0);
    MIMP_REQUIRE(mimp_zero(h->reserved, sizeof h->reserved), MIM_ERR_RESERVED, reserved);
    MIMP_REQUIRE(h->step_count >= 2 && h->step_count <= MIM_MAX_STEPS, MIM_ERR_LIMIT, step_count);
    MIMP_REQUIRE(h->tensor_count >= 1 && h->tensor_count <= MIM_MAX_TENSORS, MIM_ERR_LIMIT, tensor_count);
    MIMP_REQUIRE_IN(decoder_step, 2, h->step_count);
    MIMP_REQUIRE_IN(type, MIM_F32, MIM_Q4);
#ifdef MIM_NO_Q4
    if (h->type == MIM_Q4)
        return mimp_fault(model, MIM_ERR_UNSUPPORTED, offsetof(mim_blob_header, type), "4-bit weights (MIM_NO_Q4)");
#endif
    if (!MIMP_DECODER && h->decoder_step != h->step_count)
        return mimp_fault(model, MIM_ERR_UNSUPPORTED, offsetof(mim_blob_header, decoder_step), "a decoder (MIM_NO_DECODER)");
    MIMP_REQUIRE_IN(numerics, MIM_NUMERICS_FLOAT, MIM_NUMERICS_INTEGER);
#ifdef MIM_NO_FLOAT
    MIMP_REQUIRE(h->numerics == MIM_NUMERICS_INTEGER, MIM_ERR_UNSUPPORTED, numerics);
#endif
    MIMP_REQUIRE(h->numerics == MIM_NUMERICS_FLOAT || h->type >= MIM_Q8, MIM_ERR_HEADER, numerics);
    MIMP_REQUIRE_IN(channels, 1, MIM_MAX_CHANNELS);
    MIMP_REQUIRE_IN(patch_height, 1, MIM_MAX_PATCH);
    MIMP_REQUIRE_IN(patch_width, 1, MIM_MAX_PATCH);
    MIMP_REQUIRE_IN(image_height, h->patch_height, MIM_MAX_IMAGE);
    MIMP_REQUIRE_IN(image_width, h->patch_width, MIM_MAX_IMAGE);
    MIMP_REQUIRE(h->image_height % h->patch_height == 0, MIM_ERR_HEADER, image_height);
    MIMP_REQUIRE(h->image_width % h->patch_width == 0, MIM_ERR_HEADER, image_width);
    MIMP_REQUIRE_IN(patch_frames, 1, MIM_MAX_PATCH_FRAMES);
    MIMP_REQUIRE_IN(frames, h->patch_frames, MIM_MAX_FRAMES);
    MIMP_REQUIRE(h->frames % h->patch_frames == 0, MIM_ERR_HEADER, frames);
    MIMP_REQUIRE_IN(groups, 1, h->frames == 1 ? MIM_MAX_GROUPS : 1);
    MIMP_REQUIRE_IN(coordinates, 0, MIM_MAX_COORDINATES);
    MIMP_REQUIRE(h->channels * h->patch_frames * h->patch_height * h->patch_width <= MIM_MAX_COLUMNS, MIM_ERR_LIMIT, patch_height);
    MIMP_REQUIRE_IN(dim, 1, MIM_MAX_DIM);
    MIMP_REQUIRE_IN(depth, 0, MIM_MAX_DEPTH);
    MIMP_REQUIRE_IN(has_cls, 0, 1);
    MIMP_REQUIRE_IN(registers, 0, MIM_MAX_PREFIX - h->has_cls);
    grid = (h->image_height / h->patch_height) * (h->image_width / h->patch_width);
    MIMP_REQUIRE(grid <= MIM_MAX_TOKENS, MIM_ERR_LIMIT, image_height);
    grid *= h->frames / h->patch_frames * h->groups;
    MIMP_REQUIRE(grid <= MIM_MAX_TOKENS - h->has_cls - h->registers, MIM_ERR_LIMIT, image_height);
    MIMP_REQUIRE_IN(unit_height, 0, h->image_height / h->patch_height);
    MIMP_REQUIRE(!h->unit_height || h->image_height / h->patch_height % h->unit_height == 0, MIM_ERR_HEADER, unit_height);
    MIMP_REQUIRE_IN(unit_width, h->unit_height != 0, h->unit_height ? h->image_width / h->patch_width : 0);
    MIMP_REQUIRE(!h->unit_width || h->image_width / h->patch_width % h->unit_width == 0, MIM_ERR_HEADER, unit_width);
    MIMP_REQUIRE_IN(pooled_dim, 1, 2 * MIM_MAX_DIM);
    MIMP_REQUIRE_IN(classes, 0, MIM_MAX_CLASSES);
    MIMP_REQUIRE_IN(decoder_dim, 0, MIM_MAX_DIM);
    MIMP_REQUIRE((h->decoder_dim != 0) == (h->decoder_step < h->step_count), MIM_ERR_HEADER, decoder_dim);
    MIMP_REQUIRE_IN(norm_pix, 0, 1);
    MIMP_REQUIRE_IN(resize, MIM_RESIZE_SHORT_EDGE, h->numerics == MIM_NUMERICS_FLOAT ? MIM_RESIZE_PAD : MIM_RESIZE_SQUASH);
    MIMP_REQUIRE_IN(resize_filter, MIM_BILINEAR, MIM_BICUBIC);
    if (h->resize == MIM_RESIZE_SHORT_EDGE)
        MIMP_REQUIRE_IN(resize_edge, mimp_min(h->image_height, h->image_width), MIM_MAX_IMAGE);
    else
        MIMP_REQUIRE_IN(resize_edge, 0, 0);
    for (c = 0; c < 16; c++) {
        MIMP_REQUIRE(mimp_finite(h->mean[c]), MIM_ERR_HEADER, mean);
        MIMP_REQUIRE(mimp_finite(h->std[c]) && (c >= h->channels || mimp_positive(h->std[c])), MIM_ERR_HEADER, std);
    }
    MIMP_REQUIRE(mimp_text(h->name, sizeof h->name), MIM_ERR_HEADER, name);
    MIMP_REQUIRE(mimp_text(h->family, sizeof h->family), MIM_ERR_HEADER, family);
    MIMP_REQUIRE(mimp_text(h->method, sizeof h->method), MIM_ERR_HEADER, method);
    MIMP_REQUIRE(mimp_text(h->source, sizeof h->source), MIM_ERR_HEADER, source);
    MIMP_REQUIRE(mimp_text(h->licence, sizeof h->licence), MIM_ERR_HEADER, licence);
    return MIM_OK;
}

/* The directory: each tensor's size follows from its record, each place from the tensor before. */
static mim_status mimp_verify_tensors(mim_model *model, const mim_blob_header *h)
{
    const uint8_t *base = (const uint8_t *)h;
    const size_t directory = sizeof *h + h->step_count * sizeof(mim_blob_step);
    const mim_blob_tensor *tensors = (const mim_blob_tensor *)(const void *)(base + directory);
    size_t end = directory + h->tensor_count * sizeof *tensors;
    uint32_t i;
    if (end > h->bytes)
        return mimp_fault(model, MIM_ERR_TRUNCATED, (size_t)h->bytes, "tensor directory");
    for (i = 0; i < h->tensor_count; i++) {
        const mim_blob_tensor *t = &tensors[i];
        size_t here = directory + i * sizeof *t;
        uint64_t at = ((uint64_t)end + MIM_BLOB_ALIGN - 1) & ~(uint64_t)(MIM_BLOB_ALIGN - 1), size = mim_tensor_bytes(t);
        int panel = t->layout != MIM_PLAIN, q8 = panel && t->type == MIM_Q8, q4 = MIMP_HAS_Q4 && panel && t->type == MIM_Q4;
        if (!MIMP_PAIRS && t->layout == MIM_PAIRS16)
            return mimp_fault(model, MIM_ERR_UNSUPPORTED, here + offsetof(mim_blob_tensor, layout), "a layout (MIM_NO_PAIRS16)");
        if (!size)
            return mimp_fault(model, MIM_ERR_TENSOR, here + offsetof(mim_blob_tensor, rows), "rows, columns, type or layout");
        if (q8 ? t->weight_max != 63 && t->weight_max != 127 : t->weight_max != 0)
            return mimp_fault(model, MIM_ERR_TENSOR, here + offsetof(mim_blob_tensor, weight_max), "weight_max");
        if (q8 || q4 ? t->input_max != 127 && t->input_max != 255 : t->input_max != 0)
            return mimp_fault(model, MIM_ERR_TENSOR, here + offsetof(mim_blob_tensor, input_max), "input_max");
        if (!q4 && t->group != 0)                       /* q4: its size is valid, so is its group */
            return mimp_fault(model, MIM_ERR_TENSOR, here + offsetof(mim_blob_tensor, group), "group");
        if (t->shift > (t->type == MIM_I32 ? 18 : 0))
            return mimp_fault(model, MIM_ERR_TENSOR, here + offsetof(mim_blob_tensor, shift), "shift");
        if (t->fours > (q8 && t->layout == MIM_PANEL16 && !MIMP_INTEGER(h)))
            return mimp_fault(model, MIM_ERR_TENSOR, here + offsetof(mim_blob_tensor, fours), "fours");
        if (!mimp_zero(t->reserved, sizeof t->reserved))
            return mimp_fault(model, MIM_ERR_RESERVED, here + offsetof(mim_blob_tensor, reserved), "reserved");
        if (t->at != at)
            return mimp_fault(model, MIM_ERR_LAYOUT, here + offsetof(mim_blob_tensor, at), "at");
        if (at > h->bytes || size > h->bytes - at)      /* size < 2^37: no sum here can wrap */
            return mimp_fault(model, MIM_ERR_TRUNCATED, (size_t)h->bytes, "tensor data");
        if (!mimp_zero(base + end, (size_t)(at - end)))
            return mimp_fault(model, MIM_ERR_LAYOUT, end, "padding");
        end = (size_t)(at + size);
    }
    if (end != h->bytes)
        return mimp_fault(model, MIM_ERR_LAYOUT, end, "bytes after the last tensor");
    return MIM_OK;
}

/* Which fields of a step belong together: a kind of step has a group or leaves it zero. */
enum { MIMP_HAS_RULE = 1, MIMP_HAS_ACTIVATION = 2, MIMP_HAS_FRAMES = 4, MIMP_HAS_GRID = 8, MIMP_HAS_HEADS = 16, MIMP_HAS_KERNEL = 32,
       MIMP_HAS_STRIDE = 64, MIMP_HAS_PADDING = 128, MIMP_HAS_KEY_STRIDE = 256, MIMP_HAS_OFFSET = 512, MIMP_HAS_WINDOW = 1024,
       MIMP_HAS_SCALE = 2048, MIMP_HAS_VARIANCE = 4096, MIMP_HAS_ALL = 8192 };

#define MIMP_STEP_FIELDS(X) \
    X(kind, ALL) X(flags, ALL) X(tensor, ALL) X(eps, ALL) X(key_max, ALL) X(value_max, ALL) X(rule, RULE) X(activation, ACTIVATION) \
    X(heads, HEADS) X(head_dim, HEADS) X(stored_frames, FRAMES) X(stored_height, GRID) X(stored_width, GRID) X(scale, SCALE) \
    X(variance, VARIANCE) X(position_offset, OFFSET) X(mask, WINDOW) X(rotary, HEADS) X(rotary_grid, HEADS) X(qk_norm, HEADS) \
    X(window, HEADS) X(roll_padded, WINDOW) X(thin, HEADS) X(key_stride, KEY_STRIDE) X(kernel_frames, KEY_STRIDE) X(window_height, WINDOW) \
    X(window_width, WINDOW) X(shift_height, WINDOW) X(shift_width, WINDOW) X(kernel_height, KERNEL) X(kernel_width, KERNEL) X(stride_height, STRIDE) \
    X(stride_width, STRIDE) X(padding_height, PADDING) X(padding_width, PADDING) X(padding_frames, PADDING)

static const struct { uint8_t at, bytes; uint16_t of; } mimp_step_fields[] = {
#define MIMP_FIELD(field, of) { (uint8_t)offsetof(mim_blob_step, field), (uint8_t)sizeof ((mim_blob_step *)0)->field, MIMP_HAS_##of },
    MIMP_STEP_FIELDS(MIMP_FIELD)
#undef MIMP_FIELD
};

MIMP_CALLED mim_status mimp_step_fault(mim_model *model, mim_status status, uint32_t step, size_t field, const char *what)
{
    return mimp_fault(model, status, sizeof(mim_blob_header) + step * sizeof(mim_blob_step) + field, what);
}

/* The same for one of its fields. */
MIMP_CALLED mim_status mimp_field_fault(mim_model *model, mim_status status, uint32_t step, size_t field)
{
#define MIMP_NAME(field, of) #field "\0"
    static const char names[] = MIMP_STEP_FIELDS(MIMP_NAME);
#undef MIMP_NAME
    uint32_t i = 0;
    while (mimp_step_fields[i].at != field && i + 1 < sizeof mimp_step_fields / sizeof *mimp_step_fields)
        i++;
    return mimp_step_fault(model, status, step, field, mimp_name(names, i));
}

/* One slot of a step: there, or not, as wanted, and of the layout, shape and type wanted. */
static mim_status mimp_verify_slot(mim_model *model, const mim_blob_tensor *tensors, uint32_t step, const mim_blob_step *s, uint32_t slot,
                                   int needed, uint32_t type, uint32_t layout, uint64_t rows, uint64_t columns)
{
    size_t field = offsetof(mim_blob_step, tensor) + slot * 2;
    const mim_blob_tensor *t;
    if (!s->tensor[slot])
        return needed ? mimp_step_fault(model, MIM_ERR_STEP, step, field, "missing tensor") : MIM_OK;
    t = &tensors[s->tensor[slot] - 1];
    if (t->layout != layout || t->rows != rows || t->columns != columns)
        return mimp_step_fault(model, MIM_ERR_TENSOR, step, field, "shape or layout of a step's tensor");
    if (t->type != type)
        return mimp_step_fault(model, MIM_ERR_TENSOR, step, field, "type of a step's tensor");
    return MIM_OK;
}

/* How many whole cells there are along an axis of n tokens; 0: none. */
MIMP_CALLED uint32_t mimp_cells(uint32_t n, uint32_t kernel, uint32_t stride, uint32_t padding)
{
    return n + 2 * padding < kernel ? 0 : (n + 2 * padding - kernel) / stride + 1;
}

/* What all steps have in common: indices into the directory, no slots but the used, no fields but those of its groups. */
static mim_status mimp_verify_step(mim_model *model, const mim_blob_header *h, uint32_t i, uint32_t used, uint32_t fields)
{
    const mim_blob_step *s = (const mim_blob_step *)(const void *)((const uint8_t *)h + sizeof *h) + i;
    uint32_t j;
    for (j = 0; j < sizeof s->tensor / sizeof *s->tensor; j++)
        if (!(used >> j & 1) && s->tensor[j])
            return mimp_field_fault(model, MIM_ERR_STEP, i, offsetof(mim_blob_step, tensor));
    for (j = 0; j < sizeof mimp_step_fields / sizeof *mimp_step_fields; j++)
        if (!((fields | MIMP_HAS_ALL) & mimp_step_fields[j].of) && !mimp_zero((const uint8_t *)s + mimp_step_fields[j].at, mimp_step_fields[j].bytes))
            return mimp_field_fault(model, MIM_ERR_STEP, i, mimp_step_fields[j].at);
    if (s->reserved1 || !mimp_zero(s->reserved, sizeof s->reserved))
        return mimp_step_fault(model, MIM_ERR_RESERVED, i, offsetof(mim_blob_step, reserved), "reserved");
    return MIM_OK;
}

static mim_status mimp_verify_indices(mim_model *model, const mim_blob_header *h, const mim_blob_step *s, uint32_t i)
{
    uint32_t slot;
    for (slot = 0; slot < sizeof s->tensor / sizeof *s->tensor; slot++)
        if (s->tensor[slot] > h->tensor_count)
            return mimp_step_fault(model, MIM_ERR_STEP, i, offsetof(mim_blob_step, tensor) + slot * 2, "tensor index");
    return MIM_OK;
}

#define MIMP_STEP_REQUIRE(condition, field) \
    do { if (!(condition)) return mimp_field_fault(model, MIM_ERR_STEP, i, offsetof(mim_blob_step, field)); } while (0)
#define MIMP_SLOT_OF(slot, needed, type, layout, rows, columns) \
    do { used |= 1u << (slot); \
         status = mimp_verify_slot(model, tensors, i, s, slot, needed, type, layout, rows, columns); \
         if (status) return status; } while (0)

/* The type that a matrix must have: a q4 blob's may be q8 as well. */
static uint32_t mimp_matrix_type(const mim_blob_header *h, const mim_blob_tensor *tensors, const mim_blob_step *s, uint32_t slot)
{
    if (s->kind == MIM_STEP_EMBED && mimp_is_quantized(h->type))
        return MIM_Q8;
    return h->type == MIM_Q4 && s->tensor[slot] && tensors[s->tensor[slot] - 1].type == MIM_Q8 ? (uint32_t)MIM_Q8 : h->type;
}

/* Of an integer blob's matrices, which have one. */
static uint32_t mimp_layout(const mim_blob_step *steps, const mim_blob_tensor *tensors)
{
    return tensors[steps[0].tensor[0] - 1].layout;
}

/* Whether a norm of the encoder is the final one, and does not stand before or among the blocks. */
static int mimp_is_final(const mim_blob_step *norm) { return norm[-1].kind == MIM_STEP_POOL || norm[1].kind == MIM_STEP_POOL; }

#ifndef MIM_NO_FLOAT
/* Frames that a patch is projected from. */
static uint32_t mimp_tubelet(const mim_blob_header *h, const mim_blob_step *s) { return h->patch_frames + s->padding_frames; }

/* The grammar of steps: see MIM_STEP_... `fields` collects the groups of fields that a step has. */
static mim_status mimp_verify_steps(mim_model *model, const mim_blob_header *h)
{
    const mim_blob_step *steps = (const mim_blob_step *)(const void *)((const uint8_t *)h + sizeof *h);
    const mim_blob_tensor *tensors = (const mim_blob_tensor *)(const void *)(steps + h->step_count);
    const uint32_t prefix = h->has_cls + h->registers;
    const uint32_t pixels = h->channels * h->patch_frames * h->patch_height * h->patch_width;
    uint32_t i, depth = 0, dim = h->dim, unit_height = h->unit_height, unit_width = h->unit_width;
    uint32_t branch = 0;                                 /* its width */
    int pooled = 0, headed = 0, normed = 0, predicted = 0;

#define MIMP_SLOT(slot, needed, layout, rows, columns) \
    MIMP_SLOT_OF(slot, needed, (layout) == MIM_PLAIN ? (uint32_t)MIM_F32 : mimp_matrix_type(h, tensors, s, slot), layout, rows, columns)
#define MIMP_ROWS(slot) (s->tensor[slot] ? tensors[s->tensor[slot] - 1].rows : dim)

    for (i = 0; i < h->step_count; i++) {
        const mim_blob_step *s = &steps[i];
        const int decoder = MIMP_DECODER && i >= h->decoder_step, first = i == 0 || i == h->decoder_step;
        const int block = s->kind == MIM_STEP_ATTENTION || s->kind == MIM_STEP_MLP;
        const int positioned = s->kind == MIM_STEP_EMBED || s->kind == MIM_STEP_UNMASK || s->kind == MIM_STEP_CONV;
        const int quantized_attention = s->kind == MIM_STEP_ATTENTION && mimp_is_quantized(h->type);
        uint32_t used = 0, fields = 0, next = dim, mixed = 0;       /* mixed: channels of a convolution of each */
        int normalizes = block || s->kind == MIM_STEP_NORM;
        mim_status status;

        status = mimp_verify_indices(model, h, s, i);
        if (status)
            return status;
        MIMP_STEP_REQUIRE(first == (s->kind == MIM_STEP_EMBED || s->kind == MIM_STEP_UNMASK), kind);
        MIMP_STEP_REQUIRE(!(block || s->kind == MIM_STEP_CONV) || !(normed || pooled), kind);
        MIMP_STEP_REQUIRE(!predicted, kind);
        if (positioned) {
            const uint32_t table = s->kind == MIM_STEP_EMBED ? 2u : 3u;
            const uint64_t stored = (uint64_t)s->stored_height * s->stored_width * s->stored_frames;
            const int none = s->rule == MIM_POSITIONS_NONE;
            fields = MIMP_HAS_RULE | MIMP_HAS_FRAMES | MIMP_HAS_GRID | MIMP_HAS_OFFSET;
            next = s->kind == MIM_STEP_UNMASK ? h->decoder_dim : s->kind == MIM_STEP_CONV ? MIMP_ROWS(1)
                : s->tensor[0] && h->groups == 1 ? MIMP_ROWS(0) : h->dim;
            MIMP_STEP_REQUIRE(mimp_in(next, 1, MIM_MAX_DIM), tensor);
            MIMP_STEP_REQUIRE(s->rule <= MIM_POSITIONS_CORNERS && none == !s->tensor[table], rule);
            MIMP_STEP_REQUIRE(none ? s->stored_frames == 0 : mimp_in(s->stored_frames, 1, MIM_MAX_FRAMES), stored_frames);
            MIMP_STEP_REQUIRE(s->stored_height <= MIM_MAX_TOKENS && none == !s->stored_height, stored_height);
            MIMP_STEP_REQUIRE(s->stored_width <= MIM_MAX_TOKENS && none == !s->stored_width, stored_width);
            MIMP_STEP_REQUIRE(mimp_bits(s->position_offset) < 0x3f800000u, position_offset);
            MIMP_STEP_REQUIRE(s->rule == MIM_POSITIONS_CUBIC || s->rule == MIM_POSITIONS_LINEAR
                              || mimp_bits(s->position_offset) == 0, position_offset);
            MIMP_SLOT(table, 0, MIM_PLAIN, stored, next);
        }
        switch (s->kind) {
        case MIM_STEP_EMBED: {
            const uint64_t columns = (uint64_t)h->channels * mimp_tubelet(h, s) * s->kernel_height * s->kernel_width;
            fields |= MIMP_HAS_ACTIVATION | MIMP_HAS_KERNEL | MIMP_HAS_PADDING;
            MIMP_STEP_REQUIRE(!decoder, kind);
            MIMP_STEP_REQUIRE(s->activation <= MIM_SILU, activation);
            /* patches lie a patch's size apart, may overlap, and there are as many as fit into the picture */
            MIMP_STEP_REQUIRE(mimp_in(s->kernel_height, h->patch_height, MIM_MAX_PATCH), kernel_height);
            MIMP_STEP_REQUIRE(mimp_in(s->kernel_width, h->patch_width, MIM_MAX_PATCH), kernel_width);
            MIMP_STEP_REQUIRE(mimp_in(s->padding_height, (s->kernel_height - h->patch_height + 1) / 2, (s->kernel_height - 1u) / 2),
                              padding_height);
            MIMP_STEP_REQUIRE(mimp_in(s->padding_width, (s->kernel_width - h->patch_width + 1) / 2, (s->kernel_width - 1u) / 2),
                              padding_width);
            MIMP_STEP_REQUIRE(mimp_tubelet(h, s) <= MIM_MAX_PATCH_FRAMES && !(s->padding_frames && h->groups > 1), padding_frames);
            MIMP_SLOT(0, 0, MIM_PANEL16, h->groups > 1 ? h->groups * mimp_up(next, 16) : next, columns);
            MIMP_STEP_REQUIRE((prefix != 0) == (s->tensor[1] != 0), tensor);
            MIMP_SLOT(1, 0, MIM_PLAIN, prefix, next);
            MIMP_SLOT(3, 0, MIM_PLAIN, 2, next);
            MIMP_STEP_REQUIRE(!h->coordinates || s->tensor[4], tensor);
            MIMP_STEP_REQUIRE(!s->tensor[4] || MIMP_ROWS(4) % 5 == 0, tensor);
            MIMP_SLOT(4, 0, MIM_PLAIN, MIMP_ROWS(4), next);
            MIMP_SLOT(5, 0, MIM_PLAIN, MIMP_ROWS(5), next);
            MIMP_SLOT(6, 0, MIM_PLAIN, (uint64_t)h->unit_height * h->unit_width, next);
            MIMP_STEP_REQUIRE(s->tensor[0] || !s->tensor[6], tensor);
            MIMP_STEP_REQUIRE(s->tensor[0] || !(s->tensor[2] || s->tensor[3] || s->tensor[4] || s->activation), tensor);
            normalizes = s->tensor[3] != 0;
            break;
        }
        case MIM_STEP_CONV: {
            const uint64_t cell = (uint64_t)s->kernel_height * s->kernel_width * dim;
            fields |= MIMP_HAS_ACTIVATION | MIMP_HAS_KERNEL | MIMP_HAS_STRIDE | MIMP_HAS_PADDING;
            MIMP_STEP_REQUIRE(!decoder && !prefix, kind);
            MIMP_STEP_REQUIRE(!s->padding_frames, padding_frames);
            MIMP_STEP_REQUIRE(s->activation <= MIM_SILU, activation);
            MIMP_STEP_REQUIRE(mimp_in(s->kernel_height, 1, MIM_MAX_KERNEL), kernel_height);
            MIMP_STEP_REQUIRE(mimp_in(s->kernel_width, 1, MIM_MAX_KERNEL), kernel_width);
            MIMP_STEP_REQUIRE(mimp_in(s->stride_height, 1, s->kernel_height), stride_height);
            MIMP_STEP_REQUIRE(mimp_in(s->stride_width, 1, s->kernel_width), stride_width);
            MIMP_STEP_REQUIRE(s->padding_height <= s->kernel_height / 2, padding_height);
            MIMP_STEP_REQUIRE(s->padding_width <= s->kernel_width / 2, padding_width);
            if (s->tensor[4]) {
                MIMP_STEP_REQUIRE(s->stride_height * s->stride_width == 1 && 2 * s->padding_height + 1 == s->kernel_height
                                  && 2 * s->padding_width + 1 == s->kernel_width, kernel_height);
                mixed = dim;
            } else {
                MIMP_SLOT(0, 0, MIM_PLAIN, 2, s->tensor[0] && tensors[s->tensor[0] - 1].columns == dim ? dim : cell);
                MIMP_SLOT(1, 1, MIM_PANEL16, next, cell);
                MIMP_SLOT(2, 0, MIM_PLAIN, 2, next);
            }
            normalizes = s->tensor[0] || s->tensor[2];
            /* some of the patches: whole cells of them */
            MIMP_STEP_REQUIRE(!unit_height || (s->kernel_height == s->stride_height && unit_height % s->kernel_height == 0
                                               && !s->padding_height), kernel_height);
            MIMP_STEP_REQUIRE(!unit_height || (s->kernel_width == s->stride_width && unit_width % s->kernel_width == 0
                                               && !s->padding_width), kernel_width);
            if (s->flags & MIM_STEP_BRANCH) {
                MIMP_STEP_REQUIRE(s->rule == MIM_POSITIONS_NONE && (!branch || branch == next), tensor);
                branch = next;
                next = dim;
            } else {
                unit_height /= unit_height ? s->stride_height : 1u;
                unit_width /= unit_width ? s->stride_width : 1u;
            }
            break;
        }
        case MIM_STEP_UNMASK:
            MIMP_STEP_REQUIRE(decoder && pooled && !branch, kind);
            MIMP_STEP_REQUIRE(s->stored_frames <= 1 && h->frames == h->patch_frames && h->groups == 1 && h->unit_height == 1
                              && h->unit_width == 1, kind);
            normed = pooled = 0;
            MIMP_SLOT(0, 1, MIM_PANEL16, next, dim);
            MIMP_SLOT(1, 1, MIM_PLAIN, 1, next);
            MIMP_SLOT(2, 0, MIM_PLAIN, prefix, next);
            break;
        case MIM_STEP_ATTENTION: {
            const uint32_t padded = mimp_up(mimp_min(s->head_dim, MIM_MAX_HEAD_DIM), 16);
            const uint64_t inner = (uint64_t)s->heads * s->head_dim;
            const uint64_t high = 2 * (uint64_t)s->stored_height - 1, wide = 2 * (uint64_t)s->stored_width - 1;
            const uint64_t deep = s->stored_frames ? 2 * (uint64_t)s->stored_frames - 1 : 0;
            const int grid = s->rule != MIM_BIAS_NONE || s->rotary_grid == MIM_GRID_SCALED, axes = s->rule == MIM_BIAS_AXES;
            const int single = h->frames == h->patch_frames && h->groups == 1;
            fields = MIMP_HAS_RULE | MIMP_HAS_HEADS | MIMP_HAS_SCALE | (grid ? (uint32_t)MIMP_HAS_GRID : 0u)
                | (axes && !s->window ? (uint32_t)MIMP_HAS_FRAMES : 0u)
                | (s->window ? (uint32_t)MIMP_HAS_WINDOW : 0u)
                | (s->thin ? (uint32_t)MIMP_HAS_KERNEL | MIMP_HAS_STRIDE : 0u)
                | (s->thin == MIM_THIN_CONV ? (uint32_t)MIMP_HAS_KEY_STRIDE : 0u);
            MIMP_STEP_REQUIRE(s->heads >= 1 && s->heads <= MIM_MAX_HEADS, heads);
            MIMP_STEP_REQUIRE(s->head_dim >= 1 && s->head_dim <= MIM_MAX_HEAD_DIM, head_dim);
            MIMP_STEP_REQUIRE((uint64_t)s->heads * padded <= MIM_MAX_HIDDEN, heads);
            MIMP_STEP_REQUIRE(s->qk_norm <= MIM_QK_UNIT && (s->qk_norm != MIM_QK_NONE) == (s->tensor[6] != 0), qk_norm);
            MIMP_STEP_REQUIRE(mimp_finite(s->scale) && (s->qk_norm != MIM_QK_UNIT || mimp_bits(s->scale) == 0), scale);
            MIMP_STEP_REQUIRE(s->rule <= MIM_BIAS_DISTANCES && (s->rule != MIM_BIAS_NONE) == (s->tensor[3] != 0), rule);
            MIMP_STEP_REQUIRE(s->rule == MIM_BIAS_NONE || (!h->registers && (single || (axes && !s->window && h->groups == 1))), rule);
            MIMP_STEP_REQUIRE(!axes || s->stored_frames <= MIM_MAX_FRAMES, stored_frames);
            MIMP_STEP_REQUIRE(s->rotary <= MIM_ROTARY_HALVES && (s->rotary != MIM_ROTARY_NONE) == (s->tensor[4] != 0), rotary);
            MIMP_STEP_REQUIRE(s->rotary ? s->rotary_grid >= MIM_GRID_INDEX && s->rotary_grid <= MIM_GRID_CENTERED
                                        : s->rotary_grid == 0, rotary_grid);
            MIMP_STEP_REQUIRE(!s->rotary || s->head_dim % 2 == 0, head_dim);
            MIMP_STEP_REQUIRE(!grid || mimp_in(s->stored_height, 1, 4096), stored_height);
            MIMP_STEP_REQUIRE(!grid || mimp_in(s->stored_width, 1, 4096), stored_width);
            MIMP_STEP_REQUIRE(!decoder || !(s->rule || s->rotary), rule);
            MIMP_STEP_REQUIRE(!axes || !h->unit_height, rule);
            MIMP_STEP_REQUIRE((s->rule == MIM_BIAS_DISTANCES) == (s->tensor[10] != 0) && !s->tensor[10] == !s->tensor[11], rule);
            MIMP_STEP_REQUIRE(s->rule != MIM_BIAS_DISTANCES || s->window, rule);
            MIMP_STEP_REQUIRE(s->window <= MIM_WINDOW_SQUARE && !(s->window && (prefix || decoder)), window);
            if (s->window) {
                MIMP_STEP_REQUIRE(mimp_in(s->window_height, 1, 256), window_height);
                MIMP_STEP_REQUIRE(mimp_in(s->window_width, 1, 256), window_width);
                MIMP_STEP_REQUIRE(s->shift_height < s->window_height, shift_height);
                MIMP_STEP_REQUIRE(s->shift_width < s->window_width, shift_width);
                MIMP_STEP_REQUIRE(s->shift_height || s->shift_width ? mimp_positive(s->mask) : mimp_bits(s->mask) == 0, mask);
                MIMP_STEP_REQUIRE(s->roll_padded <= (s->shift_height || s->shift_width), roll_padded);
                /* some of the patches: whole windows of them */
                MIMP_STEP_REQUIRE(!unit_height || (s->window_height == unit_height && s->window_width == unit_width
                                                   && !s->shift_height && !s->shift_width), window);
            }
            MIMP_STEP_REQUIRE(s->thin <= MIM_THIN_CONV && !(s->thin && decoder), thin);
            next = MIMP_ROWS(2);
            MIMP_STEP_REQUIRE(mimp_in(next, 1, MIM_MAX_DIM), tensor);
            MIMP_STEP_REQUIRE(next == dim || s->tensor[7] || (s->thin == MIM_THIN_MAX && next == 2 * dim), tensor);
            MIMP_STEP_REQUIRE(!s->tensor[7] || !decoder, tensor);
            MIMP_STEP_REQUIRE(!(s->flags & MIM_STEP_POST_NORM) || !(s->thin || s->tensor[7]), flags);
            if (s->thin == MIM_THIN_MAX) {
                MIMP_STEP_REQUIRE(!prefix && !s->rule, thin);
                MIMP_STEP_REQUIRE(mimp_in(s->kernel_height, 1, MIM_MAX_KERNEL) && s->kernel_height == s->stride_height, kernel_height);
                MIMP_STEP_REQUIRE(mimp_in(s->kernel_width, 1, MIM_MAX_KERNEL) && s->kernel_width == s->stride_width, kernel_width);
                MIMP_STEP_REQUIRE(!s->window || s->window_height % s->stride_height == 0, stride_height);
                MIMP_STEP_REQUIRE(!s->window || s->window_width % s->stride_width == 0, stride_width);
                MIMP_STEP_REQUIRE(!s->window || !(s->shift_height || s->shift_width), window);
                MIMP_STEP_REQUIRE(unit_height % s->stride_height == 0 && unit_width % s->stride_width == 0, stride_height);
                unit_height /= s->stride_height;
                unit_width /= s->stride_width;
            } else if (s->thin == MIM_THIN_CONV) {
                MIMP_STEP_REQUIRE(!s->window && !s->rotary && !h->unit_height && h->groups == 1, thin);
                MIMP_STEP_REQUIRE(s->rule == MIM_BIAS_NONE || axes, rule);
                MIMP_STEP_REQUIRE(s->kernel_height <= MIM_MAX_KERNEL && s->kernel_height % 2 == 1, kernel_height);
                MIMP_STEP_REQUIRE(s->kernel_width == s->kernel_height, kernel_width);
                MIMP_STEP_REQUIRE(mimp_in(s->stride_height, 1, MIM_MAX_KERNEL), stride_height);
                MIMP_STEP_REQUIRE(s->stride_width == s->stride_height, stride_width);
                MIMP_STEP_REQUIRE(mimp_in(s->key_stride, 1, MIM_MAX_KERNEL), key_stride);
                MIMP_STEP_REQUIRE(s->kernel_frames <= MIM_MAX_KERNEL && s->kernel_frames % 2 == 1, kernel_frames);
            }
            MIMP_STEP_REQUIRE((s->thin == MIM_THIN_CONV) == (s->tensor[8] != 0) && !s->tensor[8] == !s->tensor[9], tensor);
            if (s->flags & MIM_STEP_JOIN) {
                MIMP_STEP_REQUIRE(branch == dim && !h->unit_height && !(decoder || s->window || s->thin || s->rule || s->rotary), flags);
                branch = 0;
            }
            MIMP_SLOT(0, 1, MIM_PLAIN, 2, s->flags & MIM_STEP_POST_NORM ? next : dim);
            MIMP_SLOT(1, 1, MIM_PANEL16, (uint64_t)s->heads * padded * 3, dim);
            MIMP_SLOT(2, 1, MIM_PANEL16, next, inner);
            MIMP_SLOT(3, 0, MIM_PLAIN, axes ? high + wide + deep : s->heads, axes ? padded : high * wide + (h->has_cls ? 3 : 0));
            MIMP_SLOT(4, 0, MIM_PLAIN, 2, s->head_dim);
            MIMP_SLOT(5, 0, MIM_PLAIN, 2, inner);
            MIMP_SLOT(6, 0, MIM_PLAIN, s->qk_norm == MIM_QK_UNIT ? 1 : 4, s->qk_norm == MIM_QK_UNIT ? s->heads : s->head_dim);
            MIMP_SLOT(7, 0, MIM_PANEL16, next, dim);
            MIMP_SLOT(8, 0, MIM_PLAIN, 3 * (uint64_t)s->kernel_frames * s->kernel_height * s->kernel_width, padded);
            MIMP_SLOT(9, 0, MIM_PLAIN, 6, s->head_dim);
            if (s->tensor[10]) {
                const uint32_t hidden = s->tensor[10] <= h->tensor_count ? tensors[s->tensor[10] - 1].columns : 0;
                const uint64_t side = mimp_max(s->window_height, s->window_width);
                MIMP_STEP_REQUIRE(mimp_in(hidden, 16, MIM_MAX_HIDDEN) && hidden % 16 == 0, tensor);
                MIMP_SLOT(10, 1, MIM_PLAIN, 3 + (uint64_t)s->heads, hidden);
                MIMP_SLOT(11, 1, MIM_PLAIN, side, 2 * side - 1);
            }
            break;
        }
        case MIM_STEP_MLP: {
            const uint32_t hidden = s->tensor[2] ? tensors[s->tensor[2] - 1].columns : 1;
            fields = MIMP_HAS_ACTIVATION | (s->tensor[4] ? (uint32_t)MIMP_HAS_KERNEL : 0u);
            MIMP_STEP_REQUIRE(s->activation >= (s->tensor[4] ? 0 : MIM_GELU_ERF) && s->activation <= MIM_SILU, activation);
            if (s->tensor[4]) {
                MIMP_STEP_REQUIRE(!prefix && !decoder && !(s->flags & MIM_STEP_GATED), kind);
                MIMP_STEP_REQUIRE(s->kernel_height <= MIM_MAX_KERNEL && s->kernel_height % 2 == 1, kernel_height);
                MIMP_STEP_REQUIRE(s->kernel_width <= MIM_MAX_KERNEL && s->kernel_width % 2 == 1, kernel_width);
            }
            if (hidden > MIM_MAX_HIDDEN)
                return mimp_step_fault(model, MIM_ERR_LIMIT, i, offsetof(mim_blob_step, tensor) + 4, "hidden units");
            next = s->tensor[5] ? MIMP_ROWS(2) : dim;
            MIMP_STEP_REQUIRE(mimp_in(next, 1, MIM_MAX_DIM), tensor);
            MIMP_STEP_REQUIRE(!s->tensor[5] || !(decoder || s->tensor[4] || s->flags & MIM_STEP_POST_NORM), tensor);
            MIMP_SLOT(5, 0, MIM_PANEL16, next, dim);
            MIMP_SLOT(0, 1, MIM_PLAIN, 2, dim);
            MIMP_SLOT(2, 1, MIM_PANEL16, next, hidden);
            MIMP_SLOT(1, 1, MIM_PANEL16, s->flags & MIM_STEP_GATED ? 2 * mimp_up(hidden, 16) : hidden, dim);
            MIMP_SLOT(3, 0, MIM_PLAIN, 2, hidden);
            mixed = hidden;
            break;
        }
        case MIM_STEP_NORM:
            MIMP_STEP_REQUIRE(!normed && (decoder || !headed) && s[-1].kind != MIM_STEP_NORM, kind);
            normed = decoder || mimp_is_final(s);
            MIMP_STEP_REQUIRE(!(s->flags & MIM_STEP_JOIN) || (branch == dim && !decoder && normed), flags);
            if (s->flags & MIM_STEP_JOIN)
                branch = 0;
            MIMP_SLOT(0, 1, MIM_PLAIN, 2, dim);
            break;
        case MIM_STEP_POOL:
            fields = MIMP_HAS_RULE;
            MIMP_STEP_REQUIRE(!decoder && !pooled, kind);
            MIMP_STEP_REQUIRE(s->rule >= MIM_POOL_CLS && s->rule <= MIM_POOL_CLS_MEAN, rule);
            MIMP_STEP_REQUIRE(h->has_cls || (s->rule != MIM_POOL_CLS && s->rule != MIM_POOL_CLS_MEAN), rule);
            MIMP_REQUIRE(h->dim == dim, MIM_ERR_HEADER, dim);
            MIMP_STEP_REQUIRE(h->pooled_dim == (s->rule == MIM_POOL_CLS_MEAN ? 2 * dim : dim), rule);
            MIMP_SLOT(0, 0, MIM_PLAIN, 2, h->pooled_dim);
            normalizes = s->tensor[0] != 0;
            pooled = 1;
            break;
        case MIM_STEP_HEAD:
            MIMP_STEP_REQUIRE(!decoder && pooled && !headed && h->classes, kind);
            MIMP_SLOT(0, 1, MIM_PANEL16, h->classes, h->pooled_dim);
            headed = 1;
            break;
        case MIM_STEP_PREDICT:
            MIMP_STEP_REQUIRE(decoder && normed, kind);
            MIMP_SLOT(0, 1, MIM_PANEL16, pixels, dim);
            predicted = 1;
            break;
        default:
            MIMP_STEP_REQUIRE(0, kind);
        }
        if (mixed)
            MIMP_SLOT(4, 0, MIM_PLAIN, (uint64_t)s->kernel_height * s->kernel_width + 1, mixed);
        MIMP_STEP_REQUIRE((s->flags & ~(((block || s->kind == MIM_STEP_CONV) && !decoder
                                         && !(s->flags & MIM_STEP_BRANCH) ? (uint32_t)MIM_STEP_TAP : 0u)
                                        | (s->kind == MIM_STEP_MLP ? (uint32_t)MIM_STEP_GATED : 0u)
                                        | (s->kind == MIM_STEP_CONV && !s->tensor[4] ? (uint32_t)MIM_STEP_BRANCH | MIM_STEP_WHOLE : 0u)
                                        | (s->kind == MIM_STEP_NORM || s->kind == MIM_STEP_ATTENTION ? (uint32_t)MIM_STEP_JOIN : 0u)
                                        | (s->kind == MIM_STEP_ATTENTION && !decoder ? MIM_STEP_ADD_QUERY
                                           | (s->flags & MIM_STEP_ADD_QUERY ? (uint32_t)MIM_STEP_ADD_PREFIX_QUERY : 0u) : 0u)
                                        | (block ? (uint32_t)MIM_STEP_POST_NORM : 0u))) == 0, flags);
        MIMP_STEP_REQUIRE(normalizes ? mimp_positive(s->eps) : mimp_bits(s->eps) == 0, eps);
        MIMP_STEP_REQUIRE(s->key_max == (quantized_attention ? s->key_max == 127 ? 127 : 63 : 0), key_max);
        MIMP_STEP_REQUIRE(s->value_max == (quantized_attention ? s->value_max == 127 ? 127 : 63 : 0), value_max);
        status = mimp_verify_step(model, h, i, used, fields);
        if (status)
            return status;
        dim = next;
        depth += s->flags & MIM_STEP_TAP;
        if (i + 1 == h->decoder_step) {
            MIMP_STEP_REQUIRE(pooled, kind);
            MIMP_REQUIRE((h->classes != 0) == headed, MIM_ERR_HEADER, classes);
        }
    }
    if (branch)                                          /* computed for nothing */
        return mimp_step_fault(model, MIM_ERR_STEP, h->step_count - 1, 0, "branch that no step joins");
    MIMP_REQUIRE(depth == h->depth, MIM_ERR_HEADER, depth);
    MIMP_REQUIRE(predicted == (h->decoder_dim != 0), MIM_ERR_HEADER, decoder_dim);
#undef MIMP_ROWS
#undef MIMP_SLOT
    return MIM_OK;
}
#endif

/* Rows of n numbers in the norm of an integer blob: n 2^a takes 15 to 16 bits, and sqrt(n) 2^q at most 15. */
static void mimp_norm_bits(uint32_t n, uint32_t *a, uint32_t *q)
{
    uint32_t bits = 0;
    while ((uint32_t)1 << bits < n)
        bits++;
    *a = 15 - bits;
    *q = 15 - (bits + 1) / 2;
}

/* The tensors of an integer blob's steps: their kinds of numbers and their sizes, which are looked up in a table of those of the step. */
enum { MIMP_WEIGHTS, MIMP_GAINS, MIMP_TABLE_16, MIMP_MAY_LACK = 4 };
enum { MIMP_1, MIMP_2, MIMP_1024, MIMP_DIM, MIMP_NEXT, MIMP_BOTH_HALVES, MIMP_PIXELS, MIMP_PREFIX, MIMP_PLACES, MIMP_QKV, MIMP_INNER, MIMP_HEADS,
       MIMP_HIDDEN, MIMP_HIDDEN_16, MIMP_POOLED, MIMP_CLASSES, MIMP_SIZES };

static const struct { uint8_t kind, slot, numbers, rows, columns; } mimp_integer_slots[] = {
    { MIM_STEP_EMBED, 0, MIMP_WEIGHTS, MIMP_BOTH_HALVES, MIMP_PIXELS },
    { MIM_STEP_EMBED, 1, MIMP_TABLE_16 | MIMP_MAY_LACK, MIMP_PREFIX, MIMP_DIM },
    { MIM_STEP_EMBED, 2, MIMP_TABLE_16, MIMP_PLACES, MIMP_DIM },
    { MIM_STEP_ATTENTION, 0, MIMP_GAINS, MIMP_2, MIMP_DIM },
    { MIM_STEP_ATTENTION, 1, MIMP_WEIGHTS, MIMP_QKV, MIMP_DIM },
    { MIM_STEP_ATTENTION, 2, MIMP_WEIGHTS, MIMP_DIM, MIMP_INNER },
    { MIM_STEP_ATTENTION, 6, MIMP_GAINS, MIMP_2, MIMP_HEADS },
    { MIM_STEP_MLP, 0, MIMP_GAINS, MIMP_2, MIMP_DIM },
    { MIM_STEP_MLP, 1, MIMP_WEIGHTS, MIMP_HIDDEN, MIMP_DIM },
    { MIM_STEP_MLP, 2, MIMP_WEIGHTS, MIMP_DIM, MIMP_HIDDEN },
    { MIM_STEP_MLP, 4, MIMP_TABLE_16, MIMP_1, MIMP_1024 },
    { MIM_STEP_MLP, 5, MIMP_GAINS, MIMP_1, MIMP_HIDDEN_16 },
    { MIM_STEP_NORM, 0, MIMP_GAINS, MIMP_2, MIMP_DIM },
    { MIM_STEP_POOL, 0, MIMP_GAINS | MIMP_MAY_LACK, MIMP_2, MIMP_POOLED },
    { MIM_STEP_HEAD, 0, MIMP_WEIGHTS, MIMP_CLASSES, MIMP_POOLED },
    { MIM_STEP_HEAD, 1, MIMP_GAINS, MIMP_2, MIMP_POOLED },
    { MIM_STEP_UNMASK, 0, MIMP_WEIGHTS, MIMP_NEXT, MIMP_DIM },
    { MIM_STEP_UNMASK, 1, MIMP_TABLE_16, MIMP_1, MIMP_NEXT },
    { MIM_STEP_UNMASK, 2, MIMP_TABLE_16 | MIMP_MAY_LACK, MIMP_PREFIX, MIMP_NEXT },
    { MIM_STEP_UNMASK, 3, MIMP_TABLE_16, MIMP_PLACES, MIMP_NEXT },
    { MIM_STEP_UNMASK, 4, MIMP_GAINS, MIMP_2, MIMP_DIM },
    { MIM_STEP_PREDICT, 0, MIMP_WEIGHTS, MIMP_PIXELS, MIMP_DIM },
    { MIM_STEP_PREDICT, 1, MIMP_GAINS, MIMP_2, MIMP_DIM }
};

/* The grammar of an integer blob's steps. Shapes, shifts and variances are all that its arithmetic needs to be defined. */
static mim_status mimp_verify_integer_steps(mim_model *model, const mim_blob_header *h)
{
    const mim_blob_step *steps = (const mim_blob_step *)(const void *)((const uint8_t *)h + sizeof *h);
    const mim_blob_tensor *tensors = (const mim_blob_tensor *)(const void *)(steps + h->step_count);
    uint32_t size[MIMP_SIZES], i, j, depth = 0;
    int pooled = 0, headed = 0, normed = 0, predicted = 0;
    MIMP_REQUIRE(h->frames == 1 && h->groups == 1 && !h->coordinates, MIM_ERR_HEADER, frames);
    MIMP_REQUIRE_IN(unit_height, 0, 1);
    MIMP_REQUIRE_IN(unit_width, 0, 1);
    MIM_MEMSET(size, 0, sizeof size);
    size[MIMP_1] = 1;
    size[MIMP_2] = 2;
    size[MIMP_1024] = 1024;
    size[MIMP_DIM] = h->dim;
    size[MIMP_NEXT] = h->decoder_dim;
    size[MIMP_BOTH_HALVES] = 2 * mimp_up(h->dim, 16);
    size[MIMP_PIXELS] = h->channels * h->patch_height * h->patch_width;
    size[MIMP_PREFIX] = h->has_cls + h->registers;
    size[MIMP_PLACES] = (h->image_height / h->patch_height) * (h->image_width / h->patch_width);
    size[MIMP_POOLED] = h->pooled_dim;
    size[MIMP_CLASSES] = h->classes;
    for (i = 0; i < h->step_count; i++) {
        const mim_blob_step *s = &steps[i];
        const int decoder = MIMP_DECODER && i >= h->decoder_step, first = i == 0 || i == h->decoder_step;
        const int block = s->kind == MIM_STEP_ATTENTION || s->kind == MIM_STEP_MLP, attention = s->kind == MIM_STEP_ATTENTION;
        uint32_t used = 0, fields = MIMP_HAS_SCALE, normalizes = block || s->kind == MIM_STEP_NORM ? size[MIMP_DIM] : 0, a, q;
        mim_status status = mimp_verify_indices(model, h, s, i);
        if (status)
            return status;
        MIMP_STEP_REQUIRE(first == (s->kind == MIM_STEP_EMBED || s->kind == MIM_STEP_UNMASK), kind);
        MIMP_STEP_REQUIRE(!(block && (normed || pooled)) && !predicted, kind);
        if (first) {
            fields |= MIMP_HAS_RULE | MIMP_HAS_FRAMES | MIMP_HAS_GRID;
            MIMP_STEP_REQUIRE(s->rule == MIM_POSITIONS_FIXED, rule);
            MIMP_STEP_REQUIRE(s->stored_frames == 1, stored_frames);
            MIMP_STEP_REQUIRE(s->stored_height == h->image_height / h->patch_height, stored_height);
            MIMP_STEP_REQUIRE(s->stored_width == h->image_width / h->patch_width, stored_width);
        }
        switch (s->kind) {
        case MIM_STEP_EMBED:
            fields |= MIMP_HAS_KERNEL;
            MIMP_STEP_REQUIRE(!decoder, kind);
            MIMP_STEP_REQUIRE(s->kernel_height == h->patch_height, kernel_height);
            MIMP_STEP_REQUIRE(s->kernel_width == h->patch_width, kernel_width);
            MIMP_STEP_REQUIRE((size[MIMP_PREFIX] != 0) == (s->tensor[1] != 0), tensor);
            break;
        case MIM_STEP_UNMASK:
            MIMP_STEP_REQUIRE(decoder && pooled && h->unit_height && h->unit_width, kind);
            normed = pooled = 0;
            break;
        case MIM_STEP_ATTENTION:
            fields = MIMP_HAS_HEADS;
            MIMP_STEP_REQUIRE(mimp_in(s->heads, 1, MIM_MAX_HEADS), heads);
            MIMP_STEP_REQUIRE(mimp_in(s->head_dim, 1, MIM_MAX_HEAD_DIM), head_dim);
            MIMP_STEP_REQUIRE(s->heads * mimp_up(s->head_dim, 16) <= MIM_MAX_HIDDEN, heads);
            MIMP_STEP_REQUIRE(!s->rotary, rotary);
            MIMP_STEP_REQUIRE(!s->rotary_grid, rotary_grid);
            MIMP_STEP_REQUIRE(!s->qk_norm, qk_norm);
            MIMP_STEP_REQUIRE(!s->window, window);
            MIMP_STEP_REQUIRE(!s->thin, thin);
            size[MIMP_HEADS] = s->heads;
            size[MIMP_INNER] = s->heads * s->head_dim;
            size[MIMP_QKV] = s->heads * mimp_up(s->head_dim, 16) * 3;
            break;
        case MIM_STEP_MLP:
            fields = 0;
            size[MIMP_HIDDEN] = s->tensor[2] ? tensors[s->tensor[2] - 1].columns : 1;
            if (size[MIMP_HIDDEN] > MIM_MAX_HIDDEN)
                return mimp_step_fault(model, MIM_ERR_LIMIT, i, offsetof(mim_blob_step, tensor) + 4, "hidden units");
            size[MIMP_HIDDEN_16] = mimp_up(size[MIMP_HIDDEN], 16);
            break;
        case MIM_STEP_NORM:
            MIMP_STEP_REQUIRE(!normed && !pooled, kind);
            normed = 1;
            break;
        case MIM_STEP_POOL:
            fields |= MIMP_HAS_RULE;
            MIMP_STEP_REQUIRE(!decoder && !pooled, kind);
            MIMP_STEP_REQUIRE(mimp_in(s->rule, MIM_POOL_CLS, MIM_POOL_CLS_MEAN), rule);
            MIMP_STEP_REQUIRE(h->has_cls || (s->rule != MIM_POOL_CLS && s->rule != MIM_POOL_CLS_MEAN), rule);
            MIMP_STEP_REQUIRE(h->pooled_dim == (s->rule == MIM_POOL_CLS_MEAN ? 2 : 1) * h->dim, rule);
            normalizes = s->tensor[0] ? h->pooled_dim : 0;
            pooled = 1;
            break;
        case MIM_STEP_HEAD:
            MIMP_STEP_REQUIRE(!decoder && pooled && !headed && h->classes, kind);
            headed = 1;
            break;
        case MIM_STEP_PREDICT:
            MIMP_STEP_REQUIRE(decoder && normed, kind);
            predicted = 1;
            break;
        default:
            MIMP_STEP_REQUIRE(0, kind);
        }
        for (j = 0; j < sizeof mimp_integer_slots / sizeof *mimp_integer_slots; j++) {
            const uint32_t slot = mimp_integer_slots[j].slot, numbers = mimp_integer_slots[j].numbers & 3u;
            const uint32_t rows = size[mimp_integer_slots[j].rows], columns = size[mimp_integer_slots[j].columns];
            if (mimp_integer_slots[j].kind != s->kind)
                continue;
            used |= 1u << slot;
            status = mimp_verify_slot(model, tensors, i, s, slot, !(mimp_integer_slots[j].numbers & MIMP_MAY_LACK),
                                      numbers == MIMP_WEIGHTS ? mimp_matrix_type(h, tensors, s, slot)
                                                              : numbers == MIMP_GAINS ? (uint32_t)MIM_I32 : (uint32_t)MIM_I16,
                                      numbers != MIMP_WEIGHTS ? (uint32_t)MIM_PLAIN : steps[0].tensor[0] ? mimp_layout(steps, tensors) : 0,
                                      rows, columns);
            if (status)
                return status;
            if (numbers == MIMP_WEIGHTS && tensors[s->tensor[slot] - 1].input_max != 255)
                return mimp_step_fault(model, MIM_ERR_TENSOR, i, offsetof(mim_blob_step, tensor) + slot * 2, "input_max");
        }
        if (s->kind == MIM_STEP_UNMASK)
            size[MIMP_DIM] = size[MIMP_NEXT];
        MIMP_STEP_REQUIRE(!(s->flags & ~(block && !decoder ? (uint32_t)MIM_STEP_TAP : 0u)), flags);
        MIMP_STEP_REQUIRE(!mimp_bits(s->eps), eps);
        MIMP_STEP_REQUIRE(!(fields & MIMP_HAS_SCALE) || mimp_positive(s->scale), scale);
        MIMP_STEP_REQUIRE(s->key_max == (attention ? s->key_max == 127 ? 127 : 63 : 0), key_max);
        MIMP_STEP_REQUIRE(s->value_max == (attention ? s->value_max == 127 ? 127 : 63 : 0), value_max);
        if (normalizes) {
            fields |= MIMP_HAS_VARIANCE;
            mimp_norm_bits(normalizes, &a, &q);
            MIMP_STEP_REQUIRE(s->variance >= (uint64_t)1 << (4 + 2 * q > 2 * a ? 4 + 2 * q - 2 * a : 0), variance);
            MIMP_STEP_REQUIRE(s->variance <= (uint64_t)1 << 60, variance);
        }
        status = mimp_verify_step(model, h, i, used, fields);
        if (status)
            return status;
        depth += s->flags & MIM_STEP_TAP;
        if (i + 1 == h->decoder_step) {
            MIMP_STEP_REQUIRE(pooled, kind);
            MIMP_REQUIRE((h->classes != 0) == headed, MIM_ERR_HEADER, classes);
        }
    }
    MIMP_REQUIRE(depth == h->depth, MIM_ERR_HEADER, depth);
    MIMP_REQUIRE(predicted == (h->decoder_dim != 0), MIM_ERR_HEADER, decoder_dim);
    return MIM_OK;
}
#undef MIMP_SLOT_OF
#undef MIMP_STEP_REQUIRE

MIMP_PUBLIC mim_status mim_open(mim_model *model, const void *blob, size_t bytes)
{
    const mim_blob_header *h = (const mim_blob_header *)blob;
    mim_status status;
    if (!model)
        return MIM_ERR_ARGUMENT;
    if (!blob)
        return mimp_fault(model, MIM_ERR_ARGUMENT, 0, "blob");
    if (!mimp_little_endian())
        return mimp_fault(model, MIM_ERR_ENDIAN, 0, "machine");
    if ((uintptr_t)blob & 15)
        return mimp_fault(model, MIM_ERR_ALIGNMENT, 0, "blob");
    status = mimp_verify_header(model, h, bytes);
    if (!status)
        status = mimp_verify_tensors(model, h);
    if (!status && MIMP_INTEGER(h))
        status = mimp_verify_integer_steps(model, h);
#ifndef MIM_NO_FLOAT
    else if (!status)
        status = mimp_verify_steps(model, h);
#endif
    if (status)
        return status;
    model->header = h;
    model->steps = (const mim_blob_step *)(const void *)((const uint8_t *)blob + sizeof *h);
    model->tensors = (const mim_blob_tensor *)(const void *)(model->steps + h->step_count);
    model->fault_at = 0;
    model->fault = "";
    return MIM_OK;
}

/* Whether n bytes, a multiple of 8, lie in -64..63: what tile_q8 relies on (2 * 255 * 64 < 2^15). Eight at a time: the sum
 * byte + 64 has its top bit clear; adding without the top bits cannot carry into the next byte. */
static int mimp_in_range(const uint8_t *w, size_t n)
{
    const uint64_t low = 0x7f7f7f7f7f7f7f7fu, add = 0x4040404040404040u;
    uint64_t outside = 0, x;
    size_t i;
    for (i = 0; i < n; i += 8) {
        MIM_MEMCPY(&x, w + i, 8);
        outside |= ((x & low) + add) ^ (x & ~low);
    }
    return !(outside & ~low);
}

#ifdef MIMP_X86
enum { MIMP_FOURS = 1 };        /* some leaves rely on them */
#else
enum { MIMP_FOURS = 0 };
#endif

/* Whether n bytes of panels, a multiple of 128, keep to what `fours` says, some channels at a time. In each 16 bits a sum begins
 * 129 below 2^15. */
static int mimp_fours_fit(const uint8_t *w, size_t n)
{
    const size_t ones = SIZE_MAX / 255, low = SIZE_MAX / 257;
    size_t over = 0, above, below, x, negative, j, k;
    for (; n; n -= 128, w += 64)
        for (j = 0; j < 64; j += sizeof x, w += sizeof x) {
            above = below = ones * 127;
            for (k = 0; k < 128; k += 64) {
                MIM_MEMCPY(&x, w + k, sizeof x);
                negative = (x >> 7 & ones) * 255;
                above += (x & ~negative & low) + ((x & ~negative) >> 8 & low);
                x = (~x & negative) + (negative & ones);
                below += (x & low) + (x >> 8 & low);
            }
            over |= above | below;
        }
    return !(over & SIZE_MAX / 65535 << 15);
}

/* Kernels are chosen by the recorded ranges, so these are checked before any runs; those of MIM_PAIRS16 are exact for all. */
static mim_status mimp_check_ranges(const mim_model *model)
{
    uint32_t i;
    for (i = 1; i <= model->header->tensor_count; i++) {
        const mim_blob_tensor *t = &model->tensors[i - 1];
        const int fours = MIMP_FOURS && t->fours;
        if (fours || (t->weight_max == 63 && t->layout == MIM_PANEL16)) {
            const mimp_matrix m = mimp_matrix_of(model, i);
            const size_t n = m.panel_bytes * (m.n / 16);
            if (!(fours ? mimp_fours_fit(m.panels, n) : mimp_in_range(m.panels, n)))
                return MIM_ERR_RANGE;
        }
    }
    return MIM_OK;
}

/* The tables of an integer blob: gains of 16 bits, and what softmax and hidden units are multiplied by. */
static mim_status mimp_verify_tables(mim_model *model)
{
    uint32_t i, d;
    for (i = 0; i < model->header->step_count; i++) {
        const mim_blob_step *s = &model->steps[i];
        const uint32_t slot = s->kind == MIM_STEP_UNMASK ? 4 : s->kind == MIM_STEP_HEAD || s->kind == MIM_STEP_PREDICT;
        const mim_blob_tensor *t = &model->tensors[s->tensor[slot] - (s->tensor[slot] != 0)];
        const int32_t *table = (const int32_t *)mimp_numbers(model, s->tensor[slot]);
        int bad = 0;
        for (d = 0; s->kind != MIM_STEP_EMBED && table && d < t->columns; d++)
            bad |= table[d] != (int16_t)table[d];
        table = (const int32_t *)mimp_numbers(model, s->tensor[6]);
        for (d = 0; d < s->heads; d++)
            bad |= table[d] < 0 || (uint32_t)table[s->heads + d] >= 0xffc00000u;
        table = (const int32_t *)mimp_numbers(model, s->tensor[5]);
        for (d = 0; s->kind == MIM_STEP_MLP && d < model->tensors[s->tensor[5] - 1].columns; d++)
            bad |= table[d] < 0;
        if (bad) {
            model->fault_at = sizeof(mim_blob_header) + i * sizeof *s;
            model->fault = "a gain or a factor of this step's tables";
            return MIM_ERR_RANGE;
        }
    }
    return MIM_OK;
}

MIMP_PUBLIC mim_status mim_verify(mim_model *model)
{
    uint32_t i;
    uint64_t at = 0;
    if (!model || !model->header)
        return MIM_ERR_ARGUMENT;
    if (mim_checksum(model->header, (size_t)model->header->bytes) != model->header->checksum) {
        model->fault_at = offsetof(mim_blob_header, checksum);
        model->fault = "checksum";
        return MIM_ERR_CHECKSUM;
    }
    for (i = 0; i < model->header->tensor_count; i++) {
        const mim_blob_tensor *t = &model->tensors[i];
        const uint8_t *data = (const uint8_t *)model->header + t->at;
        const size_t size = (size_t)mim_tensor_bytes(t), n = mimp_up(t->rows, 16);
        size_t j, begin = 0, end = size;
        const int sums = t->layout != MIM_PLAIN && mimp_is_quantized(t->type);
        int bad = 0;
        if (t->layout != MIM_PLAIN && t->type != MIM_F32)
            begin = size - n * (sums ? 12 : 8);
        for (j = 0; t->type == MIM_Q8 && j < begin && !bad; j++)
            if ((bad = (uint8_t)(data[j] + t->weight_max + (t->layout == MIM_PAIRS16 ? 128 : 0)) > 2 * t->weight_max) != 0)
                at = t->at + j;
        for (j = 0; t->fours && j < begin && !bad; j += 128)
            if ((bad = !mimp_fours_fit(data + j, 128)) != 0)
                at = t->at + j;
        for (j = 0; t->type == MIM_F16 && j < begin && !bad; j += 2) {
            uint16_t half;
            MIM_MEMCPY(&half, data + j, 2);
            if ((bad = (half & 0x7c00u) == 0x7c00u) != 0)
                at = t->at + j;
        }
        if (t->type == MIM_I32 || t->type == MIM_I16)
            continue;                                /* their steps know what they are */
        for (j = begin; j < begin + n * 4 && !bad && MIMP_INTEGER(model->header); j += 4)
            if ((bad = data[j + 3] >> 7) != 0)       /* a negative rate */
                at = t->at + j;
        for (j = begin; j < end && !bad && !MIMP_INTEGER(model->header); j += 4) {
            float value;
            if (sums && j >= begin + n * 4 && j < begin + n * 8)
                continue;                            /* the sums are integers */
            MIM_MEMCPY(&value, data + j, 4);
            if ((bad = !mimp_finite(value)) != 0)
                at = t->at + j;
        }
        if (bad) {
            model->fault_at = at;
            model->fault = "a number that is not finite, a weight beyond weight_max or fours, or a negative rate";
            return MIM_ERR_RANGE;
        }
    }
    return MIMP_INTEGER(model->header) ? mimp_verify_tables(model) : MIM_OK;
}

#ifndef MIM_NO_FLOAT
/* =======================================================================================
 * >>lanes: sixteen floats or integers at a time, once per instruction set
 *
 * Everything between the products (norms, softmax, quantization, epilogues) is written once,
 * below, over sixteen lanes, and these few operations are what an instruction set supplies:
 * one AVX-512 register, two of AVX2, four of NEON or wasm, or an array. A row is summed in sixteen
 * lanes that are then folded by halves. So the order of operations is the same everywhere, and
 * with it every bit. min and max are "a < b ? a : b" and "a > b ? a : b", NaN included.
 *
 *   f, i                  sixteen float, sixteen int32
 *   load, store, set      unaligned memory; all lanes equal
 *   add, sub, mul, div, min, max
 *   madd(a, b, c)         a * b + c, in one rounding where there is such an instruction: for f32 and f16, or exact products; fuses: there is
 *   first(v, n)           lanes n.. become zero
 *   cast_f, cast_i        the same bits as the other type
 *   loadi, storei, seti, addi, subi, muli, andi, shl(v, constant), convert (int32 to float)
 *   quads(p, stride, v)   the low bytes of lanes 4j..4j+3 go to p + j * stride
 *   columns(out, step, x, stride, rows, factor)   sixteen floats of each of `rows` rows, times factor, become sixteen
 *                         columns of `step` floats: out[i * step + r] = x[r * stride + i] * factor; rows from `rows` to
 *                         `step` count as zeros (rows <= step <= 16)
 *   fold_add, fold_min, fold_max, fold_addi   over all lanes, by halves
 * ===================================================================================== */

#define MIMP_FOLD16(v, op) \
    do { int mimp_h, mimp_l; \
         for (mimp_h = 8; mimp_h; mimp_h >>= 1) \
             for (mimp_l = 0; mimp_l < mimp_h; mimp_l++) \
                 (v)[mimp_l] = op((v)[mimp_l], (v)[mimp_l + mimp_h]); } while (0)

/* ---- portable ---- */

typedef struct { float v[16]; } mimp_scalar_f;
typedef struct { uint32_t v[16]; } mimp_scalar_i;   /* unsigned, so that wrapping is defined */

#define MIMP_EACH for (j = 0; j < 16; j++)
#define MIMP_SCALAR_OP(name, type, expression) \
    MIMP_INLINE mimp_scalar_##type mimp_scalar_##name(mimp_scalar_##type a, mimp_scalar_##type b) \
    { mimp_scalar_##type r; int j; MIMP_EACH r.v[j] = (expression); return r; }
MIMP_SCALAR_OP(add, f, a.v[j] + b.v[j])
MIMP_SCALAR_OP(sub, f, a.v[j] - b.v[j])
MIMP_SCALAR_OP(mul, f, a.v[j] * b.v[j])
MIMP_SCALAR_OP(div, f, a.v[j] / b.v[j])
MIMP_SCALAR_OP(min, f, a.v[j] < b.v[j] ? a.v[j] : b.v[j])
MIMP_SCALAR_OP(max, f, a.v[j] > b.v[j] ? a.v[j] : b.v[j])
enum { mimp_scalar_fuses = 0 };
MIMP_INLINE mimp_scalar_f mimp_scalar_madd(mimp_scalar_f a, mimp_scalar_f b, mimp_scalar_f c)
{ return mimp_scalar_add(mimp_scalar_mul(a, b), c); }
MIMP_SCALAR_OP(addi, i, a.v[j] + b.v[j])
MIMP_SCALAR_OP(subi, i, a.v[j] - b.v[j])
MIMP_SCALAR_OP(muli, i, a.v[j] * b.v[j])
MIMP_SCALAR_OP(andi, i, a.v[j] & b.v[j])
MIMP_INLINE mimp_scalar_f mimp_scalar_load(const float *p) { mimp_scalar_f r; MIM_MEMCPY(r.v, p, 64); return r; }
MIMP_INLINE void mimp_scalar_store(float *p, mimp_scalar_f v) { MIM_MEMCPY(p, v.v, 64); }
MIMP_INLINE mimp_scalar_f mimp_scalar_set(float x) { mimp_scalar_f r; int j; MIMP_EACH r.v[j] = x; return r; }
MIMP_INLINE mimp_scalar_f mimp_scalar_first(mimp_scalar_f v, uint32_t n)
{ int j; MIMP_EACH if ((uint32_t)j >= n) v.v[j] = 0; return v; }
MIMP_INLINE mimp_scalar_f mimp_scalar_cast_f(mimp_scalar_i v) { mimp_scalar_f r; MIM_MEMCPY(r.v, v.v, 64); return r; }
MIMP_INLINE mimp_scalar_i mimp_scalar_cast_i(mimp_scalar_f v) { mimp_scalar_i r; MIM_MEMCPY(r.v, v.v, 64); return r; }
MIMP_INLINE mimp_scalar_i mimp_scalar_loadi(const int32_t *p) { mimp_scalar_i r; MIM_MEMCPY(r.v, p, 64); return r; }
MIMP_INLINE void mimp_scalar_storei(void *p, mimp_scalar_i v) { MIM_MEMCPY(p, v.v, 64); }
MIMP_INLINE mimp_scalar_i mimp_scalar_seti(int32_t x) { mimp_scalar_i r; int j; MIMP_EACH r.v[j] = (uint32_t)x; return r; }
#define mimp_scalar_shl(a, n) mimp_scalar_muli(a, mimp_scalar_seti((int32_t)(1u << (n))))
MIMP_INLINE mimp_scalar_f mimp_scalar_convert(mimp_scalar_i v)
{ mimp_scalar_f r; int32_t x; int j; MIMP_EACH { MIM_MEMCPY(&x, &v.v[j], 4); r.v[j] = (float)x; } return r; }
MIMP_INLINE void mimp_scalar_quads(uint8_t *p, size_t stride, mimp_scalar_i v)
{ int j; MIMP_EACH p[(size_t)(j / 4) * stride + (size_t)(j % 4)] = (uint8_t)v.v[j]; }
MIMP_INLINE void mimp_scalar_columns(float *out, size_t step, const float *x, size_t stride, uint32_t rows, float factor)
{
    size_t r, i;
    for (i = 0; i < 16; i++)
        for (r = 0; r < step; r++)
            *out++ = (r < rows ? x[r * stride + i] : 0.0f) * factor;
}
#define MIMP_PLUS(a, b) ((a) + (b))
#define MIMP_LESS(a, b) ((a) < (b) ? (a) : (b))
#define MIMP_MORE(a, b) ((a) > (b) ? (a) : (b))
MIMP_INLINE float mimp_scalar_fold_add(mimp_scalar_f a) { MIMP_FOLD16(a.v, MIMP_PLUS); return a.v[0]; }
MIMP_INLINE float mimp_scalar_fold_min(mimp_scalar_f a) { MIMP_FOLD16(a.v, MIMP_LESS); return a.v[0]; }
MIMP_INLINE float mimp_scalar_fold_max(mimp_scalar_f a) { MIMP_FOLD16(a.v, MIMP_MORE); return a.v[0]; }
MIMP_INLINE int32_t mimp_scalar_fold_addi(mimp_scalar_i a)
{ int32_t x; MIMP_FOLD16(a.v, MIMP_PLUS); MIM_MEMCPY(&x, a.v, 4); return x; }

#ifdef MIMP_X86
/* ---- AVX2: two registers ---- */

/* Keeps a value in its register, or in memory. */
#ifdef __GNUC__
#define MIMP_PIN(x) __asm__("" : "+x"(x))
#define MIMP_PINZ(x) __asm__("" : "+v"(x))
#else
#define MIMP_PIN(x) (void)0
#define MIMP_PINZ(x) (void)0
#endif

#define MIMP_AVX2 MIMP_TARGET("avx2") MIMP_INLINE
typedef struct { __m256 a, b; } mimp_avx2_f;
typedef struct { __m256i a, b; } mimp_avx2_i;

#define MIMP_AVX2_OP(name, type, instruction) \
    MIMP_AVX2 mimp_avx2_##type mimp_avx2_##name(mimp_avx2_##type x, mimp_avx2_##type y) \
    { mimp_avx2_##type r; r.a = instruction(x.a, y.a); r.b = instruction(x.b, y.b); return r; }
MIMP_AVX2_OP(add, f, _mm256_add_ps)
MIMP_AVX2_OP(sub, f, _mm256_sub_ps)
MIMP_AVX2_OP(mul, f, _mm256_mul_ps)
MIMP_AVX2_OP(div, f, _mm256_div_ps)
MIMP_AVX2_OP(min, f, _mm256_min_ps)
MIMP_AVX2_OP(max, f, _mm256_max_ps)
enum { mimp_avx2_fuses = 1 };
MIMP_TARGET("avx2,fma") MIMP_INLINE mimp_avx2_f mimp_avx2_madd(mimp_avx2_f x, mimp_avx2_f y, mimp_avx2_f z)
{ z.a = _mm256_fmadd_ps(x.a, y.a, z.a); z.b = _mm256_fmadd_ps(x.b, y.b, z.b); return z; }
MIMP_AVX2_OP(addi, i, _mm256_add_epi32)
MIMP_AVX2_OP(subi, i, _mm256_sub_epi32)
MIMP_AVX2_OP(muli, i, _mm256_mullo_epi32)
MIMP_AVX2_OP(andi, i, _mm256_and_si256)
MIMP_AVX2 mimp_avx2_f mimp_avx2_load(const float *p)
{ mimp_avx2_f r; r.a = _mm256_loadu_ps(p); r.b = _mm256_loadu_ps(p + 8); return r; }
MIMP_AVX2 void mimp_avx2_store(float *p, mimp_avx2_f v) { _mm256_storeu_ps(p, v.a); _mm256_storeu_ps(p + 8, v.b); }
MIMP_AVX2 mimp_avx2_f mimp_avx2_set(float x) { mimp_avx2_f r; r.a = r.b = _mm256_set1_ps(x); return r; }
MIMP_AVX2 mimp_avx2_i mimp_avx2_loadi(const int32_t *p)
{
    mimp_avx2_i r;
    r.a = _mm256_loadu_si256((const __m256i *)(const void *)p);
    r.b = _mm256_loadu_si256((const __m256i *)(const void *)(p + 8));
    return r;
}
MIMP_AVX2 void mimp_avx2_storei(void *p, mimp_avx2_i v)
{
    _mm256_storeu_si256((__m256i *)p, v.a);
    _mm256_storeu_si256((__m256i *)p + 1, v.b);
}
MIMP_AVX2 mimp_avx2_i mimp_avx2_seti(int32_t x) { mimp_avx2_i r; r.a = r.b = _mm256_set1_epi32(x); return r; }
MIMP_AVX2 mimp_avx2_f mimp_avx2_first(mimp_avx2_f v, uint32_t n)
{
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), count = _mm256_set1_epi32((int32_t)n);
    v.a = _mm256_and_ps(v.a, _mm256_castsi256_ps(_mm256_cmpgt_epi32(count, lane)));
    v.b = _mm256_and_ps(v.b, _mm256_castsi256_ps(_mm256_cmpgt_epi32(count, _mm256_add_epi32(lane, _mm256_set1_epi32(8)))));
    return v;
}
MIMP_AVX2 mimp_avx2_f mimp_avx2_cast_f(mimp_avx2_i v)
{ mimp_avx2_f r; r.a = _mm256_castsi256_ps(v.a); r.b = _mm256_castsi256_ps(v.b); return r; }
MIMP_AVX2 mimp_avx2_i mimp_avx2_cast_i(mimp_avx2_f v)
{ mimp_avx2_i r; r.a = _mm256_castps_si256(v.a); r.b = _mm256_castps_si256(v.b); return r; }
#define mimp_avx2_shl(v, n) mimp_avx2_shl_count(v, _mm_cvtsi32_si128(n))
MIMP_AVX2 mimp_avx2_i mimp_avx2_shl_count(mimp_avx2_i v, __m128i n)
{ v.a = _mm256_sll_epi32(v.a, n); v.b = _mm256_sll_epi32(v.b, n); return v; }
MIMP_AVX2 mimp_avx2_f mimp_avx2_convert(mimp_avx2_i v)
{ mimp_avx2_f r; r.a = _mm256_cvtepi32_ps(v.a); r.b = _mm256_cvtepi32_ps(v.b); return r; }
#define MIMP_X86_QUAD(p, from, j) { const int32_t q = _mm_extract_epi32(from, j); MIM_MEMCPY(p, &q, 4); }
MIMP_AVX2 void mimp_avx2_quads(uint8_t *p, size_t stride, mimp_avx2_i v)
{
    const __m256i low = _mm256_setr_epi32(0x0c080400, -1, -1, -1, 0x0c080400, -1, -1, -1);      /* bytes; -1: zeros */
    const __m256i next = _mm256_setr_epi32(-1, 0x0c080400, -1, -1, -1, 0x0c080400, -1, -1);
    const __m256i bytes = _mm256_or_si256(_mm256_shuffle_epi8(v.a, low), _mm256_shuffle_epi8(v.b, next));
    const __m128i even = _mm256_castsi256_si128(bytes), odd = _mm256_extracti128_si256(bytes, 1);
    MIMP_X86_QUAD(p, even, 0)
    MIMP_X86_QUAD(p + stride, odd, 0)
    MIMP_X86_QUAD(p + 2 * stride, even, 1)
    MIMP_X86_QUAD(p + 3 * stride, odd, 1)
}
/* Four rows of four floats in each 128 bits (t0 to t3) become four columns of four. */
#define MIMP_X86_FOUR(r) ((r) < rows ? _mm_loadu_ps(x + (r) * stride + i) : _mm_setzero_ps())
#define MIMP_X86_TURN(unpacklo, unpackhi, shuffle) \
    u0 = unpacklo(t0, t1), u1 = unpackhi(t0, t1), u2 = unpacklo(t2, t3), u3 = unpackhi(t2, t3); \
    t0 = shuffle(u0, u2, 0x44), t1 = shuffle(u0, u2, 0xee), t2 = shuffle(u1, u3, 0x44), t3 = shuffle(u1, u3, 0xee);

/* Columns are stored eight floats at a time: what runs over the end of one is written again by the next, and the last goes
 * out by itself. */
MIMP_AVX2 void mimp_avx2_columns(float *out, size_t step, const float *x, size_t stride, uint32_t rows, float factor)
{
    const __m256 f = _mm256_set1_ps(factor);
    __m256 t0, t1, t2, t3, u0, u1, u2, u3;
    float last[16];
    uint32_t r, i;
    for (i = 0; i < 16; i += 4)
        for (r = 0; r < step; r += 8) {
            float *to = out + i * step + r;
#define MIMP_AVX2_TWO(r) _mm256_insertf128_ps(_mm256_castps128_ps256(MIMP_X86_FOUR(r)), MIMP_X86_FOUR((r) + 4), 1)
            t0 = MIMP_AVX2_TWO(r), t1 = MIMP_AVX2_TWO(r + 1), t2 = MIMP_AVX2_TWO(r + 2), t3 = MIMP_AVX2_TWO(r + 3);
            MIMP_X86_TURN(_mm256_unpacklo_ps, _mm256_unpackhi_ps, _mm256_shuffle_ps)
            _mm256_storeu_ps(to, _mm256_mul_ps(t0, f));
            _mm256_storeu_ps(to + step, _mm256_mul_ps(t1, f));
            _mm256_storeu_ps(to + 2 * step, _mm256_mul_ps(t2, f));
            _mm256_storeu_ps(i < 12 ? to + 3 * step : last + r, _mm256_mul_ps(t3, f));
        }
    MIM_MEMCPY(out + 15 * step, last, step * 4);
}
#define MIMP_AVX2_FOLD(name, op) \
    MIMP_AVX2 float mimp_avx2_fold_##name(mimp_avx2_f v) \
    { \
        const __m256 e = _mm256_##op##_ps(v.a, v.b); \
        const __m128 q = _mm_##op##_ps(_mm256_castps256_ps128(e), _mm256_extractf128_ps(e, 1)); \
        const __m128 d = _mm_##op##_ps(q, _mm_movehl_ps(q, q)); \
        return _mm_cvtss_f32(_mm_##op##_ss(d, _mm_shuffle_ps(d, d, 1))); \
    }
MIMP_AVX2_FOLD(add, add)
MIMP_AVX2_FOLD(min, min)
MIMP_AVX2_FOLD(max, max)
MIMP_AVX2 int32_t mimp_avx2_fold_addi(mimp_avx2_i v)
{
    const __m256i e = _mm256_add_epi32(v.a, v.b);
    __m128i q = _mm_add_epi32(_mm256_castsi256_si128(e), _mm256_extracti128_si256(e, 1));
    q = _mm_add_epi32(q, _mm_unpackhi_epi64(q, q));
    return _mm_cvtsi128_si32(_mm_add_epi32(q, _mm_shuffle_epi32(q, 1)));
}
#ifndef MIM_NO_AVX512
/* ---- AVX-512: one register ---- */

#define MIMP_AVX512_ISA "avx512f,avx512bw,avx512dq,avx512vl,avx2"
#define MIMP_AVX512 MIMP_TARGET(MIMP_AVX512_ISA) MIMP_INLINE
typedef struct { __m512 a; } mimp_avx512_f;
typedef struct { __m512i a; } mimp_avx512_i;

#define MIMP_AVX512_OP(name, type, instruction) \
    MIMP_AVX512 mimp_avx512_##type mimp_avx512_##name(mimp_avx512_##type x, mimp_avx512_##type y) \
    { x.a = instruction(x.a, y.a); return x; }
MIMP_AVX512_OP(add, f, _mm512_add_ps)
MIMP_AVX512_OP(sub, f, _mm512_sub_ps)
MIMP_AVX512_OP(mul, f, _mm512_mul_ps)
MIMP_AVX512_OP(div, f, _mm512_div_ps)
#define MIMP_AVX512_MIN(x, y) _mm512_maskz_min_ps(0xffff, x, y)     /* maskz: gcc 12 warns of its own header otherwise */
#define MIMP_AVX512_MAX(x, y) _mm512_maskz_max_ps(0xffff, x, y)
MIMP_AVX512_OP(min, f, MIMP_AVX512_MIN)
MIMP_AVX512_OP(max, f, MIMP_AVX512_MAX)
enum { mimp_avx512_fuses = 1 };
MIMP_AVX512 mimp_avx512_f mimp_avx512_madd(mimp_avx512_f x, mimp_avx512_f y, mimp_avx512_f z)
{ z.a = _mm512_fmadd_ps(x.a, y.a, z.a); return z; }
MIMP_AVX512_OP(addi, i, _mm512_add_epi32)
MIMP_AVX512_OP(subi, i, _mm512_sub_epi32)
MIMP_AVX512_OP(muli, i, _mm512_mullo_epi32)
MIMP_AVX512_OP(andi, i, _mm512_and_si512)
MIMP_AVX512 mimp_avx512_f mimp_avx512_load(const float *p) { mimp_avx512_f r; r.a = _mm512_loadu_ps(p); return r; }
MIMP_AVX512 void mimp_avx512_store(float *p, mimp_avx512_f v) { _mm512_storeu_ps(p, v.a); }
MIMP_AVX512 mimp_avx512_f mimp_avx512_set(float x) { mimp_avx512_f r; r.a = _mm512_set1_ps(x); return r; }
MIMP_AVX512 mimp_avx512_i mimp_avx512_loadi(const int32_t *p) { mimp_avx512_i r; r.a = _mm512_loadu_si512(p); return r; }
MIMP_AVX512 void mimp_avx512_storei(void *p, mimp_avx512_i v) { _mm512_storeu_si512(p, v.a); }
MIMP_AVX512 mimp_avx512_i mimp_avx512_seti(int32_t x) { mimp_avx512_i r; r.a = _mm512_set1_epi32(x); return r; }
MIMP_AVX512 mimp_avx512_f mimp_avx512_first(mimp_avx512_f v, uint32_t n)
{ v.a = _mm512_maskz_mov_ps((__mmask16)(n >= 16 ? 0xffffu : (1u << n) - 1), v.a); return v; }
MIMP_AVX512 mimp_avx512_f mimp_avx512_cast_f(mimp_avx512_i v) { mimp_avx512_f r; r.a = _mm512_castsi512_ps(v.a); return r; }
MIMP_AVX512 mimp_avx512_i mimp_avx512_cast_i(mimp_avx512_f v) { mimp_avx512_i r; r.a = _mm512_castps_si512(v.a); return r; }
#define mimp_avx512_shl(v, n) mimp_avx512_shl_count(v, _mm_cvtsi32_si128(n))
MIMP_AVX512 mimp_avx512_i mimp_avx512_shl_count(mimp_avx512_i v, __m128i n)
{ v.a = _mm512_maskz_sll_epi32(0xffff, v.a, n); return v; }
MIMP_AVX512 mimp_avx512_f mimp_avx512_convert(mimp_avx512_i v)
{ mimp_avx512_f r; r.a = _mm512_maskz_cvtepi32_ps(0xffff, v.a); return r; }
MIMP_AVX512 void mimp_avx512_quads(uint8_t *p, size_t stride, mimp_avx512_i v)
{
    const __m128i bytes = _mm512_maskz_cvtepi32_epi8(0xffff, v.a);
    if (stride == 4) {
        _mm_storeu_si128((__m128i *)(void *)p, bytes);
        return;
    }
    MIMP_X86_QUAD(p, bytes, 0)
    MIMP_X86_QUAD(p + stride, bytes, 1)
    MIMP_X86_QUAD(p + 2 * stride, bytes, 2)
    MIMP_X86_QUAD(p + 3 * stride, bytes, 3)
}
MIMP_AVX512 void mimp_avx512_columns(float *out, size_t step, const float *x, size_t stride, uint32_t rows, float factor)
{
    const __mmask16 stored = (__mmask16)((1u << step) - 1);
    const __m512 f = _mm512_set1_ps(factor);
    __m512 t0, t1, t2, t3, u0, u1, u2, u3;
    uint32_t i;
    for (i = 0; i < 16; i += 4, out += 4 * step) {
#define MIMP_AVX512_INSERT(t, r, at) _mm512_maskz_insertf32x4(0xffff, t, MIMP_X86_FOUR(r), at)
#define MIMP_AVX512_FOUR(r) \
    MIMP_AVX512_INSERT(MIMP_AVX512_INSERT(MIMP_AVX512_INSERT(_mm512_castps128_ps512(MIMP_X86_FOUR(r)), r + 4, 1), r + 8, 2), r + 12, 3)
#define MIMP_AVX512_UNPACKLO(a, b) _mm512_maskz_unpacklo_ps(0xffff, a, b)
#define MIMP_AVX512_UNPACKHI(a, b) _mm512_maskz_unpackhi_ps(0xffff, a, b)
#define MIMP_AVX512_SHUFFLE(a, b, how) _mm512_maskz_shuffle_ps(0xffff, a, b, how)
        t0 = MIMP_AVX512_FOUR(0), t1 = MIMP_AVX512_FOUR(1), t2 = MIMP_AVX512_FOUR(2), t3 = MIMP_AVX512_FOUR(3);
        MIMP_X86_TURN(MIMP_AVX512_UNPACKLO, MIMP_AVX512_UNPACKHI, MIMP_AVX512_SHUFFLE)
        _mm512_mask_storeu_ps(out, stored, _mm512_mul_ps(t0, f));
        _mm512_mask_storeu_ps(out + step, stored, _mm512_mul_ps(t1, f));
        _mm512_mask_storeu_ps(out + 2 * step, stored, _mm512_mul_ps(t2, f));
        _mm512_mask_storeu_ps(out + 3 * step, stored, _mm512_mul_ps(t3, f));
    }
}
MIMP_AVX512 mimp_avx2_f mimp_avx512_halves(mimp_avx512_f v)
{
    mimp_avx2_f r;
    r.a = _mm512_maskz_extractf32x8_ps(0xff, v.a, 0);
    r.b = _mm512_maskz_extractf32x8_ps(0xff, v.a, 1);
    return r;
}
MIMP_AVX512 float mimp_avx512_fold_add(mimp_avx512_f v) { return mimp_avx2_fold_add(mimp_avx512_halves(v)); }
MIMP_AVX512 float mimp_avx512_fold_min(mimp_avx512_f v) { return mimp_avx2_fold_min(mimp_avx512_halves(v)); }
MIMP_AVX512 float mimp_avx512_fold_max(mimp_avx512_f v) { return mimp_avx2_fold_max(mimp_avx512_halves(v)); }
MIMP_AVX512 int32_t mimp_avx512_fold_addi(mimp_avx512_i v)
{
    mimp_avx2_i halves;
    halves.a = _mm512_maskz_extracti32x8_epi32(0xff, v.a, 0);
    halves.b = _mm512_maskz_extracti32x8_epi32(0xff, v.a, 1);
    return mimp_avx2_fold_addi(halves);
}
#endif
#endif

#ifdef MIMP_NEON
/* ---- NEON: four registers ---- */

typedef struct { float32x4_t a, b, c, d; } mimp_neon_f;
typedef struct { int32x4_t a, b, c, d; } mimp_neon_i;

#define MIMP_NEON_OP(name, type, op) \
    MIMP_INLINE mimp_neon_##type mimp_neon_##name(mimp_neon_##type x, mimp_neon_##type y) \
    { mimp_neon_##type r; r.a = op(x.a, y.a); r.b = op(x.b, y.b); r.c = op(x.c, y.c); r.d = op(x.d, y.d); return r; }
#define MIMP_NEON_LESS(x, y) vbslq_f32(vcltq_f32(x, y), x, y)
#define MIMP_NEON_MORE(x, y) vbslq_f32(vcgtq_f32(x, y), x, y)
MIMP_NEON_OP(add, f, vaddq_f32)
MIMP_NEON_OP(sub, f, vsubq_f32)
MIMP_NEON_OP(mul, f, vmulq_f32)
MIMP_NEON_OP(div, f, vdivq_f32)
MIMP_NEON_OP(min, f, MIMP_NEON_LESS)
MIMP_NEON_OP(max, f, MIMP_NEON_MORE)
enum { mimp_neon_fuses = 1 };
MIMP_INLINE mimp_neon_f mimp_neon_madd(mimp_neon_f x, mimp_neon_f y, mimp_neon_f z)
{
    z.a = vfmaq_f32(z.a, x.a, y.a); z.b = vfmaq_f32(z.b, x.b, y.b); z.c = vfmaq_f32(z.c, x.c, y.c); z.d = vfmaq_f32(z.d, x.d, y.d);
    return z;
}
MIMP_NEON_OP(addi, i, vaddq_s32)
MIMP_NEON_OP(subi, i, vsubq_s32)
MIMP_NEON_OP(muli, i, vmulq_s32)
MIMP_NEON_OP(andi, i, vandq_s32)
MIMP_INLINE mimp_neon_f mimp_neon_load(const float *p)
{ mimp_neon_f r; r.a = vld1q_f32(p); r.b = vld1q_f32(p + 4); r.c = vld1q_f32(p + 8); r.d = vld1q_f32(p + 12); return r; }
MIMP_INLINE void mimp_neon_store(float *p, mimp_neon_f v)
{ vst1q_f32(p, v.a); vst1q_f32(p + 4, v.b); vst1q_f32(p + 8, v.c); vst1q_f32(p + 12, v.d); }
MIMP_INLINE mimp_neon_f mimp_neon_set(float x) { mimp_neon_f r; r.a = r.b = r.c = r.d = vdupq_n_f32(x); return r; }
MIMP_INLINE mimp_neon_i mimp_neon_loadi(const int32_t *p)
{ mimp_neon_i r; r.a = vld1q_s32(p); r.b = vld1q_s32(p + 4); r.c = vld1q_s32(p + 8); r.d = vld1q_s32(p + 12); return r; }
MIMP_INLINE void mimp_neon_storei(void *p, mimp_neon_i v)
{ int32_t *q = (int32_t *)p; vst1q_s32(q, v.a); vst1q_s32(q + 4, v.b); vst1q_s32(q + 8, v.c); vst1q_s32(q + 12, v.d); }
MIMP_INLINE mimp_neon_i mimp_neon_seti(int32_t x) { mimp_neon_i r; r.a = r.b = r.c = r.d = vdupq_n_s32(x); return r; }
MIMP_INLINE mimp_neon_f mimp_neon_first(mimp_neon_f v, uint32_t n)
{
    float lanes[16];
    uint32_t j;
    mimp_neon_store(lanes, v);
    for (j = n; j < 16; j++)
        lanes[j] = 0;
    return mimp_neon_load(lanes);
}
MIMP_INLINE mimp_neon_f mimp_neon_cast_f(mimp_neon_i v)
{ mimp_neon_f r; r.a = vreinterpretq_f32_s32(v.a); r.b = vreinterpretq_f32_s32(v.b);
  r.c = vreinterpretq_f32_s32(v.c); r.d = vreinterpretq_f32_s32(v.d); return r; }
MIMP_INLINE mimp_neon_i mimp_neon_cast_i(mimp_neon_f v)
{ mimp_neon_i r; r.a = vreinterpretq_s32_f32(v.a); r.b = vreinterpretq_s32_f32(v.b);
  r.c = vreinterpretq_s32_f32(v.c); r.d = vreinterpretq_s32_f32(v.d); return r; }
#define mimp_neon_shl(v, n) mimp_neon_shl_count(v, vdupq_n_s32(n))
MIMP_INLINE mimp_neon_i mimp_neon_shl_count(mimp_neon_i v, int32x4_t n)
{ v.a = vshlq_s32(v.a, n); v.b = vshlq_s32(v.b, n); v.c = vshlq_s32(v.c, n); v.d = vshlq_s32(v.d, n); return v; }
MIMP_INLINE mimp_neon_f mimp_neon_convert(mimp_neon_i v)
{ mimp_neon_f r; r.a = vcvtq_f32_s32(v.a); r.b = vcvtq_f32_s32(v.b); r.c = vcvtq_f32_s32(v.c); r.d = vcvtq_f32_s32(v.d); return r; }
MIMP_INLINE void mimp_neon_quads(uint8_t *p, size_t stride, mimp_neon_i v)
{
    const int16x8_t lo = vcombine_s16(vmovn_s32(v.a), vmovn_s32(v.b)), hi = vcombine_s16(vmovn_s32(v.c), vmovn_s32(v.d));
    uint8_t bytes[16];
    int j;
    vst1q_u8(bytes, vreinterpretq_u8_s8(vcombine_s8(vmovn_s16(lo), vmovn_s16(hi))));
    for (j = 0; j < 4; j++)
        MIM_MEMCPY(p + (size_t)j * stride, bytes + 4 * j, 4);
}
/* Four rows by four. Columns are stored four floats at a time: what runs over the end of one is written again by the next,
 * and the last goes out by itself. */
MIMP_INLINE void mimp_neon_columns(float *out, size_t step, const float *x, size_t stride, uint32_t rows, float factor)
{
    float last[16];
    uint32_t r, i, j;
#define MIMP_NEON_FOUR(r) ((r) < rows ? vld1q_f32(x + (r) * stride + i) : vdupq_n_f32(0))
    for (i = 0; i < 16; i += 4)
        for (r = 0; r < step; r += 4) {
            const float32x4x2_t t = vtrnq_f32(MIMP_NEON_FOUR(r), MIMP_NEON_FOUR(r + 1));
            const float32x4x2_t u = vtrnq_f32(MIMP_NEON_FOUR(r + 2), MIMP_NEON_FOUR(r + 3));
            float32x4_t c[4];
            c[0] = vcombine_f32(vget_low_f32(t.val[0]), vget_low_f32(u.val[0]));
            c[1] = vcombine_f32(vget_low_f32(t.val[1]), vget_low_f32(u.val[1]));
            c[2] = vcombine_f32(vget_high_f32(t.val[0]), vget_high_f32(u.val[0]));
            c[3] = vcombine_f32(vget_high_f32(t.val[1]), vget_high_f32(u.val[1]));
            for (j = 0; j < 4; j++)
                vst1q_f32(i + j < 15 ? out + (i + j) * step + r : last + r, vmulq_n_f32(c[j], factor));
        }
    MIM_MEMCPY(out + 15 * step, last, step * 4);
}
#define MIMP_NEON_FOLD(name, op, less) \
    MIMP_INLINE float mimp_neon_fold_##name(mimp_neon_f v) \
    { \
        const float32x4_t q = op(op(v.a, v.c), op(v.b, v.d)); \
        const float x = less(vgetq_lane_f32(q, 0), vgetq_lane_f32(q, 2)), y = less(vgetq_lane_f32(q, 1), vgetq_lane_f32(q, 3)); \
        return less(x, y); \
    }
MIMP_NEON_FOLD(add, vaddq_f32, MIMP_PLUS)
MIMP_NEON_FOLD(min, MIMP_NEON_LESS, MIMP_LESS)
MIMP_NEON_FOLD(max, MIMP_NEON_MORE, MIMP_MORE)
MIMP_INLINE int32_t mimp_neon_fold_addi(mimp_neon_i v) { return vaddvq_s32(vaddq_s32(vaddq_s32(v.a, v.b), vaddq_s32(v.c, v.d))); }
#endif

#ifdef MIMP_SIMD128
/* ---- wasm SIMD128: four vectors ---- */

typedef struct { v128_t a, b, c, d; } mimp_simd128_f;
typedef mimp_simd128_f mimp_simd128_i;

#define MIMP_SIMD128_OP(name, op) \
    MIMP_INLINE mimp_simd128_f mimp_simd128_##name(mimp_simd128_f x, mimp_simd128_f y) \
    { mimp_simd128_f r; r.a = op(x.a, y.a); r.b = op(x.b, y.b); r.c = op(x.c, y.c); r.d = op(x.d, y.d); return r; }
#define MIMP_SIMD128_LESS(x, y) wasm_f32x4_pmin(y, x)       /* pmin(y, x) is x < y ? x : y */
#define MIMP_SIMD128_MORE(x, y) wasm_f32x4_pmax(y, x)       /* pmax(y, x) is y < x ? x : y */
MIMP_SIMD128_OP(add, wasm_f32x4_add)
MIMP_SIMD128_OP(sub, wasm_f32x4_sub)
MIMP_SIMD128_OP(mul, wasm_f32x4_mul)
MIMP_SIMD128_OP(div, wasm_f32x4_div)
MIMP_SIMD128_OP(min, MIMP_SIMD128_LESS)
MIMP_SIMD128_OP(max, MIMP_SIMD128_MORE)
enum { mimp_simd128_fuses = 0 };
#define mimp_simd128_madd(x, y, z) mimp_simd128_add(mimp_simd128_mul(x, y), z)
MIMP_SIMD128_OP(addi, wasm_i32x4_add)
MIMP_SIMD128_OP(subi, wasm_i32x4_sub)
MIMP_SIMD128_OP(muli, wasm_i32x4_mul)
MIMP_SIMD128_OP(andi, wasm_v128_and)
MIMP_INLINE mimp_simd128_f mimp_simd128_load(const float *p)
{ mimp_simd128_f r; r.a = wasm_v128_load(p); r.b = wasm_v128_load(p + 4); r.c = wasm_v128_load(p + 8); r.d = wasm_v128_load(p + 12); return r; }
MIMP_INLINE void mimp_simd128_store(float *p, mimp_simd128_f v)
{ wasm_v128_store(p, v.a); wasm_v128_store(p + 4, v.b); wasm_v128_store(p + 8, v.c); wasm_v128_store(p + 12, v.d); }
MIMP_INLINE mimp_simd128_f mimp_simd128_set(float x) { mimp_simd128_f r; r.a = r.b = r.c = r.d = wasm_f32x4_splat(x); return r; }
MIMP_INLINE mimp_simd128_i mimp_simd128_loadi(const int32_t *p)
{ mimp_simd128_i r; r.a = wasm_v128_load(p); r.b = wasm_v128_load(p + 4); r.c = wasm_v128_load(p + 8); r.d = wasm_v128_load(p + 12); return r; }
MIMP_INLINE void mimp_simd128_storei(void *p, mimp_simd128_i v)
{ int32_t *q = (int32_t *)p; wasm_v128_store(q, v.a); wasm_v128_store(q + 4, v.b); wasm_v128_store(q + 8, v.c); wasm_v128_store(q + 12, v.d); }
MIMP_INLINE mimp_simd128_i mimp_simd128_seti(int32_t x) { mimp_simd128_i r; r.a = r.b = r.c = r.d = wasm_i32x4_splat(x); return r; }
MIMP_INLINE mimp_simd128_f mimp_simd128_first(mimp_simd128_f v, uint32_t n)
{
    float lanes[16];
    uint32_t j;
    mimp_simd128_store(lanes, v);
    for (j = n; j < 16; j++)
        lanes[j] = 0;
    return mimp_simd128_load(lanes);
}
#define mimp_simd128_cast_f(v) (v)
#define mimp_simd128_cast_i(v) (v)
MIMP_INLINE mimp_simd128_i mimp_simd128_shl(mimp_simd128_i v, uint32_t n)
{ v.a = wasm_i32x4_shl(v.a, n); v.b = wasm_i32x4_shl(v.b, n); v.c = wasm_i32x4_shl(v.c, n); v.d = wasm_i32x4_shl(v.d, n); return v; }
MIMP_INLINE mimp_simd128_f mimp_simd128_convert(mimp_simd128_i v)
{
    v.a = wasm_f32x4_convert_i32x4(v.a); v.b = wasm_f32x4_convert_i32x4(v.b);
    v.c = wasm_f32x4_convert_i32x4(v.c); v.d = wasm_f32x4_convert_i32x4(v.d);
    return v;
}
MIMP_INLINE void mimp_simd128_quads(uint8_t *p, size_t stride, mimp_simd128_i v)
{
    const v128_t low = wasm_i8x16_shuffle(v.a, v.b, 0, 4, 8, 12, 16, 20, 24, 28, 0, 4, 8, 12, 16, 20, 24, 28);
    const v128_t high = wasm_i8x16_shuffle(v.c, v.d, 0, 4, 8, 12, 16, 20, 24, 28, 0, 4, 8, 12, 16, 20, 24, 28);
    wasm_v128_store32_lane(p, low, 0);
    wasm_v128_store32_lane(p + stride, low, 1);
    wasm_v128_store32_lane(p + 2 * stride, high, 0);
    wasm_v128_store32_lane(p + 3 * stride, high, 1);
}
/* As NEON's. */
MIMP_INLINE void mimp_simd128_columns(float *out, size_t step, const float *x, size_t stride, uint32_t rows, float factor)
{
    float last[16];
    uint32_t r, i, j;
#define MIMP_SIMD128_FOUR(r) ((r) < rows ? wasm_v128_load(x + (r) * stride + i) : wasm_f32x4_const_splat(0))
    for (i = 0; i < 16; i += 4)
        for (r = 0; r < step; r += 4) {
            const v128_t p = MIMP_SIMD128_FOUR(r), q = MIMP_SIMD128_FOUR(r + 1), s = MIMP_SIMD128_FOUR(r + 2), t = MIMP_SIMD128_FOUR(r + 3);
            const v128_t pq = wasm_i32x4_shuffle(p, q, 0, 4, 1, 5), st = wasm_i32x4_shuffle(s, t, 0, 4, 1, 5);
            const v128_t PQ = wasm_i32x4_shuffle(p, q, 2, 6, 3, 7), ST = wasm_i32x4_shuffle(s, t, 2, 6, 3, 7);
            v128_t c[4];
            c[0] = wasm_i64x2_shuffle(pq, st, 0, 2);
            c[1] = wasm_i64x2_shuffle(pq, st, 1, 3);
            c[2] = wasm_i64x2_shuffle(PQ, ST, 0, 2);
            c[3] = wasm_i64x2_shuffle(PQ, ST, 1, 3);
            for (j = 0; j < 4; j++)
                wasm_v128_store(i + j < 15 ? out + (i + j) * step + r : last + r, wasm_f32x4_mul(c[j], wasm_f32x4_splat(factor)));
        }
    MIM_MEMCPY(out + 15 * step, last, step * 4);
}
#define MIMP_SIMD128_FOLD(name, op, less) \
    MIMP_INLINE float mimp_simd128_fold_##name(mimp_simd128_f v) \
    { \
        const v128_t q = op(op(v.a, v.c), op(v.b, v.d)); \
        const float x = less(wasm_f32x4_extract_lane(q, 0), wasm_f32x4_extract_lane(q, 2)); \
        const float y = less(wasm_f32x4_extract_lane(q, 1), wasm_f32x4_extract_lane(q, 3)); \
        return less(x, y); \
    }
MIMP_SIMD128_FOLD(add, wasm_f32x4_add, MIMP_PLUS)
MIMP_SIMD128_FOLD(min, MIMP_SIMD128_LESS, MIMP_LESS)
MIMP_SIMD128_FOLD(max, MIMP_SIMD128_MORE, MIMP_MORE)
MIMP_INLINE int32_t mimp_simd128_fold_addi(mimp_simd128_i v)
{
    v.a = wasm_i32x4_add(wasm_i32x4_add(v.a, v.c), wasm_i32x4_add(v.b, v.d));
    v.a = wasm_i32x4_add(v.a, wasm_i32x4_shuffle(v.a, v.a, 2, 3, 0, 1));
    return wasm_i32x4_extract_lane(wasm_i32x4_add(v.a, wasm_i32x4_shuffle(v.a, v.a, 1, 0, 3, 2)), 0);
}
#endif

#ifdef MIMP_RVV
/* ---- RVV 1.0: vectors of 16 lanes, in four, two or one registers as they are 128, 256 or 512 bits wide or more ---- */

/* M, MASK: the type of 16 lanes of 32 bits and of their masks; H and B: of 16 lanes of 16 and 8 bits. */
#define MIMP_RVV_OP(isa, name, type, op) \
    MIMP_INLINE mimp_##isa##_##type mimp_##isa##_##name(mimp_##isa##_##type x, mimp_##isa##_##type y) { return op(x, y, 16); }
#define MIMP_RVV_FOLD(isa, name, type, M, op) \
    MIMP_INLINE mimp_##isa##_##type mimp_##isa##_half_##name(mimp_##isa##_##type v, size_t n) \
    { return op(v, __riscv_vslidedown_vx_##M(v, n, n), n); }
#define MIMP_RVV_HALVES(isa, name, v) \
    mimp_##isa##_half_##name(mimp_##isa##_half_##name(mimp_##isa##_half_##name(mimp_##isa##_half_##name(v, 8), 4), 2), 1)
#define MIMP_RVV_LANES(isa, M, H, B, MASK) \
    typedef vfloat32##M##_t mimp_##isa##_f; \
    typedef vint32##M##_t mimp_##isa##_i; \
    MIMP_RVV_OP(isa, add, f, __riscv_vfadd_vv_f32##M) \
    MIMP_RVV_OP(isa, sub, f, __riscv_vfsub_vv_f32##M) \
    MIMP_RVV_OP(isa, mul, f, __riscv_vfmul_vv_f32##M) \
    MIMP_RVV_OP(isa, div, f, __riscv_vfdiv_vv_f32##M) \
    enum { mimp_##isa##_fuses = 1 }; \
    MIMP_INLINE mimp_##isa##_f mimp_##isa##_madd(mimp_##isa##_f x, mimp_##isa##_f y, mimp_##isa##_f z) \
    { return __riscv_vfmacc_vv_f32##M(z, x, y, 16); } \
    MIMP_RVV_OP(isa, addi, i, __riscv_vadd_vv_i32##M) \
    MIMP_RVV_OP(isa, subi, i, __riscv_vsub_vv_i32##M) \
    MIMP_RVV_OP(isa, muli, i, __riscv_vmul_vv_i32##M) \
    MIMP_RVV_OP(isa, andi, i, __riscv_vand_vv_i32##M) \
    MIMP_INLINE mimp_##isa##_f mimp_##isa##_less(mimp_##isa##_f x, mimp_##isa##_f y, size_t n) \
    { return __riscv_vmerge_vvm_f32##M(y, x, __riscv_vmflt_vv_f32##M##_##MASK(x, y, n), n); } \
    MIMP_INLINE mimp_##isa##_f mimp_##isa##_more(mimp_##isa##_f x, mimp_##isa##_f y, size_t n) \
    { return __riscv_vmerge_vvm_f32##M(y, x, __riscv_vmfgt_vv_f32##M##_##MASK(x, y, n), n); } \
    MIMP_RVV_OP(isa, min, f, mimp_##isa##_less) \
    MIMP_RVV_OP(isa, max, f, mimp_##isa##_more) \
    MIMP_INLINE mimp_##isa##_f mimp_##isa##_load(const float *p) { return __riscv_vle32_v_f32##M(p, 16); } \
    MIMP_INLINE void mimp_##isa##_store(float *p, mimp_##isa##_f v) { __riscv_vse32_v_f32##M(p, v, 16); } \
    MIMP_INLINE mimp_##isa##_f mimp_##isa##_set(float x) { return __riscv_vfmv_v_f_f32##M(x, 16); } \
    MIMP_INLINE mimp_##isa##_i mimp_##isa##_loadi(const int32_t *p) { return __riscv_vle32_v_i32##M(p, 16); } \
    MIMP_INLINE void mimp_##isa##_storei(void *p, mimp_##isa##_i v) { __riscv_vse32_v_i32##M((int32_t *)p, v, 16); } \
    MIMP_INLINE mimp_##isa##_i mimp_##isa##_seti(int32_t x) { return __riscv_vmv_v_x_i32##M(x, 16); } \
    MIMP_INLINE mimp_##isa##_f mimp_##isa##_first(mimp_##isa##_f v, uint32_t n) \
    { return __riscv_vmv_v_v_f32##M##_tu(mimp_##isa##_set(0), v, n); } \
    MIMP_INLINE mimp_##isa##_f mimp_##isa##_cast_f(mimp_##isa##_i v) { return __riscv_vreinterpret_v_i32##M##_f32##M(v); } \
    MIMP_INLINE mimp_##isa##_i mimp_##isa##_cast_i(mimp_##isa##_f v) { return __riscv_vreinterpret_v_f32##M##_i32##M(v); } \
    MIMP_INLINE mimp_##isa##_i mimp_##isa##_shl(mimp_##isa##_i v, size_t n) { return __riscv_vsll_vx_i32##M(v, n, 16); } \
    MIMP_INLINE mimp_##isa##_f mimp_##isa##_convert(mimp_##isa##_i v) { return __riscv_vfcvt_f_x_v_f32##M(v, 16); } \
    MIMP_INLINE void mimp_##isa##_quads(uint8_t *p, size_t stride, mimp_##isa##_i v) \
    { \
        int8_t bytes[16]; \
        int j; \
        __riscv_vse8_v_i8##B(bytes, __riscv_vnsra_wx_i8##B(__riscv_vnsra_wx_i16##H(v, 0, 16), 0, 16), 16); \
        for (j = 0; j < 4; j++) \
            MIM_MEMCPY(p + (size_t)j * stride, bytes + 4 * j, 4); \
    } \
    MIMP_INLINE void mimp_##isa##_columns(float *out, size_t step, const float *x, size_t stride, uint32_t rows, float factor) \
    { \
        uint32_t r; \
        for (r = 0; r < step; r++) { \
            const vfloat32##M##_t v = r < rows ? mimp_##isa##_load(x + r * stride) : mimp_##isa##_set(0); \
            __riscv_vsse32_v_f32##M(out + r, (ptrdiff_t)(step * 4), __riscv_vfmul_vf_f32##M(v, factor, 16), 16); \
        } \
    } \
    MIMP_RVV_FOLD(isa, add, f, f32##M, __riscv_vfadd_vv_f32##M) \
    MIMP_RVV_FOLD(isa, min, f, f32##M, mimp_##isa##_less) \
    MIMP_RVV_FOLD(isa, max, f, f32##M, mimp_##isa##_more) \
    MIMP_RVV_FOLD(isa, addi, i, i32##M, __riscv_vadd_vv_i32##M) \
    MIMP_INLINE float mimp_##isa##_fold_add(mimp_##isa##_f v) { return __riscv_vfmv_f_s_f32##M##_f32(MIMP_RVV_HALVES(isa, add, v)); } \
    MIMP_INLINE float mimp_##isa##_fold_min(mimp_##isa##_f v) { return __riscv_vfmv_f_s_f32##M##_f32(MIMP_RVV_HALVES(isa, min, v)); } \
    MIMP_INLINE float mimp_##isa##_fold_max(mimp_##isa##_f v) { return __riscv_vfmv_f_s_f32##M##_f32(MIMP_RVV_HALVES(isa, max, v)); } \
    MIMP_INLINE int32_t mimp_##isa##_fold_addi(mimp_##isa##_i v) { return __riscv_vmv_x_s_i32##M##_i32(MIMP_RVV_HALVES(isa, addi, v)); }
MIMP_RVV_LANES(rvv128, m4, m2, m1, b8)
MIMP_RVV_LANES(rvv256, m2, m1, mf2, b16)
MIMP_RVV_LANES(rvv512, m1, mf2, mf4, b32)
#endif

/* =======================================================================================
 * >>row operations: what lies between the products, written once
 *
 * MIMP_ROW_OPS(isa) gives the functions below for one instruction set; V(x) is its lane
 * operation x. In each, n16 is a multiple of 16 and memory is padded to it.
 *
 * exp(x) for -86 <= x <= 86: 2^k e^r, k = x / ln 2 to the nearest, r reduced in two steps, a polynomial of
 * degree 6 (relative error 6e-8). Adding 1.5 * 2^23 rounds to an integer, which then lies in the low bits.
 * erf(x): x P(x^2) / Q(x^2) on |x| <= 3.925 (error 4e-7). Coarse, for bytes, are 2^r of degree 3 (relative error
 * 8e-5) and GELU as x (1/2 + x P(x^2)) on |x| <= 3.94 (error 1.7e-4). All were fitted for this file.
 * ===================================================================================== */

#define MIMP_ROUND 12582912.0f          /* 1.5 * 2^23 */
#define MIMP_ROUND_BITS 0x4b400000

/* The end of a product: v = acc - zero[row] * sum (integers), times factor[row], times scale, plus
 * bias, through the activation, and stored or added to what is there. NULL leaves a term out. */
typedef struct mimp_epilogue {
    const float   *scale, *bias;        /* [16], per channel */
    const int32_t *sum;                 /* [16] */
    const float   *factor;              /* [rows] */
    const int32_t *zero;                /* [rows], with sum */
    uint32_t integer;                   /* acc is int32, else float */
    uint32_t act;                       /* MIM_GELU_..., 0: none */
    uint32_t add;                       /* to what is there */
} mimp_epilogue;

/* A row as bytes: x = (q - zero) * scale. */
typedef struct mimp_quantized {
    float scale;
    int32_t zero;
    int32_t sum;                        /* of the q */
} mimp_quantized;

enum { MIMP_GELU_COARSE = 5 };          /* GELU_ERF of a product of bytes */

/* The common activations have loops of their own, but where flash is dear. */
#define MIMP_OWN_LOOPS (MIMP_MAX_ROWS > 4)

#define MIMP_MADD(V, a, b, c) (fused ? V(madd)(a, b, c) : V(add)(V(mul)(a, b), c))

#define MIMP_ROW_OPS(isa, V, ATTRIBUTES) \
    ATTRIBUTES static inline V(f) mimp_##isa##_horner(V(f) p, V(f) x, float c) { return V(add)(V(mul)(p, x), V(set)(c)); } \
    \
    ATTRIBUTES MIMP_INLINE V(f) mimp_##isa##_exp_of(V(f) x, int fused) \
    { \
        const V(f) magic = V(set)(MIMP_ROUND); \
        V(f) t, k, r, p; \
        t = MIMP_MADD(V, x, V(set)(1.44269504f), magic); \
        k = V(sub)(t, magic); \
        r = V(madd)(k, V(set)(-0.693359375f), x);           /* this product is exact, of 8 bits by 9 */ \
        r = MIMP_MADD(V, k, V(set)(2.12194440e-4f), r); \
        p = MIMP_MADD(V, V(set)(1.3814475e-3f), r, V(set)(8.3687808e-3f)); \
        p = MIMP_MADD(V, p, r, V(set)(4.1668393e-2f)); \
        p = MIMP_MADD(V, p, r, V(set)(1.66665196e-1f)); \
        p = MIMP_MADD(V, p, r, V(set)(0.49999994f)); \
        p = V(add)(MIMP_MADD(V, V(mul)(p, r), r, r), V(set)(1.0f)); \
        return V(cast_f)(V(addi)(V(cast_i)(p), V(shl)(V(cast_i)(t), 23))); \
    } \
    ATTRIBUTES static inline V(f) mimp_##isa##_exp(V(f) x) { return mimp_##isa##_exp_of(x, 0); } \
    ATTRIBUTES static inline V(f) mimp_##isa##_exp_fused(V(f) x) { return mimp_##isa##_exp_of(x, 1); } \
    /* 255 e^x, for x <= 0 */ \
    ATTRIBUTES static inline V(f) mimp_##isa##_exp_coarse(V(f) x) \
    { \
        const V(f) magic = V(set)(MIMP_ROUND), t = V(mul)(x, V(set)(1.44269504f)), k = V(add)(t, magic), r = V(sub)(t, V(sub)(k, magic)); \
        V(f) p = mimp_##isa##_horner(V(set)(255.0f * 5.51716685e-2f), r, 255.0f * 0.242611125f); \
        p = mimp_##isa##_horner(p, r, 255.0f * 0.693260968f); \
        p = mimp_##isa##_horner(p, r, 255.0f * 0.999928057f); \
        return V(cast_f)(V(addi)(V(cast_i)(p), V(shl)(V(cast_i)(k), 23))); \
    } \
    \
    ATTRIBUTES static inline V(f) mimp_##isa##_gelu_coarse(V(f) x) \
    { \
        const V(f) end = V(set)(3.9400024f), t = V(min)(V(max)(x, V(set)(-3.9400024f)), end), z = V(mul)(t, t); \
        V(f) p = mimp_##isa##_horner(V(set)(2.47514702e-8f), z, -1.69606415e-6f); \
        p = mimp_##isa##_horner(p, z, 4.98230656e-5f); \
        p = mimp_##isa##_horner(p, z, -8.31425714e-4f); \
        p = mimp_##isa##_horner(p, z, 8.85338709e-3f); \
        p = mimp_##isa##_horner(p, z, -6.47435859e-2f); \
        p = mimp_##isa##_horner(p, z, 0.398000300f); \
        return V(mul)(x, V(add)(V(mul)(p, t), V(set)(0.5f)));  /* of the ends p t is -1/2 and 1/2 */ \
    } \
    \
    ATTRIBUTES static inline V(f) mimp_##isa##_act(V(f) x, uint32_t act) \
    { \
        const V(f) one = V(set)(1.0f); \
        if (act == MIMP_GELU_COARSE) \
            return mimp_##isa##_gelu_coarse(x); \
        if (act == MIM_GELU_ERF) { \
            V(f) t = V(mul)(x, V(set)(0.70710678f)), z, p, q; \
            t = V(min)(V(max)(t, V(set)(-3.925f)), V(set)(3.925f)); \
            z = V(mul)(t, t); \
            p = mimp_##isa##_horner(V(set)(1.9873518e-8f), z, -1.9937459e-6f); \
            p = mimp_##isa##_horner(p, z, 1.4937196e-4f); \
            p = mimp_##isa##_horner(p, z, 3.9922264e-3f); \
            p = mimp_##isa##_horner(p, z, 5.1459923e-2f); \
            p = mimp_##isa##_horner(p, z, 2.0659001e-1f); \
            p = mimp_##isa##_horner(p, z, 1.12837875f); \
            q = mimp_##isa##_horner(V(set)(1.0285566e-3f), z, 1.4929248e-2f); \
            q = mimp_##isa##_horner(q, z, 1.1776083e-1f); \
            q = mimp_##isa##_horner(q, z, 5.1641434e-1f); \
            q = V(add)(V(mul)(q, z), one); \
            t = V(div)(V(mul)(t, p), q); \
            return V(mul)(V(mul)(x, V(set)(0.5f)), V(add)(t, one)); \
        } \
        if (act) {                          /* 0.5 (1 + tanh u) is the logistic of 2u */ \
            V(f) u = act == MIM_GELU_TANH \
                ? V(mul)(V(add)(V(mul)(V(mul)(V(mul)(x, x), x), V(set)(0.044715f)), x), V(set)(-1.59576912f)) \
                : V(mul)(x, V(set)(act == MIM_SILU ? -1.0f : -1.702f)); \
            u = V(min)(V(max)(u, V(set)(-86.0f)), V(set)(86.0f)); \
            return V(div)(x, V(add)(mimp_##isa##_exp(u), one)); \
        } \
        return x; \
    } \
    \
    /* Rows of n16 floats to columns of `step`: see columns above. */ \
    ATTRIBUTES static void mimp_##isa##_pack(float *out, size_t step, const float *x, size_t stride, uint32_t rows, uint32_t n16, \
                                             float factor) \
    { \
        uint32_t i; \
        for (i = 0; i < n16; i += 16, out += 16 * step) \
            V(columns)(out, step, x + i, stride, rows, factor); \
    } \
    \
    /* y = act(gate) * value, gate x[0..n16) and value x[n16..2 n16) */ \
    ATTRIBUTES static void mimp_##isa##_gate(float *y, const float *x, uint32_t n16, uint32_t act) \
    { \
        uint32_t i; \
        for (i = 0; i < n16; i += 16) \
            V(store)(y + i, V(mul)(mimp_##isa##_act(V(load)(x + i), act), V(load)(x + n16 + i))); \
    } \
    \
    /* y = (x - mean) / sqrt(variance + eps) * w[0..n) + w[n..2n), zero from n to n16 */ \
    ATTRIBUTES static void mimp_##isa##_norm(float *y, const float *x, const float *w, uint32_t n, float eps) \
    { \
        V(f) s = V(set)(0), mean, rate; \
        float tail[48]; \
        uint32_t i, full = n & ~15u, rest = n & 15u; \
        for (i = 0; i < full; i += 16) \
            s = V(add)(s, V(load)(x + i)); \
        if (rest) { \
            MIM_MEMSET(tail, 0, sizeof tail); \
            MIM_MEMCPY(tail, x + full, rest * 4); \
            MIM_MEMCPY(tail + 16, w + full, rest * 4); \
            MIM_MEMCPY(tail + 32, w + n + full, rest * 4); \
            s = V(add)(s, V(load)(tail)); \
        } \
        mean = V(set)(V(fold_add)(s) / (float)n); \
        s = V(set)(0); \
        for (i = 0; i < full; i += 16) { \
            const V(f) d = V(sub)(V(load)(x + i), mean); \
            s = V(add)(s, V(mul)(d, d)); \
        } \
        if (rest) { \
            const V(f) d = V(first)(V(sub)(V(load)(tail), mean), rest); \
            s = V(add)(s, V(mul)(d, d)); \
        } \
        rate = V(set)(1.0f / mimp_sqrt(V(fold_add)(s) / (float)n + eps)); \
        for (i = 0; i < full; i += 16) \
            V(store)(y + i, V(add)(V(mul)(V(mul)(V(sub)(V(load)(x + i), mean), rate), V(load)(w + i)), V(load)(w + n + i))); \
        if (rest) \
            V(store)(y + full, V(first)(V(add)(V(mul)(V(mul)(V(sub)(V(load)(tail), mean), rate), V(load)(tail + 16)), \
                                               V(load)(tail + 32)), rest)); \
    } \
    \
    /* Bytes 0..limit with a zero point, or -limit..limit without; four consecutive ones lie together, the fours apart */ \
    /* by stride. A range below 1e-30 counts as zero. What the bytes do not tell of x goes to rest, which may be x, or NULL. */ \
    ATTRIBUTES static mimp_quantized mimp_##isa##_quantize(uint8_t *out, size_t stride, const float *x, uint32_t n16, \
                                                           uint32_t limit, uint32_t is_signed, float *rest) \
    { \
        V(f) low = V(set)(0), high = V(set)(0), low2 = low, high2 = high, rate, step, shift, top; \
        V(i) sum = V(seti)((int32_t)(0u - n16 / 16 * MIMP_ROUND_BITS)); \
        mimp_quantized q; \
        float lo, hi, range, inverse; \
        uint32_t i; \
        for (i = 0; i + 16 < n16; i += 32) {    /* two at a time: the order matters to no bit */ \
            const V(f) v = V(load)(x + i), u = V(load)(x + i + 16); \
            low = V(min)(v, low); \
            low2 = V(min)(u, low2); \
            high = V(max)(v, high); \
            high2 = V(max)(u, high2); \
        } \
        if (i < n16) { \
            const V(f) v = V(load)(x + i); \
            low = V(min)(v, low); \
            high = V(max)(v, high); \
        } \
        lo = V(fold_min)(V(min)(low2, low)); \
        hi = V(fold_max)(V(max)(high2, high)); \
        if (is_signed) \
            hi = hi > -lo ? hi : -lo, lo = 0; \
        range = hi - lo; \
        q.scale = range > 1e-30f ? range / (float)limit : 0.0f; \
        inverse = range > 1e-30f ? (float)limit / range : 0.0f; \
        hi = -lo * inverse; \
        hi = hi > 0 ? hi : 0.0f;            /* NaN to 0 */ \
        hi = hi < (float)limit ? hi : (float)limit; \
        hi = (hi + MIMP_ROUND) - MIMP_ROUND; \
        q.zero = (int32_t)hi; \
        rate = V(set)(inverse); \
        step = V(set)(q.scale); \
        shift = V(set)(hi + MIMP_ROUND);    /* rounds as it adds; the least, lo, becomes 0 or -limit whichever way hi was rounded */ \
        top = V(set)((float)limit - hi);    /* NaN, too */ \
        for (i = 0; i < n16; i += 16, out += 4 * stride) { \
            const V(f) v = V(load)(x + i), whole = V(add)(V(min)(V(mul)(v, rate), top), shift); \
            sum = V(addi)(sum, V(cast_i)(whole)); \
            V(quads)(out, stride, V(cast_i)(whole));    /* their low bytes: what rounding adds lies above */ \
            if (rest) \
                V(store)(rest + i, V(sub)(v, V(mul)(V(sub)(whole, shift), step))); \
        } \
        q.sum = V(fold_addi)(sum); \
        return q; \
    } \
    \
    ATTRIBUTES MIMP_INLINE void mimp_##isa##_finish_act(float *y, size_t stride, const void *acc, uint32_t rows, \
                                                        const mimp_epilogue *e, uint32_t act) \
    { \
        const V(f) zeros = V(set)(0), ones = V(set)(1.0f); \
        const V(f) scale = e->scale ? V(load)(e->scale) : ones, bias = e->bias ? V(load)(e->bias) : zeros; \
        const V(i) sum = e->sum ? V(loadi)(e->sum) : V(seti)(0); \
        const float *const factor = e->factor; \
        const int32_t *const zero = e->sum ? e->zero : NULL; \
        const int integer = e->integer != 0, scaled = e->scale != NULL, biased = e->bias != NULL, add = e->add != 0; \
        uint32_t r; \
        for (r = 0; r < rows; r++, y += stride) { \
            V(f) v; \
            if (integer) { \
                V(i) a = V(loadi)((const int32_t *)acc + r * 16); \
                if (zero) \
                    a = V(subi)(a, V(muli)(sum, V(seti)(zero[r]))); \
                v = V(convert)(a); \
            } else \
                v = V(load)((const float *)acc + r * 16); \
            if (factor) \
                v = V(mul)(v, V(set)(factor[r])); \
            if (scaled) \
                v = V(mul)(v, scale); \
            if (biased) \
                v = V(add)(v, bias); \
            if (act) \
                v = MIMP_OWN_LOOPS && act == MIMP_GELU_COARSE ? mimp_##isa##_gelu_coarse(v) : mimp_##isa##_act(v, act); \
            if (add) \
                v = V(add)(V(load)(y), v); \
            V(store)(y, v); \
        } \
    } \
    \
    ATTRIBUTES static void mimp_##isa##_finish(float *y, size_t stride, const void *acc, uint32_t rows, const mimp_epilogue *e) \
    { \
        const uint32_t act = e->act == MIM_GELU_ERF && e->integer ? (uint32_t)MIMP_GELU_COARSE : e->act; \
        if (MIMP_OWN_LOOPS && !act) \
            mimp_##isa##_finish_act(y, stride, acc, rows, e, 0); \
        else if (MIMP_OWN_LOOPS && act == MIMP_GELU_COARSE) \
            mimp_##isa##_finish_act(y, stride, acc, rows, e, MIMP_GELU_COARSE); \
        else if (MIMP_OWN_LOOPS && act == MIM_GELU_ERF) \
            mimp_##isa##_finish_act(y, stride, acc, rows, e, MIM_GELU_ERF); \
        else \
            mimp_##isa##_finish_act(y, stride, acc, rows, e, act); \
    } \
    \
    ATTRIBUTES static float mimp_##isa##_dot(const float *a, const float *b, uint32_t n16) \
    { \
        V(f) sum = V(set)(0); \
        uint32_t i; \
        for (i = 0; i < n16; i += 16) \
            sum = V(add)(sum, V(mul)(V(load)(a + i), V(load)(b + i))); \
        return V(fold_add)(sum); \
    } \
    \
    /* y += w x */ \
    ATTRIBUTES static void mimp_##isa##_accumulate(float *y, const float *x, const float *w, uint32_t n16) \
    { \
        uint32_t i; \
        for (i = 0; i < n16; i += 16) \
            V(store)(y + i, V(add)(V(load)(y + i), V(mul)(V(load)(x + i), V(load)(w + i)))); \
    } \
    \
    /* Bytes of 255 exp(x - max) go to out as in quantize; returns their sum: dividing by what was really summed keeps the */ \
    /* mean of the values. */ \
    ATTRIBUTES static uint32_t mimp_##isa##_softmax(const float *x, uint32_t n16, uint8_t *out, size_t stride) \
    { \
        V(f) top = V(set)(-3.0e38f), top2 = top; \
        V(i) count = V(seti)((int32_t)(0u - n16 / 16 * MIMP_ROUND_BITS)); \
        uint32_t i; \
        for (i = 0; i + 16 < n16; i += 32) { \
            top = V(max)(V(load)(x + i), top); \
            top2 = V(max)(V(load)(x + i + 16), top2); \
        } \
        if (i < n16) \
            top = V(max)(V(load)(x + i), top); \
        top = V(set)(V(fold_max)(V(max)(top2, top))); \
        for (i = 0; i < n16; i += 16, out += 4 * stride) { \
            const V(f) e = mimp_##isa##_exp_coarse(V(max)(V(sub)(V(load)(x + i), top), V(set)(-86.0f))); \
            const V(i) b = V(cast_i)(V(add)(e, V(set)(MIMP_ROUND))); \
            count = V(addi)(count, b); \
            V(quads)(out, stride, b); \
        } \
        return (uint32_t)V(fold_addi)(count); \
    } \
    \
    /* Scores x [n][16] of n keys against sixteen queries become exp(x - top). Of each query, state [2 + rows][16] has the */ \
    /* largest score so far, the sum of what they became, and the outputs; these two are multiplied to suit a new top. */ \
    ATTRIBUTES MIMP_INLINE void mimp_##isa##_weigh_by(float *x, uint32_t n, float *state, uint32_t rows, int fused) \
    { \
        const V(f) before = V(load)(state), bottom = V(set)(-86.0f); \
        V(f) top = before, top2 = before, sum, keep; \
        size_t i; \
        for (i = 0; i + 1 < n; i += 2) { \
            top = V(max)(V(load)(x + 16 * i), top); \
            top2 = V(max)(V(load)(x + 16 * i + 16), top2); \
        } \
        if (i < n) \
            top = V(max)(V(load)(x + 16 * i), top); \
        top = V(max)(top2, top); \
        keep = V(max)(V(sub)(before, top), bottom); \
        keep = fused ? mimp_##isa##_exp_fused(keep) : mimp_##isa##_exp(keep); \
        V(store)(state, top); \
        for (i = 1; i < 2 + (size_t)rows; i++) \
            V(store)(state + 16 * i, V(mul)(V(load)(state + 16 * i), keep)); \
        sum = V(load)(state + 16); \
        for (i = 0; i < n; i++, x += 16) { \
            V(f) e = V(max)(V(sub)(V(load)(x), top), bottom); \
            e = fused ? mimp_##isa##_exp_fused(e) : mimp_##isa##_exp(e); \
            sum = V(add)(sum, e); \
            V(store)(x, e); \
        } \
        V(store)(state + 16, sum); \
    } \
    ATTRIBUTES static void mimp_##isa##_weigh(float *x, uint32_t n, float *state, uint32_t rows, uint32_t fused) \
    { \
        if (fused && V(fuses)) \
            mimp_##isa##_weigh_by(x, n, state, rows, 1); \
        else \
            mimp_##isa##_weigh_by(x, n, state, rows, 0); \
    } \
    \
    /* Sixteen columns of values (n rows) as a panel of int8, each column with its own scale; n4 rows, zero from n on. */ \
    ATTRIBUTES static void mimp_##isa##_values(int8_t *panel, float *scale, const float *x, size_t stride, uint32_t n, uint32_t n4, \
                                               uint32_t limit) \
    { \
        V(f) high = V(set)(0), rate; \
        const V(f) bottom = V(set)(-(float)limit), top = V(set)((float)limit); \
        float inverse[16]; \
        uint32_t t, j; \
        for (t = 0; t < n; t++) { \
            const V(f) v = V(load)(x + t * stride); \
            high = V(max)(V(max)(v, V(sub)(V(set)(0), v)), high); \
        } \
        V(store)(scale, high); \
        for (j = 0; j < 16; j++) { \
            const float range = scale[j]; \
            inverse[j] = range > 1e-30f ? (float)limit / range : 0.0f; \
            scale[j] = range > 1e-30f ? range / (float)limit : 0.0f; \
        } \
        rate = V(load)(inverse); \
        for (t = 0; t < n4; t += 4, panel += 64) { \
            V(i) quad = V(seti)(0); \
            for (j = 4; j-- > 0; ) { \
                V(i) b = V(seti)(0); \
                if (t + j < n) { \
                    V(f) v = V(mul)(V(load)(x + (t + j) * stride), rate); \
                    v = V(add)(V(min)(V(max)(v, bottom), top), V(set)(MIMP_ROUND)); \
                    b = V(subi)(V(cast_i)(v), V(seti)(MIMP_ROUND_BITS)); \
                } \
                quad = V(addi)(V(shl)(quad, 8), V(andi)(b, V(seti)(255))); \
            } \
            V(storei)(panel, quad); \
        } \
    }

#endif

/* =======================================================================================
 * >>kernels: the products
 *
 * A leaf multiplies one tile of packed rows with one panel of 16 channels over the whole of k and
 * leaves raw sums in acc [rows][16]. Rows are packed [k][rows] as floats; as bytes [k/4][rows][4] or,
 * with row_unit, [rows][k rounded up to row_unit], where the panel is 64-byte aligned if the blob is;
 * panels are the blob's, of the leaf's layout; k is a multiple of 16, but any for floats. Only whole tiles: rows beyond the last are padding.
 * Each table below says how many rows its leaves take.
 *
 *   tile_f32     float products; may fuse, so its last bits differ between instruction sets
 *   pair_f32     the same over two panels, `step` floats apart, into two acc `apart` floats apart, at least the first `rows`
 *                rows; NULL where one panel is as fast
 *   tile_q7      bytes, exact if every weight is in -64..63 and every input in 0..127, or where fours of weights are held
 *   tile_q8      bytes, exact if every weight is in -64..63 or every input in 0..127
 *   tile_q8_wide bytes, exact for all
 *   several_q8   tile_q8_wide over several_panels panels, `step` bytes apart, into acc [panel][rows][16], rows and NULL as
 *                with pair_f32
 *   enter, leave before and after byte leaves are used with this k; NULL where nothing needs it
 *   unpack_q4    a panel of q4 to what tile_q4 reads, at most 18 k bytes, or to a panel of bytes for tile_q8_wide where
 *                there is no tile_q4
 *   tile_q4      4-bit weights times their groups' multipliers, exact for all
 * ===================================================================================== */

typedef struct mimp_kernels {
    char name[12];                  /* itself, no pointer: a linker could not leave out the strings of mim_status_string */
    uint32_t cpu, layout;           /* layout: of bytes; MIM_PANEL16, or MIM_PAIRS16 for integer blobs alone */
    uint32_t rows_f32, rows_q8, row_unit, several_panels;
#ifndef MIM_NO_FLOAT
    void (*tile_f32)(float *acc, const float *a, const float *w, size_t k);
    void (*pair_f32)(float *acc, size_t apart, const float *a, const float *w, size_t k, size_t step, uint32_t rows);
    void (*tile_q7)(int32_t *acc, const uint8_t *a, const int8_t *w, size_t k);
#endif
    void (*tile_q8)(int32_t *acc, const uint8_t *a, const int8_t *w, size_t k);
    void (*tile_q8_wide)(int32_t *acc, const uint8_t *a, const int8_t *w, size_t k);
    void (*several_q8)(int32_t *acc, const uint8_t *a, const int8_t *w, size_t k, size_t step, uint32_t rows);
    void (*enter)(size_t k);
    void (*leave)(void);
    void (*unpack_q4)(uint8_t *out, const uint8_t *panel, size_t k, uint32_t group);
    void (*tile_q4)(int32_t *acc, const uint8_t *a, const uint8_t *panel, size_t k, uint32_t group);
#ifndef MIM_NO_FLOAT
    void (*halves)(float *out, const uint16_t *in, size_t n);           /* n: a multiple of 16 */
    void (*pack)(float *out, size_t step, const float *x, size_t stride, uint32_t rows, uint32_t n16, float factor);
    void (*norm)(float *y, const float *x, const float *w, uint32_t n, float eps);
    void (*gate)(float *y, const float *x, uint32_t n16, uint32_t act);
    mimp_quantized (*quantize)(uint8_t *out, size_t stride, const float *x, uint32_t n16, uint32_t limit, uint32_t is_signed,
                                float *rest);
    void (*finish)(float *y, size_t stride, const void *acc, uint32_t rows, const mimp_epilogue *e);
    uint32_t (*softmax)(const float *x, uint32_t n16, uint8_t *out, size_t stride);
    void (*weigh)(float *x, uint32_t n, float *state, uint32_t rows, uint32_t fused);
    void (*values)(int8_t *panel, float *scale, const float *x, size_t stride, uint32_t n, uint32_t n4, uint32_t limit);
    float (*dot)(const float *a, const float *b, uint32_t n16);
    void (*accumulate)(float *y, const float *x, const float *w, uint32_t n16);
#endif
} mimp_kernels;

/* Where column i of channel n is, in panels of bytes of k columns, and how a weight is written there. */
MIMP_INLINE uint8_t *mimp_weight_at(const mimp_kernels *kernels, uint8_t *panels, size_t k, uint32_t n, uint32_t i)
{
    return !MIMP_PAIRS || kernels->layout == MIM_PANEL16 ? panels + (n / 16 * k + i / 4 * 4) * 16 + n % 16 * 4 + i % 4
        : panels + n / 2 * 2 * k + i / 16 * 32 + n % 2 * 16 + i % 16;
}
MIMP_INLINE uint8_t mimp_weight_byte(const mimp_kernels *kernels, int32_t w)
{
    return (uint8_t)(!MIMP_PAIRS || kernels->layout == MIM_PANEL16 ? w : w + 128);
}

/* Rows and panels of any leaf. */
#if defined(MIMP_X86) || defined(MIMP_NEON) || defined(MIMP_NEON32) || defined(MIMP_RVV) || defined(MIMP_SIMD128)
#define MIMP_MAX_ROWS 16
#ifdef MIMP_AMX
#define MIMP_MAX_PANELS 4
#else
#define MIMP_MAX_PANELS 2
#endif
#else
#define MIMP_MAX_ROWS 4
#define MIMP_MAX_PANELS 1
#endif

/* An instruction set's row operations, in the order of the table. */
#define MIMP_ROWS_OF(isa) \
    mimp_##isa##_pack, mimp_##isa##_norm, mimp_##isa##_gate, mimp_##isa##_quantize, mimp_##isa##_finish, mimp_##isa##_softmax, \
    mimp_##isa##_weigh, mimp_##isa##_values, mimp_##isa##_dot, mimp_##isa##_accumulate

/* ---- portable: 4 x 16 ---- */

#ifndef MIM_NO_FLOAT
#define MIMP_V(x) mimp_scalar_##x
MIMP_ROW_OPS(scalar, MIMP_V, )
#undef MIMP_V

static void mimp_scalar_tile_f32(float *acc, const float *a, const float *w, size_t k)
{
    float sum[4][16];
    int r, j;
    MIM_MEMSET(sum, 0, sizeof sum);
    for (; k; k--, a += 4, w += 16)
        for (r = 0; r < 4; r++)
            for (j = 0; j < 16; j++)
                sum[r][j] += a[r] * w[j];
    MIM_MEMCPY(acc, sum, sizeof sum);
}

static void mimp_scalar_halves(float *out, const uint16_t *in, size_t n)
{
    while (n--)
        *out++ = mimp_half(*in++);
}
#endif

#ifdef MIMP_SCALAR
#if (defined(__thumb__) || defined(__riscv)) && defined(__GNUC__)
/* Where nothing is to be vectorized: some rows by some channels at a time, as many as there are registers for; what is loaded for
 * the next rows must not take them. */
#define MIMP_SCALAR_FENCE __asm__ volatile("" ::: "memory")
#ifdef __thumb__
#define MIMP_SIDE 2
#define MIMP_ROWS_OF_TILE(F) F(0) F(1)
#define MIMP_ROW_OF_TILE(F, r) F(r, 0) F(r, 1)
#else
#define MIMP_SIDE 4
#define MIMP_ROWS_OF_TILE(F) F(0) F(1) F(2) F(3)
#define MIMP_ROW_OF_TILE(F, r) F(r, 0) F(r, 1) F(r, 2) F(r, 3)
#endif
#define MIMP_SCALAR_WEIGHT(j) const int32_t w##j = at_b[4 * j];
#define MIMP_SCALAR_PRODUCT(r, j) s##r##j += x * w##j;
#define MIMP_SCALAR_ROW(r) { const int32_t x = row_b[4 * r]; MIMP_ROW_OF_TILE(MIMP_SCALAR_PRODUCT, r) if (r & 1) MIMP_SCALAR_FENCE; }
#define MIMP_SCALAR_COLUMN(b) \
    { \
        const uint8_t *const row_b = row + b; \
        const int8_t *const at_b = at + b; \
        MIMP_ROWS_OF_TILE(MIMP_SCALAR_WEIGHT) \
        MIMP_ROWS_OF_TILE(MIMP_SCALAR_ROW) \
    }
#define MIMP_SCALAR_ZERO(r, j) int32_t s##r##j = 0;
#define MIMP_SCALAR_ZEROS(r) MIMP_ROW_OF_TILE(MIMP_SCALAR_ZERO, r)
#define MIMP_SCALAR_STORE(r, j) to[16 * r + j] = s##r##j;
#define MIMP_SCALAR_STORES(r) MIMP_ROW_OF_TILE(MIMP_SCALAR_STORE, r)
static void mimp_scalar_tile_q8(int32_t *acc, const uint8_t *a, const int8_t *w, size_t k)
{
    const uint8_t *const end = a + 4 * k;
    uint32_t r, j;
    for (r = 0; r < 4; r += MIMP_SIDE)
        for (j = 0; j < 16; j += MIMP_SIDE) {
            const uint8_t *row = a + 4 * r;
            const int8_t *at = w + 4 * j;
            int32_t *to = acc + 16 * r + j;
            MIMP_ROWS_OF_TILE(MIMP_SCALAR_ZEROS)
            for (; row < end; row += 16, at += 64) {
                MIMP_SCALAR_COLUMN(0) MIMP_SCALAR_COLUMN(1) MIMP_SCALAR_COLUMN(2) MIMP_SCALAR_COLUMN(3)
            }
            MIMP_ROWS_OF_TILE(MIMP_SCALAR_STORES)
        }
}
#undef MIMP_FENCE
#else
static void mimp_scalar_tile_q8(int32_t *acc, const uint8_t *a, const int8_t *w, size_t k)
{
    int32_t sum[4][16];
    int r, j;
    MIM_MEMSET(sum, 0, sizeof sum);
    for (; k; k -= 4, a += 16, w += 64)
        for (r = 0; r < 4; r++) {
            const int32_t a0 = a[4 * r], a1 = a[4 * r + 1], a2 = a[4 * r + 2], a3 = a[4 * r + 3];
            for (j = 0; j < 16; j++)
                sum[r][j] += a0 * w[4 * j] + a1 * w[4 * j + 1] + a2 * w[4 * j + 2] + a3 * w[4 * j + 3];
        }
    MIM_MEMCPY(acc, sum, sizeof sum);
}
#endif
#endif

#ifdef MIM_NO_Q4
#define MIMP_Q4(leaf) NULL
#else
#define MIMP_Q4(leaf) leaf

/* Four bytes less four others, modulo 256. */
#ifdef MIMP_DSP
MIMP_INLINE uint32_t mimp_bytes_less(uint32_t x, uint32_t y) { __asm__("ssub8 %0, %0, %1" : "+r"(x) : "r"(y)); return x; }
#else
MIMP_INLINE uint32_t mimp_bytes_less(uint32_t x, uint32_t y) { return ((x | 0x80808080u) - (y & 0x7f7f7f7fu)) ^ ((x ^ ~y) & 0x80808080u); }
#endif

/* To bytes, (half - 8) * m, four at a time: a half times its multiplier is less than 256. */
static void mimp_scalar_unpack_q4(uint8_t *out, const uint8_t *panel, size_t k, uint32_t group)
{
    const uint8_t *groups = panel + k * 8, *w;
    size_t i, end;
    uint32_t j, x;
    uint8_t *to;
    for (i = 0; i < k; i = end, groups += 8) {
        end = i + group < k ? i + group : k;
        for (j = 0; j < 16; j++) {
            const uint32_t m = groups[j % 8] >> (j & 8 ? 4 : 0) & 15, eight = m * 0x08080808u;
            for (w = panel + 8 * i + 4 * j, to = out + 16 * i + 4 * j; w < panel + 8 * end; w += 64, to += 128) {
                MIM_MEMCPY(&x, w, 4);
                const uint32_t low = mimp_bytes_less((x & 0x0f0f0f0fu) * m, eight), high = mimp_bytes_less((x >> 4 & 0x0f0f0f0fu) * m, eight);
                MIM_MEMCPY(to, &low, 4);
                MIM_MEMCPY(to + 64, &high, 4);
            }
        }
    }
}
#endif

/* MIM_PAIRS16: sum a (w + 128) - 128 sum a. */
static void mimp_scalar_tile_pairs(int32_t *acc, const uint8_t *a, const int8_t *w, size_t k)
{
    const uint8_t *panel = (const uint8_t *)w;
    uint32_t r, j;
    size_t i;
    for (j = 0; j < 16; j += 2, panel += 2 * k)
        for (r = 0; r < 4; r++) {
            const uint8_t *row = a + r * k;
            int32_t even = 0, odd = 0;
            for (i = 0; i < k; i++) {
                const uint8_t *at = panel + i / 16 * 32 + i % 16;
                even += row[i] * (at[0] - 128);
                odd += row[i] * (at[16] - 128);
            }
            acc[16 * r + j] = even;
            acc[16 * r + j + 1] = odd;
        }
}

#ifdef MIMP_SCALAR
static const mimp_kernels mimp_kernels_scalar = {
    "scalar", MIM_CPU_SCALAR, MIM_PANEL16, 4, 4, 0, 0,
#ifdef MIM_NO_FLOAT
    mimp_scalar_tile_q8, mimp_scalar_tile_q8, NULL, NULL, NULL, MIMP_Q4(mimp_scalar_unpack_q4), NULL
#else
    mimp_scalar_tile_f32, NULL, mimp_scalar_tile_q8, mimp_scalar_tile_q8, mimp_scalar_tile_q8, NULL, NULL, NULL,
    MIMP_Q4(mimp_scalar_unpack_q4), NULL, mimp_scalar_halves,
    MIMP_ROWS_OF(scalar)
#endif
};
#endif

static const mimp_kernels mimp_kernels_scalar_pairs = {
    "scalar", MIM_CPU_SCALAR, MIM_PAIRS16, 4, 4, 16, 0,
#ifdef MIM_NO_FLOAT
    mimp_scalar_tile_pairs, mimp_scalar_tile_pairs, NULL, NULL, NULL, NULL, NULL
#else
    NULL, NULL, mimp_scalar_tile_pairs, mimp_scalar_tile_pairs, mimp_scalar_tile_pairs, NULL, NULL, NULL, NULL, NULL, NULL,
    NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
#endif
};

#ifdef MIMP_DSP
/* ---- DSP extension of Arm's M profile: 3 x 16 bytes ----
 *
 * smlad adds two products of 16 bits to a sum. Bytes are widened to pairs by uxtb16 and sxtb16, first bytes 0 and 2 of a word,
 * then 1 and 3: those of the rows beforehand, on the stack, a block of k at a time; the weights' on the way. Two channels by three
 * rows take all registers that there are:
 *     r0-r5 sums, row by row   r6-r8 pairs of the rows   r9 r10 weights   r11 pairs of weights   r12 rows   lr panel
 * so the end of the rows is in memory, and the functions have no frame of the compiler's. */

#define MIMP_NAKED(name) __attribute__((naked)) static void name
#define MIMP_UNUSED __attribute__((unused))

enum { MIMP_DSP_BLOCK = MIMP_SMALL ? 32 : 48 };

/* Three rows of bytes [quads][3][4], to words [quads][2][3]; an even number of quads. */
#define MIMP_DSP_WIDEN \
    "ldm     r1!, {r3, r4, r5}\n\t" \
    "uxtb16  r6, r3\n\t" \
    "uxtb16  r7, r4\n\t" \
    "uxtb16  r8, r5\n\t" \
    "uxtb16  r9, r3, ror #8\n\t" \
    "uxtb16  r10, r4, ror #8\n\t" \
    "uxtb16  r11, r5, ror #8\n\t" \
    "stm     r0!, {r6, r7, r8, r9, r10, r11}\n\t"
MIMP_NAKED(mimp_dsp_widen)(MIMP_UNUSED uint32_t *to, MIMP_UNUSED const uint8_t *a, MIMP_UNUSED const uint8_t *end)
{
    __asm__ volatile(
        "push    {r4-r11, lr}\n\t"
        "1:\n\t"
        MIMP_DSP_WIDEN
        MIMP_DSP_WIDEN
        "cmp     r1, r2\n\t"
        "bne     1b\n\t"
        "pop     {r4-r11, pc}\n\t");
}

#define MIMP_DSP_EVEN \
    "smlad   r0, r6, r11, r0\n\t" \
    "smlad   r2, r7, r11, r2\n\t" \
    "smlad   r4, r8, r11, r4\n\t"
#define MIMP_DSP_ODD \
    "smlad   r1, r6, r11, r1\n\t" \
    "smlad   r3, r7, r11, r3\n\t" \
    "smlad   r5, r8, r11, r5\n\t"
#define MIMP_DSP_QUAD \
    "ldrd    r9, r10, [lr], #64\n\t" \
    "ldm     r12!, {r6, r7, r8}\n\t" \
    "sxtb16  r11, r9\n\t" \
    MIMP_DSP_EVEN \
    "sxtb16  r11, r10\n\t" \
    MIMP_DSP_ODD \
    "ldm     r12!, {r6, r7, r8}\n\t" \
    "sxtb16  r11, r9, ror #8\n\t" \
    MIMP_DSP_EVEN \
    "sxtb16  r11, r10, ror #8\n\t" \
    MIMP_DSP_ODD

/* acc [3][16] += widened rows times k of a panel, a multiple of 16. On the stack: acc, rows, their end, end of acc's first row, and
 * how far the panel goes back to its next two channels. */
MIMP_NAKED(mimp_dsp_panel)(MIMP_UNUSED int32_t *acc, MIMP_UNUSED const uint32_t *a, MIMP_UNUSED const int8_t *w, MIMP_UNUSED size_t k)
{
    __asm__ volatile(
        "push    {r4-r11, lr}\n\t"
        "mov     lr, r2\n\t"
        "mov     r11, r0\n\t"
        "lsl     r5, r3, #4\n\t"
        "subs    r4, r5, #8\n\t"
        "add     r3, r3, r3, lsl #1\n\t"
        "add     r2, r1, r3, lsl #1\n\t"
        "add     r3, r0, #64\n\t"
        "push    {r0-r4}\n\t"
        "1:\n\t"
        "ldr     r12, [sp, #4]\n\t"
        "ldrd    r0, r1, [r11]\n\t"
        "ldrd    r2, r3, [r11, #64]\n\t"
        "ldrd    r4, r5, [r11, #128]\n\t"
        "2:\n\t"
        MIMP_DSP_QUAD
#if !MIMP_SMALL
        MIMP_DSP_QUAD
        MIMP_DSP_QUAD
        MIMP_DSP_QUAD
#endif
        "ldr     r11, [sp, #8]\n\t"
        "cmp     r12, r11\n\t"
        "bne     2b\n\t"
        "ldr     r11, [sp]\n\t"
        "strd    r2, r3, [r11, #64]\n\t"
        "strd    r4, r5, [r11, #128]\n\t"
        "strd    r0, r1, [r11], #8\n\t"
        "str     r11, [sp]\n\t"
        "ldrd    r9, r10, [sp, #12]\n\t"
        "subs    lr, lr, r10\n\t"
        "cmp     r11, r9\n\t"
        "bne     1b\n\t"
        "add     sp, #20\n\t"
        "pop     {r4-r11, pc}\n\t");
}

/* acc [3][16] = 0 */
MIMP_NAKED(mimp_dsp_clear)(MIMP_UNUSED int32_t *acc)
{
    __asm__ volatile(
        "push    {r4-r8}\n\t"
        "movs    r1, #0\n\t"
        "movs    r2, #0\n\t"
        "movs    r3, #0\n\t"
        "movs    r4, #0\n\t"
        "movs    r5, #0\n\t"
        "movs    r6, #0\n\t"
        "movs    r7, #0\n\t"
        "mov     r8, #0\n\t"
        "stm     r0!, {r1-r8}\n\t"
        "stm     r0!, {r1-r8}\n\t"
        "stm     r0!, {r1-r8}\n\t"
        "stm     r0!, {r1-r8}\n\t"
        "stm     r0!, {r1-r8}\n\t"
        "stm     r0!, {r1-r8}\n\t"
        "pop     {r4-r8}\n\t"
        "bx      lr\n\t");
}

static void mimp_dsp_tile_q8(int32_t *acc, const uint8_t *a, const int8_t *w, size_t k)
{
    uint32_t wide[MIMP_DSP_BLOCK / 4 * 6];
    size_t n;
    if (MIMP_SMALL)
        MIM_MEMSET(acc, 0, 192);
    else
        mimp_dsp_clear(acc);
    for (; k; k -= n, a += 3 * n, w += 16 * n) {
        n = k < MIMP_DSP_BLOCK ? k : (size_t)MIMP_DSP_BLOCK;
        mimp_dsp_widen(wide, a, a + 3 * n);
        mimp_dsp_panel(acc, wide, w, n);
    }
}

static const mimp_kernels mimp_kernels_dsp = {
    "dsp", MIM_CPU_DSP, MIM_PANEL16, 4, 3, 0, 0,
#ifdef MIM_NO_FLOAT
    mimp_dsp_tile_q8, mimp_dsp_tile_q8, NULL, NULL, NULL, MIMP_Q4(mimp_scalar_unpack_q4), NULL
#else
    mimp_scalar_tile_f32, NULL, mimp_dsp_tile_q8, mimp_dsp_tile_q8, mimp_dsp_tile_q8, NULL, NULL, NULL,
    MIMP_Q4(mimp_scalar_unpack_q4), NULL, mimp_scalar_halves,
    MIMP_ROWS_OF(scalar)
#endif
};
#endif

#ifdef MIMP_MVE
/* ---- MVE (Helium): 3 x 16 bytes of MIM_PAIRS16 ----
 *
 * vmladava adds sixteen products to a sum in a register of even number, of bytes of one sign. So weights have 128 added, and the
 * sums begin with what that is too much: -128 times the sum of the row. Two channels by three rows, loads and products in turn:
 *     r0 r2 r4 r6 r8 r10 sums, row by row   r1 panel   r3 r5 r7 rows   r9 acc   r11 k   r12 first row   lr count
 *     q0 q1 weights   q2 q3 rows
 * On the stack what the sums begin with, and the end of acc's first row. */
MIMP_NAKED(mimp_mve_tile_pairs)(MIMP_UNUSED int32_t *acc, MIMP_UNUSED const uint8_t *a, MIMP_UNUSED const int8_t *w, MIMP_UNUSED size_t k)
{
    __asm__ volatile(
        "push    {r4-r11, lr}\n\t"
        "sub     sp, #20\n\t"
        "mov     r9, r0\n\t"
        "mov     r12, r1\n\t"
        "mov     r1, r2\n\t"
        "mov     r11, r3\n\t"
        "mov     r3, r12\n\t"
        "add     r5, r3, r11\n\t"
        "add     r7, r5, r11\n\t"
        "movs    r4, #0\n\t"
        "movs    r6, #0\n\t"
        "mov     r8, #0\n\t"
        "lsr     lr, r11, #4\n\t"
        "dls     lr, lr\n\t"
        "1:\n\t"
        "vldrb.u8    q0, [r3], #16\n\t"
        "vldrb.u8    q1, [r5], #16\n\t"
        "vaddva.u8   r4, q0\n\t"
        "vldrb.u8    q2, [r7], #16\n\t"
        "vaddva.u8   r6, q1\n\t"
        "vaddva.u8   r8, q2\n\t"
        "le      lr, 1b\n\t"
        "rsbs    r4, r4, #0\n\t"
        "rsbs    r6, r6, #0\n\t"
        "rsb     r8, r8, #0\n\t"
        "lsls    r4, r4, #7\n\t"
        "lsls    r6, r6, #7\n\t"
        "lsl     r8, r8, #7\n\t"
        "strd    r4, r6, [sp]\n\t"
        "add     r0, r9, #64\n\t"
        "strd    r8, r0, [sp, #8]\n\t"
        "2:\n\t"
        "ldrd    r0, r4, [sp]\n\t"
        "ldr     r8, [sp, #8]\n\t"
        "mov     r2, r0\n\t"
        "mov     r6, r4\n\t"
        "mov     r10, r8\n\t"
        "mov     r3, r12\n\t"
        "add     r5, r3, r11\n\t"
        "add     r7, r5, r11\n\t"
        "lsr     lr, r11, #4\n\t"
        "dls     lr, lr\n\t"
        "3:\n\t"
        "vldrb.u8    q0, [r1], #16\n\t"
        "vldrb.u8    q2, [r3], #16\n\t"
        "vmladava.u8 r0, q0, q2\n\t"
        "vldrb.u8    q1, [r1], #16\n\t"
        "vmladava.u8 r2, q1, q2\n\t"
        "vldrb.u8    q3, [r5], #16\n\t"
        "vmladava.u8 r4, q0, q3\n\t"
        "vldrb.u8    q2, [r7], #16\n\t"
        "vmladava.u8 r6, q1, q3\n\t"
        "vmladava.u8 r8, q0, q2\n\t"
        "vmladava.u8 r10, q1, q2\n\t"
        "le      lr, 3b\n\t"
        "strd    r4, r6, [r9, #64]\n\t"
        "strd    r8, r10, [r9, #128]\n\t"
        "strd    r0, r2, [r9], #8\n\t"
        "ldr     r0, [sp, #12]\n\t"
        "cmp     r9, r0\n\t"
        "bne     2b\n\t"
        "add     sp, #20\n\t"
        "pop     {r4-r11, pc}\n\t");
}

static const mimp_kernels mimp_kernels_mve = {
    "mve", MIM_CPU_MVE, MIM_PAIRS16, 4, 3, 16, 0,
#ifdef MIM_NO_FLOAT
    mimp_mve_tile_pairs, mimp_mve_tile_pairs, NULL, NULL, NULL, NULL, NULL
#else
    NULL, NULL, mimp_mve_tile_pairs, mimp_mve_tile_pairs, mimp_mve_tile_pairs, NULL, NULL, NULL, NULL, NULL, NULL,
    NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
#endif
};
#endif

#ifdef MIMP_X86
/* Weights come from beyond the second-level cache when the first rows meet them, faster than the machine's own prefetching brings
 * them: leaves ask for what lies 2 KiB on, that is, in the end, for the next panel. */
#define MIMP_AHEAD(w) _mm_prefetch((const char *)((uintptr_t)(w) + 2048), _MM_HINT_T0)

/* ---- AVX2 and FMA: 6 x 16 floats, 4 x 16 bytes ---- */

#define MIMP_V(x) mimp_avx2_##x
MIMP_ROW_OPS(avx2, MIMP_V, MIMP_TARGET("avx2,fma"))
#undef MIMP_V

/* Twelve accumulators (row r, channels 0-7 and 8-15), two registers of weights, one of the row: 15 of 16. */
#define MIMP_AVX2_ROW(r) \
    x = _mm256_broadcast_ss(a + r); \
    c##r = _mm256_fmadd_ps(x, w0, c##r); \
    d##r = _mm256_fmadd_ps(x, w1, d##r);
#define MIMP_AVX2_STORE(r) \
    _mm256_storeu_ps(acc + 16 * r, c##r); \
    _mm256_storeu_ps(acc + 16 * r + 8, d##r);
MIMP_TARGET("avx2,fma") static void mimp_avx2_tile_f32(float *acc, const float *a, const float *w, size_t k)
{
    __m256 c0, c1, c2, c3, c4, c5, d0, d1, d2, d3, d4, d5, w0, w1, x;
    c0 = c1 = c2 = c3 = c4 = c5 = d0 = d1 = d2 = d3 = d4 = d5 = _mm256_setzero_ps();
    for (; k; k--, a += 6, w += 16) {
        w0 = _mm256_loadu_ps(w);
        w1 = _mm256_loadu_ps(w + 8);
        MIMP_AHEAD(w);
        MIMP_AVX2_ROW(0) MIMP_AVX2_ROW(1) MIMP_AVX2_ROW(2) MIMP_AVX2_ROW(3) MIMP_AVX2_ROW(4) MIMP_AVX2_ROW(5)
    }
    MIMP_AVX2_STORE(0) MIMP_AVX2_STORE(1) MIMP_AVX2_STORE(2) MIMP_AVX2_STORE(3) MIMP_AVX2_STORE(4) MIMP_AVX2_STORE(5)
}

/* vpmaddubsw adds two products in 16 bits and saturates: 2 * 255 * 63 = 32130 and 2 * 127 * 128 = 32512 both fit. */
#define MIMP_AVX2_QUAD(r) \
    MIM_MEMCPY(&quad, a + 4 * r, 4); \
    x = _mm256_set1_epi32(quad); \
    c##r = _mm256_add_epi32(c##r, _mm256_madd_epi16(_mm256_maddubs_epi16(x, w0), ones)); \
    d##r = _mm256_add_epi32(d##r, _mm256_madd_epi16(_mm256_maddubs_epi16(x, w1), ones));
#define MIMP_AVX2_STOREI(r) \
    _mm256_storeu_si256((__m256i *)(void *)(acc + 16 * r), c##r); \
    _mm256_storeu_si256((__m256i *)(void *)(acc + 16 * r + 8), d##r);
MIMP_TARGET("avx2") static void mimp_avx2_tile_q8(int32_t *acc, const uint8_t *a, const int8_t *w, size_t k)
{
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i c0, c1, c2, c3, d0, d1, d2, d3, w0, w1, x;
    int32_t quad;
    c0 = c1 = c2 = c3 = d0 = d1 = d2 = d3 = _mm256_setzero_si256();
    for (; k; k -= 4, a += 16, w += 64) {
        w0 = _mm256_loadu_si256((const __m256i *)(const void *)w);
        w1 = _mm256_loadu_si256((const __m256i *)(const void *)(w + 32));
        MIMP_AHEAD(w);
        MIMP_AVX2_QUAD(0) MIMP_AVX2_QUAD(1) MIMP_AVX2_QUAD(2) MIMP_AVX2_QUAD(3)
    }
    MIMP_AVX2_STOREI(0) MIMP_AVX2_STOREI(1) MIMP_AVX2_STOREI(2) MIMP_AVX2_STOREI(3)
}

/* Pinned: gcc otherwise reassociates the additions of several steps into trees, whose products are all alive at once and spill. */

/* Two quads at a time, their products added in 16 bits: 4 * 127 * 64 = 32512 fits, and so does 255 * 128 = 32640 of fours. */
#define MIMP_AVX2_OCTET(r) \
    MIM_MEMCPY(&quad, a + 4 * r, 4); \
    x = _mm256_set1_epi32(quad); \
    MIM_MEMCPY(&quad, a + 16 + 4 * r, 4); \
    y = _mm256_set1_epi32(quad); \
    c##r = _mm256_add_epi32(c##r, _mm256_madd_epi16(_mm256_add_epi16(_mm256_maddubs_epi16(x, w0), _mm256_maddubs_epi16(y, w2)), ones)); \
    d##r = _mm256_add_epi32(d##r, _mm256_madd_epi16(_mm256_add_epi16(_mm256_maddubs_epi16(x, w1), _mm256_maddubs_epi16(y, w3)), ones));
MIMP_TARGET("avx2") static void mimp_avx2_tile_q7(int32_t *acc, const uint8_t *a, const int8_t *w, size_t k)
{
    const __m256i ones = _mm256_set1_epi16(1);
    __m256i c0, c1, c2, c3, d0, d1, d2, d3, w0, w1, w2, w3, x, y;
    int32_t quad;
    c0 = c1 = c2 = c3 = d0 = d1 = d2 = d3 = _mm256_setzero_si256();
    for (; k; k -= 8, a += 32, w += 128) {
        w0 = _mm256_loadu_si256((const __m256i *)(const void *)w);
        w1 = _mm256_loadu_si256((const __m256i *)(const void *)(w + 32));
        w2 = _mm256_loadu_si256((const __m256i *)(const void *)(w + 64));
        w3 = _mm256_loadu_si256((const __m256i *)(const void *)(w + 96));
        MIMP_AHEAD(w);
        MIMP_AHEAD(w + 64);
        MIMP_AVX2_OCTET(0) MIMP_AVX2_OCTET(1) MIMP_AVX2_OCTET(2) MIMP_AVX2_OCTET(3)
    }
    MIMP_AVX2_STOREI(0) MIMP_AVX2_STOREI(1) MIMP_AVX2_STOREI(2) MIMP_AVX2_STOREI(3)
}

#ifndef MIM_NO_Q4
/* q4 to bytes. A half (0..15) times its multiplier stays under 256, so that one 16-bit multiplication serves two bytes; less
 * 8 multipliers. With `apart`, blocks of 32 k instead: halves - 8 as bytes [8][16][4], then the multipliers as 16-bit pairs [16]. */
MIMP_AVX2 void mimp_avx2_spread_q4(uint8_t *out, const uint8_t *panel, size_t k, uint32_t group, int apart)
{
    const __m256i low = _mm256_set1_epi8(15), one = _mm256_set1_epi8(8);
    const __m128i half = _mm_set1_epi8(15);
    const uint8_t *w = panel;
    size_t i, j, h;
    for (i = 0; i < k; i += 32) {
        const __m128i bytes = _mm_loadl_epi64((const __m128i *)(const void *)(panel + k * 8 + i / group * 8));
        __m256i pairs[2], eights[2];
        pairs[0] = _mm256_cvtepu8_epi32(_mm_and_si128(half, bytes));
        pairs[1] = _mm256_cvtepu8_epi32(_mm_and_si128(half, _mm_srli_epi16(bytes, 4)));
        for (h = 0; h < 2; h++) {
            pairs[h] = _mm256_or_si256(pairs[h], _mm256_slli_epi32(pairs[h], 16));
            eights[h] = apart ? one : _mm256_or_si256(_mm256_slli_epi16(pairs[h], 3), _mm256_slli_epi16(pairs[h], 11));
        }
        for (j = 0; j < 4; j++, out += 128, w += 64)
            for (h = 0; h < 2; h++) {
                const __m256i both = _mm256_loadu_si256((const __m256i *)(const void *)(w + 32 * h));
                __m256i first = _mm256_and_si256(low, both), second = _mm256_and_si256(low, _mm256_srli_epi16(both, 4));
                if (!apart) {
                    first = _mm256_mullo_epi16(first, pairs[h]);
                    second = _mm256_mullo_epi16(second, pairs[h]);
                }
                _mm256_storeu_si256((__m256i *)(void *)(out + 32 * h), _mm256_sub_epi8(first, eights[h]));
                _mm256_storeu_si256((__m256i *)(void *)(out + 64 + 32 * h), _mm256_sub_epi8(second, eights[h]));
            }
        for (h = 0; h < 2 && apart; h++, out += 32)
            _mm256_storeu_si256((__m256i *)(void *)out, pairs[h]);
    }
}
MIMP_TARGET("avx2") static void mimp_avx2_unpack_q4(uint8_t *out, const uint8_t *panel, size_t k, uint32_t group)
{ mimp_avx2_spread_q4(out, panel, k, group, 1); }

/* Eight quads, that is 32 k, are summed in 16 bits: 8 * 2 * 255 * 8 = 32640 fits; then vpmaddwd by the multiplier, of which all
 * of them share one. Eight accumulators in 16 bits leave no registers for those in 32, which stay in memory. */
#define MIMP_AVX2_NIBBLES(r) \
    MIM_MEMCPY(&quad, a + 4 * r, 4); \
    x = _mm256_set1_epi32(quad); \
    c##r = _mm256_add_epi16(c##r, _mm256_maddubs_epi16(x, w0)); \
    d##r = _mm256_add_epi16(d##r, _mm256_maddubs_epi16(x, w1)); \
    MIMP_PIN(c##r); \
    MIMP_PIN(d##r);
#define MIMP_AVX2_LOAD_PAIR \
    w0 = _mm256_loadu_si256((const __m256i *)(const void *)w); \
    w1 = _mm256_loadu_si256((const __m256i *)(const void *)(w + 32)); \
    w += 64;
#define MIMP_AVX2_NIBBLES_QUAD \
    MIMP_AVX2_LOAD_PAIR \
    MIMP_AVX2_NIBBLES(0) MIMP_AVX2_NIBBLES(1) MIMP_AVX2_NIBBLES(2) MIMP_AVX2_NIBBLES(3) \
    a += 16;
#define MIMP_AVX2_SUM(r) ((__m256i *)(void *)(acc + 8 * (r)))
#define MIMP_AVX2_CLEAR(r) _mm256_storeu_si256(MIMP_AVX2_SUM(2 * r), x); _mm256_storeu_si256(MIMP_AVX2_SUM(2 * r + 1), x);
#define MIMP_AVX2_FLUSH(r) \
    c##r = _mm256_madd_epi16(c##r, w0); \
    d##r = _mm256_madd_epi16(d##r, w1); \
    _mm256_storeu_si256(MIMP_AVX2_SUM(2 * r), _mm256_add_epi32(c##r, _mm256_loadu_si256(MIMP_AVX2_SUM(2 * r)))); \
    _mm256_storeu_si256(MIMP_AVX2_SUM(2 * r + 1), _mm256_add_epi32(d##r, _mm256_loadu_si256(MIMP_AVX2_SUM(2 * r + 1))));
MIMP_TARGET("avx2") static void mimp_avx2_tile_q4(int32_t *acc, const uint8_t *a, const uint8_t *w, size_t k, uint32_t group)
{
    __m256i c0, c1, c2, c3, d0, d1, d2, d3, w0, w1, x = _mm256_setzero_si256();
    int32_t quad;
    (void)group;
    MIMP_AVX2_CLEAR(0) MIMP_AVX2_CLEAR(1) MIMP_AVX2_CLEAR(2) MIMP_AVX2_CLEAR(3)
    for (; k; k -= 32) {
        c0 = c1 = c2 = c3 = d0 = d1 = d2 = d3 = _mm256_setzero_si256();
        MIMP_AVX2_NIBBLES_QUAD MIMP_AVX2_NIBBLES_QUAD MIMP_AVX2_NIBBLES_QUAD MIMP_AVX2_NIBBLES_QUAD
        MIMP_AVX2_NIBBLES_QUAD MIMP_AVX2_NIBBLES_QUAD MIMP_AVX2_NIBBLES_QUAD MIMP_AVX2_NIBBLES_QUAD
        MIMP_AVX2_LOAD_PAIR
        MIMP_AVX2_FLUSH(0) MIMP_AVX2_FLUSH(1) MIMP_AVX2_FLUSH(2) MIMP_AVX2_FLUSH(3)
    }
}
#endif

/* Any bytes: of each pair of weights the first and the second by themselves, shifted out as 16 bits, so that vpmaddwd adds k 0
 * and 2, and then 1 and 3, of each channel: two accumulators take a quad of eight channels. Inputs are split the same way. */
#define MIMP_AVX2_WIDE(r) \
    MIM_MEMCPY(&quad, a + 4 * r, 4); \
    x = _mm256_set1_epi32(quad); \
    y = _mm256_srli_epi16(x, 8); \
    x = _mm256_and_si256(x, low); \
    c##r = _mm256_add_epi32(c##r, _mm256_madd_epi16(x, even0)); \
    d##r = _mm256_add_epi32(d##r, _mm256_madd_epi16(x, even1)); \
    c##r = _mm256_add_epi32(c##r, _mm256_madd_epi16(y, odd0)); \
    d##r = _mm256_add_epi32(d##r, _mm256_madd_epi16(y, odd1));
MIMP_TARGET("avx2") static void mimp_avx2_tile_q8_wide(int32_t *acc, const uint8_t *a, const int8_t *w, size_t k)
{
    const __m256i low = _mm256_set1_epi16(255);
    __m256i c0, c1, c2, c3, d0, d1, d2, d3, even0, even1, odd0, odd1, x, y;
    int32_t quad;
    c0 = c1 = c2 = c3 = d0 = d1 = d2 = d3 = _mm256_setzero_si256();
    for (; k; k -= 4, a += 16, w += 64) {
        odd0 = _mm256_loadu_si256((const __m256i *)(const void *)w);
        odd1 = _mm256_loadu_si256((const __m256i *)(const void *)(w + 32));
        even0 = _mm256_srai_epi16(_mm256_slli_epi16(odd0, 8), 8);
        even1 = _mm256_srai_epi16(_mm256_slli_epi16(odd1, 8), 8);
        odd0 = _mm256_srai_epi16(odd0, 8);
        odd1 = _mm256_srai_epi16(odd1, 8);
        MIMP_AVX2_WIDE(0) MIMP_AVX2_WIDE(1) MIMP_AVX2_WIDE(2) MIMP_AVX2_WIDE(3)
    }
    MIMP_AVX2_STOREI(0) MIMP_AVX2_STOREI(1) MIMP_AVX2_STOREI(2) MIMP_AVX2_STOREI(3)
}

MIMP_TARGET("avx2,f16c") static void mimp_avx2_halves(float *out, const uint16_t *in, size_t n)
{
    for (; n; n -= 8, out += 8, in += 8)
        _mm256_storeu_ps(out, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)in)));
}

static const mimp_kernels mimp_kernels_avx2 = {
    "avx2", MIM_CPU_AVX2, MIM_PANEL16, 6, 4, 0, 0,
    mimp_avx2_tile_f32, NULL, mimp_avx2_tile_q7, mimp_avx2_tile_q8, mimp_avx2_tile_q8_wide, NULL, NULL, NULL,
    MIMP_Q4(mimp_avx2_unpack_q4), MIMP_Q4(mimp_avx2_tile_q4), mimp_avx2_halves,
    MIMP_ROWS_OF(avx2)
};

/* ---- AVX-VNNI: AVX2 with vpdpbusd, 6 x 16 bytes ---- */

/* vpdpbusd adds the four products of a quad in 32 bits: exact for any bytes. Registers as in tile_f32. */
#define MIMP_AVXVNNI_QUAD(r) \
    MIM_MEMCPY(&quad, a + 4 * r, 4); \
    x = _mm256_set1_epi32(quad); \
    c##r = _mm256_dpbusd_avx_epi32(c##r, x, w0); \
    d##r = _mm256_dpbusd_avx_epi32(d##r, x, w1);
MIMP_TARGET("avx2,avxvnni") static void mimp_avxvnni_tile_q8(int32_t *acc, const uint8_t *a, const int8_t *w, size_t k)
{
    __m256i c0, c1, c2, c3, c4, c5, d0, d1, d2, d3, d4, d5, w0, w1, x;
    int32_t quad;
    c0 = c1 = c2 = c3 = c4 = c5 = d0 = d1 = d2 = d3 = d4 = d5 = _mm256_setzero_si256();
    for (; k; k -= 4, a += 24, w += 64) {
        w0 = _mm256_loadu_si256((const __m256i *)(const void *)w);
        w1 = _mm256_loadu_si256((const __m256i *)(const void *)(w + 32));
        MIMP_AHEAD(w);
        MIMP_AVXVNNI_QUAD(0) MIMP_AVXVNNI_QUAD(1) MIMP_AVXVNNI_QUAD(2) MIMP_AVXVNNI_QUAD(3) MIMP_AVXVNNI_QUAD(4) MIMP_AVXVNNI_QUAD(5)
    }
    MIMP_AVX2_STOREI(0) MIMP_AVX2_STOREI(1) MIMP_AVX2_STOREI(2) MIMP_AVX2_STOREI(3) MIMP_AVX2_STOREI(4) MIMP_AVX2_STOREI(5)
}

#ifndef MIM_NO_Q4
MIMP_TARGET("avx2") static void mimp_avxvnni_unpack_q4(uint8_t *out, const uint8_t *panel, size_t k, uint32_t group)
{ mimp_avx2_spread_q4(out, panel, k, group, 0); }
#endif

static const mimp_kernels mimp_kernels_avxvnni = {
    "avxvnni", MIM_CPU_AVXVNNI, MIM_PANEL16, 6, 6, 0, 0,
    mimp_avx2_tile_f32, NULL, mimp_avxvnni_tile_q8, mimp_avxvnni_tile_q8, mimp_avxvnni_tile_q8, NULL, NULL, NULL,
    MIMP_Q4(mimp_avxvnni_unpack_q4), NULL, mimp_avx2_halves,
    MIMP_ROWS_OF(avx2)
};

#ifndef MIM_NO_AVX512
/* ---- AVX-512: 14 x 16 floats, 14 x 16 bytes ---- */

#define MIMP_V(x) mimp_avx512_##x
MIMP_ROW_OPS(avx512, MIMP_V, MIMP_TARGET(MIMP_AVX512_ISA))
#undef MIMP_V

/* Fourteen accumulators, one register of weights; the row's operand is broadcast from memory. */
#define MIMP_14(STEP) \
    STEP(0) STEP(1) STEP(2) STEP(3) STEP(4) STEP(5) STEP(6) STEP(7) STEP(8) STEP(9) STEP(10) STEP(11) STEP(12) STEP(13)
#define MIMP_AVX512_ZERO(r) c##r = _mm512_setzero_ps();
#define MIMP_AVX512_FMA(r) c##r = _mm512_fmadd_ps(_mm512_set1_ps(a[r]), x, c##r);
#define MIMP_AVX512_STORE(r) _mm512_storeu_ps(acc + 16 * r, c##r);
MIMP_TARGET(MIMP_AVX512_ISA) static void mimp_avx512_tile_f32(float *acc, const float *a, const float *w, size_t k)
{
    __m512 c0, c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11, c12, c13, x;
    MIMP_14(MIMP_AVX512_ZERO)
    for (; k; k--, a += 14, w += 16) {
        x = _mm512_loadu_ps(w);
        MIMP_14(MIMP_AVX512_FMA)
    }
    MIMP_14(MIMP_AVX512_STORE)
}

/* Twenty-eight accumulators: each broadcast serves two products, which one panel alone would not leave time to load for. A
 * tile that is not full has only as many as it needs. */
#define MIMP_4(STEP) STEP(0) STEP(1) STEP(2) STEP(3)
#define MIMP_7(STEP) MIMP_4(STEP) STEP(4) STEP(5) STEP(6)
#define MIMP_10(STEP) MIMP_7(STEP) STEP(7) STEP(8) STEP(9)
#define MIMP_AVX512_ZERO2(r) __m512 c##r = _mm512_setzero_ps(), d##r = _mm512_setzero_ps();
#define MIMP_AVX512_FMA2(r) y = _mm512_set1_ps(a[r]); c##r = _mm512_fmadd_ps(y, x0, c##r); d##r = _mm512_fmadd_ps(y, x1, d##r);
#define MIMP_AVX512_STORE2(r) _mm512_storeu_ps(acc + 16 * r, c##r); _mm512_storeu_ps(acc + apart + 16 * r, d##r);
#define MIMP_AVX512_PAIR_F32(ROWS) \
    { \
        ROWS(MIMP_AVX512_ZERO2) \
        for (; k; k--, a += 14, w += 16) { \
            x0 = _mm512_loadu_ps(w); \
            x1 = _mm512_loadu_ps(w + step); \
            MIMP_AHEAD(w); \
            MIMP_AHEAD(w + step); \
            ROWS(MIMP_AVX512_FMA2) \
        } \
        ROWS(MIMP_AVX512_STORE2) \
    }
MIMP_TARGET(MIMP_AVX512_ISA) static void mimp_avx512_pair_f32(float *acc, size_t apart, const float *a, const float *w, size_t k,
                                                              size_t step, uint32_t rows)
{
    __m512 x0, x1, y;
    if (rows > 10)
        MIMP_AVX512_PAIR_F32(MIMP_14)
    else if (rows > 7)
        MIMP_AVX512_PAIR_F32(MIMP_10)
    else if (rows > 4)
        MIMP_AVX512_PAIR_F32(MIMP_7)
    else
        MIMP_AVX512_PAIR_F32(MIMP_4)
}

/* Without VNNI, as AVX2's leaves of these names and for their reasons; 14 rows by one register of weights. */
#define MIMP_AVX512_ZEROI(r) c##r = _mm512_setzero_si512();
#define MIMP_AVX512_STOREI(r) _mm512_storeu_si512(acc + 16 * r, c##r);
#define MIMP_AVX512_BROADCAST(x, at) MIM_MEMCPY(&quad, at, 4); x = _mm512_set1_epi32(quad);
#define MIMP_AVX512_WIDEN(r, sum16) c##r = _mm512_add_epi32(c##r, _mm512_madd_epi16(sum16, ones));
#define MIMP_AVX512BW_QUAD(r) MIMP_AVX512_BROADCAST(x, a + 4 * r) MIMP_AVX512_WIDEN(r, _mm512_maddubs_epi16(x, w0))
#define MIMP_AVX512BW_OCTET(r) \
    MIMP_AVX512_BROADCAST(x, a + 4 * r) MIMP_AVX512_BROADCAST(y, a + 56 + 4 * r) \
    MIMP_AVX512_WIDEN(r, _mm512_add_epi16(_mm512_maddubs_epi16(x, w0), _mm512_maddubs_epi16(y, w1)))
MIMP_TARGET(MIMP_AVX512_ISA) static void mimp_avx512bw_tile_q8(int32_t *acc, const uint8_t *a, const int8_t *w, size_t k)
{
    const __m512i ones = _mm512_set1_epi16(1);
    __m512i c0, c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11, c12, c13, w0, x;
    int32_t quad;
    MIMP_14(MIMP_AVX512_ZEROI)
    for (; k; k -= 4, a += 56, w += 64) {
        w0 = _mm512_loadu_si512(w);
        MIMP_AHEAD(w);
        MIMP_14(MIMP_AVX512BW_QUAD)
    }
    MIMP_14(MIMP_AVX512_STOREI)
}
MIMP_TARGET(MIMP_AVX512_ISA) static void mimp_avx512bw_tile_q7(int32_t *acc, const uint8_t *a, const int8_t *w, size_t k)
{
    const __m512i ones = _mm512_set1_epi16(1);
    __m512i c0, c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11, c12, c13, w0, w1, x, y;
    int32_t quad;
    MIMP_14(MIMP_AVX512_ZEROI)
    for (; k; k -= 8, a += 112, w += 128) {
        w0 = _mm512_loadu_si512(w);
        w1 = _mm512_loadu_si512(w + 64);
        MIMP_AHEAD(w);
        MIMP_AHEAD(w + 64);
        MIMP_14(MIMP_AVX512BW_OCTET)
    }
    MIMP_14(MIMP_AVX512_STOREI)
}

/* Widened: eight channels of a quad to a register, of which two 32-bit sums each are folded at the end; seven rows at a time. */
#define MIMP_AVX512_ZERO2I(r) __m512i c##r = _mm512_setzero_si512(), d##r = _mm512_setzero_si512();
#define MIMP_AVX512BW_WIDE(r) \
    MIM_MEMCPY(&quad, b + 4 * r, 4); \
    x = _mm512_cvtepu8_epi16(_mm256_set1_epi32(quad)); \
    c##r = _mm512_add_epi32(c##r, _mm512_madd_epi16(x, w0)); \
    d##r = _mm512_add_epi32(d##r, _mm512_madd_epi16(x, w1));
#define MIMP_AVX512BW_FOLD(r) \
    _mm512_storeu_si512(acc + 16 * r, _mm512_add_epi32(_mm512_permutex2var_epi32(c##r, even, d##r), _mm512_permutex2var_epi32(c##r, odd, d##r)));
MIMP_TARGET(MIMP_AVX512_ISA) static void mimp_avx512bw_tile_q8_wide(int32_t *acc, const uint8_t *a, const int8_t *w, size_t k)
{
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const __m512i odd = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
    __m512i w0, w1, x;
    int32_t quad;
    uint32_t half;
    for (half = 0; half < 2; half++, a += 28, acc += 7 * 16) {
        const uint8_t *b = a;
        const int8_t *v = w;
        size_t left = k;
        MIMP_7(MIMP_AVX512_ZERO2I)
        for (; left; left -= 4, b += 56, v += 64) {
            w0 = _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)(const void *)v));
            w1 = _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)(const void *)(v + 32)));
            MIMP_7(MIMP_AVX512BW_WIDE)
        }
        MIMP_7(MIMP_AVX512BW_FOLD)
    }
}

#ifndef MIM_NO_Q4
MIMP_TARGET(MIMP_AVX512_ISA) static void mimp_avx512_unpack_q4(uint8_t *out, const uint8_t *panel, size_t k, uint32_t group)
{ mimp_avx2_spread_q4(out, panel, k, group, 0); }

/* Fourteen accumulators in 16 bits, as many in 32. */
#define MIMP_AVX512BW_NIBBLES(r) \
    MIMP_AVX512_BROADCAST(x, a + 4 * r) \
    h##r = _mm512_add_epi16(h##r, _mm512_maddubs_epi16(x, w0)); \
    MIMP_PINZ(h##r);
#define MIMP_AVX512BW_ZERO16(r) h##r = _mm512_setzero_si512();
#define MIMP_AVX512BW_FLUSH(r) c##r = _mm512_add_epi32(c##r, _mm512_madd_epi16(h##r, w0));
MIMP_TARGET(MIMP_AVX512_ISA) static void mimp_avx512bw_tile_q4(int32_t *acc, const uint8_t *a, const uint8_t *w, size_t k, uint32_t group)
{
    __m512i c0, c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11, c12, c13;
    __m512i h0, h1, h2, h3, h4, h5, h6, h7, h8, h9, h10, h11, h12, h13, w0, x;
    int32_t quad;
    int j;
    (void)group;
    MIMP_14(MIMP_AVX512_ZEROI)
    for (; k; k -= 32, w += 64) {
        MIMP_14(MIMP_AVX512BW_ZERO16)
        for (j = 0; j < 8; j++, a += 56, w += 64) {
            w0 = _mm512_loadu_si512(w);
            MIMP_14(MIMP_AVX512BW_NIBBLES)
        }
        w0 = _mm512_loadu_si512(w);
        MIMP_14(MIMP_AVX512BW_FLUSH)
    }
    MIMP_14(MIMP_AVX512_STOREI)
}
#endif

static const mimp_kernels mimp_kernels_avx512bw = {
    "avx512bw", MIM_CPU_AVX512BW, MIM_PANEL16, 14, 14, 0, 0,
    mimp_avx512_tile_f32, mimp_avx512_pair_f32,
    mimp_avx512bw_tile_q7, mimp_avx512bw_tile_q8, mimp_avx512bw_tile_q8_wide, NULL, NULL, NULL,
    MIMP_Q4(mimp_avx2_unpack_q4), MIMP_Q4(mimp_avx512bw_tile_q4), mimp_avx2_halves,
    MIMP_ROWS_OF(avx512)
};

/* ---- AVX-512 with VNNI ---- */

/* vpdpbusd adds the four products of a quad in 32 bits: exact for any bytes. Two panels, as in pair_f32. */
#define MIMP_VNNI_ISA MIMP_AVX512_ISA ",avx512vnni"
#define MIMP_AVX512_QUAD(r) MIMP_AVX512_BROADCAST(y, a + 4 * r) c##r = _mm512_dpbusd_epi32(c##r, y, x);
MIMP_TARGET(MIMP_VNNI_ISA) static void mimp_avx512_tile_q8(int32_t *acc, const uint8_t *a, const int8_t *w, size_t k)
{
    __m512i c0, c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11, c12, c13, x, y;
    int32_t quad;
    MIMP_14(MIMP_AVX512_ZEROI)
    for (; k; k -= 4, a += 56, w += 64) {
        x = _mm512_loadu_si512(w);
        MIMP_14(MIMP_AVX512_QUAD)
    }
    MIMP_14(MIMP_AVX512_STOREI)
}

#define MIMP_AVX512_QUAD2(r) \
    MIMP_AVX512_BROADCAST(y, a + 4 * r) c##r = _mm512_dpbusd_epi32(c##r, y, x0); d##r = _mm512_dpbusd_epi32(d##r, y, x1);
#define MIMP_AVX512_STORE2I(r) _mm512_storeu_si512(acc + 16 * r, c##r); _mm512_storeu_si512(acc + 16 * (14 + r), d##r);
#define MIMP_AVX512_PAIR_Q8(ROWS) \
    { \
        ROWS(MIMP_AVX512_ZERO2I) \
        for (; k; k -= 4, a += 56, w += 64) { \
            x0 = _mm512_loadu_si512(w); \
            x1 = _mm512_loadu_si512(w + step); \
            MIMP_AHEAD(w); \
            MIMP_AHEAD(w + step); \
            ROWS(MIMP_AVX512_QUAD2) \
        } \
        ROWS(MIMP_AVX512_STORE2I) \
    }
MIMP_TARGET(MIMP_VNNI_ISA) static void mimp_avx512_pair_q8(int32_t *acc, const uint8_t *a, const int8_t *w, size_t k, size_t step,
                                                           uint32_t rows)
{
    __m512i x0, x1, y;
    int32_t quad;
    if (rows > 10)
        MIMP_AVX512_PAIR_Q8(MIMP_14)
    else if (rows > 7)
        MIMP_AVX512_PAIR_Q8(MIMP_10)
    else if (rows > 4)
        MIMP_AVX512_PAIR_Q8(MIMP_7)
    else
        MIMP_AVX512_PAIR_Q8(MIMP_4)
}

static const mimp_kernels mimp_kernels_avx512 = {
    "avx512", MIM_CPU_AVX512, MIM_PANEL16, 14, 14, 0, 2,
    mimp_avx512_tile_f32, mimp_avx512_pair_f32,
    mimp_avx512_tile_q8, mimp_avx512_tile_q8, mimp_avx512_tile_q8, mimp_avx512_pair_q8, NULL, NULL,
    MIMP_Q4(mimp_avx512_unpack_q4), NULL, mimp_avx2_halves,
    MIMP_ROWS_OF(avx512)
};

#ifdef MIMP_AMX
/* ---- AMX: 16 x 16 bytes, four panels at a time ---- */

/* tdpbusd multiplies 16 rows of 64 bytes with 64 rows of a panel, which is its second operand as it lies in the blob, in 16
 * cycles; a load takes 8, but twice that where lines are split. Tiles 0 to 3 are sums, 4 rows, 5 a panel; 6 and 7 the same for
 * what k leaves over after 64s. */
#define MIMP_AMX_ISA MIMP_AVX512_ISA ",amx-tile,amx-int8"
MIMP_TARGET(MIMP_AMX_ISA) static void mimp_amx_enter(size_t k)
{
    uint8_t config[64];
    size_t t;
    MIM_MEMSET(config, 0, sizeof config);
    config[0] = 1;
    for (t = 0; t < 8; t++) {
        config[16 + 2 * t] = 64;                    /* bytes of a row, 16 bits each */
        config[48 + t] = 16;                        /* rows */
    }
    if (k % 64) {
        config[16 + 2 * 6] = (uint8_t)(k % 64);
        config[48 + 7] = (uint8_t)(k % 64 / 4);
    }
    __asm__ volatile("" : : "r"(config) : "memory");         /* the intrinsic does not tell the compiler that it reads all of it */
    _tile_loadconfig(config);
}

MIMP_TARGET(MIMP_AMX_ISA) static void mimp_amx_leave(void) { _tile_release(); }

#define MIMP_AMX_STEP(sum, rows, panel, at) \
    _tile_loadd(panel, at, 64); \
    _tile_dpbusd(sum, rows, panel);
#define MIMP_AMX_FOUR(rows, panel) \
    _tile_loadd(rows, a, stride); \
    MIMP_AMX_STEP(0, rows, panel, w) MIMP_AMX_STEP(1, rows, panel, w + step) \
    MIMP_AMX_STEP(2, rows, panel, w + 2 * step) MIMP_AMX_STEP(3, rows, panel, w + 3 * step)
MIMP_TARGET(MIMP_AMX_ISA) static void mimp_amx_four_q8(int32_t *acc, const uint8_t *a, const int8_t *w, size_t k, size_t step,
                                                      uint32_t rows)
{
    const size_t stride = (k + 63) & ~(size_t)63;
    (void)rows;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (; k >= 64; k -= 64, a += 64, w += 1024) {
        MIMP_AMX_FOUR(4, 5)
    }
    if (k) {
        MIMP_AMX_FOUR(6, 7)
    }
    _tile_stored(0, acc, 64);
    _tile_stored(1, acc + 256, 64);
    _tile_stored(2, acc + 512, 64);
    _tile_stored(3, acc + 768, 64);
}

MIMP_TARGET(MIMP_AMX_ISA) static void mimp_amx_tile_q8(int32_t *acc, const uint8_t *a, const int8_t *w, size_t k)
{
    const size_t stride = (k + 63) & ~(size_t)63;
    _tile_zero(0);
    for (; k >= 64; k -= 64, a += 64, w += 1024) {
        _tile_loadd(4, a, stride);
        MIMP_AMX_STEP(0, 4, 5, w)
    }
    if (k) {
        _tile_loadd(6, a, stride);
        MIMP_AMX_STEP(0, 6, 7, w)
    }
    _tile_stored(0, acc, 64);
}

static const mimp_kernels mimp_kernels_amx = {
    "amx", MIM_CPU_AMX, MIM_PANEL16, 14, 16, 64, 4,
    mimp_avx512_tile_f32, mimp_avx512_pair_f32,
    mimp_amx_tile_q8, mimp_amx_tile_q8, mimp_amx_tile_q8, mimp_amx_four_q8, mimp_amx_enter, mimp_amx_leave,
    MIMP_Q4(mimp_avx512_unpack_q4), NULL, mimp_avx2_halves,
    MIMP_ROWS_OF(avx512)
};
#endif
#endif
#endif

#if defined(MIMP_NEON) || defined(MIMP_NEON32)
/* Keeps gcc's scheduler from starting all products at once, which spills. */
#ifdef __GNUC__
#define MIMP_NEON_FENCE __asm__ volatile("")
#else
#define MIMP_NEON_FENCE
#endif

/* umull wants both unsigned: weights go in as w + 128, and 128 times the sum of the row comes off at the end (all stays
 * below 255 * 255 * 65536 < 2^32). A quad gives two sums of pairs per channel, which uadalp takes to 32 bits, so any bytes
 * are exact. Eight products to a umull and a uadalp; each has one pipe on most cores. */
#define MIMP_NEON_PAIRS(r, x) \
    c##r##0 = vpadalq_u16(c##r##0, vmull_u8(vget_low_u8(w0), vget_low_u8(x))); \
    c##r##1 = vpadalq_u16(c##r##1, vmull_high_u8(w0, x)); \
    c##r##2 = vpadalq_u16(c##r##2, vmull_u8(vget_low_u8(w1), vget_low_u8(x))); \
    c##r##3 = vpadalq_u16(c##r##3, vmull_high_u8(w1, x)); \
    c##r##4 = vpadalq_u16(c##r##4, vmull_u8(vget_low_u8(w2), vget_low_u8(x))); \
    c##r##5 = vpadalq_u16(c##r##5, vmull_high_u8(w2, x)); \
    c##r##6 = vpadalq_u16(c##r##6, vmull_u8(vget_low_u8(w3), vget_low_u8(x))); \
    c##r##7 = vpadalq_u16(c##r##7, vmull_high_u8(w3, x));
#define MIMP_NEON_STOREI(to, low, high, off) \
    vst1q_s32(to, vreinterpretq_s32_u32(vsubq_u32(vcombine_u32(vpadd_u32(vget_low_u32(low), vget_high_u32(low)), \
                                                               vpadd_u32(vget_low_u32(high), vget_high_u32(high))), off)));
#define MIMP_NEON_STORE_PAIRS(r, to, sum) \
    MIMP_NEON_STOREI(to, c##r##0, c##r##1, vdupq_n_u32(sum)) MIMP_NEON_STOREI(to + 4, c##r##2, c##r##3, vdupq_n_u32(sum)) \
    MIMP_NEON_STOREI(to + 8, c##r##4, c##r##5, vdupq_n_u32(sum)) MIMP_NEON_STOREI(to + 12, c##r##6, c##r##7, vdupq_n_u32(sum))
#endif

#ifdef MIMP_NEON32
/* ---- NEON of 32-bit Arm: 4 x 16 floats, 4 x 16 bytes ---- */

/* Its floats flush subnormals to zero, so that only f32's own leaf may use them; the rest is the portable code's. Two rows, or
 * one of bytes, at a time: there are sixteen registers. */
#define MIMP_NEON32_ROW(c, lane) \
    c##0 = vmlaq_lane_f32(c##0, w0, x, lane); c##1 = vmlaq_lane_f32(c##1, w1, x, lane); \
    c##2 = vmlaq_lane_f32(c##2, w2, x, lane); c##3 = vmlaq_lane_f32(c##3, w3, x, lane);
static void mimp_neon32_tile_f32(float *acc, const float *a, const float *w, size_t k)
{
    int r;
    for (r = 0; r < 4; r += 2, a += 2, acc += 32) {
        float32x4_t c0, c1, c2, c3, d0, d1, d2, d3;
        size_t i;
        c0 = c1 = c2 = c3 = d0 = d1 = d2 = d3 = vdupq_n_f32(0);
        for (i = 0; i < k; i++) {
            const float *panel = w + 16 * i;
            const float32x4_t w0 = vld1q_f32(panel), w1 = vld1q_f32(panel + 4), w2 = vld1q_f32(panel + 8), w3 = vld1q_f32(panel + 12);
            const float32x2_t x = vld1_f32(a + 4 * i);
            MIMP_NEON32_ROW(c, 0) MIMP_NEON32_ROW(d, 1)
        }
        vst1q_f32(acc, c0); vst1q_f32(acc + 4, c1); vst1q_f32(acc + 8, c2); vst1q_f32(acc + 12, c3);
        vst1q_f32(acc + 16, d0); vst1q_f32(acc + 20, d1); vst1q_f32(acc + 24, d2); vst1q_f32(acc + 28, d3);
    }
}

#define MIMP_NEON32_PAIRS(low, high, at) \
    v = veorq_u8(vld1q_u8(panel + at), flip); \
    low = vpadalq_u16(low, vmull_u8(vget_low_u8(v), x)); \
    high = vpadalq_u16(high, vmull_u8(vget_high_u8(v), x)); \
    MIMP_NEON_FENCE;
static void mimp_neon32_tile_q8(int32_t *acc, const uint8_t *a, const int8_t *w, size_t k)
{
    const uint8x16_t flip = vdupq_n_u8(128);
    uint32x4_t c00, c01, c02, c03, c04, c05, c06, c07, sums = vdupq_n_u32(0);
    uint32_t sum[4];
    size_t i;
    int r;
    for (i = 0; i < k; i += 4)
        sums = vpadalq_u16(sums, vpaddlq_u8(vld1q_u8(a + 4 * i)));
    vst1q_u32(sum, vshlq_n_u32(sums, 7));
    for (r = 0; r < 4; r++, acc += 16) {
        c00 = c01 = c02 = c03 = c04 = c05 = c06 = c07 = vdupq_n_u32(0);
        i = 0;
        do {                            /* gcc copies the accumulators where a loop may be empty */
            const uint8_t *panel = (const uint8_t *)w + 16 * i;
            uint8x16_t v;
            const uint8x8_t x = vreinterpret_u8_u32(vld1_dup_u32((const uint32_t *)(const void *)(a + 4 * i + 4 * r)));
            MIMP_NEON32_PAIRS(c00, c01, 0) MIMP_NEON32_PAIRS(c02, c03, 16) MIMP_NEON32_PAIRS(c04, c05, 32) MIMP_NEON32_PAIRS(c06, c07, 48)
        } while ((i += 4) < k);
        MIMP_NEON_STORE_PAIRS(0, acc, sum[r])
    }
}

static const mimp_kernels mimp_kernels_neon32 = {
    "neon", MIM_CPU_NEON, MIM_PANEL16, 4, 4, 0, 0,
    mimp_neon32_tile_f32, NULL, mimp_neon32_tile_q8, mimp_neon32_tile_q8, mimp_neon32_tile_q8, NULL, NULL, NULL,
    MIMP_Q4(mimp_scalar_unpack_q4), NULL, mimp_scalar_halves,
    MIMP_ROWS_OF(scalar)
};
#endif

#ifdef MIMP_NEON
/* ---- NEON: 4 x 16 floats, 4 x 16 bytes ---- */

#define MIMP_V(x) mimp_neon_##x
MIMP_ROW_OPS(neon, MIMP_V, )
#undef MIMP_V

/* Sixteen accumulators (row r, channels in fours), four registers of weights, one of the rows. */
#define MIMP_NEON_ROW(r) \
    c##r##0 = vfmaq_laneq_f32(c##r##0, w0, x, r); c##r##1 = vfmaq_laneq_f32(c##r##1, w1, x, r); \
    c##r##2 = vfmaq_laneq_f32(c##r##2, w2, x, r); c##r##3 = vfmaq_laneq_f32(c##r##3, w3, x, r);
#define MIMP_NEON_STORE(r) \
    vst1q_f32(acc + 16 * r, c##r##0); vst1q_f32(acc + 16 * r + 4, c##r##1); \
    vst1q_f32(acc + 16 * r + 8, c##r##2); vst1q_f32(acc + 16 * r + 12, c##r##3);
static void mimp_neon_tile_f32(float *acc, const float *a, const float *w, size_t k)
{
    float32x4_t c00, c01, c02, c03, c10, c11, c12, c13, c20, c21, c22, c23, c30, c31, c32, c33, w0, w1, w2, w3, x;
    c00 = c01 = c02 = c03 = c10 = c11 = c12 = c13 = c20 = c21 = c22 = c23 = c30 = c31 = c32 = c33 = vdupq_n_f32(0);
    for (; k; k--, a += 4, w += 16) {
        w0 = vld1q_f32(w); w1 = vld1q_f32(w + 4); w2 = vld1q_f32(w + 8); w3 = vld1q_f32(w + 12);
        x = vld1q_f32(a);
        MIMP_NEON_ROW(0) MIMP_NEON_ROW(1) MIMP_NEON_ROW(2) MIMP_NEON_ROW(3)
    }
    MIMP_NEON_STORE(0) MIMP_NEON_STORE(1) MIMP_NEON_STORE(2) MIMP_NEON_STORE(3)
}

static void mimp_neon_tile_q8(int32_t *acc, const uint8_t *a, const int8_t *w, size_t k)
{
    const uint8x16_t flip = vdupq_n_u8(128);
    uint32x4_t c00, c01, c02, c03, c04, c05, c06, c07, c10, c11, c12, c13, c14, c15, c16, c17, sums = vdupq_n_u32(0);
    uint32_t sum[4];
    size_t i;
    int r;
    for (i = 0; i < k; i += 4)
        sums = vpadalq_u16(sums, vpaddlq_u8(vld1q_u8(a + 4 * i)));
    vst1q_u32(sum, vshlq_n_u32(sums, 7));
    for (r = 0; r < 4; r += 2, acc += 32) {
        c00 = c01 = c02 = c03 = c04 = c05 = c06 = c07 = c10 = c11 = c12 = c13 = c14 = c15 = c16 = c17 = vdupq_n_u32(0);
        for (i = 0; i < k; i += 4) {
            const uint8_t *panel = (const uint8_t *)w + 16 * i;
            const uint8x16_t w0 = veorq_u8(vld1q_u8(panel), flip), w1 = veorq_u8(vld1q_u8(panel + 16), flip);
            const uint8x16_t w2 = veorq_u8(vld1q_u8(panel + 32), flip), w3 = veorq_u8(vld1q_u8(panel + 48), flip);
            const uint32x2_t x = vreinterpret_u32_u8(vld1_u8(a + 4 * i + 4 * r));
            const uint8x16_t x0 = vreinterpretq_u8_u32(vdupq_lane_u32(x, 0)), x1 = vreinterpretq_u8_u32(vdupq_lane_u32(x, 1));
            MIMP_NEON_PAIRS(0, x0)
            MIMP_NEON_FENCE;
            MIMP_NEON_PAIRS(1, x1)
        }
        MIMP_NEON_STORE_PAIRS(0, acc, sum[r])
        MIMP_NEON_STORE_PAIRS(1, acc + 16, sum[r + 1])
    }
}

static void mimp_neon_halves(float *out, const uint16_t *in, size_t n)
{
    for (; n; n -= 4, out += 4, in += 4)
        vst1q_f32(out, vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(in))));
}

static const mimp_kernels mimp_kernels_neon = {
    "neon", MIM_CPU_NEON, MIM_PANEL16, 4, 4, 0, 0,
    mimp_neon_tile_f32, NULL, mimp_neon_tile_q8, mimp_neon_tile_q8, mimp_neon_tile_q8, NULL, NULL, NULL,
    MIMP_Q4(mimp_scalar_unpack_q4), NULL, mimp_neon_halves,
    MIMP_ROWS_OF(neon)
};

#ifdef MIMP_DOTPROD
/* ---- NEON with dotprod: 8 x 16 bytes ---- */

/* udot adds the four products of a quad in 32 bits; weights go in as w + 128, as above. Eight channels at a time: sixteen
 * accumulators (row r, channels in fours). Sixteen udot to two eor and three loads: the pipes for udot, two or four, bound it. */
#define MIMP_8(STEP) STEP(0) STEP(1) STEP(2) STEP(3) STEP(4) STEP(5) STEP(6) STEP(7)
#define MIMP_DOTPROD_START(r) c##r = d##r = vdupq_n_u32(0u - 128 * sum[r]);
#define MIMP_DOTPROD_QUAD(r) \
    c##r = vdotq_laneq_u32(c##r, w0, r < 4 ? x0 : x1, r % 4); \
    d##r = vdotq_laneq_u32(d##r, w1, r < 4 ? x0 : x1, r % 4);
#define MIMP_DOTPROD_STORE(r) \
    vst1q_s32(acc + 16 * r, vreinterpretq_s32_u32(c##r)); \
    vst1q_s32(acc + 16 * r + 4, vreinterpretq_s32_u32(d##r));
MIMP_TARGET("arch=armv8.2-a+dotprod") static void mimp_dotprod_tile_q8(int32_t *acc, const uint8_t *a, const int8_t *w, size_t k)
{
    const uint8x16_t ones = vdupq_n_u8(1), flip = vdupq_n_u8(128);
    uint32x4_t c0, c1, c2, c3, c4, c5, c6, c7, d0, d1, d2, d3, d4, d5, d6, d7;
    uint32_t sum[8];
    size_t i;
    int half;
    c0 = c1 = vdupq_n_u32(0);
    for (i = 0; i < k; i += 4) {
        c0 = vdotq_u32(c0, vld1q_u8(a + 8 * i), ones);
        c1 = vdotq_u32(c1, vld1q_u8(a + 8 * i + 16), ones);
    }
    vst1q_u32(sum, c0);
    vst1q_u32(sum + 4, c1);
    for (half = 0; half < 2; half++, acc += 8, w += 32) {
        MIMP_8(MIMP_DOTPROD_START)
        for (i = 0; i < k; i += 4) {
            const uint8x16_t x0 = vld1q_u8(a + 8 * i), x1 = vld1q_u8(a + 8 * i + 16);
            const uint8x16_t w0 = veorq_u8(vreinterpretq_u8_s8(vld1q_s8(w + 16 * i)), flip);
            const uint8x16_t w1 = veorq_u8(vreinterpretq_u8_s8(vld1q_s8(w + 16 * i + 16)), flip);
            MIMP_8(MIMP_DOTPROD_QUAD)
        }
        MIMP_8(MIMP_DOTPROD_STORE)
    }
}

static const mimp_kernels mimp_kernels_dotprod = {
    "dotprod", MIM_CPU_DOTPROD, MIM_PANEL16, 4, 8, 0, 0,
    mimp_neon_tile_f32, NULL, mimp_dotprod_tile_q8, mimp_dotprod_tile_q8, mimp_dotprod_tile_q8, NULL, NULL, NULL,
    MIMP_Q4(mimp_scalar_unpack_q4), NULL, mimp_neon_halves,
    MIMP_ROWS_OF(neon)
};
#endif

#ifdef MIMP_I8MM
/* ---- NEON with i8mm: 8 x 16 bytes ---- */

/* usmmla multiplies two rows by two channels over eight k, unsigned by signed, in 32 bits: exact for any bytes. trn puts the
 * quads of two rows, or channels, that are two apart behind each other. Eight channels at a time: sixteen accumulators (rows p
 * and p + 2, channels q and q + 2). Sixteen usmmla of 32 products to eight trn and four pairs of loads: the pipes bound it. */
#define MIMP_I8MM_4(STEP, p) STEP(p, 0) STEP(p, 1) STEP(p, 2) STEP(p, 3)
#define MIMP_I8MM_16(STEP) MIMP_I8MM_4(STEP, 0) MIMP_I8MM_4(STEP, 1) MIMP_I8MM_4(STEP, 2) MIMP_I8MM_4(STEP, 3)
#define MIMP_I8MM_ZERO(p, q) c##p##q = vdupq_n_s32(0);
#define MIMP_I8MM_MULTIPLY(p, q) c##p##q = vusmmlaq_s32(c##p##q, x##p, w##q);
#define MIMP_I8MM_STORE(p, r) /* rows r and r + 2 */ \
    vst1q_s32(acc + 16 * (r), vzip1q_s32(c##p##0, c##p##1)); \
    vst1q_s32(acc + 16 * (r) + 4, vzip1q_s32(c##p##2, c##p##3)); \
    vst1q_s32(acc + 16 * (r) + 32, vzip2q_s32(c##p##0, c##p##1)); \
    vst1q_s32(acc + 16 * (r) + 36, vzip2q_s32(c##p##2, c##p##3));
MIMP_TARGET("arch=armv8.2-a+i8mm") static void mimp_i8mm_tile_q8(int32_t *acc, const uint8_t *a, const int8_t *w, size_t k)
{
    int32x4_t c00, c01, c02, c03, c10, c11, c12, c13, c20, c21, c22, c23, c30, c31, c32, c33;
    size_t i;
    int half;
    for (half = 0; half < 2; half++, acc += 8, w += 32) {
        MIMP_I8MM_16(MIMP_I8MM_ZERO)
        for (i = 0; i < k; i += 8) {
            const uint32_t *rows = (const uint32_t *)(const void *)(a + 8 * i);
            const int32_t *panel = (const int32_t *)(const void *)(w + 16 * i);
            const uint32x4_t xa = vld1q_u32(rows), xb = vld1q_u32(rows + 4), xc = vld1q_u32(rows + 8), xd = vld1q_u32(rows + 12);
            const int32x4_t wa = vld1q_s32(panel), wb = vld1q_s32(panel + 4), wc = vld1q_s32(panel + 16), wd = vld1q_s32(panel + 20);
            const uint8x16_t x0 = vreinterpretq_u8_u32(vtrn1q_u32(xa, xc)), x1 = vreinterpretq_u8_u32(vtrn2q_u32(xa, xc));
            const uint8x16_t x2 = vreinterpretq_u8_u32(vtrn1q_u32(xb, xd)), x3 = vreinterpretq_u8_u32(vtrn2q_u32(xb, xd));
            const int8x16_t w0 = vreinterpretq_s8_s32(vtrn1q_s32(wa, wc)), w1 = vreinterpretq_s8_s32(vtrn2q_s32(wa, wc));
            const int8x16_t w2 = vreinterpretq_s8_s32(vtrn1q_s32(wb, wd)), w3 = vreinterpretq_s8_s32(vtrn2q_s32(wb, wd));
            MIMP_I8MM_16(MIMP_I8MM_MULTIPLY)
        }
        MIMP_I8MM_STORE(0, 0) MIMP_I8MM_STORE(1, 1) MIMP_I8MM_STORE(2, 4) MIMP_I8MM_STORE(3, 5)
    }
}

static const mimp_kernels mimp_kernels_i8mm = {
    "i8mm", MIM_CPU_I8MM, MIM_PANEL16, 4, 8, 0, 0,
    mimp_neon_tile_f32, NULL, mimp_i8mm_tile_q8, mimp_i8mm_tile_q8, mimp_i8mm_tile_q8, NULL, NULL, NULL,
    MIMP_Q4(mimp_scalar_unpack_q4), NULL, mimp_neon_halves,
    MIMP_ROWS_OF(neon)
};
#endif
#endif

#ifdef MIMP_SIMD128
/* ---- wasm SIMD128: 4 x 16 floats, 4 x 16 bytes ---- */

#define MIMP_V(x) mimp_simd128_##x
MIMP_ROW_OPS(simd128, MIMP_V, )
#undef MIMP_V

/* Eight channels at a time: eight accumulators, which with weights and rows fit the sixteen registers of an x86 host. A product
 * and a sum are two instructions: there is no fused one. */
#define MIMP_4(STEP) STEP(0) STEP(1) STEP(2) STEP(3)
#define MIMP_SIMD128_ZERO(r) c##r = d##r = wasm_i32x4_const_splat(0);
#define MIMP_SIMD128_ROW(r) \
    x = wasm_v128_load32_splat(a + 4 * i + r); \
    c##r = wasm_f32x4_add(c##r, wasm_f32x4_mul(x, w0)); \
    d##r = wasm_f32x4_add(d##r, wasm_f32x4_mul(x, w1));
#define MIMP_SIMD128_STORE(r) \
    wasm_v128_store(acc + 16 * r, c##r); \
    wasm_v128_store(acc + 16 * r + 4, d##r);
static void mimp_simd128_tile_f32(float *acc, const float *a, const float *w, size_t k)
{
    v128_t c0, c1, c2, c3, d0, d1, d2, d3, x;
    size_t i;
    int half;
    for (half = 0; half < 2; half++, acc += 8, w += 8) {
        MIMP_4(MIMP_SIMD128_ZERO)
        for (i = 0; i < k; i++) {
            const v128_t w0 = wasm_v128_load(w + 16 * i), w1 = wasm_v128_load(w + 16 * i + 4);
            MIMP_4(MIMP_SIMD128_ROW)
        }
        MIMP_4(MIMP_SIMD128_STORE)
    }
}

/* i32x4.dot_i16x8_s adds pairs of products in 32 bits. The even and the odd bytes of four quads, widened where they are, make
 * pairs that belong to one channel each, so any bytes are exact and nothing is left to fold. Eight channels of four rows: 16
 * dot products and as many sums to 18 instructions that load and widen. */
#define MIMP_SIMD128_QUAD(r) \
    x = wasm_v128_load32_splat(a + 4 * i + 4 * r); \
    even = wasm_v128_and(x, wasm_i16x8_const_splat(255)); \
    odd = wasm_u16x8_shr(x, 8); \
    c##r = wasm_i32x4_add(c##r, wasm_i32x4_add(wasm_i32x4_dot_i16x8(even, e0), wasm_i32x4_dot_i16x8(odd, o0))); \
    d##r = wasm_i32x4_add(d##r, wasm_i32x4_add(wasm_i32x4_dot_i16x8(even, e1), wasm_i32x4_dot_i16x8(odd, o1)));
static void mimp_simd128_tile_q8(int32_t *acc, const uint8_t *a, const int8_t *w, size_t k)
{
    v128_t c0, c1, c2, c3, d0, d1, d2, d3, x, even, odd;
    size_t i;
    int half;
    for (half = 0; half < 2; half++, acc += 8, w += 32) {
        MIMP_4(MIMP_SIMD128_ZERO)
        for (i = 0; i < k; i += 4) {
            const v128_t w0 = wasm_v128_load(w + 16 * i), w1 = wasm_v128_load(w + 16 * i + 16);
            const v128_t e0 = wasm_i16x8_shr(wasm_i16x8_shl(w0, 8), 8), o0 = wasm_i16x8_shr(w0, 8);
            const v128_t e1 = wasm_i16x8_shr(wasm_i16x8_shl(w1, 8), 8), o1 = wasm_i16x8_shr(w1, 8);
            MIMP_4(MIMP_SIMD128_QUAD)
        }
        MIMP_4(MIMP_SIMD128_STORE)
    }
}

/* Exponent and mantissa moved to a float's, times 2^112; infinity and NaN get theirs back. */
static void mimp_simd128_halves(float *out, const uint16_t *in, size_t n)
{
    for (; n; n -= 4, out += 4, in += 4) {
        const v128_t h = wasm_u32x4_load16x4(in), magnitude = wasm_i32x4_shl(wasm_v128_and(h, wasm_i32x4_const_splat(0x7fff)), 13);
        const v128_t beyond = wasm_v128_and(wasm_i32x4_gt(magnitude, wasm_i32x4_const_splat(0x0f7fffff)), wasm_i32x4_const_splat(0x7f800000));
        const v128_t scaled = wasm_f32x4_mul(magnitude, wasm_i32x4_const_splat(0x77800000));
        const v128_t sign = wasm_i32x4_shl(wasm_v128_and(h, wasm_i32x4_const_splat(0x8000)), 16);
        wasm_v128_store(out, wasm_v128_or(wasm_v128_or(scaled, beyond), sign));
    }
}

static const mimp_kernels mimp_kernels_simd128 = {
    "simd128", MIM_CPU_SIMD128, MIM_PANEL16, 4, 4, 0, 0,
    mimp_simd128_tile_f32, NULL, mimp_simd128_tile_q8, mimp_simd128_tile_q8, mimp_simd128_tile_q8, NULL, NULL, NULL,
    MIMP_Q4(mimp_scalar_unpack_q4), NULL, mimp_simd128_halves,
    MIMP_ROWS_OF(simd128)
};
#endif

#ifdef MIMP_RVV
/* ---- RVV 1.0: 6 x 16 floats and 4 x 16 bytes with 128 bits, 8 x 16 with more ---- */

/* With 128 bits six sums and the weights take 28 registers. */
#define MIMP_RVV_4(STEP, M) STEP(0, M) STEP(1, M) STEP(2, M) STEP(3, M)
#define MIMP_RVV_6(STEP, M) MIMP_RVV_4(STEP, M) STEP(4, M) STEP(5, M)
#define MIMP_RVV_8(STEP, M) MIMP_RVV_6(STEP, M) STEP(6, M) STEP(7, M)
#define MIMP_RVV_ZERO(r, M) vfloat32##M##_t c##r = __riscv_vfmv_v_f_f32##M(0, 16);
#define MIMP_RVV_FUSED(r, M) c##r = __riscv_vfmacc_vf_f32##M(c##r, a[r], x, 16);
#define MIMP_RVV_STORE(r, M) __riscv_vse32_v_f32##M(acc + 16 * r, c##r, 16);
#define MIMP_RVV_TILE_F32(name, M, ROWS, rows) \
    static void name(float *acc, const float *a, const float *w, size_t k) \
    { \
        ROWS(MIMP_RVV_ZERO, M) \
        for (; k; k--, a += rows, w += 16) { \
            const vfloat32##M##_t x = __riscv_vle32_v_f32##M(w, 16); \
            ROWS(MIMP_RVV_FUSED, M) \
        } \
        ROWS(MIMP_RVV_STORE, M) \
    }

/* vwmacc adds 16-bit products of a byte of the row and sixteen weights in 32 bits: exact for any bytes, sixteen products an
 * instruction, at the rate of floats. The four weights of a quad are taken apart by shifts, once for all rows; segment loads
 * would do the same, and on some machines take as long as the products. */
#define MIMP_RVV_ZEROI(r, M) vint32##M##_t c##r = __riscv_vmv_v_x_i32##M(0, 16);
#define MIMP_RVV_QUAD(r, M) \
    c##r = __riscv_vwmacc_vx_i32##M(c##r, a[4 * r], w0, 16); \
    c##r = __riscv_vwmacc_vx_i32##M(c##r, a[4 * r + 1], w1, 16); \
    c##r = __riscv_vwmacc_vx_i32##M(c##r, a[4 * r + 2], w2, 16); \
    c##r = __riscv_vwmacc_vx_i32##M(c##r, a[4 * r + 3], w3, 16);
#define MIMP_RVV_STOREI(r, M) __riscv_vse32_v_i32##M(acc + 16 * r, c##r, 16);
#define MIMP_RVV_TILE_Q8(name, M, H, ROWS, rows) \
    static void name(int32_t *acc, const uint8_t *a, const int8_t *w, size_t k) \
    { \
        ROWS(MIMP_RVV_ZEROI, M) \
        for (; k; k -= 4, a += 4 * rows, w += 64) { \
            const vint32##M##_t x = __riscv_vle32_v_i32##M((const int32_t *)(const void *)w, 16); \
            const vint16##H##_t low = __riscv_vnsra_wx_i16##H(x, 0, 16), high = __riscv_vnsra_wx_i16##H(x, 16, 16); \
            const vint16##H##_t w0 = __riscv_vsra_vx_i16##H(__riscv_vsll_vx_i16##H(low, 8, 16), 8, 16); \
            const vint16##H##_t w2 = __riscv_vsra_vx_i16##H(__riscv_vsll_vx_i16##H(high, 8, 16), 8, 16); \
            const vint16##H##_t w1 = __riscv_vsra_vx_i16##H(low, 8, 16), w3 = __riscv_vsra_vx_i16##H(high, 8, 16); \
            ROWS(MIMP_RVV_QUAD, M) \
        } \
        ROWS(MIMP_RVV_STOREI, M) \
    }

/* Exponent and mantissa moved to a float's, times 2^112; infinity and NaN get theirs back. */
#define MIMP_RVV_HALVES16(name, M, H, MASK) \
    static void name(float *out, const uint16_t *in, size_t n) \
    { \
        for (; n; n -= 16, out += 16, in += 16) { \
            const vuint32##M##_t h = __riscv_vzext_vf2_u32##M(__riscv_vle16_v_u16##H(in, 16), 16); \
            const vuint32##M##_t magnitude = __riscv_vsll_vx_u32##M(__riscv_vand_vx_u32##M(h, 0x7fff, 16), 13, 16); \
            const vuint32##M##_t sign = __riscv_vsll_vx_u32##M(__riscv_vand_vx_u32##M(h, 0x8000, 16), 16, 16); \
            const vfloat32##M##_t scaled = __riscv_vfmul_vf_f32##M(__riscv_vreinterpret_v_u32##M##_f32##M(magnitude), \
                                                                  5.192296858534828e33f, 16); \
            vuint32##M##_t x = __riscv_vor_vv_u32##M(__riscv_vreinterpret_v_f32##M##_u32##M(scaled), sign, 16); \
            x = __riscv_vor_vx_u32##M##_mu(__riscv_vmsgtu_vx_u32##M##_##MASK(magnitude, 0x0f7fffff, 16), x, x, 0x7f800000, 16); \
            __riscv_vse32_v_u32##M((uint32_t *)(void *)out, x, 16); \
        } \
    }

#define MIMP_V(x) mimp_rvv128_##x
MIMP_ROW_OPS(rvv128, MIMP_V, )
#undef MIMP_V
#define MIMP_V(x) mimp_rvv256_##x
MIMP_ROW_OPS(rvv256, MIMP_V, )
#undef MIMP_V
#define MIMP_V(x) mimp_rvv512_##x
MIMP_ROW_OPS(rvv512, MIMP_V, )
#undef MIMP_V
MIMP_RVV_TILE_F32(mimp_rvv128_tile_f32, m4, MIMP_RVV_6, 6)
MIMP_RVV_TILE_F32(mimp_rvv256_tile_f32, m2, MIMP_RVV_8, 8)
MIMP_RVV_TILE_F32(mimp_rvv512_tile_f32, m1, MIMP_RVV_8, 8)
MIMP_RVV_TILE_Q8(mimp_rvv128_tile_q8, m4, m2, MIMP_RVV_4, 4)
MIMP_RVV_TILE_Q8(mimp_rvv256_tile_q8, m2, m1, MIMP_RVV_8, 8)
MIMP_RVV_TILE_Q8(mimp_rvv512_tile_q8, m1, mf2, MIMP_RVV_8, 8)
MIMP_RVV_HALVES16(mimp_rvv128_halves, m4, m2, b8)
MIMP_RVV_HALVES16(mimp_rvv256_halves, m2, m1, b16)
MIMP_RVV_HALVES16(mimp_rvv512_halves, m1, mf2, b32)

static const mimp_kernels mimp_kernels_rvv128 = {
    "rvv128", MIM_CPU_RVV128, MIM_PANEL16, 6, 4, 0, 0,
    mimp_rvv128_tile_f32, NULL, mimp_rvv128_tile_q8, mimp_rvv128_tile_q8, mimp_rvv128_tile_q8, NULL, NULL, NULL,
    MIMP_Q4(mimp_scalar_unpack_q4), NULL, mimp_rvv128_halves,
    MIMP_ROWS_OF(rvv128)
};
static const mimp_kernels mimp_kernels_rvv256 = {
    "rvv256", MIM_CPU_RVV256, MIM_PANEL16, 8, 8, 0, 0,
    mimp_rvv256_tile_f32, NULL, mimp_rvv256_tile_q8, mimp_rvv256_tile_q8, mimp_rvv256_tile_q8, NULL, NULL, NULL,
    MIMP_Q4(mimp_scalar_unpack_q4), NULL, mimp_rvv256_halves,
    MIMP_ROWS_OF(rvv256)
};
static const mimp_kernels mimp_kernels_rvv512 = {
    "rvv512", MIM_CPU_RVV512, MIM_PANEL16, 8, 8, 0, 0,
    mimp_rvv512_tile_f32, NULL, mimp_rvv512_tile_q8, mimp_rvv512_tile_q8, mimp_rvv512_tile_q8, NULL, NULL, NULL,
    MIMP_Q4(mimp_scalar_unpack_q4), NULL, mimp_rvv512_halves,
    MIMP_ROWS_OF(rvv512)
};
#endif

/* ---- the table, best first, and that of MIM_PAIRS16 ---- */

static const mimp_kernels *const mimp_table[] = {
#ifdef MIMP_X86
#ifdef MIMP_AMX
    &mimp_kernels_amx,
#endif
#ifndef MIM_NO_AVX512
    &mimp_kernels_avx512,
    &mimp_kernels_avx512bw,
#endif
    &mimp_kernels_avxvnni,
    &mimp_kernels_avx2,
#endif
#ifdef MIMP_I8MM
    &mimp_kernels_i8mm,
#endif
#ifdef MIMP_DOTPROD
    &mimp_kernels_dotprod,
#endif
#ifdef MIMP_NEON
    &mimp_kernels_neon,
#endif
#ifdef MIMP_NEON32
    &mimp_kernels_neon32,
#endif
#ifdef MIMP_SIMD128
    &mimp_kernels_simd128,
#endif
#ifdef MIMP_RVV
    &mimp_kernels_rvv512,
    &mimp_kernels_rvv256,
    &mimp_kernels_rvv128,
#endif
#ifdef MIMP_DSP
    &mimp_kernels_dsp,
#endif
#ifdef MIMP_SCALAR
    &mimp_kernels_scalar
#endif
};
#define MIMP_TABLE (sizeof mimp_table / sizeof *mimp_table)

static const mimp_kernels *const mimp_table_pairs[] = {
#ifdef MIMP_MVE
    &mimp_kernels_mve,
#endif
    &mimp_kernels_scalar_pairs
};
#define MIMP_TABLE_PAIRS (sizeof mimp_table_pairs / sizeof *mimp_table_pairs)

#ifdef MIMP_X86
static void mimp_cpuid(uint32_t leaf, uint32_t part, uint32_t r[4])
{
#ifdef _MSC_VER
    int v[4];
    __cpuidex(v, (int)leaf, (int)part);
    r[0] = (uint32_t)v[0], r[1] = (uint32_t)v[1], r[2] = (uint32_t)v[2], r[3] = (uint32_t)v[3];
#else
    __asm__ volatile("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3]) : "a"(leaf), "c"(part));
#endif
}

static uint32_t mimp_xcr0(void)
{
#ifdef _MSC_VER
    return (uint32_t)_xgetbv(0);
#else
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0u));
    return low;
#endif
}
#endif

#if defined(MIMP_DOTPROD) || defined(MIMP_I8MM)
/* What the operating system says of the machine's extensions; where it is not asked, what the compiler was told. */
static int mimp_arm_extension(uint32_t cpu)
{
#if defined(__linux__) && __STDC_HOSTED__
    return (cpu == MIM_CPU_I8MM ? getauxval(AT_HWCAP2) >> 13 & 1 : getauxval(AT_HWCAP) >> 20 & 1) != 0;
#elif defined(__APPLE__)
    int has = 0;
    size_t bytes = sizeof has;
    return !sysctlbyname(cpu == MIM_CPU_I8MM ? "hw.optional.arm.FEAT_I8MM" : "hw.optional.arm.FEAT_DotProd", &has, &bytes, NULL, 0) && has;
#else
#ifdef __ARM_FEATURE_MATMUL_INT8
    if (cpu == MIM_CPU_I8MM)
        return 1;
#endif
#ifdef __ARM_FEATURE_DOTPROD
    if (cpu == MIM_CPU_DOTPROD)
        return 1;
#endif
    return 0;
#endif
}
#endif

#ifdef MIMP_X86
/* Linux gives a process the large state of the tiles when it asks: arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILE_DATA). */
static int mimp_amx_permitted(void)
{
#ifdef MIMP_AMX
    long result = 158;
    __asm__ volatile("syscall" : "+a"(result) : "D"(0x1023L), "S"(18L) : "rcx", "r11", "memory");
    return result == 0;
#else
    return 0;
#endif
}
#endif

/* Whether the machine and its operating system run this level. */
static int mimp_available(uint32_t cpu)
{
#ifdef MIMP_X86
    if (cpu == MIM_CPU_AVX2 || cpu == MIM_CPU_AVXVNNI || cpu == MIM_CPU_AVX512BW || cpu == MIM_CPU_AVX512 || cpu == MIM_CPU_AMX) {
        const uint32_t fma_osxsave_avx_f16c = 1u << 12 | 1u << 27 | 1u << 28 | 1u << 29, avx2 = 1u << 5, vnni = 1u << 11;
        const uint32_t f_dq_bw_vl = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31, amx_tile_int8 = 1u << 24 | 1u << 25, avxvnni = 1u << 4;
        uint32_t r[4], more[4], state;
        mimp_cpuid(0, 0, r);
        if (r[0] < 7)
            return 0;
        mimp_cpuid(1, 0, r);
        if ((r[2] & fma_osxsave_avx_f16c) != fma_osxsave_avx_f16c)
            return 0;
        state = mimp_xcr0();
        mimp_cpuid(7, 0, r);
        if ((state & 6) != 6 || !(r[1] & avx2))
            return 0;
        if (cpu == MIM_CPU_AVX2)
            return 1;
        if (cpu == MIM_CPU_AVXVNNI) {
            mimp_cpuid(7, 1, more);
            return r[0] >= 1 && (more[0] & avxvnni);
        }
        if ((state & 0xe6) != 0xe6 || (r[1] & f_dq_bw_vl) != f_dq_bw_vl)
            return 0;
        if (cpu != MIM_CPU_AMX)
            return cpu == MIM_CPU_AVX512BW || (r[2] & vnni);
        return (state & 0x60000) == 0x60000 && (r[3] & amx_tile_int8) == amx_tile_int8 && mimp_amx_permitted();
    }
#endif
#if defined(MIMP_DOTPROD) || defined(MIMP_I8MM)
    if (cpu == MIM_CPU_DOTPROD || cpu == MIM_CPU_I8MM)
        return mimp_arm_extension(cpu);
#endif
#ifdef MIMP_RVV
    if (cpu >= MIM_CPU_RVV128 && cpu <= MIM_CPU_RVV512)
        return __riscv_vsetvlmax_e8m1() >= (size_t)16 << (cpu - MIM_CPU_RVV128);
#endif
    (void)cpu;
    return 1;       /* the rest of the table is part of its architecture */
}

static const mimp_kernels *mimp_choose(uint32_t cpu, uint32_t layout)
{
    const mimp_kernels *const *table = MIMP_PAIRS && layout == MIM_PAIRS16 ? mimp_table_pairs : mimp_table;
    const size_t count = MIMP_PAIRS && layout == MIM_PAIRS16 ? MIMP_TABLE_PAIRS : MIMP_TABLE;
    size_t i;
    for (i = 0; i < count; i++)
        if ((cpu == MIM_CPU_BEST || cpu == table[i]->cpu) && mimp_available(table[i]->cpu))
            return table[i];
    return NULL;
}

MIMP_PUBLIC const char *mim_cpu_name(uint32_t cpu)
{
    size_t i;
    for (i = 0; i < MIMP_TABLE; i++)
        if (mimp_table[i]->cpu == cpu)
            return mimp_table[i]->name;
    for (i = 0; MIMP_PAIRS && i < MIMP_TABLE_PAIRS; i++)
        if (mimp_table_pairs[i]->cpu == cpu)
            return mimp_table_pairs[i]->name;
    return NULL;
}

/* =======================================================================================
 * >>arena
 * ===================================================================================== */

/* A bump allocator over the caller's memory. Without a base it only counts: the planner and the
 * encoder call the same functions to lay memory out, so what is planned is what is used. Counting is
 * in 64 bits, so that a plan beyond a 32-bit machine is seen as such. */
typedef struct mimp_arena {
    uint8_t *base;
    uint64_t used, high;
} mimp_arena;

static const uint64_t mimp_most_memory = (uint64_t)((size_t)-1 / 2);

static void *mimp_take(mimp_arena *arena, uint64_t bytes)
{
    void *p = arena->base ? arena->base + (size_t)arena->used : NULL;
    arena->used += (bytes + 15) & ~(uint64_t)15;
    if (arena->used > arena->high)
        arena->high = arena->used;
    return p;
}

#ifndef MIM_NO_FLOAT
static float *mimp_floats(mimp_arena *arena, uint64_t n)
{
    return (float *)mimp_take(arena, n * 4);
}
#endif

/* =======================================================================================
 * >>resize: Pillow's two passes over u8 pixels, a row at a time
 *
 * Pillow 13 (libImaging/Resample.c) filters one axis, rounds to bytes, then the other: columns
 * first, unless the height shrinks by more than twice what the width does. Weights are normalised
 * and rounded to 22 bits; Pillow has them in doubles, here they are exact fractions until then. Source
 * rows come in order and go, filtered along x (or not, in the second case), into a ring of as many
 * rows as an output row needs.
 * ===================================================================================== */

#if !defined(MIM_NO_RESIZE) || !defined(MIM_NO_FLOAT)
/* The window of one axis of an antialiased resampling: target i of `to` takes n samples from `first` on. Sample j of them lies
 * (at + j step) / unit of the filter's units from the middle. */
typedef struct mimp_window {
    int64_t at, step, unit;
    uint32_t first, n;
} mimp_window;

/* a / b in 2^-bits, rounded down, for quotients that fit and b < 2^63: bit by bit, as there is hardly a microcontroller that divides
 * 64 bits. */
static uint64_t mimp_quotient(uint64_t a, uint64_t b, uint32_t bits)
{
    uint64_t q = 0;
    for (; b <= a / 2; b *= 2)
        bits++;
    for (bits++; bits; bits--) {
        q *= 2;
        if (a >= b) {
            a -= b;
            q++;
        }
        a *= 2;
    }
    return q;
}

/* A sample's middle is at (2 j + 1) / 2, the target's at (2 i + 1) from / (2 to), and a unit is a sample or, shrinking, from / to. */
static mimp_window mimp_window_at(uint32_t i, uint32_t from, uint32_t to, uint32_t filter)
{
    const uint64_t twice = 2 * (uint64_t)to, most = mimp_max(from, to), reach = (filter == MIM_BICUBIC ? 4 : 2) * most;
    const uint64_t middle = (2 * (uint64_t)i + 1) * from, end = mimp_quotient(middle + to + reach, twice, 0);
    mimp_window w;
    w.first = middle + to > reach ? (uint32_t)mimp_quotient(middle + to - reach, twice, 0) : 0;
    w.n = (end < from ? (uint32_t)end : from) - w.first;
    w.at = (int64_t)((2 * (uint64_t)w.first + 1) * to) - (int64_t)middle;
    w.step = (int64_t)twice;
    w.unit = (int64_t)(2 * most);
    return w;
}

/* The filter at sample j, times the same number for all: what makes it whole, 2 unit^3 for BICUBIC (a = -0.5). With a unit over 2^15, from
 * 16384 samples on, six bits less, so that sums stay below 2^62; beyond 2^18, which takes strips that become longer than 131072, u is
 * rounded. */
static int64_t mimp_weight(const mimp_window *w, uint32_t j, uint32_t filter)
{
    int64_t u = w->at + j * w->step, d = w->unit, v;
    u = u < 0 ? -u : u;
    if (filter == MIM_BILINEAR)
        return u < d ? d - u : 0;
    for (; d > (int64_t)1 << 18; d >>= 1)
        u >>= 1;
    v = u < d ? (3 * u - 5 * d) * u * u + 2 * d * d * d : u < 2 * d ? ((5 * d - u) * u - 8 * d * d) * u + 4 * d * d * d : 0;
    return d > (int64_t)1 << 15 ? v >> 6 : v;
}
#endif

#ifndef MIM_NO_RESIZE
/* Most samples that a window can have, at a scale of num / den; an axis of `from` has no more. */
static uint32_t mimp_taps(uint64_t num, uint64_t den, uint32_t from, uint32_t filter)
{
    const uint64_t most = mimp_quotient((filter == MIM_BICUBIC ? 4 : 2) * (num < den ? den : num) + den - 1, den, 0);
    return most < from ? (uint32_t)most : from;
}

/* w / sum in 2^-22, halves away from 0, for |w| < 2^24 sum and sum < 2^62. */
static int32_t mimp_part(int64_t w, int64_t sum)
{
    const int32_t k = (int32_t)((mimp_quotient((uint64_t)(w < 0 ? -w : w), (uint64_t)sum, 23) + 1) / 2);
    return w < 0 ? -k : k;
}

/* One weight at least is not 0, and what is negative of a window is a small part of it. */
static void mimp_coefficients(int32_t *k, const mimp_window *w, uint32_t filter)
{
    int64_t sum = 0;
    uint32_t j;
    for (j = 0; j < w->n; j++)
        sum += mimp_weight(w, j, filter);
    for (j = 0; j < w->n; j++)
        k[j] = mimp_part(mimp_weight(w, j, filter), sum);
}

static uint8_t mimp_clip(int32_t v)
{
    v = v < 0 ? 0 : v >> 22;
    return (uint8_t)(v > 255 ? 255 : v);
}

typedef struct mimp_resizer {
    uint32_t src_width, src_height, width, height;       /* whole picture before and after */
    uint32_t left, top, out_width, out_height;           /* what of the result is wanted */
    uint32_t channels, filter;
    uint32_t vertical_first;
    uint32_t taps_x, taps_y, ring_width;
    uint32_t next;                                       /* source row to be asked for next */
    int32_t *kx;                                         /* [out_width][taps_x] */
    uint32_t *first_x;                                   /* [out_width][2]: first sample, count */
    int32_t *ky;                                         /* [taps_y] */
    uint8_t *ring;                                       /* [taps_y][ring_width * channels] */
    uint8_t *row;                                        /* [ring_width * channels] */
} mimp_resizer;

static void mimp_resizer_memory(mimp_resizer *z, mimp_arena *arena)
{
    z->kx = (int32_t *)mimp_take(arena, (uint64_t)z->out_width * z->taps_x * 4);
    z->first_x = (uint32_t *)mimp_take(arena, (uint64_t)z->out_width * 8);
    z->ky = (int32_t *)mimp_take(arena, (uint64_t)z->taps_y * 4);
    z->ring = (uint8_t *)mimp_take(arena, (uint64_t)z->taps_y * z->ring_width * z->channels);
    z->row = (uint8_t *)mimp_take(arena, (uint64_t)z->ring_width * z->channels);
}

/* Fills in what follows from the sizes. Differences are taken in 64 bits: they may be negative. */
static void mimp_resizer_shape(mimp_resizer *z)
{
    const int64_t dy = (int64_t)z->src_height - z->height, dx = (int64_t)z->src_width - z->width;
    z->vertical_first = dy > 0 && dy > 2 * dx;
    z->taps_x = mimp_taps(z->src_width, z->width, z->src_width, z->filter);
    z->taps_y = mimp_taps(z->src_height, z->height, z->src_height, z->filter);
    z->ring_width = z->vertical_first ? z->src_width : z->out_width;
    z->next = 0;
}

static void mimp_resizer_start(mimp_resizer *z)
{
    uint32_t x;
    for (x = 0; x < z->out_width; x++) {
        const mimp_window w = mimp_window_at(x + z->left, z->src_width, z->width, z->filter);
        mimp_coefficients(z->kx + (size_t)x * z->taps_x, &w, z->filter);
        z->first_x[2 * x] = w.first;
        z->first_x[2 * x + 1] = w.n;
    }
}

static void mimp_resize_along_x(const mimp_resizer *z, uint8_t *out, const uint8_t *in)
{
    uint32_t x, c, j;
    for (x = 0; x < z->out_width; x++) {
        const int32_t *k = z->kx + (size_t)x * z->taps_x;
        const uint8_t *p = in + (size_t)z->first_x[2 * x] * z->channels;
        for (c = 0; c < z->channels; c++) {
            int32_t sum = 1 << 21;      /* 255 * sum |k| < 2^31: the weights' absolute sum is under 1.5 * 2^22 */
            for (j = 0; j < z->first_x[2 * x + 1]; j++)
                sum += p[j * z->channels + c] * k[j];
            *out++ = mimp_clip(sum);
        }
    }
}

/* Output row y (from the top of what is wanted). pull(user, y, row) gives source row y, in ascending order. */
static int mimp_resize_row(mimp_resizer *z, uint32_t y, uint8_t *out, int (*pull)(void *, uint32_t, uint8_t **), void *user)
{
    const mimp_window w = mimp_window_at(y + z->top, z->src_height, z->height, z->filter);
    const size_t bytes = (size_t)z->ring_width * z->channels;
    uint8_t *sum_row = z->vertical_first ? z->row : out;
    uint32_t x, j;
    for (; z->next < w.first + w.n; z->next++) {
        uint8_t *slot = z->ring + bytes * (z->next % z->taps_y), *row;
        if (pull(user, z->next, &row))
            return 1;
        if (z->next < w.first)
            continue;
        if (z->vertical_first)
            MIM_MEMCPY(slot, row, bytes);
        else
            mimp_resize_along_x(z, slot, row);
    }
    mimp_coefficients(z->ky, &w, z->filter);
    for (x = 0; x < bytes; x++) {
        int32_t sum = 1 << 21;
        for (j = 0; j < w.n; j++)
            sum += z->ring[bytes * ((w.first + j) % z->taps_y) + x] * z->ky[j];
        sum_row[x] = mimp_clip(sum);
    }
    if (z->vertical_first)
        mimp_resize_along_x(z, out, sum_row);
    return 0;
}

typedef struct mimp_pixels {
    const uint8_t *data;
    size_t stride;
} mimp_pixels;

static int mimp_pull_pixels(void *user, uint32_t y, uint8_t **row)
{
    const mimp_pixels *p = (const mimp_pixels *)user;
    uintptr_t at = (uintptr_t)(p->data + y * p->stride);
    *row = (uint8_t *)at;
    return 0;
}

static int mimp_resizer_init(mimp_resizer *z, uint32_t dst_width, uint32_t dst_height, uint32_t src_width, uint32_t src_height,
                             uint32_t channels, uint32_t filter)
{
    const uint32_t most = 65535;
    if (!dst_width || !dst_height || !src_width || !src_height || dst_width > most || dst_height > most || src_width > most
        || src_height > most || (channels != 1 && channels != 3) || (filter != MIM_BILINEAR && filter != MIM_BICUBIC))
        return 0;
    MIM_MEMSET(z, 0, sizeof *z);
    z->src_width = src_width, z->src_height = src_height;
    z->width = z->out_width = dst_width;
    z->height = z->out_height = dst_height;
    z->channels = channels;
    z->filter = filter;
    mimp_resizer_shape(z);
    return 1;
}

MIMP_PUBLIC size_t mim_resize_bytes(uint32_t dst_width, uint32_t dst_height, uint32_t src_width, uint32_t src_height,
                                    uint32_t channels, uint32_t filter)
{
    mimp_resizer z;
    mimp_arena arena = { NULL, 0, 0 };
    if (!mimp_resizer_init(&z, dst_width, dst_height, src_width, src_height, channels, filter))
        return 0;
    mimp_resizer_memory(&z, &arena);
    return arena.high > mimp_most_memory ? 0 : (size_t)arena.high;
}

MIMP_PUBLIC mim_status mim_resize(void *dst, uint32_t dst_width, uint32_t dst_height, const void *src, uint32_t src_width,
                                  uint32_t src_height, size_t src_stride, uint32_t channels, uint32_t filter, void *scratch)
{
    mimp_resizer z;
    mimp_arena arena = { NULL, 0, 0 };
    mimp_pixels pixels;
    uint32_t y;
    if (!dst || !src || !scratch || !mimp_resizer_init(&z, dst_width, dst_height, src_width, src_height, channels, filter))
        return MIM_ERR_ARGUMENT;
    if (!mim_resize_bytes(dst_width, dst_height, src_width, src_height, channels, filter))
        return MIM_ERR_LIMIT;
    if ((uintptr_t)scratch & 15)
        return MIM_ERR_ALIGNMENT;
    pixels.data = (const uint8_t *)src;
    pixels.stride = src_stride ? src_stride : (size_t)src_width * channels;
    arena.base = (uint8_t *)scratch;
    mimp_resizer_memory(&z, &arena);
    mimp_resizer_start(&z);
    for (y = 0; y < dst_height; y++)
        mimp_resize_row(&z, y, (uint8_t *)dst + (size_t)y * dst_width * channels, mimp_pull_pixels, &pixels);
    return MIM_OK;
}
#endif

/* =======================================================================================
 * >>input: from the caller's picture to rows, normalised where the model computes in floats
 * ===================================================================================== */

#ifndef MIM_NO_RESIZE
/* Size of the resized picture before the crop, for a picture of w x h. SHORT_EDGE: the edge, given for the trained
 * size, grows with the input; for inputs that are not square it is the size that just covers both sides. PAD: in double, as the
 * reference has it, which rounds halves. */
static void mimp_fit(const mim_blob_header *h, uint32_t height, uint32_t width, uint32_t src_h, uint32_t src_w,
                     uint32_t *new_h, uint32_t *new_w)
{
    const uint32_t edge = h->resize_edge, base = mimp_min(h->image_height, h->image_width);
    *new_h = height;
    *new_w = width;
    if (h->resize == MIM_RESIZE_SHORT_EDGE) {
        const uint32_t eh = height * edge / base, ew = width * edge / base;     /* of 2^28 at most */
        const int high = (uint64_t)src_w * eh <= (uint64_t)src_h * ew;
        const uint64_t v = mimp_quotient((uint64_t)(high ? ew : eh) * (high ? src_h : src_w), high ? src_w : src_h, 0);
        const uint32_t longer = (uint32_t)(v > 0xffffffffu ? 0xffffffffu : v);
        *new_h = high ? longer : eh;
        *new_w = high ? ew : longer;
    }
#ifndef MIM_NO_FLOAT
    if (h->resize == MIM_RESIZE_PAD) {
        const int wide = (uint64_t)src_w * height >= (uint64_t)src_h * width;
        const double scale = wide ? (double)width / src_w : (double)height / src_h;
        *new_h = mimp_min((uint32_t)(src_h * scale + 0.5), height);
        *new_w = mimp_min((uint32_t)(src_w * scale + 0.5), width);
    }
#endif
}

/* (size - crop) / 2, halves to even: the centre crop's offset. */
static uint32_t mimp_center(uint32_t size, uint32_t crop)
{
    const uint32_t d = size - crop;
    return d / 2 + (d & 1 && (d / 2) & 1);
}
#endif

typedef struct mimp_input {
    const mim_blob_header *header;
    const mim_image *image;
    uint32_t height, width;         /* of the model's input */
    uint32_t channels;              /* of the model */
    uint32_t rows, padding;         /* of a strip: pixels of a patch's kernel, zeros above the first */
    uint32_t frame;
    uint32_t absent;                /* there is no such frame: its rows are zeros */
    uint32_t next;                  /* row of the picture that the strip has not seen */
    uint32_t shown_height, shown_width;         /* of it, from the top and left, what the picture covers */
    uint32_t integer;               /* the strip is of bytes as they are; else of floats, normalised */
    uint8_t *raw;                   /* one row as the callback gives it */
    uint8_t *colors;                /* one source row in the model's channels */
    uint8_t *line;                  /* one input row in bytes */
    uint8_t *strip;                 /* [rows][channels][width] */
#ifndef MIM_NO_RESIZE
    uint32_t resized;
    mimp_resizer resizer;
#endif
#ifndef MIM_NO_FLOAT
    float   *table;                 /* [channels][256]: a byte, normalised */
#endif
} mimp_input;

static uint32_t mimp_input_size(const mimp_input *in) { return in->integer ? 1 : 4; }       /* of a number in the strip */

/* Memory for any picture of up to source_height x source_width. A session that takes u8 pictures has 1 or 3 channels. */
static void mimp_input_memory(mimp_input *in, mimp_arena *arena, const mim_session_desc *desc)
{
    const uint32_t widest = mimp_max(in->width, desc->source_width);
    const uint64_t planes = in->integer ? (uint64_t)in->width * in->channels * 4 : 0;           /* of PLANES, on their way to bytes */
    in->strip = (uint8_t *)mimp_take(arena, (uint64_t)in->rows * in->channels * in->width * mimp_input_size(in));
    if (in->channels == 1 || in->channels == 3 || planes)
        in->raw = (uint8_t *)mimp_take(arena, planes > (uint64_t)widest * 4 ? planes : (uint64_t)widest * 4);
    if (in->channels != 1 && in->channels != 3)
        return;
#ifndef MIM_NO_FLOAT
    if (!in->integer)
        in->table = mimp_floats(arena, (uint64_t)in->channels * 256);
#endif
    in->colors = (uint8_t *)mimp_take(arena, (uint64_t)widest * in->channels);
    in->line = (uint8_t *)mimp_take(arena, (uint64_t)in->width * in->channels);
#ifndef MIM_NO_RESIZE
    if (desc->source_width) {
        const mim_blob_header *h = in->header;
        mimp_resizer *z = &in->resizer;
        const uint32_t sh = desc->source_height, sw = desc->source_width;
        uint32_t full_w = in->width;
        z->filter = h->resize_filter;
        z->channels = in->channels;
        z->out_width = in->width;
        z->taps_x = mimp_taps(sw, in->width, sw, z->filter);
        z->taps_y = mimp_taps(sh, in->height, sh, z->filter);
        if (h->resize == MIM_RESIZE_SHORT_EDGE) {
            /* The scale of the covering side; the other side's is rounded down to whole pixels, so a little more. */
            const uint32_t base = mimp_min(h->image_height, h->image_width);
            const uint32_t eh = in->height * h->resize_edge / base, ew = in->width * h->resize_edge / base;
            const uint32_t least = mimp_min(eh, ew), less = least > 1 ? least - 1 : 1, more = least > 1 ? least : 2;
            const int wide = (uint64_t)sw * eh >= (uint64_t)sh * ew;
            const uint64_t num = (uint64_t)(wide ? sh : sw) * more, den = (uint64_t)(wide ? eh : ew) * less;
            z->taps_x = mimp_taps(num, den, sw, z->filter);
            z->taps_y = mimp_taps(num, den, sh, z->filter);
            full_w = ew;
        } else if (h->resize == MIM_RESIZE_PAD) {
            /* That of the side that is fitted; the other's is rounded, of one pixel and a half at worst. */
            const int wide = (uint64_t)sw * in->height >= (uint64_t)sh * in->width;
            const uint64_t num = 3 * (uint64_t)(wide ? sw : sh), den = 2 * (uint64_t)(wide ? in->width : in->height);
            z->taps_x = mimp_taps(num, den, sw, z->filter);
            z->taps_y = mimp_taps(num, den, sh, z->filter);
        }
        z->ring_width = mimp_max(in->width, mimp_min(sw, full_w + sh / 2));   /* vertical first: src_w - w < (src_h - h) / 2 */
        mimp_resizer_memory(z, arena);
    }
#endif
}

static const uint8_t mimp_pixel_bytes[] = { 3, 4, 3, 1, 2 };

/* Row y of the source in the model's channels. */
static int mimp_pull_colors(void *user, uint32_t y, uint8_t **row)
{
    mimp_input *in = (mimp_input *)user;
    const mim_image *image = in->image;
    const uint32_t size = mimp_pixel_bytes[image->format];
    const uint8_t *p = in->raw;
    uint8_t *q = in->colors;
    uint32_t x;
    if (image->pixels) {
        const size_t stride = image->stride ? image->stride : (size_t)image->width * size;
        p = (const uint8_t *)image->pixels + y * stride
            + in->frame * (image->frame_stride ? image->frame_stride : stride * image->height);
    } else if (image->read_row(image->user, in->frame * image->height + y, in->raw))
        return 1;
    for (x = 0; x < image->width; x++, p += size) {
        uint32_t r = p[0], g = r, b = r;
        if (image->format == MIM_RGB565) {
            const uint32_t v = (uint32_t)p[0] | (uint32_t)p[1] << 8;
            r = v >> 11, g = v >> 5 & 63, b = v & 31;
            r = r << 3 | r >> 2, g = g << 2 | g >> 4, b = b << 3 | b >> 2;
        } else if (size >= 3) {
            g = p[1], b = p[2];
            if (image->format == MIM_BGR8)
                r = b, b = p[0];
        }
        if (in->channels == 3)
            *q++ = (uint8_t)r, *q++ = (uint8_t)g, *q++ = (uint8_t)b;
        else        /* Rec. 601 luma in 16 bits, as Pillow's convert("L"); its weights sum to 65536, so grey stays itself */
            *q++ = (uint8_t)((r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16);
    }
    *row = in->colors;
    return 0;
}

/* Checks a picture against the session and prepares for its first row. */
static mim_status mimp_input_start(mimp_input *in, const mim_session_desc *desc)
{
    const mim_image *image = in->image;
    uint32_t resized = 0;
    in->next = 0;
    in->shown_height = in->height;
    in->shown_width = in->width;
#ifdef MIM_NO_FLOAT
    if (image->format == MIM_PLANES)
        return MIM_ERR_UNSUPPORTED;
#endif
#ifdef MIM_NO_RESIZE
    (void)desc;
#else
    resized = in->resized = image->format != MIM_PLANES && !image->exact && desc->source_width;
#endif
    if (image->format > MIM_PLANES || (!image->pixels && !image->read_row))
        return MIM_ERR_ARGUMENT;
    if (image->format != MIM_PLANES && in->channels != 1 && in->channels != 3)
        return MIM_ERR_FORMAT;
    if (!resized && (image->width != in->width || image->height != in->height))
        return MIM_ERR_SIZE;
    if (!image->width || !image->height)
        return MIM_ERR_SIZE;
#ifndef MIM_NO_FLOAT
    if (image->format != MIM_PLANES && !in->integer) {
        uint32_t c, v;
        for (c = 0; c < in->channels; c++)
            for (v = 0; v < 256; v++)
                in->table[c * 256 + v] = ((float)v / 255.0f - in->header->mean[c]) / in->header->std[c];
    }
#endif
#ifndef MIM_NO_RESIZE
    if (resized) {
        mimp_resizer *z = &in->resizer;
        uint32_t nh, nw;
        if (image->width > desc->source_width || image->height > desc->source_height)
            return MIM_ERR_MEMORY;
        mimp_fit(in->header, in->height, in->width, image->height, image->width, &nh, &nw);
        if (!nh || !nw || nh > 0x7fffffffu || nw > 0x7fffffffu)
            return MIM_ERR_SIZE;
        in->shown_height = mimp_min(nh, in->height);
        in->shown_width = mimp_min(nw, in->width);
        z->src_width = image->width, z->src_height = image->height;
        z->width = nw, z->height = nh;
        z->left = mimp_center(nw, in->shown_width);
        z->top = mimp_center(nh, in->shown_height);
        z->out_width = in->shown_width;
        z->out_height = in->shown_height;
        mimp_resizer_shape(z);
        mimp_resizer_start(z);
    }
#endif
    return MIM_OK;
}

#ifndef MIM_NO_FLOAT
/* Normalised pixels back to the bytes that they come from, halves to even; NaN to 0. */
static void mimp_pixels_of(const mimp_input *in, uint32_t channel, uint8_t *to, const float *from)
{
    const float std = in->header->std[channel], mean = in->header->mean[channel];
    uint32_t x;
    for (x = 0; x < in->width; x++) {
        float v = (from[x] * std + mean) * 255.0f;
        v = v > 0.0f ? v : 0.0f;
        v = v < 255.0f ? v : 255.0f;
        to[x] = (uint8_t)((v + MIMP_ROUND) - MIMP_ROUND);
    }
}

static int mimp_input_planes(mimp_input *in, uint32_t y, uint8_t *to)
{
    const mim_image *image = in->image;
    const uint32_t n = in->channels;
    const size_t row = (size_t)in->width * 4, stride = image->stride ? image->stride : row;
    const size_t plane = image->plane_stride ? image->plane_stride : stride * in->height;
    const size_t frame = image->frame_stride ? image->frame_stride : plane * n;
    uint32_t c;
    if (!image->pixels && image->read_row(image->user, in->frame * in->height + y, in->integer ? in->raw : to))
        return 1;
    for (c = 0; c < n && (image->pixels || in->integer); c++) {
        const uint8_t *from = image->pixels ? (const uint8_t *)image->pixels + in->frame * frame + c * plane + y * stride : in->raw + c * row;
        if (in->integer)
            mimp_pixels_of(in, c, to + (size_t)c * in->width, (const float *)(const void *)from);
        else
            MIM_MEMCPY(to + c * row, from, row);
    }
    return 0;
}
#endif

/* Row y of the input: (channels, width). */
static int mimp_input_row(mimp_input *in, uint32_t y, uint8_t *to)
{
    const uint32_t n = in->channels;
    uint8_t *line = in->line;
    uint32_t c, x;
#ifndef MIM_NO_FLOAT
    if (in->image->format == MIM_PLANES)
        return mimp_input_planes(in, y, to);
#endif
#ifndef MIM_NO_RESIZE
    if (in->resized) {
        if (mimp_resize_row(&in->resizer, y, line, mimp_pull_colors, in))
            return 1;
    } else
#endif
    if (mimp_pull_colors(in, y, &line))
        return 1;
    for (c = 0; c < n; c++) {
        const size_t first = (size_t)c * in->width;
#ifndef MIM_NO_FLOAT
        for (x = 0; x < in->shown_width && !in->integer; x++)
            ((float *)(void *)to)[first + x] = in->table[c * 256 + line[x * n + c]];
#endif
        for (x = 0; x < in->shown_width && in->integer; x++)
            to[first + x] = line[x * n + c];
    }
    return 0;
}

/* Fills the strip with the rows of patch row gy, called for gy = 0, 1, 2...; rows shared with the one before are kept. */
static int mimp_input_strip(mimp_input *in, uint32_t gy)
{
    const uint32_t ph = in->header->patch_height, keep = gy ? in->rows - ph : 0;
    const size_t row = (size_t)in->channels * in->width * mimp_input_size(in);
    uint32_t y, i;
    for (i = 0; i < keep; i++)
        MIM_MEMCPY(in->strip + i * row, in->strip + (i + ph) * row, row);
    for (y = keep; y < in->rows; y++) {
        const uint32_t at = gy * ph + y;                /* less the padding */
        if (in->shown_width < in->width || in->absent || at < in->padding || at - in->padding >= in->shown_height)
            MIM_MEMSET(in->strip + y * row, 0, row);
        if (in->absent || at < in->padding || at - in->padding >= in->shown_height)
            continue;
        if (mimp_input_row(in, in->next++, in->strip + y * row))
            return 1;
    }
    return 0;
}

/* =======================================================================================
 * >>products: a crew of tasks, packed rows, panels and the work around a leaf
 * ===================================================================================== */

/* How a tile of bytes of k columns is packed. */
typedef struct mimp_packing {
    size_t row, quad, tile;         /* bytes from row to row, from four k of a row to the next, and of a tile */
} mimp_packing;

static mimp_packing mimp_packing_of(const mimp_kernels *kernels, uint32_t k)
{
    mimp_packing p;
    p.row = kernels->row_unit ? mimp_up(k, kernels->row_unit) : 4;
    p.quad = kernels->row_unit ? 4 : 4 * kernels->rows_q8;
    p.tile = kernels->rows_q8 * (kernels->row_unit ? p.row : k);
    return p;
}

/* Room for what the leaves read: aligned as they like it, if the arena is. */
static void *mimp_take_tiles(mimp_arena *arena, const mimp_kernels *kernels, uint64_t bytes)
{
    if (kernels->row_unit)
        arena->used = (arena->used + 63) & ~(uint64_t)63;
    return mimp_take(arena, bytes);
}

/* Bytes of one panel that is unpacked before its leaf reads it; 0: it is not. */
static uint32_t mimp_unpacked_panel(const mimp_kernels *kernels, const mimp_matrix *m)
{
    if (MIMP_HAS_Q4 && m->type == MIM_Q4)
        return m->k * (kernels->tile_q4 ? 18 : 16);
#ifndef MIM_NO_FLOAT
    if (m->type == MIM_F16)
        return m->k * 64;
#endif
    return 0;
}

/* What every parallel piece of work knows. Work is shared out by task number: no counters, no locks. */
typedef struct mimp_crew {
    const mim_session *session;
    const mimp_kernels *kernels;
    uint32_t tasks;
    uint8_t *scratch;               /* [tasks][scratch_bytes] */
    uint64_t scratch_bytes;
} mimp_crew;

static void mimp_work(const mimp_crew *crew, mim_task task, void *arg)
{
    if (crew->tasks > 1)
        crew->session->desc.parallel(crew->session->desc.user, task, arg, crew->tasks);
    else
        task(arg, 0);
}

static uint8_t *mimp_scratch_bytes(const mimp_crew *crew, uint32_t task)
{
    return crew->scratch + (size_t)(task * crew->scratch_bytes);
}

static void mimp_crew_memory(mimp_crew *crew, mimp_arena *arena, const mim_session *s, uint64_t bytes)
{
    crew->session = s;
    crew->kernels = s->kernels;
    crew->tasks = s->desc.threads;
    crew->scratch_bytes = (bytes + 63) & ~(uint64_t)63;
    crew->scratch = (uint8_t *)mimp_take_tiles(arena, s->kernels, crew->scratch_bytes * crew->tasks);
}

#ifndef MIM_NO_FLOAT
/* Where the share of task i of n things begins, and that of task i - 1 ends. */
MIMP_INLINE uint32_t mimp_share(uint32_t n, uint32_t i, uint32_t tasks) { return (uint32_t)((uint64_t)n * i / tasks); }

static float *mimp_scratch(const mimp_crew *crew, uint32_t task)
{
    return (float *)(void *)mimp_scratch_bytes(crew, task);
}

/* Rows packed for a leaf: floats [tile][k][rows], or bytes [tile][k/4][rows][4] with a scale and a zero point each. */
typedef struct mimp_block {
    uint8_t *data;
    float   *scale;
    int32_t *zero;
    uint32_t bytes;                 /* packed as bytes */
    uint32_t limit;                 /* largest byte */
    uint32_t tile_rows, k;
    size_t   tile_bytes;
} mimp_block;

/* The shape of input to matrix m. */
static void mimp_block_shape(mimp_block *b, const mimp_kernels *kernels, const mimp_matrix *m)
{
    b->bytes = m->bytes;
    b->limit = m->input_max;
    b->tile_rows = b->bytes ? kernels->rows_q8 : kernels->rows_f32;
    b->k = m->k;
    b->tile_bytes = b->bytes ? mimp_packing_of(kernels, b->k).tile : (size_t)b->tile_rows * b->k * 4;
}

/* Room for `rows` rows of input to matrix m, of whose bytes or floats `data` tiles. */
static mimp_block mimp_block_part(mimp_arena *arena, const mimp_kernels *kernels, const mimp_matrix *m, uint32_t rows, uint32_t data)
{
    mimp_block b;
    uint32_t tiles;
    mimp_block_shape(&b, kernels, m);
    tiles = mimp_tiles(b.tile_rows, rows);
    b.scale = b.bytes ? mimp_floats(arena, (uint64_t)tiles * b.tile_rows) : NULL;
    b.zero = b.bytes ? (int32_t *)mimp_take(arena, (uint64_t)tiles * b.tile_rows * 4) : NULL;
    b.data = (uint8_t *)mimp_take_tiles(arena, kernels, (uint64_t)b.tile_bytes * mimp_min(tiles, data));
    return b;
}

static mimp_block mimp_block_memory(mimp_arena *arena, const mimp_kernels *kernels, const mimp_matrix *m, uint32_t rows)
{
    return mimp_block_part(arena, kernels, m, rows, rows);
}

/* Clears the tile of bytes that holds the last of `rows` rows, if it is not full. */
static void mimp_block_end(const mimp_block *b, uint32_t rows)
{
    const uint32_t tile = rows / b->tile_rows, rest = rows % b->tile_rows;
    if (!rest || !b->bytes)
        return;
    MIM_MEMSET(b->data + tile * b->tile_bytes, 0, b->tile_bytes);
    MIM_MEMSET(b->scale + (size_t)tile * b->tile_rows, 0, b->tile_rows * 4);
    MIM_MEMSET(b->zero + (size_t)tile * b->tile_rows, 0, b->tile_rows * 4);
}

/* Rows that mimp_block_put takes at a time: bytes one by one, floats a whole tile, which it transposes. */
static uint32_t mimp_block_rows(const mimp_block *b)
{
    return b->bytes ? 1 : b->tile_rows;
}

/* Packs x (rows, n16), stride floats apart, as the rows from r on, zero from n16 to k; r is a multiple of mimp_block_rows and
 * rows at most that. rest: NULL, or of bytes what they do not tell. */
static void mimp_block_put(const mimp_block *b, const mimp_kernels *kernels, uint32_t r, const float *x, size_t stride,
                           uint32_t rows, uint32_t n16, float *rest)
{
    uint8_t *tile = b->data + r / b->tile_rows * b->tile_bytes;
    const uint32_t at = r % b->tile_rows;
    uint32_t i;
    if (b->bytes) {
        const mimp_packing packed = mimp_packing_of(kernels, b->k);
        const mimp_quantized q = kernels->quantize(tile + at * packed.row, packed.quad, x, n16, b->limit, 0, rest);
        b->scale[r] = q.scale;
        b->zero[r] = q.zero;
        for (i = n16; i < b->k; i += 4)
            MIM_MEMSET(tile + at * packed.row + i / 4 * packed.quad, 0, 4);
    } else {
        kernels->pack((float *)(void *)tile, b->tile_rows, x, stride, rows, n16, 1.0f);
        MIM_MEMSET(tile + (size_t)n16 * b->tile_rows * 4, 0, (size_t)(b->k - n16) * b->tile_rows * 4);
    }
}

/* Room for the rows on their way into a block for matrix m. */
static size_t mimp_rows_bytes(const mimp_kernels *kernels, const mimp_matrix *m)
{
    mimp_block b;
    mimp_block_shape(&b, kernels, m);
    return (size_t)mimp_block_rows(&b) * m->k * 4;
}

/* What a leaf leaves, or sixteen queries. */
enum { MIMP_TILE = MIMP_MAX_PANELS * MIMP_MAX_ROWS > 16 ? MIMP_MAX_PANELS * MIMP_MAX_ROWS * 16 : 256 };
typedef union mimp_tile {
    float f[MIMP_TILE];
    int32_t i[MIMP_TILE];
} mimp_tile;

/* Which leaf a product takes. */
enum { MIMP_FLOATS, MIMP_BYTES_NARROW, MIMP_BYTES, MIMP_BYTES_WIDE, MIMP_NIBBLES };

/* weight_max 0: fours are held, which is as good as few bits. */
static int mimp_bytes_kind(uint32_t weight_max, uint32_t input_max)
{
    return !weight_max || (weight_max <= 63 && input_max <= 127) ? MIMP_BYTES_NARROW
        : weight_max <= 63 || input_max <= 127 ? MIMP_BYTES : MIMP_BYTES_WIDE;
}

/* Panels as a leaf reads them. */
typedef struct mimp_operand {
    const uint8_t *at;
    size_t k, bytes;                /* bytes of one panel */
    uint32_t count, group;
    int kind;
} mimp_operand;

static mimp_operand mimp_operand_of(const void *at, size_t k, uint32_t count, int kind)
{
    mimp_operand w;
    w.at = (const uint8_t *)at;
    w.k = k;
    w.bytes = k * 16 * (kind == MIMP_FLOATS ? 4 : 1);
    w.count = count;
    w.group = 0;
    w.kind = kind;
    return w;
}

/* One tile, of which `rows` rows are wanted, by panel p, or by it and the next, raw; returns how many. */
static uint32_t mimp_product(const mimp_kernels *kernels, mimp_tile *acc, const uint8_t *a, uint32_t rows, const mimp_operand *w,
                             uint32_t p)
{
    const uint8_t *panel = w->at + p * w->bytes;
    const float *af = (const float *)(const void *)a, *wf = (const float *)(const void *)panel;
    const int8_t *wb = (const int8_t *)panel;
    if (w->kind >= MIMP_BYTES_NARROW && w->kind <= MIMP_BYTES_WIDE && kernels->several_q8 && w->count - p >= kernels->several_panels) {
        kernels->several_q8(acc->i, a, wb, w->k, w->bytes, rows);
        return kernels->several_panels;
    }
    switch (w->kind) {
    case MIMP_FLOATS:
        if (w->count - p > 1 && kernels->pair_f32) {
            kernels->pair_f32(acc->f, kernels->rows_f32 * 16, af, wf, w->k, w->bytes / 4, rows);
            return 2;
        }
        kernels->tile_f32(acc->f, af, wf, w->k);
        break;
    case MIMP_NIBBLES:      kernels->tile_q4(acc->i, a, panel, w->k, w->group); break;
    case MIMP_BYTES_NARROW: kernels->tile_q7(acc->i, a, wb, w->k); break;
    case MIMP_BYTES:        kernels->tile_q8(acc->i, a, wb, w->k); break;
    default:                kernels->tile_q8_wide(acc->i, a, wb, w->k);
    }
    return 1;
}

static void mimp_enter(const mimp_kernels *kernels, const mimp_operand *w)
{
    if (kernels->enter && w->kind != MIMP_FLOATS)
        kernels->enter(w->k);
}

static void mimp_leave(const mimp_kernels *kernels, const mimp_operand *w)
{
    if (kernels->leave && w->kind != MIMP_FLOATS)
        kernels->leave();
}

/* One tile of packed rows by panels, between mimp_enter and mimp_leave, each through the epilogue: y[r * stride + channel]. e is
 * that of the first panel; the rest follow 16 channels on. */
static void mimp_tile_panels(const mimp_kernels *kernels, const uint8_t *a, uint32_t tile_rows, uint32_t rows, const mimp_operand *w,
                             float *y, size_t stride, mimp_epilogue e)
{
    MIMP_LINE mimp_tile acc;
    uint32_t p = 0, end;
    while (p < w->count) {
        const float *raw = acc.f;
        end = p + mimp_product(kernels, &acc, a, rows, w, p);
        for (; p < end; p++, y += 16, raw += tile_rows * 16) {
            kernels->finish(y, stride, raw, rows, &e);
            e.scale = e.scale ? e.scale + 16 : NULL;
            e.bias = e.bias ? e.bias + 16 : NULL;
            e.sum = e.sum ? e.sum + 16 : NULL;
        }
    }
}

/* Panels worked on together: their weights stay in the second-level cache while the tiles of rows pass, and a tile stays
 * in the first while it meets them. Of bytes fours, where leaves take as many. */
static uint32_t mimp_panel_group(const mimp_matrix *m)
{
    const size_t bytes = (size_t)m->k * 16 * (m->bytes ? 1 : 4);
    const uint32_t n = mimp_min((uint32_t)(((size_t)1 << 18) / bytes) + 1, 16);
    return mimp_min(m->bytes && n > 4 ? n & ~3u : n, m->n / 16);
}

static size_t mimp_unpacked_bytes(const mimp_kernels *kernels, const mimp_matrix *m)
{
    return (size_t)mimp_unpacked_panel(kernels, m) * mimp_panel_group(m);
}

/* Room to take rows through a matrix, first for packing them and then for its panels. */
static size_t mimp_matrix_scratch(const mimp_kernels *kernels, const mimp_matrix *m)
{
    const size_t rows = mimp_rows_bytes(kernels, m), panels = mimp_unpacked_bytes(kernels, m);
    return rows > panels ? rows : panels;
}

/* Panels first..first + count of a matrix, count <= mimp_panel_group; unpacked: mimp_unpacked_bytes. */
static mimp_operand mimp_operand_panels(const mimp_kernels *kernels, const mimp_matrix *m, uint32_t first, uint32_t count,
                                        float *unpacked)
{
    const uint8_t *panels = m->panels + first * m->panel_bytes;
    mimp_operand w = mimp_operand_of(panels, m->k, count, m->bytes ? mimp_bytes_kind(m->weight_max, m->input_max) : MIMP_FLOATS);
    uint32_t p;
    if (m->type == MIM_F16) {
        kernels->halves(unpacked, (const uint16_t *)(const void *)panels, (size_t)m->k * 16 * count);
        w.at = (const uint8_t *)unpacked;
    }
    if (m->type == MIM_Q4) {
        w.kind = kernels->tile_q4 ? MIMP_NIBBLES : MIMP_BYTES_WIDE;
        w.group = m->group;
        w.at = (const uint8_t *)unpacked;
        w.bytes = mimp_unpacked_panel(kernels, m);
        for (p = 0; p < count; p++)
            kernels->unpack_q4((uint8_t *)unpacked + p * w.bytes, panels + p * m->panel_bytes, m->k, m->group);
    }
    return w;
}

/* Channels 16 first..16 (first + count) of all rows: y[r * stride + c], y at the first of them; count <= mimp_panel_group.
 * unpacked: mimp_unpacked_bytes. */
static void mimp_panels(const mimp_kernels *kernels, const mimp_matrix *m, uint32_t first, uint32_t count, const mimp_block *a,
                        uint32_t rows, float *y, size_t stride, uint32_t act, uint32_t add, float *unpacked)
{
    const mimp_operand w = mimp_operand_panels(kernels, m, first, count, unpacked);
    const size_t channel = (size_t)first * 16;
    mimp_epilogue e;
    uint32_t t;
    MIM_MEMSET(&e, 0, sizeof e);
    e.integer = a->bytes;
    e.act = act;
    e.add = add;
    e.scale = m->scale ? m->scale + channel : NULL;
    e.sum = m->sum ? m->sum + channel : NULL;
    e.bias = m->bias ? m->bias + channel : NULL;
    mimp_enter(kernels, &w);
    for (t = 0; t < rows; t += a->tile_rows) {
        if (a->bytes) {
            e.factor = a->scale + t;
            e.zero = a->zero + t;
        }
        mimp_tile_panels(kernels, a->data + t / a->tile_rows * a->tile_bytes, a->tile_rows, mimp_min(a->tile_rows, rows - t), &w,
                         y + t * stride, stride, e);
    }
    mimp_leave(kernels, &w);
}

/* Rows into a block, through a gate and a norm where there are such. */
typedef struct mimp_pack_job {
    const mimp_crew *crew;
    const mimp_block *block;
    const float *x;                 /* (rows, n), stride floats apart; with a gate (rows, 2 * n rounded up to 16) */
    size_t stride;
    const uint32_t *from;           /* which row of x each is; MIMP_NO_ROW: zeros; NULL: the same */
    uint32_t rows, n;
    uint32_t gate;                  /* activation of the gate; 0: none */
    uint32_t head_dim, width;       /* if not the same: x holds parts of head_dim, width apart */
    const float *norm;              /* weight and bias; NULL: none */
    float eps;
} mimp_pack_job;

#define MIMP_NO_ROW 0xffffffffu

/* Rows first..end of it; first is a multiple of mimp_block_rows. scratch: mimp_rows_bytes. */
static void mimp_pack_rows(const mimp_pack_job *job, uint32_t first, uint32_t end, float *scratch)
{
    const mimp_kernels *kernels = job->crew->kernels;
    const uint32_t together = mimp_block_rows(job->block), n16 = mimp_up(job->n, 16);
    const int changed = job->gate || job->head_dim != job->width || job->norm || job->from;
    uint32_t r, j, i;
    for (r = first; r < end; r += together) {
        const uint32_t rows = mimp_min(together, end - r);
        for (j = 0; j < rows && changed; j++) {
            const uint32_t from = job->from ? job->from[r + j] : r + j;
            const float *x = job->x + from * job->stride;
            float *row = scratch + (size_t)j * n16;
            if (from == MIMP_NO_ROW) {
                MIM_MEMSET(row, 0, (size_t)n16 * 4);
                continue;
            }
            if (job->gate) {
                kernels->gate(row, x, n16, job->gate);
                x = row;
            }
            if (job->head_dim != job->width) {
                for (i = 0; i < job->n; i++)
                    row[i] = x[i / job->head_dim * job->width + i % job->head_dim];
                for (; i < n16; i++)
                    row[i] = 0;
                x = row;
            }
            if (job->norm)
                kernels->norm(row, x, job->norm, job->n, job->eps);
            else if (x != row)
                MIM_MEMCPY(row, x, (size_t)n16 * 4);
        }
        mimp_block_put(job->block, kernels, r, changed ? scratch : job->x + r * job->stride, changed ? n16 : job->stride, rows, n16, NULL);
    }
}

static void mimp_pack_task(void *arg, uint32_t index)
{
    const mimp_pack_job *job = (const mimp_pack_job *)arg;
    const uint32_t together = mimp_block_rows(job->block), n = mimp_tiles(together, job->rows);
    mimp_pack_rows(job, mimp_share(n, index, job->crew->tasks) * together,
                   mimp_min(mimp_share(n, index + 1, job->crew->tasks) * together, job->rows), mimp_scratch(job->crew, index));
}

static mimp_pack_job mimp_pack_of(const mimp_crew *crew, const mimp_block *block, const float *x, size_t stride, uint32_t rows,
                                  uint32_t n, const float *norm, float eps)
{
    mimp_pack_job job;
    MIM_MEMSET(&job, 0, sizeof job);
    job.crew = crew;
    job.block = block;
    job.x = x;
    job.stride = stride;
    job.rows = rows;
    job.n = n;
    job.norm = norm;
    job.eps = eps;
    return job;
}

static void mimp_pack(mimp_pack_job job)
{
    MIM_STAGE(MIM_STAGE_PACK);
    mimp_block_end(job.block, job.rows);
    mimp_work(job.crew, mimp_pack_task, &job);
}

/* The same by one task. Nothing is written to a tile before the tiles above it have been read. */
static void mimp_pack_own(const mimp_pack_job *job, float *scratch)
{
    const uint32_t full = job->rows / job->block->tile_rows * job->block->tile_rows;
    MIM_STAGE(MIM_STAGE_PACK);
    mimp_pack_rows(job, 0, full, scratch);
    mimp_block_end(job->block, job->rows);
    mimp_pack_rows(job, full, job->rows, scratch);
}

/* Rows first.. of a block, whole tiles into it. */
static mimp_block mimp_block_from(const mimp_block *b, uint32_t first)
{
    mimp_block rest = *b;
    rest.data += first / b->tile_rows * b->tile_bytes;
    rest.scale = b->scale ? b->scale + first : NULL;
    rest.zero = b->zero ? b->zero + first : NULL;
    return rest;
}

/* Panels first..end of them, mimp_panel_group at a time; y at the first channel of the matrix. */
static void mimp_linear_panels(const mimp_kernels *kernels, const mimp_matrix *m, uint32_t first, uint32_t end, const mimp_block *block,
                               uint32_t rows, float *y, size_t stride, uint32_t act, uint32_t add, float *unpacked)
{
    uint32_t p, count;
    for (p = first; p < end; p += count) {
        count = mimp_min(mimp_panel_group(m), end - p);
        mimp_panels(kernels, m, p, count, block, rows, y + (size_t)p * 16, stride, act, add, unpacked);
    }
}

/* y (rows, m->n) = block times matrix. */
typedef struct mimp_linear_job {
    const mimp_crew *crew;
    const mimp_matrix *matrix;
    const mimp_block *block;
    uint32_t rows;
    float *y;
    size_t stride;
    uint32_t act, add;
} mimp_linear_job;

static void mimp_linear_task(void *arg, uint32_t index)
{
    const mimp_linear_job *job = (const mimp_linear_job *)arg;
    const uint32_t panels = job->matrix->n / 16, tasks = job->crew->tasks;
    mimp_linear_panels(job->crew->kernels, job->matrix, mimp_share(panels, index, tasks), mimp_share(panels, index + 1, tasks),
                       job->block, job->rows, job->y, job->stride, job->act, job->add, mimp_scratch(job->crew, index));
}

/* Channels 16 first .. 16 (first + panels) as a matrix. */
static mimp_matrix mimp_matrix_part(const mimp_matrix *m, uint32_t first, uint32_t panels)
{
    mimp_matrix part = *m;
    part.panels += first * m->panel_bytes;
    part.scale = m->scale ? m->scale + (size_t)first * 16 : NULL;
    part.sum = m->sum ? m->sum + (size_t)first * 16 : NULL;
    part.bias = m->bias ? m->bias + (size_t)first * 16 : NULL;
    part.n = panels * 16;
    return part;
}

static void mimp_linear(const mimp_crew *crew, const mimp_matrix *m, const mimp_block *block, uint32_t rows, float *y,
                        size_t stride, uint32_t act, uint32_t add)
{
    mimp_linear_job job;
    job.crew = crew;
    job.matrix = m;
    job.block = block;
    job.rows = rows;
    job.y = y;
    job.stride = stride;
    job.act = act;
    job.add = add;
    mimp_work(crew, mimp_linear_task, &job);
}

#endif

/* =======================================================================================
 * >>steps: what a vision transformer does
 *
 * The residual stream x is (tokens, dim) with rows padded to 16 floats, prefix tokens first, then
 * the visible patches in raster order. Each step first lays out its memory in the arena that lies
 * behind the stream (..._memory, also called by the planner), then runs.
 * ===================================================================================== */

/* Where a result goes: floats, or int16 of an integer blob, or both; or nowhere. */
typedef struct mimp_sink {
    int16_t *integers;
#ifndef MIM_NO_FLOAT
    float *floats;
#endif
} mimp_sink;

#ifdef MIM_NO_FLOAT
static int mimp_wanted(mimp_sink to) { return to.integers != NULL; }
#else
static int mimp_wanted(mimp_sink to) { return to.floats || to.integers; }
#endif

static mimp_sink mimp_sink_at(mimp_sink to, size_t at)
{
    to.integers = to.integers ? to.integers + at : NULL;
#ifndef MIM_NO_FLOAT
    to.floats = to.floats ? to.floats + at : NULL;
#endif
    return to;
}

typedef struct mimp_run {
    const mim_session *s;
    const mim_model *model;
    const mim_image *image;         /* NULL when planning, and so are the rest */
    const float *embedded;          /* tokens that the caller has embedded; NULL: from the image */
    const mim_output *out;
    mimp_sink tokens_to, cls_to, registers_to, patches_to, pooled_to, logits_to, prediction_to;
    mimp_sink layer_to;             /* where the next layer goes */
    mimp_arena arena;               /* what a step works with */
    uint64_t attention_end;         /* of what the last attention laid out in it */
    mimp_arena *slow, second;       /* what lasts from step to step, and what attention gives: the same arena, or a second */
    mim_grid grid;                  /* where all tokens would stand, now */
    uint32_t unit_height, unit_width;           /* tokens to a mask unit, now; 0: the model has none */
    uint32_t patches;               /* of the whole input */
    uint32_t listed;                /* the caller gave a list of them */
    uint32_t units, planned_units;  /* that are seen, and the most that may be */
    uint32_t tokens;                /* rows of x */
    uint32_t planned;               /* most that they may be: what the tiles are shared out for */
    uint32_t dim;
    size_t   stride;                /* floats from row to row of x */
    float   *x;
    float   *row;                   /* one row of x for each task */
    float   *pooled;
    int16_t *stream, *pooled_stream;            /* x and pooled of an integer blob; rows of x are dim apart */
    uint16_t *place;                /* [units of the image]: 1 + position in the visible list, 0: hidden */
    uint16_t *patch;                /* [tokens - prefix]: where on the grid a token stands */
    uint16_t *where;                /* [places of the grid]: the reverse, 1 + token, when a step needs it */
    float   *branch;                /* what BRANCH adds up for JOIN: (tokens, dim) of then; NULL: no step does */
    mim_grid branch_grid;
    uint32_t branched;              /* it has begun */
    uint32_t taps;                  /* layers passed */
    const mim_blob_step *embed;     /* of the encoder, */
    const mim_blob_step *last_attention;        /* of the encoder */
    const mim_blob_step *final_norm;            /* of the encoder, or NULL */
} mimp_run;

/* Where token t of the stream stands in the caller's order: that of the list, inside a mask unit raster order. */
static uint32_t mimp_row_out(const mimp_run *run, uint32_t token)
{
    const uint32_t prefix = run->s->prefix, uh = run->unit_height, uw = run->unit_width, gw = run->grid.width;
    uint32_t y, x;
    if (token < prefix || !run->listed)
        return token;
    y = run->patch[token - prefix] / gw;
    x = run->patch[token - prefix] % gw;
    return prefix + ((run->place[y / uh * (gw / uw) + x / uw] - 1u) * uh + y % uh) * uw + x % uw;
}

/* Whether the caller's list has the unit that a place on the embedding's grid belongs to. */
static int mimp_seen(const mimp_run *run, uint32_t place)
{
    const uint32_t gw = run->grid.width, y = place / gw, x = place % gw;         /* y: of all frames */
    return !run->unit_height || run->place[y / run->unit_height * (gw / run->unit_width) + x / run->unit_width];
}

/* ---- how steps change the grid ---- */

/* The windows of an attention step on a grid; without any, one as large as the grid. */
typedef struct mimp_windows {
    uint32_t height, width;         /* of a window, in tokens */
    uint32_t down, across;          /* windows along each axis of a frame */
    uint32_t shift_y, shift_x;
} mimp_windows;

static mimp_windows mimp_windows_of(const mim_blob_step *s, const mim_grid *grid)
{
    mimp_windows w;
    MIM_MEMSET(&w, 0, sizeof w);
    w.height = s->window ? s->window_height : grid->height;
    w.width = s->window ? s->window_width : grid->width;
    w.shift_y = s->shift_height;
    w.shift_x = s->shift_width;
    if (s->window == MIM_WINDOW_FIT && grid->height <= w.height) {
        w.height = grid->height;
        w.shift_y = 0;
    }
    if (s->window == MIM_WINDOW_FIT && grid->width <= w.width) {
        w.width = grid->width;
        w.shift_x = 0;
    }
    if (s->window == MIM_WINDOW_SQUARE && (grid->height <= w.height || grid->width <= w.width)) {
        w.height = w.width = mimp_min(grid->height, grid->width);
        w.shift_y = w.shift_x = 0;
    }
    w.down = (grid->height + w.height - 1) / w.height;
    w.across = (grid->width + w.width - 1) / w.width;
    return w;
}

/* The grid after a step; 0 if the step cannot work on this one. */
static int mimp_advance(const mim_model *model, const mim_blob_step *s, mim_grid *grid)
{
    const mim_blob_header *h = model->header;
    const uint32_t prefix = h->has_cls + h->registers;
    switch (s->kind) {
    case MIM_STEP_CONV:
        if (!MIMP_WINDOWS)
            return 0;
        if (!(s->flags & MIM_STEP_WHOLE)) {              /* zeros beyond the grid fill up cells that do not overlap */
            grid->height += s->kernel_height == s->stride_height && !s->padding_height ? s->stride_height - 1u : 0;
            grid->width += s->kernel_width == s->stride_width && !s->padding_width ? s->stride_width - 1u : 0;
        }
        grid->height = mimp_cells(grid->height, s->kernel_height, s->stride_height, s->padding_height);
        grid->width = mimp_cells(grid->width, s->kernel_width, s->stride_width, s->padding_width);
        grid->dim = s->tensor[1] ? model->tensors[s->tensor[1] - 1].rows : grid->dim;
        if (!grid->height || !grid->width)
            return 0;
        /* fall through */
    case MIM_STEP_EMBED:
    case MIM_STEP_UNMASK:
        if (s->kind == MIM_STEP_EMBED)
            grid->dim = s->tensor[0] && h->groups == 1 && !MIMP_INTEGER(h) ? model->tensors[s->tensor[0] - 1].rows : h->dim;
        if (s->kind == MIM_STEP_UNMASK)
            grid->dim = h->decoder_dim;
        if (s->rule == MIM_POSITIONS_FIXED && (grid->height != s->stored_height || grid->width != s->stored_width))
            return 0;
        if (s->rule != MIM_POSITIONS_NONE && s->stored_frames != 1 && s->stored_frames != grid->frames)
            return 0;
        break;
    case MIM_STEP_ATTENTION: {
        mimp_windows w;
        if (!MIMP_WINDOWS)
            break;
        w = mimp_windows_of(s, grid);
        if ((uint64_t)w.down * w.height * w.across * w.width > 4 * MIM_MAX_TOKENS)
            return 0;
        if (s->rule != MIM_BIAS_NONE && (s->rule != MIM_BIAS_AXES || s->window) && grid->frames > 1)
            return 0;
        if (s->rule == MIM_BIAS_FIXED && (w.height != s->stored_height || w.width != s->stored_width))
            return 0;
        if (s->rule == MIM_BIAS_CROP && (w.height > s->stored_height || w.width > s->stored_width))
            return 0;
        grid->dim = model->tensors[s->tensor[2] - 1].rows;
        if (s->thin == MIM_THIN_MAX) {
            if (grid->height % (s->window ? w.height : s->stride_height) || grid->width % (s->window ? w.width : s->stride_width))
                return 0;
            grid->height /= s->stride_height;
            grid->width /= s->stride_width;
        } else if (s->thin == MIM_THIN_CONV) {
            grid->height = mimp_cells(grid->height, s->kernel_height, s->stride_height, s->kernel_height / 2);
            grid->width = mimp_cells(grid->width, s->kernel_width, s->stride_width, s->kernel_width / 2);
        }
        break;
    }
    case MIM_STEP_MLP:
        if (MIMP_WINDOWS)
            grid->dim = model->tensors[s->tensor[2] - 1].rows;
        break;
    default: ;
    }
    if ((uint64_t)grid->frames * grid->height * grid->width > MIM_MAX_TOKENS - prefix)
        return 0;
    grid->tokens = prefix + grid->frames * grid->height * grid->width;
    return 1;
}

/* Follows a step: the sizes of what is in x. */
static void mimp_follow(mimp_run *run, const mim_blob_step *s)
{
    const uint32_t prefix = run->s->prefix;
    if (MIMP_WINDOWS && s->flags & MIM_STEP_BRANCH) {
        run->branch_grid = run->grid;
        mimp_advance(run->model, s, &run->branch_grid);
        return;
    }
    mimp_advance(run->model, s, &run->grid);
    if (MIMP_WINDOWS && run->unit_height && (s->kind == MIM_STEP_CONV || s->thin == MIM_THIN_MAX)) {
        run->unit_height /= s->stride_height;
        run->unit_width /= s->stride_width;
    }
    if (s->kind == MIM_STEP_UNMASK)
        run->unit_height = 0;                            /* a decoder sees all */
    run->tokens = run->planned = run->grid.tokens;
    if (run->unit_height) {
        run->tokens = prefix + run->units * run->unit_height * run->unit_width;
        run->planned = prefix + run->planned_units * run->unit_height * run->unit_width;
    }
    run->dim = run->grid.dim;
    run->stride = mimp_up(run->dim, 16);
}

/* Rows of a tile beyond which more gain little: weights are read once for each, and floats, what has to be unpacked first, what
 * lies in flash, or what several tasks want of the cache that they share, dearly; but the rows' hidden layer is most of the arena.
 * That of a fourth of the tokens usually is as large as attention's outputs. */
static uint32_t mimp_most_rows(const mim_session *s)
{
    const int cheap = s->model->header->type == MIM_Q8 && !MIMP_INTEGER(s->model->header) && s->desc.threads == 1;
    return cheap ? mimp_min(mimp_max(80, s->tokens / 4), 256) : 256;
}

/* Rows of a tile of `rows` in all: at most tile_rows or a leaf's rows, whole leaves, and shared out evenly. */
static uint32_t mimp_tile_for(const mimp_run *run, uint32_t rows)
{
    const mimp_kernels *kernels = run->s->kernels;
    const uint32_t unit = mimp_is_quantized(run->model->header->type) ? kernels->rows_q8 : kernels->rows_f32;
    const uint32_t most = mimp_max(run->s->tile_rows / unit, 1) * unit;
    return mimp_tiles(unit, mimp_tiles(mimp_tiles(most, rows), rows)) * unit;
}

/* Where the tasks work on a tile together; and where each has its own. */
static uint32_t mimp_tile_of(const mimp_run *run) { return mimp_tile_for(run, run->planned); }
static uint32_t mimp_task_rows(const mimp_run *run) { return mimp_tile_for(run, mimp_tiles(run->s->desc.threads, run->planned)); }

#ifndef MIM_NO_FLOAT
/* What works row by row on the stream alone: a share of the rows is a task. */
typedef struct mimp_rows_job {
    mimp_crew crew;
    const mimp_run *run;
    const mim_blob_step *step;
    void (*row)(const struct mimp_rows_job *job, uint32_t token, uint32_t task);
    float *to;                      /* rows first..first + count of the caller's order go there */
    uint32_t first, count;
} mimp_rows_job;

static void mimp_rows_task(void *arg, uint32_t index)
{
    const mimp_rows_job *job = (const mimp_rows_job *)arg;
    const uint32_t end = mimp_share(job->run->tokens, index + 1, job->crew.tasks);
    uint32_t t;
    for (t = mimp_share(job->run->tokens, index, job->crew.tasks); t < end; t++)
        job->row(job, t, index);
}

static void mimp_rows(const mimp_run *run, const mim_blob_step *s, void (*row)(const mimp_rows_job *, uint32_t, uint32_t),
                      float *to, uint32_t first, uint32_t count)
{
    mimp_rows_job job;
    MIM_MEMSET(&job, 0, sizeof job);
    job.crew.session = run->s;
    job.crew.tasks = run->s->desc.threads;
    job.run = run;
    job.step = s;
    job.row = row;
    job.to = to;
    job.first = first;
    job.count = count;
    mimp_work(&job.crew, mimp_rows_task, &job);
}

/* ---- positions ---- */

/* The samples of one axis that make up target i, and their weights. */
typedef struct mimp_axis {
    uint32_t rule, n, stored;
    int32_t first;
    double fraction, sum;
    mimp_window window;
} mimp_axis;

static double mimp_axis_weight(const mimp_axis *a, uint32_t j)
{
    const double d = a->fraction, x = j == 0 ? 1 + d : j == 1 ? d : j == 2 ? 1 - d : 2 - d;
    switch (a->rule) {
    case MIM_POSITIONS_CUBIC_ANTIALIAS:
        return (double)mimp_weight(&a->window, j, MIM_BICUBIC) / a->sum;
    case MIM_POSITIONS_CUBIC:       /* cubic convolution, a = -0.75 */
    case MIM_POSITIONS_CORNERS:
        return j == 1 || j == 2 ? (1.25 * x - 2.25) * x * x + 1 : ((-0.75 * x + 3.75) * x - 6) * x + 3;
    case MIM_POSITIONS_LINEAR:
        return j ? d : 1 - d;
    default:
        return 1;
    }
}

static uint32_t mimp_axis_at(const mimp_axis *a, uint32_t j)
{
    const int32_t i = a->first + (int32_t)j;
    return i < 0 ? 0 : mimp_min((uint32_t)i, a->stored - 1);
}

static mimp_axis mimp_axis_of(const mim_blob_step *s, uint32_t i, uint32_t stored, uint32_t grid, int same)
{
    mimp_axis a;
    double at = ((double)i + 0.5) * ((double)stored / ((double)grid + (double)s->position_offset)) - 0.5;
    uint32_t j;
    MIM_MEMSET(&a, 0, sizeof a);
    a.rule = same ? (uint32_t)MIM_POSITIONS_FIXED : s->rule;
    a.stored = stored;
    a.n = 1;
    a.first = (int32_t)i;
    if (a.rule == MIM_POSITIONS_CORNERS)
        at = grid > 1 ? (double)i * (double)(stored - 1) / (double)(grid - 1) : 0;
    if (a.rule == MIM_POSITIONS_CUBIC_ANTIALIAS) {
        a.window = mimp_window_at(i, stored, grid, MIM_BICUBIC);
        a.first = (int32_t)a.window.first;
        a.n = a.window.n;
        for (j = 0; j < a.n; j++)
            a.sum += (double)mimp_weight(&a.window, j, MIM_BICUBIC);
    } else if (a.rule != MIM_POSITIONS_FIXED) {
        if (a.rule == MIM_POSITIONS_LINEAR && at < 0)
            at = 0;
        a.first = (int32_t)(at + 1) - 1;        /* floor: at > -1 */
        a.fraction = at - (double)a.first;
        a.n = 2;
        if (a.rule != MIM_POSITIONS_LINEAR) {
            a.first -= 1;
            a.n = 4;
        }
    }
    return a;
}

/* The ratio of MIM_BIAS_GEOMETRIC, by the reference's own bisection. */
static double mimp_geometric_ratio(uint32_t from, uint32_t to)
{
    double low = 1.01, high = 1.5, q = low, power;
    uint32_t n;
    while (high - low > 1e-6) {
        q = (low + high) / 2;
        for (n = 0, power = 1; n < from / 2 && power < 1e30; n++)
            power *= q;
        if ((1 - power) / (1 - q) > (double)(to / 2))
            high = q;
        else
            low = q;
    }
    return q;
}

/* Distance i of `to`, counted from the middle, among `from` distances of ratio q; the knots are floats, as the reference's. */
static mimp_axis mimp_axis_geometric(uint32_t i, uint32_t from, uint32_t to, double q)
{
    const uint32_t half = from / 2, reach = to / 2, distance = i < reach ? reach - i : i - reach;
    double knot = 0, next = 1, step = 1;
    uint32_t n;
    mimp_axis a;
    for (n = 0; n < half && (double)(float)next <= (double)distance; n++) {
        knot = next;
        step *= q;
        next += step;
    }
    MIM_MEMSET(&a, 0, sizeof a);
    a.rule = MIM_POSITIONS_LINEAR;
    a.stored = from;
    a.n = 2;
    if (n < half)
        a.fraction = ((double)distance - (double)(float)knot) / ((double)(float)next - (double)(float)knot);
    a.first = (int32_t)(half + n);
    if (i < reach) {                                 /* mirrored: the lower sample is the farther one */
        a.first = (int32_t)(half - n) - 1;
        a.fraction = 1 - a.fraction;
    }
    return a;
}

/* row += the position of a place on the grid */
static void mimp_add_position(const mimp_run *run, const mim_blob_step *s, const float *table, uint32_t place, float *row)
{
    const uint32_t gh = run->grid.height, gw = run->grid.width, dim = run->dim, frame = place / (gh * gw);
    const int same = gh == s->stored_height && gw == s->stored_width;
    mimp_axis ay, ax;
    uint32_t i, j, d;
    if (!table)
        return;
    if (s->stored_frames > 1)
        table += (size_t)frame * s->stored_height * s->stored_width * dim;
    ay = mimp_axis_of(s, place / gw % gh, s->stored_height, gh, same);
    ax = mimp_axis_of(s, place % gw, s->stored_width, gw, same);
    for (i = 0; i < ay.n; i++) {
        const double wy = mimp_axis_weight(&ay, i);
        for (j = 0; j < ax.n; j++) {
            const float w = (float)(wy * mimp_axis_weight(&ax, j));
            const float *p = table + ((size_t)mimp_axis_at(&ay, i) * s->stored_width + mimp_axis_at(&ax, j)) * dim;
            for (d = 0; d < dim; d++)
                row[d] += w * p[d];
        }
    }
}

/* row += the position of a place within its mask unit */
static void mimp_add_unit_position(const mimp_run *run, const mim_blob_step *s, uint32_t place, float *row)
{
    const uint32_t uh = run->unit_height, uw = run->unit_width, gw = run->grid.width;
    const float *table = mimp_plain(run->model, s->tensor[6]);
    uint32_t d;
    if (!table)
        return;
    table += (size_t)(place / gw % run->grid.height % uh * uw + place % gw % uw) * run->dim;
    for (d = 0; d < run->dim; d++)
        row[d] += table[d];
}

/* Sine of x, to a float: less multiples of pi / 2, in three parts, then Taylor's series of sine or cosine on |r| <= pi / 4,
 * of which the first term left out is under 1e-13. quarter: 1 gives the cosine. */
static float mimp_sine(double x, int quarter)
{
    const double turns = x * 0.63661977236758134, n = turns < 0 ? turns - 0.5 : turns + 0.5;
    const int64_t k = n > -1e9 && n < 1e9 ? (int64_t)n : 0;
    const double r = ((x - (double)k * 1.5707963267341256) - (double)k * 6.0771005063039660e-11) - (double)k * 2.0222662487959506e-21;
    const double z = r * r;
    const int phase = (int)((uint64_t)(k + quarter) & 3);
    double v;
    if (phase & 1)
        v = 1 + z * (-1.0 / 2 + z * (1.0 / 24 + z * (-1.0 / 720 + z * (1.0 / 40320 + z * (-1.0 / 3628800 + z * (1.0 / 479001600))))));
    else
        v = r * (1 + z * (-1.0 / 6 + z * (1.0 / 120 + z * (-1.0 / 5040 + z * (1.0 / 362880 + z * (-1.0 / 39916800))))));
    return (float)(phase & 2 ? -v : v);
}

/* row += waves of what the caller knows of the patch's frame, and of where the patch is */
static void mimp_add_metadata(const mimp_run *run, const mim_blob_step *s, uint32_t place, float *row)
{
    const uint32_t dim = run->dim, n = run->model->header->coordinates, frame = place / (run->grid.height * run->grid.width);
    const uint32_t terms = s->tensor[4] ? run->model->tensors[s->tensor[4] - 1].rows / 5 : 0;
    const float *table = mimp_plain(run->model, s->tensor[4]);
    const size_t next = dim;
    uint32_t term, d;
    for (term = 0; term < terms; term++, table += 5 * next)
        for (d = 0; d < dim; d++) {
            const float which = table[d];
            double value = which == -1 ? (double)place : (double)frame;
            if (which >= 1 && which <= (float)n)
                value = (double)run->image->coordinates[(size_t)frame * n + (uint32_t)which - 1];
            else if (which != -1 && which != -2)
                continue;
            if (value == value)
                row[d] += table[4 * next + d]
                    * mimp_sine(value * ((double)table[next + d] + (double)table[2 * next + d]), table[3 * next + d] > 0.5f);
        }
}

/* ---- projections onto the grid: embedding and convolution ---- */

/* Rows through a matrix, a norm and an activation, added to the tokens, where the positions are already. Pixels that become
 * bytes do so twice: what the first byte left goes through the matrix as well, as rows `again`.. of the block. */
typedef struct mimp_project {
    mimp_crew crew;
    mimp_matrix matrix;
    mimp_block block;
    uint32_t again;                 /* 0: once is enough */
    float *rows;                    /* of input, on their way into the block */
    uint32_t ready;                 /* how many */
    float *raw;                     /* [tile][matrix.n]: what a norm or an activation is still to come to; else NULL */
} mimp_project;

static void mimp_project_memory(mimp_project *e, mimp_run *run, const mim_blob_step *s, uint32_t matrix, int raw)
{
    MIM_MEMSET(e, 0, sizeof *e);
    if (!s->tensor[matrix])
        return;
    e->matrix = mimp_matrix_of(run->model, s->tensor[matrix]);
    e->rows = (float *)mimp_take(&run->arena, mimp_rows_bytes(run->s->kernels, &e->matrix));
    if (s->kind == MIM_STEP_EMBED && e->matrix.bytes)
        e->again = mimp_tiles(run->s->kernels->rows_q8, mimp_tile_of(run)) * run->s->kernels->rows_q8;
    e->block = mimp_block_memory(&run->arena, run->s->kernels, &e->matrix, e->again + mimp_tile_of(run));
    if (raw)
        e->raw = mimp_floats(&run->arena, (uint64_t)mimp_tile_of(run) * e->matrix.n);
    mimp_crew_memory(&e->crew, &run->arena, run->s, mimp_unpacked_bytes(run->s->kernels, &e->matrix));
}

/* Where the next row of n16 floats is to be written. */
static float *mimp_project_next(const mimp_project *e, uint32_t n16)
{
    return e->rows + (size_t)e->ready * n16;
}

/* It is there: row `row` of the block, the last one or not. */
static void mimp_project_put(mimp_project *e, uint32_t row, uint32_t n16, int last)
{
    const mimp_kernels *kernels = e->crew.kernels;
    if (++e->ready == mimp_block_rows(&e->block) || last) {
        mimp_block_put(&e->block, kernels, row + 1 - e->ready, e->rows, n16, e->ready, n16, e->again ? e->rows : NULL);
        if (e->again)
            mimp_block_put(&e->block, kernels, e->again + row, e->rows, n16, 1, n16, NULL);
        e->ready = 0;
    }
}

static void mimp_project_product(const mimp_project *e, const mimp_matrix *m, uint32_t rows, float *y, size_t stride, uint32_t add)
{
    mimp_linear(&e->crew, m, &e->block, rows, y, stride, 0, add);
    if (e->again) {
        const mimp_block rest = mimp_block_from(&e->block, e->again);
        mimp_matrix unbiased = *m;
        unbiased.bias = NULL;
        mimp_linear(&e->crew, &unbiased, &rest, rows, y, stride, 0, 1);
    }
}

static void mimp_project_rows(const mimp_project *e, const mimp_matrix *m, uint32_t rows, const float *norm, const mim_blob_step *s,
                              uint32_t dim, float *x, size_t stride)
{
    const mimp_kernels *kernels = e->crew.kernels;
    mimp_epilogue end;
    uint32_t r, d;
    if (!e->raw) {
        mimp_project_product(e, m, rows, x, stride, 1);
        return;
    }
    mimp_project_product(e, m, rows, e->raw, m->n, 0);
    MIM_MEMSET(&end, 0, sizeof end);
    end.act = s->activation;
    end.add = 1;
    for (r = 0; r < rows; r++) {
        float *row = e->raw + (size_t)r * m->n;
        if (norm)
            kernels->norm(row, row, norm, dim, s->eps);
        for (d = 0; d < dim; d += 16)
            kernels->finish(x + r * stride + d, stride, row + d, 1, &end);
    }
}

typedef struct mimp_embed {
    mimp_project to;
    mimp_input input[MIM_MAX_PATCH_FRAMES];     /* of each frame of a tubelet */
    uint32_t frames;                /* of a tubelet */
} mimp_embed;

static void mimp_embed_memory(mimp_embed *e, mimp_run *run, const mim_blob_step *s)
{
    uint32_t f;
    mimp_project_memory(&e->to, run, s, 0, s->tensor[3] || s->activation);
    e->frames = mimp_tubelet(run->model->header, s);
    for (f = 0; f < e->frames && s->tensor[0]; f++) {
        mimp_input *in = &e->input[f];
        MIM_MEMSET(in, 0, sizeof *in);
        in->header = run->model->header;
        in->image = run->image;
        in->height = run->s->height;
        in->width = run->s->width;
        in->channels = run->model->header->channels;
        in->rows = s->kernel_height;
        in->padding = s->padding_height;
        mimp_input_memory(in, &run->arena, &run->s->desc);
    }
}

/* The pixels of a patch from the strips, in the order channel, frame, y, x. Where patches overlap, a hidden one's pixels are zeros. */
static void mimp_embed_patch(const mimp_run *run, const mimp_embed *e, const mim_blob_step *s, uint32_t place, float *to)
{
    const uint32_t ph = run->model->header->patch_height, pw = run->model->header->patch_width, frames = e->frames;
    const uint32_t channels = e->input[0].channels, width = e->input[0].width, wide = s->kernel_width;
    const uint32_t gh = run->grid.height, gw = run->grid.width, first = place / gw / gh * run->model->header->patch_frames - s->padding_frames;
    const uint32_t top = place / gw % gh * ph, at = place % gw * pw, left = at < s->padding_width ? s->padding_width - at : 0;
    const uint32_t from = at + left - s->padding_width, n = mimp_min(wide - left, width - from);
    const int overlaps = s->kernel_height > ph || wide > pw || s->padding_frames;
    uint32_t c, f, y, x;
    for (c = 0; c < channels; c++)
        for (f = 0; f < frames; f++)
            for (y = 0; y < s->kernel_height; y++, to += wide) {
                const uint32_t row = top + y - s->padding_height, frame = first + f;       /* above or before the first: large */
                if (n < wide)
                    MIM_MEMSET(to, 0, (size_t)wide * 4);
                MIM_MEMCPY(to + left, e->input[f].strip + (((size_t)y * channels + c) * width + from) * 4, (size_t)n * 4);
                if (overlaps && row < gh * ph && !e->input[f].absent) {
                    const uint32_t line = (frame / run->model->header->patch_frames * gh + row / ph) * gw;
                    for (x = 0; x < n; x++)
                        if (!mimp_seen(run, line + (from + x) / pw))
                            to[left + x] = 0;
                }
            }
}

/* A token before its pixels come: position, or the prefix. */
static void mimp_embed_place(const mimp_rows_job *job, uint32_t t, uint32_t task)
{
    const mimp_run *run = job->run;
    const mim_blob_step *s = job->step;
    float *row = run->x + t * run->stride;
    uint32_t place;
    (void)task;
    MIM_MEMSET(row, 0, run->stride * 4);
    if (t < run->s->prefix) {
        MIM_MEMCPY(row, mimp_plain(run->model, s->tensor[1]) + (size_t)t * run->dim, (size_t)run->dim * 4);
        return;
    }
    place = run->patch[t - run->s->prefix];
    mimp_add_position(run, s, mimp_plain(run->model, s->tensor[2]), place, row);
    mimp_add_unit_position(run, s, place, row);
    mimp_add_metadata(run, s, place, row);
}

static mim_status mimp_embed_run(mimp_run *run, const mim_blob_step *s)
{
    const mim_blob_header *h = run->model->header;
    const uint32_t gw = run->grid.width, area = run->grid.height * gw, tile = mimp_tile_of(run);
    const uint32_t n16 = mimp_up(h->channels * mimp_tubelet(h, s) * s->kernel_height * s->kernel_width, 16), before = s->padding_frames;
    uint32_t frame, place, f, token = run->s->prefix, end, rows;
    mimp_matrix matrix;
    mimp_embed e;
    mim_status status;
    MIM_STAGE(MIM_STAGE_EMBED);
    mimp_embed_memory(&e, run, s);
    mimp_rows(run, s, mimp_embed_place, NULL, 0, 0);
    MIM_MEMSET(e.to.rows, 0, mimp_rows_bytes(run->s->kernels, &e.to.matrix));
    for (frame = 0; frame < run->grid.frames; frame++) {
        matrix = h->groups > 1 ? mimp_matrix_part(&e.to.matrix, frame * (uint32_t)(run->stride / 16), (uint32_t)(run->stride / 16)) : e.to.matrix;
        for (f = 0; f < e.frames; f++) {
            const uint32_t at = h->groups > 1 ? 0 : frame * h->patch_frames + f;
            e.input[f].absent = at < before;
            e.input[f].frame = at < before ? 0 : at - before;
            status = mimp_input_start(&e.input[f], &run->s->desc);
            if (status)
                return status;
        }
        for (end = token; end < run->tokens && run->patch[end - run->s->prefix] / area == frame; )
            end++;
        for (place = rows = 0; place < area; place++) {
            if (place % gw == 0)
                for (f = 0; f < e.frames; f++)
                    if (mimp_input_strip(&e.input[f], place / gw))
                        return MIM_ERR_ABORTED;
            if (token + rows == end || run->patch[token + rows - run->s->prefix] != frame * area + place)
                continue;
            mimp_embed_patch(run, &e, s, frame * area + place, mimp_project_next(&e.to, n16));
            if (rows == 0) {
                mimp_block_end(&e.to.block, mimp_min(tile, end - token));
                mimp_block_end(&e.to.block, e.to.again + mimp_min(tile, end - token));
            }
            mimp_project_put(&e.to, rows, n16, rows + 1 == tile || token + rows + 1 == end);
            rows++;
            if (rows == tile || token + rows == end) {
                mimp_project_rows(&e.to, &matrix, rows, mimp_plain(run->model, s->tensor[3]), s, run->dim, run->x + token * run->stride, run->stride);
                token += rows;
                rows = 0;
            }
        }
    }
    return MIM_OK;
}

/* Tokens that the caller has embedded, in the order of the grid. */
static void mimp_embed_given(mimp_run *run)
{
    uint32_t token;
    MIM_MEMSET(run->x, 0, run->tokens * run->stride * 4);
    for (token = 0; token < run->tokens; token++)
        MIM_MEMCPY(run->x + token * run->stride, run->embedded + (size_t)mimp_row_out(run, token) * run->dim, (size_t)run->dim * 4);
}

/* Turns patch around. */
static void mimp_find_tokens(const mimp_run *run)
{
    uint32_t t;
    MIM_MEMSET(run->where, 0, (size_t)run->grid.frames * run->grid.height * run->grid.width * 2);
    for (t = run->s->prefix; t < run->tokens; t++)
        run->where[run->patch[t - run->s->prefix]] = (uint16_t)(t + 1);
}

/* Where the first token of each cell stands on the grid of cells, in their order; `to` may be patch itself. */
static void mimp_keep_cells(const mimp_run *run, uint16_t *to, uint32_t sh, uint32_t sw)
{
    const uint32_t gh = run->grid.height, gw = run->grid.width, down = (gh + sh - 1) / sh, across = (gw + sw - 1) / sw;
    uint32_t t;
    for (t = 0; t < run->tokens - run->s->prefix; t++) {
        const uint32_t place = run->patch[t], frame = place / gw / gh, y = place / gw % gh, x = place % gw;
        if (y % sh == 0 && x % sw == 0)
            *to++ = (uint16_t)((frame * down + y / sh) * across + x / sw);
    }
}

/* y = one token's convolution of each channel, of those around it in x: their rows are n16 floats, the table's `columns`. */
static void mimp_depthwise(const mimp_run *run, const mim_blob_step *s, const float *x, uint32_t n16, uint32_t columns, uint32_t token,
                           float *y, float *scratch)
{
    const uint32_t gh = run->grid.height, gw = run->grid.width, kh = s->kernel_height, kw = s->kernel_width, place = run->patch[token];
    const float *table = mimp_plain(run->model, s->tensor[4]);
    mimp_epilogue e;
    uint32_t ky, kx, d;
    MIM_MEMSET(y, 0, (size_t)n16 * 4);
    MIM_MEMSET(scratch, 0, (size_t)n16 * 4);
    MIM_MEMCPY(y, table + (size_t)kh * kw * columns, (size_t)columns * 4);
    for (ky = 0; ky < kh; ky++)
        for (kx = 0; kx < kw; kx++) {                    /* above the top or left of it: large */
            const uint32_t r = place / gw % gh + ky - kh / 2, c = place % gw + kx - kw / 2;
            const uint32_t from = r < gh && c < gw ? run->where[(place / gw / gh * gh + r) * gw + c] : 0;
            if (!from)
                continue;
            MIM_MEMCPY(scratch, table + ((size_t)ky * kw + kx) * columns, (size_t)columns * 4);
            run->s->kernels->accumulate(y, x + (size_t)(from - 1) * n16, scratch, n16);
        }
    MIM_MEMSET(&e, 0, sizeof e);
    e.act = s->activation;
    for (d = 0; d < n16 && e.act; d += 16)
        run->s->kernels->finish(y + d, 16, y + d, 1, &e);
}

typedef struct mimp_conv {
    mimp_project to;
    mim_grid grid;                  /* afterwards */
    uint32_t tokens;                /* afterwards */
    uint16_t *place;                /* [tokens]: where they stand */
    float *y;                       /* (tokens, dim), the new tokens */
} mimp_conv;

static void mimp_conv_memory(mimp_conv *e, mimp_run *run, const mim_blob_step *s)
{
    e->grid = run->grid;
    mimp_advance(run->model, s, &e->grid);
    e->tokens = run->unit_height ? run->tokens / (s->stride_height * s->stride_width) : e->grid.tokens;
    e->place = (uint16_t *)mimp_take(&run->arena, (uint64_t)e->tokens * 2);
    e->y = s->flags & MIM_STEP_BRANCH ? run->branch : mimp_floats(run->slow, (uint64_t)e->tokens * mimp_up(e->grid.dim, 16));
    mimp_project_memory(&e->to, run, s, 1, s->tensor[2] || s->activation);
}

MIMP_CALLED void mimp_conv_run(mimp_run *run, const mim_blob_step *s)
{
    const float *norm = mimp_plain(run->model, s->tensor[0]), *table = mimp_plain(run->model, s->tensor[3]);
    const uint32_t tile = mimp_tile_of(run), dim = run->dim, kh = s->kernel_height, kw = s->kernel_width, n16 = mimp_up(kh * kw * dim, 16);
    const int of_tokens = norm && run->model->tensors[s->tensor[0] - 1].columns == dim;
    const mim_grid old = run->grid;
    const size_t from = run->stride;
    size_t stride;
    uint32_t t, rows, ky, kx;
    mimp_conv e;
    MIM_STAGE(MIM_STAGE_EMBED);
    mimp_conv_memory(&e, run, s);
    stride = mimp_up(e.grid.dim, 16);
    mimp_find_tokens(run);
    if (s->tensor[4]) {
        for (t = 0; t < e.tokens; t++) {
            mimp_depthwise(run, s, run->x, (uint32_t)stride, dim, t, e.y + t * stride, run->row);
            mimp_add_position(run, s, table, run->patch[t], e.y + t * stride);
        }
        MIM_MEMCPY(run->x, e.y, e.tokens * stride * 4);
        return;
    }
    if (run->unit_height)
        mimp_keep_cells(run, e.place, s->stride_height, s->stride_width);
    else
        for (t = 0; t < e.tokens; t++)
            e.place[t] = (uint16_t)t;
    if (!(s->flags & MIM_STEP_BRANCH) || !run->branched)
        MIM_MEMSET(e.y, 0, e.tokens * stride * 4);
    run->branched |= s->flags & MIM_STEP_BRANCH;
    mimp_follow(run, s);
    MIM_MEMSET(e.to.rows, 0, mimp_rows_bytes(run->s->kernels, &e.to.matrix));
    for (t = 0; t < e.tokens; t += rows) {
        mimp_block_end(&e.to.block, mimp_min(tile, e.tokens - t));
        for (rows = 0; rows < tile && t + rows < e.tokens; rows++) {
            const uint32_t place = e.place[t + rows], frame = place / e.grid.width / e.grid.height;
            const uint32_t top = place / e.grid.width % e.grid.height * s->stride_height, left = place % e.grid.width * s->stride_width;
            float *const row = mimp_project_next(&e.to, n16), *to = row;
            for (ky = 0; ky < kh; ky++)
                for (kx = 0; kx < kw; kx++, to += dim) {             /* above the top or left of it: large */
                    const uint32_t y = top + ky - s->padding_height, x = left + kx - s->padding_width;
                    const uint32_t token = y < old.height && x < old.width ? run->where[(frame * old.height + y) * old.width + x] : 0;
                    if (!token)
                        MIM_MEMSET(to, 0, (size_t)dim * 4);
                    else if (!of_tokens)
                        MIM_MEMCPY(to, run->x + (token - 1) * from, (size_t)dim * 4);
                    else {
                        run->s->kernels->norm(run->row, run->x + (token - 1) * from, norm, dim, s->eps);
                        MIM_MEMCPY(to, run->row, (size_t)dim * 4);
                    }
                }
            if (norm && !of_tokens)
                run->s->kernels->norm(row, row, norm, kh * kw * dim, s->eps);
            mimp_project_put(&e.to, rows, n16, rows + 1 == tile || t + rows + 1 == e.tokens);
            mimp_add_position(run, s, table, place, e.y + (t + rows) * stride);
        }
        mimp_project_rows(&e.to, &e.to.matrix, rows, mimp_plain(run->model, s->tensor[2]), s, e.grid.dim, e.y + t * stride, stride);
    }
    if (s->flags & MIM_STEP_BRANCH)
        return;
    MIM_MEMCPY(run->x, e.y, e.tokens * stride * 4);
    MIM_MEMCPY(run->patch, e.place, (size_t)e.tokens * 2);
}

/* ---- attention ----
 *
 * Tokens are taken in the order of their windows, zeros where a window is not full; without windows, all are one. The heads are
 * taken in groups. For a group, q, k and v of all rows are computed and packed, as rows for a leaf or as panels of 16, so that
 * the products of q and k and of the weights and v are the same as the linear layers'. Then each head's tiles of queries are taken
 * to scores, softmax and output; no more scores exist than one tile of queries by the tokens of a window.
 *
 * Quantized: rows of q, panels of 16 tokens of k and of 16 channels of v, in bytes with a scale per token and head, v with one per
 * channel, window and head.
 * Floats: the other way round. Keys and then the channels of v are the rows, queries the channels of both products, so that the
 * scores of the one are the panels of the other as they lie, after exp, and sixteen queries are one vector of lanes. Keys are
 * taken in blocks that stay in the cache: what has been summed is multiplied to suit a new largest score. */

typedef struct mimp_attention {
    mimp_crew crew;
    mimp_run *run;
    const mim_blob_step *step;
    mimp_matrix qkv, proj, shortcut;
    mimp_block block;               /* normalised tokens */
    mimp_block joined;              /* JOIN: what keys and values are of */
    uint32_t bytes;
    mimp_windows shape;
    uint32_t windows;               /* that have tokens; 1 without windows */
    uint32_t rows;                  /* of a window, tokens and zeros */
    uint32_t queries, keys, keys16; /* of a window, after thinning; rounded up to 16 */
    mim_grid grid;                  /* of the queries: of the tokens afterwards */
    uint32_t key_frames, key_height, key_width; /* grid of the keys of a window */
    uint32_t axis_keys;             /* rows, columns and, where there is a table in time, frames of keys */
    uint32_t after;                 /* tokens afterwards */
    uint32_t width;                 /* of a head, padded */
    uint32_t group, first;          /* heads at a time; first of this group */
    uint32_t apart;                 /* they can be shared out: each task takes its own from the product to the output */
    uint32_t tile_rows, tiles;      /* of a window's queries */
    uint32_t keys_block;            /* floats: keys at a time */
    uint32_t tile;                  /* rows of outputs that a task projects at a time */
    uint64_t tile_bytes, q_bytes, k_bytes, v_bytes;     /* of one tile of q; of one head's q, k, v */
    uint8_t *q, *k, *v;             /* per head of the group: [windows][tiles][width][rows], [windows][keys16/16][width][16],
                                       [windows][width/16][keys16][16]; floats: [windows][tiles][2][width][16],
                                       [windows][keys/rows][width][rows], [windows][width/rows][keys][rows] of their leaf */
    float   *q_scale, *k_scale, *v_scale;       /* per head: [windows * tiles * rows], [windows * keys16], [windows * width] */
    int32_t *q_zero, *k_sum;
    float   *out;                   /* (windows * queries, heads * width) */
    float   *bias;                  /* (heads, 2 height - 1, 2 width - 1) of a window, and three for CLS; AXES: its tables; or NULL */
    int32_t *offset;                /* [rows]: where a key's row of the bias lies, less its query's */
    float   *units;                 /* hidden units of the MLP of DISTANCES */
    float   *axes;                  /* per head of the group: (windows * queries, axis_keys): what a query gives each row, column and
                                       frame of keys */
    float   *turn_y, *turn_x, *turn_t;          /* (places along an axis, 2, head_dim): cosines, sines; NULL: none */
    uint32_t *order;                /* [windows * rows]: the token of a row, or MIMP_NO_ROW; NULL: row = token */
    uint32_t *cell;                 /* [windows * rows]: MAX: the query that a row's becomes part of */
    uint32_t *from;                 /* [after]: a token's row of out; NULL: the same */
    uint8_t  *region;               /* [windows * rows]: rows of one window with other regions were not neighbours; NULL: all were */
    float   *y;                     /* (after, dim afterwards): the shortcut; NULL: x stays where it is */
    float   *raw;                   /* [tile][dim afterwards]: the shortcut's projection on its way into y */
} mimp_attention;

static uint32_t mimp_bias_rows(const mimp_attention *a)
{
    return (2 * a->shape.height - 1) * (2 * a->shape.width - 1) + (a->run->s->prefix ? 3 : 0);
}

/* Distances that the tables of AXES reach for: one axis has n queries and m keys. */
static uint32_t mimp_axis_rows(uint32_t n, uint32_t m)
{
    return 2 * mimp_max(n, m) - 1;
}

/* A task's own for a tile of outputs: they packed, their projection on its way to a norm, and returned the scratch. */
static float *mimp_attention_own(mimp_arena *arena, const mimp_attention *a, const mimp_kernels *kernels, mimp_block *block, float **raw)
{
    *block = mimp_block_memory(arena, kernels, &a->proj, a->tile);
    *raw = a->step->flags & MIM_STEP_POST_NORM ? mimp_floats(arena, (uint64_t)a->tile * a->proj.n) : NULL;
    return (float *)mimp_take(arena, mimp_matrix_scratch(kernels, &a->proj));
}

/* A tile of queries in floats: as many panels as a leaf may take at a time; and about how many keys they meet at a time. */
#define MIMP_FLOAT_PANELS 2u
#define MIMP_FLOAT_KEYS 512u

static void mimp_attention_memory(mimp_attention *a, mimp_run *run, const mim_blob_step *s)
{
    mimp_arena *arena = &run->arena;
    const mimp_kernels *kernels = run->s->kernels;
    const uint32_t prefix = run->s->prefix;
    mimp_arena own = { NULL, 0, 0 };
    uint64_t stage, scores, rows;
    mimp_block block;
    float *raw;
    MIM_MEMSET(a, 0, sizeof *a);
    a->run = run;
    a->step = s;
    a->qkv = mimp_matrix_of(run->model, s->tensor[1]);
    a->proj = mimp_matrix_of(run->model, s->tensor[2]);
    if (s->tensor[7])
        a->shortcut = mimp_matrix_of(run->model, s->tensor[7]);
    a->bytes = a->qkv.bytes;
    a->shape = mimp_windows_of(s, &run->grid);
    a->grid = run->grid;
    mimp_advance(run->model, s, &a->grid);
    a->windows = 1;
    a->rows = a->queries = a->keys = a->after = run->tokens;
    a->key_frames = s->window ? 1 : run->grid.frames;
    a->key_height = a->shape.height;
    a->key_width = a->shape.width;
    if (s->window) {
        a->rows = a->queries = a->keys = a->shape.height * a->shape.width;
        a->windows = run->unit_height ? run->tokens / a->rows : run->grid.frames * a->shape.down * a->shape.across;
    }
    if (s->thin == MIM_THIN_MAX) {
        a->queries /= s->stride_height * s->stride_width;
        a->after /= s->stride_height * s->stride_width;
    } else if (s->thin == MIM_THIN_CONV) {
        a->queries = a->after = a->grid.tokens;
        a->key_height = mimp_cells(run->grid.height, s->kernel_height, s->key_stride, s->kernel_height / 2);
        a->key_width = mimp_cells(run->grid.width, s->kernel_width, s->key_stride, s->kernel_width / 2);
        a->keys = prefix + a->key_frames * a->key_height * a->key_width;
    } else if (s->flags & MIM_STEP_JOIN)
        a->keys = run->branch_grid.tokens;
    a->axis_keys = a->key_height + a->key_width + (s->stored_frames ? a->key_frames : 0);
    rows = (uint64_t)a->windows * a->rows;
    a->keys16 = mimp_up(a->keys, 16);
    a->width = mimp_up(s->head_dim, 16);
    a->apart = s->heads % run->s->desc.threads == 0 && run->s->group_heads >= run->s->desc.threads;
    a->group = a->apart ? run->s->desc.threads : mimp_min(run->s->group_heads, s->heads);
    a->tile = mimp_task_rows(run);
    a->tile_rows = a->bytes ? kernels->rows_q8 : MIMP_FLOAT_PANELS * 16;
    a->tiles = mimp_tiles(a->tile_rows, a->queries);
    a->tile_bytes = a->bytes ? mimp_packing_of(kernels, a->width).tile : (uint64_t)a->tile_rows * a->width * 4;
    a->q_bytes = a->tile_bytes * a->tiles * a->windows;
    a->k_bytes = a->v_bytes = (uint64_t)a->windows * a->keys16 * a->width;
    if (!a->bytes) {
        const uint32_t rows_f32 = kernels->rows_f32, k_rows = mimp_tiles(rows_f32, a->keys) * rows_f32;
        a->k_bytes = (uint64_t)a->windows * k_rows * a->width * 4;
        a->v_bytes = (uint64_t)a->windows * (mimp_tiles(rows_f32, a->width) * rows_f32) * a->keys * 4;
        a->keys_block = mimp_min(k_rows, MIMP_FLOAT_KEYS / rows_f32 * rows_f32);
    }
    a->block = mimp_block_memory(arena, kernels, &a->qkv, (uint32_t)rows);
    if (s->flags & MIM_STEP_JOIN)
        a->joined = mimp_block_memory(arena, kernels, &a->qkv, a->keys);
    a->out = mimp_floats(run->slow, (uint64_t)a->windows * a->queries * s->heads * a->width);
    a->q = (uint8_t *)mimp_take_tiles(arena, kernels, a->q_bytes * a->group);
    a->k = (uint8_t *)mimp_take_tiles(arena, kernels, a->k_bytes * a->group);
    a->v = (uint8_t *)mimp_take_tiles(arena, kernels, a->v_bytes * a->group);
    if (a->bytes) {
        const uint64_t q_rows = (uint64_t)a->windows * a->tiles * a->tile_rows, k_rows = (uint64_t)a->windows * a->keys16;
        a->q_scale = mimp_floats(arena, q_rows * a->group);
        a->q_zero = (int32_t *)mimp_take(arena, q_rows * a->group * 4);
        a->k_scale = mimp_floats(arena, k_rows * a->group);
        a->k_sum = (int32_t *)mimp_take(arena, k_rows * a->group * 4);
        a->v_scale = mimp_floats(arena, (uint64_t)a->windows * a->width * a->group);
    }
    if (s->rule == MIM_BIAS_AXES) {
        a->bias = mimp_floats(arena, (uint64_t)(mimp_axis_rows(s->thin ? a->grid.height : a->shape.height, a->key_height)
                                                + mimp_axis_rows(s->thin ? a->grid.width : a->shape.width, a->key_width)
                                                + (s->stored_frames ? mimp_axis_rows(a->key_frames, a->key_frames) : 0)) * a->width);
        a->axes = mimp_floats(arena, (uint64_t)a->windows * a->queries * a->axis_keys * a->group);
    } else if (s->rule) {
        a->bias = mimp_floats(arena, (uint64_t)s->heads * mimp_bias_rows(a));
        a->offset = (int32_t *)mimp_take(arena, (uint64_t)a->rows * 4);
        if (s->tensor[10])
            a->units = mimp_floats(arena, run->model->tensors[s->tensor[10] - 1].columns);
    }
    if (s->tensor[4]) {
        a->turn_y = mimp_floats(arena, (uint64_t)run->grid.height * s->head_dim * 2);
        a->turn_x = mimp_floats(arena, (uint64_t)run->grid.width * s->head_dim * 2);
        a->turn_t = mimp_floats(arena, (uint64_t)run->grid.frames * s->head_dim * 2);
    }
    if (s->window)
        a->order = (uint32_t *)mimp_take(arena, rows * 4);
    if (s->window || s->thin == MIM_THIN_MAX)
        a->from = (uint32_t *)mimp_take(arena, (uint64_t)a->after * 4);
    if (s->thin == MIM_THIN_MAX)
        a->cell = (uint32_t *)mimp_take(arena, rows * 4);
    if (a->shape.shift_y || a->shape.shift_x)
        a->region = (uint8_t *)mimp_take(arena, rows);
    if (s->thin || s->tensor[7])
        a->y = mimp_floats(run->slow, (uint64_t)a->after * mimp_up(a->grid.dim, 16));
    if (s->tensor[7])
        a->raw = mimp_floats(arena, (uint64_t)mimp_tile_of(run) * a->proj.n);
    stage = (mimp_max((uint32_t)rows, a->keys) + 15) / 16 * 16 * (uint64_t)a->width * 4;
    if (s->thin == MIM_THIN_CONV)                    /* and what becomes of it */
        stage += (uint64_t)mimp_max(a->queries, a->keys) * a->width * 4;
    stage += mimp_unpacked_bytes(kernels, &a->qkv);
    scores = a->bytes ? (uint64_t)a->tile_rows * a->keys16 * 4 + mimp_packing_of(kernels, a->keys16).tile
        : ((uint64_t)a->tile_rows * (a->keys_block + 2 + a->width) + a->keys_block) * 4;
    if (stage < scores)
        stage = scores;
    if (s->tensor[7] && stage < mimp_unpacked_bytes(kernels, &a->shortcut))
        stage = mimp_unpacked_bytes(kernels, &a->shortcut);
    if (stage < mimp_rows_bytes(kernels, &a->qkv))
        stage = mimp_rows_bytes(kernels, &a->qkv);
    mimp_attention_own(&own, a, kernels, &block, &raw);
    if (stage < own.high)
        stage = own.high;
    mimp_crew_memory(&a->crew, arena, run->s, stage);
    run->attention_end = arena->used;
}

/* ---- where rows come from and go to ---- */

/* Lays the windows out over the grid: order, from and region. Before, patch says where tokens stand; where[] the reverse. */
static void mimp_windows_lay(const mimp_attention *a, const uint16_t *where)
{
    const mimp_windows *w = &a->shape;
    const uint32_t gh = a->run->grid.height, gw = a->run->grid.width, high = w->down * w->height, wide = w->across * w->width;
    const uint32_t roll_h = a->step->roll_padded ? high : gh, roll_w = a->step->roll_padded ? wide : gw;
    uint32_t frame, i, y, x, row = 0, token;
    for (frame = 0; frame < a->run->grid.frames; frame++)
        for (i = 0; i < w->down * w->across; i++) {
            const uint32_t top = i / w->across * w->height, left = i % w->across * w->width;
            if (a->run->unit_height && !where[(frame * gh + top) * gw + left])
                continue;                                /* a hidden unit */
            for (y = top; y < top + w->height; y++)
                for (x = left; x < left + w->width; x++, row++) {
                    const uint32_t sy = y < roll_h ? (y + w->shift_y) % roll_h : gh, sx = x < roll_w ? (x + w->shift_x) % roll_w : gw;
                    token = sy < gh && sx < gw ? where[(frame * gh + sy) * gw + sx] : 0;
                    a->order[row] = token ? token - 1 : MIMP_NO_ROW;
                    if (token && !a->cell)
                        a->from[token - 1] = row;
                    if (a->region) {
                        const uint32_t ry = !w->shift_y || y + w->height < high ? 0 : y + w->shift_y < high ? 1 : 2;
                        const uint32_t rx = !w->shift_x || x + w->width < wide ? 0 : x + w->shift_x < wide ? 1 : 2;
                        a->region[row] = (uint8_t)(3 * ry + rx);
                    }
                }
        }
}

/* MAX: which query each row becomes part of, and where the tokens that remain stand. */
static void mimp_cells_lay(const mimp_attention *a, uint16_t *where)
{
    const uint32_t sh = a->step->stride_height, sw = a->step->stride_width, gh = a->run->grid.height, gw = a->run->grid.width;
    const uint32_t ww = a->shape.width, across = ww / sw, n = a->windows * a->rows;
    uint32_t t, row, places = 0;
    for (t = 0; t < a->run->tokens; t++) {               /* where[] now of cells; the first of each comes first */
        const uint32_t place = a->run->patch[t], frame = place / gw / gh, y = place / gw % gh, x = place % gw;
        if (y % sh == 0 && x % sw == 0)
            where[(frame * (gh / sh) + y / sh) * (gw / sw) + x / sw] = (uint16_t)places++;
    }
    for (row = 0; row < n; row++) {
        const uint32_t place = a->run->patch[a->order ? a->order[row] : row], frame = place / gw / gh, y = place / gw % gh, x = place % gw;
        const uint32_t token = where[(frame * (gh / sh) + y / sh) * (gw / sw) + x / sw], local = row % a->rows;
        a->cell[row] = a->order ? row / a->rows * a->queries + local / ww / sh * across + local % ww / sw : token;
        a->from[token] = a->cell[row];
    }
}

/* ---- biases ---- */

/* One line of AXES' tables at another length. */
static void mimp_axes_resize(const float *table, uint32_t stored, float *to, uint32_t n, uint32_t width)
{
    mim_blob_step rule;
    uint32_t i, j, d;
    MIM_MEMSET(&rule, 0, sizeof rule);
    rule.rule = MIM_POSITIONS_LINEAR;
    for (i = 0; i < n; i++, to += width) {
        const mimp_axis axis = mimp_axis_of(&rule, i, stored, n, stored == n);
        MIM_MEMSET(to, 0, (size_t)width * 4);
        for (j = 0; j < axis.n; j++)
            for (d = 0; d < width; d++)
                to[d] += (float)mimp_axis_weight(&axis, j) * table[(size_t)mimp_axis_at(&axis, j) * width + d];
    }
}

/* The table of a window that is not the stored one, from its own distances. */
static void mimp_distances_prepare(const mimp_attention *a)
{
    const mim_blob_step *s = a->step;
    const mimp_kernels *kernels = a->crew.kernels;
    const float *mlp = mimp_plain(a->run->model, s->tensor[10]), *distances = mimp_plain(a->run->model, s->tensor[11]);
    const uint32_t n = a->run->model->tensors[s->tensor[10] - 1].columns, stride = a->run->model->tensors[s->tensor[11] - 1].columns;
    const uint32_t high = 2 * a->shape.height - 1, wide = 2 * a->shape.width - 1;
    uint32_t y, x, d, head;
    for (y = 0; y < high; y++)
        for (x = 0; x < wide; x++) {
            const float dy = distances[(size_t)(a->shape.height - 1) * stride + y], dx = distances[(size_t)(a->shape.width - 1) * stride + x];
            for (d = 0; d < n; d++) {
                const float unit = mlp[d] * dy + mlp[n + d] * dx + mlp[2 * (size_t)n + d];
                a->units[d] = unit > 0 ? unit : 0;
            }
            for (head = 0; head < s->heads; head++) {
                float pair[32] = { 0 }, state[32] = { 0 };           /* of v and 0 the softmax is the sigmoid of v */
                pair[0] = kernels->dot(a->units, mlp + (3 + (size_t)head) * n, n);
                kernels->weigh(pair, 2, state, 0, 0);
                a->bias[((size_t)head * high + y) * wide + x] = 16.0f * pair[0] / state[16];
            }
        }
}

/* The table of relative positions for the window, and where each key lies in it. Distances are resized like
 * coordinates: the table is an image whose middle is distance 0. */
static void mimp_bias_prepare(mimp_attention *a)
{
    const mimp_run *run = a->run;
    const mim_blob_step *s = a->step;
    const uint32_t ww = a->shape.width, prefix = run->s->prefix;
    const uint32_t from_h = 2 * s->stored_height - 1, from_w = 2 * s->stored_width - 1;
    const uint32_t to_h = 2 * a->shape.height - 1, to_w = 2 * ww - 1, rows = mimp_bias_rows(a);
    const uint32_t stored = run->model->tensors[s->tensor[3] - 1].columns;
    const float *table = mimp_plain(run->model, s->tensor[3]);
    const int other = from_h != to_h || from_w != to_w, geometric = s->rule == MIM_BIAS_GEOMETRIC && other;
    const int computed = s->rule == MIM_BIAS_DISTANCES && other;
    const double qy = geometric ? mimp_geometric_ratio(from_h, to_h) : 0, qx = geometric ? mimp_geometric_ratio(from_w, to_w) : 0;
    const uint32_t top = s->rule == MIM_BIAS_CROP ? (from_h - to_h) / 2 : 0, left = s->rule == MIM_BIAS_CROP ? (from_w - to_w) / 2 : 0;
    mim_blob_step rule;
    uint32_t head, y, x, i, j, t;
    MIM_MEMSET(&rule, 0, sizeof rule);
    rule.rule = MIM_POSITIONS_LINEAR;
    if (computed)
        mimp_distances_prepare(a);
    for (y = 0; y < to_h && !computed; y++)
        for (x = 0; x < to_w; x++) {
            const mimp_axis ay = geometric ? mimp_axis_geometric(y, from_h, to_h, qy)
                : mimp_axis_of(&rule, y + top, from_h, to_h, from_h == to_h || s->rule == MIM_BIAS_CROP);
            const mimp_axis ax = geometric ? mimp_axis_geometric(x, from_w, to_w, qx)
                : mimp_axis_of(&rule, x + left, from_w, to_w, from_w == to_w || s->rule == MIM_BIAS_CROP);
            for (head = 0; head < s->heads; head++) {
                float *to = a->bias + (size_t)head * rows + (size_t)y * to_w + x;
                *to = 0;
                for (i = 0; i < ay.n; i++)
                    for (j = 0; j < ax.n; j++)
                        *to += (float)(mimp_axis_weight(&ay, i) * mimp_axis_weight(&ax, j))
                            * table[(size_t)head * stored + (size_t)mimp_axis_at(&ay, i) * from_w + mimp_axis_at(&ax, j)];
            }
        }
    for (head = 0; head < s->heads && prefix; head++)
        MIM_MEMCPY(a->bias + (size_t)(head + 1) * rows - 3, table + (size_t)(head + 1) * stored - 3, 12);
    for (t = prefix; t < a->rows; t++) {
        const uint32_t place = s->window ? t : run->patch[t - prefix];
        a->offset[t] = (int32_t)(place / ww * to_w + place % ww);
    }
}

static void mimp_axes_prepare(mimp_attention *a)
{
    const mim_blob_step *s = a->step;
    const uint32_t high = mimp_axis_rows(s->thin ? a->grid.height : a->shape.height, a->key_height);
    const uint32_t wide = mimp_axis_rows(s->thin ? a->grid.width : a->shape.width, a->key_width);
    const float *table = mimp_plain(a->run->model, s->tensor[3]);
    float *to = a->bias;
    mimp_axes_resize(table, 2 * s->stored_height - 1, to, high, a->width);
    table += (size_t)(2 * s->stored_height - 1) * a->width;
    to += (size_t)high * a->width;
    mimp_axes_resize(table, 2 * s->stored_width - 1, to, wide, a->width);
    table += (size_t)(2 * s->stored_width - 1) * a->width;
    to += (size_t)wide * a->width;
    if (s->stored_frames)
        mimp_axes_resize(table, 2 * s->stored_frames - 1, to, mimp_axis_rows(a->key_frames, a->key_frames), a->width);
}

/* Where key k of m is seen from query q of n, among the 2 max(n, m) - 1 distances: places of the finer grid. */
static uint32_t mimp_axis_distance(uint32_t q, uint32_t n, uint32_t k, uint32_t m)
{
    const double fine_q = m > n ? (double)m / n : 1, fine_k = n > m ? (double)n / m : 1;
    return (uint32_t)(q * fine_q - k * fine_k + (m - 1) * fine_k);
}

/* What query row gives each row, column and frame of keys. */
static void mimp_axes_row(const mimp_attention *a, uint32_t place, const float *q, float *to)
{
    const mim_blob_step *s = a->step;
    const uint32_t n = s->thin ? a->grid.height : a->shape.height, m = s->thin ? a->grid.width : a->shape.width;
    const float *wide = a->bias + (size_t)mimp_axis_rows(n, a->key_height) * a->width;
    const float *deep = wide + (size_t)mimp_axis_rows(m, a->key_width) * a->width;
    uint32_t i;
    for (i = 0; i < a->key_height; i++)
        *to++ = a->crew.kernels->dot(q, a->bias + (size_t)mimp_axis_distance(place / m % n, n, i, a->key_height) * a->width, a->width);
    for (i = 0; i < a->key_width; i++)
        *to++ = a->crew.kernels->dot(q, wide + (size_t)mimp_axis_distance(place % m, m, i, a->key_width) * a->width, a->width);
    for (i = 0; i < a->key_frames && s->stored_frames; i++)
        *to++ = a->crew.kernels->dot(q, deep + (size_t)mimp_axis_distance(place / m / n, a->key_frames, i, a->key_frames) * a->width, a->width);
}

/* The bias of query `query` of a window against n of its keys. */
static void mimp_bias_row(const mimp_attention *a, uint32_t head, uint32_t window, uint32_t query, uint32_t first, uint32_t n, float *bias)
{
    const uint32_t prefix = a->run->s->prefix, before = first < prefix ? mimp_min(prefix - first, n) : 0;
    uint32_t i = query < prefix ? n : before;       /* those that have no distance */
    MIM_MEMSET(bias, 0, i * sizeof *bias);
    if (a->axes) {
        const float *rows = a->axes + (((size_t)head * a->windows + window) * a->queries + query) * a->axis_keys;
        const float *columns = rows + a->key_height, *frames = columns + a->key_width;
        for (; i < n; i++) {
            const uint32_t place = first + i - prefix, row = place / a->key_width;
            bias[i] = rows[row % a->key_height] + columns[place % a->key_width];
            if (a->step->stored_frames)
                bias[i] += frames[row / a->key_height];
        }
    } else if (a->bias) {
        const uint32_t rows = mimp_bias_rows(a), to_w = 2 * a->shape.width - 1;
        const float *table = a->bias + (size_t)(a->first + head) * rows;
        const int32_t *offset = a->offset + first;
        while (i-- > 0)
            bias[i] = table[rows - (query >= prefix ? 2 : i < before ? 1 : 3)];
        if (query >= prefix)
            table += a->offset[query] + (int32_t)((a->shape.height - 1) * to_w + a->shape.width - 1);
        for (i = query < prefix ? n : before; i < n; i++)
            bias[i] = table[-offset[i]];
    } else
        MIM_MEMSET(bias, 0, n * sizeof *bias);
    if (a->region) {
        const uint8_t *region = a->region + (size_t)window * a->rows, own = region[query];
        for (i = 0; i < n; i++)
            if (region[first + i] != own)
                bias[i] -= a->step->mask;
    }
}

/* Cosines and sines of one axis. A channel belongs to one axis, or to none and then is turned by 0; in the other axes' tables
 * its entries are 0, so that the sum of the tables is the channel's own. */
static void mimp_turns(const mimp_attention *a, float *turn, uint32_t axis, uint32_t size, uint32_t stored)
{
    const uint32_t hd = a->step->head_dim;
    const float *table = mimp_plain(a->run->model, a->step->tensor[4]);
    uint32_t i, c;
    for (i = 0; i < size; i++, turn += 2 * hd) {
        const double at = axis == 3 ? (double)i : a->step->rotary_grid == MIM_GRID_SCALED ? (double)i * stored / size
            : a->step->rotary_grid == MIM_GRID_CENTERED ? (2.0 * i + 1) / size - 1 : (double)i;
        for (c = 0; c < hd; c++) {
            const float which = table[hd + c];
            const uint32_t of = which > 2.5f ? 3 : which > 1.5f ? 2 : which > 0.5f ? 1 : 0;
            turn[c] = of == axis ? mimp_sine(at * (double)table[c], 1) : !of && axis == 1 ? 1.0f : 0.0f;
            turn[hd + c] = of == axis ? mimp_sine(at * (double)table[c], 0) : 0.0f;
        }
    }
}

/* Rotates one token's q or k in place. */
static void mimp_rotate(const mimp_attention *a, uint32_t token, float *x)
{
    const uint32_t hd = a->step->head_dim, half = hd / 2, prefix = a->run->s->prefix;
    const uint32_t gw = a->run->grid.width, gh = a->run->grid.height;
    const int pairs = a->step->rotary == MIM_ROTARY_PAIRS;
    const float *turn_y, *turn_x, *turn_t;
    uint32_t i, place;
    if (token < prefix || token == MIMP_NO_ROW)
        return;
    place = a->run->patch[token - prefix];
    turn_y = a->turn_y + (size_t)(place / gw % gh) * 2 * hd;
    turn_x = a->turn_x + (size_t)(place % gw) * 2 * hd;
    turn_t = a->turn_t + (size_t)(place / gw / gh) * 2 * hd;
    for (i = 0; i < half; i++) {
        const uint32_t c = pairs ? 2 * i : i, d = pairs ? c + 1 : i + half;
        const float u = x[c], v = x[d];
        x[c] = u * (turn_y[c] + turn_x[c] + turn_t[c]) - v * (turn_y[hd + c] + turn_x[hd + c] + turn_t[hd + c]);
        x[d] = v * (turn_y[d] + turn_x[d] + turn_t[d]) + u * (turn_y[hd + d] + turn_x[hd + d] + turn_t[hd + d]);
    }
}

/* ---- q, k and v ---- */

/* One head's rows thinned by CONV: a convolution of each channel over the patches, then a norm. Returns where they are. */
static float *mimp_thin_conv(const mimp_attention *a, uint32_t part, const float *x, float *to)
{
    const mim_blob_step *s = a->step;
    const uint32_t gh = a->run->grid.height, gw = a->run->grid.width, prefix = a->run->s->prefix, width = a->width;
    const uint32_t k = s->kernel_height, kf = s->kernel_frames, stride = part ? s->key_stride : s->stride_height;
    const uint32_t frames = a->key_frames, high = part ? a->key_height : a->grid.height, wide = part ? a->key_width : a->grid.width;
    const float *kernel = mimp_plain(a->run->model, s->tensor[8]) + (size_t)part * kf * k * k * width;
    const float *norm = mimp_plain(a->run->model, s->tensor[9]) + (size_t)part * 2 * s->head_dim;
    float *row = to;
    uint32_t t, kt, ky, kx;
    MIM_MEMCPY(to, x, (size_t)prefix * width * 4);
    x += (size_t)prefix * width;
    for (t = 0; t < prefix + frames * high * wide; t++, row += width) {
        if (t >= prefix) {                               /* before the first frame, above the top or left of it: large */
            const uint32_t place = t - prefix, front = place / wide / high - kf / 2;
            const uint32_t top = place / wide % high * stride - k / 2, left = place % wide * stride - k / 2;
            const float *tap = kernel;
            MIM_MEMSET(row, 0, (size_t)width * 4);
            for (kt = 0; kt < kf; kt++)
                for (ky = 0; ky < k; ky++)
                    for (kx = 0; kx < k; kx++, tap += width) {
                        const uint32_t f = front + kt, y = top + ky, z = left + kx;
                        if (f < frames && y < gh && z < gw)
                            a->crew.kernels->accumulate(row, x + (((size_t)f * gh + y) * gw + z) * width, tap, width);
                    }
        }
        a->crew.kernels->norm(row, row, norm, s->head_dim, s->eps);
    }
    return to;
}

/* MAX: the largest of each cell, in place; a cell's number is never more than that of its rows. */
static void mimp_thin_max(const mimp_attention *a, float *x)
{
    const uint32_t n = a->windows * a->rows, width = a->width;
    uint32_t row, d, seen = 0;
    for (row = 0; row < n; row++) {
        const uint32_t cell = a->cell[row];
        const float *from = x + (size_t)row * width;
        float *to = x + (size_t)cell * width;
        if (cell == seen) {                              /* its first */
            seen++;
            if (cell != row)
                MIM_MEMCPY(to, from, (size_t)width * 4);
        } else
            for (d = 0; d < width; d++)
                to[d] = from[d] > to[d] ? from[d] : to[d];
    }
}

/* Norms of one head's queries or keys. */
static void mimp_qk_norm(const mimp_attention *a, uint32_t head, uint32_t part, float *x, uint32_t rows)
{
    const mim_blob_step *s = a->step;
    const float *table = mimp_plain(a->run->model, s->tensor[6]);
    const uint32_t width = a->width;
    uint32_t t, d;
    for (t = 0; t < rows; t++, x += width) {
        if (s->qk_norm == MIM_QK_LAYER_NORM)
            a->crew.kernels->norm(x, x, table + (size_t)part * 2 * s->head_dim, s->head_dim, s->eps);
        else {
            const float length = mimp_sqrt(a->crew.kernels->dot(x, x, width));
            const float factor = (part ? 1.0f : table[a->first + head]) / (length > 1e-12f ? length : 1e-12f);
            for (d = 0; d < width; d++)
                x[d] *= factor;
        }
    }
}

/* Packs one head's queries. */
static void mimp_pack_q(const mimp_attention *a, uint32_t head, const float *x)
{
    const uint32_t rows = a->tile_rows, width = a->width, prefix = a->run->s->prefix, flags = a->step->flags;
    const float scale = a->step->qk_norm == MIM_QK_UNIT ? 1.0f : a->step->scale;
    const mimp_packing packed = mimp_packing_of(a->crew.kernels, width);
    uint8_t *q = a->q + (size_t)(head * a->q_bytes);
    uint32_t w, t;
    for (w = 0; w < a->windows; w++, q += a->tiles * a->tile_bytes) {
        const size_t at = ((size_t)head * a->windows + w) * a->tiles * rows;
        const float *const window = x + (size_t)w * a->queries * width;
        for (t = 0; t < a->queries && (a->axes || flags & MIM_STEP_ADD_QUERY); t++) {
            const size_t row = (size_t)w * a->queries + t;
            float *out = a->out + row * a->step->heads * width + (size_t)(a->first + head) * width;
            if (a->axes && t >= prefix)
                mimp_axes_row(a, t - prefix, window + (size_t)t * width,
                              a->axes + ((size_t)head * a->windows * a->queries + row) * a->axis_keys);
            if (flags & (t < prefix ? MIM_STEP_ADD_PREFIX_QUERY : MIM_STEP_ADD_QUERY))
                MIM_MEMCPY(out, window + (size_t)t * width, (size_t)width * 4);
            else if (flags & MIM_STEP_ADD_QUERY)
                MIM_MEMSET(out, 0, (size_t)width * 4);
        }
        if (!a->bytes) {
            for (t = 0; t < a->queries; t += 16)
                a->crew.kernels->pack((float *)(void *)q + (size_t)t * width, 16, window + (size_t)t * width, width,
                                      mimp_min(16, a->queries - t), width, scale);
            continue;
        }
        MIM_MEMSET(q + (size_t)((a->tiles - 1) * a->tile_bytes), 0, (size_t)a->tile_bytes);
        for (t = 0; t < a->queries; t++) {
            const mimp_quantized z = a->crew.kernels->quantize(q + (size_t)(t / rows * a->tile_bytes) + t % rows * packed.row, packed.quad,
                                                               window + (size_t)t * width, width, 255, 0, NULL);
            a->q_scale[at + t] = z.scale * scale;
            a->q_zero[at + t] = z.zero;
        }
        for (; t < a->tiles * rows; t++) {
            a->q_scale[at + t] = 0;
            a->q_zero[at + t] = 0;
        }
    }
}

/* Packs one head's keys. */
static void mimp_pack_k(const mimp_attention *a, uint32_t head, const float *x)
{
    const uint32_t width = a->width, rows = a->crew.kernels->rows_f32;
    const size_t panel_bytes = (size_t)width * 16;
    uint8_t *k = a->k + (size_t)(head * a->k_bytes);
    uint32_t w, t;
    for (w = 0; w < a->windows; w++, k += (size_t)(a->k_bytes / a->windows), x += (size_t)a->keys * width) {
        const size_t at = ((size_t)head * a->windows + w) * a->keys16;
        if (!a->bytes) {
            for (t = 0; t < a->keys; t += rows)
                a->crew.kernels->pack((float *)(void *)k + (size_t)t * width, rows, x + (size_t)t * width, width,
                                      mimp_min(rows, a->keys - t), width, 1.0f);
            continue;
        }
        MIM_MEMSET(k + (a->keys16 / 16 - 1) * panel_bytes, 0, panel_bytes);
        for (t = 0; t < a->keys; t++) {
            const mimp_quantized z = a->crew.kernels->quantize(k + t / 16 * panel_bytes + 4 * (t % 16), 64, x + (size_t)t * width, width,
                                                               a->step->key_max, 1, NULL);
            a->k_scale[at + t] = z.scale;
            a->k_sum[at + t] = z.sum;
        }
        for (; t < a->keys16; t++) {
            a->k_scale[at + t] = 0;
            a->k_sum[at + t] = 0;
        }
    }
}

/* Packs sixteen channels of one head's values, panel p; x has those of all panels in a row. As rows for a leaf, they may share
 * tiles with their neighbours'; what no channel has in the last is zero. */
static void mimp_pack_v(const mimp_attention *a, uint32_t head, uint32_t p, const float *x)
{
    const mimp_kernels *kernels = a->crew.kernels;
    const uint32_t rows = kernels->rows_f32, width = a->width, end = p * 16 + 16 < width ? p * 16 + 16 : mimp_tiles(rows, width) * rows;
    const size_t window = (size_t)(a->v_bytes / a->windows);
    uint8_t *v = a->v + (size_t)(head * a->v_bytes);
    uint32_t w, d, n, t;
    for (w = 0; w < a->windows; w++, v += window, x += (size_t)a->keys * width) {
        if (a->bytes) {
            kernels->values((int8_t *)v + (size_t)p * a->keys16 * 16, a->v_scale + ((size_t)head * a->windows + w) * width + p * 16,
                            x + p * 16, width, a->keys, a->keys16, a->step->value_max);
            continue;
        }
        for (d = p * 16; d < end; d += n) {
            float *to = (float *)(void *)v + (size_t)(d - d % rows) * a->keys + d % rows;
            n = mimp_min(rows - d % rows, d < width ? mimp_min(end, width) - d : end - d);
            for (t = 0; t < a->keys; t++, to += rows)
                if (d < width)
                    MIM_MEMCPY(to, x + (size_t)t * width + d, n * sizeof *to);
                else
                    MIM_MEMSET(to, 0, n * sizeof *to);
        }
    }
}

/* Panels first..end of one head's q, k or v: the product, then the packing. Only v's may be some of all. */
static void mimp_attention_part(const mimp_attention *a, uint32_t head, uint32_t part, uint32_t first, uint32_t end, float *scratch)
{
    const mimp_kernels *kernels = a->crew.kernels;
    const uint32_t width = a->width, conv = a->step->thin == MIM_THIN_CONV, joins = part && a->step->flags & MIM_STEP_JOIN;
    const uint32_t rows = joins ? a->keys : a->windows * a->rows;
    const uint32_t panel = ((a->first + head) * 3 + part) * (width / 16);
    float *const stage = scratch + mimp_unpacked_bytes(kernels, &a->qkv) / 4, *x = stage;
    const mimp_matrix m = mimp_matrix_part(&a->qkv, panel, width / 16);
    uint32_t p, t;
    MIM_STAGE(MIM_STAGE_QKV);
    mimp_linear_panels(kernels, &m, first, end, joins ? &a->joined : &a->block, rows, stage, width, 0, 0, scratch);
    MIM_STAGE(MIM_STAGE_PACK);
    for (p = first; p < end && part == 2 && !conv; p++)
        mimp_pack_v(a, head, p, stage);
    if (part == 2 && !conv)
        return;
    for (t = 0; a->turn_y && t < rows; t++)
        mimp_rotate(a, a->order ? a->order[t] : t, stage + (size_t)t * width);
    if (conv)
        x = mimp_thin_conv(a, part, stage, stage + (size_t)mimp_up(rows, 16) * width);
    if (part == 0 && a->cell)
        mimp_thin_max(a, x);
    if (part < 2 && a->step->qk_norm)
        mimp_qk_norm(a, head, part, x, a->windows * (part ? a->keys : a->queries));
    if (part == 0)
        mimp_pack_q(a, head, x);
    else if (part == 1)
        mimp_pack_k(a, head, x);
    else
        for (p = first; p < end; p++)
            mimp_pack_v(a, head, p, x);
}

/* Panels of a group's heads, in the order q, v, k of each: v's can be shared out among tasks, the others' go to the task that
 * has the first. */
static void mimp_attention_parts(void *arg, uint32_t index)
{
    const mimp_attention *a = (const mimp_attention *)arg;
    const uint32_t panels = a->width / 16, all = mimp_min(a->group, a->step->heads - a->first) * 3 * panels;
    const uint32_t end = mimp_share(all, index + 1, a->crew.tasks), divided = a->step->thin != MIM_THIN_CONV;
    uint32_t i, next;
    for (i = mimp_share(all, index, a->crew.tasks); i < end; i = next) {
        const uint32_t part = (3 - i / panels % 3) % 3, first = i % panels;
        next = i - first + panels;
        if (part == 2 && divided)
            mimp_attention_part(a, i / panels / 3, part, first, mimp_min(panels, first + end - i), mimp_scratch(&a->crew, index));
        else if (!first)
            mimp_attention_part(a, i / panels / 3, part, 0, panels, mimp_scratch(&a->crew, index));
    }
}

/* ---- scores and outputs ---- */

static void mimp_attention_put(const mimp_attention *a, uint32_t head, uint32_t query, uint32_t key, float weight)
{
    const size_t row = (size_t)(a->first + head) * a->keys + mimp_row_out(a->run, query);
    mimp_copy_out(a->run->out->attention + row * a->keys + mimp_row_out(a->run, key), &weight, 1);
}

static int mimp_attention_wanted(const mimp_attention *a) { return a->run->out->attention && a->step == a->run->last_attention; }

/* A tile of rows of one head and window, from scores to output, in bytes. */
static void mimp_attention_bytes(const mimp_attention *a, uint32_t head, uint32_t window, uint32_t tile, float *scores)
{
    const mimp_kernels *kernels = a->crew.kernels;
    const uint32_t k16 = a->keys16, width = a->width, first = tile * a->tile_rows, rows = mimp_min(a->tile_rows, a->queries - first);
    const size_t at = (size_t)head * a->windows + window, bytes = (size_t)(a->k_bytes / a->windows), stride = (size_t)a->step->heads * width;
    const uint8_t *q = a->q + (size_t)((at * a->tiles + tile) * a->tile_bytes);
    uint8_t *p = (uint8_t *)(scores + (size_t)a->tile_rows * k16);      /* exp(scores), packed for the second product */
    float *out = a->out + ((size_t)window * a->queries + first) * stride + (size_t)(a->first + head) * width;
    const mimp_packing packed = mimp_packing_of(kernels, k16);
    float factor[MIMP_MAX_ROWS];
    mimp_operand w = mimp_operand_of(a->k + at * bytes, width, k16 / 16, mimp_bytes_kind(a->step->key_max, 255));
    mimp_epilogue e;
    uint32_t r, j;
    MIM_STAGE(MIM_STAGE_SCORES);
    MIM_MEMSET(&e, 0, sizeof e);
    e.integer = 1;
    e.factor = a->q_scale + at * a->tiles * a->tile_rows + first;
    e.zero = a->q_zero + at * a->tiles * a->tile_rows + first;
    e.scale = a->k_scale + at * k16;
    e.sum = a->k_sum + at * k16;
    e.add = a->bias || a->region;
    for (r = 0; r < rows && e.add; r++) {
        mimp_bias_row(a, head, window, first + r, 0, a->keys, scores + (size_t)r * k16);
        MIM_MEMSET(scores + (size_t)r * k16 + a->keys, 0, (k16 - a->keys) * sizeof *scores);
    }
    mimp_enter(kernels, &w);
    mimp_tile_panels(kernels, q, a->tile_rows, rows, &w, scores, k16, e);
    mimp_leave(kernels, &w);
    MIM_STAGE(MIM_STAGE_SOFTMAX);
    for (r = 0; r < rows; r++)
        for (j = a->keys; j < k16; j++)
            scores[(size_t)r * k16 + j] = -3.4e38f;                     /* far from any largest */
    for (r = 0; r < rows; r++) {
        const uint8_t *row = p + r * packed.row;
        factor[r] = 1.0f / (float)kernels->softmax(scores + (size_t)r * k16, k16, p + r * packed.row, packed.quad);
        for (j = 0; j < a->keys && mimp_attention_wanted(a); j++)
            mimp_attention_put(a, head, first + r, j, (float)row[j / 4 * packed.quad + j % 4] * factor[r]);
    }
    MIM_STAGE(MIM_STAGE_VALUES);
    MIM_MEMSET(&e, 0, sizeof e);
    e.integer = 1;
    e.factor = factor;
    e.scale = a->v_scale + at * width;
    e.add = a->step->flags & MIM_STEP_ADD_QUERY;
    w = mimp_operand_of(a->v + at * bytes, k16, width / 16, mimp_bytes_kind(a->step->value_max, 255));
    mimp_enter(kernels, &w);
    mimp_tile_panels(kernels, p, a->tile_rows, rows, &w, out, stride, e);
    mimp_leave(kernels, &w);
}

/* A tile of rows of floats by panels `step` floats apart, to results [panel][rows][16] `apart` floats apart. */
static void mimp_float_panels(const mimp_kernels *kernels, float *y, size_t apart, const float *a, uint32_t rows, const float *w,
                              size_t k, size_t step, uint32_t panels)
{
    for (; panels > 1 && kernels->pair_f32; panels -= 2, y += 2 * apart, w += 2 * step)
        kernels->pair_f32(y, apart, a, w, k, step, rows);
    for (; panels; panels--, y += apart, w += step)
        kernels->tile_f32(y, a, w, k);
}

/* The same in floats. Of each panel: scores [block][16], and the largest, the sum and the outputs so far, [2 + width][16]. Weights
 * that the caller wants are computed again when the largest score is known. */
static void mimp_attention_floats(const mimp_attention *a, uint32_t head, uint32_t window, uint32_t tile, float *scores)
{
    const mimp_kernels *kernels = a->crew.kernels;
    const uint32_t rows = kernels->rows_f32, width = a->width, first = tile * a->tile_rows, most = mimp_min(a->tile_rows, a->queries - first);
    const uint32_t panels = mimp_tiles(16, most), passes = mimp_attention_wanted(a) ? 2 : 1;
    const size_t at = (size_t)head * a->windows + window, block = (size_t)a->keys_block * 16, state = (2 + (size_t)width) * 16;
    const size_t stride = (size_t)a->step->heads * width;
    const float *q = (const float *)(const void *)(a->q + (size_t)((at * a->tiles + tile) * a->tile_bytes));
    const float *k = (const float *)(const void *)(a->k + at * (size_t)(a->k_bytes / a->windows));
    const float *v = (const float *)(const void *)(a->v + at * (size_t)(a->v_bytes / a->windows));
    float *states = scores + MIMP_FLOAT_PANELS * block, *bias = states + MIMP_FLOAT_PANELS * state, factor[MIMP_FLOAT_PANELS * 16];
    float *out = a->out + ((size_t)window * a->queries + first) * stride + (size_t)(a->first + head) * width;
    mimp_tile acc;
    mimp_epilogue e;
    uint32_t pass, key, n, p, d, r, j;
    for (p = 0; p < panels; p++) {
        MIM_MEMSET(states + p * state, 0, state * sizeof *states);
        for (r = 0; r < 16; r++)
            states[p * state + r] = -3.0e38f;
    }
    for (pass = 0; pass < passes; pass++) {
        for (key = 0; key < a->keys; key += n) {
            n = mimp_min(a->keys_block, a->keys - key);
            MIM_STAGE(MIM_STAGE_SCORES);
            for (j = 0; j < n; j += rows)
                mimp_float_panels(kernels, scores + (size_t)j * 16, block, k + (size_t)(key + j) * width, mimp_min(rows, n - j), q, width,
                                  (size_t)width * 16, panels);
            for (r = 0; r < most && (a->bias || a->region); r++) {
                float *column = scores + r / 16 * block + r % 16;
                mimp_bias_row(a, head, window, first + r, key, n, bias);
                for (j = 0; j < n; j++)
                    column[16 * j] += bias[j];
            }
            MIM_STAGE(MIM_STAGE_SOFTMAX);
            for (p = 0; p < panels; p++)
                kernels->weigh(scores + p * block, n, states + p * state, width, 1);
            for (j = 0; j < n && pass; j++)
                for (r = 0; r < most; r++)
                    mimp_attention_put(a, head, first + r, key + j, scores[r / 16 * block + j * 16 + r % 16] * factor[r]);
            MIM_STAGE(MIM_STAGE_VALUES);
            MIM_MEMSET(&e, 0, sizeof e);
            e.add = 1;
            for (d = 0; d < width && !pass; d += rows) {
                mimp_float_panels(kernels, acc.f, rows * 16, v + (size_t)d * a->keys + (size_t)key * rows, mimp_min(rows, width - d),
                                  scores, n, block, panels);
                for (p = 0; p < panels; p++)
                    kernels->finish(states + p * state + (size_t)(2 + d) * 16, 16, acc.f + p * rows * 16, mimp_min(rows, width - d), &e);
            }
        }
        for (p = 0; p < panels && !pass; p++) {
            float *at_panel = states + p * state;
            for (r = 0; r < 16; r++)
                factor[16 * p + r] = 1.0f / at_panel[16 + r];
            e.factor = factor + 16 * p;
            e.add = a->step->flags & MIM_STEP_ADD_QUERY;
            for (d = 0; d < width; d += 16) {
                kernels->pack(acc.f, 16, at_panel + (size_t)(2 + d) * 16, 16, 16, 16, 1.0f);
                kernels->finish(out + 16 * p * stride + d, stride, acc.f, mimp_min(16, most - 16 * p), &e);
            }
        }
    }
}

/* Tiles first..end of all that the group's heads have. */
static void mimp_attention_stretch(const mimp_attention *a, uint32_t first, uint32_t end, float *scores)
{
    const uint32_t per_head = a->windows * a->tiles;
    for (; first < end; first++)
        (a->bytes ? mimp_attention_bytes : mimp_attention_floats)(a, first / per_head, first % per_head / a->tiles, first % a->tiles, scores);
}

static void mimp_attention_queries(void *arg, uint32_t index)
{
    const mimp_attention *a = (const mimp_attention *)arg;
    const uint32_t n = mimp_min(a->group, a->step->heads - a->first) * a->windows * a->tiles;
    /* a stretch of tiles rather than every n-th: those of one head share its k and v */
    mimp_attention_stretch(a, mimp_share(n, index, a->crew.tasks), mimp_share(n, index + 1, a->crew.tasks), mimp_scratch(&a->crew, index));
}

/* Whole heads, one after the other; what belongs to them lies at place `index` of the group. */
static void mimp_attention_heads(void *arg, uint32_t index)
{
    mimp_attention a = *(const mimp_attention *)arg;
    float *const scratch = mimp_scratch(&a.crew, index);
    const uint32_t end = mimp_share(a.step->heads, index + 1, a.crew.tasks);
    const uint32_t tiles = a.windows * a.tiles;
    uint32_t head, part;
    for (head = mimp_share(a.step->heads, index, a.crew.tasks); head < end; head++) {
        a.first = head - index;
        for (part = 0; part < 3; part++)
            mimp_attention_part(&a, index, part, 0, a.width / 16, scratch);
        mimp_attention_stretch(&a, index * tiles, (index + 1) * tiles, scratch);
    }
}

/* ---- the residual stream beside it ---- */

/* x's part in the tokens afterwards: y = the largest of each cell of shortcut(norm(x)), or of x. */
static void mimp_shortcut_run(const mimp_attention *a, const uint16_t *where)
{
    const mimp_run *run = a->run;
    const mim_blob_step *s = a->step;
    const uint32_t max = s->thin == MIM_THIN_MAX, prefix = run->s->prefix, gh = run->grid.height, gw = run->grid.width;
    const uint32_t sh = s->thin ? s->stride_height : 1, sw = s->thin ? s->stride_width : 1;
    const uint32_t kh = max || sh == 1 ? sh : sh + 1, kw = max || sw == 1 ? sw : sw + 1;        /* of the cells */
    const uint32_t ph = max ? 0 : kh / 2, pw = max ? 0 : kw / 2, dim = a->grid.dim, tile = mimp_tile_of(run);
    const size_t stride = mimp_up(dim, 16);
    const uint32_t rows = s->tensor[7] ? a->windows * a->rows : run->tokens, wide = s->tensor[7] ? dim : run->dim;
    const float share = 1.0f / (float)(sh * sw);
    uint32_t first, r, d, t;
    MIM_MEMSET(a->y, 0, a->after * stride * 4);
    for (t = prefix; t < a->after; t++)
        for (d = 0; d < wide; d++)
            a->y[t * stride + d] = -3.4e38f;
    for (first = 0; first < rows; first += tile) {
        const uint32_t n = mimp_min(tile, rows - first);
        if (s->tensor[7]) {
            const mimp_block part = mimp_block_from(&a->block, first);
            mimp_linear(&a->crew, &a->shortcut, &part, n, a->raw, a->shortcut.n, 0, 0);
        }
        for (r = 0; r < n; r++) {
            const uint32_t row = first + r, token = s->tensor[7] && a->order ? a->order[row] : row;
            const float *from = s->tensor[7] ? a->raw + (size_t)r * a->shortcut.n : run->x + token * run->stride;
            uint32_t place, frame, y, x, oy, ox;
            if (token == MIMP_NO_ROW)
                continue;
            if (token < prefix) {
                MIM_MEMCPY(a->y + token * stride, from, (size_t)dim * 4);
                continue;
            }
            if (!s->thin) {
                MIM_MEMCPY(a->y + token * stride, from, (size_t)dim * 4);
                continue;
            }
            place = run->patch[token - prefix];
            frame = place / gw / gh;
            y = place / gw % gh + ph;
            x = place % gw + pw;
            for (oy = y < kh ? 0 : (y - kh) / sh + 1; oy <= y / sh && oy < a->grid.height; oy++)
                for (ox = x < kw ? 0 : (x - kw) / sw + 1; ox <= x / sw && ox < a->grid.width; ox++) {
                    const uint32_t cell = (frame * a->grid.height + oy) * a->grid.width + ox;
                    float *to = a->y + (prefix + (max ? where[cell] : cell)) * stride;
                    for (d = 0; d < wide; d++)
                        to[d] = from[d] > to[d] ? from[d] : to[d];
                    for (; d < dim; d++)                 /* twice as wide: the mean */
                        to[d] += from[d - wide] * share;
                }
        }
    }
}

/* y += matrix block, or norm(matrix block) where the norm comes last: raw (rows, m->n) then, else NULL. */
static void mimp_add_rows(const mimp_run *run, const mim_blob_step *s, const mimp_matrix *m, const mimp_block *block, uint32_t rows,
                          float *y, size_t stride, float *raw, float *scratch)
{
    const mimp_kernels *kernels = run->s->kernels;
    uint32_t r, d;
    mimp_linear_panels(kernels, m, 0, m->n / 16, block, rows, raw ? raw : y, raw ? m->n : stride, 0, !raw, scratch);
    for (r = 0; r < rows && raw; r++, y += stride, raw += m->n) {
        kernels->norm(raw, raw, mimp_plain(run->model, s->tensor[0]), run->dim, s->eps);
        for (d = 0; d < run->dim; d++)
            y[d] += raw[d];
    }
}

/* A share of the rows of outputs, projected. */
static void mimp_attention_outputs(void *arg, uint32_t index)
{
    const mimp_attention *a = (const mimp_attention *)arg;
    const mim_blob_step *s = a->step;
    const mimp_run *run = a->run;
    const uint32_t end = mimp_share(run->tokens, index + 1, a->crew.tasks);
    const size_t stride = (size_t)s->heads * a->width;
    mimp_arena arena = { NULL, 0, 0 };
    uint32_t first, rows;
    mimp_pack_job pack;
    mimp_block block;
    float *raw, *scratch;
    arena.base = mimp_scratch_bytes(&a->crew, index);
    scratch = mimp_attention_own(&arena, a, a->crew.kernels, &block, &raw);
    for (first = mimp_share(run->tokens, index, a->crew.tasks); first < end; first += rows) {
        rows = mimp_min(a->tile, end - first);
        pack = mimp_pack_of(&a->crew, &block, a->out + (a->from ? 0 : first * stride), stride, rows, s->heads * s->head_dim,
                            mimp_plain(run->model, s->tensor[5]), s->eps);
        pack.head_dim = s->head_dim;
        pack.width = a->width;
        pack.from = a->from ? a->from + first : NULL;
        mimp_pack_own(&pack, scratch);
        MIM_STAGE(MIM_STAGE_PROJECTION);
        mimp_add_rows(run, s, &a->proj, &block, rows, run->x + first * run->stride, run->stride, raw, scratch);
    }
}

static void mimp_attention_run(mimp_run *run, const mim_blob_step *s)
{
    const uint32_t post = s->flags & MIM_STEP_POST_NORM, prefix = run->s->prefix;
    uint16_t *where = run->where;
    mimp_attention a;
    mimp_pack_job pack;
    uint32_t t;
    mimp_attention_memory(&a, run, s);
    if (a.order) {
        mimp_find_tokens(run);
        mimp_windows_lay(&a, where);
    }
    if (a.cell)
        mimp_cells_lay(&a, where);
    if (a.axes)
        mimp_axes_prepare(&a);
    else if (a.bias)
        mimp_bias_prepare(&a);
    if (a.turn_y) {
        mimp_turns(&a, a.turn_y, 1, run->grid.height, s->stored_height);
        mimp_turns(&a, a.turn_x, 2, run->grid.width, s->stored_width);
        mimp_turns(&a, a.turn_t, 3, run->grid.frames, 0);
    }
    pack = mimp_pack_of(&a.crew, &a.block, run->x, run->stride, a.windows * a.rows, run->dim,
                        post ? NULL : mimp_plain(run->model, s->tensor[0]), s->eps);
    pack.from = a.order;
    mimp_pack(pack);
    if (s->flags & MIM_STEP_JOIN) {                  /* whose rows are as wide */
        pack.block = &a.joined;
        pack.x = run->branch;
        pack.rows = a.keys;
        pack.norm = NULL;
        mimp_pack(pack);
        run->branched = 0;
    }
    MIM_STAGE(MIM_STAGE_PROJECTION);
    if (a.y)
        mimp_shortcut_run(&a, where);
    if (a.apart)
        mimp_work(&a.crew, mimp_attention_heads, &a);
    for (a.first = 0; a.first < s->heads && !a.apart; a.first += a.group) {
        mimp_work(&a.crew, mimp_attention_parts, &a);
        mimp_work(&a.crew, mimp_attention_queries, &a);
    }
    MIM_STAGE(MIM_STAGE_PROJECTION);
    if (a.y) {
        if (a.cell)
            mimp_keep_cells(run, run->patch, s->stride_height, s->stride_width);
        else if (s->thin)
            for (t = prefix; t < a.after; t++)
                run->patch[t - prefix] = (uint16_t)(t - prefix);
        mimp_follow(run, s);
        MIM_MEMCPY(run->x, a.y, run->tokens * run->stride * 4);
    }
    mimp_work(&a.crew, mimp_attention_outputs, &a);
}

/* ---- mlp: tile by tile of rows, so that the hidden layer is never whole; each task its own ---- */

typedef struct mimp_mlp {
    mimp_crew crew;
    mimp_run *run;
    const mim_blob_step *step;
    mimp_matrix fc1, fc2, shortcut;
    uint32_t tile;
    uint32_t pass;                  /* a convolution needs all tokens' hidden layers first */
    float *hidden;                  /* (tokens, fc1.n), if there is one; else NULL */
    float *y;                       /* (tokens, dim afterwards): the shortcut; NULL: x stays where it is */
} mimp_mlp;

/* A task's own. */
typedef struct mimp_mlp_rows {
    mimp_block block, hidden_block;
    float *hidden;                  /* (tile, fc1.n): after the convolution, if there is one */
    float *raw;                     /* (tile, dim): on its way to a norm; or NULL */
    float *scratch;
} mimp_mlp_rows;

/* Hidden rows are packed downwards in memory, tile by tile over what has been packed: they need room of their own for one tile,
 * and what each is larger than the floats it comes from. There their input lies before. */
static mimp_mlp_rows mimp_mlp_own(mimp_arena *arena, const mimp_mlp *m, const mimp_kernels *kernels)
{
    uint64_t begin, end, floats, scratch = mimp_matrix_scratch(kernels, &m->fc1);
    mimp_mlp_rows own;
    own.hidden_block = mimp_block_part(arena, kernels, &m->fc2, m->tile, 0);
    begin = arena->used;
    floats = (uint64_t)own.hidden_block.tile_rows * m->fc1.n * 4;
    end = begin + own.hidden_block.tile_bytes;
    if (own.hidden_block.tile_bytes > floats)
        end += (mimp_tiles(own.hidden_block.tile_rows, m->tile) - 1) * (own.hidden_block.tile_bytes - floats);
    own.block = mimp_block_memory(arena, kernels, &m->fc1, m->tile);
    arena->used = arena->used < end ? end : arena->used;
    own.hidden = mimp_floats(arena, (uint64_t)m->tile * m->fc1.n);
    own.raw = m->step->flags & MIM_STEP_POST_NORM ? mimp_floats(arena, (uint64_t)m->tile * m->fc2.n) : NULL;
    if (scratch < mimp_matrix_scratch(kernels, &m->fc2))
        scratch = mimp_matrix_scratch(kernels, &m->fc2);
    if (m->step->tensor[5] && scratch < mimp_unpacked_bytes(kernels, &m->shortcut))
        scratch = mimp_unpacked_bytes(kernels, &m->shortcut);
    own.scratch = (float *)mimp_take(arena, scratch);
    return own;
}

static void mimp_mlp_memory(mimp_mlp *m, mimp_run *run, const mim_blob_step *s)
{
    mimp_arena own = { NULL, 0, 0 };
    /* Of several tasks each would find attention's memory in the cache of that which had it for its rows. */
    if (run->s->desc.threads > 1 && run->arena.used < run->attention_end)
        run->arena.used = run->attention_end;
    MIM_MEMSET(m, 0, sizeof *m);
    m->run = run;
    m->step = s;
    m->tile = mimp_task_rows(run);
    m->fc1 = mimp_matrix_of(run->model, s->tensor[1]);
    m->fc2 = mimp_matrix_of(run->model, s->tensor[2]);
    if (s->tensor[4])
        m->hidden = mimp_floats(&run->arena, (uint64_t)run->tokens * m->fc1.n);
    if (s->tensor[5]) {
        m->shortcut = mimp_matrix_of(run->model, s->tensor[5]);
        m->y = mimp_floats(run->slow, (uint64_t)run->tokens * m->shortcut.n);
    }
    mimp_mlp_own(&own, m, run->s->kernels);
    mimp_crew_memory(&m->crew, &run->arena, run->s, own.high);
}

/* A share of the rows. */
static void mimp_mlp_task(void *arg, uint32_t index)
{
    const mimp_mlp *m = (const mimp_mlp *)arg;
    const mim_blob_step *s = m->step;
    const mimp_run *run = m->run;
    const mimp_kernels *kernels = m->crew.kernels;
    const uint32_t gate = s->flags & MIM_STEP_GATED ? s->activation : 0, hidden = run->model->tensors[s->tensor[2] - 1].columns;
    const uint32_t end = mimp_share(run->tokens, index + 1, m->crew.tasks), n = m->fc1.n;
    const float *norm = s->flags & MIM_STEP_POST_NORM ? NULL : mimp_plain(run->model, s->tensor[0]);
    mimp_arena arena = { NULL, 0, 0 };
    uint32_t first, rows, r;
    mimp_pack_job pack;
    mimp_mlp_rows own;
    arena.base = mimp_scratch_bytes(&m->crew, index);
    own = mimp_mlp_own(&arena, m, kernels);
    for (first = mimp_share(run->tokens, index, m->crew.tasks); first < end; first += rows) {
        float *x = run->x + first * run->stride;
        const size_t stride = m->y ? m->shortcut.n : run->stride;
        float *y = m->y ? m->y + first * stride : x;
        rows = mimp_min(m->tile, end - first);
        if (m->pass == 1) {
            pack = mimp_pack_of(&m->crew, &own.block, x, run->stride, rows, run->dim, norm, s->eps);
            mimp_pack_own(&pack, own.scratch);
            MIM_STAGE(MIM_STAGE_MLP);
            mimp_linear_panels(kernels, &m->fc1, 0, n / 16, &own.block, rows, m->hidden ? m->hidden + first * (size_t)n : own.hidden, n,
                               gate || m->hidden ? 0 : s->activation, 0, own.scratch);
            if (m->y)
                mimp_linear_panels(kernels, &m->shortcut, 0, m->shortcut.n / 16, &own.block, rows, y, stride, 0, 0, own.scratch);
            if (m->hidden)
                continue;
        }
        for (r = 0; r < rows && m->hidden; r++)
            mimp_depthwise(run, s, m->hidden, n, hidden, first + r, own.hidden + (size_t)r * n, own.scratch);
        pack = mimp_pack_of(&m->crew, &own.hidden_block, own.hidden, n, rows, hidden, mimp_plain(run->model, s->tensor[3]), s->eps);
        pack.gate = gate;
        mimp_pack_own(&pack, own.scratch);
        MIM_STAGE(MIM_STAGE_MLP);
        mimp_add_rows(run, s, &m->fc2, &own.hidden_block, rows, y, stride, own.raw, own.scratch);
    }
}

static void mimp_mlp_run(mimp_run *run, const mim_blob_step *s)
{
    mimp_mlp m;
    mimp_mlp_memory(&m, run, s);
    if (m.hidden)
        mimp_find_tokens(run);
    for (m.pass = 1; m.pass <= (m.hidden ? 2u : 1u); m.pass++)
        mimp_work(&m.crew, mimp_mlp_task, &m);
    if (m.y) {
        mimp_follow(run, s);
        MIM_MEMCPY(run->x, m.y, run->tokens * run->stride * 4);
    }
}

/* ---- norm, pool and head ---- */

static void mimp_norm_row(const mimp_rows_job *job, uint32_t t, uint32_t task)
{
    const mimp_run *run = job->run;
    const mim_blob_step *s = job->step;
    float *row = run->x + t * run->stride;
    size_t i;
    (void)task;
    for (i = 0; i < run->stride && s->flags & MIM_STEP_JOIN; i++)
        row[i] += run->branch[t * run->stride + i];
    /* in place: a row is read before it is written, sixteen floats at a time */
    run->s->kernels->norm(row, row, mimp_plain(run->model, s->tensor[0]), run->dim, s->eps);
}

static void mimp_pool_run(mimp_run *run, const mim_blob_step *s)
{
    const uint32_t prefix = run->s->prefix, first = s->rule == MIM_POOL_MEAN_ALL ? 0 : prefix;
    const uint32_t pooled_dim = run->model->header->pooled_dim;
    float *mean = run->pooled + (s->rule == MIM_POOL_CLS_MEAN ? run->dim : 0);
    uint32_t t, d;
    MIM_MEMSET(run->pooled, 0, (size_t)mimp_up(pooled_dim, 16) * 4);
    if (s->rule == MIM_POOL_CLS || s->rule == MIM_POOL_CLS_MEAN)
        MIM_MEMCPY(run->pooled, run->x, (size_t)run->dim * 4);
    if (s->rule != MIM_POOL_CLS) {
        for (t = first; t < run->tokens; t++)
            for (d = 0; d < run->dim; d++)
                mean[d] += run->x[t * run->stride + d];
        for (d = 0; d < run->dim; d++)
            mean[d] /= (float)(run->tokens - first);
    }
    if (s->tensor[0])
        run->s->kernels->norm(run->pooled, run->pooled, mimp_plain(run->model, s->tensor[0]), pooled_dim, s->eps);
}

typedef struct mimp_head {
    mimp_crew crew;
    mimp_matrix matrix;
    mimp_block block;
    float *logits;
} mimp_head;

static void mimp_head_memory(mimp_head *e, mimp_run *run, const mim_blob_step *s)
{
    const uint64_t row = (uint64_t)mimp_up(run->model->header->pooled_dim, 16) * 4;
    e->matrix = mimp_matrix_of(run->model, s->tensor[0]);
    e->block = mimp_block_memory(&run->arena, run->s->kernels, &e->matrix, 1);
    e->logits = mimp_floats(&run->arena, e->matrix.n);
    mimp_crew_memory(&e->crew, &run->arena, run->s,
                     row > mimp_unpacked_bytes(run->s->kernels, &e->matrix) ? row : mimp_unpacked_bytes(run->s->kernels, &e->matrix));
}

static void mimp_head_run(mimp_run *run, const mim_blob_step *s)
{
    mimp_head e;
    mimp_head_memory(&e, run, s);
    mimp_pack(mimp_pack_of(&e.crew, &e.block, run->pooled, 0, 1, run->model->header->pooled_dim, NULL, 0));
    MIM_STAGE(MIM_STAGE_REST);
    mimp_linear(&e.crew, &e.matrix, &e.block, 1, e.logits, e.matrix.n, 0, 0);
    if (run->logits_to.floats)
        mimp_copy_out(run->logits_to.floats, e.logits, run->model->header->classes);
}

/* ---- the decoder of a masked autoencoder ---- */

typedef struct mimp_unmask {
    mimp_crew crew;
    mimp_matrix matrix;
    mimp_block block;
    float *tile;                    /* (tile, matrix.n) */
} mimp_unmask;

/* UNMASK and PREDICT both take rows through one matrix into a tile. */
static void mimp_unmask_memory(mimp_unmask *e, mimp_run *run, const mim_blob_step *s)
{
    const uint32_t tile = mimp_tile_of(run);
    uint64_t scratch = (uint64_t)mimp_up(run->dim, 16) * 4;
    e->matrix = mimp_matrix_of(run->model, s->tensor[0]);
    e->block = mimp_block_memory(&run->arena, run->s->kernels, &e->matrix, tile);
    e->tile = mimp_floats(&run->arena, (uint64_t)tile * e->matrix.n);
    if (scratch < mimp_unpacked_bytes(run->s->kernels, &e->matrix))
        scratch = mimp_unpacked_bytes(run->s->kernels, &e->matrix);
    mimp_crew_memory(&e->crew, &run->arena, run->s, scratch);
}

static void mimp_unmask_run(mimp_run *run, const mim_blob_step *s, float *y)
{
    const uint32_t dim = run->model->header->decoder_dim, prefix = run->s->prefix, tile = mimp_tile_of(run);
    const size_t stride = mimp_up(dim, 16);
    const float *mask = mimp_plain(run->model, s->tensor[1]), *first_rows = mimp_plain(run->model, s->tensor[2]);
    const float *table = mimp_plain(run->model, s->tensor[3]);
    uint32_t first, r, d, p;
    mimp_unmask e;
    mimp_unmask_memory(&e, run, s);
    MIM_MEMSET(y, 0, (prefix + run->patches) * stride * 4);
    for (p = 0; p < run->patches; p++)
        if (!run->place[p])
            MIM_MEMCPY(y + (prefix + p) * stride, mask, (size_t)dim * 4);
    for (first = 0; first < run->tokens; first += tile) {
        const uint32_t rows = mimp_min(tile, run->tokens - first);
        mimp_pack(mimp_pack_of(&e.crew, &e.block, run->x + first * run->stride, run->stride, rows, run->dim, NULL, 0));
        MIM_STAGE(MIM_STAGE_REST);
        mimp_linear(&e.crew, &e.matrix, &e.block, rows, e.tile, e.matrix.n, 0, 0);
        for (r = 0; r < rows; r++) {
            const uint32_t token = first + r, to = token < prefix ? token : prefix + run->patch[token - prefix];
            MIM_MEMCPY(y + to * stride, e.tile + (size_t)r * e.matrix.n, (size_t)dim * 4);
        }
    }
    mimp_follow(run, s);
    for (r = 0; r < prefix && first_rows; r++)
        for (d = 0; d < dim; d++)
            y[r * stride + d] += first_rows[(size_t)r * dim + d];
    for (p = 0; p < run->patches; p++)
        mimp_add_position(run, s, table, p, y + (prefix + p) * stride);
    run->x = y;
}

static void mimp_predict_run(mimp_run *run, const mim_blob_step *s)
{
    const mim_blob_header *h = run->model->header;
    const uint32_t n = h->patch_frames * h->patch_height * h->patch_width * h->channels, tile = mimp_tile_of(run);
    const uint32_t prefix = run->s->prefix;
    uint32_t first, r;
    mimp_unmask e;
    mimp_unmask_memory(&e, run, s);
    for (first = 0; first < run->patches; first += tile) {
        const uint32_t rows = mimp_min(tile, run->patches - first);
        mimp_pack(mimp_pack_of(&e.crew, &e.block, run->x + (prefix + first) * run->stride, run->stride, rows, run->dim, NULL, 0));
        MIM_STAGE(MIM_STAGE_REST);
        mimp_linear(&e.crew, &e.matrix, &e.block, rows, e.tile, e.matrix.n, 0, 0);
        for (r = 0; r < rows; r++)
            mimp_copy_out(run->prediction_to.floats + (size_t)(first + r) * n, e.tile + (size_t)r * e.matrix.n, n);
    }
}

#endif

/* =======================================================================================
 * >>integer: the same steps without a float
 *
 * The stream is (tokens, dim) of int16. What goes into a product are bytes, packed as for any quantized leaf; what comes out are
 * int32, and one multiplication by a rate takes them to the scale of what follows. Everything that the scales of the parts have
 * to say about each other is in the blob's numbers.
 *
 * Sums are modulo 2^32 and shifts of negative numbers are arithmetic, so no contents of a blob are undefined; those of the
 * converter do not overflow. Rounding is half up. There are two divisions for each row and head, in softmax.
 * ===================================================================================== */

/* a b / 2^32: rounded half up, for rates; rounded down; of unsigned numbers, down. */
/* x at 0..255 and at 0..1023. Most are. */
#if defined(__GNUC__) && defined(__thumb2__) && defined(__ARM_FEATURE_SAT)
MIMP_INLINE uint32_t mimp_byte(int32_t x) { __asm__("usat %0, #8, %0" : "+r"(x)); return (uint32_t)x; }
MIMP_INLINE uint32_t mimp_level(int32_t x) { __asm__("usat %0, #10, %0" : "+r"(x)); return (uint32_t)x; }
#else
MIMP_INLINE uint32_t mimp_byte(int32_t x) { return (uint32_t)x <= 255 ? (uint32_t)x : x < 0 ? 0 : 255; }
MIMP_INLINE uint32_t mimp_level(int32_t x) { return (uint32_t)x <= 1023 ? (uint32_t)x : x < 0 ? 0 : 1023; }
#endif

#ifdef MIMP_DSP     /* which compilers do not find */
MIMP_INLINE int32_t mimp_scaled(int32_t a, int32_t b) { __asm__("smmulr %0, %0, %1" : "+r"(a) : "r"(b)); return a; }
#else
MIMP_INLINE int32_t mimp_scaled(int32_t a, int32_t b)
{
    const int64_t product = (int64_t)a * b;
    return (int32_t)(product >> 32) + (int32_t)((uint32_t)product >> 31);
}
#endif
MIMP_INLINE int32_t mimp_high(int32_t a, int32_t b) { return (int32_t)((int64_t)a * b >> 32); }
MIMP_INLINE uint32_t mimp_highu(uint32_t a, uint32_t b) { return (uint32_t)((uint64_t)a * b >> 32); }

MIMP_INLINE int32_t mimp_wrap(int32_t a, int32_t b) { return (int32_t)((uint32_t)a + (uint32_t)b); }

MIMP_INLINE int32_t mimp_clamp(int32_t x, int32_t low, int32_t top) { return x < low ? low : x > top ? top : x; }
MIMP_INLINE int16_t mimp_short(int32_t x) { return (int16_t)mimp_clamp(x, -32768, 32767); }

/* Four numbers at a time, which is what lies together in packed rows. */
#ifdef MIMP_MVE
typedef int32x4_t mimp_four;
MIMP_INLINE mimp_four mimp_four_of(int32_t x) { return vdupq_n_s32(x); }
MIMP_INLINE mimp_four mimp_four_at(const int32_t *x) { return vld1q_s32(x); }
MIMP_INLINE mimp_four mimp_four_shorts(const int16_t *x) { return vldrhq_s32(x); }
MIMP_INLINE mimp_four mimp_four_gains(const int32_t *x) { return vmovlbq_s16(vreinterpretq_s16_s32(vld1q_s32(x))); }
MIMP_INLINE void mimp_four_put(int32_t *to, mimp_four x) { vst1q_s32(to, x); }
MIMP_INLINE uint32x4_t mimp_four_within(mimp_four x, int32_t top)
{ return vreinterpretq_u32_s32(vminq_s32(vmaxq_s32(x, mimp_four_of(0)), mimp_four_of(top))); }
MIMP_INLINE void mimp_four_bytes(uint8_t *to, mimp_four x) { vstrbq_u32(to, mimp_four_within(x, 255)); }
MIMP_INLINE mimp_four mimp_four_add(mimp_four a, mimp_four b) { return vaddq_s32(a, b); }
MIMP_INLINE mimp_four mimp_four_sub(mimp_four a, mimp_four b) { return vsubq_s32(a, b); }
MIMP_INLINE mimp_four mimp_four_times(mimp_four a, mimp_four b) { return vmulq_s32(a, b); }
MIMP_INLINE mimp_four mimp_four_high(mimp_four a, mimp_four b) { return vmulhq_s32(a, b); }
MIMP_INLINE mimp_four mimp_four_scaled(mimp_four a, mimp_four b) { return vrmulhq_s32(a, b); }
MIMP_INLINE mimp_four mimp_four_max(mimp_four a, mimp_four b) { return vmaxq_s32(a, b); }
MIMP_INLINE int32_t mimp_four_most(mimp_four a) { return vmaxvq_s32(INT32_MIN, a); }
MIMP_INLINE mimp_four mimp_four_right(mimp_four a, uint32_t bits) { return vshlq_s32(a, mimp_four_of(-(int32_t)bits)); }
MIMP_INLINE mimp_four mimp_four_looked_up(const uint16_t *curve, mimp_four a)
{ return vreinterpretq_s32_u32(vldrhq_gather_shifted_offset_u32(curve, mimp_four_within(a, 1023))); }
#else
typedef struct mimp_four { int32_t a, b, c, d; } mimp_four;
#define MIMP_FOUR(F) { mimp_four y; y.a = F(a); y.b = F(b); y.c = F(c); y.d = F(d); return y; }
#define MIMP_FOUR_ADD(i) mimp_wrap(x.i, z.i)
#define MIMP_FOUR_SUB(i) (int32_t)((uint32_t)x.i - (uint32_t)z.i)
#define MIMP_FOUR_TIMES(i) (int32_t)((uint32_t)x.i * (uint32_t)z.i)
#define MIMP_FOUR_HIGH(i) mimp_high(x.i, z.i)
#define MIMP_FOUR_SCALED(i) mimp_scaled(x.i, z.i)
#define MIMP_FOUR_MAX(i) (x.i > z.i ? x.i : z.i)
#define MIMP_FOUR_RIGHT(i) (x.i >> bits)
#define MIMP_FOUR_LOOKED_UP(i) curve[mimp_level(x.i)]
MIMP_INLINE mimp_four mimp_four_of(int32_t x) { mimp_four y; y.a = y.b = y.c = y.d = x; return y; }
MIMP_INLINE mimp_four mimp_four_at(const int32_t *x) { mimp_four y; y.a = x[0]; y.b = x[1]; y.c = x[2]; y.d = x[3]; return y; }
MIMP_INLINE mimp_four mimp_four_shorts(const int16_t *x) { mimp_four y; y.a = x[0]; y.b = x[1]; y.c = x[2]; y.d = x[3]; return y; }
MIMP_INLINE mimp_four mimp_four_gains(const int32_t *x)
{ mimp_four y; y.a = (int16_t)x[0]; y.b = (int16_t)x[1]; y.c = (int16_t)x[2]; y.d = (int16_t)x[3]; return y; }
MIMP_INLINE void mimp_four_put(int32_t *to, mimp_four x) { to[0] = x.a; to[1] = x.b; to[2] = x.c; to[3] = x.d; }
MIMP_INLINE void mimp_four_bytes(uint8_t *to, mimp_four x)
{ to[0] = (uint8_t)mimp_byte(x.a); to[1] = (uint8_t)mimp_byte(x.b); to[2] = (uint8_t)mimp_byte(x.c); to[3] = (uint8_t)mimp_byte(x.d); }
MIMP_INLINE mimp_four mimp_four_add(mimp_four x, mimp_four z) MIMP_FOUR(MIMP_FOUR_ADD)
MIMP_INLINE mimp_four mimp_four_sub(mimp_four x, mimp_four z) MIMP_FOUR(MIMP_FOUR_SUB)
MIMP_INLINE mimp_four mimp_four_times(mimp_four x, mimp_four z) MIMP_FOUR(MIMP_FOUR_TIMES)
MIMP_INLINE mimp_four mimp_four_high(mimp_four x, mimp_four z) MIMP_FOUR(MIMP_FOUR_HIGH)
MIMP_INLINE mimp_four mimp_four_scaled(mimp_four x, mimp_four z) MIMP_FOUR(MIMP_FOUR_SCALED)
MIMP_INLINE mimp_four mimp_four_max(mimp_four x, mimp_four z) MIMP_FOUR(MIMP_FOUR_MAX)
MIMP_INLINE int32_t mimp_four_most(mimp_four x)
{
    const int32_t y = x.a > x.b ? x.a : x.b, z = x.c > x.d ? x.c : x.d;
    return y > z ? y : z;
}
MIMP_INLINE mimp_four mimp_four_right(mimp_four x, uint32_t bits) MIMP_FOUR(MIMP_FOUR_RIGHT)
MIMP_INLINE mimp_four mimp_four_looked_up(const uint16_t *curve, mimp_four x) MIMP_FOUR(MIMP_FOUR_LOOKED_UP)
#endif

/* 1 / sqrt(v) = r 2^(h - 61), r <= 2^30 and within 2^-23 of it, for 0 < v < 2^62. v is shifted by pairs of bits until one of its
 * upper two is set; then three of Newton's steps, from below, r (3 - u r^2) / 2. The seed, 2.13 - 1.215 u in 2^-30, is within 8.7 %. */
static uint32_t mimp_rsqrt(uint64_t v, uint32_t *h)
{
    uint32_t n, u, r;
    *h = 0;
    for (n = 16; n; n >>= 1)
        if (v < (uint64_t)1 << (64 - 2 * n)) {
            v <<= 2 * n;
            *h += n;
        }
    u = (uint32_t)(v >> 32);
    r = 2287070249u - mimp_highu(u, 1304596316u);
    for (n = 0; n < 3; n++)
        r = (uint32_t)((uint64_t)r * (805306368u - mimp_highu(mimp_highu(r, r), u)) >> 29);
    return r >> 1;
}

/* What a row is normalised by. */
typedef struct mimp_moments {
    int32_t factor, less;           /* n 2^a, and the sum of the row times 2^a */
    int32_t rate, half;
    uint32_t shift;
} mimp_moments;

/* The sum of squares of n <= 2^14 numbers is at most 2^44, n times it less the square of the sum at most 2^58. */
static mimp_moments mimp_moments_of(const int16_t *x, uint32_t n, uint64_t variance)
{
    int64_t squares = 0;
    int32_t sum = 0;
    uint32_t a, q, h, i;
    mimp_moments m;
    mimp_norm_bits(n, &a, &q);
    for (i = 0; i < n; i++) {
        sum += x[i];
        squares += x[i] * x[i];
    }
    m.rate = (int32_t)mimp_rsqrt(n * (uint64_t)squares - (uint64_t)((int64_t)sum * sum) + variance, &h);
    m.shift = a + 29 - q - h;                            /* not negative, because the variance is not too small */
    m.half = (int32_t)(((uint32_t)1 << m.shift) >> 1);
    m.factor = (int32_t)(n << a);
    m.less = sum * (1 << a);
    return m;
}

/* x less the mean, by the deviation, in units of 2^-q. |n x - sum| <= (n - 1) 65535, so what is multiplied fits 32 bits; and as no
 * number is more than sqrt(n - 1) deviations off, what comes out fits 16. */
MIMP_INLINE int32_t mimp_normalised(const mimp_moments *m, int32_t x)
{
    return (mimp_high(m->factor * x - m->less, m->rate) + m->half) >> m->shift;
}

/* A table of channels: t gain + offset, shifted right by k. */
typedef struct mimp_channels {
    const int32_t *gain, *offset;
    uint32_t k;
} mimp_channels;

static mimp_channels mimp_channels_of(const mim_model *model, uint32_t index)
{
    mimp_channels c;
    c.gain = (const int32_t *)mimp_numbers(model, index);
    c.offset = c.gain + model->tensors[index - 1].columns;
    c.k = model->tensors[index - 1].shift;
    return c;
}

MIMP_INLINE int32_t mimp_requantized(const mimp_channels *c, uint32_t d, int32_t t)
{
    return mimp_wrap(t * (int16_t)c->gain[d], c->offset[d]) >> c->k;
}

/* ---- bytes in, tiles of int32 out ---- */

/* Rows of bytes packed for a leaf. */
typedef struct mimp_bytes {
    uint8_t *data;
    uint32_t rows, k;               /* of a tile */
    mimp_packing packed;
} mimp_bytes;

static mimp_bytes mimp_bytes_memory(mimp_arena *arena, const mimp_kernels *kernels, uint32_t k, uint32_t rows)
{
    mimp_bytes b;
    b.rows = kernels->rows_q8;
    b.k = k;
    b.packed = mimp_packing_of(kernels, k);
    b.data = (uint8_t *)mimp_take_tiles(arena, kernels, (uint64_t)mimp_tiles(b.rows, rows) * b.packed.tile);
    return b;
}

static uint8_t *mimp_bytes_tile(const mimp_bytes *b, uint32_t row) { return b->data + row / b->rows * b->packed.tile; }

/* Where column c of a row is. */
MIMP_INLINE uint8_t *mimp_byte_at(const mimp_bytes *b, uint32_t row, uint32_t c)
{
    return mimp_bytes_tile(b, row) + c / 4 * b->packed.quad + row % b->rows * b->packed.row + c % 4;
}

/* Clears the tile that holds the last of `rows` rows, if it is not full. */
static void mimp_bytes_end(const mimp_bytes *b, uint32_t rows)
{
    if (rows % b->rows)
        MIM_MEMSET(mimp_bytes_tile(b, rows), 0, b->packed.tile);
}

/* Four of a row's columns. Gains are of 16 bits, and so is what is multiplied. */
MIMP_INLINE void mimp_put_quad(uint8_t *to, const int16_t *x, const int32_t *gain, const int32_t *offset, uint32_t k, const mimp_moments *m)
{
    mimp_four t = mimp_four_shorts(x);
    if (m) {
        t = mimp_four_sub(mimp_four_times(t, mimp_four_of(m->factor)), mimp_four_of(m->less));
        t = mimp_four_right(mimp_four_add(mimp_four_high(t, mimp_four_of(m->rate)), mimp_four_of(m->half)), m->shift);
    }
    mimp_four_bytes(to, mimp_four_right(mimp_four_add(mimp_four_times(t, mimp_four_gains(gain)), mimp_four_at(offset)), k));
}

/* Row x of n int16, normalised or not, as the bytes of a row. */
static void mimp_bytes_put(const mimp_bytes *b, uint32_t row, const int16_t *x, uint32_t n, const mimp_channels *channels, uint64_t variance)
{
    const mimp_channels c = *channels;
    const size_t step = b->packed.quad;
    const uint32_t k = b->k;
    uint8_t *to = mimp_byte_at(b, row, 0);
    uint32_t d = 0, i;
    mimp_moments m = { 0, 0, 0, 0, 0 };
    if (variance)
        m = mimp_moments_of(x, n, variance);
    for (; !MIMP_SMALL && d + 4 <= n; d += 4, to += step)
        mimp_put_quad(to, x + d, c.gain + d, c.offset + d, c.k, variance ? &m : NULL);
    for (; d < k; d += 4, to += step)
        for (i = 0; i < 4; i++)
            to[i] = (uint8_t)(d + i >= n ? 0 : mimp_byte(mimp_requantized(&c, d + i, variance ? mimp_normalised(&m, x[d + i]) : x[d + i])));
}

/* Rows of n int16, end to end, as the first of a block. */
static void mimp_bytes_fill(const mimp_bytes *b, const int16_t *x, uint32_t rows, uint32_t n, const mimp_channels *channels, uint64_t variance)
{
    uint32_t r;
    MIM_STAGE(MIM_STAGE_PACK);
    mimp_bytes_end(b, rows);
    for (r = 0; r < rows; r++, x += n)
        mimp_bytes_put(b, r, x, n, channels, variance);
}

/* A panel as a leaf reads it, and what takes its sums to their scale. */
typedef struct mimp_weights {
    const uint8_t *at;
    uint32_t k, group, wide;        /* group: of q4 that is not bytes by now */
    const int32_t *offset, *rate;
} mimp_weights;

static mimp_weights mimp_weights_of(const void *at, uint32_t k, uint32_t weight_max)
{
    mimp_weights w;
    w.at = (const uint8_t *)at;
    w.k = k;
    w.group = 0;
    w.wide = weight_max > 63;
    w.offset = w.rate = NULL;
    return w;
}

/* Panel p of a matrix; unpacked: mimp_unpacked_panel. */
static mimp_weights mimp_weights_panel(const mimp_kernels *kernels, const mimp_matrix *m, uint32_t p, uint8_t *unpacked)
{
    mimp_weights w = mimp_weights_of(m->panels + p * m->panel_bytes, m->k, m->weight_max);
    w.offset = m->offset + 16 * (size_t)p;
    w.rate = m->rate + 16 * (size_t)p;
    if (MIMP_HAS_Q4 && m->type == MIM_Q4) {
        kernels->unpack_q4(unpacked, w.at, m->k, m->group);
        w.at = unpacked;
        w.group = kernels->tile_q4 ? m->group : 0;
        w.wide = 1;
    }
    return w;
}

/* acc [rows][16] = one tile of bytes times a panel, and as many that follow it as there are `panels`; acc goes on from one to the next. */
static void mimp_multiply(const mimp_kernels *kernels, int32_t *acc, const uint8_t *a, const mimp_weights *w, uint32_t panels)
{
    const int8_t *panel = (const int8_t *)w->at;
    if (kernels->enter)
        kernels->enter(w->k);
    if (MIMP_HAS_Q4 && w->group)
        kernels->tile_q4(acc, a, w->at, w->k, w->group);
    else
        for (; panels; panels--, acc += 16 * kernels->rows_q8, panel += 16 * (size_t)w->k)
            (w->wide ? kernels->tile_q8_wide : kernels->tile_q8)(acc, a, panel, w->k);
    if (kernels->leave)
        kernels->leave();
}

/* acc [rows][16] + offset, times rate: sixteen channels of a tile at the scale of what follows. */
static void mimp_rescale(int32_t *acc, uint32_t rows, const int32_t *offset, const int32_t *rate)
{
    const int32_t *const end = acc + 16;
    int32_t *x;
    uint32_t r;
    for (r = 0; MIMP_SMALL && r < 16 * rows; r++)
        acc[r] = mimp_scaled(mimp_wrap(acc[r], offset[r % 16]), rate[r % 16]);
    for (; !MIMP_SMALL && acc < end; acc += 4, offset += 4, rate += 4) {
        const mimp_four o = mimp_four_at(offset), by = mimp_four_at(rate);
        for (r = rows, x = acc; r; r--, x += 16)
            mimp_four_put(x, mimp_four_scaled(mimp_four_add(mimp_four_at(x), o), by));
    }
}

/* What hidden units go through: their curve at 0..1023, and what each unit's value there is multiplied by. */
typedef struct mimp_activation {
    const uint16_t *curve;
    const int32_t *factor;
} mimp_activation;

/* The same as the bytes of a tile of rows, from a multiple of 4 columns on: at -128..127, or as hidden units. */
MIMP_INLINE void mimp_rescale_into(const mimp_bytes *b, uint32_t row, uint32_t column, const int32_t *acc, const mimp_weights *w,
                                   const mimp_activation *act)
{
    const int32_t *offset = w->offset, *rate = w->rate, *factor = act ? act->factor + column : NULL;
    const mimp_four zero = mimp_four_of(128), half = mimp_four_of(1 << 15);
    const size_t step = b->packed.row, quad = b->packed.quad;
    const uint32_t rows = b->rows;
    const int32_t *const end = acc + 16, *x;
    uint8_t *first = mimp_byte_at(b, row, column), *to;
    uint32_t r;
    for (; acc < end; acc += 4, offset += 4, rate += 4, factor += act ? 4 : 0, first += quad) {
        const mimp_four o = mimp_four_at(offset), by = mimp_four_at(rate), f = act ? mimp_four_at(factor) : zero;
        for (r = rows, x = acc, to = first; r; r--, x += 16, to += step) {
            const mimp_four t = mimp_four_scaled(mimp_four_add(mimp_four_at(x), o), by);
            if (act)
                mimp_four_bytes(to, mimp_four_right(mimp_four_add(mimp_four_times(mimp_four_looked_up(act->curve, t), f), half), 16));
            else
                mimp_four_bytes(to, mimp_four_add(t, zero));
        }
    }
}

static void mimp_rescale_bytes(const mimp_bytes *b, uint32_t row, uint32_t column, const int32_t *acc, const mimp_weights *w,
                               const mimp_activation *act)
{
    uint32_t i;
    for (i = 0; MIMP_SMALL && i < 16 * b->rows; i++) {
        const int32_t t = mimp_scaled(mimp_wrap(acc[i], w->offset[i % 16]), w->rate[i % 16]);
        const uint32_t unit = act ? act->curve[mimp_level(t)] * (uint32_t)act->factor[column + i % 16] + (1u << 15) : 0;
        *mimp_byte_at(b, row + i / 16, column + i % 16) = (uint8_t)mimp_byte(act ? (int32_t)unit >> 16 : t + 128);
    }
    if (!MIMP_SMALL && act)
        mimp_rescale_into(b, row, column, acc, w, act);
    else if (!MIMP_SMALL)
        mimp_rescale_into(b, row, column, acc, w, NULL);
}

/* The tile that begins at a row, times a panel of a matrix. */
static void mimp_panel(const mimp_kernels *kernels, int32_t *acc, const mimp_bytes *a, uint32_t row, const mimp_weights *w)
{
    mimp_multiply(kernels, acc, mimp_bytes_tile(a, row), w, 1);
    mimp_rescale(acc, a->rows, w->offset, w->rate);
}

/* x += acc, of one tile and panel p. */
static void mimp_add_panel(int16_t *x, uint32_t dim, uint32_t p, const int32_t *acc, uint32_t rows)
{
    const uint32_t n = mimp_min(16, dim - 16 * p);
    uint32_t r, j;
    for (r = 0, x += 16 * p; r < rows; r++, x += dim, acc += 16)
        for (j = 0; j < n; j++)
            x[j] = mimp_short(x[j] + mimp_clamp(acc[j], -65536, 65535));
}

/* x (rows, dim) += the rows of a from `first` on, the first of a tile, times a matrix. */
static void mimp_add_product(const mimp_kernels *kernels, int16_t *x, uint32_t dim, uint32_t rows, const mimp_bytes *a, uint32_t first,
                             const mimp_matrix *m, int32_t *acc, uint8_t *unpacked)
{
    uint32_t p, r;
    for (p = 0; p < m->n / 16; p++) {
        const mimp_weights w = mimp_weights_panel(kernels, m, p, unpacked);
        for (r = 0; r < rows; r += a->rows) {
            mimp_panel(kernels, acc, a, first + r, &w);
            mimp_add_panel(x + (size_t)r * dim, dim, p, acc, mimp_min(a->rows, rows - r));
        }
    }
}

/* ---- embedding ---- */

typedef struct mimp_integer_embed {
    mimp_crew crew;
    mimp_run *run;
    mimp_matrix matrix;             /* first the panels of high, then those of low */
    mimp_bytes block;
    mimp_input input;
    uint32_t token, rows;           /* what the block holds */
} mimp_integer_embed;

static void mimp_integer_embed_memory(mimp_integer_embed *e, mimp_run *run, const mim_blob_step *s)
{
    mimp_input *in = &e->input;
    MIM_MEMSET(e, 0, sizeof *e);
    e->run = run;
    e->matrix = mimp_matrix_of(run->model, s->tensor[0]);
    e->block = mimp_bytes_memory(&run->arena, run->s->kernels, e->matrix.k, mimp_tile_of(run));
    in->header = run->model->header;
    in->image = run->image;
    in->height = run->s->height;
    in->width = run->s->width;
    in->channels = in->header->channels;
    in->rows = s->kernel_height;
    in->integer = 1;
    mimp_input_memory(in, &run->arena, &run->s->desc);
    mimp_crew_memory(&e->crew, &run->arena, run->s, (uint64_t)e->block.rows * 128);
}

/* The bytes of a patch in the order channel, y, x. */
static void mimp_integer_patch(const mimp_integer_embed *e, uint32_t left)
{
    const mimp_input *in = &e->input;
    const uint32_t ph = in->header->patch_height, pw = in->header->patch_width;
    const size_t step = e->block.packed.quad - 3;
    uint8_t *to = mimp_byte_at(&e->block, e->rows, 0);
    uint32_t c, y, x, i = 0;
    for (c = 0; c < in->channels; c++)
        for (y = 0; y < ph; y++) {
            const uint8_t *from = in->strip + ((size_t)y * in->channels + c) * in->width + left;
            for (x = 0; x < pw; x++, i++, to += i % 4 ? 1 : step)
                *to = from[x];
        }
    for (; i < e->block.k; i++, to += i % 4 ? 1 : step)
        *to = 0;
}

/* x, which holds the positions, += the rows of the block: 127 high + low, modulo 2^32 on the way. */
static void mimp_integer_project(void *arg, uint32_t index)
{
    const mimp_integer_embed *e = (const mimp_integer_embed *)arg;
    const mimp_run *run = e->run;
    const mimp_matrix *m = &e->matrix;
    const uint32_t panels = m->n / 32, unit = e->block.rows, n = unit * 16;
    int32_t *acc = (int32_t *)(void *)mimp_scratch_bytes(&e->crew, index);
    uint32_t p, r, i;
    for (p = index; p < panels; p += e->crew.tasks) {
        const mimp_weights high = mimp_weights_panel(e->crew.kernels, m, p, NULL);
        const mimp_weights low = mimp_weights_panel(e->crew.kernels, m, panels + p, NULL);
        for (r = 0; r < e->rows; r += unit) {
            const uint8_t *tile = mimp_bytes_tile(&e->block, r);
            mimp_multiply(e->crew.kernels, acc, tile, &high, 1);
            mimp_multiply(e->crew.kernels, acc + n, tile, &low, 1);
            for (i = 0; i < n; i++)
                acc[i] = (int32_t)(127 * (uint32_t)acc[i] + (uint32_t)acc[n + i]);
            mimp_rescale(acc, unit, high.offset, high.rate);
            mimp_add_panel(run->stream + (size_t)(e->token + r) * run->dim, run->dim, p, acc, mimp_min(unit, e->rows - r));
        }
    }
}

MIMP_STEP mim_status mimp_integer_embed_run(mimp_run *run, const mim_blob_step *s)
{
    const int16_t *prefix = (const int16_t *)mimp_numbers(run->model, s->tensor[1]);
    const int16_t *positions = (const int16_t *)mimp_numbers(run->model, s->tensor[2]);
    const uint32_t gw = run->grid.width, tile = mimp_tile_of(run), first = run->s->prefix;
    const size_t row = (size_t)run->dim * 2;
    uint32_t place, gy, token = first;
    mimp_integer_embed e;
    mim_status status;
    MIM_STAGE(MIM_STAGE_EMBED);
    mimp_integer_embed_memory(&e, run, s);
    status = mimp_input_start(&e.input, &run->s->desc);
    if (status)
        return status;
    if (prefix)
        MIM_MEMCPY(run->stream, prefix, first * row);
    for (e.token = token; token < run->tokens; e.token = token) {
        mimp_bytes_end(&e.block, mimp_min(tile, run->tokens - token));
        for (e.rows = 0; e.rows < tile && token < run->tokens; e.rows++, token++) {
            place = run->patch[token - first];
            gy = place / gw;
            for (; e.input.next < (gy + 1) * e.input.rows; )
                if (mimp_input_strip(&e.input, e.input.next / e.input.rows))
                    return MIM_ERR_ABORTED;
            MIM_MEMCPY(run->stream + (size_t)token * run->dim, positions + (size_t)place * run->dim, row);
            mimp_integer_patch(&e, place % gw * e.input.header->patch_width);
        }
        mimp_work(&e.crew, mimp_integer_project, &e);
    }
    for (gy = e.input.next / e.input.rows; gy < run->grid.height; gy++)      /* a callback gives all of its picture */
        if (mimp_input_strip(&e.input, gy))
            return MIM_ERR_ABORTED;
    return MIM_OK;
}

/* ---- attention ----
 *
 * Head by head, or group by group: first, for every tile of rows, keys and values go into panels; then, tile by tile, queries, scores
 * and the output, which is written as the bytes that the projection takes. The norm is run again for each of these: it costs less
 * than keeping its bytes. At last the projection is added to the stream where it lies. */

typedef struct mimp_integer_attention {
    mimp_crew crew;
    mimp_run *run;
    const mim_blob_step *step;
    mimp_matrix qkv, proj;
    mimp_channels input;
    const uint32_t *octaves, *share;            /* per head */
    uint32_t tile;                  /* rows of a tile */
    uint32_t keys16, width;         /* tokens rounded up to 16; of a head, padded */
    uint32_t group, first;          /* heads at a time; first of this group */
    uint8_t *k, *v;                 /* per head of the group: [keys16/16][width/4][16][4], [width/16][keys16/4][16][4] */
    int32_t *k_sum;                 /* per head of the group: [keys16], 128 times the sum of a key: queries are stored with 128 added */
    mimp_bytes out;                 /* of all heads */
} mimp_integer_attention;

/* A task's own. */
typedef struct mimp_integer_rows {
    mimp_bytes bytes, q;            /* normalised rows, queries */
    int32_t *acc;                   /* [rows of a leaf][16] */
    int32_t *scores;                /* [keys16/16][rows of a leaf][16] */
    mimp_bytes p;                   /* of one leaf */
    uint8_t *unpacked;              /* a panel */
} mimp_integer_rows;

static mimp_integer_rows mimp_integer_rows_memory(mimp_arena *arena, const mimp_integer_attention *a, const mimp_kernels *kernels)
{
    const uint32_t unit = kernels->rows_q8;
    mimp_integer_rows t;
    t.bytes = mimp_bytes_memory(arena, kernels, a->qkv.k, a->tile);
    t.q = mimp_bytes_memory(arena, kernels, a->width, a->tile);
    t.acc = (int32_t *)mimp_take(arena, (uint64_t)unit * 64);
    t.scores = (int32_t *)mimp_take(arena, (uint64_t)unit * a->keys16 * 4);
    t.p = mimp_bytes_memory(arena, kernels, a->keys16, unit);
    t.unpacked = (uint8_t *)mimp_take_tiles(arena, kernels, mimp_max(mimp_unpacked_panel(kernels, &a->qkv), mimp_unpacked_panel(kernels, &a->proj)));
    return t;
}

static mimp_integer_rows mimp_integer_rows_of(const mimp_integer_attention *a, uint32_t index)
{
    mimp_arena arena = { NULL, 0, 0 };
    arena.base = mimp_scratch_bytes(&a->crew, index);
    return mimp_integer_rows_memory(&arena, a, a->crew.kernels);
}

static void mimp_integer_attention_memory(mimp_integer_attention *a, mimp_run *run, const mim_blob_step *s)
{
    mimp_arena tasks = { NULL, 0, 0 };
    MIM_MEMSET(a, 0, sizeof *a);
    a->run = run;
    a->step = s;
    a->qkv = mimp_matrix_of(run->model, s->tensor[1]);
    a->proj = mimp_matrix_of(run->model, s->tensor[2]);
    a->input = mimp_channels_of(run->model, s->tensor[0]);
    a->octaves = (const uint32_t *)mimp_numbers(run->model, s->tensor[6]);
    a->share = a->octaves + s->heads;
    a->tile = mimp_task_rows(run);
    a->keys16 = mimp_up(run->tokens, 16);
    a->width = mimp_up(s->head_dim, 16);
    a->group = mimp_min(run->s->group_heads, s->heads);
    a->k = (uint8_t *)mimp_take_tiles(&run->arena, run->s->kernels, (uint64_t)a->group * a->keys16 * a->width);
    a->v = (uint8_t *)mimp_take_tiles(&run->arena, run->s->kernels, (uint64_t)a->group * a->keys16 * a->width);
    a->k_sum = (int32_t *)mimp_take(&run->arena, (uint64_t)a->group * a->keys16 * 4);
    a->out = mimp_bytes_memory(run->slow, run->s->kernels, a->proj.k, run->tokens);
    mimp_integer_rows_memory(&tasks, a, run->s->kernels);
    mimp_crew_memory(&a->crew, &run->arena, run->s, tasks.high);
}

/* Normalised rows first.. as bytes; returns how many. */
static uint32_t mimp_integer_fill(const mimp_integer_attention *a, const mimp_bytes *bytes, uint32_t first)
{
    const mimp_run *run = a->run;
    const uint32_t rows = mimp_min(a->tile, run->tokens - first);
    mimp_bytes_fill(bytes, run->stream + (size_t)first * run->dim, rows, run->dim, &a->input, a->step->variance);
    return rows;
}

/* Keys and values of all tokens, for the heads of the group. */
static void mimp_integer_keys(void *arg, uint32_t index)
{
    const mimp_integer_attention *a = (const mimp_integer_attention *)arg;
    const mimp_kernels *kernels = a->crew.kernels;
    const mimp_integer_rows t = mimp_integer_rows_of(a, index);
    const uint32_t unit = t.bytes.rows, panels = a->width / 16, heads = mimp_min(a->group, a->step->heads - a->first);
    const int32_t key_max = a->step->key_max, value_max = a->step->value_max;
    const size_t quad = (size_t)(mimp_weight_at(kernels, a->k, a->width, 0, 4) - a->k);          /* from four columns to the next, */
    const size_t one = (size_t)(mimp_weight_at(kernels, a->v, a->keys16, 1, 0) - a->v);          /*   from a channel to the next, */
    const size_t pair = (size_t)(mimp_weight_at(kernels, a->v, a->keys16, 2, 0) - a->v);         /*   from two to the next */
    uint32_t first, head, p, r, i, j;
    for (first = index * a->tile; first < a->run->tokens; first += a->crew.tasks * a->tile) {
        const uint32_t rows = mimp_integer_fill(a, &t.bytes, first);
        MIM_STAGE(MIM_STAGE_QKV);
        for (head = 0; head < heads; head++) {
            uint8_t *k = a->k + (size_t)head * a->keys16 * a->width, *v = a->v + (size_t)head * a->keys16 * a->width;
            int32_t *sum = a->k_sum + (size_t)head * a->keys16 + first;
            const uint32_t panel = (a->first + head) * 3 * panels;
            for (r = 0; r < rows; r++)
                sum[r] = 0;
            for (p = 0; p < panels; p++) {
                mimp_weights w = mimp_weights_panel(kernels, &a->qkv, panel + panels + p, t.unpacked);
                for (r = 0; r < rows; r += unit) {
                    mimp_panel(kernels, t.acc, &t.bytes, r, &w);
                    for (i = 0; i < unit && r + i < rows; i++) {
                        const uint32_t token = first + r + i;
                        uint8_t *to = mimp_weight_at(kernels, k, a->width, token, 16 * p);
                        for (j = 0; j < 16; j++) {
                            const int32_t value = mimp_clamp(t.acc[16 * i + j], -key_max, key_max);
                            to[j / 4 * quad + j % 4] = mimp_weight_byte(kernels, value);
                            sum[r + i] += 128 * value;
                        }
                    }
                }
                w = mimp_weights_panel(kernels, &a->qkv, panel + 2 * panels + p, t.unpacked);
                for (r = 0; r < rows; r += unit) {
                    mimp_panel(kernels, t.acc, &t.bytes, r, &w);
                    for (i = 0; i < unit && r + i < rows; i++) {
                        const uint32_t token = first + r + i;
                        uint8_t *to = mimp_weight_at(kernels, v, a->keys16, 16 * p, token);
                        for (j = 0; j < 16; j++)
                            to[j / 2 * pair + j % 2 * one] = mimp_weight_byte(kernels, mimp_clamp(t.acc[16 * i + j], -value_max, value_max));
                    }
                }
            }
        }
    }
}

/* 255 * 2^(-9 i / 255), to nearest; the last is 0. */
static const uint8_t mimp_exp[256] = {
    255, 249, 243, 237, 231, 226, 220, 215, 210, 205, 200, 195, 190, 186, 181, 177, 172, 168, 164, 160, 156, 153, 149, 145,
    142, 138, 135, 132, 129, 125, 122, 119, 117, 114, 111, 108, 106, 103, 101, 98, 96, 94, 91, 89, 87, 85, 83, 81,
    79, 77, 75, 73, 71, 70, 68, 66, 65, 63, 62, 60, 59, 57, 56, 55, 53, 52, 51, 50, 48, 47, 46, 45,
    44, 43, 42, 41, 40, 39, 38, 37, 36, 35, 34, 33, 33, 32, 31, 30, 30, 29, 28, 28, 27, 26, 26, 25,
    24, 24, 23, 23, 22, 22, 21, 21, 20, 20, 19, 19, 18, 18, 17, 17, 16, 16, 16, 15, 15, 15, 14, 14,
    14, 13, 13, 13, 12, 12, 12, 11, 11, 11, 11, 10, 10, 10, 10, 9, 9, 9, 9, 9, 8, 8, 8, 8,
    8, 7, 7, 7, 7, 7, 6, 6, 6, 6, 6, 6, 6, 5, 5, 5, 5, 5, 5, 5, 5, 5, 4, 4,
    4, 4, 4, 4, 4, 4, 4, 4, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 2, 2,
    2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0
};

/* The byte of a score at a distance from the largest. */
MIMP_INLINE uint32_t mimp_probability(int32_t distance, int32_t octaves)
{
    return mimp_exp[mimp_byte(mimp_high(distance, octaves))];
}

/* Those of four scores; returns their sum. */
MIMP_INLINE uint32_t mimp_four_probabilities(uint8_t *to, int32_t top, mimp_four x, int32_t octaves)
{
    const mimp_four distance = mimp_four_sub(mimp_four_of(top), x);
#ifdef MIMP_MVE
    const uint32x4_t p = vldrbq_gather_offset_u32(mimp_exp, mimp_four_within(mimp_four_high(distance, mimp_four_of(octaves)), 255));
    vstrbq_u32(to, p);
    return vaddvq_u32(p);
#else
    const uint32_t a = mimp_probability(distance.a, octaves), b = mimp_probability(distance.b, octaves);
    const uint32_t c = mimp_probability(distance.c, octaves), d = mimp_probability(distance.d, octaves);
    to[0] = (uint8_t)a, to[1] = (uint8_t)b, to[2] = (uint8_t)c, to[3] = (uint8_t)d;
    return a + b + c + d;
#endif
}

/* Softmax of row r of the scores, as bytes of which the largest is 255; returns their sum. The largest score is exact, and so is
 * the distance from it, which octaves take to the table's steps. Scores are less than 2^24: products of 255, 127 and 256 channels. */
static uint32_t mimp_integer_softmax(const mimp_integer_attention *a, const mimp_integer_rows *t, uint32_t r, const int32_t *k_sum,
                                     int32_t octaves)
{
    const uint32_t n = a->run->tokens;
    const size_t next = 16 * (size_t)t->p.rows, quad = t->p.packed.quad;
    int32_t *const first = t->scores + 16 * (size_t)r, *x, top = INT32_MIN;
    mimp_four tops = mimp_four_of(INT32_MIN);
    uint8_t *to = t->p.data + r * t->p.packed.row;
    uint32_t j, i, sum = 0;
    for (j = 0, x = first; !MIMP_SMALL && j + 16 <= n; j += 16, x += next)
        for (i = 0; i < 16; i += 4) {
            const mimp_four y = mimp_four_sub(mimp_four_at(x + i), mimp_four_at(k_sum + j + i));
            mimp_four_put(x + i, y);
            tops = mimp_four_max(tops, y);
        }
    if (!MIMP_SMALL)
        top = mimp_four_most(tops);
    for (; j < n; x += ++j % 16 ? 1 : next - 15) {
        *x -= k_sum[j];
        top = *x > top ? *x : top;
    }
    top = mimp_wrap(top, (int32_t)(0x80000000u / ((uint32_t)octaves | 1)));     /* half a step more, which rounds half up */
    for (j = 0, x = first; !MIMP_SMALL && j + 16 <= n; j += 16, x += next)
        for (i = 0; i < 16; i += 4, to += quad)
            sum += mimp_four_probabilities(to, top, mimp_four_at(x + i), octaves);
    for (; j < a->keys16; x += ++j % 16 ? 1 : next - 15, to += j % 4 ? 1 : quad - 3) {
        const uint32_t p = j < n ? mimp_probability(mimp_wrap(top, -*x), octaves) : 0;
        *to = (uint8_t)p;
        sum += p;
    }
    return sum;
}

#ifndef MIM_NO_FLOAT
static void mimp_integer_weights(const mimp_integer_attention *a, const mimp_integer_rows *t, uint32_t r, uint32_t head, uint32_t token,
                                 uint32_t sum)
{
    const mimp_run *run = a->run;
    float *to = run->out->attention + ((size_t)head * run->tokens + mimp_row_out(run, token)) * run->tokens;
    uint32_t j;
    for (j = 0; j < run->tokens; j++)
        to[mimp_row_out(run, j)] = (float)*mimp_byte_at(&t->p, r, j) * (1.0f / (float)sum);
}
#endif

/* One head's output for the rows of a leaf that begin at row r of the tile, token `token`. */
static void mimp_integer_head(const mimp_integer_attention *a, const mimp_integer_rows *t, uint32_t head, uint32_t r, uint32_t token)
{
    const uint32_t unit = t->q.rows, rows = mimp_min(unit, a->run->tokens - token), at = a->first + head, hd = a->step->head_dim;
    const size_t bytes = (size_t)a->keys16 * a->width;
    const int8_t *k = (const int8_t *)a->k + head * bytes, *v = (const int8_t *)a->v + head * bytes;
    const int32_t *k_sum = a->k_sum + (size_t)head * a->keys16;
    int32_t share[MIMP_MAX_ROWS];
    const mimp_weights keys = mimp_weights_of(k, a->width, a->step->key_max);
    uint32_t p, i, j;
    MIM_STAGE(MIM_STAGE_SCORES);
    mimp_multiply(a->crew.kernels, t->scores, mimp_bytes_tile(&t->q, r), &keys, a->keys16 / 16);
    MIM_STAGE(MIM_STAGE_SOFTMAX);
    for (i = 0; i < rows; i++) {
        const uint32_t sum = mimp_integer_softmax(a, t, i, k_sum, (int32_t)a->octaves[at]);
        share[i] = (int32_t)((a->share[at] + sum / 2) / sum);
#ifndef MIM_NO_FLOAT
        if (a->run->out->attention && a->step == a->run->last_attention)
            mimp_integer_weights(a, t, i, at, token + i, sum);
#endif
    }
    MIM_STAGE(MIM_STAGE_VALUES);
    for (p = 0; p < a->width / 16; p++) {
        const mimp_weights values = mimp_weights_of(v + (size_t)p * a->keys16 * 16, a->keys16, a->step->value_max);
        mimp_multiply(a->crew.kernels, t->acc, t->p.data, &values, 1);
        for (i = 0; i < rows; i++) {
            uint32_t c = at * hd + 16 * p;
            uint8_t *to = mimp_byte_at(&a->out, token + i, c);
            for (j = 0; j < 16 && 16 * p + j < hd; j++) {
                const int32_t four = (int32_t)(4 * (uint32_t)t->acc[16 * i + j]);
                *to = (uint8_t)mimp_clamp(mimp_scaled(four, share[i]) + 128, 0, 255);
                to += ++c % 4 ? 1 : a->out.packed.quad - 3;
            }
        }
    }
}

static void mimp_integer_queries(void *arg, uint32_t index)
{
    const mimp_integer_attention *a = (const mimp_integer_attention *)arg;
    const mimp_integer_rows t = mimp_integer_rows_of(a, index);
    const uint32_t unit = t.bytes.rows, panels = a->width / 16, heads = mimp_min(a->group, a->step->heads - a->first);
    uint32_t first, head, p, r;
    MIM_MEMSET(t.p.data, 0, t.p.packed.tile);
    for (first = index * a->tile; first < a->run->tokens; first += a->crew.tasks * a->tile) {
        const uint32_t rows = mimp_integer_fill(a, &t.bytes, first);
        for (head = 0; head < heads; head++) {
            MIM_STAGE(MIM_STAGE_QKV);
            for (p = 0; p < panels; p++) {
                const mimp_weights w = mimp_weights_panel(a->crew.kernels, &a->qkv, (a->first + head) * 3 * panels + p, t.unpacked);
                for (r = 0; r < rows; r += unit) {
                    mimp_multiply(a->crew.kernels, t.acc, mimp_bytes_tile(&t.bytes, r), &w, 1);
                    mimp_rescale_bytes(&t.q, r, 16 * p, t.acc, &w, NULL);
                }
            }
            for (r = 0; r < rows; r += unit)
                mimp_integer_head(a, &t, head, r, first + r);
        }
    }
}

/* x += proj(out) */
static void mimp_integer_outputs(void *arg, uint32_t index)
{
    const mimp_integer_attention *a = (const mimp_integer_attention *)arg;
    const mimp_integer_rows t = mimp_integer_rows_of(a, index);
    const mimp_run *run = a->run;
    uint32_t first;
    MIM_STAGE(MIM_STAGE_PROJECTION);
    for (first = index * a->tile; first < run->tokens; first += a->crew.tasks * a->tile)
        mimp_add_product(a->crew.kernels, run->stream + (size_t)first * run->dim, run->dim, mimp_min(a->tile, run->tokens - first), &a->out,
                         first, &a->proj, t.acc, t.unpacked);
}

MIMP_STEP void mimp_integer_attention_run(mimp_run *run, const mim_blob_step *s)
{
    const uint32_t unit = run->s->kernels->rows_q8;
    mimp_integer_attention a;
    size_t panels;
    mimp_integer_attention_memory(&a, run, s);
    panels = (size_t)a.group * a.keys16 * a.width;
    MIM_MEMSET(a.out.data, 0, mimp_tiles(unit, run->tokens) * a.out.packed.tile);       /* columns and rows that nothing else sets */
    for (a.first = 0; a.first < s->heads; a.first += a.group) {
        MIM_MEMSET(a.k, 0, panels);
        MIM_MEMSET(a.v, 0, panels);
        mimp_work(&a.crew, mimp_integer_keys, &a);
        mimp_work(&a.crew, mimp_integer_queries, &a);
    }
    mimp_work(&a.crew, mimp_integer_outputs, &a);
}

/* ---- mlp ---- */

typedef struct mimp_integer_mlp {
    mimp_crew crew;
    mimp_run *run;
    const mim_blob_step *step;
    mimp_matrix fc1, fc2;
    mimp_channels input;
    mimp_activation act;
    uint32_t tile;
} mimp_integer_mlp;

/* A task's own. */
typedef struct mimp_integer_units {
    mimp_bytes bytes, hidden;       /* normalised rows, hidden layer */
    int32_t *acc;                   /* [rows of a leaf][16] */
    uint8_t *unpacked;              /* a panel */
} mimp_integer_units;

static mimp_integer_units mimp_integer_hidden(mimp_arena *arena, const mimp_integer_mlp *m, const mimp_kernels *kernels)
{
    mimp_integer_units t;
    t.bytes = mimp_bytes_memory(arena, kernels, m->fc1.k, m->tile);
    t.hidden = mimp_bytes_memory(arena, kernels, m->fc2.k, m->tile);
    t.acc = (int32_t *)mimp_take(arena, (uint64_t)kernels->rows_q8 * 64);
    t.unpacked = (uint8_t *)mimp_take_tiles(arena, kernels, mimp_max(mimp_unpacked_panel(kernels, &m->fc1), mimp_unpacked_panel(kernels, &m->fc2)));
    return t;
}

static void mimp_integer_mlp_memory(mimp_integer_mlp *m, mimp_run *run, const mim_blob_step *s)
{
    mimp_arena tasks = { NULL, 0, 0 };
    MIM_MEMSET(m, 0, sizeof *m);
    m->run = run;
    m->step = s;
    m->fc1 = mimp_matrix_of(run->model, s->tensor[1]);
    m->fc2 = mimp_matrix_of(run->model, s->tensor[2]);
    m->input = mimp_channels_of(run->model, s->tensor[0]);
    m->act.curve = (const uint16_t *)mimp_numbers(run->model, s->tensor[4]);
    m->act.factor = (const int32_t *)mimp_numbers(run->model, s->tensor[5]);
    m->tile = mimp_task_rows(run);
    mimp_integer_hidden(&tasks, m, run->s->kernels);
    mimp_crew_memory(&m->crew, &run->arena, run->s, tasks.high);
}

static void mimp_integer_mlp_task(void *arg, uint32_t index)
{
    const mimp_integer_mlp *m = (const mimp_integer_mlp *)arg;
    const mimp_kernels *kernels = m->crew.kernels;
    const mimp_run *run = m->run;
    const uint32_t unit = kernels->rows_q8;
    mimp_arena arena = { NULL, 0, 0 };
    mimp_integer_units t;
    uint32_t first, p, r;
    arena.base = mimp_scratch_bytes(&m->crew, index);
    t = mimp_integer_hidden(&arena, m, kernels);
    MIM_MEMSET(t.hidden.data, 0, mimp_tiles(unit, m->tile) * t.hidden.packed.tile);
    for (first = index * m->tile; first < run->tokens; first += m->crew.tasks * m->tile) {
        const uint32_t rows = mimp_min(m->tile, run->tokens - first);
        int16_t *x = run->stream + (size_t)first * run->dim;
        mimp_bytes_fill(&t.bytes, x, rows, run->dim, &m->input, m->step->variance);
        MIM_STAGE(MIM_STAGE_MLP);
        for (p = 0; p < m->fc1.n / 16; p++) {
            const mimp_weights w = mimp_weights_panel(kernels, &m->fc1, p, t.unpacked);
            for (r = 0; r < rows; r += unit) {
                mimp_multiply(kernels, t.acc, mimp_bytes_tile(&t.bytes, r), &w, 1);
                mimp_rescale_bytes(&t.hidden, r, 16 * p, t.acc, &w, &m->act);
            }
        }
        mimp_add_product(kernels, x, run->dim, rows, &t.hidden, 0, &m->fc2, t.acc, t.unpacked);
    }
}

/* ---- norm, pool, and the linear layers that end a model ---- */

/* A row normalised to int16; y may be x. */
static void mimp_integer_norm(int16_t *y, const int16_t *x, uint32_t n, mimp_channels c, uint64_t variance)
{
    const mimp_moments m = mimp_moments_of(x, n, variance);
    uint32_t d;
    for (d = 0; d < n; d++)
        y[d] = mimp_short(mimp_requantized(&c, d, mimp_normalised(&m, x[d])));
}

static void mimp_put_value(mimp_sink to, size_t at, int16_t value, const mim_blob_step *of)
{
    if (to.integers)
        to.integers[at] = value;
#ifndef MIM_NO_FLOAT
    if (to.floats)
        to.floats[at] = (float)value * of->scale;
#else
    (void)of;
#endif
}

/* One row out, through a norm where there is one; else as step `of` has it. */
static void mimp_integer_put(const mimp_run *run, mimp_sink to, const int16_t *x, const mim_blob_step *norm, const mim_blob_step *of)
{
    mimp_channels c;
    mimp_moments m;
    uint32_t d;
    if (norm) {
        c = mimp_channels_of(run->model, norm->tensor[0]);
        m = mimp_moments_of(x, run->dim, norm->variance);
        of = norm;
    }
    for (d = 0; d < run->dim; d++)
        mimp_put_value(to, d, norm ? mimp_short(mimp_requantized(&c, d, mimp_normalised(&m, x[d]))) : x[d], of);
}

static void mimp_integer_pool(mimp_run *run, const mim_blob_step *s)
{
    const uint32_t first = s->rule == MIM_POOL_MEAN_ALL ? 0 : run->s->prefix, n = run->tokens - first, pooled_dim = run->model->header->pooled_dim;
    int16_t *mean = run->pooled_stream + (s->rule == MIM_POOL_CLS_MEAN ? run->dim : 0);
    uint32_t t, d;
    if (s->rule == MIM_POOL_CLS || s->rule == MIM_POOL_CLS_MEAN)
        MIM_MEMCPY(run->pooled_stream, run->stream, (size_t)run->dim * 2);
    for (d = 0; d < run->dim && s->rule != MIM_POOL_CLS; d++) {
        uint32_t sum = 32768 * n + n / 2;                /* not negative any more: at most 2^31 */
        for (t = first; t < run->tokens; t++) {
            const int32_t x = run->stream[(size_t)t * run->dim + d];
            sum += (uint32_t)x;
        }
        mean[d] = (int16_t)((int32_t)(sum / n) - 32768);
    }
    if (s->tensor[0])
        mimp_integer_norm(run->pooled_stream, run->pooled_stream, pooled_dim, mimp_channels_of(run->model, s->tensor[0]), s->variance);
    for (d = 0; d < pooled_dim; d++)
        mimp_put_value(run->pooled_to, d, run->pooled_stream[d], s);
}

/* HEAD, UNMASK and PREDICT: rows through one matrix. */
typedef struct mimp_integer_linear {
    mimp_crew crew;
    mimp_run *run;
    const mim_blob_step *step;
    mimp_matrix matrix;
    mimp_channels input;
    const int16_t *x;               /* (rows, n) */
    uint32_t rows, n, columns;      /* columns of the result */
    uint32_t tile;
    int16_t *y;                     /* UNMASK: the decoder's stream */
} mimp_integer_linear;

static int32_t *mimp_integer_linear_rows(mimp_arena *arena, const mimp_integer_linear *l, const mimp_kernels *kernels, mimp_bytes *bytes,
                                         uint8_t **unpacked)
{
    *bytes = mimp_bytes_memory(arena, kernels, l->matrix.k, l->tile);
    *unpacked = (uint8_t *)mimp_take_tiles(arena, kernels, mimp_unpacked_panel(kernels, &l->matrix));
    return (int32_t *)mimp_take(arena, (uint64_t)kernels->rows_q8 * 64);
}

static void mimp_integer_linear_memory(mimp_integer_linear *l, mimp_run *run, const mim_blob_step *s)
{
    const uint32_t head = s->kind == MIM_STEP_HEAD, prefix = s->kind == MIM_STEP_PREDICT ? run->s->prefix : 0;
    mimp_arena tasks = { NULL, 0, 0 };
    mimp_bytes bytes;
    uint8_t *unpacked;
    MIM_MEMSET(l, 0, sizeof *l);
    l->run = run;
    l->step = s;
    l->matrix = mimp_matrix_of(run->model, s->tensor[0]);
    l->input = mimp_channels_of(run->model, s->tensor[s->kind == MIM_STEP_UNMASK ? 4 : 1]);
    l->x = head ? run->pooled_stream : run->stream ? run->stream + (size_t)prefix * run->dim : NULL;
    l->rows = head ? 1 : run->tokens - prefix;
    l->n = head ? run->model->header->pooled_dim : run->dim;
    l->columns = run->model->tensors[s->tensor[0] - 1].rows;
    l->tile = head ? 1 : mimp_task_rows(run);
    mimp_integer_linear_rows(&tasks, l, run->s->kernels, &bytes, &unpacked);
    mimp_crew_memory(&l->crew, &run->arena, run->s, tasks.high);
}

/* y[row][c], which is complete but for what it had before: positions, or nothing. */
static void mimp_integer_result(const mimp_integer_linear *l, uint32_t row, uint32_t c, int32_t value)
{
    const uint32_t prefix = l->run->s->prefix;
    if (MIMP_DECODER && l->step->kind == MIM_STEP_UNMASK) {
        int16_t *y = l->y + (size_t)(row < prefix ? row : prefix + l->run->patch[row - prefix]) * l->columns + c;
        *y = mimp_short(*y + mimp_clamp(value, -65536, 65535));
    } else
        mimp_put_value(l->step->kind == MIM_STEP_HEAD ? l->run->logits_to : l->run->prediction_to, (size_t)row * l->columns + c,
                       mimp_short(value), l->step);
}

static void mimp_integer_linear_task(void *arg, uint32_t index)
{
    const mimp_integer_linear *l = (const mimp_integer_linear *)arg;
    mimp_arena arena = { NULL, 0, 0 };
    mimp_bytes bytes;
    uint32_t first, p, r, i, j, unit;
    uint8_t *unpacked;
    int32_t *acc;
    arena.base = mimp_scratch_bytes(&l->crew, index);
    acc = mimp_integer_linear_rows(&arena, l, l->crew.kernels, &bytes, &unpacked);
    unit = bytes.rows;
    for (first = index * l->tile; first < l->rows; first += l->crew.tasks * l->tile) {
        const uint32_t rows = mimp_min(l->tile, l->rows - first);
        mimp_bytes_fill(&bytes, l->x + (size_t)first * l->n, rows, l->n, &l->input, 0);
        for (p = 0; p < l->matrix.n / 16; p++) {
            const mimp_weights w = mimp_weights_panel(l->crew.kernels, &l->matrix, p, unpacked);
            for (r = 0; r < rows; r += unit) {
                mimp_panel(l->crew.kernels, acc, &bytes, r, &w);
                for (i = 0; i < unit && r + i < rows; i++)
                    for (j = 0; j < 16 && 16 * p + j < l->columns; j++)
                        mimp_integer_result(l, first + r + i, 16 * p + j, acc[16 * i + j]);
            }
        }
    }
}

/* The decoder's stream: positions, and the mask token where nothing was seen; then what was. */
MIMP_STEP void mimp_integer_unmask(mimp_run *run, const mim_blob_step *s, int16_t *y)
{
    const int16_t *mask = (const int16_t *)mimp_numbers(run->model, s->tensor[1]);
    const int16_t *first_rows = (const int16_t *)mimp_numbers(run->model, s->tensor[2]);
    const int16_t *positions = (const int16_t *)mimp_numbers(run->model, s->tensor[3]);
    const uint32_t dim = run->model->header->decoder_dim, prefix = run->s->prefix;
    mimp_integer_linear l;
    uint32_t t, d;
    mimp_integer_linear_memory(&l, run, s);
    l.y = y;
    for (t = 0; t < prefix + run->patches; t++, y += dim)
        for (d = 0; d < dim; d++) {
            const int32_t position = t >= prefix ? positions[(size_t)(t - prefix) * dim + d] : first_rows ? first_rows[(size_t)t * dim + d] : 0;
            y[d] = mimp_short(position + (t < prefix || run->place[t - prefix] ? 0 : mask[d]));
        }
    mimp_work(&l.crew, mimp_integer_linear_task, &l);
    mimp_follow(run, s);
    run->stream = l.y;
}

/* ---- one step ---- */

/* Lays out what a step needs beside the stream. */
static void mimp_integer_memory(mimp_run *run, const mim_blob_step *s)
{
    union { mimp_integer_embed embed; mimp_integer_attention attention; mimp_integer_mlp mlp; mimp_integer_linear linear; } u;
    switch (s->kind) {
    case MIM_STEP_EMBED:     mimp_integer_embed_memory(&u.embed, run, s); break;
    case MIM_STEP_ATTENTION: mimp_integer_attention_memory(&u.attention, run, s); break;
    case MIM_STEP_MLP:       mimp_integer_mlp_memory(&u.mlp, run, s); break;
    case MIM_STEP_HEAD:
    case MIM_STEP_UNMASK:
    case MIM_STEP_PREDICT:   mimp_integer_linear_memory(&u.linear, run, s); break;
    default: ;
    }
}

MIMP_STEP void mimp_integer_mlp_run(mimp_run *run, const mim_blob_step *s)
{
    mimp_integer_mlp m;
    mimp_integer_mlp_memory(&m, run, s);
    mimp_work(&m.crew, mimp_integer_mlp_task, &m);
}

MIMP_STEP void mimp_integer_linear_run(mimp_run *run, const mim_blob_step *s)
{
    mimp_integer_linear l;
    mimp_integer_linear_memory(&l, run, s);
    mimp_work(&l.crew, mimp_integer_linear_task, &l);
}

static mim_status mimp_integer_run(mimp_run *run, const mim_blob_step *s, void *decoder)
{
    uint32_t t;
    switch (s->kind) {
    case MIM_STEP_EMBED:     return mimp_integer_embed_run(run, s);
    case MIM_STEP_ATTENTION: mimp_integer_attention_run(run, s); break;
    case MIM_STEP_MLP:       mimp_integer_mlp_run(run, s); break;
    case MIM_STEP_NORM:
        for (t = 0; t < run->tokens; t++)
            mimp_integer_norm(run->stream + (size_t)t * run->dim, run->stream + (size_t)t * run->dim, run->dim,
                              mimp_channels_of(run->model, s->tensor[0]), s->variance);
        break;
    case MIM_STEP_POOL:      mimp_integer_pool(run, s); break;
    case MIM_STEP_UNMASK:
        if (MIMP_DECODER)
            mimp_integer_unmask(run, s, (int16_t *)decoder);
        break;
    default:                 mimp_integer_linear_run(run, s);    /* HEAD, PREDICT */
    }
    return MIM_OK;
}

/* =======================================================================================
 * >>sessions: planning, beginning, encoding
 * ===================================================================================== */

/* The tokens as they will be embedded. */
static mim_grid mimp_first_grid(const mim_session *s)
{
    mim_grid grid;
    grid.frames = s->grid_frames;
    grid.height = s->grid_height;
    grid.width = s->grid_width;
    grid.tokens = s->tokens;
    grid.dim = s->model->header->dim;
    return grid;
}

/* Memory that outlives the steps: enough for the widest stream on the way. Decoder steps have their stream in addition. */
static void mimp_run_memory(mimp_run *run)
{
    const mim_blob_header *h = run->model->header;
    uint64_t stream = 0, branch = 0, places = 0, tokens = 0, widest = 0;
    mimp_run way;
    uint32_t i;
    run->slow = run->s->desc.split ? &run->second : &run->arena;
    run->patches = run->s->grid_frames * run->s->grid_height * run->s->grid_width;
    run->unit_height = h->unit_height;
    run->unit_width = h->unit_width;
    run->planned_units = !h->unit_height ? 0 : run->s->desc.visible_max ? run->s->desc.visible_max
        : run->patches / (h->unit_height * h->unit_width);
    run->units = run->planned_units;
    run->grid = mimp_first_grid(run->s);
    way = *run;
    for (i = 0; i < (MIMP_WINDOWS ? h->decoder_step : 1); i++) {        /* without windows the first alone changes the grid */
        const mim_blob_step *s = &run->model->steps[i];
        mimp_follow(&way, s);
        if (MIMP_WINDOWS && branch < (uint64_t)way.branch_grid.tokens * mimp_up(way.branch_grid.dim, 16))
            branch = (uint64_t)way.branch_grid.tokens * mimp_up(way.branch_grid.dim, 16);
        if (widest < way.stride)
            widest = way.stride;
        if (stream < (uint64_t)way.planned * way.stride)
            stream = (uint64_t)way.planned * way.stride;
        if (places < (uint64_t)way.grid.tokens)
            places = way.grid.tokens;
        if (tokens < way.planned)
            tokens = way.planned;
    }
    run->place = (uint16_t *)mimp_take(run->slow, h->unit_height ? (uint64_t)run->patches / (h->unit_height * h->unit_width) * 2 : 0);
    run->patch = (uint16_t *)mimp_take(run->slow, (tokens - run->s->prefix) * 2);
    if (MIMP_INTEGER(h)) {
        run->pooled_stream = (int16_t *)mimp_take(run->slow, (uint64_t)h->pooled_dim * 2);
        run->stream = (int16_t *)mimp_take(run->slow, tokens * h->dim * 2);
        return;
    }
#ifndef MIM_NO_FLOAT
    run->where = (uint16_t *)mimp_take(run->slow, (places - run->s->prefix) * 2);
    run->pooled = mimp_floats(run->slow, mimp_up(h->pooled_dim, 16));
    run->row = mimp_floats(run->slow, widest * run->s->desc.threads);
    run->branch = branch ? mimp_floats(run->slow, branch) : NULL;
    run->x = mimp_floats(run->slow, stream);
#endif
}

#ifndef MIM_NO_FLOAT
/* Lays out what a step needs beside the stream. */
static void mimp_step_memory(mimp_run *run, const mim_blob_step *s)
{
    union { mimp_embed embed; mimp_attention attention; mimp_mlp mlp; mimp_head head; mimp_unmask unmask; mimp_conv conv; } u;
    switch (s->kind) {
    case MIM_STEP_EMBED:     mimp_embed_memory(&u.embed, run, s); break;
    case MIM_STEP_CONV:      mimp_conv_memory(&u.conv, run, s); break;
    case MIM_STEP_ATTENTION: mimp_attention_memory(&u.attention, run, s); break;
    case MIM_STEP_MLP:       mimp_mlp_memory(&u.mlp, run, s); break;
    case MIM_STEP_HEAD:      mimp_head_memory(&u.head, run, s); break;
    case MIM_STEP_UNMASK:
    case MIM_STEP_PREDICT:
        if (MIMP_DECODER)
            mimp_unmask_memory(&u.unmask, run, s);
        break;
    default: ;
    }
}
#endif

/* The stream of the decoder lies behind that of the encoder; this gives it its place. */
static void *mimp_decoder_stream(mimp_run *run)
{
    const uint64_t rows = run->s->prefix + run->patches, dim = run->model->header->decoder_dim;
    return mimp_take(run->slow, MIMP_INTEGER(run->model->header) ? rows * dim * 2 : rows * mimp_up((uint32_t)dim, 16) * 4);
}

/* The exact memory of a session, of its slow region too, by laying out each step in arenas that only count. */
static uint64_t mimp_plan_bytes(const mim_session *s, uint64_t *slow)
{
    const mim_blob_header *h = s->model->header;
    const uint32_t end = s->desc.decoder ? h->step_count : h->decoder_step;
    uint64_t behind;
    mimp_run run;
    uint32_t i;
    MIM_MEMSET(&run, 0, sizeof run);
    run.s = s;
    run.model = s->model;
    mimp_run_memory(&run);
    behind = run.slow->used;
    for (i = 0; i < end; i++) {
        const mim_blob_step *step = &s->model->steps[i];
        run.arena.used = 0;
        run.slow->used = behind;
        if (step->kind == MIM_STEP_EMBED)
            mimp_follow(&run, step);
        if (MIMP_DECODER && step->kind == MIM_STEP_UNMASK) {
            mimp_decoder_stream(&run);
            behind = run.slow->used;
        }
        if (MIMP_INTEGER(h))
            mimp_integer_memory(&run, step);
#ifndef MIM_NO_FLOAT
        else
            mimp_step_memory(&run, step);
#endif
        if (step->kind != MIM_STEP_EMBED)
            mimp_follow(&run, step);
    }
    *slow = run.second.high;
    return run.arena.high;
}

/* Whether the steps can serve the session's grid. */
static mim_status mimp_grid_fits(const mim_session *s)
{
    const uint32_t end = s->desc.decoder ? s->model->header->step_count : s->model->header->decoder_step;
    mim_grid grid = mimp_first_grid(s), branch, side;
    uint32_t i;
    MIM_MEMSET(&branch, 0, sizeof branch);
    for (i = 0; i < end; i++) {
        const mim_blob_step *step = &s->model->steps[i];
        side = grid;
        if (!mimp_advance(s->model, step, MIMP_WINDOWS && step->flags & MIM_STEP_BRANCH ? &side : &grid))
            return MIM_ERR_SIZE;
        if (!MIMP_WINDOWS || !(step->flags & (MIM_STEP_BRANCH | MIM_STEP_JOIN)))
            continue;
        if (branch.tokens && step->kind != MIM_STEP_ATTENTION && MIM_MEMCMP(&branch, &side, sizeof side))
            return MIM_ERR_SIZE;
        branch = side;
        if (step->flags & MIM_STEP_JOIN)
            branch.tokens = 0;
    }
    return MIM_OK;
}

/* A session without memory: the request, checked and with its defaults filled in. */
static mim_status mimp_prepare(mim_session *s, const mim_model *model, const mim_session_desc *desc)
{
    const mim_blob_header *h;
    mim_status status;
    MIM_MEMSET(s, 0, sizeof *s);
    if (!model || !model->header)
        return MIM_ERR_ARGUMENT;
    h = model->header;
    if (desc)
        s->desc = *desc;
    if (!s->desc.parallel || !s->desc.threads)
        s->desc.threads = 1;
    s->model = model;
    s->height = s->desc.height ? s->desc.height : h->image_height;
    s->width = s->desc.width ? s->desc.width : h->image_width;
    s->frames = s->desc.frames ? s->desc.frames : h->frames;
    s->prefix = h->has_cls + h->registers;
    if (s->desc.threads > MIM_MAX_THREADS || s->desc.split > 1 || !s->desc.source_height != !s->desc.source_width
        || s->desc.source_height > 65535 || s->desc.source_width > 65535)
        return MIM_ERR_ARGUMENT;
#ifdef MIM_NO_RESIZE
    if (s->desc.source_width)
        return MIM_ERR_UNSUPPORTED;
#endif
    if (s->height > MIM_MAX_IMAGE || s->width > MIM_MAX_IMAGE || s->height % h->patch_height || s->width % h->patch_width)
        return MIM_ERR_SIZE;
    if (s->frames > MIM_MAX_FRAMES || s->frames % h->patch_frames || (h->groups > 1 && s->frames != 1))
        return MIM_ERR_SIZE;
    s->grid_frames = s->frames / h->patch_frames * h->groups;
    s->grid_height = s->height / h->patch_height;
    s->grid_width = s->width / h->patch_width;
    if (s->grid_height * s->grid_width > MIM_MAX_TOKENS || s->grid_frames * s->grid_height * s->grid_width > MIM_MAX_TOKENS - s->prefix)
        return MIM_ERR_SIZE;
    s->tokens = s->prefix + s->grid_frames * s->grid_height * s->grid_width;
    if (h->unit_height && (s->grid_height % h->unit_height || s->grid_width % h->unit_width))
        return MIM_ERR_SIZE;
    if (s->desc.visible_max > (h->unit_height ? (s->tokens - s->prefix) / (h->unit_height * h->unit_width) : 0))
        return MIM_ERR_VISIBLE;
    if (s->desc.decoder && h->decoder_step == h->step_count)
        return MIM_ERR_MISSING;
    status = mimp_grid_fits(s);
    if (status)
        return status;
    s->kernels = mimp_choose(s->desc.cpu, MIMP_INTEGER(h) ? mimp_layout(model->steps, model->tensors) : (uint32_t)MIM_PANEL16);
    if (!s->kernels)
        return MIM_ERR_CPU;
    s->cpu = s->kernels->name;
    return MIM_OK;
}

/* Heads at a time beyond which more are not faster: one for each task where they can be shared out, else all; in integers they
 * spare norms. */
static uint32_t mimp_most_heads(const mim_model *model, uint32_t threads)
{
    uint32_t i, most = 1;
    for (i = 0; i < model->header->step_count; i++) {
        const uint32_t heads = model->steps[i].heads;
        most = mimp_max(most, MIMP_INTEGER(model->header) || heads % threads ? heads : threads);
    }
    return most;
}

/* Slow memory depends on neither. */
MIMP_CALLED uint64_t mimp_bytes_with(mim_session *s, uint32_t tile_rows, uint32_t group_heads, uint64_t *slow)
{
    s->tile_rows = tile_rows;
    s->group_heads = group_heads;
    return mimp_plan_bytes(s, slow);
}

MIMP_PUBLIC mim_status mim_plan(const mim_model *model, const mim_session_desc *desc, mim_memory *need)
{
    uint64_t least, useful, slow;
    mim_session s;
    mim_status status;
    if (!need)
        return MIM_ERR_ARGUMENT;
    MIM_MEMSET(need, 0, sizeof *need);
    status = mimp_prepare(&s, model, desc);
    if (status)
        return status;
    least = mimp_bytes_with(&s, 1, 1, &slow);
    if (least > mimp_most_memory || slow > mimp_most_memory)
        return MIM_ERR_LIMIT;
    useful = mimp_bytes_with(&s, mimp_most_rows(&s), mimp_most_heads(model, s.desc.threads), &slow);
    need->bytes = (size_t)least;
    need->slow_bytes = (size_t)slow;
    need->useful = (size_t)(useful > mimp_most_memory ? mimp_most_memory : useful);
    return MIM_OK;
}

MIMP_PUBLIC mim_status mim_begin(mim_session *session, const mim_model *model, const mim_session_desc *desc,
                                 const mim_memory *given)
{
    mim_session s;
    mim_status status;
    uint32_t most[2], use[2] = { 1, 1 }, i;             /* rows, heads */
    uint64_t slow;
    if (!session)
        return MIM_ERR_ARGUMENT;
    MIM_MEMSET(session, 0, sizeof *session);
    status = mimp_prepare(&s, model, desc);
    if (status)
        return status;
    if (!given || !given->base || (s.desc.split && !given->slow))
        return MIM_ERR_ARGUMENT;
    if ((uintptr_t)given->base & 15 || (s.desc.split && (uintptr_t)given->slow & 15))
        return MIM_ERR_ALIGNMENT;
    if (mimp_bytes_with(&s, 1, 1, &slow) > given->bytes || slow > (s.desc.split ? given->slow_bytes : 0))
        return MIM_ERR_MEMORY;
    status = mimp_check_ranges(model);
    if (status)
        return status;
    /* The two choices govern different steps, and the memory is the most that any step needs: settle one, then the other. In
     * integers rows come first: they spare weights, heads only norms. */
    most[0] = mimp_most_rows(&s);
    most[1] = mimp_most_heads(model, s.desc.threads);
    for (i = 0; i < 2; i++) {
        const uint32_t which = MIMP_INTEGER(model->header) ? i : 1 - i;
        use[which] = most[which];
        while (mimp_bytes_with(&s, use[0], use[1], &slow) > given->bytes)
            use[which]--;
    }
    s.arena_bytes = (size_t)mimp_plan_bytes(&s, &slow);
    s.arena = (uint8_t *)given->base;
    s.slow = s.desc.split ? (uint8_t *)given->slow : NULL;
    *session = s;
    return MIM_OK;
}

#ifndef MIM_NO_FLOAT
/* Copies a row out, if it is wanted, through a norm where there is a step. */
static void mimp_put_row(const mimp_rows_job *job, uint32_t t, uint32_t task)
{
    const mimp_run *run = job->run;
    const uint32_t at = mimp_row_out(run, t) - job->first;
    const float *row = run->x + t * run->stride;
    float *const normed = run->row + task * run->stride;
    if (at >= job->count)
        return;
    if (job->step) {
        run->s->kernels->norm(normed, row, mimp_plain(run->model, job->step->tensor[0]), run->dim, job->step->eps);
        row = normed;
    }
    mimp_copy_out(job->to + (size_t)at * run->dim, row, run->dim);
}
#endif

/* Copies tokens first..first+count of the caller's order out, through a norm where there is one; else they are those of step
 * `of`, which knows what an integer is worth. */
static void mimp_put_tokens(const mimp_run *run, mimp_sink to, uint32_t first, uint32_t count, const mim_blob_step *norm,
                            const mim_blob_step *of)
{
    uint32_t token;
    for (token = 0; token < run->tokens && MIMP_INTEGER(run->model->header) && mimp_wanted(to); token++) {
        const uint32_t at = mimp_row_out(run, token) - first;
        if (at < count)
            mimp_integer_put(run, mimp_sink_at(to, (size_t)at * run->dim), run->stream + (size_t)token * run->dim, norm, of);
    }
#ifndef MIM_NO_FLOAT
    if (!MIMP_INTEGER(run->model->header) && to.floats)
        mimp_rows(run, norm, mimp_put_row, to.floats, first, count);
#endif
}

/* Marks the visible mask units with their place in the caller's list, and finds where their tokens stand. Without a list they
 * are the first `count`. */
static mim_status mimp_mark_visible(mimp_run *run, const uint32_t *visible, uint32_t count)
{
    const uint32_t all = run->unit_height ? run->patches / (run->unit_height * run->unit_width) : 0;
    uint32_t i, n = count;
    if (run->unit_height ? n < 1 || n > run->planned_units : visible || n != run->patches)
        return MIM_ERR_VISIBLE;
    n = run->unit_height ? n : 0;
    MIM_MEMSET(run->place, 0, (size_t)all * 2);
    for (i = 0; i < n; i++) {
        const uint32_t unit = visible ? visible[i] : i;
        if (unit >= all || run->place[unit])
            return MIM_ERR_VISIBLE;
        run->place[unit] = (uint16_t)(i + 1);
    }
    run->units = n;
    for (i = 0, n = 0; i < run->patches; i++)
        if (mimp_seen(run, i))
            run->patch[n++] = (uint16_t)i;
    return MIM_OK;
}

/* After a step that ends a layer: puts the layer out if it is wanted. */
static void mimp_tap(mimp_run *run)
{
    const mim_output *out = run->out;
    uint32_t i;
    run->taps++;
    for (i = 0; mimp_wanted(run->layer_to) && i < out->layer_count; i++)
        if (out->layer[i] == run->taps) {
            mimp_put_tokens(run, run->layer_to, 0, run->tokens, out->layer_norm ? run->final_norm : NULL, run->embed);
            run->layer_to = mimp_sink_at(run->layer_to, (size_t)run->tokens * run->dim);
        }
}

/* What the encoder's last norm emits. */
static void mimp_put_features(mimp_run *run)
{
    const mim_blob_header *h = run->model->header;
    const mim_blob_step *of = run->final_norm ? run->final_norm : run->embed;
    mimp_put_tokens(run, run->tokens_to, 0, run->tokens, NULL, of);
    mimp_put_tokens(run, run->cls_to, 0, 1, NULL, of);
    mimp_put_tokens(run, run->registers_to, h->has_cls, h->registers, NULL, of);
    mimp_put_tokens(run, run->patches_to, run->s->prefix, run->tokens - run->s->prefix, NULL, of);
}

MIMP_PUBLIC mim_status mim_shape(const mim_session *session, uint32_t layer, mim_grid *grid)
{
    uint32_t i, taps = 0;
    if (!session || !session->model || !grid || layer > session->model->header->depth)
        return MIM_ERR_ARGUMENT;
    *grid = mimp_first_grid(session);
    for (i = 0; i < session->model->header->decoder_step && !(layer && taps == layer); i++) {
        const mim_blob_step *s = &session->model->steps[i];
        if (!(s->flags & MIM_STEP_BRANCH))
            mimp_advance(session->model, s, grid);
        taps += s->flags & MIM_STEP_TAP;
    }
    return MIM_OK;
}

static mim_status mimp_check_output(const mim_session *s, const mim_blob_step *last_attention, const mim_output *out)
{
    const mim_blob_header *h = s->model->header;
    const mim_integers *integers = out->integers;
    const int layers = out->layers || (integers && integers->layers);
    mim_grid grid;
    uint32_t i;
    if ((out->cls && !h->has_cls) || (out->registers && !h->registers) || (out->logits && !h->classes))
        return MIM_ERR_MISSING;
    if (integers && ((integers->cls && !h->has_cls) || (integers->registers && !h->registers) || (integers->logits && !h->classes)
                     || !MIMP_INTEGER(h)))
        return MIM_ERR_MISSING;
#ifdef MIM_NO_FLOAT
    if (out->tokens || out->cls || out->registers || out->patches || out->pooled || out->logits || out->attention || out->layers)
        return MIM_ERR_UNSUPPORTED;
#endif
    if (layers && (!out->layer || !out->layer_count))
        return MIM_ERR_ARGUMENT;
    for (i = 0; layers && i < out->layer_count; i++)
        if (out->layer[i] < 1 || out->layer[i] > h->depth || (i && out->layer[i] <= out->layer[i - 1]))
            return MIM_ERR_ARGUMENT;
    if (out->attention) {                                /* of all tokens against all that the encoder emits */
        const mim_blob_step *step = last_attention;
        if (!step || step->window || step->thin || step->flags & MIM_STEP_JOIN)
            return MIM_ERR_MISSING;
        for (; step->kind != MIM_STEP_POOL; step++)
            if (step->kind == MIM_STEP_CONV && (step->stride_height != 1 || step->stride_width != 1
                || 2 * step->padding_height + 1 != step->kernel_height || 2 * step->padding_width + 1 != step->kernel_width))
                return MIM_ERR_MISSING;
    }
    for (i = 0; MIMP_WINDOWS && layers && out->layer_norm && i < out->layer_count; i++)
        if (mim_shape(s, out->layer[i], &grid) || grid.dim != h->dim)
            return MIM_ERR_MISSING;                      /* the last norm is of another width */
    return MIM_OK;
}

#ifndef MIM_NO_FLOAT
static mim_status mimp_step_run(mimp_run *run, const mim_blob_step *s, void *decoder)
{
    switch (s->kind) {
    case MIM_STEP_EMBED:
        if (!run->embedded)
            return mimp_embed_run(run, s);
        mimp_embed_given(run);
        break;
    case MIM_STEP_CONV:      mimp_conv_run(run, s); break;
    case MIM_STEP_ATTENTION: mimp_attention_run(run, s); break;
    case MIM_STEP_MLP:       mimp_mlp_run(run, s); break;
    case MIM_STEP_NORM:
        MIM_STAGE(MIM_STAGE_PACK);
        mimp_rows(run, s, mimp_norm_row, NULL, 0, 0);
        break;
    case MIM_STEP_POOL:
        mimp_pool_run(run, s);
        if (run->pooled_to.floats)
            mimp_copy_out(run->pooled_to.floats, run->pooled, run->model->header->pooled_dim);
        break;
    case MIM_STEP_HEAD:      mimp_head_run(run, s); break;
    case MIM_STEP_UNMASK:
        if (MIMP_DECODER)
            mimp_unmask_run(run, s, (float *)decoder);
        break;
    case MIM_STEP_PREDICT:
        if (MIMP_DECODER)
            mimp_predict_run(run, s);
        break;
    default: ;
    }
    return MIM_OK;
}
#endif

/* Walks the steps. What nobody asked for is not computed: the walk ends with the last layer, feature or prediction wanted. */
static mim_status mimp_walk(mimp_run *run)
{
    const mim_blob_header *h = run->model->header;
    const mim_output *out = run->out;
    const int predicts = mimp_wanted(run->prediction_to);
    const int features = predicts || mimp_wanted(run->tokens_to) || mimp_wanted(run->cls_to) || mimp_wanted(run->registers_to)
        || mimp_wanted(run->patches_to) || mimp_wanted(run->pooled_to) || mimp_wanted(run->logits_to) || out->attention;
    const uint32_t last_layer = mimp_wanted(run->layer_to) ? out->layer[out->layer_count - 1] : 0;
    const uint32_t end = MIMP_DECODER && predicts ? h->step_count : h->decoder_step;
    void *decoder = NULL;
    uint64_t behind = run->slow->used;
    mim_status status = MIM_OK;
    uint32_t i;
    for (i = 0; i < end; i++) {
        const mim_blob_step *s = &run->model->steps[i];
        if (!features && run->taps == last_layer)
            break;
        run->arena.used = 0;
        run->slow->used = behind;
        MIM_STAGE(MIM_STAGE_REST);
        if (s->kind == MIM_STEP_EMBED)
            mimp_follow(run, s);
        if (s->kind == MIM_STEP_POOL && (i + 1 == h->step_count || s[1].kind != MIM_STEP_NORM))
            mimp_put_features(run);
        if (MIMP_DECODER && s->kind == MIM_STEP_UNMASK) {
            decoder = mimp_decoder_stream(run);
            behind = run->slow->used;
        }
        if (s->kind == MIM_STEP_HEAD && !mimp_wanted(run->logits_to))
            ;
        else if (MIMP_INTEGER(h))
            status = mimp_integer_run(run, s, decoder);
#ifndef MIM_NO_FLOAT
        else
            status = mimp_step_run(run, s, decoder);
#endif
        if (status)
            return status;
        MIM_STAGE(MIM_STAGE_REST);
        if (s->kind == MIM_STEP_NORM && i && s[-1].kind == MIM_STEP_POOL)
            mimp_put_features(run);
        if (s->flags & MIM_STEP_TAP)
            mimp_tap(run);
        if (run->s->desc.progress && run->s->desc.progress(run->s->desc.user, i + 1, end))
            return MIM_ERR_ABORTED;
    }
    return MIM_OK;
}

static mimp_sink mimp_sink_of(float *floats, int16_t *integers)
{
    mimp_sink sink;
    sink.integers = integers;
#ifdef MIM_NO_FLOAT
    (void)floats;
#else
    sink.floats = floats;
#endif
    return sink;
}

/* Where all results go, and what their integers are worth. */
static void mimp_set_sinks(mimp_run *run, const mim_output *out, int predicts, float *prediction)
{
    const mim_blob_header *h = run->model->header;
    const mim_blob_step *features = run->final_norm ? run->final_norm : run->embed, *s = run->embed, *end = s + h->step_count;
    mim_integers *const n = out->integers;
    run->tokens_to = mimp_sink_of(out->tokens, n ? n->tokens : NULL);
    run->cls_to = mimp_sink_of(out->cls, n ? n->cls : NULL);
    run->registers_to = mimp_sink_of(out->registers, n ? n->registers : NULL);
    run->patches_to = mimp_sink_of(out->patches, n ? n->patches : NULL);
    run->pooled_to = mimp_sink_of(out->pooled, n ? n->pooled : NULL);
    run->logits_to = mimp_sink_of(out->logits, n ? n->logits : NULL);
    run->layer_to = mimp_sink_of(out->layers, n ? n->layers : NULL);
    run->prediction_to = mimp_sink_of(prediction, n && predicts ? n->prediction : NULL);
    if (!n)
        return;
    MIM_MEMCPY(&n->token_scale, &features->scale, 4);
    MIM_MEMCPY(&n->layer_scale, out->layer_norm ? &features->scale : &run->embed->scale, 4);
    for (; s < end; s++) {
        if (s->kind == MIM_STEP_POOL)
            MIM_MEMCPY(&n->pooled_scale, &s->scale, 4);
        if (s->kind == MIM_STEP_HEAD)
            MIM_MEMCPY(&n->logits_scale, &s->scale, 4);
        if (s->kind == MIM_STEP_PREDICT)
            MIM_MEMCPY(&n->prediction_scale, &s->scale, 4);
    }
}

/* Encodes an image, or else `count` tokens. */
static mim_status mimp_encode(mim_session *s, const mim_image *image, const float *embedded, const uint32_t *visible, uint32_t count,
                              const mim_output *out, int predicts, float *prediction)
{
    mimp_run run;
    mim_status status;
    uint32_t i;
    if (!s || !s->model || !out || (!image && !embedded))
        return MIM_ERR_ARGUMENT;
    if (image && !s->model->steps[0].tensor[0])
        return MIM_ERR_MISSING;
    if (image && s->model->header->coordinates && !image->coordinates)
        return MIM_ERR_ARGUMENT;
    MIM_MEMSET(&run, 0, sizeof run);
    run.s = s;
    run.model = s->model;
    run.image = image;
    run.embedded = embedded;
    run.out = out;
    run.embed = s->model->steps;
    run.arena.base = s->arena;
    run.second.base = s->slow;
    for (i = 0; i < s->model->header->decoder_step; i++) {
        if (s->model->steps[i].kind == MIM_STEP_ATTENTION)
            run.last_attention = &s->model->steps[i];
        if (s->model->steps[i].kind == MIM_STEP_NORM && (MIMP_INTEGER(s->model->header) || mimp_is_final(&s->model->steps[i])))
            run.final_norm = &s->model->steps[i];
    }
    status = mimp_check_output(s, run.last_attention, out);
    if (status)
        return status;
    if (embedded && MIMP_INTEGER(s->model->header))
        return MIM_ERR_UNSUPPORTED;
    mimp_set_sinks(&run, out, predicts, prediction);
    mimp_run_memory(&run);
    run.listed = visible != NULL;
    if (image && !visible)
        count = run.unit_height ? run.patches / (run.unit_height * run.unit_width) : run.patches;
    status = mimp_mark_visible(&run, visible, count);
    if (status)
        return status;
    return mimp_walk(&run);
}

MIMP_PUBLIC mim_status mim_encode(mim_session *session, const mim_image *image, const mim_output *output)
{
    return image ? mimp_encode(session, image, NULL, image->visible, image->visible_count, output, 0, NULL) : MIM_ERR_ARGUMENT;
}

MIMP_PUBLIC mim_status mim_encode_tokens(mim_session *session, const float *tokens, const uint32_t *visible, uint32_t count,
                                         const mim_output *output)
{
    return mimp_encode(session, NULL, tokens, visible, count, output, 0, NULL);
}

#ifndef MIM_NO_DECODER
MIMP_PUBLIC mim_status mim_reconstruct(mim_session *session, const mim_image *image, const mim_output *output, float *prediction)
{
    mim_output none;
    if (!session || !image || !(prediction || (output && output->integers && output->integers->prediction)))
        return MIM_ERR_ARGUMENT;
    if (!session->desc.decoder)
        return MIM_ERR_MISSING;
#ifdef MIM_NO_FLOAT
    if (prediction)
        return MIM_ERR_UNSUPPORTED;
#endif
    MIM_MEMSET(&none, 0, sizeof none);
    return mimp_encode(session, image, NULL, image->visible, image->visible_count, output ? output : &none, 1, prediction);
}
#endif

MIMP_PUBLIC const float *mim_table(const mim_model *model, uint32_t *rows)
{
    const uint32_t index = model && model->header ? model->steps[0].tensor[5] : 0;
    if (rows)
        *rows = index ? model->tensors[index - 1].rows : 0;
    return index ? mimp_plain(model, index) : NULL;
}

MIMP_PUBLIC const char *mim_status_string(mim_status status)
{
    static const char *const text[] = {
#define MIM_X(name, text) text,
        MIM_STATUS_LIST(MIM_X)
#undef MIM_X
    };
    return (unsigned)status < (unsigned)MIM_STATUS_COUNT ? text[status] : "unknown status";
}

/* =======================================================================================
 * >>stdio
 * ===================================================================================== */

#ifndef MIM_NO_STDIO
MIMP_PUBLIC mim_status mim_load(const char *path, void **blob, size_t *bytes)
{
    FILE *file;
    long size;
    uint8_t *memory = NULL, *aligned;
    mim_status status = MIM_ERR_IO;
    if (!path || !blob || !bytes)
        return MIM_ERR_ARGUMENT;
    *blob = NULL;
    *bytes = 0;
    file = fopen(path, "rb");
    if (!file)
        return MIM_ERR_IO;
    if (fgetc(file) == EOF && ferror(file))         /* a folder opens, but cannot be read */
        goto close;
    if (fseek(file, 0, SEEK_END) || (size = ftell(file)) < 0 || fseek(file, 0, SEEK_SET))
        goto close;
    memory = (uint8_t *)malloc((size_t)size + 64);
    if (!memory) {
        status = MIM_ERR_ALLOCATION;
        goto close;
    }
    aligned = memory + (64 - ((uintptr_t)memory & 63));          /* 1 to 64 bytes on: room to say how many */
    aligned[-1] = (uint8_t)(aligned - memory);
    if (fread(aligned, 1, (size_t)size, file) != (size_t)size)
        goto close;
    *blob = aligned;
    *bytes = (size_t)size;
    memory = NULL;
    status = MIM_OK;
close:
    free(memory);
    fclose(file);
    return status;
}

MIMP_PUBLIC void mim_unload(void *blob)
{
    uint8_t *aligned = (uint8_t *)blob;
    if (aligned)
        free(aligned - aligned[-1]);
}
#endif

#if defined(__clang__)
#pragma STDC FP_CONTRACT DEFAULT
#elif defined(__GNUC__)
#pragma GCC pop_options
#endif

#endif /* MIM_IMPLEMENTATION */

/*
 * MIT License
 *
 * Copyright (c) 2026 The mim.h authors
 *
 * Permission is hereby granted, free of charge, to any person obtaining a copy
 * of this software and associated documentation files (the "Software"), to deal
 * in the Software without restriction, including without limitation the rights
 * to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
 * copies of the Software, and to permit persons to whom the Software is
 * furnished to do so, subject to the following conditions:
 *
 * The above copyright notice and this permission notice shall be included in all
 * copies or substantial portions of the Software.
 *
 * THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
 * IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
 * FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
 * AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
 * LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
 * OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
 * SOFTWARE.
 */
