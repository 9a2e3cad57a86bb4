// SPDX-License-Identifier: MIT
// Protocol buffers by hand: one string out, one enum in. Fields of other numbers are skipped, as the encoding asks for
// (protobuf.dev, "Encoding"); groups, which nobody writes any more, are refused.
#include "codec/grpc_health.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/assert.h"

#define PREFIX 5 ///< compressed or not, and four bytes of length

enum wire_type { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

// ---- out

size_t peri_grpc_health_write(struct peri_slice service, char *out)
{
    peri_assert(service.len <= PERI_GRPC_HEALTH_SERVICE);
    char *at = out + PREFIX;
    if (service.len > 0) {
        *at++ = 1 << 3 | WIRE_BYTES;
        if (service.len > 127)
            *at++ = (char)(0x80 | (service.len & 0x7f));
        *at++ = (char)(service.len > 127 ? service.len >> 7 : service.len);
        memcpy(at, service.ptr, service.len);
        at += service.len;
    }
    size_t message = (size_t)(at - out) - PREFIX;
    memset(out, 0, 3);
    out[3] = (char)(message >> 8);
    out[4] = (char)(message & 0xff);
    return PREFIX + message;
}

// ---- in

// Takes a number off the front of `data`. False when it is cut or has more than 64 bits.
static bool take_varint(struct peri_slice *data, uint64_t *value)
{
    *value = 0;
    for (unsigned shift = 0; shift < 64 && data->len > 0; shift += 7) {
        unsigned char byte = (unsigned char)data->ptr[0];
        data->ptr++;
        data->len--;
        if (shift == 63 && byte > 1)
            return false;
        *value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return true;
    }
    return false;
}

static bool skip(struct peri_slice *data, uint64_t bytes)
{
    if (bytes > data->len)
        return false;
    data->ptr += bytes;
    data->len -= (size_t)bytes;
    return true;
}

static bool skip_field(struct peri_slice *data, unsigned type)
{
    uint64_t value;
    switch (type) {
    case WIRE_VARINT: return take_varint(data, &value);
    case WIRE_64: return skip(data, 8);
    case WIRE_BYTES: return take_varint(data, &value) && skip(data, value);
    case WIRE_32: return skip(data, 4);
    default: return false;
    }
}

static int read_message(struct peri_slice message)
{
    uint64_t key, status = PERI_GRPC_HEALTH_UNKNOWN; // the default is not written
    while (message.len > 0) {
        if (!take_varint(&message, &key))
            return -1;
        bool is_status = key == (1 << 3 | WIRE_VARINT);
        if (is_status ? !take_varint(&message, &status) : !skip_field(&message, key & 7))
            return -1;
    }
    return status <= INT32_MAX ? (int)status : -1;
}

int peri_grpc_health_read(struct peri_slice body)
{
    const unsigned char *bytes = (const unsigned char *)body.ptr;
    if (body.len < PREFIX || bytes[0] != 0)
        return -1;
    uint32_t len = (uint32_t)bytes[1] << 24 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 8 | bytes[4];
    return len == body.len - PREFIX ? read_message(peri_slice(body.ptr + PREFIX, len)) : -1;
}
