// SPDX-License-Identifier: MIT
// What the processes read out of a normalised configuration, and what they refuse.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "app/config.h"
#include "app/cpus.h"
#include "app/listen_plan.h"

static struct peri_config *parse(const char *text)
{
    char *errors;
    struct peri_config *config = peri_config_parse(peri_slice_from(text), &errors);
    if (!config)
        print_error("%s\n", errors);
    assert_non_null(config);
    assert_null(errors);
    return config;
}

static void assert_refused(const char *text, const char *expected)
{
    char *errors;
    assert_null(peri_config_parse(peri_slice_from(text), &errors));
    assert_non_null(errors);
    if (!strstr(errors, expected))
        fail_msg("%s does not contain %s", errors, expected);
    free(errors);
}

static void reads_every_setting(void **state)
{
    (void)state;
    struct peri_config *config =
        parse("{\"admin\":\"127.0.0.1:9901\",\"workers\":3,\"watch\":true,\"watchdog_ms\":500,\"drain_ms\":0,"
              "\"shared_memory\":1048576,\"lua_memory\":8388608,\"keep_generations\":2,"
              "\"listeners\":[{\"address\":\"0.0.0.0:80\"},{\"address\":\"unix:/tmp/s\"}]}");
    assert_true(peri_slice_eq(config->admin, PERI_SLICE("127.0.0.1:9901")));
    assert_int_equal(config->workers, 3);
    assert_false(config->is_single);
    assert_true(config->is_watched);
    assert_int_equal(config->watchdog_ms, 500);
    assert_int_equal(config->drain_ms, 0);
    assert_int_equal(config->shared_memory, 1048576);
    assert_int_equal(config->lua_memory, 8388608);
    assert_int_equal(config->keep_generations, 2);
    assert_int_equal(config->listener_count, 2);
    peri_config_free(config);
}

static void no_workers_is_one_process(void **state)
{
    (void)state;
    struct peri_config *config = parse("{\"workers\":0}");
    assert_true(config->is_single);
    assert_int_equal(config->workers, 1);
    peri_config_free(config);
}

static void auto_is_the_number_of_cpus(void **state)
{
    (void)state;
    struct peri_config *config = parse("{\"workers\":\"auto\"}");
    assert_int_equal(config->workers, peri_cpus_count());
    assert_false(config->is_single);
    peri_config_free(config);
}

static void refuses_what_is_out_of_bounds(void **state)
{
    (void)state;
    assert_refused("{\"workers\":257}", "workers");
    assert_refused("{\"workers\":-1}", "workers");
    assert_refused("{\"admin\":\"0.0.0.0:9901\"}", "loopback");
    assert_refused("{\"admin\":\"nonsense\"}", "admin");
    assert_refused("{\"listeners\":[{\"address\":\"example.org:80\"}]}", "listeners[1].address");
    assert_refused("{\"listeners\":[{\"address\":\"127.0.0.1:80\"},{\"address\":\"127.0.0.1:80\"}]}",
                   "another listener");
    assert_refused("[", "line 1");
}

static void refuses_more_listeners_than_a_message_carries(void **state)
{
    (void)state;
    char text[8192];
    int len = snprintf(text, sizeof(text), "{\"listeners\":[");
    for (int i = 0; i <= PERI_CONFIG_LISTENERS; i++)
        len += snprintf(text + len, sizeof(text) - (size_t)len, "%s{\"address\":\"127.0.0.1:%d\"}", i ? "," : "",
                        8000 + i);
    snprintf(text + len, sizeof(text) - (size_t)len, "]}");
    assert_refused(text, "at most 64");
}

