#!/usr/bin/env bash
# Make the libraries beside this script. README.md says what each one is for.
#
# usage: tests/data/build.sh
#
# Needs nvcc 13.0, gcc, strip, pip, and Debian's gcc-mingw-w64-x86-64 and binutils-aarch64-linux-gnu. What nvcc 13.0 cannot make comes from two PyPI packages, put into a folder that
# is deleted at the end: ptxas 12.4 (targets before 7.5) and fatbinary 13.5 (concatenated entries).
set -euo pipefail
cd "$(dirname "$0")"
data=$PWD
nvcc=${NVCC:-$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)}
tools=$("$nvcc" --dryrun -c scale.cu -o /dev/null 2>&1 | sed -n 's/^#\$ _HERE_=//p')
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

python3 -m pip install --quiet --no-deps --target "$work/cu12" nvidia-cuda-nvcc-cu12==12.4.131
python3 -m pip install --quiet --no-deps --target "$work/cu13" nvidia-cuda-nvcc==13.5.37
ptxas12=$work/cu12/nvidia/cuda_nvcc/bin/ptxas
fatbinary13_5=$work/cu13/nvidia/cu13/bin/fatbinary
"$nvcc" --version | grep -q 'release 13.0' || { echo "nvcc 13.0 expected" >&2; exit 1; }

small=(-Wl,-z,noseparate-code -Wl,-z,max-page-size=4096 -Wl,--build-id=none)
object=(-c -Xcompiler -fPIC -std=c++17)

sass() { for target in "$@"; do echo "-gencode arch=compute_$target,code=sm_$target"; done; }
ptx() { for target in "$@"; do echo "-gencode arch=compute_$target,code=compute_$target"; done; }

# compile NAME SOURCE OPTION...: one object file
compile() { "$nvcc" "${object[@]}" "${@:3}" "$data/$2.cu" -o "$work/$1.o"; }

# library NAME OBJECT...: link and strip
library() {
    local objects=() name
    for name in "${@:2}"; do objects+=("$work/$name.o"); done
    gcc -shared "${small[@]}" "${objects[@]}" -o "$work/lib$1.so"
    strip --remove-section=.comment "$work/lib$1.so"
    install -m 644 "$work/lib$1.so" "$data/lib$1.so"
}

# single NAME OPTION...: a library of one translation unit
single() { compile "$1" scale "${@:2}"; library "$1" "$1"; }

# cubin12 TARGET SOURCE: one cubin of CUDA 12.4, from the PTX of nvcc 13.0 relabelled for an older target
cubin12() {
    "$nvcc" -ptx -arch=compute_75 "$data/$2.cu" -o "$work/$2.ptx"
    sed "s/^\.version .*/.version 8.4/; s/^\.target .*/.target sm_$1/" "$work/$2.ptx" >"$work/$2_$1.ptx"
    "$ptxas12" -arch="sm_$1" "$work/$2_$1.ptx" -o "$work/$2_$1.cubin"
}

# pack12 NAME SOURCE FATBINARY_OPTION... -- TARGET...: an object file with a registered container of CUDA 12.4 cubins
pack12() {
    local name=$1 source=$2 options=() images=()
    shift 2
    while [[ $1 != -- ]]; do options+=("$1"); shift; done
    shift
    for target in "$@"; do
        cubin12 "$target" "$source"
        images+=("--image3=kind=elf,sm=$target,file=$work/${source}_$target.cubin")
    done
    "$tools/fatbinary" -64 "${options[@]}" "${images[@]}" --embedded-fatbin="$work/$name.fatbin.c"
    printf '#include "%s"\nconst void *%s_wrapper(void) { return &__fatDeviceText; }\n' "$name.fatbin.c" "$name" \
        >"$work/$name.c"
    gcc -c -fPIC -I"$work/cu12/nvidia/cuda_nvcc/include" "$work/$name.c" -o "$work/$name.o"
}

# embed NAME SECTION FILE...: an object file with these files in a section, as libraries with their own loader have them
embed() {
    {
        echo ".section $2,\"a\""
        printf '.balign 8\n.incbin "%s"\n' "${@:3}"
        echo '.section .note.GNU-stack,"",@progbits'
    } | gcc -c -x assembler - -o "$work/$1.o"
}

