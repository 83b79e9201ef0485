/* The options of mimalloc, for the feature of that name. Its defaults are for programs that own their machine: in a
   sidecar they cost 5 MB at rest and kept 60 MB after a thousand streams (perf/README.md). */
#include <mimalloc.h>

/* 101 comes before the library's own start, which reads these. */
__attribute__((constructor(101))) static void set_allocator_options(void) {
    mi_option_set_default(mi_option_purge_delay, 0); /* give freed pages back at once */
    mi_option_set_default(mi_option_allow_thp, 0);   /* no huge pages */
}
