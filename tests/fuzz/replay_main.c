/*
 * Replays a corpus: main() for a fuzz target where libFuzzer is not linked.
 *
 *   replay DIRECTORY...    every file in them, in any order
 */

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int
replay_file(const char *name)
{
    FILE *f = fopen(name, "rb");
    struct stat st;
    uint8_t *data;
    size_t n;

    if (f == NULL || fstat(fileno(f), &st) != 0) {
        perror(name);
        return -1;
    }
    if (!S_ISREG(st.st_mode)) {
        fclose(f);
        return 0;
    }

    /* As large as the file and no larger: a sanitizer sees every byte read
     * beyond it. */
    data = malloc(st.st_size ? (size_t)st.st_size : 1);
    n = data ? fread(data, 1, (size_t)st.st_size, f) : 0;
    fclose(f);
    if (data == NULL || n != (size_t)st.st_size) {
        fprintf(stderr, "%s: cannot be read\n", name);
        free(data);
        return -1;
    }

    fprintf(stderr, "%s\n", name);
    LLVMFuzzerTestOneInput(data, n);
    free(data);
    return 1;
}

int
main(int argc, char **argv)
{
    int files = 0;

    for (int i = 1; i < argc; i++) {
        DIR *dir = opendir(argv[i]);
        struct dirent *entry;

        if (dir == NULL) {
            perror(argv[i]);
            return 1;
        }
        while ((entry = readdir(dir)) != NULL) {
            char name[4096];
            int rc;

            if (snprintf(name, sizeof(name), "%s/%s", argv[i], entry->d_name) >=
                (int)sizeof(name)) {
                fprintf(stderr, "%s: name too long\n", entry->d_name);
                closedir(dir);
                return 1;
            }
            rc = replay_file(name);
            if (rc < 0) {
                closedir(dir);
                return 1;
            }
            files += rc;
        }
        closedir(dir);
    }

    printf("%d files replayed\n", files);
    return files > 0 ? 0 : 1;
}
