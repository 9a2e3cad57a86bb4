// SPDX-License-Identifier: MIT
// A stream that speaks TLS over another stream. What the lower stream delivers is decrypted into one buffer of the process and
// passed on; what the owner writes leaves as few records as it fits, in one write of the lower stream.
//
//   handshake --done--> on_connect(OK), reading and writing --> close_notify --> closed
//       | failed, too slow: alert, on_connect(error)
//
// Back-pressure: nothing is encrypted while the lower queue is high, and nothing decrypted while the owner has stopped reading;
// what was read but not decrypted waits in `ahead`. A storm of handshakes is spread over turns of the loop.
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "event/stream_internal.h"
#include "event/tls_internal.h"

#define RECORD 16384                ///< plaintext of one record (RFC 8446 5.1)
#define PLAIN_SIZE (4 * RECORD)     ///< plaintext passed on at a time
#define SEALED_SIZE (4 * 18 * 1024) ///< records given to the lower stream in one write
#define HANDSHAKES_PER_TURN 8       ///< the rest of the loop waits for about 8 signatures at most
#define CLOSE_MS 2000               ///< how long the lower stream has for what it still holds

enum tls_state { TLS_HANDSHAKE, TLS_OPEN, TLS_FAILED };

struct tls_stream {
    struct peri_stream base;
    struct peri_stream *lower; ///< owned until its on_close
    SSL *ssl;
    struct peri_tls_server *server; ///< referenced; NULL on a client's side
    struct peri_tls_client *client; ///< referenced; NULL on a server's side
    struct peri_tls_session *session;
    struct peri_slice input;   ///< being read by OpenSSL; borrowed for one call
    struct peri_buf ahead;     ///< read, not decrypted
    struct peri_defer pump;    ///< go on with what waits in either direction
    struct peri_timer timeout; ///< of the handshake
    struct peri_tls_info *info;
    char *failure; ///< owned; NULL while nothing failed
    enum tls_state state;
    bool is_reading;      ///< the owner wants bytes
    bool is_lower_paused; ///< the lower stream does not read
    bool has_lower_end;   ///< the peer ended the lower stream
    bool has_closed;      ///< close_notify was sent
};

// Buffers and counts of the process: it has one loop that serves (the others are those of tests and do not overlap in time).
static char plain[PLAIN_SIZE];
static char sealed[SEALED_SIZE];
static size_t sealed_len;
static uint64_t handshake_turn;
static unsigned handshake_count;

static struct tls_stream *of(struct peri_stream *stream)
{
    return PERI_CONTAINER(stream, struct tls_stream, base);
}

// ---- OpenSSL's side of the bytes ----

static int bio_write(BIO *bio, const char *data, size_t len, size_t *written)
{
    struct tls_stream *tls = BIO_get_data(bio);
    if (sealed_len + len > SEALED_SIZE) {
        peri_stream_write(tls->lower, peri_slice(sealed, sealed_len));
        sealed_len = 0;
    }
    if (len > SEALED_SIZE) {
        peri_stream_write(tls->lower, peri_slice(data, len));
    } else {
        memcpy(sealed + sealed_len, data, len);
        sealed_len += len;
    }
    *written = len;
    return 1;
}

static int bio_read(BIO *bio, char *out, size_t len, size_t *got)
{
    struct tls_stream *tls = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (tls->input.len == 0) {
        BIO_set_retry_read(bio);
        return 0;
    }
    *got = len < tls->input.len ? len : tls->input.len;
    memcpy(out, tls->input.ptr, *got);
    tls->input.ptr += *got;
    tls->input.len -= *got;
    return 1;
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
    (void)bio, (void)number, (void)pointer;
    return command == BIO_CTRL_FLUSH || command == BIO_CTRL_DUP;
}

static BIO_METHOD *bio_method(void)
{
    static BIO_METHOD *method;
    if (method)
        return method;
    method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "peri_stream");
    if (method) {
        BIO_meth_set_write_ex(method, bio_write);
        BIO_meth_set_read_ex(method, bio_read);
        BIO_meth_set_ctrl(method, bio_ctrl);
    }
    return method;
}

