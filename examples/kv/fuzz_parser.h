/* SPDX-License-Identifier: MIT
 *
 * What libFuzzer calls, and test_parser with the files that it has found. */
#ifndef KV_FUZZ_PARSER_H
#define KV_FUZZ_PARSER_H

#include <stddef.h>
#include <stdint.h>

/* LLVMFuzzerTestOneInput: give this to parsers; what is not as it must be ends the program with a message. */
int LLVMFuzzerTestOneInput(const uint8_t* input, size_t size);

#endif
