/* SPDX-License-Identifier: MIT
 *
 * The names of the program's own functions, also of those that are static, for who reads a report. */
#include "memory.h"

#include <stdio.h>

extern const char __ehdr_start __attribute__((weak, visibility("hidden")));
extern const char _end __attribute__((weak));

const char* image_begin(void) {
  return &__ehdr_start;
}

const char* image_end(void) {
  return &_end;
}

uint32_t pc_of(const void* pc) {
  return (uint32_t) ((const char*) pc - image_begin());
}

#ifdef __linux__

#include <fcntl.h>
#include <link.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const char* map_self(void) {
  static const char* file;
  struct stat about;
  int fd;

  if (file != NULL)
    return file;
  fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  if (fd < 0 || fstat(fd, &about) != 0)
    return NULL;
  file = mmap(NULL, (size_t) about.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
  close(fd);
  if (file == MAP_FAILED)
    file = NULL;
  return file;
}

static const char* name_in(const char* file, const ElfW(Shdr) * sections, const ElfW(Shdr) * table, uintptr_t at) {
  const ElfW(Sym)* symbols = (const void*) (file + table->sh_offset);
  const char* names = file + sections[table->sh_link].sh_offset;
  size_t i;

  for (i = 0; i < table->sh_size / sizeof *symbols; i++)
    if ((symbols[i].st_info & 15) == STT_FUNC && at - symbols[i].st_value < symbols[i].st_size)
      return names + symbols[i].st_name;
  return NULL;
}

static const char* look_up(uint32_t pc) {
  const char* file = map_self();
  const ElfW(Ehdr)* head = (const void*) file;
  const ElfW(Shdr) * sections;
  uintptr_t at = pc;
  int i;

  if (file == NULL)
    return NULL;
  sections = (const void*) (file + head->e_shoff);
  if (head->e_type == ET_EXEC)
    at += (uintptr_t) image_begin();
  for (i = 0; i < head->e_shnum; i++)
    if (sections[i].sh_type == SHT_SYMTAB)
      return name_in(file, sections, &sections[i], at);
  return NULL;
}

#else

static const char* look_up(uint32_t pc) {
  (void) pc;
  return NULL;
}

#endif

void name_of(uint32_t pc, char* name, size_t size) {
  const char* known = look_up(pc);

  snprintf(name, size, "%s at 0x%lx", known != NULL ? known : "?", (unsigned long) pc);
}
