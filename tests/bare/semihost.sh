#!/bin/sh
# semihost.sh PROGRAM ARGUMENT... - runs a bare-metal rv32 program on QEMU's virt board; its files are this machine's.
program=$1
shift
list=
for argument; do list=$list,arg=$argument; done
exec timeout 120 qemu-system-riscv32 -M virt -m 256M -bios none -display none -monitor none -serial null \
    -semihosting-config enable=on,target=native"$list" -kernel "$program"
