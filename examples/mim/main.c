/* main.c - the command-line tool: which command. */
#include "picture.h"

#include <string.h>

static const char usage[] =
    "mim: features from Vision Transformers pretrained by masked image modelling\n"
    "\n"
    "  mim convert CHECKPOINT -o OUT.mim        a checkpoint (.safetensors) becomes a blob\n"
    "  mim info MODEL.mim                       what a blob is\n"
    "  mim encode MODEL.mim INPUT... -o OUT.npy features of pictures\n"
    "  mim reconstruct MODEL.mim IMAGE -o OUT   a masked autoencoder at work, as a picture\n"
    "  mim bench MODEL.mim                      how fast it is here\n"
    "\n"
    "  mim COMMAND --help                       options of a command\n"
    "  mim --version                            version, and the pictures this build reads\n";

static const struct command {
    const char *name;
    int (*run)(int argc, char **argv);
} commands[] = {
    { "convert", cmd_convert }, { "info", cmd_info }, { "encode", cmd_encode },
    { "reconstruct", cmd_reconstruct }, { "bench", cmd_bench },
};

/* What went to stdout counts only if it got there. */
static int finish(int status)
{
    if (fflush(stdout) == 0 && !ferror(stdout)) return status;
    return status ? status : fail("cannot write to standard output");
}

int main(int argc, char **argv)
{
    if (argc < 2) return fail("no command; see `mim --help`");
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        fputs(usage, stdout);
        return finish(0);
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("mim %d.%d.%d\nreads %s\n", MIM_VERSION_MAJOR, MIM_VERSION_MINOR, MIM_VERSION_PATCH, picture_formats());
        return finish(0);
    }
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strcmp(argv[1], commands[i].name) == 0) return finish(commands[i].run(argc - 1, argv + 1));
    return fail("no command '%s'; see `mim --help`", argv[1]);
}
