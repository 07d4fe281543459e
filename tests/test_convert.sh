#!/bin/sh
# test_convert.sh BUILD_DIR - `mim convert` from the outside: what it makes of good checkpoints, number by number, and how it
# refuses bad ones. Needs a C compiler (CC) and a shell; every checkpoint comes from make_bad_checkpoints.c.
LC_ALL=C
export LC_ALL
[ $# -eq 1 ] || { echo "usage: test_convert.sh BUILD_DIR" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
case $1 in /*) build=$1 ;; *) build=$PWD/$1 ;; esac
mim=${MIM:-$build/mim}
work=$build/test_convert.tmp
rm -rf "$work"
mkdir -p "$work/good" "$work/bad" && cd "$work" || exit 2
status=0
why=

# ---- the frame ----

wrong() { why="${why:+$why; }$*"; }

group() {
    if [ -z "$why" ]; then echo "ok convert: $1"; else echo "FAIL convert: $1: $why"; status=1; fi
    why=
}

# refuse PHRASE ARGUMENTS...: exit status 1, one line on stderr that begins with "mim: " and has PHRASE in it, nothing on
# stdout, no output, no part.
refuse() {
    phrase=$1
    shift
    rm -f out.mim out.mim.part
    "$mim" convert "$@" >stdout 2>stderr
    code=$?
    [ $code -eq 1 ] || wrong "exit $code of: $*"
    [ "$(wc -l <stderr)" -eq 1 ] && grep -q '^mim: ' stderr || wrong "not one line from: $* ($(head -n 2 stderr))"
    grep -qF -e "$phrase" stderr || wrong "no '$phrase' from: $* ($(cat stderr))"
    [ ! -s stdout ] || wrong "output on stdout of: $*"
    [ ! -e out.mim ] && [ ! -e out.mim.part ] || wrong "something written by: $*"
}

# accept PHRASE ARGUMENTS...: exit status 0, nothing on stderr, PHRASE on stdout, no part.
accept() {
    phrase=$1
    shift
    "$mim" convert "$@" >stdout 2>stderr || wrong "failed: $* ($(cat stderr))"
    [ ! -s stderr ] || wrong "noise from: $* ($(head -n 1 stderr))"
    grep -qF -e "$phrase" stdout || wrong "no '$phrase' from: $* ($(cat stdout))"
    [ ! -e out.mim.part ] || wrong "a part left by: $*"
}

# numbers FORM: the blob just written holds the numbers of that form, and opens.
numbers() {
    ./make check out.mim "$1" >report 2>&1 || wrong "$1: $(cat report)"
    "$mim" info out.mim >report 2>&1 || wrong "$1: $(cat report)"
}

if ! ${CC:-cc} -std=c99 -O1 "$here/make_bad_checkpoints.c" -o make -lm 2>compiler || ! ./make make good bad 2>>compiler; then
    echo "FAIL convert: cannot make the checkpoints: $(head -n 1 compiler)"
    exit 1
fi

# What no tensor tells, all given: good for every naming.
all="--heads 2 --eps 1e-6 --act gelu --pool cls --mean .5,.5,.5 --std .5,.5,.5 --resize squash --filter bicubic"

# ---- good ones ----

# file|form|what must be recognised|options in place of --pool cls
while IFS='|' read -r file form phrase pool; do
    for type in f32 f16 q8 q7 'q4 --group 64'; do
        # shellcheck disable=SC2086 -- options are words
        accept "$phrase" "good/$file.safetensors" -o out.mim --type $type $(echo "$all" | sed "s/--pool cls/$pool/")
        numbers "$form"
    done
done <<'END'
mae|mae|recognised the MAE authors' release|--pool cls
mae|mae|decoder of 1 block,|--pool cls --keep-decoder --decoder-heads 2 --norm-pix no
hf-mae|mae|recognised transformers' ViTMAE|--pool cls
hf-mae|mae|decoder of 1 block,|--pool cls --keep-decoder --decoder-heads 2 --norm-pix yes
vit|vit|recognised names that timm and the MAE authors share|--pool cls
hf-vit|vit|recognised transformers' ViT (|--pool cls
hf-vit-modules|vit|recognised transformers' ViT (|--pool cls
wrapped|vit|under 'module.backbone.'|--pool cls
dinov2|dinov2|recognised DINOv2, the authors' release|--pool cls
hf-dinov2|dinov2|recognised transformers' Dinov2 (|--pool cls
hf-dinov2-modules|dinov2|recognised transformers' Dinov2 (|--pool cls
hf-dinov2-head|dinov2-head|pool cls_mean (the head's width)|
registers|registers|recognised DINOv2 with registers|--pool cls
hf-registers|registers|recognised transformers' Dinov2WithRegisters|--pool cls
hf-ijepa|nocls|recognised transformers' IJepa|
finetuned|finetuned|pool mean (fc_norm)|
qvbias|qvbias|recognised|--pool cls
nobias|nobias|recognised|--pool cls
F64|vit|recognised|--pool cls
F16|vit|recognised|--pool cls
BF16|vit|recognised|--pool cls
END
group "every naming, every type, number by number"

accept "positions cubic with offset 0.1 (dinov2)" good/dinov2.safetensors -o out.mim --heads 2
accept "positions cubic_antialias (dinov2-reg)" good/registers.safetensors -o out.mim --heads 2
accept "positions cubic (mae)" good/mae.safetensors -o out.mim --heads 2
accept "mean 0.485,0.456,0.406 (mae)" good/mae.safetensors -o out.mim --heads 2
# shellcheck disable=SC2086
accept "positions fixed (vit)" good/vit.safetensors -o out.mim $all
accept "positions cubic_antialias (timm)" good/vit.safetensors -o out.mim --family timm $all
accept "positions linear (option)" good/vit.safetensors -o out.mim --positions linear $all
accept "positions cubic with offset 0.25 (option)" good/vit.safetensors -o out.mim --positions cubic:0.25 $all
accept "image 10x4 (option)" good/mae.safetensors -o out.mim --heads 2 --image-size 10x4 --resize squash
accept "resize short:9 (option)" good/mae.safetensors -o out.mim --heads 2 --resize short:9
accept "ignored: decoder, not kept: decoder_blocks.*." good/mae.safetensors -o out.mim --heads 2
accept "ignored: mask token, used only in pretraining: mask_token" good/dinov2.safetensors -o out.mim --heads 2
accept "heads 2 (__metadata__); eps 1e-06 (__metadata__); gelu (__metadata__)" good/stated.safetensors -o out.mim
accept "normalised pixels (__metadata__)" good/stated.safetensors -o out.mim --keep-decoder
accept "eps 0.001 (option)" good/stated.safetensors -o out.mim --eps 1e-3
accept "wrote" --type=q8 -o out.mim -- good/stated.safetensors
group "where values come from"

cp out.mim once.mim
accept "wrote" --type=q8 -o out.mim good/stated.safetensors
cmp -s out.mim once.mim || wrong "two conversions differ"
# shellcheck disable=SC2086
accept "wrote" good/whole.safetensors.index.json -o out.mim $all
numbers vit
mkdir folder shards
cp good/vit.safetensors folder/model.safetensors
cp good/part-*.safetensors shards
cp good/whole.safetensors.index.json shards/model.safetensors.index.json
for folder in folder shards; do
    # shellcheck disable=SC2086
    accept "wrote" $folder -o out.mim $all
    numbers vit
done
echo precious >out.mim
accept "wrote" good/stated.safetensors -o out.mim
numbers mae
group "shards, folders, repetition"

# ---- configurations ----

edit() { sed "$1" "$2" >edited && mv edited "$2"; }

picture='"do_resize":true,"do_normalize":true,"do_rescale":true,"rescale_factor":0.00392156862745098,"image_mean":[0.5,0.4,0.3],"image_std":[0.2,0.2,0.2],"resample":3'
hf() { echo '{"model_type":"vit","hidden_size":20,"num_hidden_layers":2,"num_attention_heads":2,"intermediate_size":36,"hidden_act":"gelu","layer_norm_eps":1e-12,"image_size":6,"patch_size":2,"num_channels":3'"$1"'}' >hf/config.json; }
looks() { echo "{$picture,$1}" >hf/preprocessor_config.json; }
timm() { echo '{"architecture":"vit_tiny_patch16_224","num_features":20,"global_pool":"token","model_args":{"num_heads":2'"$1"'},"pretrained_cfg":{"tag":"mae","input_size":[3,6,6],"interpolation":"bicubic","crop_pct":0.9,"crop_mode":"center","mean":[0.5,0.5,0.5],"std":[0.5,0.5,0.5],"license":"mit"'"$2"'}}' >timm/config.json; }
mkdir hf timm
cp good/hf-vit.safetensors hf/model.safetensors
cp good/vit.safetensors timm/model.safetensors
hf; looks '"size":{"height":6,"width":6},"image_processor_type":"ViTImageProcessor"'
accept "eps 1e-12 (config.json)" hf -o out.mim
accept "mean 0.5,0.4,0.3 (preprocessor_config.json)" hf/model.safetensors -o out.mim
accept "resize squash (preprocessor_config.json)" hf -o out.mim
accept "mean 0.1,0.2,0.3 (option)" hf -o out.mim --mean 0.1,0.2,0.3
accept "gelu_tanh (option)" hf -o out.mim --act gelu_tanh
looks '"size":8,"feature_extractor_type":"ViTFeatureExtractor"'
accept "image 8x8 (preprocessor_config.json)" hf -o out.mim
looks '"do_center_crop":true,"crop_size":{"height":6,"width":6},"size":{"shortest_edge":8}'
accept "resize short:8 (preprocessor_config.json)" hf -o out.mim
accept "resize short:13 (preprocessor_config.json)" hf -o out.mim --image-size 10
looks '"do_center_crop":true,"crop_size":6,"size":8'
accept "resize short:8 (preprocessor_config.json)" hf -o out.mim
timm
accept "resize short:6 (config.json)" timm -o out.mim
accept "positions cubic_antialias (timm)" timm -o out.mim
accept "heads 2 (config.json)" timm -o out.mim
timm '' ',"crop_mode":"center"'
refuse "duplicate key" timm -o out.mim
cp hf/config.json named.json
cp hf/preprocessor_config.json .
accept "eps 1e-12 (config.json)" good/hf-vit.safetensors -o out.mim --config named.json
group "config.json and preprocessor_config.json"

hf ',"x":'; refuse "not valid JSON" hf -o out.mim
echo '[]' >hf/config.json; refuse "not a configuration" hf -o out.mim
echo '{}' >hf/config.json; refuse "names neither model_type nor architecture" hf -o out.mim
echo '{"model_type":"bert"}' >hf/config.json; refuse "model_type 'bert' is not available" hf -o out.mim
for wrong_value in '"hidden_size":768' '"num_hidden_layers":12' '"intermediate_size":80' '"num_channels":1' '"patch_size":16'; do
    echo '{"model_type":"vit",'"$wrong_value"'}' >hf/config.json
    refuse "${wrong_value#*:}, the tensors say" hf -o out.mim
done
echo '{"model_type":"vit","hidden_act":"relu"}' >hf/config.json; refuse "hidden_act 'relu' is not available" hf -o out.mim
echo '{"model_type":"vit","num_attention_heads":3}' >hf/config.json
refuse "cannot have 3 heads" hf -o out.mim --eps 1e-6 --act gelu
for heads in 0 -1 1.5 1e9 1e300; do
    echo '{"model_type":"vit","num_attention_heads":'$heads'}' >hf/config.json
    refuse "is not a number of heads" hf -o out.mim --eps 1e-6 --act gelu
done
hf; edit 's/1e-12/0/' hf/config.json; refuse "must be a positive f32" hf -o out.mim
hf; edit 's/"image_size":6/"image_size":8/' hf/config.json; refuse "do not fit the 10 stored positions" hf -o out.mim
hf
looks '"size":{"height":7,"width":7}'; refuse "not made of patches" hf -o out.mim
looks '"size":{"height":6,"width":6},"do_center_crop":true,"crop_size":4'; refuse "squashes and then crops" hf -o out.mim
looks '"size":{"shortest_edge":8}'; refuse "--resize" hf -o out.mim
looks '"size":{"height":6,"width":6},"do_resize":false'; refuse "duplicate key" hf -o out.mim
echo '{"image_mean":[0.5],"image_std":[0.5]}' >hf/preprocessor_config.json; refuse "one for each channel" hf -o out.mim
echo '{"image_mean":[0.5,0.5,0.5],"image_std":[0.5,0,0.5]}' >hf/preprocessor_config.json; refuse "one for each channel" hf -o out.mim
echo '{"rescale_factor":0.0078}' >hf/preprocessor_config.json; refuse "pixels are not scaled" hf -o out.mim
echo '{"size":' >hf/preprocessor_config.json; refuse "not valid JSON" hf -o out.mim
rm hf/preprocessor_config.json; refuse "preprocessor_config.json beside it would tell" hf -o out.mim
cp good/hf-registers.safetensors hf/model.safetensors
echo '{"model_type":"dinov2","hidden_size":20}' >hf/config.json; refuse "speaks of no registers" hf -o out.mim
cp good/hf-vit.safetensors hf/model.safetensors
rm hf/config.json; refuse "config.json and preprocessor_config.json beside it would tell" hf -o out.mim
timm ',"mlp_layer":"x"'; refuse "model_args has mlp_layer" timm -o out.mim
timm ',"global_pool":"map"'; refuse "global_pool 'map' is not available" timm -o out.mim
timm ',"norm_layer":"layernorm"'; refuse "--eps" timm -o out.mim
timm; edit 's/vit_tiny/vit_nobody/' timm/config.json; refuse "not one with plain blocks" timm -o out.mim
timm; edit 's/vit_tiny_patch16/vit_base_patch16_rope/' timm/config.json; refuse "not available" timm -o out.mim --family timm
timm; edit 's/vit_tiny_patch16/eva02_enormous_patch14_clip/' timm/config.json; refuse "not available" timm -o out.mim --family timm
timm; edit 's/vit_tiny_patch16_224/eva02_tiny_patch14_224/' timm/config.json
refuse "is of the family timm-eva02, not mae (--family)" timm -o out.mim --family mae
timm ',"rope_mixed_mode":true'; refuse "model_args has rope_mixed_mode" timm -o out.mim
refuse "cannot open" good/vit.safetensors -o out.mim --config nowhere.json
group "configurations that cannot be used"

# ---- asking ----

refuse "number of heads (give --heads N)" good/mae.safetensors -o out.mim
refuse "pooling (--pool" good/vit.safetensors -o out.mim
refuse "--family mae or --family timm" good/vit.safetensors -o out.mim
refuse "epsilon of the norms (--eps E)" good/hf-vit.safetensors -o out.mim
refuse "number of the decoder's heads (--decoder-heads N); whether the decoder predicts normalised pixels" \
    good/mae.safetensors -o out.mim --heads 2 --keep-decoder
refuse "give --image-size or --positions" good/vit.safetensors -o out.mim $all --image-size 12
refuse "leave out --image-size or --keep-decoder" good/stated.safetensors -o out.mim --keep-decoder --image-size 12
refuse "no decoder to keep" good/vit.safetensors -o out.mim $all --keep-decoder
refuse "its input is not square" good/mae.safetensors -o out.mim --heads 2 --image-size 6x12
refuse "no CLS token to pool" good/hf-ijepa.safetensors -o out.mim $all
refuse "cannot have 3 heads" good/mae.safetensors -o out.mim --heads 3
refuse "which are not those of hf-vit" good/vit.safetensors -o out.mim $all --family hf-vit
refuse "which are not those of timm" good/hf-vit.safetensors -o out.mim $all --family timm
refuse "no patch projection under 'student'" good/vit.safetensors -o out.mim $all --prefix student
# shellcheck disable=SC2086
accept "ignored: outside the encoder chosen with --prefix: text_model.weight" bad/text-model.safetensors -o out.mim $all --prefix vit.
numbers vit
# shellcheck disable=SC2086
accept "outside the encoder" bad/two-encoders.safetensors -o out.mim $all --prefix ''
numbers vit
group "what is missing is asked for by name"

# ---- options ----

stated() { phrase=$1; shift; refuse "$phrase" good/stated.safetensors -o out.mim "$@"; }
stated "none of f32, f16, q8, q7, q4" --type int8
for value in 16 33 '' 32x; do stated "none of 32, 64, 128" --type q4 --group "$value"; done
for value in q8 q7 f32; do stated "only q4 has groups" --type $value --group 32; done
stated "only q4 has groups" --group 32
for value in 32 64 128; do accept "wrote out.mim: q4" good/stated.safetensors -o out.mim --type q4 --group $value; done
stated "none of float, integer" --numerics fixed
stated "--numerics integer needs --calib FOLDER" --numerics integer
stated "leave out --type f16" --numerics integer --type f16 --calib pictures
stated "--layout pairs is for --numerics integer" --layout pairs
stated "--layout pairs is for --numerics integer" --layout pairs --numerics integer --type q4 --calib pictures
stated "--calib is for --numerics integer" --calib pictures
stated "none: cannot open" --numerics integer --calib none
stated "--layout: 'helium' is none of panels, pairs" --layout helium
models=$here/../examples/models/mae-cifar10-d128l6
refuse "has float numerics and q8" "$models.q8.mim" --layout pairs -o out.mim
refuse "--layout and -o are all the options" "$models.integer.mim" --layout pairs --type q8 -o out.mim
refuse "none of panels, pairs" "$models.integer.mim" --layout helium -o out.mim
refuse "a mim blob already" "$models.integer.mim" -o out.mim
head -c 9000 "$models.integer.mim" >short.mim
refuse "ends before its header says" short.mim --layout pairs -o out.mim
accept "wrote out.mim" "$models.integer.mim" --layout pairs -o out.mim
accept "wrote" good/stated.safetensors -o out.mim --numerics float
stated "no family 'resnet'" --family resnet
for value in 0 -1 two 257 1.5 ''; do stated "--heads" --heads "$value"; done
for value in 0 -1 x nan 1e-40 2; do stated "--eps" --eps $value; done
for value in relu GELU ''; do stated "--act" --act "$value"; done
for value in max CLS; do stated "--pool" --pool $value; done
for value in 0 x 3x 5 6x 6x6x6 99999 6X6 18446744073709551617; do stated "--image-size" --image-size $value; done
for value in 0.5 .5,.5 .5,.5,.5,.5 a,b,c .5,.5,nan .5,.5,inf .5,.5,0x1 '' .5,.5,.5x; do stated "--mean" --mean "$value" --std .5,.5,.5; done
for value in 0,0,0 -1,1,1 1,1; do stated "--std" --std $value; done
for value in none cubic: cubic:x cubic:-1 fixed:0.1 cubic_antialias:0.1 cubic:1; do stated "--positions" --positions $value; done
for value in 8 short short: short:3 short:x long:8 squash:1; do stated "--resize" --resize $value; done
for value in nearest 3; do stated "--filter" --filter $value; done
for value in true 1; do stated "--norm-pix" --norm-pix $value; done
stated "given twice" --heads 2 --heads 2
stated "unknown option" --speed 9
stated "takes no value" --keep-decoder=1
refuse "give one checkpoint, not 0" -o out.mim
refuse "give one checkpoint, not 2" good/vit.safetensors good/mae.safetensors -o out.mim
refuse "name the blob to write with -o" good/stated.safetensors
refuse "needs a value" good/stated.safetensors -o
accept "mim convert CHECKPOINT -o OUT.mim" --help
group "options"

# ---- containers: one model saved by torch, numpy, safetensors and gguf themselves ----

golden=$here/golden/containers
readers=
for part in checkpoint safetensors archive pickle torch npz gguf json; do readers="$readers $here/../examples/mim/$part.c"; done
# shellcheck disable=SC2086
if ${CC:-cc} -std=c99 -O1 ${CFLAGS:-} "$here/list_checkpoint.c" $readers -o list -lm 2>compiler; then
    for expected in "$golden"/*.list; do
        file=${expected%.list}
        name=${file##*/}
        [ "$name" != presto-default_model.pt ] || continue
        ./list "$file" >listed 2>stderr && cmp -s listed "$expected" || wrong "$name is read wrongly: $(cat stderr)"
    done
    [ "$(ls "$golden"/*.list | wc -l)" -ge 30 ] || wrong "files are missing"
    group "every tensor of every container"

    ./list "$golden/dino.pth" student >listed 2>stderr && grep -qF "(state dict 'student', not 'teacher')" listed || wrong "$(cat stderr)"
    ./list "$golden/several.pt" two >listed 2>stderr && grep -qF "module.x f32 [2]" listed || wrong "$(cat stderr)"
    refuse "has no state dict 'three' (--wrapper), but 'one', 'two'" "$golden/several.pt" -o out.mim --wrapper three
    # shellcheck disable=SC2086
    accept "state dict 'student', not 'teacher'" "$golden/dino.pth" -o out.mim --wrapper student $all
    group "the state dict asked for"

    ./list --cuts "$golden/ijepa.pth.tar" "$golden/python2.pth" "$golden/views-stream.pt" "$golden/compressed.npz" bad/gguf-good.safetensors \
        good/vit.safetensors >report 2>&1 || wrong "$(cat report)"
    group "files cut short at every byte"

    presto=$here/../../shared/models/presto-default_model.pt
    if [ -e "$presto" ]; then
        ./list "$presto" >listed 2>stderr && cmp -s listed "$golden/presto-default_model.pt.list" || wrong "read wrongly: $(cat stderr)"
        group "the released Presto"
    else
        echo "skip convert: the released Presto: it is not here"
    fi
