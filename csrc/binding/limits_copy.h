/* struct vlimits, of either library's vlimits.h, to and from the one that Python sees. To be
 * included after both of them: binding.h, which cffi parses, can't be included twice. */
#ifndef VPX_LIMITS_COPY_H
#define VPX_LIMITS_COPY_H

/* Each member, by the type that it has in struct vlimits. */
/* clang-format off */
#define VPX_LIMITS(X) \
    X(int, maxpopaccounts) X(int, maxaliases) X(int, maxforwards) X(int, maxautoresponders) \
    X(int, maxmailinglists) X(storage_t, diskquota) X(storage_t, maxmsgcount) \
    X(storage_t, defaultquota) X(storage_t, defaultmaxmsgcount) \
    X(short, disable_pop) X(short, disable_imap) X(short, disable_dialup) \
    X(short, disable_passwordchanging) X(short, disable_webmail) X(short, disable_relay) \
    X(short, disable_smtp) X(short, disable_spamassassin) X(short, delete_spam) \
    X(short, disable_maildrop) X(short, perm_account) X(short, perm_alias) \
    X(short, perm_forward) X(short, perm_autoresponder) X(short, perm_maillist) \
    X(short, perm_maillist_users) X(short, perm_maillist_moderators) X(short, perm_quota) \
    X(short, perm_defaultquota)
/* clang-format on */

static inline void limits_out(const struct vlimits *from, struct vpx_limits *to) {
#define VPX_COPY(type, member) to->member = from->member;
    VPX_LIMITS(VPX_COPY)
#undef VPX_COPY
}

static inline void limits_in(const struct vpx_limits *from, struct vlimits *to) {
#define VPX_COPY(type, member) to->member = (type)from->member;
    VPX_LIMITS(VPX_COPY)
#undef VPX_COPY
}

#endif
