/* What tasks do: say WORD... (each on a line of its own); wait SECONDS WORD; family SECONDS (with a child and a grandchild, which
 * outlive it if nobody ends them). Its output is UTF-8. */
#include <stdio.h>
#include <stdlib.h>
#include <wchar.h>
#include <windows.h>

static void say(const wchar_t *word) {
    char text[4096];
    if (WideCharToMultiByte(CP_UTF8, 0, word, -1, text, sizeof text, NULL, NULL) > 0)
        printf("%s\n", text);
    fflush(stdout);
}

static void start_child(const wchar_t *program, int generations) {
    wchar_t line[4096];
    STARTUPINFOW start = {sizeof start};
    PROCESS_INFORMATION child;
    swprintf(line, 4096, L"\"%ls\" child %d", program, generations);
    if (!CreateProcessW(program, line, NULL, NULL, FALSE, DETACHED_PROCESS, NULL, NULL, &start, &child))
        exit(2);
}

int wmain(int count, wchar_t **words) {
    wchar_t program[4096];
    GetModuleFileNameW(NULL, program, 4096);
    if (count > 1 && wcscmp(words[1], L"say") == 0) {
        for (int i = 2; i < count; i++)
            say(words[i]);
    } else if (count == 4 && wcscmp(words[1], L"wait") == 0) {
        Sleep(1000 * wcstoul(words[2], NULL, 10));
        say(words[3]);
    } else if (count == 3 && wcscmp(words[1], L"family") == 0) {
        start_child(program, 1);
        say(L"family");
        Sleep(1000 * wcstoul(words[2], NULL, 10));
    } else if (count == 3 && wcscmp(words[1], L"child") == 0) {
        int generations = wcstoul(words[2], NULL, 10);
        if (generations > 0)
            start_child(program, generations - 1);
        Sleep(600 * 1000);
    } else {
        return 64;
    }
    return 0;
}
