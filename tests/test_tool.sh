#!/bin/sh
# test_tool.sh BUILD_DIR MODEL.mim [LINKED] - the command-line tool from the outside: what it makes, and how it refuses.
# Needs sh, standard utilities and for the memory that it takes a C compiler (CC) and LINKED, any word: the C library is linked into it.
# MODEL takes 3 channels and is small; what it lacks (head, decoder...) is tested as lacking.
LC_ALL=C
export LC_ALL
[ $# -ge 2 ] || { echo "usage: test_tool.sh BUILD_DIR MODEL.mim [LINKED]" >&2; exit 2; }
linked=${3:-} here=$(cd "$(dirname "$0")" && pwd)
case $1 in /*) mim=$1/mim ;; *) mim=$PWD/$1/mim ;; esac
case $2 in /*) model=$2 ;; *) model=$PWD/$2 ;; esac
work=${mim%/mim}/test_tool.tmp
rm -rf "$work"
mkdir -p "$work" && cd "$work" || exit 2
status=0
why=

# ---- the frame ----

wrong() { why="${why:+$why; }$*"; }

group() {
    if [ -z "$why" ]; then echo "ok tool: $1"; else echo "FAIL tool: $1: $why"; status=1; fi
    why=
}

# refuse WORD ARGUMENTS...: exit status 1, one line on stderr that begins with "mim: " and has WORD in it, nothing on
# stdout, no output, no part.
refuse() {
    word=$1
    shift
    rm -f out.npy out.npy.part
    "$mim" "$@" >stdout 2>stderr
    code=$?
    [ $code -eq 1 ] || wrong "exit $code of: $*"
    [ "$(wc -l <stderr)" -eq 1 ] && grep -q '^mim: ' stderr || wrong "not one line from: $* ($(head -n 3 stderr))"
    grep -qi -e "$word" stderr || wrong "no '$word' from: $* ($(cat stderr))"
    [ ! -s stdout ] || wrong "output on stdout of: $*"
    [ ! -e out.npy ] && [ ! -e out.npy.part ] || wrong "something written by: $*"
}

refuse_encode() { word=$1; shift; refuse "$word" encode "$model" "$@" -o out.npy; }

# accept ARGUMENTS...: exit status 0, nothing on stderr.
accept() {
    "$mim" "$@" >stdout 2>stderr || wrong "failed: $* ($(cat stderr))"
    [ ! -s stderr ] || wrong "noise from: $* ($(head -n 1 stderr))"
}

encode() { out=$1; shift; accept encode "$model" "$@" -o "$out"; }

same() { cmp -s "$1" "$2" || wrong "$1 and $2 differ"; }

# ---- files to work with ----

field() { sed -n "s/^ *\"$1\": \"\{0,1\}\([^\"]*[^\",]\)\"\{0,1\},\{0,1\}\$/\1/p" info.json; }
first() { echo "$1" | sed 's/[][,]/ /g' | awk '{print $1}'; }
second() { echo "$1" | sed 's/[][,]/ /g' | awk '{print $2}'; }

# ppm WIDTH HEIGHT SEED, pgm WIDTH HEIGHT SEED: plain ones, any bytes.
ppm() { awk -v w="$1" -v h="$2" -v s="$3" 'BEGIN { print "P3\n# a comment\n" w, h; print 255
    for (i = 0; i < w * h * 3; i++) { s = (s * 421 + 1663) % 7875; print s % 256 } }'; }
pgm() { awk -v w="$1" -v h="$2" -v s="$3" 'BEGIN { print "P2", w, h, 255
    for (i = 0; i < w * h; i++) { s = (s * 421 + 1663) % 7875; print s % 256 } }'; }

# floats, ints: numbers on stdin as octal escapes for printf %b, 4 bytes each, little-endian.
floats() { awk '
    function byte(b) { printf "\\0%03o", b }
    { x = $1 + 0; sign = 0; if (x < 0) { sign = 128; x = -x }
      e = 0; m = 0
      if (x > 0) { e = 127; while (x >= 2) { x /= 2; e++ } while (x < 1) { x *= 2; e-- }
          m = int((x - 1) * 8388608 + 0.5); if (m == 8388608) { m = 0; e++ } }
      byte(m % 256); byte(int(m / 256) % 256); byte(int(m / 65536) + (e % 2) * 128); byte(sign + int(e / 2)) }'; }
ints() { awk '{ x = $1; if (x < 0) x += 4294967296; for (i = 0; i < 4; i++) { printf "\\0%03o", x % 256; x = int(x / 256) } }'; }

# npy DESCR SHAPE ORDER: the header of an array; its elements follow.
npy() { text=$(printf "%-117s" "{'descr': '$1', 'fortran_order': ${3:-False}, 'shape': $2, }"); printf '\223NUMPY\001\000\166\000%s\n' "$text"; }

zeros() { dd if=/dev/zero bs="$1" count=1 2>/dev/null; }

# The elements of an array that the tool wrote; float32 on stdin, one a line; an array's shape.
elements() { [ -s "$1" ] || return 1; tail -c +$((11 + $(od -An -tu1 -j8 -N1 "$1") + 256 * $(od -An -tu1 -j9 -N1 "$1"))) "$1"; }
numbers() { od -An -v -tf4 | tr -s ' \t' '\n\n' | sed '/^$/d'; }
shape() { dd if="$1" bs=256 count=1 2>/dev/null | tr -d '\0' | sed -n "s/.*'shape': \(([0-9, ]*)\).*/\1/p"; }

# ---- info ----

accept info "$model"
for word in name family type image encoder structure positions preprocessing pooled outputs parameters work blob arena cpu; do
    grep -q "^$word " stdout || wrong "no $word in info"
done
accept info "$model" --json
cp stdout info.json
for key in family method type image patch channels dim depth heads params blob_bytes arena_bytes arena_max_bytes arena_fast_bytes arena_slow_bytes numerics cpu; do
    grep -q "^  \"$key\": " info.json || wrong "no $key in info --json"
done
[ "$(head -n 1 info.json)" = "{" ] && [ "$(tail -n 1 info.json)" = "}" ] || wrong "info --json is no object"
[ "$(field blob_bytes)" -eq "$(wc -c <"$model")" ] || wrong "blob_bytes is not the file's size"
accept info "$(dirname "$model")/mae-cifar10-d128l6.integer.mim"
grep -q "mlp 512, activation by table, q8" stdout && grep -q "embed patches of 4x4x3 into 128" stdout || wrong "structure of an integer blob"
group info
[ $status -eq 0 ] || exit 1

height=$(first "$(field image)")  width=$(second "$(field image)")
patch_h=$(first "$(field patch)") patch_w=$(second "$(field patch)")
dim=$(field dim) depth=$(field depth) heads=$(field heads) pooled=$(field pooled_dim)
prefix=$(($(field cls) + $(field registers))) patches=$(field patches)
tokens=$((prefix + patches)) pixels=$((height * width))
[ "$(field channels)" = 3 ] || { echo "skip tool: the rest: the model takes no RGB"; exit $status; }

mkdir folder empty
ppm 40 30 1 >folder/b.ppm
ppm 30 40 2 >folder/a.PPM
ppm $width $height 3 >folder/c.pnm
pgm 50 50 4 >folder/B.pgm
echo "not a picture" >folder/notes.txt
mkdir folder/d.ppm
a=folder/a.PPM b=folder/b.ppm c=folder/c.pnm
printf '%s\r\n\n%s\n%s' $b $c $a >list

# ---- the command line ----

refuse "no command" ; refuse "no command 'paint'" paint
refuse "unknown option '--paint'" info "$model" --paint
refuse "takes no value" info "$model" --json=1
refuse "needs a value" encode "$model" $a -o
refuse "given twice" encode "$model" $a -o out.npy -o out.npy
refuse "needs -o" encode "$model" $a
refuse "at least one input" encode "$model" -o out.npy
refuse "one model" info
refuse "one model" info "$model" "$model"
for threads in 0 65 -1 two 1.5 99999999999999999999 ""; do refuse_encode "--threads" $a --threads "$threads"; done
refuse_encode "--cpu" $a --cpu abacus
for size in 33 0x0 ${height}x 16x16x16 99999x99999 -4x4 ${height}X${width}; do refuse_encode "--size" $a --size $size; done
[ $patch_h -gt 1 ] && refuse_encode "multiple of the patch" $a --size $((height + 1))x$width
refuse_encode "--size" $a --size $((16384 / patch_h * patch_h))x$((16384 / patch_w * patch_w))
for what in all CLS layers layers: pooled:1 layers:x layers:1, layers:,1 layers:0 layers:$((depth + 1)) layers:2,1 layers:1,1 layers:1.5 \
    layers:99999999999999999999 ""; do refuse_encode "--out" $a --out "$what"; done
refuse_encode "goes with --out layers" $a --norm
[ "$(field classes)" -ne 0 ] || refuse_encode "no classification head" $a --out logits
[ "$(field registers)" -ne 0 ] || refuse_encode "registers" $a --out registers
for command in "" info encode reconstruct bench; do
    "$mim" $command --help >stdout 2>stderr && [ -s stdout ] && [ ! -s stderr ] || wrong "no help for mim $command"
done
"$mim" --version | grep -q '^mim [0-9]' || wrong "no version"
group "command line"

# ---- models ----

size=$(wc -c <"$model")
: >empty.mim
dd if="$model" of=short.mim bs=$((size / 2)) count=1 2>/dev/null
dd if="$model" of=stub.mim bs=100 count=1 2>/dev/null
{ cat "$model"; echo; } >long.mim
{ dd if="$model" bs=$((size - 1)) count=1 2>/dev/null; printf '\125'; } >touched.mim
cmp -s touched.mim "$model" && { dd if="$model" bs=$((size - 1)) count=1 2>/dev/null; printf '\252'; } >touched.mim
for command in info bench; do
    refuse "missing.mim" $command missing.mim
    refuse "empty.mim: is empty" $command empty.mim
    for file in short stub long touched; do refuse "$file.mim" $command $file.mim; done
    refuse "not a mim blob" $command $a
    refuse "is a folder" $command folder
done
refuse "missing.mim" encode missing.mim $a -o out.npy
refuse "short.mim" encode short.mim $a -o out.npy
refuse "short.mim" reconstruct short.mim $a -o out.npy
group "damaged models"

# ---- pictures ----

refuse_encode "missing.ppm: cannot open" missing.ppm
refuse_encode "is no picture" folder/notes.txt
refuse_encode "no pictures in this folder" empty
refuse_encode "cannot open" $a missing
: >bad.ppm; refuse_encode "bad.ppm: is empty" bad.ppm
dd if=$a of=bad.ppm bs=200 count=1 2>/dev/null; refuse_encode "bad.ppm: ends too early" bad.ppm
printf 'P6\n99999 99999\n255\n' >bad.ppm; refuse_encode "99999x99999" bad.ppm
printf 'P6\n16384 16384\n255\n' >bad.ppm; refuse_encode "16384x16384" bad.ppm
printf 'P6\n4294967297 1\n255\nabc' >bad.ppm; refuse_encode "width and height" bad.ppm
printf 'P6\n0 1\n255\n' >bad.ppm; refuse_encode "0x1" bad.ppm
printf 'P6\n2 2\n255\n123456789ab' >bad.ppm; refuse_encode "ends too early" bad.ppm
printf 'P6\n2 2\n255\n123456789abc and more' >bad.ppm; refuse_encode "goes on" bad.ppm
printf 'P6\n2 2\n65536\n123456789abc' >bad.ppm; refuse_encode "maximum value" bad.ppm
printf 'P6\n2 2\n0\n123456789abc' >bad.ppm; refuse_encode "maximum value" bad.ppm
printf 'P6\n2 2\n50\n123456789abc' >bad.ppm; refuse_encode "its maximum is 50" bad.ppm
printf 'P3 1 1 255 1 2 256' >bad.ppm; refuse_encode "sample 3" bad.ppm
printf 'P3 1 1 255 1 -2 3 ' >bad.ppm; refuse_encode "sample 2" bad.ppm
printf 'P4\n8 1\nx' >bad.pbm; refuse_encode "is no picture" bad.pbm
printf 'P6' >bad.ppm; refuse_encode "width and height" bad.ppm

# bmp WIDTH HEIGHT BITS COMPRESSION OFFSET: a header
bmp() { printf 'BM'; printf '%b' "$(printf '%s\n' 0 0 $5 40 $1 $2 $((1 + 65536 * $3)) $4 0 0 0 0 0 | ints)"; }
{ bmp 2 2 24 0 54; printf 'abcdef\0\0ghijkl\0\0'; } >good.bmp
printf 'P6 2 2 255\nihglkjcbafed' >good.ppm
encode one.npy good.bmp --out patches
encode two.npy good.ppm --out patches
same one.npy two.npy
{ bmp 2 -2 24 0 54; printf 'ghijkl\0\0abcdef\0\0'; } >good.bmp
encode one.npy good.bmp --out patches
same one.npy two.npy
bmp 2 2 24 0 54 >bad.bmp; refuse_encode "ends too early" bad.bmp
bmp 99999 99999 24 0 54 >bad.bmp; refuse_encode "99999x99999" bad.bmp
{ bmp 2 2 8 1 54; zeros 64; } >bad.bmp; refuse_encode "compressed" bad.bmp
{ bmp 2 2 24 0 20; zeros 64; } >bad.bmp; refuse_encode "within its header" bad.bmp
{ bmp 2 2 13 0 54; zeros 64; } >bad.bmp; refuse_encode "13 bits" bad.bmp
printf 'BM' >bad.bmp; refuse_encode "header" bad.bmp
if "$mim" --version | grep -q need; then
    printf '\211PNG\r\n\032\n' >bad.png; refuse_encode "stb_image" bad.png
    printf '\377\330\377\340' >bad.jpg; refuse_encode "stb_image" bad.jpg
else
    printf '\211PNG\r\n\032\n' >bad.png; refuse_encode "ends too early" bad.png
    printf '\377\330\377\340' >bad.jpg; refuse_encode "ends too early" bad.jpg
fi
group "pictures"

# ---- arrays ----

image=$((pixels * 3 * 4))
{ npy '<f4' "(3, $height, $width)"; zeros $image; } >zero.npy
{ npy '<f4' "(2, 3, $height, $width)"; zeros $((2 * image)); } >zeros.npy
{ npy '<f8' "(3, $height, $width)"; zeros $((2 * image)); } >bad.npy; refuse_encode "<f8" bad.npy
{ npy '>f4' "(3, $height, $width)"; zeros $image; } >bad.npy; refuse_encode ">f4" bad.npy
{ npy '<i4' "(3, $height, $width)"; zeros $image; } >bad.npy; refuse_encode "integers" bad.npy
{ npy '<f4' "(3, $height, $width)" True; zeros $image; } >bad.npy; refuse_encode "Fortran" bad.npy
{ npy '<f4' "(1, $height, $((3 * width)))"; zeros $image; } >bad.npy; refuse_encode "channels" bad.npy
{ npy '<f4' "(3, $((height * width)), 1)"; zeros $image; } >bad.npy; refuse_encode "--size" bad.npy
{ npy '<f4' "($((3 * height)), $width)"; zeros $image; } >bad.npy; refuse_encode "2 dimensions" bad.npy
npy '<f4' "(0, 3, $height, $width)" >bad.npy; refuse_encode "no image" bad.npy
{ npy '<f4' "(2, 3, $height, $width)"; zeros $image; } >bad.npy; refuse_encode "ends after" bad.npy
{ npy '<f4' "(3, $height, $width)"; zeros $((image + 4)); } >bad.npy; refuse_encode "more than its shape" bad.npy
{ npy '<f4' "(281474976710656, 281474976710656, 3, 1)"; zeros $image; } >bad.npy; refuse_encode "absurd" bad.npy
{ npy '<f4' "(3, $height, -1)"; zeros $image; } >bad.npy; refuse_encode "header" bad.npy
zeros 200 >bad.npy; refuse_encode "not an .npy" bad.npy
: >bad.npy; refuse_encode "bad.npy: is empty" bad.npy
printf '\223NUMPY\001\000\377\377{' >bad.npy; refuse_encode "within its" bad.npy
refuse_encode "missing.npy: cannot open" missing.npy
refuse_encode "cannot open" $a missing.npy --skip-bad
encode one.npy zeros.npy --out tokens
encode two.npy zero.npy zero.npy --out tokens
same one.npy two.npy
if [ $pixels -le 4096 ]; then
    # The picture, normalised here and there.
    mean=$(sed -n 's/^  "mean": \[\(.*\)\],$/\1/p' info.json) std=$(sed -n 's/^  "std": \[\(.*\)\],$/\1/p' info.json)
    ppm $width $height 3 | sed '1,4d' | awk -v n=$pixels -v mean="$mean" -v std="$std" '
        BEGIN { split(mean, m, ", "); split(std, s, ", ") } { v[NR - 1] = $1 }
        END { for (c = 0; c < 3; c++) for (i = 0; i < n; i++) printf "%.17g\n", (v[3 * i + c] / 255 - m[c + 1]) / s[c + 1] }' >values
    { npy '<f4' "(3, $height, $width)"; printf '%b' "$(floats <values)"; } >array.npy
    if grep -q '"resize_edge": '"$(if [ $height -lt $width ]; then echo $height; else echo $width; fi)"',' info.json || grep -q '"squash"' info.json; then
        encode one.npy array.npy --out tokens
        encode two.npy $c --out tokens
        elements one.npy | numbers >one.txt
        elements two.npy | numbers >two.txt
        paste one.txt two.txt | awk -v type="$(field type)" '{ d = $1 - $2; if (d < 0) d = -d; if (d > most) most = d }
            END { exit !(NR > 0 && most < (type == "q8" ? 0.1 : 1e-3)) }' || wrong "an array and its picture differ"
    fi
fi
group "arrays"

# ---- lists and order ----

refuse_encode "missing.txt: cannot open" @missing.txt
printf '%s\nmissing.ppm\n' $a >bad.txt; refuse_encode "missing.ppm: cannot open" @bad.txt
: >bad.txt; refuse_encode "names no file" @bad.txt
printf 'a\000b\n' >bad.txt; refuse_encode "zero byte" @bad.txt
awk 'BEGIN { for (i = 0; i < 5000; i++) printf "x"; print "" }' >bad.txt; refuse_encode "longer" @bad.txt
printf 'folder\n' >bad.txt; refuse_encode "folder" @bad.txt
for name in folder/B.pgm $a $b $c; do encode row.npy $name --out patches; elements row.npy >"row.$(basename $name)"; done
encode all.npy folder --out patches
elements all.npy >all.rows
cat row.B.pgm row.a.PPM row.b.ppm row.c.pnm >expected
same all.rows expected
[ "$(shape all.npy)" = "(4, $patches, $dim)" ] || wrong "shape $(shape all.npy) of a folder"
encode all.npy @list --out patches
elements all.npy >all.rows
cat row.b.ppm row.c.pnm row.a.PPM >expected
same all.rows expected
encode all.npy $c folder @list zero.npy $a --out patches
for threads in 2 3; do
    encode threads.npy $c folder @list zero.npy $a --out patches --threads $threads
    same all.npy threads.npy
done
encode one.npy $a --out tokens
encode two.npy $a --out tokens --threads 2
same one.npy two.npy
group "lists, order, threads"

# ---- outputs ----

check_shape() { encode one.npy $a --out $1; [ "$(shape one.npy)" = "$2" ] || wrong "--out $1 has shape $(shape one.npy), not $2"; cp one.npy "out.$1"; }
check_shape pooled "(1, $pooled)"
check_shape patches "(1, $patches, $dim)"
check_shape tokens "(1, $tokens, $dim)"
check_shape layers:1 "(1, 1, $tokens, $dim)"
check_shape layers:$depth "(1, 1, $tokens, $dim)"
[ $depth -lt 2 ] || check_shape layers:1,$depth "(1, 2, $tokens, $dim)"
check_shape attention "(1, $heads, $tokens, $tokens)"
[ "$(field cls)" -eq 0 ] || check_shape cls "(1, $dim)"
[ "$(field classes)" -eq 0 ] || check_shape logits "(1, $(field classes))"
encode two.npy $a
same two.npy out.pooled
elements out.tokens | tail -c +$((4 * prefix * dim + 1)) >one
elements out.patches >two
same one two
elements out.attention | numbers | awk -v n=$tokens '{ sum += $1; if (NR % n == 0) { if (sum < 0.999 || sum > 1.001) bad = 1; sum = 0 } } END { exit bad || NR == 0 }' \
    || wrong "rows of attention do not sum to 1"
if grep -q '^norm$\|^  *norm$' <<END
$("$mim" info "$model" | sed 's/^structure *//')
END
then
    encode one.npy $a --out layers:$depth --norm
    elements one.npy >one
    elements out.tokens >two
    same one two
else
    refuse_encode "no final norm" $a --out layers:1 --norm
fi
if ! "$mim" info "$model" | grep -q 'for this grid only'; then
    encode one.npy $a --out patches --size $((2 * patch_h))x$((3 * patch_w))
    [ "$(shape one.npy)" = "(1, 6, $dim)" ] || wrong "--size has shape $(shape one.npy)"
fi
group "outputs"

# ---- keep ----

keep() { npy "$1" "$2"; printf '%b' "$(printf '%s\n' $3 | ints)"; }
awk -v n=$patches 'BEGIN { for (i = 0; i < n; i++) print i }' >indices
keep '<i4' "($patches,)" "$(cat indices)" >keep.npy
encode one.npy $a --out tokens --keep keep.npy
same one.npy out.tokens
keep '<i4' "(2,)" "1 0" >keep.npy
encode one.npy $a --out patches --keep keep.npy
[ "$(shape one.npy)" = "(1, 2, $dim)" ] || wrong "--keep has shape $(shape one.npy)"
keep '<i8' "(2,)" "1 0 0 0" >keep.npy
encode two.npy $a --out patches --keep keep.npy
same one.npy two.npy
keep '<i4' "(2,)" "1 1" >keep.npy; refuse_encode "twice" $a --keep keep.npy
keep '<i4' "(2,)" "1 $patches" >keep.npy; refuse_encode "outside" $a --keep keep.npy
keep '<i4' "(2,)" "1 -1" >keep.npy; refuse_encode "outside" $a --keep keep.npy
keep '<i8' "(2,)" "1 0 1 1" >keep.npy; refuse_encode "outside" $a --keep keep.npy
keep '<i4' "($((patches + 1)),)" "$(cat indices) 0" >keep.npy; refuse_encode "the grid has" $a --keep keep.npy
keep '<f4' "(2,)" "0 0" >keep.npy; refuse_encode "float32" $a --keep keep.npy
keep '<u4' "(2,)" "0 1" >keep.npy; refuse_encode "<u4" $a --keep keep.npy
keep '<i4' "(1, 2)" "0 1" >keep.npy; refuse_encode "2 dimensions" $a --keep keep.npy
keep '<i4' "(3,)" "0 1" >keep.npy; refuse_encode "ends after" $a --keep keep.npy
npy '<i4' "(0,)" >keep.npy; refuse_encode "no patch" $a --keep keep.npy
refuse_encode "missing.npy" $a --keep missing.npy
group "keep"

# ---- bad pictures that are skipped ----

for threads in 1 2; do
    "$mim" encode "$model" $a bad.ppm missing.ppm $b -o skip.npy --out patches --skip-bad --threads $threads >stdout 2>stderr || wrong "--skip-bad failed"
    grep -q 'skipped bad.ppm: ' stderr && grep -q 'skipped missing.ppm: ' stderr && grep -q '2 of 4' stderr && [ "$(wc -l <stderr)" -eq 3 ] \
        || wrong "--skip-bad says: $(cat stderr)"
    row=$((patches * dim * 4))
    elements skip.npy >rows
    dd if=rows of=first bs=$row count=1 2>/dev/null
    dd if=rows of=last bs=$row skip=3 2>/dev/null
    same first row.a.PPM
    same last row.b.ppm
    dd if=rows bs=$row skip=1 count=2 2>/dev/null | numbers | awk '!/nan/ && !/NaN/ { bad = 1 } END { exit bad || NR == 0 }' \
        || wrong "skipped rows are not NaN"
done
refuse_encode "bad.npy" $a bad.npy --skip-bad
for threads in 1 2; do refuse_encode "bad.ppm" $a $b bad.ppm bad.bmp $c --threads $threads; done
group "skipping"

# ---- where the output goes ----

refuse "cannot write" encode "$model" $a -o missing/out.npy
refuse "is a folder" encode "$model" $a -o folder
refuse "name is empty" encode "$model" $a -o ""
echo kept >kept.npy
"$mim" encode "$model" $a bad.ppm -o kept.npy 2>stderr && wrong "a bad picture passed"
[ "$(cat kept.npy)" = kept ] && [ ! -e kept.npy.part ] || wrong "an existing file was touched by a failed run"
(ulimit -f 1 2>/dev/null; "$mim" encode "$model" $a $b $c -o out.npy --out tokens >stdout 2>stderr)
[ $? -eq 1 ] && [ "$(wc -l <stderr)" -eq 1 ] && grep -q '^mim: cannot write' stderr && [ ! -e out.npy ] && [ ! -e out.npy.part ] \
    || wrong "a file size limit: $(cat stderr)"
if [ -c /dev/full ]; then
    "$mim" encode "$model" $a -o /dev/full 2>stderr
    [ $? -eq 1 ] && [ "$(wc -l <stderr)" -eq 1 ] && grep -q '^mim: cannot write /dev/full' stderr && [ -c /dev/full ] || wrong "a full disk: $(cat stderr)"
    "$mim" info "$model" >/dev/full 2>stderr
    [ $? -eq 1 ] && grep -q '^mim: cannot write' stderr || wrong "a full disk behind stdout: $(cat stderr)"
fi
encode one.npy $a
"$mim" encode "$model" $a -o /dev/stdout 2>stderr | cat >two.npy
same one.npy two.npy
group "output files"

# ---- reconstruct ----

if [ "$(field decoder_dim)" -ne 0 ]; then
    accept reconstruct "$model" $a -o one.ppm --seed 3
    grep -q '^loss of the hidden patches: [0-9]' stdout || wrong "no loss"
    [ "$(head -n 1 one.ppm)" = P6 ] || wrong "no PPM"
    accept reconstruct "$model" $a -o two.ppm --seed 3
    same one.ppm two.ppm
    accept reconstruct "$model" $a -o two.ppm --seed 4
    cmp -s one.ppm two.ppm && wrong "another seed makes no difference"
    accept reconstruct "$model" folder/B.pgm -o one.png --ratio 0.5
    accept reconstruct "$model" folder/B.pgm -o one.bin --ratio 0.5 --png
    same one.png one.bin
    [ "$(od -An -tx1 -N4 one.png | tr -d ' ')" = 89504e47 ] || wrong "no PNG"
    if ! "$mim" --version | grep -q need; then
        encode one.npy one.png
        accept reconstruct "$model" folder/B.pgm -o one.ppm --ratio 0.5
        encode two.npy one.ppm
        same one.npy two.npy
        dd if=one.png of=bad.png bs=2000 count=1 2>/dev/null
        refuse_encode "bad.png: is a PNG that ends too early" bad.png
    fi
    for ratio in 0 1 1.5 -1 half nan ""; do refuse "--ratio" reconstruct "$model" $a -o out.npy --ratio "$ratio"; done
    for seed in -1 x 4294967296; do refuse "--seed" reconstruct "$model" $a -o out.npy --seed $seed; done
    refuse "bad.ppm" reconstruct "$model" bad.ppm -o out.npy
    refuse "one picture" reconstruct "$model" $a $b -o out.npy
    refuse "needs -o" reconstruct "$model" $a
else
    refuse "no decoder" reconstruct "$model" $a -o out.npy
fi
group "reconstruct"

# ---- bench ----

accept bench "$model" --seconds 0.1 --json
for key in cpu threads ms_median ms_min macs gops arena_bytes peak_gops of_peak; do
    grep -q "^  \"$key\": " stdout || wrong "no $key in bench --json"
done
[ "$(sed -n 's/^  "macs": \([0-9]*\),$/\1/p' stdout)" = "$(field macs)" ] || wrong "bench and info disagree on macs"
accept bench "$model" --seconds 0.1 --threads 2 --cpu scalar
grep -q '^cpu *scalar, 2 threads' stdout || wrong "bench --cpu scalar"
grep -q '"profile"' stdout && wrong "a profile that nobody asked for"
accept bench "$model" --seconds 0.1 --profile --json
[ "$(sed -n '/"profile": {/,/}/s/^    "\([a-z]*\)": [01]\.[0-9]*,*$/\1/p' stdout | tr '\n' ' ')" = "embed norms qkv scores softmax values projection mlp rest " ] \
    || wrong "bench --profile --json lacks a stage"
sed -n '/"profile": {/,/}/p' stdout | awk -F'[:,]' '/ 0\./ { all += $2 } /mlp/ { mlp = $2 } END { exit !(all > 0.9999 && all < 1.0001 && mlp > 0.1) }' \
    || wrong "the shares of bench --profile do not add up to the whole"
accept bench "$model" --seconds 0.1 --profile
[ "$(grep -c ' %  .* ms$' stdout)" = 9 ] || wrong "bench --profile has not nine stages"
refuse "--profile: times the stages of one thread" bench "$model" --profile --threads 2
for seconds in 0 -1 x 1e9; do refuse "--seconds" bench "$model" --seconds $seconds; done
refuse "--cpu" bench "$model" --cpu abacus
group "bench"

# ---- memory ----

# At most 4 MB beside ViT-B's blob, of which its arena is 1670592 bytes and nothing else grows with the model.
if [ -n "$linked" ]; then
    ${CC:-cc} -std=c99 -O1 "$here/peak.c" -o peak 2>compiler || wrong "peak.c: $(head -n 1 compiler)"
    most=$((($(field blob_bytes) + $(field arena_max_bytes) + 4000000 - 1670592) / 1024))
    for level in $(field cpu) scalar; do
        peak=$(./peak "$mim" encode "$model" $a -o out.npy --cpu $level) || wrong "encode --cpu $level fails"
        [ "${peak:-0}" -gt 0 ] && [ "$peak" -le $most ] || wrong "$peak KiB with --cpu $level; $most at most"
    done
    group "memory"
else
    echo "skip tool: memory: where the C library is not linked into the tool, what it takes depends on the system"
fi

cd / && rm -rf "$work"
exit $status
