# make            the command-line tool, build/mim
# make help       everything else

CC      ?= cc
CFLAGS  ?= -O2
B       := build
STD     := -std=c99 -D_POSIX_C_SOURCE=200809L
WARN    := -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wundef -Wdouble-promotion -Wcast-qual -Wvla
TOOL    := $(wildcard examples/mim/*.c)
HEADERS := mim.h $(wildcard examples/mim/*.h)
MODEL   := examples/models/mae-cifar10-d128l6.q8.mim
INTEGER := examples/models/mae-cifar10-d128l6.integer.mim
PHOTO   := examples/images/photo.ppm
TESTS   := kernels blob api grids integer resize
CROSS   := aarch64-linux-gnu-gcc
QEMU    := qemu-aarch64

# PNG and JPEG are read where Debian's libstb-dev, or stb_image.h anywhere on the include path, is installed.
STB     := $(shell printf '\043include <stb/stb_image.h>\n' | $(CC) -E - >/dev/null 2>&1 && echo -DMIM_HAVE_STB_IMAGE)

# The C library is linked into the tool where it can be, but for sanitizers, which put themselves before it: loaded beside it,
# it brings as many pages of its own into memory as the arena of ViT-B has.
STATIC  := $(if $(findstring -fsanitize,$(CFLAGS) $(LDFLAGS)),,$(shell printf 'int main(void) { return 0; }' | \
               $(CC) $(CFLAGS) -fPIE -static-pie -x c - -o /dev/null $(LDFLAGS) -lm -lpthread >/dev/null 2>&1 && echo -fPIE -static-pie))

all: $(B)/mim                ## the tool (the default)

$(B)/mim: $(TOOL) $(HEADERS) Makefile
	@mkdir -p $(B)
	$(CC) $(STD) $(WARN) $(CFLAGS) $(STATIC) $(STB) $(TOOL) -o $@ $(LDFLAGS) -lm -lpthread

DEMO := examples/demo.c $(addprefix examples/mim/,util.c picture.c png.c reconstruct.c library.c)

$(B)/demo: $(DEMO) $(HEADERS) Makefile
	@mkdir -p $(B)
	$(CC) $(STD) $(WARN) $(CFLAGS) $(STB) $(DEMO) -o $@ $(LDFLAGS) -lm

# Models of tokens that their caller makes: how to make them.
EMBED := examples/embed.h $(addprefix examples/mim/,util.c npy.c library.c)

$(B)/presto $(B)/galileo: $(B)/%: examples/%.c $(EMBED) $(HEADERS) Makefile
	@mkdir -p $(B)
	$(CC) $(STD) $(WARN) $(CFLAGS) $(filter %.c,$^) -o $@ $(LDFLAGS) -lm

demo: $(B)/demo              ## encode a photograph with the shipped model and draw what it sees
	$(B)/demo $(MODEL) $(PHOTO) $(B)

$(B)/test_%: tests/test_%.c $(wildcard tests/*.h) mim.h Makefile
	@mkdir -p $(B)
	$(CC) -std=c99 -D_DEFAULT_SOURCE -Wall -Wextra $(CFLAGS) $< -o $@ $(LDFLAGS) -lm -lpthread

test: $(B)/mim $(B)/demo $(B)/presto $(B)/galileo $(TESTS:%=$(B)/test_%) $(B)/test_golden $(B)/test_accuracy   ## everything that a C compiler and a shell can check
	@sh tests/run.sh $(TESTS:%=$(B)/test_%) "sh tests/golden.sh $(B)" "$(B)/test_accuracy $(MODEL) examples/images/small tests/expected/shipped-tokens.npy tests/expected/hashes.txt" \
	    "$(B)/test_accuracy $(INTEGER) examples/images/small tests/expected/shipped-tokens.npy tests/expected/hashes.txt" \
	    "sh tests/test_convert.sh $(B)" "sh tests/test_pyramid.sh $(B)" "sh tests/test_video.sh $(B)" "sh tests/test_tool.sh $(B) $(MODEL) $(firstword $(STATIC))" "sh tests/compile.sh" "sh tests/readme.sh" "sh tests/cross.sh $(B)" "sh tests/nofloat.sh $(B)" "sh tests/integer.sh $(B)" \
	    "$(MAKE) --no-print-directory -s firmware-run | grep -v '^    '" "sh tests/targets/damaged.sh $(B)" "sh tests/packaging.sh $(B)" "sh tests/size.sh $(B)" "sh tests/targets/count.sh $(B)"

size:                        ## code and stack of builds for small cores, beside what they may take
	@sh tests/size.sh $(B)

bench: $(B)/mim              ## speed: the shipped model; with Python, ViT-Ti, S and B beside onnxruntime, OpenVINO and torch
	$(B)/mim bench $(MODEL)
	@if python3 -c 'import timm, torch' 2>/dev/null; then python3 tests/bench/peers.py; \
	 else echo "no comparison: it needs pip install -r tests/reference/requirements.txt"; fi

reference: $(B)/mim          ## live comparison with timm and transformers (needs tests/reference/requirements.txt)
	python3 tests/reference/live.py $(B)/mim

sanitize:                    ## the C tests under AddressSanitizer and UBSan
	$(MAKE) B=$(B)/sanitize CFLAGS="-O1 -g1 -fsanitize=address,undefined -fno-sanitize-recover" $(TESTS:%=$(B)/sanitize/test_%) $(B)/sanitize/mim $(B)/sanitize/test_golden
	MIM_TEST_STRIDE=7 sh tests/run.sh $(TESTS:%=$(B)/sanitize/test_%) "sh tests/golden.sh $(B)/sanitize"

# Seconds for each of the two fuzzers of checkpoints; rounds of the others. `make fuzz FUZZ_SECONDS=20` for a quick look.
FUZZ_SECONDS ?= 600
FUZZ_ROUNDS  ?= 200000
FUZZ_FLAGS   := $(STD) $(WARN) -O1 -g1 -fsanitize=address,undefined -fno-sanitize-recover $(STB)
FUZZ         := $(CC) $(FUZZ_FLAGS)
MIM          := examples/mim
READERS      := $(addprefix $(MIM)/,checkpoint.c safetensors.c archive.c pickle.c torch.c npz.c gguf.c json.c)
CONTAINERS   := $(filter-out %.list %/same %/refused %/sharded,$(wildcard tests/golden/containers/*)) tests/golden/gguf_clip/model.gguf
REFUSED      := $(addprefix tests/golden/containers/,$(shell sed 's/|.*//' tests/golden/containers/refused 2>/dev/null))

fuzz:                        ## hostile pictures, arrays, checkpoints and blobs under AddressSanitizer and UBSan: over 20 minutes
	@mkdir -p $(B)
	$(FUZZ) tests/fuzz/fuzz_picture.c $(addprefix $(MIM)/,util.c picture.c png.c npy.c library.c) -o $(B)/fuzz_picture -lm -lpthread
	$(FUZZ) tests/fuzz/fuzz_checkpoint.c $(READERS) $(addprefix $(MIM)/,library.c families.c settings.c build.c pyramid.c made.c pack.c) \
	    -o $(B)/fuzz_checkpoint -lm -lpthread
	$(FUZZ) tests/fuzz/fuzz_container.c $(READERS) -o $(B)/fuzz_container -lm
	$(CC) -std=c99 -D_DEFAULT_SOURCE -O1 -g1 -fsanitize=address,undefined -fno-sanitize-recover tests/fuzz/fuzz_blob.c -o $(B)/fuzz_blob -lm -lpthread
	$(B)/fuzz_picture $(FUZZ_ROUNDS)
	$(B)/fuzz_checkpoint $(FUZZ_SECONDS)s
	$(B)/fuzz_container $(FUZZ_SECONDS)s 1 $(filter-out $(REFUSED),$(CONTAINERS))
	$(B)/fuzz_blob $(FUZZ_ROUNDS)

firmware: $(B)/mim           ## bare-metal images (examples/firmware) for the boards whose compiler is here
	@$(MAKE) --no-print-directory -C examples/firmware OUT=$(abspath $(B))/firmware TOOL=$(abspath $(B))/mim

firmware-run: $(B)/mim       ## run them under QEMU
	@$(MAKE) --no-print-directory -s -C examples/firmware run OUT=$(abspath $(B))/firmware TOOL=$(abspath $(B))/mim

targets: $(B)/mim            ## the same bits of quantized models on every machine that can be emulated here, microcontrollers too
	@sh tests/run.sh "sh tests/cross.sh $(B) bits" "sh tests/targets/damaged.sh $(B)"

package:                     ## folders for ESP-IDF, Zephyr, Arduino, PlatformIO and CMSIS in build/package (URL=... of the project)
	@sh examples/packaging/package.sh $(B)/package tests/golden/trained_tiny/integer.mim $(URL)

clean:                       ## remove build/
	rm -rf $(B)

help:                        ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 14

.PHONY: all demo test size bench reference sanitize fuzz firmware firmware-run targets package clean help