else
    wrong "the readers do not compile: $(head -n 1 compiler)"
    group "every tensor of every container"
fi

# What GGUF says beside its tensors.
gguf=$(cd "$(dirname "$golden")" && pwd)
mkdir said
said() { sed "s/$2/$3/" "$gguf/$1/model.gguf" >said/model.gguf; }        # of one length
accept "heads 2 (GGUF); eps 1e-05 (GGUF); quick_gelu (GGUF)" "$gguf/gguf_clip/model.gguf" -o out.mim --resize squash --filter bilinear
accept "ignored: of the language model beside it: mm." "$gguf/gguf_clip/model.gguf" -o out.mim --resize squash --filter bilinear
accept "heads 3 (GGUF); eps 1e-06 (dinov2)" "$gguf/gguf_dinov2/model.gguf" -o out.mim --image-size 28
accept "image 224x224 (dinov2)" "$gguf/gguf_dinov2/model.gguf" -o out.mim
refuse "activation (--act gelu" "$gguf/gguf_clip_gelu/model.gguf" -o out.mim --resize squash --filter bicubic
refuse "how pictures are resized" "$gguf/gguf_clip/model.gguf" -o out.mim --filter bilinear
said gguf_clip image_size patch_size
refuse "clip.vision.patch_size is 24, the tensors say 4; the two are not of the same model" said/model.gguf -o out.mim
said gguf_clip image_std image_stx
refuse "mean of the pixels" said/model.gguf -o out.mim --resize squash --filter bilinear
said gguf_clip attention.head_count attention.head_counx
refuse "number of heads (give --heads N" said/model.gguf -o out.mim --resize squash --filter bilinear
said gguf_clip v.post_ln.bias v.attn_pool.bi
refuse "v.attn_pool.bi (attention pooling)" said/model.gguf -o out.mim --resize squash --filter bilinear
sed "s/vision_model.pre_layrnorm/text_model.xxpre_layrnorm/g" "$gguf/hf_clip/model.safetensors" >said/model.safetensors
refuse "has transformers' names, but not what tells its families apart; give --family" said/model.safetensors -o out.mim
rm said/model.safetensors
known="--heads 3 --act quick_gelu"
sed 's/"shape":\[48,10\]/"shape":[10,48]/' "$gguf/open_clip/model.safetensors" >said/across.safetensors
refuse "[dim, width of the projection] was expected" said/across.safetensors -o out.mim $known
sed 's/"visual.ln_pre.bias"/"visual.ln_pro.bias"/' "$gguf/open_clip/model.safetensors" >said/across.safetensors
refuse "cannot use: visual.ln_pro.bias" said/across.safetensors -o out.mim $known
sed 's/"ln_final.bias"/"ln_finer.bias"/' "$gguf/open_clip/model.safetensors" >said/across.safetensors
refuse "does not know: ln_finer.bias" said/across.safetensors -o out.mim $known
refuse "activation (--act" "$gguf/open_clip/model.safetensors" -o out.mim --heads 3
sed "s/vision_model.pre_layrnorm.bias/text_model.xxpre_layrnorm.bias/" "$gguf/hf_clip/model.safetensors" >said/half.safetensors
refuse "'vision_model.pre_layrnorm.weight' is only half of a norm" said/half.safetensors -o out.mim
said gguf_dinov2 num_hidden_layers num_hidden_layerx
accept "heads 3 (GGUF)" said/model.gguf -o out.mim --image-size 28
group "what GGUF says of itself"

