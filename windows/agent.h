/* The agent, as the filter sees it: a pipe on this machine. */
#ifndef BASTIDE_AGENT_H
#define BASTIDE_AGENT_H

#include <windows.h>

#include "frame.h"

#define AGENT_PIPE L"\\\\.\\pipe\\bastide-agent"

/* Milliseconds that one try may take, the way there and back. */
enum { AGENT_PATIENCE = 250 };

enum outcome { AGENT_TOOK, AGENT_DISCARDED, AGENT_LATER, AGENT_ABSENT, AGENT_SILENT, AGENT_NOT_SYSTEM };

/* Who serves this pipe is the system itself: server.c. */
bool served_by_system(HANDLE pipe);

/* Hands one frame over. `done` is a manual-reset event of the caller's. Takes AGENT_PATIENCE at most; allocates nothing. */
enum outcome agent_tell(const uint8_t *frame, size_t size, uint64_t number, HANDLE done);

#endif
