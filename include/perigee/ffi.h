/* SPDX-License-Identifier: MIT
 *
 * The FFI ABI between the runtime and its Lua SDK: one header, read by the C compiler, by ffi.cdef and by the manual's generator.
 * Rules: flat functions; fixed-width integers; (pointer, length) for bytes; results in memory the caller owns; no macros,
 * no varargs, no callbacks, no structs by value. No function here ever calls back into Lua. Lines that begin with '#' are
 * skipped when the text is given to ffi.cdef; nothing else may be conditional.
 *
 * PERI_ABI changes with every change of this file; the SDK refuses to load when the numbers differ.
 */
#ifndef PERIGEE_FFI_H
#define PERIGEE_FFI_H
#include <stddef.h>
#include <stdint.h>

/* ---- core ------------------------------------------------------------------------------------------------ */

enum { PERI_ABI = 7 };

/** A borrowed run of bytes. Valid until the next call on the same exchange unless the function says otherwise. */
struct peri_ffi_str {
    const char *ptr;
    size_t len;
};

/** ABI number the runtime was compiled with. */
int32_t peri_ffi_abi(void);

/* ---- exchange: request, response, headers, bodies (script/ffi_exchange.c) --------------------------------- */

/** Most policies on one route. */
enum { PERI_FFI_STEPS_MAX = 64 };

/** What became of a policy of the chain in this exchange. */
enum { PERI_FFI_STEP_IDLE = 0, PERI_FFI_STEP_ENTERED = 1, PERI_FFI_STEP_SKIPPED = 2 };

/** The handle on an exchange. Its memory is never freed; `gen` changes when the exchange ends, so that a Lua object that
 *  remembers another number is stale. It is a random whole number of 53 bits: nobody guesses that of another exchange. */
struct peri_ffi_slot {
    int32_t id;
    double gen;
    const char *ptr; /**< bytes of the last answer, valid until the next call on the same exchange */
    size_t len;
    int32_t is_unwound;                /**< the response hooks have run, on an answer of the proxy itself */
    uint8_t steps[PERI_FFI_STEPS_MAX]; /**< PERI_FFI_STEP_* of each policy, in the order of the chain */
};

/** Texts of a request. */
enum {
    PERI_FFI_METHOD = 1,
    PERI_FFI_SCHEME = 2,
    PERI_FFI_HOST = 3,
    PERI_FFI_PATH = 4,
    PERI_FFI_QUERY = 5,
    PERI_FFI_CONSUMER = 6,
    PERI_FFI_REQUEST_ID = 7,
    PERI_FFI_CLIENT_IP = 8,
    PERI_FFI_UPSTREAM = 9,
    PERI_FFI_ENDPOINT = 10,
    PERI_FFI_TLS_VERSION = 11, /**< of the client's connection, like those below; none without TLS */
    PERI_FFI_TLS_CIPHER = 12,
    PERI_FFI_TLS_SERVER_NAME = 13,
    PERI_FFI_TLS_ALPN = 14,
    PERI_FFI_PEER_SUBJECT = 15, /**< of the verified client certificate, like those below; none without one */
    PERI_FFI_PEER_ISSUER = 16,
    PERI_FFI_PEER_SPIFFE_ID = 17,
    PERI_FFI_PEER_FINGERPRINT = 18
};

/** Numbers of an exchange. */
enum {
    PERI_FFI_VERSION = 1,
    PERI_FFI_CLIENT_PORT = 2,
    PERI_FFI_ATTEMPTS = 3,
    PERI_FFI_STATUS = 4,
    PERI_FFI_DURATION = 5,
    PERI_FFI_BYTES_IN = 6,
    PERI_FFI_BYTES_OUT = 7,
    PERI_FFI_LENGTH = 8,   /**< announced by the request; negative for none, or unknown */
    PERI_FFI_DEADLINE = 9, /**< on the clock of peri_ffi_monotonic; 0: the client set none */
    PERI_FFI_FLAGS = 10    /**< PERI_FFI_FLAG_* that policies have set */
};

/** Header lists of an exchange. */
enum {
    PERI_FFI_REQUEST_HEADERS = 0,
    PERI_FFI_RESPONSE_HEADERS = 1,
    PERI_FFI_REQUEST_TRAILERS = 2,
    PERI_FFI_RESPONSE_TRAILERS = 3
};

/** Sides of an exchange. */
enum { PERI_FFI_REQUEST = 0, PERI_FFI_RESPONSE = 1 };

/** Verdicts that an entry returns to the runtime. */
enum { PERI_FFI_CONTINUE = 0, PERI_FFI_REPLY = 1, PERI_FFI_FORWARD = 2, PERI_FFI_FAIL = 3 };

