#!/bin/sh
# methods.sh BUILD [LOG] - README's table of methods with the figures of the golden models: what golden.sh prints, or has printed
# into LOG. f32 is the worst difference of a row's folders, rounded up to two digits; q8 the least of their mean cosines, rounded
# down to four. `sh tests/methods.sh build | diff README.md -` is what to change.
LC_ALL=C
export LC_ALL
here=$(dirname "$0")
log=${2:-$1/methods.log}
[ $# -eq 2 ] || sh "$here/golden.sh" "$1" "f32 q8" >"$log"
awk '
function worst(x,    exponent, digits) {
    exponent = 0
    while (x < 1 && x > 0) { x *= 10; exponent++ }
    digits = int(x * 10) / 10
    if (x - digits > 1e-6) digits += 0.1
    if (digits > 9.95) { digits = 1; exponent-- }
    return sprintf("%.1fe-%d", digits, exponent)
}
FNR == NR {
    if (match($0, /^ok golden [a-z0-9_]*\.(f32|q8) \(/)) {
        split($3, name, ".")
        for (i = 4; i < NF; i++) {
            if ($i == "worst") f32[name[1]] = $(i + 1) + 0
            if ($i == "mean") q8[name[1]] = $(i + 1) + 0
        }
    }
    next
}
/^\|/ && n = split($0, cell, "|") {
    if (n == 9 && cell[6] ~ /^ [a-z][a-z0-9_, ]* $/) {
        count = split(cell[6], folder, /[, ]+/)
        off = 0
        cosine = 1
        for (i = 1; i <= count; i++)
            if (folder[i] in f32 && folder[i] in q8) {
                if (f32[folder[i]] > off) off = f32[folder[i]]
                if (q8[folder[i]] < cosine) cosine = q8[folder[i]]
            } else if (folder[i] != "") print "methods.sh: no figures of " folder[i] > "/dev/stderr"
        cell[7] = off > 0 ? " " worst(off) " " : " - "
        cell[8] = off > 0 ? sprintf(" .%04d ", int(cosine * 10000 + 1e-6)) : " - "
        line = ""
        for (i = 2; i < n; i++) line = line "|" cell[i]
        print line "|"
        next
    }
}
{ print }' "$log" "$here/../README.md"
