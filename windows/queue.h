/* Changes that wait for the agent: a ring of fixed size, the oldest first. Portable; whoever uses it from two threads brings the lock.
   The oldest may be read without the lock by the one thread that calls queue_forget: nobody else touches it. */
#ifndef BASTIDE_QUEUE_H
#define BASTIDE_QUEUE_H

#include "frame.h"

/* 64 slots are 68 KB. A process may lock 200 KB by default (VirtualLock). */
enum { QUEUE_SLOTS = 64 };

struct queue {
    struct change slots[QUEUE_SLOTS];
    uint32_t first;
    uint32_t count;
    uint32_t lost; /* changes that came, and went to nobody */
    uint64_t last_number;
    uint64_t last_changed_at;
};

/* When a change came: 100 ns since 1601, and milliseconds since the start. */
struct moment {
    uint64_t time;
    uint64_t tick;
};

/* Takes a copy. A name that is no text is left out: the RID says enough.
   False, and one more is lost, if the queue is full or the password is no text. */
bool queue_put(struct queue *queue, uint32_t rid, struct text name, struct text password, struct moment now);

/* NULL: there is none. */
const struct change *queue_first(const struct queue *queue);

/* Wipes the oldest and frees its slot. */
void queue_forget(struct queue *queue, bool was_lost);

#endif
