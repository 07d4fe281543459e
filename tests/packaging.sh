#!/bin/sh
# packaging.sh BUILD - what `make package` makes: complete, of mim.h's version, descriptions that parse and name files that are there,
# and sources that compile for microcontrollers. What needs a tool that is not installed is skipped by name.
set -u
here=$(cd "$(dirname "$0")" && pwd)
root=$here/..
out=$(mkdir -p "$1/package" && cd "$1/package" && pwd)
url=https://example.com/some/mim.h
status=0
check() { if [ "$2" = 0 ]; then echo "ok package $1"; else echo "FAIL package $1: ${3:-}"; status=1; fi; }
have() { command -v "$1" >/dev/null || { echo "skip package $2: needs $1"; false; }; }

message=$(sh "$root/examples/packaging/package.sh" "$out" "$here/golden/trained_tiny/integer.mim" $url 2>&1)
check "is made" $? "$message"
version=$(grep -h '#define MIM_VERSION_[MP]' "$root/mim.h" | sed 's/.* //' | paste -s -d .)
[ "$(grep -rlF "$url" "$out" --include=*.yml --include=*.properties --include=*.json --include=*.pdsc | wc -l)" = 4 ]
check "URL in every description" $? "some lack $url"
[ "$(grep -rlF "$version" "$out" --include=*.yml --include=*.properties --include=*.json --include=*.pdsc | wc -l)" = 4 ]
check "version $version in every description" $? "some lack it"
message=$(grep -rl '@[A-Z]*@' "$out" --include=*.yml --include=*.properties --include=*.json --include=*.pdsc)
[ -z "$message" ]
check "nothing left to fill in" $? "$message"
for kind in esp-idf zephyr arduino/src platformio/src cmsis; do
    cmp -s "$root/mim.h" "$out/$kind/mim.h" && [ -s "$out/$kind/mim.c" ] && [ -s "$out/${kind%/src}/LICENSE" ] && [ -s "$out/${kind%/src}/README.md" ]
    check "$kind has mim.h, mim.c, licence and README" $? "one is missing"
done

if have python3 "descriptions parse"; then
    message=$(python3 - "$out" 2>&1 <<'END'
import json, os, sys
import xml.etree.ElementTree as xml
out = sys.argv[1]
library = json.load(open(os.path.join(out, "platformio/library.json")))
assert os.path.exists(os.path.join(out, "platformio", library["build"]["includeDir"], library["headers"]))
pack = xml.parse(os.path.join(out, "cmsis/mim.mim.pdsc")).getroot()
assert pack.tag == "package" and [child.tag for child in pack][:5] == ["vendor", "name", "description", "url", "license"]
files = [pack.find("license").text] + [f.get("name") for f in pack.iter("file")]
assert len(files) == 3 and all(os.path.exists(os.path.join(out, "cmsis", f)) for f in files), files
conditions = {c.get("id") for c in pack.iter("condition")}
assert all(c.get("condition") in conditions for c in pack.iter("component"))
properties = dict(line.rstrip("\n").split("=", 1) for line in open(os.path.join(out, "arduino/library.properties")))
missing = set("name version author maintainer sentence paragraph category url architectures".split()) - set(properties)
assert not missing, missing
assert all(os.path.exists(os.path.join(out, "arduino/src", f)) for f in properties["includes"].split(","))
END
)
    check "descriptions parse, and name files that are there" $? "$message"
    if python3 -c 'import yaml' 2>/dev/null; then
        message=$(python3 - "$out" 2>&1 <<'END'
import os, sys, yaml
component = yaml.safe_load(open(os.path.join(sys.argv[1], "esp-idf/idf_component.yml")))
assert {"version", "description", "url", "license"} <= set(component), component
module = yaml.safe_load(open(os.path.join(sys.argv[1], "zephyr/zephyr/module.yml")))
assert os.path.exists(os.path.join(sys.argv[1], "zephyr", module["build"]["cmake"], "CMakeLists.txt"))
assert os.path.exists(os.path.join(sys.argv[1], "zephyr", module["build"]["kconfig"]))
END
)
        check "YAML parses" $? "$message"
    else
        echo "skip package YAML: needs python3 with yaml"
    fi
fi