static void names_the_setting_that_cannot_change(void **state)
{
    (void)state;
    static const char *const rows[][3] = {
        {"{\"workers\":2}", "{\"workers\":3}", "workers"},
        {"{\"workers\":1}", "{\"workers\":0}", "workers"},
        {"{\"workers\":\"auto\"}", "{\"workers\":0}", "workers"},
        {"{\"workers\":\"auto\"}", "{\"workers\":\"auto\"}", NULL},
        {"{\"admin\":\"unix:/a\"}", "{\"admin\":\"unix:/b\"}", "admin"},
        {"{\"watchdog_ms\":1}", "{\"watchdog_ms\":2}", "watchdog"},
        {"{\"shared_memory\":1}", "{\"shared_memory\":2}", "shared_memory"},
        {"{\"lua_memory\":1}", "{\"lua_memory\":2}", "lua_memory"},
        {"{\"drain_ms\":1,\"watch\":true}", "{\"drain_ms\":2,\"listeners\":[]}", NULL},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct peri_config *from = parse(rows[i][0]), *to = parse(rows[i][1]);
        const char *name = peri_config_fixed_change(from, to);
        if (rows[i][2])
            assert_string_equal(name, rows[i][2]);
        else
            assert_null(name);
        peri_config_free(from);
        peri_config_free(to);
    }
}

static void a_listen_plan_is_the_difference_and_survives_its_text_form(void **state)
{
    (void)state;
    struct peri_listen_plan plan, read;
    struct peri_config *from = parse("{\"listeners\":[{\"address\":\"127.0.0.1:1\"},{\"address\":\"127.0.0.1:2\"}]}");
    struct peri_config *to =
        parse("{\"listeners\":[{\"address\":\"127.0.0.1:2\"},{\"address\":\"unix:/x\"},{\"address\":\"[::1]:3\"}]}");
    peri_listen_plan_make(&plan, from, to);
    assert_int_equal(plan.add_count, 2);
    assert_int_equal(plan.remove_count, 1);
    struct peri_slice text = peri_listen_plan_format(&plan);
    assert_int_equal(peri_listen_plan_parse(text, &read), PERI_OK);
    assert_int_equal(read.add_count, 2);
    assert_true(peri_slice_eq(read.add[0], PERI_SLICE("unix:/x")));
    assert_true(peri_slice_eq(read.add[1], PERI_SLICE("[::1]:3")));
    assert_int_equal(read.remove_count, 1);
    assert_true(peri_slice_eq(read.remove[0], PERI_SLICE("127.0.0.1:1")));
    free((void *)text.ptr);
    peri_listen_plan_make(&plan, NULL, to);
    assert_int_equal(plan.add_count, 3);
    assert_int_equal(plan.remove_count, 0);
    peri_config_free(from);
    peri_config_free(to);
}

static void a_listen_plan_that_is_none_is_refused(void **state)
{
    (void)state;
    struct peri_listen_plan plan;
    assert_int_equal(peri_listen_plan_parse(PERI_SLICE(""), &plan), PERI_OK);
    assert_int_equal(peri_listen_plan_parse(PERI_SLICE("+127.0.0.1:1"), &plan), PERI_ERR_INVALID);
    assert_int_equal(peri_listen_plan_parse(PERI_SLICE("x\0"), &plan), PERI_ERR_INVALID);
}

static void a_cgroup_quota_is_rounded_up_to_cpus(void **state)
{
    (void)state;
    assert_int_equal(peri_cpus_quota(PERI_SLICE("150000 100000\n")), 2);
    assert_int_equal(peri_cpus_quota(PERI_SLICE("100000 100000\n")), 1);
    assert_int_equal(peri_cpus_quota(PERI_SLICE("1000 100000\n")), 1);
    assert_int_equal(peri_cpus_quota(PERI_SLICE("max 100000\n")), 0);
    assert_int_equal(peri_cpus_quota(PERI_SLICE("")), 0);
    assert_int_equal(peri_cpus_quota(PERI_SLICE("5 0")), 0);
    assert_true(peri_cpus_count() >= 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_setting),
        cmocka_unit_test(no_workers_is_one_process),
        cmocka_unit_test(auto_is_the_number_of_cpus),
        cmocka_unit_test(refuses_what_is_out_of_bounds),
        cmocka_unit_test(refuses_more_listeners_than_a_message_carries),
        cmocka_unit_test(names_the_setting_that_cannot_change),
        cmocka_unit_test(a_listen_plan_is_the_difference_and_survives_its_text_form),
        cmocka_unit_test(a_listen_plan_that_is_none_is_refused),
        cmocka_unit_test(a_cgroup_quota_is_rounded_up_to_cpus),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
