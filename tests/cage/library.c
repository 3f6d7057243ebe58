/* A libvpopmail that misbehaves in every way that a real one has been seen to, on demand: the user
 * that vpasswd() is called for says in which. It has a server, as the SQL modules have. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

#include "vpopmail.h"

#include "vauth.h"
#include "vlimits.h"

int NoMakeIndex, OptimizeAddDomain;
static int server = -1, last;

int vauth_open(int will_update) {
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = VPOPMAILDIR "/server"};
    (void)will_update;
    if (server >= 0 || access(address.sun_path, F_OK) != 0)
        return server >= 0 || access(VPOPMAILDIR "/needed", F_OK) != 0 ? 0 : -23;
    server = socket(AF_UNIX, SOCK_STREAM, 0);
    if (connect(server, (struct sockaddr *)&address, sizeof address) == 0)
        return 0;
    close(server);
    server = -1;
    return -23;
}

void vclose(void) {
    if (server >= 0) {
        (void)!write(server, "Q", 1);
        close(server);
    }
    server = -1;
}

static int descriptors(void) {
    int count = 0;
    for (int fd = 0; fd < 1024; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static void print_all(void) {
    errno = ENOENT;
    perror("perror");
    printf("printf %d\n", 1);
    puts("puts");
    fputs("fputs\n", stderr);
    putchar('c');
    fputc('\n', stdout);
    fwrite("fwrite\n", 1, 7, stdout);
    fprintf(stderr, "fprintf\n");
    openlog("vpopmail", 0, LOG_MAIL);
    syslog(LOG_ERR, "syslog %s", "line");
    (void)!write(1, "write\n", 6);
    (void)!system("echo program; echo complaint >&2");
}

/* Another process in here meanwhile would be noticed. */
static int be_alone(void) {
    if (mkdir(VPOPMAILDIR "/alone", 0700))
        return -1;
    usleep(1000);
    return rmdir(VPOPMAILDIR "/alone") ? -1 : 0;
}

int vpasswd(char *user, char *domain, char *password, int apop) {
    char here[256];
    mode_t mask = umask(0);
    if (!getcwd(here, sizeof here) || strcmp(here, "/") != 0 || mask != 077)
        return -22;
    if (!strcmp(user, "wander"))
        return chdir("/tmp") ? -3 : 0;
    if (!strcmp(user, "print")) {
        print_all();
    } else if (!strcmp(user, "leak")) {
        for (int i = 0; i < 5; i++)
            if (open("/dev/null", O_RDONLY) < 0)
                return -17;
    } else if (!strcmp(user, "count")) {
        return -descriptors();
    } else if (!strcmp(user, "exit")) {
        exit(3);
    } else if (!strcmp(user, "child")) {
        int status;
        pid_t child = fork();
        if (child == 0)
            exit(7);
        return waitpid(child, &status, 0) == child && WEXITSTATUS(status) == 7 ? 0 : -18;
    } else if (!strcmp(user, "overwrite")) {
        memset(domain, 'x', 97);
        memset(password, 'x', 600);
    } else if (!strcmp(user, "signal")) {
        return kill(getpid(), SIGHUP);
    } else if (!strcmp(user, "seed")) {
        srand(1);
    } else if (!strcmp(user, "sleep")) {
        usleep(400000);
    } else if (!strcmp(user, "number")) {
        /* Anybody else in here meanwhile would be noticed. */
        last = atoi(password);
        for (int i = 0; i < 100; i++)
            if (last != atoi(password))
                return -1;
        return -last;
    } else if (!strcmp(user, "alone")) {
        return be_alone();
    } else if (!strcmp(user, "ask")) {
        char answer;
        if (write(server, "A", 1) != 1 || read(server, &answer, 1) != 1)
            return -40;
    }
    return apop ? -20 : 0;
}

int pw_strength(const char *password) {
    return password[0] ? 0 : -70;
}

char *verror(int code) {
    static char text[64];
    snprintf(text, sizeof text, "text of %d", code);
    return text;
}

int vadddomain(char *domain, char *dir, uid_t uid, gid_t gid) {
    (void)dir, (void)uid, (void)gid;
    return strcmp(domain, "alone.example") ? -12 : be_alone();
}
int vaddaliasdomain(char *alias, char *real) {
    return (void)alias, (void)real, -12;
}
int vdeldomain(char *domain) {
    return (void)domain, -11;
}

/* --- accounts of example.com, in memory ---------------------------------------------------------
 */

static struct account {
    char name[65], hash[129], quota[32], clear[65], gecos[65];
    unsigned flags;
    int apop;
} accounts[64];
static size_t count;
static vdir_type places = {0, "first"};

static struct account *find(const char *name) {
    for (size_t i = 0; i < count; i++)
        if (!strcmp(accounts[i].name, name))
            return &accounts[i];
    return NULL;
}

