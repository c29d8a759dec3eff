/* See transaction.h. A provider's domains are c0.customers.example and so on, which the benchmark's
 * rules call local; all others are external. */
#include "transaction.h"

#include <math.h>
#include <stdio.h>

enum { USUAL_SIZES = 6, CONTACTS = 30, PROVIDERS = 997 };

static uint64_t state = 1;

/* splitmix64, also good for turning a number into another one for good */
static uint64_t mixed(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static uint64_t next(void) {
    state += 0x9e3779b97f4a7c15u;
    return mixed(state);
}

void chance_seed(uint64_t seed) { state = mixed(seed + 1); }

static double share_of(uint64_t bits) { return (double)(bits >> 11) * 0x1p-53; }

double chance(void) { return share_of(next()); }

/* Mail is log-normal in size: half of it below 12 kB, little beyond a megabyte. */
static long size_from(uint64_t bits) {
    double u = share_of(bits) + 0x1p-54, v = share_of(mixed(bits ^ 0x5bd1e995));
    double size = 12000 * exp(1.5 * sqrt(-2 * log(u)) * cos(6.283185307179586 * v));
    return size < 400 ? 400 + (long)(bits % 600) : size > 20e6 ? 20000000 : (long)size;
}

static long size_of_message(const struct mix *mix, long account) {
    if (mix->size)
        return mix->size;
    if (chance() >= mix->similar)
        return size_from(next());
    uint64_t usual = (uint64_t)account * USUAL_SIZES + next() % USUAL_SIZES;
    return size_from(mixed(usual)) + (long)(next() % 32); /* the length of a name */
}

void transaction_begin(struct transaction *t, const struct mix *mix, uint64_t serial) {
    uint64_t at = mix->in_order ? serial : next();
    *t = (struct transaction){.serial = serial};
    t->account = mix->first + (long)(at % (uint64_t)mix->accounts);
    t->recipients = mix->recipients + (mix->spread ? (int)(next() % (unsigned)(mix->spread + 1)) : 0);
    t->size = size_of_message(mix, t->account);
    t->at_end = mix->end_only;
    t->accepted = mix->end_only;
}

static int recipient(const struct transaction *t, const struct mix *mix, char *out, size_t room) {
    if (chance() >= mix->external)
        return snprintf(out, room, "user%llu@c%ld.customers.example",
                        (unsigned long long)(next() % (uint64_t)mix->accounts),
                        t->account % mix->domains);
    if (chance() < mix->invented)
        return snprintf(out, room, "new.%llx.%d@mx%d.elsewhere.example",
                        (unsigned long long)t->serial, t->asked, (int)(t->serial % PROVIDERS));
    int contact = (int)(next() % CONTACTS);
    return snprintf(out, room, "contact.%d.of.%ld@mx%ld.elsewhere.example", contact, t->account,
                    (t->account + contact) % PROVIDERS);
}

size_t transaction_ask(struct transaction *t, const struct mix *mix, char out[REQUEST_MAX]) {
    char to[128] = "", queue_id[24] = "";
    if (!t->at_end || t->accepted == 1)
        recipient(t, mix, to, sizeof to);
    if (t->accepted)
        snprintf(queue_id, sizeof queue_id, "4W%010llX", (unsigned long long)t->serial);
    unsigned a = (unsigned)t->account;
    int length = snprintf(
        out, REQUEST_MAX,
        "request=smtpd_access_policy\nprotocol_state=%s\nprotocol_name=ESMTP\n"
        "client_address=10.%u.%u.%u\nclient_name=host-%u.dyn.access.example\nclient_port=%u\n"
        "reverse_client_name=host-%u.dyn.access.example\nserver_address=198.51.100.25\n"
        "server_port=587\nhelo_name=desktop-%u.home.example\n"
        "sender=user%u@c%ld.customers.example\nrecipient=%s\nrecipient_count=%d\nqueue_id=%s\n"
        "instance=%x.%llx.%x.0\nsize=%ld\netrn_domain=\nstress=\nsasl_method=PLAIN\n"
        "sasl_username=user%u@c%ld.customers.example\nsasl_sender=\nccert_subject=\n"
        "ccert_issuer=\nccert_fingerprint=\nccert_pubkey_fingerprint=\n"
        "encryption_protocol=TLSv1.3\nencryption_cipher=TLS_AES_256_GCM_SHA384\n"
        "encryption_keysize=256\npolicy_context=submission\n\n",
        t->at_end ? "END-OF-MESSAGE" : "RCPT", a >> 16 & 255, a >> 8 & 255, a & 255, a,
        1024 + a % 60000, a, a, a, t->account % mix->domains, to, t->at_end ? t->accepted : 0,
        queue_id, (unsigned)(t->serial % 4000 + 700), (unsigned long long)t->serial,
        (unsigned)(t->serial % 977), t->at_end ? t->size + 300 : t->size, a,
        t->account % mix->domains);
    return (size_t)length;
}

bool transaction_answered(struct transaction *t, bool passed) {
    if (t->at_end)
        return false;
    t->asked++;
    t->accepted += passed;
    if (t->asked == t->recipients)
        t->at_end = true;
    return !t->at_end || t->accepted > 0;
}
