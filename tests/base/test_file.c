#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

/* A fresh directory for each test; paths are relative to it. */
static char directory[] = TEST_TEMPORARY "/file.XXXXXX";

static int enter_directory(void **state)
{
    (void)state;
    memcpy(directory + sizeof directory - 7, "XXXXXX", 6);
    return mkdtemp(directory) && chdir(directory) == 0 ? 0 : -1;
}

static int remove_directory(void **state)
{
    (void)state;
    DIR *d = opendir(".");
    if (!d) {
        return -1;
    }
    for (struct dirent *entry; (entry = readdir(d));) {
        unlink(entry->d_name);
        rmdir(entry->d_name);
    }
    closedir(d);
    return chdir("/") == 0 && rmdir(directory) == 0 ? 0 : -1;
}

static int n_entries(void)
{
    int n = 0;
    DIR *d = opendir(".");
    assert_non_null(d);
    for (struct dirent *entry; (entry = readdir(d));) {
        n += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    }
    closedir(d);
    return n;
}

static void put_text(const char *path, const char *text)
{
    FILE *stream = fopen(path, "wb");
    assert_non_null(stream);
    assert_true(fputs(text, stream) >= 0);
    assert_int_equal(fclose(stream), 0);
}

static void assert_content(const char *path, const char *expected)
{
    char text[64];
    FILE *stream = fopen(path, "rb");
    assert_non_null(stream);
    size_t n = fread(text, 1, sizeof text - 1, stream);
    text[n] = '\0';
    fclose(stream);
    assert_string_equal(text, expected);
}

static void open_writer(file_writer *w, const char *path)
{
    dsv4_error err = {0};
    if (file_writer_open(w, path, &err) != DSV4_OK) {
        fail_msg("%s", err.text);
    }
}

static void commit_writer(file_writer *w)
{
    dsv4_error err = {0};
    if (file_writer_commit(w, &err) != DSV4_OK) {
        fail_msg("%s", err.text);
    }
}

/* The old file stays whole until commit, and the new one is whole after it. */
static void test_commit_replaces(void **state)
{
    (void)state;
    put_text("a", "old content, longer");
    file_writer w;
    open_writer(&w, "a");
    fputs("new", w.stream);
    fflush(w.stream);
    assert_content("a", "old content, longer");
    assert_int_equal(n_entries(), 2);
    commit_writer(&w);
    assert_content("a", "new");
    assert_int_equal(n_entries(), 1);
}

static void test_commit_creates(void **state)
{
    (void)state;
    mode_t mask = umask(027);
    file_writer w;
    open_writer(&w, "a");
    assert_int_equal(access("a", F_OK), -1);
    fputs("first", w.stream);
    commit_writer(&w);
    umask(mask);
    assert_content("a", "first");
    struct stat info;
    assert_int_equal(stat("a", &info), 0);
    assert_int_equal(info.st_mode & 0777, 0640);
}

static void test_abort_leaves_old(void **state)
{
    (void)state;
    put_text("a", "old");
    file_writer w;
    open_writer(&w, "a");
    fputs("new", w.stream);
    file_writer_abort(&w);
    assert_content("a", "old");
    assert_int_equal(n_entries(), 1);
}

static void test_abort_after_commit_does_nothing(void **state)
{
    (void)state;
    file_writer w;
    open_writer(&w, "a");
    fputs("new", w.stream);
    commit_writer(&w);
    file_writer_abort(&w);
    assert_content("a", "new");
}

static void test_two_writers_of_one_target(void **state)
{
    (void)state;
    file_writer first, second;
    open_writer(&first, "a");
    open_writer(&second, "a");
    fputs("first", first.stream);
    fputs("second", second.stream);
    commit_writer(&second);
    assert_content("a", "second");
    commit_writer(&first);
    assert_content("a", "first");
    assert_int_equal(n_entries(), 1);
}

static void check_open_fails(const char *path, const char *named)
{
    file_writer w;
    dsv4_error err = {0};
    assert_int_equal(file_writer_open(&w, path, &err), DSV4_E_IO);
    if (!strstr(err.text, named)) {
        fail_msg("message '%s' does not name '%s'", err.text, named);
    }
    file_writer_abort(&w);
    dsv4_error same = {0};
    assert_int_equal(file_check_writable(path, &same), DSV4_E_IO);
    assert_string_equal(same.text, err.text);
}

static void test_check_leaves_all_as_it_was(void **state)
{
    (void)state;
    dsv4_error err = {0};
    put_text("a", "old");
    assert_int_equal(file_check_writable("a", &err), DSV4_OK);
    assert_content("a", "old");
    assert_int_equal(file_check_writable("new", &err), DSV4_OK);
    assert_int_equal(file_check_writable("-", &err), DSV4_OK);
    assert_int_equal(n_entries(), 1);
    assert_int_equal(mkfifo("pipe", 0666), 0); /* without a reader, for which opening it would wait */
    assert_int_equal(file_check_writable("pipe", &err), DSV4_OK);
    assert_int_equal(n_entries(), 2);
}

