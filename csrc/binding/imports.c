/* A shared libvpopmail (5.5) and the auth module that it loads: what they take of the C library is
 * not linked with this module, so ld's --wrap does not see it. Their import tables are led to
 * wrap.c and files.c instead, before the first call. */
#include "imports.h"

#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* VPX_WRAPPED(X) is X(name) for each name that --wrap has, too. */
#define DECLARE(name) void __wrap_##name(void);
VPX_WRAPPED(DECLARE)
#define ROW(name) {#name, __wrap_##name},
static const struct {
    const char *name;
    void (*ours)(void);
} wrapped[] = {VPX_WRAPPED(ROW)};

/* The parts of a dynamic section that tell of imports. */
struct tables {
    const ElfW(Sym) * symbols;
    const char *names;
    struct {
        uintptr_t start;
        size_t size, step;
    } imports[3]; /* of data and addresses, in one form or the other, and of functions */
};

enum { ADDENDS, PLAIN, CALLS };

static struct tables find_tables(const struct link_map *map) {
    struct tables t = {0};
    for (const ElfW(Dyn) *entry = map->l_ld; entry->d_tag != DT_NULL; entry++) {
        /* The loader has made addresses of them, except where that section can't be written. */
        uintptr_t at =
            entry->d_un.d_ptr < map->l_addr ? entry->d_un.d_ptr + map->l_addr : entry->d_un.d_ptr;
        switch (entry->d_tag) {
        case DT_SYMTAB:
            t.symbols = (const void *)at;
            break;
        case DT_STRTAB:
            t.names = (const void *)at;
            break;
        case DT_RELA:
            t.imports[ADDENDS].start = at;
            break;
        case DT_RELASZ:
            t.imports[ADDENDS].size = entry->d_un.d_val;
            break;
        case DT_REL:
            t.imports[PLAIN].start = at;
            break;
        case DT_RELSZ:
            t.imports[PLAIN].size = entry->d_un.d_val;
            break;
        case DT_JMPREL:
            t.imports[CALLS].start = at;
            break;
        case DT_PLTRELSZ:
            t.imports[CALLS].size = entry->d_un.d_val;
            break;
        case DT_PLTREL:
            t.imports[CALLS].step =
                entry->d_un.d_val == DT_RELA ? sizeof(ElfW(Rela)) : sizeof(ElfW(Rel));
            break;
        default:
            break;
        }
    }
    t.imports[ADDENDS].step = sizeof(ElfW(Rela));
    t.imports[PLAIN].step = sizeof(ElfW(Rel));
    return t;
}

/* --- writing ------------------------------------------------------------------------------------
 */

struct place {
    uintptr_t base, slot;
    bool read_only;
};

/* Whether the loader has taken away the right to write there. */
static int look(struct dl_phdr_info *info, size_t size, void *argument) {
    struct place *place = argument;
    (void)size;
    if (info->dlpi_addr != place->base)
        return 0;
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        uintptr_t start = (place->base + part->p_vaddr) & ~(page - 1);
        uintptr_t end = (place->base + part->p_vaddr + part->p_memsz) & ~(page - 1);
        if (part->p_type == PT_GNU_RELRO)
            place->read_only |= place->slot >= start && place->slot < end;
    }
    return 1;
}

static bool lead(const struct link_map *map, uintptr_t slot, void (*to)(void)) {
    struct place place = {map->l_addr, slot, false};
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    void *start = (void *)(slot & ~(uintptr_t)(page - 1));
    dl_iterate_phdr(look, &place);
    if (place.read_only && mprotect(start, page, PROT_READ | PROT_WRITE))
        return false;
    *(void (**)(void))slot = to;
    return !place.read_only || !mprotect(start, page, PROT_READ);
}

static bool lead_all(const struct link_map *map) {
    struct tables t = find_tables(map);
    for (size_t kind = 0; kind < sizeof t.imports / sizeof *t.imports; kind++)
        for (size_t at = 0; at < t.imports[kind].size; at += t.imports[kind].step) {
            /* Both forms begin so. */
            const ElfW(Rel) *import = (const void *)(t.imports[kind].start + at);
#if __ELF_NATIVE_CLASS == 64
            const ElfW(Sym) *symbol = &t.symbols[ELF64_R_SYM(import->r_info)];
#else
            const ElfW(Sym) *symbol = &t.symbols[ELF32_R_SYM(import->r_info)];
#endif
            for (size_t i = 0;
                 symbol->st_shndx == SHN_UNDEF && i < sizeof wrapped / sizeof *wrapped; i++)
                if (!strcmp(t.names + symbol->st_name, wrapped[i].name) &&
                    !lead(map, map->l_addr + import->r_offset, wrapped[i].ours))
                    return false;
        }
    return true;
}

static bool all_caught;

static void catch_all(void) {
    static const char *const libraries[] = {VPX_LIBRARY, VPX_AUTH_MODULE};
    all_caught = true;
    for (size_t i = 0; i < sizeof libraries / sizeof *libraries; i++) {
        /* It is there already, since this module is linked with it. */
        void *handle = dlopen(libraries[i], RTLD_LAZY | RTLD_NOLOAD);
        struct link_map *map = NULL;
        if (!handle || dlinfo(handle, RTLD_DI_LINKMAP, &map) || !lead_all(map))
            all_caught = false;
        if (handle)
            dlclose(handle);
    }
}

bool imports_are_caught(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, catch_all);
    return all_caught;
}
