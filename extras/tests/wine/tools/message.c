/* message PROGRAM NUMBER TEXT: what Event Viewer shows of an event of a program, with a text in its one place. */
#include <stdlib.h>
#include <windows.h>

int wmain(int count, wchar_t **words) {
    wchar_t shown[1024];
    char bytes[4096];
    DWORD length, written;
    HMODULE program = count == 4 ? LoadLibraryExW(words[1], NULL, LOAD_LIBRARY_AS_DATAFILE) : NULL;
    DWORD_PTR texts[] = {count == 4 ? (DWORD_PTR)words[3] : 0};
    if (program == NULL) {
        return 2;
    }
    length = FormatMessageW(FORMAT_MESSAGE_FROM_HMODULE | FORMAT_MESSAGE_ARGUMENT_ARRAY, program, wcstoul(words[2], NULL, 0), 0, shown,
                            1024, (va_list *)texts);
    if (length == 0) {
        return 1;
    }
    length = WideCharToMultiByte(CP_UTF8, 0, shown, length, bytes, sizeof bytes, NULL, NULL);
    return !WriteFile(GetStdHandle(STD_OUTPUT_HANDLE), bytes, length, &written, NULL);
}