/** The slot with this id; NULL when there is none. */
struct peri_ffi_slot *peri_ffi_slot(int32_t id);

/** Sets ptr and len to a text of the exchange. 1, or 0 when it has none. */
int32_t peri_ffi_text(struct peri_ffi_slot *slot, int32_t which);

/** A number of the exchange; durations in seconds. */
double peri_ffi_number(struct peri_ffi_slot *slot, int32_t which);

/** Sets ptr and len to the name `index`, from 0, of the verified client certificate: DNS names, URIs, e-mail and IP addresses. 1, or
 *  0 when it is beyond the last. */
int32_t peri_ffi_peer_san(struct peri_ffi_slot *slot, int32_t index);

/** Changes a text of the request that was not sent yet. 0, or an error code (peri_ffi_error_text). */
int32_t peri_ffi_set_text(struct peri_ffi_slot *slot, int32_t which, const char *ptr, size_t len);

/** Sets ptr and len to the path capture `index`, from 0. 1, or 0 when it is beyond the last. */
int32_t peri_ffi_capture(struct peri_ffi_slot *slot, int32_t index);

/** Sets ptr and len to the value of the first header with this name in any case. 1, or 0 when there is none. */
int32_t peri_ffi_header_get(struct peri_ffi_slot *slot, int32_t list, const char *name, size_t len);

/** Sets ptr and len to the credentials behind `scheme` (any case) and spaces in the header with this name (RFC 9110 11.4). 1; 0 when
 *  there is no such header, -1 when its scheme is another one, -2 when it occurs more than once. */
int32_t peri_ffi_header_credentials(struct peri_ffi_slot *slot, int32_t list, const char *name, size_t len,
                                    const char *scheme, size_t scheme_len);

/** Sets ptr and len to the value of the first header with this name at or behind place `from`, from 0. The place behind it, or
 *  0 when there is none. */
int32_t peri_ffi_header_next(struct peri_ffi_slot *slot, int32_t list, const char *name, size_t len, int32_t from);

/** Sets ptr and len to the value of the header at place `index`, from 0, and `name` to its name. 1, or 0 beyond the last. */
int32_t peri_ffi_header_at(struct peri_ffi_slot *slot, int32_t list, int32_t index, struct peri_ffi_str *name);

/** Makes the header occur once with this value. 0, or an error code. */
int32_t peri_ffi_header_set(struct peri_ffi_slot *slot, int32_t list, const char *name, size_t name_len,
                            const char *value, size_t value_len);

/** Appends a header. 0, or an error code. */
int32_t peri_ffi_header_add(struct peri_ffi_slot *slot, int32_t list, const char *name, size_t name_len,
                            const char *value, size_t value_len);

/** Removes every header of this name. 0, or an error code. */
int32_t peri_ffi_header_remove(struct peri_ffi_slot *slot, int32_t list, const char *name, size_t len);

/** Sets ptr and len to the encoded value of the first query parameter with this (decoded) name. 1, or 0 for none. */
int32_t peri_ffi_query_get(struct peri_ffi_slot *slot, const char *name, size_t len);

/** Sets ptr and len to the value of the first cookie with this name. 1, or 0 for none. */
int32_t peri_ffi_cookie_get(struct peri_ffi_slot *slot, const char *name, size_t len);

/** Changes the status of the response. 0, or an error code. */
int32_t peri_ffi_set_status(struct peri_ffi_slot *slot, int32_t status);

/** Begins an answer of the proxy itself: status, no headers, `body`. 0, or an error code. */
int32_t peri_ffi_reply(struct peri_ffi_slot *slot, int32_t status, const char *body, size_t len);

/** Notes why the exchange fails: a policy's fault, or with `is_handler` the handler's. */
void peri_ffi_fail(struct peri_ffi_slot *slot, int32_t is_handler);

/** Says what made the exchange fail, for whoever develops the script; not for clients. */
void peri_ffi_failure(struct peri_ffi_slot *slot, const char *text, size_t len);

/** Chooses the upstream and, when not empty, the endpoint. 0, or an error code. */
int32_t peri_ffi_choose(struct peri_ffi_slot *slot, const char *upstream, size_t upstream_len, const char *endpoint,
                        size_t endpoint_len);

/** What a script wishes of the choice of the endpoint: the key by which it is made; labels that it must have ("name", 0, "value", 0, …);
 *  the address for the coming attempt. */
enum { PERI_FFI_WISH_KEY = 1, PERI_FFI_WISH_LABELS = 2, PERI_FFI_WISH_ENDPOINT = 3 };

