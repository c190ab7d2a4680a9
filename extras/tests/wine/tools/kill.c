/* kill PID: ends a process as a crash does, with exit code 1. Wine's own taskkill leaves 0, which would be a clean end. */
#include <stdio.h>
#include <stdlib.h>
#include <windows.h>

int main(int count, char **words) {
    HANDLE process = count == 2 ? OpenProcess(PROCESS_TERMINATE, FALSE, strtoul(words[1], NULL, 10)) : NULL;
    if (process == NULL || !TerminateProcess(process, 1)) {
        fprintf(stderr, "kill: error %lu\n", GetLastError());
        return 2;
    }
    return 0;
}
