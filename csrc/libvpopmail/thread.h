/* What the functions that return pointers point to, and what crypt works in: a set for each thread,
 * freed when it ends. */
#ifndef VP_THREAD_H
#define VP_THREAD_H

#include "include/vauth.h"
#include "store.h"

struct per_thread {
    struct account account; /* vauth_getpw, vauth_user */
    struct vqpasswd pw;
    struct buf all; /* vauth_getall */
    struct span all_rest;
    struct account all_account;
    struct vqpasswd all_pw;
    struct buf aliases; /* valias_select, valias_select_all */
    struct span aliases_rest;
    struct buf alias_name;
    struct buf entries; /* get_domain_entries */
    struct span entries_rest;
    struct buf match_real, entry_text;
    domain_entry entry;
    struct buf assign_dir; /* vget_assign */
    struct crypt_data *crypt;
};

/* NULL where memory ran out. */
struct per_thread *per_thread(void);
/* crypt_r's 32 KiB; whoever uses them leaves nothing secret there. */
struct crypt_data *per_thread_crypt(void);
void per_thread_free(void);

#endif
