/* What the filter tells the agent, as bytes: windows/README.md has the table, src/bastide_agent/windows/frames.py reads it.
   Portable and without I/O, so that the tests also compile it for Linux, with sanitizers. */
#ifndef BASTIDE_FRAME_H
#define BASTIDE_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    FRAME_VERSION = 1,
    MARKER_BYTES = 16,
    NAME_BYTES = 512,     /* sAMAccountName has at most 256 characters ([MS-ADA3] 2.222) */
    PASSWORD_BYTES = 512, /* and so has a password */
    HEADER_BYTES = 56,
    FRAME_BYTES = HEADER_BYTES + NAME_BYTES + PASSWORD_BYTES,
    ANSWER_BYTES = 16
};

/* What the agent says. Anything else counts as LATER. */
enum verdict { TAKEN = 0, LATER = 1, DISCARD = 2 };

/* One changed password. Lengths are in bytes; texts are UTF-16LE without a NUL. */
struct change {
    uint64_t number;     /* 1 is the first since the domain controller started */
    uint64_t changed_at; /* 100 ns since 1601 */
    uint64_t kept_since; /* milliseconds since the start; not sent */
    uint32_t rid;
    uint16_t name_bytes;
    uint16_t password_bytes;
    uint8_t name[NAME_BYTES];
    uint8_t password[PASSWORD_BYTES];
};

/* A UNICODE_STRING as it came; it may claim anything. */
struct text {
    const void *at;
    size_t length;
    size_t maximum;
};

/* Whether it is a text of at most `limit` bytes. */
bool text_fits(struct text text, size_t limit);

/* The frame of a change; how many bytes of `frame` it fills. `lost`: changes that were given up so far. */
size_t frame_write(uint8_t frame[FRAME_BYTES], const uint8_t marker[MARKER_BYTES], uint32_t lost, const struct change *change);

/* What the agent says of change `number`; LATER, if it speaks of something else. */
enum verdict answer_read(const uint8_t answer[ANSWER_BYTES], uint64_t number);

void copy_bytes(uint8_t *to, const uint8_t *from, size_t count);

/* Is not optimized away, as SecureZeroMemory is not. */
void wipe(void *memory, size_t count);

#endif
