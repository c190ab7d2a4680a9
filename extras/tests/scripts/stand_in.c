/* A program of the right format and architecture that does what a script of the test says. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int count, char **arguments) {
    /* The installer hands down nothing but PATH, whose first entry is the test's. */
    char script[4096];
    const char *path = getenv("PATH");
    snprintf(script, sizeof script, "%.*s/a-program", (int)strcspn(path, ":"), path);
    char **all = calloc(count + 5, sizeof *all);
    const char *name = strrchr(arguments[0], '/');
    all[0] = "bash";
    all[1] = script;
    all[2] = name ? (char *)name + 1 : arguments[0];
    all[3] = VERSION;
    memcpy(all + 4, arguments + 1, (count - 1) * sizeof *all);
    execv("/bin/bash", all);
    return 127;
}