int vadduser(char *user, char *domain, char *password, char *gecos, int apop) {
    struct account *a = &accounts[count];
    if (strcasecmp(domain, "example.com") != 0 || !strcmp(user, "unwanted"))
        return -70;
    printf("vadduser %s %s %d %s\n", user, gecos, apop, strlen(password) >= 16 ? "?" : password);
    *a = (struct account){.apop = apop};
    strcpy(a->name, user);
    snprintf(a->hash, sizeof a->hash, "<%s>", password);
    snprintf(a->clear, sizeof a->clear, "%s", password);
    strcpy(a->gecos, gecos);
    strcpy(a->quota, "NOQUOTA");
    count++;
    places.cur_users++;
    strcpy(places.the_dir, "next");
    memset(user, 'x', strlen(user)); /* as it may */
    return 0;
}
int vdeluser(char *user, char *domain) {
    struct account *a = find(user);
    (void)domain;
    if (!a)
        return -10;
    printf("vdeluser %s\n", user);
    *a = accounts[--count];
    places.cur_users--;
    return 0;
}
int vsetuserquota(char *user, char *domain, char *quota) {
    struct account *a = find(user);
    (void)domain;
    if (!a)
        return -10;
    printf("vsetuserquota %s %s\n", user, quota);
    strcpy(a->quota, quota);
    return !strcmp(quota, "13S") ? -29 : 0;
}
int vread_dir_control(vdir_type *out, char *domain, uid_t uid, gid_t gid) {
    *out = places;
    return (void)domain, (void)uid, (void)gid, 0;
}
int vwrite_dir_control(vdir_type *in, char *domain, uid_t uid, gid_t gid) {
    printf("vwrite_dir_control %lu %s\n", in->cur_users, in->the_dir);
    places = *in;
    return (void)domain, (void)uid, (void)gid, 0;
}
struct vqpasswd *vauth_user(char *user, char *domain, char *password, char *apop) {
    static struct vqpasswd pw = {.pw_name = "joe"};
    (void)domain, (void)apop;
    return !strcmp(user, "joe") && !strcmp(password, "right") ? &pw : NULL;
}
struct vqpasswd *vauth_getpw(char *user, char *domain) {
    static struct account a;
    static struct vqpasswd pw;
    const struct account *found = find(user);
    (void)domain;
    if (!found)
        return NULL;
    a = *found;
    pw = (struct vqpasswd){.pw_name = a.name,
                           .pw_passwd = a.hash,
                           .pw_uid = (uid_t)a.apop,
                           .pw_gid = a.flags,
                           .pw_gecos = a.gecos,
                           .pw_dir = "/",
                           .pw_shell = a.quota,
                           .pw_clear_passwd = a.clear};
    return &pw;
}
struct vqpasswd *vauth_getall(char *domain, int first, int sortit) {
    return (void)domain, (void)first, (void)sortit, NULL;
}
int vauth_setpw(struct vqpasswd *pw, char *domain) {
    struct account *a = find(pw->pw_name);
    (void)domain;
    if (!a)
        return -10;
    printf("vauth_setpw %s %s %u %s\n", a->name, pw->pw_passwd, (unsigned)pw->pw_gid,
           pw->pw_clear_passwd);
    strcpy(a->hash, pw->pw_passwd);
    a->flags = pw->pw_gid;
    return 0;
}
int valias_insert(char *alias, char *domain, char *line) {
    return (void)alias, (void)domain, (void)line, -1;
}
int valias_remove(char *alias, char *domain, char *line) {
    return (void)alias, (void)domain, (void)line, -1;
}
int valias_delete(char *alias, char *domain) {
    return (void)alias, (void)domain, -1;
}
char *valias_select(char *alias, char *domain) {
    return (void)alias, (void)domain, NULL;
}
char *valias_select_next(void) {
    return NULL;
}
char *valias_select_all(char *alias, char *domain) {
    return (void)alias, (void)domain, NULL;
}
char *valias_select_all_next(char *alias) {
    return (void)alias, NULL;
}
char *vget_assign(char *domain, char *dir, int size, uid_t *uid, gid_t *gid) {
    if (strcasecmp(domain, "example.com") != 0)
        return NULL;
    snprintf(dir, (size_t)size, "%s", VPOPMAILDIR "/domains/example.com");
    *uid = getuid();
    *gid = getgid();
    return dir;
}
domain_entry *get_domain_entries(const char *match) {
    return (void)match, NULL;
}
int vmkpasswd(char *domain) {
    return (void)domain, -11;
}
char *default_domain(void) {
    return "";
}
void lowerit(char *text) {
    (void)text;
}
#ifndef USAGE_BYTES
#define USAGE_BYTES storage_t
#define USAGE_MESSAGES storage_t
#endif
int readuserquota(const char *dir, USAGE_BYTES *bytes, USAGE_MESSAGES *messages) {
    return (void)dir, (void)bytes, (void)messages, -1;
}
int vget_limits(const char *domain, struct vlimits *limits) {
    return (void)domain, (void)limits, -1;
}
int vset_limits(const char *domain, const struct vlimits *limits) {
    return (void)domain, (void)limits, -1;
}
int vlimits_get_flag_mask(struct vlimits *limits) {
    return (void)limits, 0;
}
