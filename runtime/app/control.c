// SPDX-License-Identifier: MIT
// Messages over SOCK_SEQPACKET with SCM_RIGHTS. Texts up to INLINE bytes lie in the packet behind its head; longer ones in
// a sealed memory descriptor, which is the last of the message's descriptors.
#include "app/control.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "app/memfd.h"

#define INLINE 8192

struct head {
    uint32_t type;
    uint32_t is_spilled; ///< the text is in the last descriptor
    uint64_t number;
};

struct packet {
    struct head head;
    char text[INLINE];
};

union rights {
    char bytes[CMSG_SPACE((PERI_CONTROL_FDS + 1) * sizeof(int))];
    struct cmsghdr align;
};

peri_err_t peri_control_pair(int ends[2])
{
    int flags = SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK;
    return socketpair(AF_UNIX, flags, 0, ends) == 0 ? PERI_OK : PERI_ERR_SYSTEM;
}

static void attach_fds(struct msghdr *packet, union rights *rights, const int *fds, unsigned count)
{
    if (count == 0)
        return;
    memset(rights, 0, sizeof(*rights));
    packet->msg_control = rights;
    packet->msg_controllen = CMSG_SPACE(count * sizeof(int));
    struct cmsghdr *head = CMSG_FIRSTHDR(packet);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(head), fds, count * sizeof(int));
}

static peri_err_t send_packet(int fd, const struct msghdr *packet)
{
    ssize_t n;
    do
        n = sendmsg(fd, packet, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n >= 0)
        return PERI_OK;
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS ? PERI_ERR_AGAIN : PERI_ERR_CLOSED;
}

peri_err_t peri_control_send(int fd, const struct peri_control_message *message)
{
    int fds[PERI_CONTROL_FDS + 1];
    unsigned count = message->fd_count;
    struct head head = {.type = message->type, .number = message->number};
    struct peri_slice text = message->text;
    int spilled = -1;
    if (count > PERI_CONTROL_FDS || text.len > PERI_CONTROL_TEXT)
        return PERI_ERR_INVALID;
    memcpy(fds, message->fds, count * sizeof(int));
    if (text.len > INLINE) {
        spilled = peri_memfd_new("perigee-control", &text, 1);
        if (spilled < 0)
            return PERI_ERR_SYSTEM;
        fds[count++] = spilled;
        head.is_spilled = 1;
        text.len = 0;
    }
    union rights rights;
    struct iovec parts[] = {{&head, sizeof(head)}, {(void *)text.ptr, text.len}};
    struct msghdr packet = {.msg_iov = parts, .msg_iovlen = 2};
    attach_fds(&packet, &rights, fds, count);
    peri_err_t err = send_packet(fd, &packet);
    if (spilled >= 0)
        close(spilled);
    return err;
}

static void detach_fds(struct msghdr *packet, struct peri_control_message *message, int *spilled)
{
    int fds[PERI_CONTROL_FDS + 1];
    *spilled = -1;
    for (struct cmsghdr *head = CMSG_FIRSTHDR(packet); head; head = CMSG_NXTHDR(packet, head)) {
        if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        memcpy(fds, CMSG_DATA(head), count * sizeof(int));
        for (size_t i = 0; i < count; i++) {
            if (message->fd_count < PERI_CONTROL_FDS)
                message->fds[message->fd_count++] = fds[i];
            else
                *spilled = fds[i];
        }
    }
}

// The text of a message: a malloc'ed copy of what lay in the packet, or in the descriptor behind the others.
static peri_err_t read_text(struct peri_control_message *message, const struct packet *packet, size_t len, int spilled)
{
    if (packet->head.is_spilled) {
        if (spilled < 0 && message->fd_count > 0)
            spilled = message->fds[--message->fd_count];
        message->text = peri_memfd_copy(spilled, PERI_CONTROL_TEXT);
    } else {
        char *text = malloc(len + 1);
        if (text) {
            memcpy(text, packet->text, len);
            text[len] = '\0';
        }
        message->text = peri_slice(text, text ? len : 0);
    }
    if (spilled >= 0)
        close(spilled);
    return message->text.ptr ? PERI_OK : PERI_ERR_NOMEM;
}

peri_err_t peri_control_receive(int fd, struct peri_control_message *message)
{
    struct packet packet;
    union rights rights;
    struct iovec part = {&packet, sizeof(packet)};
    struct msghdr received = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &rights, .msg_controllen = sizeof(rights)};
    ssize_t n;
    int spilled;
    do
        n = recvmsg(fd, &received, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK ? PERI_ERR_AGAIN : PERI_ERR_CLOSED;
    if (n == 0)
        return PERI_ERR_CLOSED;
    message->fd_count = 0;
    message->text = peri_slice(NULL, 0);
    detach_fds(&received, message, &spilled);
    peri_err_t err = PERI_ERR_INVALID;
    if ((size_t)n >= sizeof(packet.head) && packet.head.type < PERI_CONTROL_COUNT &&
        !(received.msg_flags & (MSG_TRUNC | MSG_CTRUNC))) {
        message->type = (enum peri_control_type)packet.head.type;
        message->number = packet.head.number;
        err = read_text(message, &packet, (size_t)n - sizeof(packet.head), spilled);
    } else if (spilled >= 0) {
        close(spilled);
    }
    if (err != PERI_OK)
        peri_control_release(message);
    return err;
}

int peri_control_take_fd(struct peri_control_message *message)
{
    if (message->fd_count == 0)
        return -1;
    int fd = message->fds[0];
    memmove(message->fds, message->fds + 1, --message->fd_count * sizeof(int));
    return fd;
}

void peri_control_release(struct peri_control_message *message)
{
    while (message->fd_count > 0)
        close(message->fds[--message->fd_count]);
    free((void *)message->text.ptr);
    message->text = peri_slice(NULL, 0);
}
