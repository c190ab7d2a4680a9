/* console EVENT PROCESS: has an event of its console reach a process, by its number or the name of its program: break (Ctrl-Break),
 * close (the console is closed).
 *
 * Windows makes each by a thread in the process that begins in CtrlRoutine with the event's number, and so does this. Only Ctrl-C
 * and Ctrl-Break could be asked for (GenerateConsoleCtrlEvent). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <windows.h>
#include <tlhelp32.h>

static const struct { const char *name; DWORD number; } EVENTS[] = {
    {"break", CTRL_BREAK_EVENT}, {"close", CTRL_CLOSE_EVENT},
};

/* The number of the process that a word names; 0 if there is none. */
static DWORD number_of(const char *word) {
    PROCESSENTRY32 entry = {.dwSize = sizeof entry};
    HANDLE all = CreateToolhelp32Snapshot(TH32CS_SNAPPROCESS, 0);
    for (BOOL found = Process32First(all, &entry); found; found = Process32Next(all, &entry)) {
        if (_stricmp(entry.szExeFile, word) == 0) return entry.th32ProcessID;
    }
    return strtoul(word, NULL, 10);
}

static int make(DWORD event, DWORD number) {
    HANDLE process = OpenProcess(PROCESS_ALL_ACCESS, FALSE, number);
    /* It has the same place in every process. */
    FARPROC routine = GetProcAddress(GetModuleHandleA("kernel32"), "CtrlRoutine");
    if (process == NULL || routine == NULL ||
        CreateRemoteThread(process, NULL, 0, (LPTHREAD_START_ROUTINE)(void *)routine, (void *)(ULONG_PTR)event, 0, NULL) == NULL) {
        fprintf(stderr, "console: error %lu\n", GetLastError());
        return 2;
    }
    return 0;
}

int main(int count, char **words) {
    for (size_t i = 0; count == 3 && i < sizeof EVENTS / sizeof *EVENTS; i++) {
        if (strcmp(words[1], EVENTS[i].name) == 0) {
            return make(EVENTS[i].number, number_of(words[2]));
        }
    }
    fprintf(stderr, "console: break or close, and a process\n");
    return 2;
}