// Gives what OpenSSL wrote to the lower stream, and from there to the kernel: the end of the turn may be past.
static void tls_send_sealed(struct tls_stream *tls)
{
    if (sealed_len == 0)
        return;
    peri_stream_write(tls->lower, peri_slice(sealed, sealed_len));
    sealed_len = 0;
    peri_stream_flush(tls->lower);
}

// ---- the handshake ----

static void tls_note_failure(struct tls_stream *tls, const char *what)
{
    char why[PERI_TLS_WHY];
    long verdict = SSL_get_verify_result(tls->ssl);
    if (verdict != X509_V_OK) {
        snprintf(why, sizeof(why), "%s: %s", what, X509_verify_cert_error_string(verdict));
        ERR_clear_error();
    } else {
        peri_tls_explain(why, what);
    }
    tls->failure = strdup(why);
}

static void tls_fail(struct tls_stream *tls, const char *what, peri_err_t err)
{
    peri_timer_stop(&tls->timeout);
    tls->state = TLS_FAILED;
    tls_note_failure(tls, what);
    tls_send_sealed(tls); // the alert
    tls->base.events->on_connect(&tls->base, err);
}

static struct peri_slice read_alpn(SSL *ssl)
{
    const unsigned char *name;
    unsigned len;
    SSL_get0_alpn_selected(ssl, &name, &len);
    return peri_slice((const char *)name, name ? len : 0);
}

static const char *put_text(char **at, struct peri_slice text)
{
    char *begin = *at;
    if (text.len > 0)
        memcpy(begin, text.ptr, text.len);
    begin[text.len] = '\0';
    *at += text.len + 1;
    return begin;
}

// One block: the facts, then the texts that are not OpenSSL's own.
static struct peri_tls_info *info_new(SSL *ssl, const struct peri_tls_identity *peer)
{
    struct peri_slice texts[] = {
        read_alpn(ssl),
        peri_slice_from(SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name)),
        peri_slice_from(peer->subject),
        peri_slice_from(peer->issuer),
        peri_slice(peer->sans, peer->sans_len),
        peri_slice_from(peer->spiffe_id),
        peri_slice_from(peer->fingerprint),
    };
    size_t size = sizeof(struct peri_tls_info);
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
        size += texts[i].len + 1;
    struct peri_tls_info *info = malloc(size);
    if (!info)
        return NULL;
    char *at = (char *)(info + 1);
    *info = (struct peri_tls_info){
        .version = SSL_get_version(ssl),
        .cipher = SSL_CIPHER_standard_name(SSL_get_current_cipher(ssl)),
        .is_resumed = SSL_session_reused(ssl) == 1,
        .alpn = put_text(&at, texts[0]),
        .server_name = put_text(&at, texts[1]),
        .subject = put_text(&at, texts[2]),
        .issuer = put_text(&at, texts[3]),
        .sans = put_text(&at, texts[4]),
        .spiffe_id = put_text(&at, texts[5]),
        .fingerprint = put_text(&at, texts[6]),
    };
    return info;
}

// Learns what was agreed on and who the peer is; PERI_ERR_TLS when that is not acceptable, PERI_ERR_OVERLOADED without memory.
static peri_err_t tls_read_info(struct tls_stream *tls)
{
    struct peri_tls_identity identity = {0};
    X509 *peer = SSL_get0_peer_certificate(tls->ssl);
    bool is_verified = peer && SSL_get_verify_mode(tls->ssl) != SSL_VERIFY_NONE;
    if (tls->client && !peri_tls_client_accepts(tls->client, peer))
        return PERI_ERR_TLS;
    peri_err_t err = is_verified ? peri_tls_identify(peer, &identity) : PERI_OK;
    if (err == PERI_OK) {
        tls->info = info_new(tls->ssl, &identity);
        err = tls->info ? PERI_OK : PERI_ERR_OVERLOADED;
    }
    peri_tls_identity_close(&identity);
    if (err == PERI_OK)
        tls->info->is_peer_verified = is_verified;
    return err;
}

static void tls_open(struct tls_stream *tls)
{
    peri_timer_stop(&tls->timeout);
    peri_err_t err = tls_read_info(tls);
    if (err != PERI_OK) {
        tls_fail(tls, "the peer's certificate does not say who it must be", err);
        return;
    }
    tls->state = TLS_OPEN;
    tls->base.events->on_connect(&tls->base, PERI_OK);
}

