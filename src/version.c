/* SPDX-License-Identifier: MIT */
#include <uvch/version.h>

unsigned int uvch_version(void) {
  return UVCH_VERSION_HEX;
}

const char* uvch_version_string(void) {
  return UVCH_VERSION_STRING;
}