/** An endpoint of the upstream that the request goes to, in this worker. */
struct peri_ffi_endpoint {
    uint32_t active;      /**< requests under way */
    int32_t is_available; /**< 1 or 0 */
};

/** Decides now to which upstream the request goes, and sets ptr and len to its name. 1, or 0 when it goes to none. */
int32_t peri_ffi_target(struct peri_ffi_slot *slot);

/** The state of endpoint `index`, from 0, in the order of the configuration, of that upstream. 0, or an error code. */
int32_t peri_ffi_endpoint(struct peri_ffi_slot *slot, int32_t index, struct peri_ffi_endpoint *state);

/** Notes a wish (PERI_FFI_WISH_*), in place of an earlier one of its kind. 0, or an error code. */
int32_t peri_ffi_wish(struct peri_ffi_slot *slot, int32_t which, const char *ptr, size_t len);

/** How long an exchange may take, beside what the configuration says: until the response, for each attempt, without a byte of the response,
 *  for the whole exchange; after how long a second attempt is made; how long the client waits. */
enum {
    PERI_FFI_LIMIT_REQUEST = 1,
    PERI_FFI_LIMIT_PER_TRY = 2,
    PERI_FFI_LIMIT_IDLE = 3,
    PERI_FFI_LIMIT_STREAM = 4,
    PERI_FFI_LIMIT_HEDGE = 5,
    PERI_FFI_LIMIT_DEADLINE = 6
};

/** Sets a limit (PERI_FFI_LIMIT_*) in seconds; 0 is none. A deadline can only come nearer. 0, or an error code. */
int32_t peri_ffi_limit(struct peri_ffi_slot *slot, int32_t which, double seconds);

/** Response flags that a policy may set, in the letters of the access log; each is a bit. */
enum {
    PERI_FFI_FLAG_DI = 1,
    PERI_FFI_FLAG_FI = 2,
    PERI_FFI_FLAG_RL = 4,
    PERI_FFI_FLAG_RLSE = 8,
    PERI_FFI_FLAG_UAEX = 16,
    PERI_FFI_FLAG_UO = 32
};

/** Sets response flags (PERI_FFI_FLAG_*) of the exchange beside those that it has; other bits mean nothing. */
void peri_ffi_flag(struct peri_ffi_slot *slot, int32_t flags);

/** Asks for the whole body of a side, at most `limit` bytes. 0 when it is there; -1 when the caller has to yield and then ask
 *  peri_ffi_woken; an error code when it cannot be had. */
int32_t peri_ffi_body_want(struct peri_ffi_slot *slot, int32_t side, double limit);

/** Bytes of the queued body of a side. */
double peri_ffi_body_len(struct peri_ffi_slot *slot, int32_t side);

/** Copies the queued body to `out`, which has room for all of it. */
void peri_ffi_body_copy(struct peri_ffi_slot *slot, int32_t side, char *out);

/** Replaces the body of a side. 0, or an error code. */
int32_t peri_ffi_body_set(struct peri_ffi_slot *slot, int32_t side, const char *ptr, size_t len);

/** Lowers the limit of the request body. */
void peri_ffi_body_limit(struct peri_ffi_slot *slot, double limit);

/** Counts a call of a policy (an id of peri_ffi_policy_id) that ends now and began where the last one ended. The next one has its
 *  budget to itself. */
void peri_ffi_step(int32_t policy, int32_t is_error);

/** A sentence for an error code. */
const char *peri_ffi_error_text(int32_t code);

/** Its stable name, such as "upstream_timeout". Never NULL. */
const char *peri_ffi_error_name(int32_t code);

/** The reason phrase of a status (RFC 9110 15); "Unknown" for one without. */
const char *peri_ffi_status_text(int32_t status);

/* ---- dry runs and traces (script/ffi_head.c) --------------------------------------------------------------- */

/** Most copies of the heads of one exchange at a time. */
enum { PERI_FFI_HEADS_MAX = 64 };

/** Copies what hooks can change of an exchange: both heads, consumer and request id. The place of the copy, from 0; -1 when it is too late to
 *  change anything, -2 when memory or places are exhausted. */
int32_t peri_ffi_head_keep(struct peri_ffi_slot *slot);

/** Exchanges the heads with the copy at `place`. */
void peri_ffi_head_swap(struct peri_ffi_slot *slot, int32_t place);

/** Forgets the copy at `place`. */
void peri_ffi_head_drop(struct peri_ffi_slot *slot, int32_t place);

/** What a dry run would have done. */
enum { PERI_FFI_WOULD_ANSWER = 0, PERI_FFI_WOULD_FAIL = 1, PERI_FFI_WOULD_CHANGE = 2 };

