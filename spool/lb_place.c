/*
 * Where a spool is: on which kind of file system, in which file, on which disk
 * of which machine.
 *
 * Two spools of one identity would give different events the same names. So
 * the identity file remembers where it was last used; what has been copied, or
 * restored, or came up on another machine shows by what differs:
 *
 *   the file     its inode number and time of birth, which no copy takes along
 *   the machine  /etc/machine-id; not in containers, where it means nothing
 *   the disk     its serial number, for images of whole disks
 *
 * What cannot be told counts as unknown, and unknown never differs. All of it
 * can be read by unprivileged workers and is the same inside and outside of a
 * container, or unknown there.
 */

#include "lb_place.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

/* linux/magic.h and the file systems' own sources */
#define FS_FUSE 0x65735546u
#define FS_MSDOS 0x4d44u
#define FS_EXFAT 0x2011bab0u
#define FS_BTRFS 0x9123683eu
#define FS_ZFS 0x2fc12fc1u
#define FS_OVERLAY 0x794c7630u
#define FS_AUFS 0x61756673u

/* File systems whose locks other machines do not see, or not reliably. */
static const struct {
    uint32_t magic;
    const char *name;
} network[] = {
    {0x6969, "NFS"},      {0xff534d42, "CIFS"},   {0xfe534d42, "SMB2"},
    {0x517b, "SMB"},      {0x00c36400, "Ceph"},   {0x01021997, "9P"},
    {0x5346414f, "AFS"},  {0x6b414653, "AFS"},    {0x0bd00bd0, "Lustre"},
    {0x73757245, "Coda"}, {0x47504653, "GPFS"},   {0x19830326, "BeeGFS"},
    {0x20030528, "PVFS"}, {0x786f4256, "vboxsf"},
};

/* The same behind FUSE, by what follows "fuse." in the type of the mount. */
static const char *const fuse_network[] = {
    "sshfs",      "s3fs",         "gcsfuse",     "glusterfs",     "rclone",
    "goofys",     "geesefs",      "mount-s3",    "mountpoint-s3", "blobfuse",
    "blobfuse2",  "juicefs",      "ceph",        "ceph-fuse",     "mfs",
    "moosefs",    "lizardfs",     "saunafs",     "seaweedfs",     "davfs",
    "davfs2",     "curlftpfs",    "s3ql",        "smbnetfs",      "afpfs",
    "nfs",        "fuse-nfs",     "cosfs",       "ossfs",         "ossfs2",
    "obsfs",      "alluxio-fuse", "dfuse",       "quobyte",       "xtreemfs",
    "gvfsd-fuse", "grpcfuse",     "osxfs",       "tahoe",         "ipfs",
    "beegfs",     "orangefs",     "vmhgfs-fuse", "hdfs",
};

int
lb_place_fuse_network(const char *type, const char *source)
{
    size_t i;
    const char *sub = strncmp(type, "fuse.", 5) == 0 ? type + 5 : "";

    for (i = 0; i < sizeof(fuse_network) / sizeof(fuse_network[0]); i++) {
        if (strcmp(sub, fuse_network[i]) == 0) {
            return 1;
        }
    }

    /* host:/path, remote:, scheme://... One of the local ones joins folders
     * by colons. */

    return (strcmp(type, "fuse") == 0 || sub[0] != '\0') && source[0] != '/' &&
           strchr(source, ':') != NULL && strcmp(sub, "mergerfs") != 0;
}

/* Type and source of the mount of a device: 1 if it is known. */
static int
find_mount(dev_t dev, char type[64], char source[256])
{
    int found = 0;
    FILE *f;
    char *line = NULL, *rest, at[32];
    size_t size = 0;
    unsigned maj, min;

    f = fopen("/proc/self/mountinfo", "re");
    if (f == NULL) {
        return 0;
    }

    while (!found && getline(&line, &size, f) > 0) {
        rest = strstr(line, " - ");
        found = rest != NULL && sscanf(line, "%*s %*s %31s", at) == 1 &&
                sscanf(at, "%u:%u", &maj, &min) == 2 && maj == major(dev) &&
                min == minor(dev) &&
                sscanf(rest + 3, "%63s %255s", type, source) == 2;
    }

    free(line);
    fclose(f);

    return found;
}

const char *
lb_place_network(int fd, char *name, size_t size)
{
    size_t i;
    char type[64], source[256];
    struct stat st;
    struct statfs fs;

    if (fstatfs(fd, &fs) != 0) {
        return NULL;
    }

    for (i = 0; i < sizeof(network) / sizeof(network[0]); i++) {
        if ((uint32_t)fs.f_type == network[i].magic) {
            return network[i].name;
        }
    }

    if ((uint32_t)fs.f_type == FS_FUSE && fstat(fd, &st) == 0 &&
        find_mount(st.st_dev, type, source) &&
        lb_place_fuse_network(type, source)) {
        (void)snprintf(name, size, "%s, %s", type, source);
        return name;
    }

    return NULL;
}

