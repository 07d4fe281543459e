#!/bin/sh
# test_video.sh BUILD_DIR - videos, metadata, groups of channels and tokens of the caller, through the tool and the examples.
LC_ALL=C
export LC_ALL
[ $# -eq 1 ] || { echo "usage: test_video.sh BUILD_DIR" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
case $1 in /*) build=$1 ;; *) build=$PWD/$1 ;; esac
golden=$here/golden
work=$build/test_video.tmp
rm -rf "$work"
mkdir -p "$work" && cd "$work" || exit 2
status=0
why=

wrong() { why="${why:+$why; }$*"; }

group() {
    if [ -z "$why" ]; then echo "ok video: $1"; else echo "FAIL video: $1: $why"; status=1; fi
    why=
}

# refuse PHRASE PROGRAM ARGUMENTS...: exit status 1, one line on stderr with PHRASE in it, nothing written.
refuse() {
    phrase=$1
    shift
    rm -f out.npy out.mim
    "$@" >stdout 2>stderr
    code=$?
    [ $code -eq 1 ] || wrong "exit $code of: $*"
    [ "$(wc -l <stderr)" -eq 1 ] && grep -q '^mim: ' stderr || wrong "not one line from: $* ($(head -n 2 stderr))"
    grep -qF -e "$phrase" stderr || wrong "no '$phrase' from: $* ($(cat stderr))"
    [ ! -s stdout ] && [ ! -e out.npy ] && [ ! -e out.mim ] || wrong "something written by: $*"
}

accept() {
    "$@" >stdout 2>stderr || wrong "failed: $* ($(cat stderr))"
    [ ! -s stderr ] || wrong "noise from: $* ($(head -n 1 stderr))"
}

same() { cmp -s "$1" "$2" || wrong "$1 and $2 differ"; }
near() { distance=$("$build/test_golden" compare "$1" "$2" "$3") || wrong "$1 is off $2 by $distance"; }
mim() { "$build/mim" "$@"; }

# blob NAME [FILE]: converts a golden folder's checkpoint as its cases say.
blob() {
    # shellcheck disable=SC2046 -- options are words
    accept mim convert "${2:-$golden/$1/model.safetensors}" -o "$1.mim" $(sed -n 's/^convert //p' "$golden/$1/cases.txt")
}

# ---- tokens of the caller ----

# embed NAME: what the example makes of raw values, token by token, and what the encoder makes of those.
embed() {
    number=0
    while read -r _ words; do
        for word in $words; do
            key=${word%%=*} value=${word#*=}
            case $value in *.npy) value=$golden/$1/$value ;; esac
            eval "$key=\$value"
        done
        case $1 in
        presto*) accept "$build/presto" "$1.mim" "$x" "$mask" "$dynamic_world" "$latlons" "$month" tokens.npy feature.npy ;;
        *) accept "$build/galileo" "$1.mim" "$s_t_x" "$s_t_m" "$sp_x" "$sp_m" "$t_x" "$t_m" "$st_x" "$st_m" "$months" "$patch" \
               "$resolution" tokens.npy feature.npy ;;
        esac
        near tokens.npy "$expect" 1e-6
        near feature.npy "$golden/$1/out$number.pooled.npy" 1e-5
        accept mim encode "$1.mim" tokens.npy -o again.npy
        same again.npy feature.npy
        number=$((number + 1))
    done <"$golden/$1/embed.txt"
}

for name in presto galileo; do
    blob $name
    embed $name
    group "$name's tokens from raw values"
done
released=$golden/presto_released/$(sed -n 's/^checkpoint //p' "$golden/presto_released/cases.txt")
if [ -e "$released" ]; then
    blob presto_released "$released"
    embed presto_released
    group "tokens of Presto as released"
else
    echo "skip video: tokens of Presto as released: $(basename "$released") is not here"
fi

p=$golden/presto/in0 q=$golden/galileo/in0
refuse "is no model of the family presto" "$build/presto" galileo.mim $p.x.npy $p.mask.npy $p.dynamic_world.npy $p.latlons.npy $p.month.npy out.npy out.npy
refuse "is not a month, 0 to 11" "$build/presto" presto.mim $p.x.npy $p.mask.npy $p.dynamic_world.npy $p.latlons.npy $p.latlons.npy out.npy out.npy
refuse "has 2 dimensions, not 1" "$build/presto" presto.mim $p.x.npy $p.mask.npy $p.x.npy $p.latlons.npy $p.month.npy out.npy out.npy
refuse "has not the shape of" "$build/presto" presto.mim $p.x.npy $golden/presto/in1.mask.npy $p.dynamic_world.npy $p.latlons.npy $p.month.npy out.npy out.npy
refuse "not made of patches of 3" "$build/galileo" galileo.mim $q.s_t_x.npy $q.s_t_m.npy $q.sp_x.npy $q.sp_m.npy $q.t_x.npy $q.t_m.npy \
    $q.st_x.npy $q.st_m.npy $q.months.npy 3 10 out.npy out.npy
refuse "dimension 3 is 1, not 3" "$build/galileo" galileo.mim $golden/galileo/in2.s_t_x.npy $q.s_t_m.npy $q.sp_x.npy $q.sp_m.npy $q.t_x.npy \
    $q.t_m.npy $q.st_x.npy $q.st_m.npy $q.months.npy 3 10 out.npy out.npy
refuse "takes tokens" mim encode presto.mim $golden/pictures/alpha.bmp -o out.npy
refuse "takes tokens" mim encode presto.mim $golden/pictures -o out.npy
refuse "--size: the model takes tokens" mim encode presto.mim $golden/presto/emb0.npy -o out.npy --size 1x110
refuse "--keep: the model takes tokens" mim encode presto.mim $golden/presto/emb0.npy -o out.npy --keep $p.month.npy
refuse "those before 110" mim encode presto.mim $golden/presto/emb0.npy $golden/presto/emb1.npy -o out.npy
refuse "holds tokens of 48" mim encode presto.mim $golden/galileo/emb0.npy -o out.npy
refuse "tokens are (T,D) or (N,T,D)" mim encode presto.mim $p.latlons.npy -o out.npy
refuse "holds integers" mim encode presto.mim $p.month.npy -o out.npy
accept mim encode presto.mim $golden/presto/emb0.npy $golden/presto/emb0.npy -o two.npy --out tokens --threads 2
accept mim info presto.mim --json
grep -q '"vectors": 86,' stdout || wrong "no vectors in info --json"
accept mim bench presto.mim --seconds 0.1
group "what token models refuse"

# ---- pictures as videos ----

# ppm WIDTH HEIGHT SEED
ppm() { awk -v w="$1" -v h="$2" -v s="$3" 'BEGIN { print "P3", w, h, 255
    for (i = 0; i < w * h * 3; i++) { s = (s * 421 + 1663) % 7875; print s % 256 } }'; }

blob hf_videomae
mkdir clips
for i in 1 2 3 4 5 6 7 8; do ppm 20 17 $i >clips/$i.ppm; done
ppm 16 16 9 >other.ppm
awk 'BEGIN { print "P2 20 17 255"; for (i = 0; i < 340; i++) print i % 256 }' >gray.pgm
printf 'clips/%s.ppm\n' 1 2 3 4 >list
c=clips
accept mim encode hf_videomae.mim $c/1.ppm $c/2.ppm $c/3.ppm $c/4.ppm -o one.npy --out tokens
accept mim encode hf_videomae.mim @list -o two.npy --out tokens
same one.npy two.npy
accept mim encode hf_videomae.mim $c/1.ppm $c/2.ppm $c/4.ppm $c/3.ppm -o two.npy --out tokens
cmp -s one.npy two.npy && wrong "the order of frames is of no account"
accept mim encode hf_videomae.mim $c -o both.npy --out tokens
accept mim encode hf_videomae.mim @list $c/5.ppm $c/6.ppm $c/7.ppm $c/8.ppm -o two.npy --out tokens --threads 2
same both.npy two.npy
accept mim encode hf_videomae.mim $c/1.ppm $c -o two.npy --out pooled --frames 1
accept mim encode hf_videomae.mim $c/1.ppm $c/1.ppm -o one.npy --out tokens --frames 2
accept mim encode hf_videomae.mim $c/1.ppm -o two.npy --out tokens --frames 1
same one.npy two.npy
printf 'P6 20 17 255\n' >bad.ppm
mim encode hf_videomae.mim @list $c/5.ppm bad.ppm $c/7.ppm $c/8.ppm -o two.npy --skip-bad 2>stderr || wrong "--skip-bad stops at a bad picture"
grep -q 'skipped bad.ppm' stderr || wrong "--skip-bad does not name the picture: $(cat stderr)"
refuse "bad.ppm: ends too early" mim encode hf_videomae.mim $c/1.ppm $c/2.ppm bad.ppm $c/4.ppm -o out.npy
refuse "is picture 3 of a video of 4" mim encode hf_videomae.mim $c/1.ppm $c/2.ppm $c/3.ppm -o out.npy
refuse "2.ppm: is picture 2 of a video of 4" mim encode hf_videomae.mim $c/1.ppm $c/2.ppm $golden/hf_videomae/in0.npy -o out.npy
refuse "other.ppm: is not like the video's first picture" mim encode hf_videomae.mim $c/1.ppm other.ppm $c/3.ppm $c/4.ppm -o out.npy
refuse "17x20 gray, not 17x20 RGB" mim encode hf_videomae.mim $c/1.ppm gray.pgm $c/3.ppm $c/4.ppm -o out.npy
refuse "neither 1 nor a multiple of a patch's frames, 2" mim encode hf_videomae.mim @list -o out.npy --frames 3
refuse "--frames" mim encode hf_videomae.mim @list -o out.npy --frames 257
refuse "holds videos of 4 frames; the input is 2" mim encode hf_videomae.mim $golden/hf_videomae/in0.npy -o out.npy --frames 2
refuse "videos are (T,C,H,W) or (N,T,C,H,W)" mim encode hf_videomae.mim $golden/hf_videomae/out0.pooled.npy -o out.npy
refuse "--coordinates: the model wants none" mim encode hf_videomae.mim @list -o out.npy --coordinates $golden/prithvi_tl/in0.coordinates.npy
accept mim info hf_videomae.mim --json
grep -q '"frames": 4,' stdout && grep -q '"patch_frames": 2,' stdout && grep -q '"patches": 32,' stdout || wrong "frames in info --json"
accept mim bench hf_videomae.mim --seconds 0.1
group "videos of pictures"

# ---- metadata, groups ----

blob prithvi_tl
blob satmae_group
t=$golden/prithvi_tl
refuse "give --coordinates" mim encode prithvi_tl.mim $t/in0.npy -o out.npy
refuse "is not (2, 4) or (N, 2, 4)" mim encode prithvi_tl.mim $t/in0.npy -o out.npy --coordinates $t/in2.coordinates.npy
refuse "is for 2 inputs; there are 1" mim encode prithvi_tl.mim $t/in1.npy -o out.npy --size 20x12 --coordinates $t/in0.coordinates.npy
refuse "holds integers" mim encode prithvi_tl.mim $t/in0.npy -o out.npy --coordinates $t/out0a.keep.npy
refuse "--coordinates missing.npy: cannot open" mim encode prithvi_tl.mim $t/in0.npy -o out.npy --coordinates missing.npy
refuse "which no picture has" mim encode prithvi_tl.mim $c/1.ppm $c/2.ppm -o out.npy --coordinates $t/in1.coordinates.npy
refuse "takes no videos" mim encode satmae_group.mim $golden/satmae_group/in0.npy -o out.npy --frames 3
accept mim info satmae_group.mim --json
grep -q '"groups": 3,' stdout && grep -q '"patches": 48,' stdout || wrong "groups in info --json"
accept mim info prithvi_tl.mim
grep -q '^coordinates *4 of each frame' stdout || wrong "coordinates in info"
accept mim bench prithvi_tl.mim --seconds 0.1
accept mim bench satmae_group.mim --seconds 0.1
group "metadata and groups of channels"

# ---- conversion ----

convert() { phrase=$1 name=$2; shift 2; refuse "$phrase" mim convert $golden/$name/model.safetensors -o out.mim "$@"; }
convert "number of frames that it was trained with (--frames N)" prithvi --heads 3 --image-size 12x12
convert "the 28 stored positions are not those of one square grid" prithvi --heads 3 --frames 2
convert "5 frames (option) are not made of patches of 2" videomae --heads 2 --image-size 12x20 --frames 5
convert "such as that of videomae, and only those of plain MAEs can be kept" videomae_pretrain --heads 3 --image-size 16x16 --keep-decoder
convert "such as that of audiomae, and only those of plain MAEs can be kept" audiomae_pretrain --family audiomae --heads 2 --image-size 24x32 --keep-decoder
convert "--frames: satmae-groups takes single pictures" satmae_group --heads 2 --frames 2
convert "--groups: videomae has no groups" videomae --heads 2 --image-size 12x20 --groups 0,1,2
for groups in 0,1,2,6 "0,1,2,6;3,4,5,7;8,10" "0,1,2,6;3,4,5,7;8,8" "0,1,2,6,3;4,5,7;8,9" "0,1,2,6;3,4,5,7;8,9," "a" "" "0,1,2,6;3,4,5,7;8,099"; do
    convert "--groups: '$groups'" satmae_group --heads 2 --groups "$groups"
done
accept mim convert $golden/satmae_group/model.safetensors -o one.mim --heads 2 --groups "0,1,2,6;3,4,5,7;8,9"
same one.mim satmae_group.mim
accept mim convert $golden/satmae_group/model.safetensors -o one.mim --heads 2 --groups "9,1,2,6;3,4,5,7;8,0"
cmp -s one.mim satmae_group.mim && wrong "--groups is of no account"
convert "presto takes tokens of its caller" presto --image-size 14
convert "which are not those of hf-vjepa2" vjepa2 --heads 2 --image-size 16x16 --frames 4 --family hf-vjepa2
convert "heads of 3 cannot have rotary positions in three directions" vjepa2 --heads 16 --image-size 16x16 --frames 4
group "conversion"
exit $status
