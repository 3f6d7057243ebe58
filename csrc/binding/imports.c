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

/* --- writing ------------------------------------------------------------------------------------
 */

/* What the loader has made read-only when it was through with it; nothing where start is end. */
struct region {
    uintptr_t base, start, end;
};

static int find_region(struct dl_phdr_info *info, size_t size, void *argument) {
    struct region *region = argument;
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    (void)size;
    if (info->dlpi_addr != region->base)
        return 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        if (part->p_type == PT_GNU_RELRO) {
            region->start = (region->base + part->p_vaddr) & ~(page - 1);
            region->end = (region->base + part->p_vaddr + part->p_memsz) & ~(page - 1);
        }
    }
    return 1;
}

static bool protect(struct region region, int rights) {
    return region.start == region.end ||
           !mprotect((void *)region.start, region.end - region.start, rights);
}

/* --- the tables ---------------------------------------------------------------------------------
 */

/* Leads what has one of the names in a table whose entries are `step` bytes apart. */
static void lead(const struct link_map *map, const ElfW(Sym) * symbols, const char *names,
                 uintptr_t table, size_t size, size_t step) {
    for (size_t at = 0; at < size; at += step) {
        const ElfW(Rel) *import = (const void *)(table + at); /* as ElfW(Rela) begins, too */
#if __ELF_NATIVE_CLASS == 64
        const ElfW(Sym) *symbol = &symbols[ELF64_R_SYM(import->r_info)];
#else
        const ElfW(Sym) *symbol = &symbols[ELF32_R_SYM(import->r_info)];
#endif
        for (size_t i = 0; i < sizeof wrapped / sizeof *wrapped; i++)
            if (symbol->st_shndx == SHN_UNDEF && !strcmp(names + symbol->st_name, wrapped[i].name))
                *(void (**)(void))(map->l_addr + import->r_offset) = wrapped[i].ours;
    }
}

static bool lead_all(const struct link_map *map) {
    ElfW(Addr) told[DT_NUM] = {0};
    struct region region = {.base = map->l_addr};
    for (const ElfW(Dyn) *entry = map->l_ld; entry->d_tag != DT_NULL; entry++)
        if (entry->d_tag > 0 && entry->d_tag < DT_NUM)
            told[entry->d_tag] = entry->d_un.d_val;
    /* The loader has made addresses of them, except where that section can't be written. */
    static const int addresses[] = {DT_SYMTAB, DT_STRTAB, DT_RELA, DT_REL, DT_JMPREL};
    for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++)
        if (told[addresses[i]] < map->l_addr)
            told[addresses[i]] += map->l_addr;
    const void *symbols = (const void *)told[DT_SYMTAB], *names = (const void *)told[DT_STRTAB];
    size_t addend = sizeof(ElfW(Rela)), plain = sizeof(ElfW(Rel));
    dl_iterate_phdr(find_region, &region);
    if (!protect(region, PROT_READ | PROT_WRITE))
        return false;
    lead(map, symbols, names, told[DT_RELA], told[DT_RELASZ], addend);
    lead(map, symbols, names, told[DT_REL], told[DT_RELSZ], plain);
    lead(map, symbols, names, told[DT_JMPREL], told[DT_PLTRELSZ],
         told[DT_PLTREL] == DT_RELA ? addend : plain);
    return protect(region, PROT_READ);
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