# assembly of containers that the CUDA runtime registers: pack_registered SECTION WRAPPERS FILE...
registered_code() {
    local number=0 file
    echo ".section $1"
    for file in "${@:3}"; do printf '.balign 8\ncode%d: .incbin "%s"\n' "$number" "$file"; number=$((number + 1)); done
    printf '.section %s\n.balign 8\n.4byte 0x466243B1, 1\n.8byte code0, 0\n' "$2"
}

# keep FILE...: fixtures that are no libraries
keep() { for file in "$@"; do install -m 644 "$work/$file" "$data/$file"; done; }

# one target each
for target in 75 80 86 90 90a 100f 120 120a 121; do single "sm_$target" $(sass "$target"); done
for target in 75 90 120; do single "compute_$target" $(ptx "$target"); done

# several targets, several translation units
single server $(sass 80 90 100 120) $(ptx 120)
single sm_90_compute_90 $(sass 90) $(ptx 90)
compile partial_a scale $(sass 80 90 120)
compile partial_b shift $(sass 80 90)
library partial partial_a partial_b
compile optional_a scale $(sass 80 90)
compile optional_b shift $(sass 90a)
library optional optional_a optional_b
compile empty_a scale $(sass 120)
compile empty_b host_only
library empty_unit empty_a empty_b
library only_empty empty_b

# the smallest kernels, and the same targets without a kernel
every=(75 80 86 89 90 90a 100 103 110 120 120a 121)
compile tiny tiny $(sass "${every[@]}")
library tiny tiny
compile empty host_only $(sass "${every[@]}")
library empty empty
pack12 tiny_12_4 tiny -- 50 60 70 75 80 86 89 90
library tiny_12_4 tiny_12_4
pack12 empty_12_4 host_only -- 50 60 70 75 80 86 89 90
library empty_12_4 empty_12_4

# device-linked relocatable code
compile linked_a linked_a -rdc=true $(sass 80 120)
compile linked_b linked_b -rdc=true $(sass 80 120)
"$nvcc" -dlink -Xcompiler -fPIC -cudadevrt none $(sass 80 120) "$work/linked_a.o" "$work/linked_b.o" -o "$work/linked.o"
library linked linked_a linked_b linked

# CUDA 12.4: the targets of torch 2.4.1 for CUDA 12.4, then everything compressed
pack12 torch_a scale -compress-mode=speed -- 50 60 70 75 80 86 90
pack12 torch_b shift -compress-mode=speed -- 50 60 70 75 80 86 90
library torch_2_4_1 torch_a torch_b
cubin12 80 scale
pack12 lz4 scale -compress-all -compress-mode=speed "--image3=kind=ptx,sm=80,file=$work/scale_80.ptx" -- 70 80
library lz4 lz4
single zstd -Xfatbin -compress-all -compress-mode=size $(sass 80 120) $(ptx 80)

# concatenated entries (CUDA 13.4 and newer)
for target in 80 90 100 120 120a; do
    "$nvcc" -cubin -arch="sm_$target" scale.cu -o "$work/scale_$target.cubin"
done
"$nvcc" -ptx -arch=compute_80 scale.cu -o "$work/scale.ptx"
concatenate() { # NAME FATBINARY_OPTION...
    "$fatbinary13_5" -64 --concat -compress-all -compress-mode=size "${@:2}" --create="$work/$1.fatbin" \
        $(for t in 80 90 100 120 120a; do echo "--image3=kind=elf,sm=$t,file=$work/scale_$t.cubin"; done) \
        "--image3=kind=ptx,sm=80,file=$work/scale.ptx"
    embed "$1" .nv_fatbin "$work/$1.fatbin"
    library "$1" "$1"
}
concatenate concatenated
concatenate concatenated_named -ident=scale.cu