/** Counts that a policy (an id of peri_ffi_policy_id) in a dry run would have done something: PERI_FFI_WOULD_*. */
void peri_ffi_policy_would(int32_t id, int32_t would);

/** Adds a decision, a JSON object, to the trace of the exchange. */
void peri_ffi_trace(struct peri_ffi_slot *slot, const char *json, size_t len);

/** 1 when the name of a header or a query parameter says that its value is a secret. */
int32_t peri_ffi_is_secret(const char *name, size_t len);

/** Monotonic time in microseconds, as of now. */
double peri_ffi_clock(void);

/* ---- shared memory: dictionaries and token buckets (script/ffi_shared.c) ----------------------------------- */

/** Types of a value. */
enum { PERI_FFI_NONE = 0, PERI_FFI_STRING = 1, PERI_FFI_NUMBER = 2, PERI_FFI_BOOLEAN = 3 };

/** A value of a dictionary. A string that is read is valid until the next peri_ffi_shared function. */
struct peri_ffi_value {
    int32_t type;  /**< PERI_FFI_NONE … */
    double number; /**< of a number; 0 or 1 of a boolean */
    const char *ptr;
    size_t len;
};

/** Why an operation on a dictionary failed. */
enum { PERI_FFI_SHARED_INVALID = -1, PERI_FFI_SHARED_NOMEM = -2, PERI_FFI_SHARED_TYPE = -3 };

/** When peri_ffi_shared_put stores: always, only without, only with an entry. */
enum { PERI_FFI_SHARED_SET = 0, PERI_FFI_SHARED_ADD = 1, PERI_FFI_SHARED_REPLACE = 2 };

/** Number of the dictionary of this name, the same in every worker; -1 when the name or one dictionary more is not possible. */
int32_t peri_ffi_shared_open(const char *name, size_t len);

/** Reads an entry into *out: 0 (type NONE when there is none) or an error. */
int32_t peri_ffi_shared_get(int32_t dict, const char *key, size_t len, struct peri_ffi_value *out);

/** Stores a value with `ttl` seconds to live (0: for ever): 1 when stored, 0 when `mode` is against it, or an error. */
int32_t peri_ffi_shared_put(int32_t dict, const char *key, size_t len, const struct peri_ffi_value *value, int32_t mode,
                            double ttl);

/** Stores `value` (NONE: removes) when the entry equals `expected` (NONE: is absent): 1, 0 when it does not, or an error. */
int32_t peri_ffi_shared_swap(int32_t dict, const char *key, size_t len, const struct peri_ffi_value *expected,
                             const struct peri_ffi_value *value, double ttl);

/** Adds to a number, which begins as `init` with `ttl` seconds to live (0: for ever), and gives the sum: 0 or an error. */
int32_t peri_ffi_shared_incr(int32_t dict, const char *key, size_t len, double by, double init, double ttl,
                             double *sum);

/** Removes an entry: 1, or 0 when there was none. */
int32_t peri_ffi_shared_remove(int32_t dict, const char *key, size_t len);

/** Seconds that an entry has to live, infinite when for ever: 1, or 0 when there is none. */
int32_t peri_ffi_shared_ttl(int32_t dict, const char *key, size_t len, double *ttl);

/** Gives an entry `ttl` seconds to live from now (0: for ever): 1, or 0 when there is none. */
int32_t peri_ffi_shared_expire(int32_t dict, const char *key, size_t len, double ttl);

/** Writes up to `limit` keys to `out`, each behind its length (uint16_t), as many as fit: their number. */
int32_t peri_ffi_shared_keys(int32_t dict, uint32_t limit, char *out, size_t size);

/** Removes every entry of the dictionary. */
void peri_ffi_shared_flush(int32_t dict);

/** What a take from a token bucket gave; times in seconds. */
struct peri_ffi_bucket {
    double remaining;   /**< tokens left */
    double retry_after; /**< until the same take can succeed; 0 when it did, infinite when it never can */
    double reset;       /**< until the bucket is full */
};

/** Takes `cost` tokens from the bucket at a key, which fills with `rate` tokens a second up to `burst`: 1, 0 when refused, or an
 *  error. */
int32_t peri_ffi_shared_take(int32_t dict, const char *key, size_t len, double rate, double burst, double cost,
                             struct peri_ffi_bucket *out);

/* ---- the CPU budget (script/watchdog.c) ------------------------------------------------------------------- */

/** Milliseconds of CPU time that a hook may use, unless the use of the policy says otherwise. */
enum { PERI_FFI_BUDGET_MS = 50 };

