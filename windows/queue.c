#include "queue.h"

/* The server orders changes by time, to the microsecond: two changes must never have the same. */
enum { LEAST_STEP = 10 };
/* 100 ns. A clock that goes back further than a minute was wrong before, and is believed. */
static const uint64_t BELIEVED = UINT64_C(600000000);

static uint64_t later_than(uint64_t last, uint64_t now)
{
    uint64_t least = last + LEAST_STEP;
    return now < least && least - now < BELIEVED ? least : now;
}

bool queue_put(struct queue *queue, uint32_t rid, struct text name, struct text password, struct moment now)
{
    if (queue->count >= QUEUE_SLOTS || !text_fits(password, PASSWORD_BYTES)) {
        queue->lost++;
        return false;
    }
    struct change *slot = &queue->slots[(queue->first + queue->count) % QUEUE_SLOTS];
    slot->number = ++queue->last_number;
    slot->changed_at = queue->last_changed_at = later_than(queue->last_changed_at, now.time);
    slot->kept_since = now.tick;
    slot->rid = rid;
    slot->name_bytes = (uint16_t)(text_fits(name, NAME_BYTES) ? name.length : 0);
    slot->password_bytes = (uint16_t)password.length;
    copy_bytes(slot->name, name.at, slot->name_bytes);
    copy_bytes(slot->password, password.at, slot->password_bytes);
    queue->count++;
    return true;
}

const struct change *queue_first(const struct queue *queue)
{
    return queue->count > 0 ? &queue->slots[queue->first] : NULL;
}

void queue_forget(struct queue *queue, bool was_lost)
{
    wipe(&queue->slots[queue->first], sizeof queue->slots[0]);
    queue->first = (queue->first + 1) % QUEUE_SLOTS;
    queue->count--;
    queue->lost += was_lost ? 1 : 0;
}
