#!/bin/sh
# integer.sh BUILD - `mim convert --numerics integer` on golden models: what is plain converts and stays near its f32, what is not is
# refused by name; and, with Python and numpy, all of it again by an independent oracle.
set -u
here=$(dirname "$0")
build=$1
mim=$build/mim
out=$build/integer
pictures=$here/../examples/images/small
status=0
mkdir -p "$out"
fail() { echo "FAIL $*"; status=1; }

blobs=$here/../examples/models/mae-cifar10-d128l6.integer.mim
for name in mae mae_finetuned hf_mae hf_vit hf_vit_cls hf_msn hf_ijepa timm_cls timm_avg timm_gap timm_reg4 dinov2 dinov2_reg hf_dinov2; do
    dir=$here/golden/$name
    checkpoint=$(sed -n 's/^checkpoint //p' "$dir/cases.txt")
    options=$(sed -n 's/^convert //p' "$dir/cases.txt")
    blob=$out/$name.integer.mim
    # shellcheck disable=SC2086 -- options are words
    if ! message=$("$mim" convert "$dir/${checkpoint:-model.safetensors}" -o "$blob" --numerics integer --calib "$pictures" $options 2>&1); then
        case $message in
        *.pth*) echo "skip integer $name: ${message#mim: }" ;;
        *) fail "integer $name: $message" ;;
        esac
        continue
    fi
    blobs="$blobs $blob"
    echo "ok integer $name converts"
done

# another size than trained at: positions by the family's rule, as in floats
for at in "dinov2 84x98" "dinov2_reg 56x42" "hf_mae 20x40" "timm_gap 40x24" "mae 28x36"; do
    name=${at% *} size=${at#* }
    dir=$here/golden/$name
    checkpoint=$(sed -n 's/^checkpoint //p' "$dir/cases.txt")
    options="$(sed -n 's/--keep-decoder.*//;s/^convert //p' "$dir/cases.txt") --image-size $size --resize squash"
    # shellcheck disable=SC2086 -- options are words
    if "$mim" convert "$dir/${checkpoint:-model.safetensors}" -o "$out/$name.f32.mim" $options >"$out/log" 2>&1 && \
       "$mim" convert "$dir/${checkpoint:-model.safetensors}" -o "$out/$name.$size.mim" --numerics integer --calib "$pictures" $options >"$out/log" 2>&1 && \
       "$mim" encode "$out/$name.f32.mim" "$pictures" -o "$out/$name.f32.npy" --out tokens >"$out/log" 2>&1 && \
       "$mim" encode "$out/$name.$size.mim" "$pictures" -o "$out/$name.npy" --out tokens >"$out/log" 2>&1; then
        blobs="$blobs $out/$name.$size.mim"
        echo "ok integer $name converts at $size"
    else
        fail "integer $name at $size: $(cat "$out/log")"
        continue
    fi
    if python3 -c 'import numpy' 2>/dev/null; then
        python3 - "$out/$name.f32.npy" "$out/$name.npy" <<'END' && echo "ok integer $name at $size is near its f32" || fail "integer $name at $size"
import sys, numpy as np
a, b = (np.load(path).astype(np.float64) for path in sys.argv[1:])
cosine = (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)
print("mean cosine %.5f" % cosine.mean() if cosine.mean() < .999 else "", end="")
sys.exit(not (a.shape == b.shape and cosine.mean() >= .999))
END
    else
        echo "skip integer $name at $size beside f32: needs python3 with numpy"
    fi
done

# other kinds of matrices: the shapes of a model, then what must be so of them
for kind in "q4 --type q4" "q4-128 --type q4 --group 128" "pairs --layout pairs"; do
    blob=$out/mae.${kind%% *}.integer.mim
    # shellcheck disable=SC2046,SC2086 -- words
    if message=$("$mim" convert "$here/golden/mae/model.safetensors" -o "$blob" --numerics integer --calib "$pictures" \
        $(sed -n 's/^convert //p' "$here/golden/mae/cases.txt") ${kind#* } 2>&1); then
        blobs="$blobs $blob"
        echo "ok integer mae, ${kind#* }, converts"
    else
        fail "integer mae, ${kind#* }: $message"
    fi
done
encoded() { "$mim" encode "$out/mae.$1.mim" "$here/golden/mae/in0.npy" -o "$out/$1.npy" && cksum <"$out/$1.npy"; }
if [ "$(encoded integer)" = "$(encoded pairs.integer)" ]; then
    echo "ok integer: both layouts give the same"
else
    fail "integer: the two layouts of one model give different features"
fi
relaid() { "$mim" convert "$out/$1.mim" --layout "$2" -o "$out/relaid.mim" >/dev/null && cmp -s "$out/relaid.mim" "$out/$3.mim"; }
if relaid mae.integer pairs mae.pairs.integer && relaid mae.pairs.integer panels mae.integer; then
    echo "ok integer: a blob in the other layout, and back"
else
    fail "integer: a blob in the other layout is not the one converted so"
fi

for pair in "timm_beit cannot do relative position bias" "dinov3 cannot do rotary positions" "dinov2_giant cannot do a gated MLP" \
            "timm_clip cannot do a norm before the blocks" \
            "timm_wide takes 13 channels, which no picture has"; do
    name=${pair%% *}
    options=$(sed -n 's/^convert //p' "$here/golden/$name/cases.txt")
    checkpoint=$(sed -n 's/^checkpoint //p' "$here/golden/$name/cases.txt")
    # shellcheck disable=SC2086 -- options are words
    message=$("$mim" convert "$here/golden/$name/${checkpoint:-model.safetensors}" -o "$out/refused.mim" --numerics integer --calib "$pictures" $options 2>&1)
    if [ $? -eq 1 ] && [ ! -e "$out/refused.mim" ] && echo "$message" | grep -qF "${pair#* }"; then
        echo "ok integer $name is refused by name"
    else
        fail "integer $name: '${pair#* }' was to be said: $message"
    fi
done

if python3 -c 'import numpy' 2>/dev/null; then
    # shellcheck disable=SC2086 -- a list
    python3 "$here/reference/integer.py" "$mim" $blobs || status=1
else
    echo "skip integer oracle: needs python3 with numpy"
fi
exit $status