/** What the watchdog knows of the script that runs. */
struct peri_ffi_watch {
    double budget;          /**< seconds of CPU time it may use */
    double since;           /**< CPU clock when its time began; 0: begins with the next tick */
    int32_t is_spent;       /**< an error about the budget was raised and nobody has dealt with it */
    int32_t is_armed;       /**< every instruction of a script raises that error: ticks since then */
    int32_t is_asked;       /**< compiled code was told to leave its loop and did not yet */
    int32_t is_interpreted; /**< compiled code cannot be stopped: scripts must not be compiled */
};

/** The one of the process. */
struct peri_ffi_watch *peri_ffi_watch(void);

/** What ran is over and its failure, if it was one, dealt with: what comes next has its budget to itself. */
void peri_ffi_budget_end(void);

/* ---- metrics and log (script/ffi_metrics.c) ---------------------------------------------------------------- */

/** Row of a policy on a route; the same in every worker and generation. */
int32_t peri_ffi_policy_id(const char *policy, size_t policy_len, const char *route, size_t route_len);

/** Counts one call of a policy that used `ticks` of CPU and never waited. */
void peri_ffi_policy_count(int32_t id, uint64_t ticks, int32_t is_error);

/** Counts that a policy spent its budget. */
void peri_ffi_policy_trip(int32_t id);

/** Notes that this worker answers for the policy without asking it as long as this generation lives; 0: it asks it. */
void peri_ffi_policy_quarantine(int32_t id, double generation);

/** The clock of peri_ffi_policy_count. */
uint64_t peri_ffi_ticks(void);

/** Kinds of metrics. */
enum { PERI_FFI_COUNTER = 0, PERI_FFI_GAUGE = 1, PERI_FFI_HISTOGRAM = 2 };

/** Why a metric is refused: its name; its labels; its bounds; it exists and is different; there are too many. */
enum {
    PERI_FFI_METRIC_NAME = -1,
    PERI_FFI_METRIC_LABEL = -2,
    PERI_FFI_METRIC_BOUNDS = -3,
    PERI_FFI_METRIC_CONFLICT = -4,
    PERI_FFI_METRIC_FULL = -5
};

/** Number of a metric, made when it is new, or PERI_FFI_METRIC_*. Names of labels are packed: uint16_t length and bytes, each.
 *  Without bounds a histogram has those of OpenTelemetry for seconds. */
int32_t peri_ffi_metric_open(int32_t kind, const char *name, size_t name_len, const char *help, size_t help_len,
                             const char *labels, size_t labels_len, const double *bounds, uint32_t bound_count);

/** Number of the series with these label values (packed as the names are); -1 when it does not fit. */
int32_t peri_ffi_metric_series(int32_t metric, const char *values, size_t len);

/** Adds to a counter or a gauge. */
void peri_ffi_metric_add(int32_t series, double by);

/** Sets a gauge. */
void peri_ffi_metric_set(int32_t series, double value);

/** Adds an observation to a histogram. */
void peri_ffi_metric_observe(int32_t series, double value);

/** 1 when messages of this level (0 debug, 1 info, 2 warning, 3 error) are written. */
int32_t peri_ffi_log_is_on(int32_t level);

/** Writes a message to the runtime's log. */
void peri_ffi_log(int32_t level, const char *text, size_t len);

/* ---- crypto and encodings (script/ffi_crypto*.c) ----------------------------------------------------------- */

/** Digests. The order is that of perigee.crypto. */
enum { PERI_FFI_SHA1 = 1, PERI_FFI_SHA256 = 2, PERI_FFI_SHA384 = 3, PERI_FFI_SHA512 = 4 };

/** Most bytes of a digest or MAC. */
enum { PERI_FFI_DIGEST_MAX = 64 };

/** Digest of `data` into `out` (room for PERI_FFI_DIGEST_MAX); its length, or -1 for an unknown algorithm or a failure. */
int32_t peri_ffi_digest(int32_t digest, const char *data, size_t len, char *out);

/** A prepared HMAC key (RFC 2104). */
struct peri_ffi_hmac;

/** Prepares `key`; owned by the caller. NULL for an unknown digest or when memory is short. */
struct peri_ffi_hmac *peri_ffi_hmac_new(int32_t digest, const char *key, size_t len);

/** Wipes and frees the key; NULL is fine. */
void peri_ffi_hmac_free(struct peri_ffi_hmac *hmac);

/** MAC of `data` into `out` (room for PERI_FFI_DIGEST_MAX); its length, or -1. */
int32_t peri_ffi_hmac_compute(struct peri_ffi_hmac *hmac, const char *data, size_t len, char *out);

/** 1 when `mac` is the whole MAC of `data`, 0 when not, -1 for a failure. Compares in constant time. */
int32_t peri_ffi_hmac_verify(struct peri_ffi_hmac *hmac, const char *data, size_t len, const char *mac, size_t mac_len);

