#!/bin/sh
# test_pyramid.sh BUILD - windows, stages and necks through the tool: what it asks for, what it refuses, what it says, and layers
# of unequal size. The numbers are golden.sh's.
LC_ALL=C
export LC_ALL
[ $# -eq 1 ] || { echo "usage: test_pyramid.sh BUILD" >&2; exit 2; }
golden=$(cd "$(dirname "$0")/golden" && pwd)
case $1 in /*) build=$1 ;; *) build=$PWD/$1 ;; esac
mim=${MIM:-$build/mim}
work=$build/test_pyramid.tmp
rm -rf "$work"
mkdir -p "$work" && cd "$work" || exit 2
status=0
why=

wrong() { why="${why:+$why; }$*"; }

group() {
    if [ -z "$why" ]; then echo "ok pyramid: $1"; else echo "FAIL pyramid: $1: $why"; status=1; fi
    why=
}

# refuse PHRASE ARGUMENTS...: exit status 1 and one line with PHRASE; nothing is written.
refuse() {
    phrase=$1
    shift
    rm -f out*
    "$mim" "$@" >stdout 2>stderr
    code=$?
    [ $code -eq 1 ] || wrong "exit $code of: $*"
    [ "$(wc -l <stderr)" -eq 1 ] && grep -q '^mim: ' stderr || wrong "not one line from: $* ($(head -n 2 stderr))"
    grep -qF -e "$phrase" stderr || wrong "no '$phrase' from: $* ($(cat stderr))"
    [ ! -s stdout ] || wrong "output on stdout of: $*"
    [ -z "$(ls out* 2>/dev/null)" ] || wrong "something written by: $*"
}

# accept PHRASE ARGUMENTS...: exit status 0, PHRASE on stdout.
accept() {
    phrase=$1
    shift
    "$mim" "$@" >stdout 2>stderr || wrong "failed: $* ($(cat stderr))"
    [ ! -s stderr ] || wrong "noise from: $* ($(head -n 1 stderr))"
    [ -z "$phrase" ] || grep -qF -e "$phrase" stdout || wrong "no '$phrase' from: $* ($(cat stdout))"
}

# bare NAME: the checkpoint without what lies beside it.
bare() { cp "$golden/$1/model.safetensors" "$1.safetensors"; }

# changed NAME FROM TO: bare, with names of tensors changed, of one length, and the rest as it is.
changed() { sed "s/$2/$3/g" "$golden/$1/model.safetensors" >"$1.safetensors"; }

picture="--mean .5,.5,.5 --std .5,.5,.5 --resize squash --filter bicubic"

# ---- what is recognised, and what has to be given ----

while read -r name words; do
    options=$(sed -n 's/^convert //p' "$golden/$name/cases.txt")
    # shellcheck disable=SC2086 -- options are words
    accept "$words" convert "$golden/$name/model.safetensors" -o out.mim $options
done <<'END'
timm_swin recognised timm's Swin (timm's names, by config.json): 6 blocks in 3 stages (2, 3, 1), 16 to 64 wide
hf_swin recognised transformers' Swin (transformers' names, by config.json, under 'swin.')
swin recognised Swin, the authors' release
simmim_swin recognised SimMIM's Swin, the authors' release
hf_swinv2 recognised transformers' Swinv2
timm_sam recognised timm's SAM (timm's names, by config.json): 3 blocks, 32 wide, patches of 4x4x3, windows of 4x4, neck of 24
sam recognised SAM's image encoder, the authors' release
hf_sam ignored: of the prompts and masks, beside the image encoder: mask_decoder.
efficientsam recognised EfficientSAM's image encoder
hf_hiera_mae recognised transformers' Hiera
hiera recognised Hiera, the authors' release (timm's names, by widening blocks)
hiera patches of 7x7x1 4x4 apart, windows of 8x8 and 4x4
hivit recognised HiViT, the authors' release
fast_itpn recognised Fast-iTPN, the authors' release (timm's names, by *.reduction.weight, *.mlp.w1.weight, pos_embed): 5 blocks in 3 stages (2, 1, 2)
itpn ignored: feature pyramid beside the encoder: align_dim_16to8.weight
convmae recognised ConvMAE, the authors' release
mvitv2 recognised MViTv2, the authors' release
mvitv2_video recognised MViTv2 of videos, as SlowFast has it (timm's names, by tubelets, *.attn.pool_q.weight): 6 blocks in 4 stages (1, 2, 1, 2)
maskfeat_video patches of 7x7x3 4x4 apart in 3 frames 2 apart, CLS
maskfeat_video ignored: used only in pretraining: hogs.*.… (2), pred_head.projections.*.… (2)
maskfeat_video_tuned recognised MaskFeat's MViTv2 of videos, as SlowFast has it (timm's names, by tubelets, *.attn.pool_q.weight, widening MLPs)
tv_mvitv2 recognised torchvision's MViTv2 of videos (torchvision's names)
ibot_swin recognised iBOT's Swin, the authors' release
timm_mvitv2 recognised timm's MViTv2
um_mae_swin recognised UM-MAE's Swin, the authors' release (timm's names, by *.attn.posmlp.0.weight, *.downsample.proj.weight): 5 blocks in 3 stages (2, 2, 1)
um_mae_swin_pretrain ignored: mask token, used only in pretraining: mask_token, vis_mask_token
um_mae_pvt recognised UM-MAE's PVT, the authors' release
timm_twins recognised timm's Twins, and the authors' (Twins' names, by config.json): 7 blocks in 3 stages (2, 2, 3)
timm_twins_pcpvt recognised timm's Twins
greenmim_twins recognised GreenMIM's Twins, the authors' release (Twins' names, by decoder_embed.weight, under 'encoder.')
greenmim_twins ignored: used only in pretraining: decoder_blocks
swin ignored: mask of the shifted windows, computed
END
group "recognition"

bare greenmim
refuse "size of the pictures (--image-size" convert greenmim.safetensors -o out.mim
accept "recognised GreenMIM's Swin" convert greenmim.safetensors -o out.mim --image-size 24
bare mixmim
refuse "give --family mixmim or --family swin" convert mixmim.safetensors -o out.mim
accept "recognised MixMIM" convert mixmim.safetensors -o out.mim --family mixmim
accept "recognised Swin, the authors' release" convert mixmim.safetensors -o out.mim --family swin
bare hiera
refuse "number of heads (give --heads N)" convert hiera.safetensors -o out.mim --mean .5 --std .5
bare timm_swinv2
refuse "give --window N, or N:P" convert timm_swinv2.safetensors -o out.mim --image-size 32 $picture
accept "windows of 4x4" convert timm_swinv2.safetensors -o out.mim --image-size 32 --window 4 $picture
accept "windows of 4x4" convert timm_swinv2.safetensors -o out.mim --image-size 32 --window 4:2 $picture
for value in 0 257 4:0 4: x 4x4 '' 123456789; do
    refuse "--window" convert timm_swinv2.safetensors -o out.mim --image-size 32 --window "$value" $picture
done
bare timm_swin
refuse "is of a window of 4, not of 3 (option)" convert timm_swin.safetensors -o out.mim --image-size 32 --window 3 $picture
refuse "are not made of patches of 2x2" convert timm_swin.safetensors -o out.mim --image-size 33 $picture
bare timm_swin_oblong
refuse "is not the table of a square window; give --window N" convert timm_swin_oblong.safetensors -o out.mim --image-size 24x32 \
    --mean .5 --std .5 --resize squash --filter bicubic
refuse "has no windows of a size to be given" convert "$golden/hivit/model.safetensors" -o out.mim --window 4
refuse "are not made of mask units of 32x32" convert hiera.safetensors -o out.mim --heads 1 --mean .5 --std .5 --image-size 48
refuse "such as that of hiera, and only those of plain MAEs can be kept" convert "$golden/hiera_mae/model.safetensors" -o out.mim --heads 1 --keep-decoder
refuse "such as that of convmae, and only those of plain MAEs" convert "$golden/convmae_mae/model.safetensors" -o out.mim --heads 2 --keep-decoder
refuse "has no decoder to keep" convert "$golden/swin/model.safetensors" -o out.mim --keep-decoder
refuse "are not those of hf-swin" convert "$golden/swin/model.safetensors" -o out.mim --family hf-swin
refuse "has no stages, and this file has 3" convert "$golden/swin/model.safetensors" -o out.mim --family vit
refuse "has no neck; give another --family" convert "$golden/efficientsam/model.safetensors" -o out.mim --family vit
group "what has to be given"

# ---- damaged names and shapes ----

changed tv_mvitv2 'attn\.rel_pos_t' 'spatial_pos_t0'
refuse "cannot use: blocks.*.spatial_pos_t0 (5) (positions in space and time)" convert tv_mvitv2.safetensors -o out.mim
changed mvitv2_video 'blocks\.3\.attn\.rel_pos_t' 'pred_head.rel_pos_t_3_x'
refuse "only some of its encoder blocks have a table of distances in time" convert mvitv2_video.safetensors -o out.mim
changed mvitv2_video '"shape":\[16,3,3,7,7\]' '"shape":[16,3,7,3,7]'
refuse "[dim, channels, k, k] with an odd k of more than the stride" convert mvitv2_video.safetensors -o out.mim
changed mvitv2_video '"shape":\[16,3,3,7,7\]' '"shape":[16,9,1,7,7]'
refuse "[dim, channels, 3, height, width] was expected" convert mvitv2_video.safetensors -o out.mim --mean 0,0,0,0,0,0,0,0,0 --std 1,1,1,1,1,1,1,1,1
changed maskfeat_video '"shape":\[16,1,3,3,3\]' '"shape":[16,3,1,3,3]'
refuse "[16, 1, 1, 3, 3] was expected" convert maskfeat_video.safetensors -o out.mim
refuse "for a video give another --family" convert "$golden/mvitv2_video/model.safetensors" -o out.mim --family mvitv2
group "MViTv2 of videos"

all="--heads 2 --resize squash --filter bicubic"
changed fast_itpn 'blocks\.2\.norm\.weight' 'blocks.2.norm.wei_ht'
refuse "blocks.*.norm.wei_ht" convert fast_itpn.safetensors -o out.mim $all
changed fast_itpn 'blocks\.1\.mlp\.ffn_ln\.bias' 'head.mlp.0.unused_weight'
refuse "'blocks.1.mlp.ffn_ln.weight' has no bias beside it" convert fast_itpn.safetensors -o out.mim $all
changed fast_itpn '"shape":\[32,16,2,2\]' '"shape":[32,16,4,1]'
refuse "[rows, channels, k, k] was expected" convert fast_itpn.safetensors -o out.mim $all
changed fast_itpn '"shape":\[32,16,2,2\]' '"shape":[16,32,2,2]'
refuse "was expected" convert fast_itpn.safetensors -o out.mim $all
refuse "is of a block that hivit does not have; give another --family" convert "$golden/fast_itpn/model.safetensors" -o out.mim $all --family hivit
group "Fast-iTPN"

all="--heads 1 --mean .5 --std .5"
changed hiera_video 'pos_embed_temporal' 'pos_embed_class.as'
refuse "pos_embed_class.as (positions of MViT's first version)" convert hiera_video.safetensors -o out.mim $all
changed hiera_video 'pos_embed_temporal' 'head.mlp.no.frames'
refuse "has no positions of its frames" convert hiera_video.safetensors -o out.mim $all --family hiera-video
refuse "positions of its frames ('pos_embed_temporal'), which only Hiera of videos has" convert "$golden/hiera_video/model.safetensors" -o out.mim \
    $all --family mvitv2-video
changed hiera_video '"shape":\[1,2,8\]' '"shape":[2,1,8]'
refuse "1 x 8 was expected" convert hiera_video.safetensors -o out.mim $all
changed hiera_video '"shape":\[1,2,8\]' '"shape":[1,4,4]'
refuse "4 x 8 was expected" convert hiera_video.safetensors -o out.mim $all
changed hiera_video '"shape":\[1,2,8\]' '"shape":[ 16  ]'
refuse "[1, frames, dim] was expected" convert hiera_video.safetensors -o out.mim $all
changed hiera_video_mae '"shape":\[64,8,1,4,4\]' '"shape":[64,8,2,4,2]'
refuse "was expected" convert hiera_video_mae.safetensors -o out.mim $all
refuse "its positions are for 4 frames, not 6 (option)" convert "$golden/hiera_video/model.safetensors" -o out.mim $all --frames 6
refuse "its positions are for images of 64x64, not 96x96" convert "$golden/hiera_video/model.safetensors" -o out.mim $all --image-size 96
refuse "such as that of hiera-video" convert "$golden/hiera_video_mae/model.safetensors" -o out.mim $all --keep-decoder
group "Hiera of videos"

changed timm_swin 'layers\.1\.blocks' 'layers.6.blocks'
refuse "has blocks of stage 2, but none of stage 1" convert timm_swin.safetensors -o out.mim --image-size 32 $picture
changed timm_swin 'layers\.1\.blocks' 'layers.9.blocks'
refuse "is of stage 9, block 0; mim's limits are 8 stages" convert timm_swin.safetensors -o out.mim --image-size 32 $picture
changed timm_swin 'layers\.1\.downsample' 'layers.5.downsample'
refuse "is of no stage: there are 3" convert timm_swin.safetensors -o out.mim --image-size 32 --family timm-swin $picture
changed swin 'layers\.1\.downsample' 'layers.2.downsample'
refuse "is of no stage: there are 3" convert swin.safetensors -o out.mim
changed timm_swin 'layers\.1\.downsample\.norm\.bias' 'layers.1.downsample.morm.bias'
refuse "holds tensors that this version cannot use: layers.*.downsample.morm.bias" convert timm_swin.safetensors -o out.mim
changed timm_swin 'layers\.1\.downsample\.norm\.bias' 'layers.2.blocks.0.attn.q_bias'
refuse "has no bias beside it: RMS norm" convert timm_swin.safetensors -o out.mim --image-size 32 $picture
changed sam 'neck\.1\.weight' 'nick.1.weight'
refuse "cannot use: image_encoder.nick.*.weight" convert sam.safetensors -o out.mim
changed sam 'blocks\.0\.attn\.rel_pos_w' 'blocks.3.attn.rel_pos_w'
refuse "only some of its encoder blocks have a table of horizontal distances" convert sam.safetensors -o out.mim
changed sam '"image_encoder\.neck\.2\.weight":{"dtype":"F16","shape":\[16,16,3,3\]' '"image_encoder.neck.2.weight":{"dtype":"F16","shape":[16,36,2,2]'
refuse "[rows, channels, k, k] with an odd k was expected" convert sam.safetensors -o out.mim
changed swinv2 '"shape":\[512,2\]' '"shape":[2,512]'
refuse "is f16 [2, 512]" convert swinv2.safetensors -o out.mim
changed hiera 'blocks\.1\.proj\.weight' 'blocks.0.proj.weight'
refuse "'blocks.1.proj.bias' has no weight beside it" convert hiera.safetensors -o out.mim --heads 1 --mean .5 --std .5
changed timm_mvitv2 'stages\.0\.blocks\.0\.attn\.pool_k' 'stages.0.blocks.0.attn.pool_x'
refuse "cannot use: stages.*.blocks.*.attn.pool_x.weight" convert timm_mvitv2.safetensors -o out.mim
changed convmae 'blocks1\.0\.conv1\.weight' 'blocks1.0.conv9.weight'
refuse "cannot use: blocks1.*.conv9.weight" convert convmae.safetensors -o out.mim --heads 2
group "damaged names and shapes"

changed um_mae_swin 'blocks\.2\.downsample' 'blocks.0.downsample'
refuse "'blocks.0.downsample.proj.weight' merges before the first block" convert um_mae_swin.safetensors -o out.mim
changed um_mae_swin 'blocks\.3\.attn\.posmlp\.2' 'blocks.5.attn.posmlp.2'
refuse "only some of its encoder blocks have a MLP of the relative position bias" convert um_mae_swin.safetensors -o out.mim --image-size 64 --window 4
changed um_mae_pvt '"shape":\[16,16,1,1\]' '"shape":[16,1,16,1]'
refuse "[rows, channels, k, k] was expected" convert um_mae_pvt.safetensors -o out.mim --heads 1
changed um_mae_pvt 'blocks\.0\.attn\.norm\.weight' 'blocks.0.attn.q_norm.bias'
refuse "has no weight beside it" convert um_mae_pvt.safetensors -o out.mim --heads 1
changed um_mae_pvt 'blocks\.1\.attn\.sr\.' 'blocks.1.attn.ar.'
refuse "cannot use: blocks.*.attn.ar.bias, blocks.*.attn.ar.weight" convert um_mae_pvt.safetensors -o out.mim --heads 1
changed timm_twins 'pos_block\.2' 'pos_block.6'
refuse "is of no stage: there are 3" convert timm_twins.safetensors -o out.mim --heads 1 --image-size 64 $picture
changed timm_twins 'pos_block\.2\.proj' 'pos_block.2.conv'
refuse "cannot use: pos_block.*.conv.*.bias" convert timm_twins.safetensors -o out.mim
refuse "[rows, channels, k, k] was expected" convert "$golden/greenmim_twins/model.safetensors" -o out.mim --family timm-twins --heads 1 --image-size 64 $picture
bare timm_twins
refuse "[rows, k, k, channels] was expected" convert timm_twins.safetensors -o out.mim --family greenmim-twins --heads 1 --image-size 64
refuse "timm-twins has no windows of a size to be given" convert "$golden/timm_twins_pcpvt/model.safetensors" -o out.mim --heads 2 --window 4
refuse "does not depend on a window; give N alone" convert "$golden/um_mae_swin/model.safetensors" -o out.mim --window 4:2
refuse "such as that of greenmim-twins, and only those of plain MAEs" convert "$golden/greenmim_twins/model.safetensors" -o out.mim --keep-decoder
group "Twins and UM-MAE"

# ---- layers of unequal size ----

shape() { head -c 128 "$1" | tail -n +1 | sed -n "s/.*'shape': (\([^)]*\)).*/\1/p"; }
"$mim" convert "$golden/timm_swin/model.safetensors" -o swin.mim >/dev/null 2>&1 || wrong "timm_swin cannot be converted"
in=$golden/timm_swin/in0.npy
accept "" encode swin.mim "$in" -o out.npy --out layers:1,3
[ ! -e out.npy ] && [ "$(shape out.1.npy)" = "1, 1, 256, 16" ] && [ "$(shape out.3.npy)" = "1, 1, 16, 64" ] ||
    wrong "layers 1 and 3: $(ls out*) $(shape out.1.npy); $(shape out.3.npy)"
cp out.3.npy three.npy
rm -f out*
accept "" encode swin.mim "$in" -o out.npy --out layers:3
cmp -s out.npy three.npy || wrong "layer 3 alone differs"
accept "" encode swin.mim "$in" "$in" -o plain --out layers:1,2,3
[ "$(shape plain.2)" = "2, 1, 64, 32" ] || wrong "a name without .npy: $(ls plain*)"
rm -f out*
accept "" encode swin.mim "$in" -o out.npy --out layers:3 --norm
refuse "layer 1 is 16 wide, the final norm 64" encode swin.mim "$in" -o out.npy --out layers:1,3 --norm
mkdir -p out.2.npy
rm -rf out.1.npy
"$mim" encode swin.mim "$in" -o out.npy --out layers:1,2 >stdout 2>stderr && wrong "a folder was written to"
grep -q "out.2.npy is a folder" stderr && [ ! -e out.1.npy ] && [ ! -e out.1.npy.part ] || wrong "a failure left: $(ls out*); $(cat stderr)"
rm -rf out*
refuse "the model has no such output" encode swin.mim "$in" -o out.npy --out attention
refuse "--keep: the model cannot do without some of its patches" encode swin.mim "$in" -o out.npy --keep "$golden/hivit/out0a.keep.npy"
"$mim" convert "$golden/hivit/model.safetensors" -o hivit.mim >/dev/null 2>&1 || wrong "hivit cannot be converted"
accept "" encode hivit.mim "$golden/hivit/in0.npy" -o out.npy --out layers:1,2,3 --keep "$golden/hivit/out0a.keep.npy"
rm -f out*
refuse "--size" encode hivit.mim "$golden/hivit/in0.npy" -o out.npy --size 40x48
group "layers of unequal size"

# ---- info and bench ----

"$mim" convert "$golden/um_mae_pvt/model.safetensors" -o pvt.mim --heads 1 >/dev/null 2>&1 || wrong "um_mae_pvt cannot be converted"
"$mim" convert "$golden/timm_twins/model.safetensors" -o twins.mim >/dev/null 2>&1 || wrong "timm_twins cannot be converted"
accept "2 x mlp 48 gelu" info hivit.mim
accept "in windows of 4x4 shifted by 2,2, relative bias 4x4 geometric" info swin.mim
accept "2: 8x8 tokens, 32 wide" info swin.mim
accept "merge 2x2 into 32, norm" info swin.mim
accept "; no subsets" info swin.mim
accept "subsets are of units of 4x4 patches" info hivit.mim
accept '{ "grid": [8, 8], "dim": 32, "heads": 2, "window": [4, 4] }' info swin.mim --json
accept '"unit": [0, 0]' info swin.mim --json
accept "2 x (beside them, reduce 4x4 into 32, norm, f32; attention 2 heads of 16, keys and values of these, f32; mlp 64 gelu, f32)" info pvt.mim
accept "depthwise convolution 3x3" info twins.mim
accept "attention 1 head of 16 in windows of 7x7, f32" info twins.mim
accept '"macs"' bench pvt.mim --json --seconds 0.1
accept '"macs"' bench twins.mim --json --seconds 0.1
accept '"macs"' bench swin.mim --json --seconds 0.1
accept '"macs"' bench hivit.mim --json --seconds 0.1
group "info and bench"

cd "$build" && rm -rf "$work"
exit $status