# The name of a file is written into its blob.
mkdir same
cp "$golden/vit.safetensors" same/model
# shellcheck disable=SC2086
accept "wrote" same/model -o reference.mim $all
for file in $(cat "$golden/same"); do
    if [ -d "$golden/$file" ]; then
        # shellcheck disable=SC2086
        accept "wrote" "$golden/$file" -o out.mim $all
        tail -c +513 out.mim >left
        tail -c +513 reference.mim >right
    else
        cp "$golden/$file" same/model
        # shellcheck disable=SC2086
        accept "wrote" same/model -o out.mim $all
        cp out.mim left
        cp reference.mim right
    fi
    cmp -s left right || wrong "$file converts differently"
done
[ "$(wc -l <"$golden/same")" -gt 15 ] || wrong "files are missing"
group "every container converts to the same bytes"

while IFS='|' read -r file phrase; do
    # shellcheck disable=SC2086
    refuse "$phrase" "$golden/$file" -o out.mim $all
done <"$golden/refused"
[ "$(wc -l <"$golden/refused")" -gt 8 ] || wrong "files are missing"
group "containers of other things"

# ---- files of several encoders, and of what pretraining left ----

golden() { echo "$here/golden/$1/model.safetensors"; }

accept "under 'teacher.backbone.'" "$(golden ibot)" -o out.mim --heads 2
accept "ignored: student, whose teacher is what is evaluated: student.module.backbone.blocks.*." "$(golden ibot)" -o out.mim --heads 2
accept "ignored: used only in pretraining: teacher.head.last_layer.weight_g" "$(golden ibot)" -o out.mim --heads 2
accept "under 'student.module.backbone.'" "$(golden ibot)" -o out.mim --heads 2 --prefix student.module.backbone
accept "ignored: outside the encoder chosen with --prefix: student.module.head" "$(golden ibot)" -o out.mim --heads 2 --prefix student.module.backbone
accept "under 'target_encoder.module.'" "$(golden msn)" -o out.mim --heads 2
accept "ignored: encoder, whose average (target_encoder) is what is evaluated: encoder.module" "$(golden msn)" -o out.mim --heads 2
accept "under 'encoder.module.'" "$(golden ijepa)" -o out.mim --heads 2 --resize squash --filter bilinear
accept "ignored: target encoder, the average of what is used: target_encoder.module" "$(golden ijepa)" -o out.mim --heads 2 --resize squash --filter bilinear
accept "positions fixed (ijepa)" "$(golden ijepa)" -o out.mim --heads 2 --resize squash --filter bilinear
accept "by target_projector.**, under 'backbone.'" "$(golden cmae)" -o out.mim --heads 2
accept "ignored: teacher of the encoder: model_teacher.blocks" "$(golden sdae)" -o out.mim --heads 2
accept "ignored: norm of an earlier block, used only in pretraining: norm.*." "$(golden localmim)" -o out.mim --heads 2
accept "ignored: of the text encoder beside it: ln_final.bias" "$(golden eva02_clip_e)" -o out.mim --heads 2 --family eva02-clip-e
accept "pool mean (fc_norm)" "$(golden maskfeat_finetuned)" -o out.mim --heads 2 --resize squash --filter bilinear
mkdir qk
cp "$(golden timm_qk_norm)" qk
# shellcheck disable=SC2086
accept "heads 2 (tensors)" qk -o out.mim $(echo "$all" | sed "s/--heads 2//")
refuse "such as that of cae, and only those of plain MAEs can be kept" "$(golden cae)" -o out.mim --heads 2 --keep-decoder
refuse "such as that of bootmae, and only those of plain MAEs" "$(golden bootmae)" -o out.mim --heads 2 --keep-decoder
refuse "such as that of localmim, and only those of plain MAEs" "$(golden localmim)" -o out.mim --heads 2 --keep-decoder
refuse "such as that of simmim, and only those of plain MAEs" "$(golden simmim)" -o out.mim --heads 2 --keep-decoder
refuse "holds a decoder in which masked tokens alone attend" "$(golden milan)" -o out.mim --heads 2 --keep-decoder
refuse "decoder_pred.weight' gives 32 numbers for each patch, not its 48 pixels" "$(golden sdae)" -o out.mim --heads 2 --keep-decoder --decoder-heads 2 --norm-pix no
for name in ibot msn cmae milan localmim dmae; do
    refuse "not in the file: number of heads (give --heads N" "$(golden $name)" -o out.mim