/* FNV-1a over text, started with what it is about. */
static uint64_t
hash(uint64_t h, const char *text)
{
    for (; *text != '\0'; text++) {
        h = (h ^ (uint8_t)*text) * 0x100000001b3u;
    }

    return h != 0 ? h : 1;
}

#define HASH_MACHINE 0xcbf29ce484222325u
#define HASH_DISK 0xaf63bd4c8601b7dfu

/* The first line of a small file without white space at its end: its length,
 * 0 if there is nothing. */
static size_t
read_line(const char *path, char *buf, size_t size)
{
    int fd;
    ssize_t n;

    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return 0;
    }

    n = read(fd, buf, size - 1);
    close(fd);

    buf[n > 0 ? n : 0] = '\0';
    n = (ssize_t)strcspn(buf, "\n");

    while (n > 0 && isspace((unsigned char)buf[n - 1])) {
        n--;
    }

    buf[n] = '\0';

    return (size_t)n;
}

/* A container has the machine id of its image, or a new one each time. */
static int
in_container(void)
{
    struct statfs fs;

    return access("/.dockerenv", F_OK) == 0 ||
           access("/run/.containerenv", F_OK) == 0 ||
           (statfs("/", &fs) == 0 && ((uint32_t)fs.f_type == FS_OVERLAY ||
                                      (uint32_t)fs.f_type == FS_AUFS));
}

static uint64_t
machine(void)
{
    char id[64];

    if (in_container() || read_line("/etc/machine-id", id, sizeof(id)) != 32 ||
        strspn(id, "0123456789abcdef") != 32) {
        return 0;
    }

    return hash(HASH_MACHINE, id);
}

/* What the disk is called by its maker or its cloud; of a logical volume, which
 * may move to other disks and grow onto more, its own identity. */
static uint64_t
disk(dev_t dev)
{
    size_t i;
    char dir[64], path[128], text[512];

    static const char *const names[] = {
        "dm/uuid", "loop/backing_file", "serial",     "device/serial",
        "wwid",    "device/wwid",       "device/cid",
    };

    (void)snprintf(dir, sizeof(dir), "/sys/dev/block/%u:%u", major(dev),
                   minor(dev));

    (void)snprintf(path, sizeof(path), "%s/partition", dir);
    if (access(path, F_OK) == 0) {
        (void)snprintf(dir, sizeof(dir), "/sys/dev/block/%u:%u/..", major(dev),
                       minor(dev));
    }

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
        if (read_line(path, text, sizeof(text)) > 0) {
            return hash(HASH_DISK, text);
        }
    }

    return 0;
}

static void
system_place(int fd, lb_place_t *place)
{
    struct statx x;
    struct statfs fs;

    memset(place, 0, sizeof(*place));

    if (fstatfs(fd, &fs) != 0 ||
        statx(fd, "", AT_EMPTY_PATH, STATX_INO | STATX_BTIME, &x) != 0) {
        return;
    }

    /* where inode numbers are made up with each mount they say nothing */
    if ((uint32_t)fs.f_type != FS_FUSE && (uint32_t)fs.f_type != FS_MSDOS &&
        (uint32_t)fs.f_type != FS_EXFAT) {
        place->inode = x.stx_ino;
    }

    if (x.stx_mask & STATX_BTIME) {
        place->born =
            (uint64_t)x.stx_btime.tv_sec * 1000000000u + x.stx_btime.tv_nsec;
    }

    /* a snapshot keeps both of the above */
    if ((uint32_t)fs.f_type == FS_BTRFS || (uint32_t)fs.f_type == FS_ZFS) {
        memcpy(&place->fs, &fs.f_fsid, sizeof(place->fs));
    }

    place->machine = machine();
    place->disk = disk(makedev(x.stx_dev_major, x.stx_dev_minor));
}

void (*lb_place_get)(int fd, lb_place_t *place) = system_place;

static int
differ(uint64_t a, uint64_t b)
{
    return a != 0 && b != 0 && a != b;
}

const char *
lb_place_differs(const lb_place_t *was, const lb_place_t *is)
{
    if (differ(was->inode, is->inode) || differ(was->born, is->born) ||
        differ(was->fs, is->fs)) {
        return "its files are copies";
    }

    if (differ(was->machine, is->machine)) {
        return "this is another machine (/etc/machine-id)";
    }

    if (differ(was->disk, is->disk)) {
        return "this is another disk";
    }

    return NULL;
}

int
lb_place_fill(lb_place_t *to, const lb_place_t *from)
{
    lb_place_t was = *to;

    to->inode = to->inode != 0 ? to->inode : from->inode;
    to->born = to->born != 0 ? to->born : from->born;
    to->fs = to->fs != 0 ? to->fs : from->fs;
    to->machine = to->machine != 0 ? to->machine : from->machine;
    to->disk = to->disk != 0 ? to->disk : from->disk;

    return memcmp(&was, to, sizeof(was)) != 0;
}