// May another handshake be worked on in this turn?
static bool has_turn(struct tls_stream *tls)
{
    uint64_t now = peri_loop_now_ns(tls->base.loop);
    if (handshake_turn != now) {
        handshake_turn = now;
        handshake_count = 0;
    }
    if (tls->base.loop->is_virtual)
        return true;
    return handshake_count++ < HANDSHAKES_PER_TURN;
}

// Why OpenSSL ended the handshake: when memory was short that says nothing of the peer.
static peri_err_t tls_cause(const struct tls_stream *tls)
{
    bool is_short = ERR_GET_REASON(ERR_peek_error()) == ERR_R_MALLOC_FAILURE ||
                    ERR_GET_REASON(ERR_peek_last_error()) == ERR_R_MALLOC_FAILURE ||
                    SSL_get_verify_result(tls->ssl) == X509_V_ERR_OUT_OF_MEM;
    return is_short ? PERI_ERR_OVERLOADED : PERI_ERR_TLS;
}

static void tls_shake_hands(struct tls_stream *tls)
{
    ERR_clear_error();
    int n = SSL_do_handshake(tls->ssl);
    int reason = n == 1 ? SSL_ERROR_NONE : SSL_get_error(tls->ssl, n);
    if (reason == SSL_ERROR_WANT_READ) {
        tls_send_sealed(tls);
        return;
    }
    if (reason != SSL_ERROR_NONE) {
        tls_fail(tls, "handshake", tls_cause(tls));
        return;
    }
    tls_send_sealed(tls);
    tls_open(tls);
}

static void on_timeout(struct peri_timer *timer)
{
    struct tls_stream *tls = PERI_CONTAINER(timer, struct tls_stream, timeout);
    tls_fail(tls, "the handshake took too long", PERI_ERR_CONNECT_TIMEOUT);
}

// ---- reading ----

static void tls_set_lower_reading(struct tls_stream *tls)
{
    bool pauses = tls->state == TLS_OPEN ? !tls->is_reading : tls->ahead.len > 0;
    if (pauses == tls->is_lower_paused || tls->has_lower_end)
        return;
    tls->is_lower_paused = pauses;
    if (pauses)
        peri_stream_read_stop(tls->lower);
    else
        peri_stream_read_start(tls->lower);
}

static void tls_end(struct tls_stream *tls, peri_err_t err)
{
    tls->is_reading = false;
    peri_stream_ended(&tls->base, err);
}

// Decrypts up to a buffer full and passes it on. False when there is nothing more to decrypt now.
static bool tls_read_once(struct tls_stream *tls)
{
    size_t len = 0;
    int n = 1;
    while (PLAIN_SIZE - len >= RECORD) {
        n = SSL_read(tls->ssl, plain + len, (int)(PLAIN_SIZE - len));
        if (n <= 0)
            break;
        len += (size_t)n;
    }
    int reason = n > 0 ? SSL_ERROR_NONE : SSL_get_error(tls->ssl, n);
    tls_send_sealed(tls); // key updates, alerts
    if (len > 0)
        peri_stream_received(&tls->base, peri_slice(plain, len));
    if (reason == SSL_ERROR_NONE)
        return true;
    ERR_clear_error();
    if (tls->base.is_closing)
        return false;
    if (reason == SSL_ERROR_ZERO_RETURN)
        tls_end(tls, PERI_OK);
    else if (reason != SSL_ERROR_WANT_READ)
        tls_end(tls, PERI_ERR_CLOSED);
    return false;
}

// Works on `tls->input` as far as the owner wants.
static void tls_consume(struct tls_stream *tls)
{
    ERR_clear_error();
    if (tls->state == TLS_HANDSHAKE) {
        if (!has_turn(tls))
            return;
        tls_shake_hands(tls);
    }
    while (tls->state == TLS_OPEN && tls->is_reading && !tls->base.is_closing && !tls->base.is_ended)
        if (!tls_read_once(tls))
            break;
}