static void test_open_fails(void **state)
{
    (void)state;
    put_text("a", "old");
    assert_int_equal(mkdir("d", 0777), 0);
    check_open_fails("missing/b", "missing/b: cannot write: No such file or directory");
    check_open_fails("a/b", "a/b: cannot write: Not a directory");
    check_open_fails("d", "d: cannot write: Is a directory");
    check_open_fails("", "path of 0 bytes");
    char path[FILE_PATH_BYTES + 1];
    memset(path, 'x', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    check_open_fails(path, "path of 4096 bytes, expected 1 to 4095");
    path[sizeof path - 2] = '\0';
    check_open_fails(path, "File name too long");
    assert_int_equal(n_entries(), 2);
}

static void test_open_in_read_only_directory(void **state)
{
    (void)state;
    if (geteuid() == 0) {
        skip(); /* the superuser may write anywhere */
    }
    assert_int_equal(mkdir("d", 0555), 0);
    check_open_fails("d/a", "d/a: cannot write: Permission denied");
}

/* A limit on the file's size stands for a full disk, which has room again when commit comes: what was lost before counts. */
static void test_failed_write_leaves_old(void **state)
{
    (void)state;
    put_text("a", "old");
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    const struct rlimit small = {1000, before.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    file_writer w;
    open_writer(&w, "a");
    for (int i = 0; i < 10000; i++) {
        fputs("0123456789", w.stream);
    }
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, SIG_DFL);
    dsv4_error err = {0};
    assert_int_equal(file_writer_commit(&w, &err), DSV4_E_IO);
    assert_non_null(strstr(err.text, "a: cannot write: "));
    assert_content("a", "old");
    assert_int_equal(n_entries(), 1);
}

/* By way of a link, so that a writer which replaced the device would only replace the link. */
static void test_full_device(void **state)
{
    (void)state;
    if (access("/dev/full", W_OK) != 0) {
        skip();
    }
    assert_int_equal(symlink("/dev/full", "full"), 0);
    file_writer w;
    open_writer(&w, "full");
    fputs("text", w.stream);
    dsv4_error err = {0};
    assert_int_equal(file_writer_commit(&w, &err), DSV4_E_IO);
    assert_string_equal(err.text, "full: cannot write: No space left on device");
    struct stat info;
    assert_int_equal(lstat("full", &info), 0);
    assert_true(S_ISLNK(info.st_mode));
}

static void test_pipe_is_written_directly(void **state)
{
    (void)state;
    assert_int_equal(mkfifo("p", 0666), 0);
    int reader = open("p", O_RDONLY | O_NONBLOCK);
    assert_true(reader >= 0);
    file_writer w;
    open_writer(&w, "p");
    fputs("text", w.stream);
    commit_writer(&w);
    char text[8] = {0};
    assert_int_equal(read(reader, text, sizeof text), 4);
    assert_string_equal(text, "text");
    close(reader);
    assert_int_equal(n_entries(), 1);
}

static void test_standard_output(void **state)
{
    (void)state;
    fflush(stdout);
    int saved = dup(STDOUT_FILENO), target = open("a", O_WRONLY | O_CREAT | O_TRUNC, 0666);
    assert_true(saved >= 0 && target >= 0);
    assert_true(dup2(target, STDOUT_FILENO) >= 0);
    file_writer w;
    open_writer(&w, "-");
    fputs("to standard output", w.stream);
    commit_writer(&w);
    bool still_open = fcntl(STDOUT_FILENO, F_GETFD) >= 0;
    assert_true(dup2(saved, STDOUT_FILENO) >= 0);
    close(saved);
    close(target);
    assert_true(still_open);
    assert_content("a", "to standard output");
    assert_int_equal(n_entries(), 1);
}

#define FILE_TEST(test) cmocka_unit_test_setup_teardown(test, enter_directory, remove_directory)

static void test_read_whole(void **state)
{
    (void)state;
    dsv4_error err = {0};
    char *bytes = NULL;
    size_t n = 0;
    put_text("a", "twelve bytes");
    assert_int_equal(file_read("a", 12, &bytes, &n, &err), DSV4_OK);
    assert_int_equal(n, 12);
    assert_string_equal(bytes, "twelve bytes");
    free(bytes);
    put_text("empty", "");
    assert_int_equal(file_read("empty", 0, &bytes, &n, &err), DSV4_OK);
    assert_int_equal(n, 0);
    free(bytes);
}

static void test_read_refuses(void **state)
{
    (void)state;
    dsv4_error err = {0};
    char *bytes = NULL;
    size_t n = 77;
    put_text("a", "twelve bytes");
    assert_int_equal(file_read("a", 11, &bytes, &n, &err), DSV4_E_FORMAT);
    assert_string_equal(err.text, "a: got 12 bytes, expected at most 11");
    assert_int_equal(file_read("none", 11, &bytes, &n, &err), DSV4_E_NOT_FOUND);
    assert_int_equal(file_read(".", 1 << 20, &bytes, &n, &err), DSV4_E_IO);
    assert_int_equal(mkfifo("pipe", 0666), 0);
    assert_int_equal(file_read("pipe", 11, &bytes, &n, &err), DSV4_E_IO); /* and does not wait for a writer */
    assert_string_equal(err.text, "pipe: not a regular file");
    assert_int_equal(symlink("loop", "loop"), 0);
    assert_int_equal(file_read("loop", 11, &bytes, &n, &err), DSV4_E_IO);
    assert_true(bytes == NULL && n == 77);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FILE_TEST(test_commit_replaces),
        FILE_TEST(test_commit_creates),
        FILE_TEST(test_abort_leaves_old),
        FILE_TEST(test_abort_after_commit_does_nothing),
        FILE_TEST(test_two_writers_of_one_target),
        FILE_TEST(test_check_leaves_all_as_it_was),
        FILE_TEST(test_open_fails),
        FILE_TEST(test_open_in_read_only_directory),
        FILE_TEST(test_failed_write_leaves_old),
        FILE_TEST(test_full_device),
        FILE_TEST(test_pipe_is_written_directly),
        FILE_TEST(test_standard_output),
        FILE_TEST(test_read_whole),
        FILE_TEST(test_read_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