/** Fills `out` with `len` random bytes fit for keys and tokens. 0, or -1 when the system has none. */
int32_t peri_ffi_random(char *out, size_t len);

/** 1 when both hold the same bytes. The time depends on `len` only. */
int32_t peri_ffi_equal(const char *a, const char *b, size_t len);

/** PBKDF2 with HMAC-SHA256 (RFC 8018) into `out`. 0, or -1. */
int32_t peri_ffi_pbkdf2(const char *password, size_t len, const char *salt, size_t salt_len, uint32_t iterations,
                        char *out, size_t out_len);

/** Kinds of keys that sign. */
enum {
    PERI_FFI_KEY_RSA = 1,
    PERI_FFI_KEY_P256 = 2,
    PERI_FFI_KEY_P384 = 3,
    PERI_FFI_KEY_P521 = 4,
    PERI_FFI_KEY_ED25519 = 5
};

/** How to sign: a scheme for the key's kind. */
enum { PERI_FFI_SIGN_PKCS1 = 1, PERI_FFI_SIGN_PSS = 2, PERI_FFI_SIGN_ECDSA = 3, PERI_FFI_SIGN_EDDSA = 4 };

/** Most bytes of a signature. */
enum { PERI_FFI_SIGNATURE_MAX = 1024 };

/** A key that signs or verifies. */
struct peri_ffi_key;

/** Key from PEM text: a public key (SPKI), a certificate, or with `is_private` a private key without a passphrase. NULL, with the
 *  reason in `message` (cut at `size`), when it is none of these or of no kind above; RSA keys have 2048 to 8192 bits. */
struct peri_ffi_key *peri_ffi_key_from_pem(const char *pem, size_t len, int32_t is_private, char *message, size_t size);

/** Public key from the members of a JWK (RFC 7518 6, RFC 8037): RSA n, e; EC x, y; Ed25519 x. Big-endian, and of the curve's
 *  length. NULL and `message` as above. */
struct peri_ffi_key *peri_ffi_key_from_jwk(int32_t kind, const char *a, size_t a_len, const char *b, size_t b_len,
                                           char *message, size_t size);

/** Frees the key; NULL is fine. */
void peri_ffi_key_free(struct peri_ffi_key *key);

/** Kind of the key, 0 for NULL. */
int32_t peri_ffi_key_kind(const struct peri_ffi_key *key);

/** 1 when `signature` is good, 0 when not, -1 when key, scheme and digest do not fit. ECDSA signatures are r || s (RFC 7518 3.4). */
int32_t peri_ffi_key_verify(struct peri_ffi_key *key, int32_t scheme, int32_t digest, const char *data, size_t len,
                            const char *signature, size_t signature_len);

/** Signs `data` into `out` (room for PERI_FFI_SIGNATURE_MAX); the length, or -1 when key, scheme and digest do not fit or the key
 *  is public. */
int32_t peri_ffi_key_sign(struct peri_ffi_key *key, int32_t scheme, int32_t digest, const char *data, size_t len,
                          char *out);

/** Base64 of `data` (RFC 4648) into `out`, which has room for (len + 2) / 3 * 4 bytes; its length. is_url: the URL alphabet, without
 *  padding; otherwise the standard one with padding. */
size_t peri_ffi_base64_encode(const char *data, size_t len, int32_t is_url, char *out);

/** The bytes of base64 `text` into `out` (room for len); how many, or -1 for anything that encode does not write: other
 *  characters, missing or needless padding, unused bits that are not zero. */
int64_t peri_ffi_base64_decode(const char *text, size_t len, int32_t is_url, char *out);

/** Lower-case hex of `data` into `out` (room for 2 * len). */
void peri_ffi_hex_encode(const char *data, size_t len, char *out);

/** The bytes of hex `text` (either case) into `out` (room for len / 2); how many, or -1. */
int64_t peri_ffi_hex_decode(const char *text, size_t len, char *out);

/* ---- text: regex, ip, uri, json (script/ffi_text.c, script/lua_json.c) --------------------------------------- */

/** Flags of peri_ffi_regex_new. */
enum {
    PERI_FFI_REGEX_CASELESS = 1,
    PERI_FFI_REGEX_MULTILINE = 2,
    PERI_FFI_REGEX_DOTALL = 4,
    PERI_FFI_REGEX_EXTENDED = 8,
    PERI_FFI_REGEX_UTF = 16
};

/** Most spans that a match gives. */
enum { PERI_FFI_REGEX_SPANS = 64 };

/** Bytes start … end - 1 of a subject; start is -1 for a group without part in the match. */
struct peri_ffi_span {
    int32_t start;
    int32_t end;
};