// Feeds bytes in; what is not used now waits.
static void tls_feed(struct tls_stream *tls, struct peri_slice data)
{
    tls->input = data;
    tls_consume(tls);
    struct peri_slice rest = tls->input;
    tls->input = peri_slice(NULL, 0);
    if (rest.len > 0 && !tls->base.is_closing && tls->state != TLS_FAILED && !tls->base.is_ended &&
        peri_buf_put(&tls->ahead, rest) != PERI_OK) {
        if (tls->state == TLS_OPEN)
            tls_end(tls, PERI_ERR_CLOSED);
        else
            tls_fail(tls, "out of memory", PERI_ERR_NOMEM);
    }
}

static void tls_feed_ahead(struct tls_stream *tls)
{
    while (tls->ahead.len > 0 && !tls->base.is_closing && tls->state != TLS_FAILED) {
        struct peri_slice run = peri_buf_peek(&tls->ahead);
        size_t before = run.len;
        tls->input = run;
        tls_consume(tls);
        size_t used = before - tls->input.len;
        tls->input = peri_slice(NULL, 0);
        peri_buf_take(&tls->ahead, used);
        if (used == 0)
            break;
    }
}

// The lower stream has ended, and everything before that was read.
static void tls_report_lower_end(struct tls_stream *tls)
{
    if (!tls->has_lower_end || tls->ahead.len > 0 || tls->base.is_closing)
        return;
    if (tls->state == TLS_HANDSHAKE)
        tls_fail(tls, "the peer closed the connection in the handshake", PERI_ERR_TLS);
    else if (tls->state == TLS_OPEN)
        tls_end(tls, PERI_ERR_CLOSED); // without close_notify what came may be cut short (RFC 8446 6.1)
}

static void on_lower_connect(struct peri_stream *lower, peri_err_t err)
{
    struct tls_stream *tls = peri_stream_data(lower);
    if (tls->base.is_closing)
        return;
    if (err != PERI_OK) {
        tls_fail(tls, "connect", err);
        return;
    }
    peri_stream_read_start(lower);
    tls_shake_hands(tls);
}

static void on_lower_read(struct peri_stream *lower, struct peri_slice data)
{
    struct tls_stream *tls = peri_stream_data(lower);
    if (tls->base.is_closing || tls->state == TLS_FAILED)
        return;
    if (tls->ahead.len > 0) {
        if (peri_buf_put(&tls->ahead, data) != PERI_OK)
            tls_end(tls, PERI_ERR_CLOSED);
    } else {
        tls_feed(tls, data);
    }
    if (tls->base.is_closing)
        return;
    if (tls->ahead.len > 0)
        peri_defer_schedule(tls->base.loop, &tls->pump);
    tls_set_lower_reading(tls);
}

static void on_lower_end(struct peri_stream *lower, peri_err_t err)
{
    struct tls_stream *tls = peri_stream_data(lower);
    tls->has_lower_end = true;
    (void)err;
    tls_report_lower_end(tls);
}

// ---- writing ----

// The bytes of the next record, `skip` bytes into the runs: in place where one run is enough, gathered where that lets a head
// and its body share a record.
static struct peri_slice next_record(const struct peri_slice *runs, unsigned count, size_t skip, char gathered[RECORD])
{
    size_t len = 0;
    for (unsigned i = 0; i < count && len < RECORD; i++) {
        if (skip >= runs[i].len) {
            skip -= runs[i].len;
            continue;
        }
        struct peri_slice rest = peri_slice(runs[i].ptr + skip, runs[i].len - skip);
        size_t take = rest.len < RECORD - len ? rest.len : RECORD - len;
        if (len == 0 && (take == RECORD || i + 1 == count))
            return peri_slice(rest.ptr, take);
        memcpy(gathered + len, rest.ptr, take);
        len += take;
        skip = 0;
    }
    return peri_slice(gathered, len);
}

// Encrypts runs as long as the lower stream takes more: bytes taken, -1 when the stream is broken.
static ssize_t tls_seal(struct tls_stream *tls, const struct peri_slice *runs, unsigned count)
{
    char gathered[RECORD];
    size_t done = 0;
    int n = 1;
    ERR_clear_error();
    while (n > 0 && tls->lower->queue.len < PERI_STREAM_HIGH) {
        struct peri_slice record = next_record(runs, count, done, gathered);
        if (record.len == 0)
            break;
        n = SSL_write(tls->ssl, record.ptr, (int)record.len);
        done += n > 0 ? (size_t)n : 0;
    }
    ERR_clear_error();
    tls_send_sealed(tls);
    return n > 0 ? (ssize_t)done : -1;
}

