/* A program that passes every check and can't run: it ends with 1 when it is to run, and else is the real one beside it,
 * real.exe. */
#include <stdlib.h>
#include <wchar.h>
#include <windows.h>

int wmain(int count, wchar_t **words) {
    wchar_t program[4096], *name;
    STARTUPINFOW start = {sizeof start};
    PROCESS_INFORMATION real;
    DWORD code = 1;
    for (int i = 1; i < count; i++)
        if (wcscmp(words[i], L"run") == 0)
            return 1;
    GetModuleFileNameW(NULL, program, 4096);
    name = wcsrchr(program, L'\\') + 1;
    wcscpy(name, L"real.exe");
    if (CreateProcessW(program, GetCommandLineW(), NULL, NULL, TRUE, 0, NULL, NULL, &start, &real)) {
        WaitForSingleObject(real.hProcess, INFINITE);
        GetExitCodeProcess(real.hProcess, &code);
    }
    return code;
}
