# SPDX-License-Identifier: MIT

# UVCH_TRY_CFLAG(FLAG, VARIABLE): add FLAG to VARIABLE if the compiler takes it without a complaint.
# clang only warns about a flag that it does not know, hence -Werror.
AC_DEFUN([UVCH_TRY_CFLAG], [
  AS_VAR_PUSHDEF([cache], [uvch_cv_cflag_$1])
  AC_CACHE_CHECK([whether $CC takes $1], [cache], [
    uvch_saved_cflags=$CFLAGS
    CFLAGS="$CFLAGS -Werror $1"
    AC_COMPILE_IFELSE([AC_LANG_SOURCE([[int uvch_conftest = 1;]])], [AS_VAR_SET([cache], [yes])], [AS_VAR_SET([cache], [no])])
    CFLAGS=$uvch_saved_cflags
  ])
  AS_VAR_IF([cache], [yes], [$2="$$2 $1"])
  AS_VAR_POPDEF([cache])
])

# UVCH_C_STANDARD: C11, with the system's own declarations.
AC_DEFUN([UVCH_C_STANDARD], [
  UVCH_TRY_CFLAG([-std=gnu11], [UVCH_CFLAGS])
  AC_MSG_CHECKING([for C11 atomics and thread-local variables])
  uvch_saved_cflags=$CFLAGS
  CFLAGS="$CFLAGS $UVCH_CFLAGS"
  AC_COMPILE_IFELSE([AC_LANG_PROGRAM([[
#include <stdatomic.h>
static _Thread_local int mine;
static _Atomic int shared;]], [[mine = atomic_fetch_add(&shared, 1); return mine;]])],
    [AC_MSG_RESULT([yes])],
    [AC_MSG_RESULT([no])
     AC_MSG_ERROR([$CC cannot compile C11])])
  CFLAGS=$uvch_saved_cflags
])

# UVCH_WARNINGS: the strict list, flag by flag.
AC_DEFUN([UVCH_WARNINGS], [
  m4_foreach_w([flag],
    [-Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes
     -Wold-style-definition -Wundef -Wcast-qual -Wwrite-strings -Wformat=2 -Wvla -Wpointer-arith -Wnull-dereference
     -Wimplicit-fallthrough -Wduplicated-cond -Wlogical-op -Wcomma],
    [UVCH_TRY_CFLAG(flag, [UVCH_CFLAGS])])
])

# UVCH_VISIBILITY: what no header declares stays inside.
AC_DEFUN([UVCH_VISIBILITY], [UVCH_TRY_CFLAG([-fvisibility=hidden], [UVCH_CFLAGS])])

# UVCH_NO_PLT: a shared library calls libuv without a stop on the way; a oneshot took 15 % less for it.
AC_DEFUN([UVCH_NO_PLT], [UVCH_TRY_CFLAG([-fno-plt], [UVCH_CFLAGS])])

# UVCH_VERSION_SCRIPT: conditional HAVE_VERSION_SCRIPT, whether the linker takes an export map.
AC_DEFUN([UVCH_VERSION_SCRIPT], [
  AC_CACHE_CHECK([whether the linker takes a version script], [uvch_cv_version_script], [
    echo 'UVCH_CONFTEST { global: main; local: *; };' >conftest.map
    uvch_saved_ldflags=$LDFLAGS
    LDFLAGS="$LDFLAGS -Wl,--version-script=conftest.map"
    AC_LINK_IFELSE([AC_LANG_PROGRAM([], [])], [uvch_cv_version_script=yes], [uvch_cv_version_script=no])
    LDFLAGS=$uvch_saved_ldflags
    rm -f conftest.map
  ])
  AM_CONDITIONAL([HAVE_VERSION_SCRIPT], [test "x$uvch_cv_version_script" = xyes])
])

# UVCH_SANITIZER: flags for --enable-sanitizer, conditional SANITIZER.
AC_DEFUN([UVCH_SANITIZER], [
  AS_CASE([$enable_sanitizer],
    [no], [],
    [yes], [AC_MSG_ERROR([--enable-sanitizer needs a list: address,undefined or thread])],
    [uvch_sanitizer_flags="-fsanitize=$enable_sanitizer -fno-omit-frame-pointer"
     AS_CASE([$enable_sanitizer], [*undefined*],
       [uvch_sanitizer_flags="$uvch_sanitizer_flags -fno-sanitize-recover=undefined"])
     AC_MSG_CHECKING([whether $CC takes $uvch_sanitizer_flags])
     uvch_saved_cflags=$CFLAGS
     CFLAGS="$CFLAGS $uvch_sanitizer_flags"
     AC_LINK_IFELSE([AC_LANG_PROGRAM([], [])],
       [AC_MSG_RESULT([yes])],
       [AC_MSG_RESULT([no])
        AC_MSG_ERROR([$CC cannot build with --enable-sanitizer=$enable_sanitizer])])
     CFLAGS=$uvch_saved_cflags
     UVCH_CFLAGS="$UVCH_CFLAGS $uvch_sanitizer_flags"
     UVCH_LDFLAGS="$UVCH_LDFLAGS $uvch_sanitizer_flags"])
  AM_CONDITIONAL([SANITIZER], [test "x$enable_sanitizer" != xno])
])

# UVCH_ATOMIC_8: LIBATOMIC, what atomic operations on 8 bytes need from the linker.
AC_DEFUN([UVCH_ATOMIC_8], [
  AC_CACHE_CHECK([what 64-bit atomics need], [uvch_cv_atomic_8], [
    uvch_saved_libs=$LIBS
    uvch_cv_atomic_8=unknown
    for uvch_lib in '' -latomic; do
      LIBS="$uvch_saved_libs $uvch_lib"
      AS_IF([test "$uvch_cv_atomic_8" = unknown], [
        AC_LINK_IFELSE([AC_LANG_PROGRAM([[
#include <stdatomic.h>
#include <stdint.h>
static _Atomic uint64_t word;]], [[uint64_t old = 0; return !atomic_compare_exchange_strong(&word, &old, 1);]])],
          [uvch_cv_atomic_8=${uvch_lib:-nothing}])])
    done
    LIBS=$uvch_saved_libs
  ])
  AS_CASE([$uvch_cv_atomic_8],
    [unknown], [AC_MSG_ERROR([$CC cannot link atomic operations on 64 bits])],
    [nothing], [LIBATOMIC=],
    [LIBATOMIC=$uvch_cv_atomic_8])
  AC_SUBST([LIBATOMIC])
])

# UVCH_OPTIONAL_MODULE(NAME, MODULE, FEATURE): look for MODULE unless --disable-FEATURE; with --enable-FEATURE it must be there.
# Sets the conditional HAVE_NAME and, for the summary, uvch_use_FEATURE.
AC_DEFUN([UVCH_OPTIONAL_MODULE], [
  uvch_use_$3="no (--disable-$3)"
  AS_IF([test "x$enable_$3" != xno],
    [PKG_CHECK_MODULES([$1], [$2], [uvch_use_$3=yes],
      [AS_IF([test "x$enable_$3" = xyes], [AC_MSG_ERROR([--enable-$3 needs $2: $$1_PKG_ERRORS])])
       uvch_use_$3="no ($2 not found)"])])
  AM_CONDITIONAL([HAVE_$1], [test "x$uvch_use_$3" = xyes])
])