# code that the library itself loads: no wrapper, other data around it, one container of link-time code
"$nvcc" -fatbin $(sass 90) scale.cu -o "$work/scale.fatbin"
"$nvcc" -fatbin $(sass 120) shift.cu -o "$work/shift.fatbin"
"$nvcc" -fatbin -rdc=true -gencode arch=compute_90,code=lto_90 scale.cu -o "$work/lto.fatbin"
embed embedded .lrodata scale.cu "$work/scale.fatbin" "$work/lto.fatbin" shift.cu "$work/shift.fatbin"
library embedded embedded

# no GPU code at all
gcc -c -fPIC -x c - -o "$work/no_gpu.o" <<<'#include <math.h>
double half_root(double x) { return sqrt(x) / 2; }'
gcc -shared "${small[@]}" "$work/no_gpu.o" -o "$work/libno_gpu.so" -Wl,--no-as-needed -lm
strip --remove-section=.comment "$work/libno_gpu.so"
install -m 644 "$work/libno_gpu.so" "$data/libno_gpu.so"

# an extension of torch that needs a symbol, a torch that has it and one that has it no more (no GPU code in any of them)
torch_library() { # NAME SYMBOL
    gcc -c -fPIC -x c - -o "$work/$1.o" <<<"int $2(void) { return 1; }"
    gcc -shared "${small[@]}" -Wl,-soname,libtorch_cpu.so "$work/$1.o" -o "$work/lib$1.so"
}
torch_library torch_old old_symbol
torch_library torch_new new_symbol
gcc -c -fPIC -x c - -o "$work/extension.o" <<<'int old_symbol(void);
int operator_of_mine(void) { return old_symbol(); }'
cp "$work/libtorch_old.so" "$work/libtorch_cpu.so"
gcc -shared "${small[@]}" "$work/extension.o" -o "$work/libextension.so" -Wl,-soname,libextension.so -Wl,--no-as-needed -L"$work" -ltorch_cpu
# another library of the same package that needs the extension by its soname
gcc -c -fPIC -x c - -o "$work/second.o" <<<'int operator_of_mine(void);
int second(void) { return operator_of_mine(); }'
gcc -shared "${small[@]}" "$work/second.o" -o "$work/libsecond.so" -Wl,--no-as-needed -L"$work" -lextension -ltorch_cpu
for name in torch_old torch_new extension second; do
    strip --remove-section=.comment "$work/lib$name.so"
    install -m 644 "$work/lib$name.so" "$data/lib$name.so"
done

# files that are code objects themselves; compute_90a in two of them
for target in 90 90a 100f 120a; do "$nvcc" -cubin -arch="sm_$target" scale.cu -o "$work/scale_$target.cubin"; done
cubin12 80 scale
cubin12 90a scale
mv "$work/scale_80.cubin" "$work/scale_80_12_4.cubin"
"$nvcc" -cubin -arch=sm_90a scale.cu -o "$work/scale_90a.cubin"
"$ptxas12" -arch=sm_90a "$work/scale_90a.ptx" -o "$work/scale_90a_12_4.cubin"
"$nvcc" -ptx -arch=compute_90a scale.cu -o "$work/scale_90a.ptx"
"$nvcc" -ptx -arch=compute_75 scale.cu -o "$work/scale_75.ptx"
"$nvcc" -fatbin $(sass 90 120a) $(ptx 90a) scale.cu -o "$work/several.fatbin"
keep scale_{90,90a,100f,120a,80_12_4,90a_12_4}.cubin scale_{75,90a}.ptx several.fatbin lto.fatbin

# code in every other place: read-only data (a container, a bare cubin), writable data, a section of its own
embed in_rodata .rodata scale.cu "$work/scale.fatbin" tiny.cu "$work/scale_120a.cubin" tiny.cu
embed in_data .data shift.cu "$work/shift.fatbin" tiny.cu
embed in_custom .cask_resource "$work/several.fatbin"
library hidden in_rodata in_data in_custom

# one registered container, and one with real kernels that no wrapper names
registered_code '.nv_fatbin,"a"' '.nvFatBinSegment,"aw"' "$work/scale.fatbin" "$work/shift.fatbin" |
    gcc -c -x assembler - -o "$work/unreferenced.o"
library unreferenced unreferenced