/** A compiled expression. */
struct peri_regex;

/** Compiles a PCRE2 pattern; owned by the caller. NULL, with the reason in `message` (cut at `size`), when it is refused. */
struct peri_regex *peri_ffi_regex_new(const char *pattern, size_t len, uint32_t flags, char *message, size_t size);

/** Frees the expression; NULL is fine. */
void peri_ffi_regex_free(struct peri_regex *regex);

/** Number of groups, without the whole match; 0 for NULL. */
uint32_t peri_ffi_regex_groups(const struct peri_regex *regex);

/** Name of group `group` into *name, borrowed from the expression; len 0 when it has none. */
void peri_ffi_regex_group_name(const struct peri_regex *regex, uint32_t group, struct peri_ffi_str *name);

/** First match at or behind offset `from`: 1 and the spans of match and groups (room for PERI_FFI_REGEX_SPANS), 0 when nothing
 *  matches, -1 when the search costs too much or the arguments are wrong. */
int32_t peri_ffi_regex_match(const struct peri_regex *regex, const char *subject, size_t len, size_t from,
                             struct peri_ffi_span *spans);

/** A set of addresses and networks. */
struct peri_ip_set;

/** New empty set, owned by the caller; NULL when memory is short. */
struct peri_ip_set *peri_ffi_ip_set_new(void);

/** Frees the set; NULL is fine. */
void peri_ffi_ip_set_free(struct peri_ip_set *set);

/** Adds an address or a network. 0, or -1 with the reason in `message` (cut at `size`). */
int32_t peri_ffi_ip_set_add(struct peri_ip_set *set, const char *entry, size_t len, char *message, size_t size);

/** 1 when the address is in the set, 0 when not, -1 when the text is no address. */
int32_t peri_ffi_ip_set_contains(struct peri_ip_set *set, const char *address, size_t len);

/** Room for the text of an address and its NUL. */
enum { PERI_FFI_IP_TEXT = 46 };

/** Canonical text of an address into `out` (room for PERI_FFI_IP_TEXT), NUL-terminated: its version, 4 or 6, or 0 when it is no
 *  address. */
int32_t peri_ffi_ip_parse(const char *text, size_t len, char *out);

/** Writes `text` as a JSON string with its quotes into `out` (room for 6 * len + 2); its length, or -1 when it is not UTF-8. */
int64_t peri_ffi_json_quote(const char *text, size_t len, char *out);

/** The parts of a URL. */
struct peri_ffi_uri {
    struct peri_ffi_str scheme, host, path, query;
    int32_t port;
};

/** Takes apart an absolute URL or a path with query into *uri, normalised as requests are; valid until the next call of a
 *  peri_ffi_uri function; a port of 0 was not given. 0, or -1 when it can be refused or read in two ways. */
int32_t peri_ffi_uri_parse(const char *text, size_t len, struct peri_ffi_uri *uri);

/** The path as requests are normalised, into *out, valid until the next call of a peri_ffi_uri function. 0 or -1. */
int32_t peri_ffi_uri_normalize_path(const char *path, size_t len, struct peri_ffi_str *out);

/** Percent-decodes `text` into *out, valid until the next call of a peri_ffi_uri function. 0, or -1 for a broken escape. */
int32_t peri_ffi_uri_decode(const char *text, size_t len, int32_t plus_is_space, struct peri_ffi_str *out);

/** Where a search found something. */
struct peri_ffi_found {
    double first;        /**< position, from 1 */
    double last;         /**< 0 when the match is empty and stands first */
    const char *problem; /**< static text: why the search was refused; NULL while all is well */
    int32_t captures;    /**< how many the pattern has */
};

/** string.find with a limit on its steps (script/search.h): 1 and *found, 0 when nothing matches or found->problem says why not. `init`
 *  is as in string.find; `text` is ended by NUL. */
int32_t peri_ffi_find(const char *subject, size_t len, const char *text, size_t text_len, double init, int32_t is_plain,
                      struct peri_ffi_found *found);

/* ---- time, timers, fetch (script/ffi_async.c) -------------------------------------------------------------- */

/** Wall-clock time in seconds since 1970. */
double peri_ffi_now(void);

/** Monotonic time in seconds, as of this turn of the loop. */
double peri_ffi_monotonic(void);

/** Index of this worker. */
int32_t peri_ffi_worker(void);

/* The functions below that say "waits" arm one wake-up of the running coroutine. They return 0 when the caller has to yield now
 * and then ask peri_ffi_woken, and an error code when it cannot wait here. */

/** 1 when the running coroutine may wait. */
int32_t peri_ffi_can_wait(void);