# CMake reads the lists, with stand-ins for the two systems' commands that see that what is named is there.
if have cmake "CMake lists"; then
    cat >"$out/read.cmake" <<'END'
function(present folder)
    foreach(name ${ARGN})
        if(NOT EXISTS "${folder}/${name}")
            message(FATAL_ERROR "no ${folder}/${name}")
        endif()
    endforeach()
endfunction()
function(idf_component_register)
    cmake_parse_arguments(A "" "" "SRCS;INCLUDE_DIRS" ${ARGN})
    present(${CMAKE_CURRENT_LIST_DIR} ${A_SRCS} ${A_INCLUDE_DIRS})
    set_property(GLOBAL APPEND PROPERTY seen component)
endfunction()
function(target_compile_definitions)
    set_property(GLOBAL APPEND PROPERTY seen definition)
endfunction()
function(zephyr_include_directories)
    present(${CMAKE_CURRENT_LIST_DIR} ${ARGN})
endfunction()
function(zephyr_library)
    set_property(GLOBAL APPEND PROPERTY seen library)
endfunction()
function(zephyr_library_sources)
    present(${CMAKE_CURRENT_LIST_DIR} ${ARGN})
endfunction()
function(zephyr_library_compile_definitions_ifdef)
    set_property(GLOBAL APPEND PROPERTY seen definition)
endfunction()
set(CONFIG_MIM y)
set(CONFIG_MIM_NO_FLOAT y)
include(${OUT}/esp-idf/CMakeLists.txt)
include(${OUT}/zephyr/zephyr/CMakeLists.txt)
get_property(seen GLOBAL PROPERTY seen)
if(NOT seen STREQUAL "component;definition;library;definition")
    message(FATAL_ERROR "${seen}")
endif()
END
    message=$(cmake -DOUT="$out" -P "$out/read.cmake" 2>&1)
    check "CMake lists" $? "$(echo "$message" | head -n 2)"
fi

# The source as each would compile it, and the sketch.
strict="-O2 -Wall -Wextra -Werror"
for cc in "arm-none-eabi-gcc -mcpu=cortex-m0 -mthumb" "arm-none-eabi-gcc -mcpu=cortex-m55 -mthumb -mfloat-abi=hard" \
          "xtensa-lx106-elf-gcc --specs=/usr/lib/xtensa-lx106-elf/picolibc.specs" \
          "riscv64-unknown-elf-gcc -march=rv32imc -mabi=ilp32 --specs=picolibc.specs"; do
    for options in "" -DMIM_NO_FLOAT; do
        name="compiles with ${cc%% -*}$(echo "$cc" | grep -o ' -m[ac][^ ]*' | head -n 1)${options:+ $options}"
        have "${cc%% *}" "$name" || continue
        # shellcheck disable=SC2086 -- words
        message=$($cc $strict $options -c "$out/platformio/src/mim.c" -o "$out/mim.o" 2>&1)
        check "$name" $? "$(echo "$message" | head -n 1)"
    done
done
sketch=$out/arduino/examples/Features/Features.ino
arduino="-std=c++11 $strict -include $here/targets/Arduino.h -I$out/arduino/src -I$out/arduino/examples/Features -x c++"
if have arm-none-eabi-g++ "sketch for Cortex-M4"; then
    # shellcheck disable=SC2086 -- words
    message=$(arm-none-eabi-g++ -mcpu=cortex-m4 -mthumb $arduino "$sketch" -c -o "$out/sketch.o" 2>&1)
    check "sketch for Cortex-M4" $? "$(echo "$message" | head -n 1)"
fi
if have g++ "sketch on this machine"; then
    { cat "$sketch"; echo 'int main() { setup(); loop(); }'; } >"$out/sketch.cc"
    # shellcheck disable=SC2086 -- words
    message=$({ ${CC:-cc} -O2 -DMIM_NO_X86 -c "$out/arduino/src/mim.c" -o "$out/mim.o" && g++ $arduino "$out/sketch.cc" -x none "$out/mim.o" -o "$out/sketch" &&
        timeout 20 "$out/sketch"; } 2>&1 | head -n 2)
    echo "$message" | grep -qE '^0 us:( -?[0-9]+){32}$'
    check "sketch on this machine" $? "$message"
fi
exit $status
