#!/bin/sh
# package.sh OUT MODEL [URL] - folders ready for ESP-IDF, Zephyr, Arduino, PlatformIO and CMSIS: what is here, with mim.h, its version
# and its licence, and MODEL in Arduino's example; and the CMSIS pack, where there is zip.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$here/../..
mkdir -p "$1"
out=$(cd "$1" && pwd)
model=$2 url=${3:-https://example.com/mim.h}
version=$(sed -n 's/^#define MIM_VERSION_[MP][A-Z]* \([0-9]*\)$/\1/p' "$root/mim.h" | paste -s -d .)

for kind in esp-idf zephyr arduino platformio cmsis; do
    rm -rf "${out:?}/$kind"
    cp -R "$here/$kind" "$out/$kind"
    case $kind in
    arduino | platformio) source=$out/$kind/src ;;
    *) source=$out/$kind ;;
    esac
    mkdir -p "$source"
    cp "$root/mim.h" "$here/mim.c" "$source"
    cp "$root/LICENSE" "$out/$kind"
    for file in $(grep -rl '@VERSION@\|@URL@' "$out/$kind"); do
        sed -e "s|@VERSION@|$version|g" -e "s|@URL@|$url|g" "$file" >"$out/filled"
        mv "$out/filled" "$file"
    done
done
{
    echo "alignas(64) static const uint8_t model_blob[] = {"
    od -An -v -tu1 "$model" | sed 's/ *\([0-9]\{1,\}\)/\1,/g'
    echo "};"
} >"$out/arduino/examples/Features/model.h"
if command -v zip >/dev/null; then
    rm -f "$out/mim.mim.$version.pack"
    (cd "$out/cmsis" && zip -q -r "$out/mim.mim.$version.pack" .)
fi