# the same without section headers, as a packer leaves it: the last bytes of the file go, and what the ELF header says of them
python3 - "$data/libunreferenced.so" "$data/libstripped.so" <<'PYTHON'
import struct, sys
data = open(sys.argv[1], "rb").read()
table = int.from_bytes(data[40:48], "little")
data = data[:40] + bytes(8) + data[48:58] + struct.pack("<HHH", 0, 0, 0) + data[64:table]
open(sys.argv[2], "wb").write(data)
PYTHON
chmod 644 "$data/libstripped.so"

# debug code; relocatable code whose PTX was not linked; link-time code for one target beside machine code of another
single debug -G $(sass 90)
compile relocatable_a linked_a -rdc=true $(sass 80) $(ptx 80)
compile relocatable_b linked_b -rdc=true $(sass 80) $(ptx 80)
"$nvcc" -dlink -Xcompiler -fPIC -cudadevrt none $(sass 80) "$work"/relocatable_{a,b}.o -o "$work/relocatable.o"
library relocatable_ptx relocatable_a relocatable_b relocatable
"$nvcc" -fatbin -rdc=true -gencode arch=compute_90,code=lto_90 $(sass 120) scale.cu -o "$work/lto_and_sass.fatbin"
keep lto_and_sass.fatbin

# object files and a static archive; the wrappers of object files name no address yet
compile unit_a scale $(sass 80 120)
compile unit_b shift $(sass 80)
compile no_code host_only $(sass 80)
gcc -c -x c - -o "$work/plain.o" <<<'int plain(void) { return 1; }'
strip --strip-debug --remove-section=.comment "$work"/{unit_a,unit_b,no_code,plain}.o
ld -r "$work"/unit_{a,b}.o -o "$work/merged.o"
cp "$work/unit_b.o" "$work/a_member_with_a_name_longer_than_fifteen_characters.o"
(cd "$work" && rm -f libstatic.a && ar rcD libstatic.a unit_a.o a_member_with_a_name_longer_than_fifteen_characters.o no_code.o plain.o)
keep merged.o libstatic.a

# Linux on Arm
registered_code '.nv_fatbin,"a"' '.nvFatBinSegment,"aw"' "$work/scale.fatbin" "$work/several.fatbin" >"$work/aarch64.s"
aarch64-linux-gnu-as "$work/aarch64.s" -o "$work/aarch64.o"
aarch64-linux-gnu-ld -shared -z noseparate-code -z max-page-size=4096 "$work/aarch64.o" -o "$work/libaarch64.so"
keep libaarch64.so

# Windows: section names cut at eight characters, as Microsoft's linker does, and names of full length in a string table
windows=x86_64-w64-mingw32
windows_dll() { # NAME SECTION WRAPPERS LINKER_OPTION...
    registered_code "$2,\"dr\"" "$3,\"dw\"" "$work/scale.fatbin" "$work/shift.fatbin" | $windows-gcc -c -x assembler - -o "$work/$1.obj"
    $windows-gcc -shared -nostdlib -Wl,--no-insert-timestamp,--image-base=0x180000000 "${@:4}" "$work/entry.obj" "$work/$1.obj" -lkernel32 -luser32 -o "$work/$1.dll"
}
$windows-gcc -c -Os -x c - -o "$work/entry.obj" <<'C'
#include <windows.h>
BOOL WINAPI DllMainCRTStartup(HINSTANCE own, DWORD why, LPVOID more) { return GetCurrentProcessId() && GetDesktopWindow(); }
C
windows_dll code .nv_fatb .nvFatBi -s
windows_dll long_names .nv_fatbin .nvFatBinSegment -Wl,--enable-long-section-names
keep code.dll long_names.dll code.obj
printf '.section .nv_fatb,"dr"\n.incbin "%s"\n' "$work/several.fatbin" >"$work/big.s"
$windows-as -mbig-obj "$work/big.s" -o "$work/compiled_with_bigobj.obj"
(cd "$work" && rm -f code.lib && $windows-ar rcD code.lib entry.obj code.obj compiled_with_bigobj.obj)
keep code.lib
