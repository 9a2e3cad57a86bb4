// SPDX-License-Identifier: MIT
// Compiled regular expressions: the wrapper of PCRE2. A pattern comes from a configuration, a subject from a peer, so
// every match is bounded: steps per start position, stack, and CPU time over a long subject. A worker has one match
// block and one JIT stack for all patterns. Knows nothing of routes and scripts.
#ifndef PERI_CODEC_REGEX_H
#define PERI_CODEC_REGEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

struct peri_regex;

/// Flags of peri_regex_new.
enum peri_regex_flag {
    PERI_REGEX_CASELESS = 1,  ///< letters match in either case
    PERI_REGEX_MULTILINE = 2, ///< ^ and $ match at line breaks inside the subject too
    PERI_REGEX_DOTALL = 4,    ///< a dot matches a newline too
    PERI_REGEX_EXTENDED = 8,  ///< white space and # comments in the pattern are ignored
    PERI_REGEX_UTF = 16,      ///< pattern and subject are UTF-8; broken sequences in a subject match nothing
};

#define PERI_REGEX_SUBJECT (1 << 20) ///< most bytes of a subject
#define PERI_REGEX_SPANS 64          ///< most spans a match gives: the whole match and 63 groups

/// Bytes of the subject that the match or a group covers.
struct peri_regex_span {
    int32_t start; ///< offset of the first byte; -1 for a group that took no part in the match
    int32_t end;   ///< offset one past the last byte
};

/// Compiles `pattern` (PCRE2 syntax, at most 64 KiB, at most 63 groups).
/// @param flags any of enum peri_regex_flag
/// @param message where a refusal is explained, NUL-terminated and cut at `size` bytes; may be NULL when size is 0
/// @return owned by the caller, or NULL when the pattern is refused or memory is short
struct peri_regex *peri_regex_new(struct peri_slice pattern, uint32_t flags, char *message, size_t size);

/// Frees the expression; NULL is fine.
void peri_regex_free(struct peri_regex *regex);

/// Number of groups in the pattern, without the whole match.
uint32_t peri_regex_groups(const struct peri_regex *regex);

/// Name of group `group` (1 …), borrowed as long as the expression lives; empty when it has none.
struct peri_slice peri_regex_group_name(const struct peri_regex *regex, uint32_t group);

/// Finds the first match at or behind offset `from`.
/// @param spans receives the whole match and then each group, groups without part in the match as -1; may be NULL when
///        max is 0
/// @param max most spans to store; spans beyond the pattern's groups are not touched
/// @return PERI_OK; PERI_ERR_NOT_FOUND when nothing matches; PERI_ERR_LIMIT when the search costs too much or the subject is
///         longer than PERI_REGEX_SUBJECT (treat it as a failure, never as "no match"); PERI_ERR_INVALID when `from` lies
///         outside the subject; PERI_ERR_NOMEM
peri_err_t peri_regex_match(const struct peri_regex *regex, struct peri_slice subject, size_t from,
                            struct peri_regex_span *spans, uint32_t max);

/// Version of PCRE2 as linked.
const char *peri_regex_version(void);

/// Does anything in `subject` match? False also when a limit was reached.
static inline bool peri_regex_test(const struct peri_regex *regex, struct peri_slice subject)
{
    return peri_regex_match(regex, subject, 0, NULL, 0) == PERI_OK;
}

/// The bytes of `span` in the subject that was searched; ptr is NULL for a group without part in the match.
static inline struct peri_slice peri_regex_slice(struct peri_slice subject, struct peri_regex_span span)
{
    if (span.start < 0 || span.end < span.start)
        return peri_slice(NULL, 0);
    return peri_slice(subject.ptr + span.start, (size_t)(span.end - span.start));
}

#endif
