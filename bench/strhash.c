// SPDX-License-Identifier: MIT
// Counts words in a hash table with chains: strings are made, hashed, compared and copied by bytes.

#include "program.h"

typedef struct Word {
    struct Word *next;
    uint32_t count;
    char text[24];
} Word;

enum { WORDS_MADE = 4000, WORDS_DISTINCT = 1000, BUCKETS = 1024 };
static Word words[WORDS_DISTINCT];
static Word *buckets[BUCKETS];

static NOINLINE void word_make(char *text, uint32_t number)
{
    static const char syllables[] = "kalomirutesanibopedugohefizuwyva";
    for (int i = 0; i < 4 + (int)(number & 3); i++) {
        const char *s = &syllables[number % 16 * 2];
        *text++ = s[0];
        *text++ = s[1];
        number = number / 16 + number * 7 % 97;
    }
    *text = 0;
}

static NOINLINE uint32_t text_hash(const char *text)
{
    uint32_t h = 2166136261u;
    for (; *text; text++)
        h = (h ^ (uint8_t)*text) * 16777619u;
    return h;
}

static NOINLINE int text_equal(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return *a == *b;
}

static NOINLINE void text_copy(char *to, const char *from)
{
    while ((*to++ = *from++))
        ;
}

// Counts the word; returns how many distinct ones there are now.
static uint32_t table_count(const char *text, uint32_t used)
{
    Word **bucket = &buckets[text_hash(text) % BUCKETS];
    for (Word *word = *bucket; word; word = word->next)
        if (text_equal(word->text, text)) {
            word->count++;
            return used;
        }
    if (used == WORDS_DISTINCT)
        return used;
    Word *word = &words[used];
    text_copy(word->text, text);
    word->count = 1;
    word->next = *bucket;
    *bucket = word;
    return used + 1;
}

uint32_t bench_strhash(uint32_t iterations)
{
    uint32_t sum = 0, seed = 5;
    for (uint32_t round = 0; round < iterations; round++) {
        uint32_t used = 0;
        char text[24];
        memset(buckets, 0, sizeof buckets);
        for (uint32_t i = 0; i < WORDS_MADE; i++) {
            uint32_t r = rand_next(&seed) >> 12;
            word_make(text, r % 500 * (r >> 12 & 1 ? 1 : 3));
            used = table_count(text, used);
        }
        for (uint32_t i = 0; i < used; i++)
            sum = sum_add(sum, words[i].count + text_hash(words[i].text));
    }
    return sum;
}
