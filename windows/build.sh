#!/bin/sh
# Build bastide-filter.dll into a directory: build.sh DIRECTORY [compiler options]. Needs Debian's gcc-mingw-w64-x86-64-win32.
# Without the C runtime: the DLL imports kernel32 and advapi32 and nothing else. Unwind tables stay in: LSA may catch what we could raise.
set -eu
here=$(dirname "$0")
to=$1
shift
${CC:-x86_64-w64-mingw32-gcc} -std=c11 -O2 -Wall -Wextra -Werror -Wconversion -Wshadow -Wstrict-prototypes \
    -D_WIN32_WINNT=0x0602 -DWIN32_LEAN_AND_MEAN \
    -ffreestanding -fno-tree-loop-distribute-patterns "$@" \
    -shared -nostdlib -Wl,--entry=DllMain -Wl,--dynamicbase -Wl,--nxcompat -Wl,--high-entropy-va -Wl,--no-insert-timestamp -Wl,--image-base=0x180000000 -s \
    -o "$to/bastide-filter.dll" \
    "$here/filter.c" "$here/agent.c" "$here/server.c" "$here/queue.c" "$here/frame.c" "$here/filter.def" \
    -lkernel32 -ladvapi32