static ssize_t tls_try_write(struct peri_stream *stream, const struct peri_slice *runs, unsigned count)
{
    struct tls_stream *tls = of(stream);
    if (tls->state == TLS_HANDSHAKE)
        return 0;
    return tls->state == TLS_FAILED || tls->has_closed ? -1 : tls_seal(tls, runs, count);
}

static void tls_send_queue(struct peri_stream *stream)
{
    struct tls_stream *tls = of(stream);
    if (tls->state == TLS_OPEN && tls->lower->queue.len < PERI_STREAM_HIGH)
        peri_defer_schedule(stream->loop, &tls->pump);
}

static void tls_pump_out(struct tls_stream *tls)
{
    while (tls->base.is_sending && tls->state == TLS_OPEN && !tls->base.is_closing &&
           tls->lower->queue.len < PERI_STREAM_HIGH) {
        struct peri_slice runs[PERI_STREAM_RUNS];
        unsigned count = peri_buf_peek_many(&tls->base.queue, runs, PERI_STREAM_RUNS);
        ssize_t n = tls_seal(tls, runs, count);
        peri_stream_sent(&tls->base, n < 0 ? 0 : (size_t)n, n < 0);
        if (n <= 0)
            break;
    }
}

static void on_lower_drain(struct peri_stream *lower)
{
    struct tls_stream *tls = peri_stream_data(lower);
    tls_pump_out(tls);
}

static void on_pump(struct peri_defer *defer)
{
    struct tls_stream *tls = PERI_CONTAINER(defer, struct tls_stream, pump);
    tls_feed_ahead(tls);
    tls_pump_out(tls);
    tls_report_lower_end(tls);
    if (tls->base.is_closing)
        return;
    if (tls->ahead.len > 0 && (tls->state == TLS_HANDSHAKE || tls->is_reading))
        peri_defer_schedule(tls->base.loop, &tls->pump);
    tls_set_lower_reading(tls);
}

// ---- the stream's operations ----

static void tls_read_start(struct peri_stream *stream)
{
    struct tls_stream *tls = of(stream);
    tls->is_reading = true;
    if (tls->state != TLS_OPEN)
        return;
    peri_defer_schedule(stream->loop, &tls->pump);
    tls_set_lower_reading(tls);
}

static void tls_read_stop(struct peri_stream *stream)
{
    struct tls_stream *tls = of(stream);
    tls->is_reading = false;
    if (tls->state == TLS_OPEN)
        tls_set_lower_reading(tls);
}

static void tls_say_goodbye(struct tls_stream *tls)
{
    if (tls->state != TLS_OPEN || tls->has_closed || tls->base.is_broken)
        return;
    tls->has_closed = true;
    SSL_shutdown(tls->ssl);
    ERR_clear_error();
    tls_send_sealed(tls);
    SSL_free_buffers(
        tls->ssl); // an alert takes a buffer that OpenSSL does not give back: a drain closes many at a time
}

// The peer closed without a goodbye: it waits for none.
static bool has_left(const struct tls_stream *tls)
{
    return tls->has_lower_end && (SSL_get_shutdown(tls->ssl) & SSL_RECEIVED_SHUTDOWN) == 0;
}

static void tls_shutdown(struct peri_stream *stream)
{
    struct tls_stream *tls = of(stream);
    tls_say_goodbye(tls);
    peri_stream_shutdown(tls->lower);
}

static void tls_close(struct peri_stream *stream, bool is_reset)
{
    struct tls_stream *tls = of(stream);
    peri_timer_stop(&tls->timeout);
    peri_defer_cancel(&tls->pump);
    if (is_reset) {
        peri_stream_reset(tls->lower);
        return;
    }
    if (!has_left(tls))
        tls_say_goodbye(tls);
    if (peri_stream_pending(tls->lower) > 0)
        peri_stream_close_gently(tls->lower, CLOSE_MS, false);
    else
        peri_stream_close(tls->lower);
}

static void tls_peer(const struct peri_stream *stream, char ip[46], uint16_t *port)
{
    peri_stream_peer(PERI_CONTAINER(stream, const struct tls_stream, base)->lower, ip, port);
}

