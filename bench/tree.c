// SPDX-License-Identifier: MIT
// Binary search tree of 6,000 random keys: insert all, find as many (half of them absent), walk.

#include "program.h"

typedef struct Node {
    struct Node *left, *right;
    uint32_t key, value;
} Node;

enum { TREE_NODES = 6000 };
static Node nodes[TREE_NODES];

static NOINLINE Node *tree_insert(Node *root, Node *node)
{
    Node **at = &root;
    while (*at) {
        if ((*at)->key == node->key)
            return root;
        at = node->key < (*at)->key ? &(*at)->left : &(*at)->right;
    }
    *at = node;
    return root;
}

static NOINLINE const Node *tree_find(const Node *node, uint32_t key)
{
    while (node && node->key != key)
        node = key < node->key ? node->left : node->right;
    return node;
}

static NOINLINE uint32_t tree_walk(const Node *node, uint32_t sum)
{
    if (!node)
        return sum;
    sum = tree_walk(node->left, sum);
    sum = sum_add(sum, node->key ^ node->value);
    return tree_walk(node->right, sum);
}

uint32_t bench_tree(uint32_t iterations)
{
    uint32_t sum = 0, seed = 4;
    for (uint32_t round = 0; round < iterations; round++) {
        Node *root = NULL;
        uint32_t again = seed;
        for (uint32_t i = 0; i < TREE_NODES; i++) {
            nodes[i] = (Node){.key = rand_next(&seed) >> 4, .value = i};
            root = tree_insert(root, &nodes[i]);
        }
        for (uint32_t i = 0; i < TREE_NODES; i++) {
            const Node *found = tree_find(root, (rand_next(&again) >> 4) + (i & 1));
            sum += found ? found->value : 1;
        }
        sum = tree_walk(root, sum);
    }
    return sum;
}
