/* Stands in for the programs, on Windows and on Linux. Says in the directory $STAND_IN what it was called with (a line in `calls`
 * for each argument, a line of its own for each call), keeps a copy of what --nssm names, and answers as the files VERB.out,
 * VERB.err and VERB.code there want it to; a verb is "service-install" for `service install`. NAME and VERSION are given when
 * it is compiled, and maybe NEEDS, for a library that it calls, or KNOWS, for a text that is in it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef _WIN32
#include <fcntl.h>
#include <io.h>
#include <wchar.h>
#include <windows.h>
#include <shellapi.h>

static wchar_t *wide(const char *text) {
    int size = MultiByteToWideChar(CP_UTF8, 0, text, -1, NULL, 0);
    wchar_t *result = calloc(size, sizeof *result);
    MultiByteToWideChar(CP_UTF8, 0, text, -1, result, size);
    return result;
}

static char *narrow(const wchar_t *text) {
    int size = WideCharToMultiByte(CP_UTF8, 0, text, -1, NULL, 0, NULL, NULL);
    char *result = calloc(size, 1);
    WideCharToMultiByte(CP_UTF8, 0, text, -1, result, size, NULL, NULL);
    return result;
}

static FILE *open_file(const char *path, const char *mode) {
    return _wfopen(wide(path), wide(mode));
}

static const char *directory(void) {
    const wchar_t *value = _wgetenv(L"STAND_IN");
    return value ? narrow(value) : NULL;
}
#else
static FILE *open_file(const char *path, const char *mode) {
    return fopen(path, mode);
}

static const char *directory(void) {
    return getenv("STAND_IN");
}
#endif

#ifdef NEEDS
int answer(void);
#endif
#ifdef KNOWS
const char *volatile known = KNOWS;
#endif

static FILE *open_answer(const char *verb, const char *kind, const char *mode) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s%s", directory(), verb, kind);
    return open_file(path, mode);
}

static void copy(FILE *from, FILE *to) {
    int byte;
    while (from && to && (byte = getc(from)) != EOF) putc(byte, to);
    if (from) fclose(from);
    fflush(to);
}

int main(int count, char **arguments) {
    char verb[256] = "";
    int code = 0;
#ifdef _WIN32
    wchar_t **all = CommandLineToArgvW(GetCommandLineW(), &count);
    arguments = calloc(count + 1, sizeof *arguments);
    for (int at = 0; at < count; at++) arguments[at] = narrow(all[at]);
    _setmode(_fileno(stdout), _O_BINARY);
    _setmode(_fileno(stderr), _O_BINARY);
#endif
    if (count == 2 && !strcmp(arguments[1], "--version")) return printf("%s %s\n", NAME, VERSION) < 0;
    if (count == 3 && !strcmp(arguments[1], "generate")) return printf("%s of %s\n", arguments[2], NAME) < 0;
    if (!directory() || count < 2) return 64;
#ifdef NEEDS
    if (answer() != 42) return 70;
#endif
    snprintf(verb, sizeof verb, "%s%s%s", arguments[1], strcmp(arguments[1], "service") ? "" : "-",
             strcmp(arguments[1], "service") ? "" : arguments[2]);
    FILE *calls = open_answer("calls", "", "ab");
    fprintf(calls, "call %s\n", NAME);
    for (int at = 1; at < count; at++) fprintf(calls, "[%s]\n", arguments[at]);
    fclose(calls);
    for (int at = 1; at + 1 < count; at++) {
        if (!strcmp(arguments[at], "--nssm")) {
            FILE *kept = open_answer("nssm", "", "wb");
            copy(open_file(arguments[at + 1], "rb"), kept);
            fclose(kept);
        }
    }
    copy(open_answer(verb, ".out", "rb"), stdout);
    copy(open_answer(verb, ".err", "rb"), stderr);
    FILE *file = open_answer(verb, ".code", "r");
    if (file) {
        if (fscanf(file, "%d", &code) != 1) code = 70;
        fclose(file);
    }
    return code;
}
