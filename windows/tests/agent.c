/* Plays the agent for the tests: serves the pipe, writes what it is told into a file. Usage: agent.exe FILE SDDL MODE [N].
   MODE: take; later (N times, then take); discard; silent (reads, never answers); hang (does not even read); other (answers for another change). */
#include <windows.h>

#include <sddl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../frame.h"

static HANDLE serve(const char *sddl)
{
    SECURITY_ATTRIBUTES who = {sizeof who, NULL, FALSE};
    if (!ConvertStringSecurityDescriptorToSecurityDescriptorA(sddl, SDDL_REVISION_1, &who.lpSecurityDescriptor, NULL))
        return INVALID_HANDLE_VALUE;
    return CreateNamedPipeA("\\\\.\\pipe\\bastide-agent", PIPE_ACCESS_DUPLEX | FILE_FLAG_FIRST_PIPE_INSTANCE,
                            PIPE_TYPE_BYTE | PIPE_READMODE_BYTE | PIPE_WAIT | PIPE_REJECT_REMOTE_CLIENTS, 1, 4096, 4096, 0, &who);
}

/* How many bytes of a frame came. */
static size_t receive(HANDLE pipe, uint8_t *frame)
{
    size_t have = 0;
    DWORD got;
    for (;;) {
        size_t want = have < HEADER_BYTES ? HEADER_BYTES : (size_t)(frame[6] | frame[7] << 8);
        if (have >= want || want > FRAME_BYTES || !ReadFile(pipe, frame + have, (DWORD)(want - have), &got, NULL) || got == 0)
            return have;
        have += got;
    }
}

static void answer(HANDLE pipe, const uint8_t *frame, uint8_t verdict, const char *mode)
{
    uint8_t said[ANSWER_BYTES] = {'B', 'S', 'P', 'A', verdict};
    DWORD sent;
    memcpy(said + 8, frame + 32, 8);
    if (strcmp(mode, "other") == 0)
        said[8] ^= 0xFF;
    if (WriteFile(pipe, said, sizeof said, &sent, NULL))
        FlushFileBuffers(pipe);
}

int main(int count, char **given)
{
    static uint8_t frame[FRAME_BYTES];
    if (count < 4)
        return 64;
    const char *mode = given[3];
    unsigned later = strcmp(mode, "later") == 0 && count > 4 ? (unsigned)strtoul(given[4], NULL, 10) : 0;
    FILE *told = fopen(given[1], "wb");
    HANDLE pipe = serve(given[2]);
    if (told == NULL || pipe == INVALID_HANDLE_VALUE)
        return 2;
    printf("ready\n");
    fflush(stdout);
    for (;;) {
        if (!ConnectNamedPipe(pipe, NULL) && GetLastError() != ERROR_PIPE_CONNECTED)
            return 3;
        if (strcmp(mode, "hang") == 0)
            Sleep(INFINITE);
        size_t size = receive(pipe, frame);
        if (size > 0) {
            fwrite(frame, 1, size, told);
            fflush(told);
            if (strcmp(mode, "silent") == 0)
                Sleep(INFINITE);
            uint8_t verdict = later > 0 ? LATER : strcmp(mode, "discard") == 0 ? DISCARD : TAKEN;
            later -= later > 0;
            answer(pipe, frame, verdict, mode);
        }
        DisconnectNamedPipe(pipe);
    }
}
