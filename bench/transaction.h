/* One message on its way in, as Postfix 3.7 tells a policy service of it: a request for each
 * recipient, and one at the end of the message. Nothing here knows a socket or a clock. */
#ifndef TRANSACTION_H
#define TRANSACTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { REQUEST_MAX = 2048 };

/* Who sends what to whom. Shares are from 0 to 1. */
struct mix {
    long accounts, first, domains;
    bool in_order;           /* one account after the other; else by chance */
    int recipients, spread;  /* of a message: so many, and up to so many more */
    double external;         /* share of recipients elsewhere */
    double invented;         /* share of those whom nobody has written to before */
    double similar;          /* share of messages of one of the account's few usual sizes */
    long size;               /* of every message, if not 0 */
    bool end_only;           /* ask at the end of the message alone, as if one was accepted */
};

struct transaction {
    uint64_t serial;
    long account, size;
    int recipients, asked, accepted;
    bool at_end;
};

/* Chance, the same in every run with the same seed. */
void chance_seed(uint64_t seed);
double chance(void);

/* Begin the transaction of the number *serial*. */
void transaction_begin(struct transaction *t, const struct mix *mix, uint64_t serial);

/* Write the next request to *out* and return its length. */
size_t transaction_ask(struct transaction *t, const struct mix *mix, char out[REQUEST_MAX]);

/* Note the answer to it; return whether the transaction goes on. */
bool transaction_answered(struct transaction *t, bool passed);

#endif