static void tls_local(const struct peri_stream *stream, char ip[46], uint16_t *port)
{
    peri_stream_local(PERI_CONTAINER(stream, const struct tls_stream, base)->lower, ip, port);
}

static void on_lower_close(struct peri_stream *lower)
{
    struct tls_stream *tls = peri_stream_data(lower);
    peri_assert(tls->base.is_closing);
    SSL_free(tls->ssl);
    peri_tls_server_unref(tls->server);
    peri_tls_client_unref(tls->client);
    peri_buf_close(&tls->ahead);
    free(tls->info);
    free(tls->failure);
    peri_stream_closed(&tls->base);
}

static const struct peri_stream_ops tls_ops = {
    .try_write = tls_try_write,
    .send_queue = tls_send_queue,
    .read_start = tls_read_start,
    .read_stop = tls_read_stop,
    .shutdown = tls_shutdown,
    .close = tls_close,
    .peer = tls_peer,
    .local = tls_local,
};

static const struct peri_stream_events lower_events = {
    .on_connect = on_lower_connect,
    .on_read = on_lower_read,
    .on_end = on_lower_end,
    .on_drain = on_lower_drain,
    .on_close = on_lower_close,
};

static void on_orphan_closed(struct peri_stream *lower)
{
    (void)lower;
}

static const struct peri_stream_events orphan_events = {.on_close = on_orphan_closed};

// A stream over `lower` around `ssl` (taken, NULL when out of memory).
static struct tls_stream *tls_new(struct peri_stream *lower, SSL *ssl, const struct peri_stream_events *events,
                                  void *data)
{
    struct tls_stream *tls = calloc(1, sizeof(*tls));
    BIO *bio = bio_method() ? BIO_new(bio_method()) : NULL;
    if (!tls || !bio || !ssl) {
        free(tls);
        BIO_free(bio);
        SSL_free(ssl);
        peri_stream_set_owner(lower, &orphan_events, NULL);
        peri_stream_close(lower);
        return NULL;
    }
    BIO_set_data(bio, tls);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio);
    peri_stream_init(&tls->base, lower->loop, &tls_ops);
    peri_buf_init(&tls->ahead);
    peri_defer_init(&tls->pump, on_pump);
    peri_timer_init(&tls->timeout, on_timeout);
    tls->lower = lower;
    tls->ssl = ssl;
    peri_stream_set_owner(&tls->base, events, data);
    peri_stream_set_owner(lower, &lower_events, tls);
    return tls;
}

struct peri_stream *peri_stream_accept_tls(struct peri_stream *lower, struct peri_tls_server *server, uint64_t max_ms,
                                           const struct peri_stream_events *events, void *data)
{
    struct tls_stream *tls = tls_new(lower, peri_tls_server_open(server), events, data);
    if (!tls)
        return NULL;
    tls->server = peri_tls_server_ref(server);
    if (max_ms > 0)
        peri_timer_start(lower->loop, &tls->timeout, max_ms);
    peri_stream_read_start(lower);
    return &tls->base;
}

struct peri_stream *peri_stream_connect_tls(struct peri_stream *lower, struct peri_tls_client *client,
                                            struct peri_slice host, struct peri_tls_session *session,
                                            const struct peri_stream_events *events, void *data, peri_err_t *err)
{
    struct tls_stream *tls = tls_new(lower, peri_tls_client_open(client, host, session, err), events, data);
    if (!tls)
        return NULL;
    tls->client = peri_tls_client_ref(client);
    return &tls->base;
}

const struct peri_tls_info *peri_stream_tls(const struct peri_stream *stream)
{
    return stream->ops == &tls_ops ? PERI_CONTAINER(stream, const struct tls_stream, base)->info : NULL;
}

struct peri_tls_info *peri_stream_take_tls(struct peri_stream *stream)
{
    peri_assert(stream->ops == &tls_ops);
    struct tls_stream *tls = of(stream);
    struct peri_tls_info *info = tls->info;
    tls->info = NULL;
    return info;
}

const char *peri_stream_tls_failure(const struct peri_stream *stream)
{
    const char *failure =
        stream->ops == &tls_ops ? PERI_CONTAINER(stream, const struct tls_stream, base)->failure : NULL;
    return failure ? failure : "";
}