done
refuse "number of heads (give --heads N" "$(golden tinymim)" -o out.mim --family tinymim
refuse "mean of the pixels (--mean R,G,B" "$(golden bootmae)" -o out.mim --heads 2
refuse "tensor 'blocks.0.attn.q_norm.weight' is f16 [24]; [12] was expected" "$(golden timm_qk_norm)" -o out.mim --heads 4
group "files of several encoders, and of what pretraining left"

# ---- bad checkpoints ----

refuse "cannot open" bad/nowhere.safetensors -o out.mim
refuse "neither model.safetensors nor model.safetensors.index.json" bad -o out.mim
for expected in bad/*.expect; do
    file=${expected%.expect}.safetensors
    [ -e "$file" ] || file=$file.index.json
    # shellcheck disable=SC2086
    refuse "$(cat "$expected")" "$file" -o out.mim $all
    # shellcheck disable=SC2086
    refuse '' "$file" -o out.mim $all --wrapper teacher           # whatever it is, the search for one ends
done
count=$(ls bad/*.expect | wc -l)
[ "$count" -gt 400 ] || wrong "only $count bad files were made"
[ ! -e executed ] || wrong "a checkpoint ran a program"
group "$((count + 2)) bad checkpoints"

# The same pickles do run their programs where pickles are run: the test above tests something.
if command -v python3 >/dev/null 2>&1; then
    for name in os-system posix-system builtins-eval __builtin__-eval builtins-exec stack-global inst obj; do
        rm -f executed
        python3 - "bad/run-$name.safetensors" >stdout 2>&1 <<'END'
import collections, io, pickle, sys, zipfile
class Reader(pickle._Unpickler):
    def persistent_load(self, _): return None
    def find_class(self, module, name):
        return (lambda *_: None) if module.startswith("torch") else super().find_class(module, name)
Reader(io.BytesIO(zipfile.ZipFile(sys.argv[1]).read("a/data.pkl"))).load()
END
        [ -e executed ] || wrong "$name is harmless ($(tail -n 1 stdout))"
    done
    rm -f executed
    group "what is refused would have run"
else
    echo "skip convert: what is refused would have run: no python3"
fi

# ---- outputs that cannot be written ----

stated_to() { phrase=$1; shift; refuse "$phrase" good/stated.safetensors -o "$@"; }
stated_to "cannot write" nowhere/out.mim
stated_to "is a folder" folder
stated_to "name is empty" ''
[ ! -e /dev/full ] || stated_to "not a regular file" /dev/full
cp good/stated.safetensors same.safetensors
refuse "is the checkpoint itself" same.safetensors -o same.safetensors
cmp -s good/stated.safetensors same.safetensors || wrong "the checkpoint was harmed"
echo precious >kept.mim
"$mim" convert bad/nan.safetensors -o kept.mim $all >stdout 2>stderr && wrong "a NaN was accepted"
[ "$(cat kept.mim)" = precious ] && [ ! -e kept.mim.part ] || wrong "a failure harmed what was there before"
(ulimit -f 8 && "$mim" convert good/stated.safetensors -o out.mim) >stdout 2>stderr
code=$?
[ $code -eq 1 ] && [ "$(wc -l <stderr)" -eq 1 ] && grep -q '^mim: cannot write' stderr || wrong "a full disk: exit $code, $(cat stderr)"
[ ! -e out.mim ] && [ ! -e out.mim.part ] || wrong "a full disk left something"
group "outputs that cannot be written"

cd "$build" && rm -rf "$work"
exit $status