/** Why the coroutine runs again: 0, or an error code. */
int32_t peri_ffi_woken(void);

/** Waits for `seconds`. */
int32_t peri_ffi_sleep(double seconds);

/** Gives the exchange to the upstream; waits for the head of the response. */
int32_t peri_ffi_forward(struct peri_ffi_slot *slot);

/** Starts a task `delay` seconds from now, repeated every `interval` seconds when that is not 0. With `is_exchange` it belongs to
 *  the running coroutine's exchange and ends with it, otherwise to the generation. The id, 0 when no
 *  coroutine of the runtime runs or a time is not one, -2 when there are too many. */
int32_t peri_ffi_task_start(double delay, double interval, int32_t is_exchange);

/** Stops a task: it is not started (again); a run under way is dropped. */
void peri_ffi_task_stop(int32_t id);

/** Waits for the end of a task, at most `seconds` when that is not negative. */
int32_t peri_ffi_task_wait(int32_t id, double seconds);

/** Starts an HTTP request and waits for its end. `headers` are names and values in turn. */
int32_t peri_ffi_fetch(const char *method, size_t method_len, const char *url, size_t url_len,
                       const struct peri_ffi_str *headers, uint32_t header_count, const char *body, size_t body_len,
                       double timeout, double max_body);

/** Status of the response that woke the coroutine; 0 when there is none (any more). */
int32_t peri_ffi_fetch_status(void);

/** Body of that response. */
void peri_ffi_fetch_body(struct peri_ffi_str *body);

/** Header (or trailer) of that response at place `index`, from 0. 1, or 0 beyond the last. */
int32_t peri_ffi_fetch_header(int32_t is_trailer, int32_t index, struct peri_ffi_str *name, struct peri_ffi_str *value);

/* ---- Redis (script/ffi_redis.c) ---------------------------------------------------------------------------- */

/** A server and how it is spoken to; the texts are the caller's. */
struct peri_ffi_redis {
    struct peri_ffi_str host; /**< name or IP address; the path of a unix socket when the port is 0 */
    struct peri_ffi_str user; /**< empty: the default user */
    struct peri_ffi_str password;
    int32_t port;
    int32_t database;
    double timeout; /**< seconds, of each call */
};

/** What a reply consists of. */
enum {
    PERI_FFI_REDIS_NIL = 0,
    PERI_FFI_REDIS_STRING = 1,
    PERI_FFI_REDIS_INTEGER = 2,
    PERI_FFI_REDIS_ERROR = 3,
    PERI_FFI_REDIS_ARRAY = 4
};

/** One value of a reply. */
struct peri_ffi_redis_value {
    int32_t type;  /**< PERI_FFI_REDIS_* */
    int32_t count; /**< array: values directly in it, which follow */
    double number; /**< integer; rounded beyond 2^53 */
    struct peri_ffi_str text;
};

/** Sends a command (name and arguments, 1 to 1024) and waits for the reply. */
int32_t peri_ffi_redis_call(const struct peri_ffi_redis *target, const struct peri_ffi_str *args, uint32_t count);

/** Value of the reply that woke the coroutine, at place `index` from 0: the root, then what arrays hold, in order. 1, or 0 beyond the
 *  last. Its text is valid until the next wait. */
int32_t peri_ffi_redis_value(uint32_t index, struct peri_ffi_redis_value *value);

/** What the server said when it last refused the connection; empty when it did not. */
void peri_ffi_redis_refusal(const struct peri_ffi_redis *target, struct peri_ffi_str *text);

/* ---- endpoints that scripts set (script/ffi_upstream.c) ----------------------------------------------------- */

/** Why endpoints are not set or told: there is no such upstream; its endpoints are not a script's to set; the list is refused; no generation
 *  is there that the script belongs to. */
enum {
    PERI_FFI_UPSTREAM_UNKNOWN = -1,
    PERI_FFI_UPSTREAM_FIXED = -2,
    PERI_FFI_UPSTREAM_REFUSED = -3,
    PERI_FFI_UPSTREAM_NOWHERE = -4
};

/** Makes a list, as JSON, the endpoints of an upstream of the script's generation. 0, or PERI_FFI_UPSTREAM_*; why a list is refused is in
 *  `message`, valid until the next call. */
int32_t peri_ffi_upstream_set(const char *name, size_t name_len, const char *list, size_t len,
                              struct peri_ffi_str *message);

/** The endpoints of an upstream of the script's generation as a list in JSON, valid until the next call. 0, or PERI_FFI_UPSTREAM_*. */
int32_t peri_ffi_upstream_get(const char *name, size_t name_len, struct peri_ffi_str *list);

#endif
