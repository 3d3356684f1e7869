/* SPDX-License-Identifier: MIT
 *
 * Rooms: a broadcast channel each, that keeps the last lines for members who have not read them yet. */
#include <stdlib.h>
#include <string.h>

#include "chat.h"

static struct room* find(const struct rooms* rooms, const char* name) {
  struct room* room = rooms->first;

  while (room != NULL && strcmp(room->name, name) != 0)
    room = room->next;
  return room;
}

static int make(struct rooms* rooms, const char* name, struct room** made) {
  uvch_broadcast_options_t options = {.policy = UVCH_BROADCAST_LAG, .copy = line_copy, .drop = line_drop};
  struct room* room = calloc(1, sizeof(*room));
  int r;

  if (room == NULL)
    return UV_ENOMEM;
  r = uvch_broadcast_init_ex(NULL, NULL, &room->tx, sizeof(struct line*), rooms->capacity, &options);
  if (r != 0) {
    free(room);
    return r;
  }
  strncpy(room->name, name, NAME_LIMIT);
  room->next = rooms->first;
  rooms->first = room;
  *made = room;
  return 0;
}

int room_enter(struct rooms* rooms, const char* name, struct room** room) {
  int r = 0;

  uv_mutex_lock(&rooms->mutex);
  *room = find(rooms, name);
  if (*room == NULL)
    r = make(rooms, name, room);
  if (r == 0)
    (*room)->members++;
  uv_mutex_unlock(&rooms->mutex);
  return r;
}

void room_leave(struct rooms* rooms, struct room* room) {
  struct room** link = &rooms->first;
  int last;

  uv_mutex_lock(&rooms->mutex);
  last = --room->members == 0;
  if (last) {
    while (*link != room)
      link = &(*link)->next;
    *link = room->next;
  }
  uv_mutex_unlock(&rooms->mutex);
  if (!last)
    return;
  must(uvch_broadcast_sender_close(&room->tx), "room");
  free(room);
}

int room_say(struct room* room, const char* name, const char* text, size_t len) {
  struct line* line = line_new("%s: %.*s\n", name, (int) len, text);
  int r;

  if (line == NULL)
    return UV_ENOMEM;
  r = uvch_broadcast_send(&room->tx, &line);
  if (r >= 0)
    return 0; /* the line is the room's */
  line_drop(&line, NULL);
  return r;
}
